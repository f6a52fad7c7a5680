// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli/internal/contract"
)

// schema is what OpenAPI 2 and 3 have in common.
type schema struct {
	Ref                  string            `json:"$ref"`
	Type                 kind              `json:"type"`
	Format               string            `json:"format"`
	Enum                 []string          `json:"enum"`
	Properties           map[string]schema `json:"properties"`
	Required             []string          `json:"required"`
	Items                *schema           `json:"items"`
	AdditionalProperties json.RawMessage   `json:"additionalProperties"`
	AllOf                []schema          `json:"allOf"`
}

// kind is the name of a type; a document that lists several is read as none.
type kind string

func (k *kind) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*k = kind(s)
	}
	return nil
}

type parameter struct {
	Ref    string `json:"$ref"`
	Name   string `json:"name"`
	In     string `json:"in"`
	Schema schema `json:"schema"`
}

type media struct {
	Schema schema `json:"schema"`
}

type response struct {
	Schema  *schema          `json:"schema"`  // OpenAPI 2
	Content map[string]media `json:"content"` // OpenAPI 3
}

type operation struct {
	ID          string      `json:"operationId"`
	Parameters  []parameter `json:"parameters"`
	RequestBody *struct {
		Content map[string]media `json:"content"`
	} `json:"requestBody"`
	Responses map[string]response `json:"responses"`
}

type api struct {
	Paths       map[string]map[string]json.RawMessage `json:"paths"`
	Definitions map[string]schema                     `json:"definitions"`
	Components  struct {
		Schemas    map[string]schema    `json:"schemas"`
		Parameters map[string]parameter `json:"parameters"`
	} `json:"components"`
}

// operations lists the operations by id, with method and path.
func (a *api) operations(t *testing.T) map[string]operation {
	t.Helper()
	out := map[string]operation{}
	for path, item := range a.Paths {
		var shared []parameter
		if raw := item["parameters"]; raw != nil {
			if err := json.Unmarshal(raw, &shared); err != nil {
				t.Fatal(err)
			}
		}
		for method, raw := range item {
			if method == "parameters" {
				continue
			}
			var op operation
			if err := json.Unmarshal(raw, &op); err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			op.Parameters = append(slices.Clone(shared), op.Parameters...)
			for i, p := range op.Parameters {
				if p.Ref != "" {
					op.Parameters[i] = a.Components.Parameters[base(p.Ref)]
				}
			}
			op.ID = cmp.Or(op.ID, "?")
			out[strings.ToUpper(method)+" "+path+" "+op.ID] = op
		}
	}
	return out
}

