// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"bytes"
	_ "embed" // of the document and the list of operations
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
)

//go:embed openapi.yaml
var document []byte

//go:embed operations.tsv
var operations string

// Operation is one operation of an API.
type Operation struct {
	Method string
	Path   string // with parameters in braces
	ID     string
	Status int // of success; 0 where the source names none
	Tag    string
}

// Document returns the contract as YAML. The caller must not change it.
func Document() []byte { return document }

// Operations returns all operations of Palette's API 4.9, served or not, in the
// order of their paths.
func Operations() []Operation {
	lines := strings.Split(strings.TrimSpace(operations), "\n")
	out := make([]Operation, 0, len(lines))
	for _, line := range lines {
		col := strings.Split(line, "\t")
		status, err := strconv.Atoi(col[3])
		if err != nil {
			status = 0
		}
		out = append(out, Operation{Method: col[0], Path: col[1], ID: col[2], Status: status})
	}
	return out
}

// Contract is the document, ready to check with. It may be used concurrently.
type Contract struct {
	doc  *openapi3.T
	byID map[string]*openapi3.Operation
	all  []Operation
}

// Load reads the document, once in a process.
func Load() (*Contract, error) { return once() }

//nolint:gochecknoglobals // remembers what a pure function returned
var once = sync.OnceValues(load)

func load() (*Contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, fmt.Errorf("read the contract document: %w", err)
	}
	for _, s := range doc.Components.Schemas {
		seal(s.Value)
	}
	c := &Contract{doc: doc, byID: map[string]*openapi3.Operation{}}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		ops := doc.Paths.Value(path).Operations()
		for _, method := range slices.Sorted(maps.Keys(ops)) {
			op := ops[method]
			if c.byID[op.OperationID] != nil {
				return nil, fmt.Errorf("read the contract document: operation %s is there twice", op.OperationID)
			}
			c.byID[op.OperationID] = op
			status, err := success(op)
			if err != nil {
				return nil, err
			}
			c.all = append(c.all, Operation{
				Method: method, Path: path, ID: op.OperationID, Status: status, Tag: strings.Join(op.Tags, ","),
			})
		}
	}
	return c, nil
}

// seal closes the objects of a schema: members that it does not name are none.
func seal(s *openapi3.Schema) {
	if s == nil {
		return
	}
	if len(s.Properties) > 0 && s.AdditionalProperties.Schema == nil && s.AdditionalProperties.Has == nil {
		no := false
		s.AdditionalProperties.Has = &no
	}
	for _, p := range s.Properties {
		if p.Ref == "" {
			seal(p.Value)
		}
	}
	if s.Items != nil && s.Items.Ref == "" {
		seal(s.Items.Value)
	}
}

// closed reports whether a sealed schema names all members that there are.
func closed(s *openapi3.Schema) bool {
	return s.AdditionalProperties.Has != nil && !*s.AdditionalProperties.Has
}

func success(op *openapi3.Operation) (int, error) {
	for _, code := range slices.Sorted(maps.Keys(op.Responses.Map())) {
		if n, err := strconv.Atoi(code); err == nil && n < http.StatusMultipleChoices {
			return n, nil
		}
	}
	return 0, fmt.Errorf("read the contract document: operation %s names no success", op.OperationID)
}

// Served returns the operations of the document, in the order of their paths.
func (c *Contract) Served() []Operation { return slices.Clone(c.all) }

// HasBody reports whether the operation takes a JSON body.
func (c *Contract) HasBody(operation string) bool { return c.requestSchema(operation) != nil }

func (c *Contract) requestSchema(operation string) *openapi3.SchemaRef {
	op := c.byID[operation]
	if op == nil || op.RequestBody == nil || op.RequestBody.Value == nil {
		return nil
	}
	media := op.RequestBody.Value.Content.Get("application/json")
	if media == nil {
		return nil
	}
	return media.Schema
}

// Fault is one place of a request that the document does not allow.
type Fault struct {
	Path    string // spec.cloudConfig.location, spec.machinepoolconfig[0].poolConfig.size, or "" for the whole
	Message string
}

// ReadRequest returns the JSON body of a request as the document has it, without
// the members that it does not name, and what speaks against it. The body of an
// operation that the document does not know, or that has none, is returned as it
// is.
func (c *Contract) ReadRequest(operation string, body []byte) ([]byte, []Fault, error) {
	ref := c.requestSchema(operation)
	if ref == nil {
		return body, nil, nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // a number may be larger than what Go holds
	if err := d.Decode(&v); err != nil {
		return nil, nil, fmt.Errorf("read a request by the contract: %w", err)
	}
	var r reading
	r.check("", ref.Value, v)
	if !r.dropped {
		return body, r.faults, nil // to the byte, as almost all are
	}
	var known bytes.Buffer
	e := json.NewEncoder(&known)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, nil, fmt.Errorf("write a request without what the contract does not know: %w", err)
	}
	return known.Bytes(), r.faults, nil
}

// ErrUnknown says that the document has no such operation.
var ErrUnknown = errors.New("the contract has no such operation")

// CheckAnswer returns an error unless an answer is one that the document
// allows for the operation.
func (c *Contract) CheckAnswer(operation string, status int, h http.Header, body []byte) error {
	op := c.byID[operation]
	if op == nil {
		return fmt.Errorf("operation %q: %w", operation, ErrUnknown)
	}
	want, err := success(op)
	if err != nil {
		return err
	}
	if status < http.StatusBadRequest && status != want {
		return fmt.Errorf("operation %s answers %d, the contract says %d", operation, status, want)
	}
	res := op.Responses.Value(strconv.Itoa(status))
	if res == nil {
		res = op.Responses.Default()
	}
	if res == nil {
		return fmt.Errorf("operation %s answers %d, which the contract does not name", operation, status)
	}
	err = checkContent(res.Value, h, body)
	if err == nil && status >= http.StatusBadRequest {
		err = c.checkError(h, body)
	}
	if err != nil {
		return fmt.Errorf("answer %d of operation %s: %w", status, operation, err)
	}
	return nil
}

// checkError holds an answer against the one form that errors have. The schema
// requires none of its members, as Palette's does not; clients live by two.
func (c *Contract) checkError(h http.Header, body []byte) error {
	form := c.doc.Components.Responses["Error"]
	if form == nil {
		return errors.New("the contract has no form of errors")
	}
	if err := checkContent(form.Value, h, body); err != nil {
		return err
	}
	var e struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("read the error: %w", err)
	}
	if e.Code == "" || e.Message == "" {
		return fmt.Errorf("the error names no code or no message: %s", shorten(string(body)))
	}
	return nil
}

func checkContent(res *openapi3.Response, h http.Header, body []byte) error {
	if len(res.Content) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("it has a body of %d bytes where there is none", len(body))
		}
		return nil
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	media := res.Content.Get(kind)
	if kind == "" || media == nil {
		return fmt.Errorf("its type is %q, the contract has %v", kind, slices.Sorted(maps.Keys(res.Content)))
	}
	if kind != "application/json" {
		return nil
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("it is not JSON: %w", err)
	}
	if err := media.Schema.Value.VisitJSON(v, openapi3.VisitAsResponse()); err != nil {
		if s, ok := errors.AsType[*openapi3.SchemaError](err); ok {
			return fmt.Errorf("%s: %s", strings.Join(s.JSONPointer(), "."), s.Reason)
		}
		return fmt.Errorf("hold it against the schema: %w", err)
	}
	return nil
}