func base(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

func (a *api) resolve(s schema) schema {
	for s.Ref != "" {
		if d, ok := a.Definitions[base(s.Ref)]; ok {
			s = d
			continue
		}
		s = a.Components.Schemas[base(s.Ref)]
	}
	if s.Type == "" && len(s.Properties) > 0 {
		s.Type = "object"
	}
	return s
}

// comparison walks the same value in both documents.
type comparison struct {
	t           *testing.T
	ours, its   *api
	seen        map[string]bool
	differences map[string]bool
}

func (c *comparison) say(format string, args ...any) {
	c.differences[fmt.Sprintf(format, args...)] = true
}

func (c *comparison) compare(at string, ours, its schema, answer bool) {
	pair := ours.Ref + " " + its.Ref + strconv.FormatBool(answer)
	if ours.Ref != "" && its.Ref != "" {
		if c.seen[pair] {
			return
		}
		c.seen[pair] = true
		at = base(ours.Ref)
	}
	ours, its = c.ours.resolve(ours), c.its.resolve(its)
	if its.Ref == "" && strings.EqualFold(at, "time") {
		return
	}
	if ours.Type != its.Type {
		c.say("%s: type %q, Palette has %q", at, ours.Type, its.Type)
		return
	}
	if f := its.Format; f != ours.Format && (f == "int32" || f == "int64" || f == "date-time" || f == "binary") {
		c.say("%s: format %q, Palette has %q", at, ours.Format, its.Format)
	}
	if !slices.Equal(slices.Sorted(slices.Values(ours.Enum)), slices.Sorted(slices.Values(its.Enum))) {
		c.say("%s: choices %v, Palette has %v", at, ours.Enum, its.Enum)
	}
	for _, name := range slices.Sorted(maps.Keys(its.Properties)) {
		o, ok := ours.Properties[name]
		if !ok {
			c.say("%s: lacks %s", at, name)
			continue
		}
		c.compare(at+"."+name, o, its.Properties[name], answer)
	}
	for name := range ours.Properties {
		if _, ok := its.Properties[name]; !ok {
			c.say("%s: has %s, which Palette has not", at, name)
		}
	}
	c.required(at, ours, its)
	if ours.Items != nil && its.Items != nil {
		c.compare(at+"[]", *ours.Items, *its.Items, answer)
	}
}

func (c *comparison) required(at string, ours, its schema) {
	for _, name := range its.Required {
		if _, there := its.Properties[name]; there && !slices.Contains(ours.Required, name) {
			c.say("%s: %s is not required, with Palette it is", at, name)
		}
	}
	for _, name := range ours.Required {
		if !slices.Contains(its.Required, name) {
			c.say("%s: %s is required, with Palette it is not", at, name)
		}
	}
}

// intended are the differences that are meant. What answers are bound to say
// although Palette's document leaves it open is here because clients read it
// without a look.
func intended() map[string]bool {
	out := map[string]bool{}
	for at, names := range map[string][]string{
		"ListMetaData":           {"continue", "count", "limit", "offset"},
		"ClusterProfileTemplate": {"cloudType", "name", "packs", "profileVersion", "type", "uid"},
		"PackRef":                {"manifests", "values", "tag", "packUid"},
		"SpectroClusterStatus":   {"apiEndpoints", "conditions", "location", "packs", "repave", "spcApply", "state"},
		"ClusterRepaveStatus":    {"state"},
		"SpcApply":               {"actionType", "canBeApplied"},
		"UserToken":              {"isMfa"},
	} {
		for _, n := range names {
			out[at+": "+n+" is required, with Palette it is not"] = true
		}
	}
	return out
}

func reference(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("LAZULI_REFERENCE_DIR")
	if dir == "" {
		t.Skip("the reference data is not here: LAZULI_REFERENCE_DIR is not set")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func documents(t *testing.T) (ours, its *api) {
	t.Helper()
	ours, its = &api{}, &api{}
	if err := json.Unmarshal(reference(t, "palette-4.9.json"), its); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(contract.Document(), ours); err != nil {
		t.Fatal(err)
	}
	return ours, its
}

func TestDocumentIsPalettes(t *testing.T) {
	t.Parallel()
	ours, its := documents(t)
	c := &comparison{t: t, ours: ours, its: its, seen: map[string]bool{}, differences: map[string]bool{}}
	theirs := its.operations(t)
	served := 0
	for key, op := range ours.operations(t) {
		other, ok := theirs[key]
		if !ok {
			if strings.Contains(key, " /v1/") && op.ID != "v1SpectroClustersList" {
				c.say("%s: Palette has no such operation", key)
			}
			continue
		}
		served++
		c.operation(key, op, other)
	}
	meant := intended()
	for _, d := range slices.Sorted(maps.Keys(c.differences)) {
		if !meant[d] {
			t.Error(d)
		}
		delete(meant, d)
	}
	for _, d := range slices.Sorted(maps.Keys(meant)) {
		t.Errorf("the difference is meant and is not there: %s", d)
	}
	t.Logf("%d of Palette's %d operations are in the document", served, len(theirs))
}

var success = regexp.MustCompile(`^2\d\d$`)

func (c *comparison) operation(key string, ours, its operation) {
	for code, r := range its.Responses {
		if !success.MatchString(code) {
			continue
		}
		o, ok := ours.Responses[code]
		if !ok {
			c.say("%s: does not answer %s", key, code)
			continue
		}
		if m, ok := o.Content["application/json"]; ok && r.Schema != nil {
			c.compare(key+" answer", m.Schema, *r.Schema, true)
		}
		if (len(o.Content) > 0) != (r.Schema != nil) {
			c.say("%s: answer %s has a body, or has none, other than Palette's", key, code)
		}
	}
	names := map[string]parameter{}
	for _, p := range ours.Parameters {
		names[p.In+" "+p.Name] = p
	}
	for _, p := range its.Parameters {
		switch p.In {
		case "body":
			if ours.RequestBody == nil {
				c.say("%s: takes no body", key)
				continue
			}
			c.compare(key+" body", ours.RequestBody.Content["application/json"].Schema, p.Schema, false)
		case "formData":
		default:
			if _, ok := names[p.In+" "+p.Name]; !ok {
				c.say("%s: lacks the %s parameter %s", key, p.In, p.Name)
			}
		}
	}
}

// What is not served is told, not hidden: the list is what docs/api.md counts.
func TestNotServed(t *testing.T) {
	t.Parallel()
	served := map[string]bool{}
	for _, op := range load(t).Served() {
		served[op.ID] = true
	}
	groups := map[string]int{}
	for _, op := range contract.Operations() {
		if !served[op.ID] {
			groups[strings.Join(strings.SplitN(op.Path, "/", 4)[:3], "/")]++
		}
	}
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		t.Logf("%4d operations of %s are not served", groups[g], g)
	}
}
