// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// serveResource answers one request for a resource.
func (s *Server) serveResource(w http.ResponseWriter, r *http.Request, req *request) {
	v, err := negotiate(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	if req.sub != "" && !hasSubresource(req.res, req.sub) {
		s.fail(w, errPathNotFound)
		return
	}
	switch req.verb {
	case "list":
		err = s.serveList(w, r, req, v)
	case "watch":
		err = s.serveWatch(w, r, req, v)
	case "get":
		err = s.serveGet(w, r, req, v)
	case "create":
		err = s.serveCreate(w, r, req, v)
	case "update":
		err = s.serveUpdate(w, r, req, v)
	case "patch":
		err = s.servePatch(w, r, req, v)
	case "delete":
		err = s.serveDelete(w, r, req, v)
	case "deletecollection":
		err = s.serveDeleteCollection(w, r, req, v)
	default:
		err = apierrors.NewMethodNotSupported(req.res.GroupResource(), req.verb)
	}
	if err != nil {
		s.fail(w, err)
	}
}

func hasSubresource(res *resource, sub string) bool {
	return slices.Contains(res.subresources(), sub)
}

// object finds the object that a request names, in the version of the request.
func (s *Server) object(req *request) (*unstructured.Unstructured, error) {
	u, ok := s.store.Get(req.res.GroupResource(), req.ns, req.name)
	if !ok || req.res.namespaced && req.ns == "" {
		return nil, apierrors.NewNotFound(req.res.GroupResource(), req.name)
	}
	return u, nil
}

func (s *Server) serveGet(w http.ResponseWriter, _ *http.Request, req *request, v view) error {
	u, err := s.object(req)
	if err != nil {
		return err
	}
	if req.sub == subScale {
		writeJSON(w, http.StatusOK, scaleOf(u))
		return nil
	}
	s.write(w, http.StatusOK, req.res, u, v)
	return nil
}

// serveList answers a list, whole or in pages that all show the state at the revision of the first one.
func (s *Server) serveList(w http.ResponseWriter, r *http.Request, req *request, v view) error {
	q := r.URL.Query()
	f, err := newFilter(req.res, req.ns, q.Get("labelSelector"), q.Get("fieldSelector"))
	if err != nil {
		return err
	}
	if req.ns != "" && !req.res.namespaced {
		return errPathNotFound
	}
	limit, err := intParam(q, "limit")
	if err != nil {
		return err
	}
	from, err := listPosition(q)
	if err != nil {
		return err
	}
	page, err := s.store.page(f, from, limit)
	if err != nil {
		return err
	}
	s.writeList(w, req.res, page, v)
	return nil
}

// position is where a list starts: a revision (0 = now) and the last key of the page before.
type position struct {
	Revision uint64 `json:"rv"`
	After    string `json:"after"`
}

func listPosition(q url.Values) (position, error) {
	if token := q.Get("continue"); token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		var p position
		if err != nil || json.Unmarshal(raw, &p) != nil || p.Revision == 0 {
			return position{}, apierrors.NewBadRequest("continue key is not valid")
		}
		return p, nil
	}
	rv, match := q.Get("resourceVersion"), q.Get("resourceVersionMatch")
	if match != "" && rv == "" {
		return position{}, apierrors.NewBadRequest("resourceVersionMatch is forbidden unless resourceVersion is provided")
	}
	if rv == "" || rv == "0" {
		return position{}, nil
	}
	rev, err := strconv.ParseUint(rv, 10, 64)
	if err != nil {
		return position{}, apierrors.NewBadRequest(fmt.Sprintf("invalid resource version %q", rv))
	}
	if match == string(metav1.ResourceVersionMatchExact) {
		return position{Revision: rev}, nil
	}
	return position{Revision: rev, After: notOlderThan}, nil
}

// notOlderThan in a position asks for the present, but not for less than the revision.
const notOlderThan = "\x00"

// listPage is one answer to a list.
type listPage struct {
	items     []*unstructured.Unstructured
	revision  uint64
	next      string
	remaining int64
}

func (s *Store) page(f *filter, from position, limit int64) (*listPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.data[f.res.GroupResource()]
	if !ok {
		return nil, errPathNotFound
	}
	if from.Revision > s.rev {
		return nil, tooLargeRevision(from.Revision, s.rev)
	}
	rev, items := s.rev, c.items
	if from.After == notOlderThan {
		from.After = ""
	} else if from.Revision != 0 {
		var known bool
		rev = from.Revision
		if items, known = c.at(rev); !known {
			return nil, apierrors.NewResourceExpired("The provided continue parameter is too old to display a consistent list result.")
		}
	}
	page := &listPage{revision: rev, items: []*unstructured.Unstructured{}}
	for _, u := range sortedItems(items, f.ns) {
		key := keyOf(u)
		if from.After != "" && key <= from.After || !f.matches(u) {
			continue
		}
		if limit > 0 && int64(len(page.items)) == limit {
			page.remaining++
			continue
		}
		page.items = append(page.items, u)
	}
	if page.remaining > 0 {
		raw, err := json.Marshal(position{Revision: rev, After: keyOf(page.items[len(page.items)-1])})
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		page.next = base64.RawURLEncoding.EncodeToString(raw)
	}
	if !f.labels.Empty() || !f.fields.Empty() {
		page.remaining = 0
	}
	return page, nil
}

// tooLargeRevision is what a server answers that has not seen a revision yet.
func tooLargeRevision(want, have uint64) error {
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", want, have), 1)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"})
	return err
}

func intParam(q url.Values, name string) (int64, error) {
	text := q.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return 0, apierrors.NewBadRequest(fmt.Sprintf("invalid value for %s: %q", name, text))
	}
	return n, nil
}

func (s *Server) serveCreate(w http.ResponseWriter, r *http.Request, req *request, v view) error {
	if req.sub == subEviction {
		return s.serveEviction(w, r, req)
	}
	if req.name != "" {
		return apierrors.NewMethodNotSupported(req.res.GroupResource(), "create")
	}
	u, o, err := s.readWrite(r, req)
	if err != nil {
		return err
	}
	var out *unstructured.Unstructured
	err = s.store.locked(func() error {
		var cerr error
		out, cerr = s.store.create(req.res, u, o)
		return cerr
	})
	if err != nil {
		return err
	}
	warn(w, o)
	s.write(w, http.StatusCreated, req.res, out, v)
	return nil
}

// serveUpdate answers PUT. An absent object is 404: no built-in kind that is served here is created by PUT, except that
// leases are, as in the API server.
func (s *Server) serveUpdate(w http.ResponseWriter, r *http.Request, req *request, v view) error {
	if req.sub == subScale {
		return s.putScale(w, r, req)
	}
	u, o, err := s.readWrite(r, req)
	if err != nil {
		return err
	}
	code := http.StatusOK
	var out *unstructured.Unstructured
	err = s.store.locked(func() error {
		old, ferr := s.store.find(req.res, req.ns, req.name)
		if ferr != nil {
			if req.res.GroupResource() == Leases && req.sub == "" && u.GetResourceVersion() == "" {
				code = http.StatusCreated
				out, ferr = s.store.create(req.res, u, o)
			}
			return ferr
		}
		var uerr error
		out, uerr = s.store.update(req.res, old, u, o)
		return uerr
	})
	if err != nil {
		return err
	}
	warn(w, o)
	s.write(w, code, req.res, out, v)
	return nil
}

func (s *Server) serveDelete(w http.ResponseWriter, r *http.Request, req *request, v view) error {
	d, o, err := readDeleteOptions(r)
	if err != nil {
		return err
	}
	if req.sub != "" {
		return apierrors.NewMethodNotSupported(req.res.GroupResource(), "delete")
	}
	var out *unstructured.Unstructured
	gone := false
	err = s.store.locked(func() error {
		old, ferr := s.store.find(req.res, req.ns, req.name)
		if ferr != nil {
			return ferr
		}
		var rerr error
		out, gone, rerr = s.store.remove(req.res, old, d, o)
		return rerr
	})
	if err != nil {
		return err
	}
	if !gone {
		s.write(w, http.StatusOK, req.res, out, v)
		return nil
	}
	writeJSON(w, http.StatusOK, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusSuccess,
		Details: &metav1.StatusDetails{Name: out.GetName(), Group: req.res.Group, Kind: req.res.Resource,
			UID: out.GetUID()},
	})
	return nil
}

func (s *Server) serveDeleteCollection(w http.ResponseWriter, r *http.Request, req *request, v view) error {
	d, o, err := readDeleteOptions(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f, err := newFilter(req.res, req.ns, q.Get("labelSelector"), q.Get("fieldSelector"))
	if err != nil {
		return err
	}
	page := &listPage{items: []*unstructured.Unstructured{}}
	err = s.store.locked(func() error {
		for _, u := range sortedItems(s.store.data[req.res.GroupResource()].items, req.ns) {
			if !f.matches(u) {
				continue
			}
			current, ferr := s.store.find(req.res, u.GetNamespace(), u.GetName())
			if ferr != nil {
				continue
			}
			out, _, rerr := s.store.remove(req.res, current, d, o)
			if rerr != nil {
				return rerr
			}
			page.items = append(page.items, out)
		}
		page.revision = s.store.rev
		return nil
	})
	if err != nil {
		return err
	}
	s.writeList(w, req.res, page, v)
	return nil
}

// readDeleteOptions takes delete options from the body or from the query.
func readDeleteOptions(r *http.Request) (*metav1.DeleteOptions, *writeOptions, error) {
	d := &metav1.DeleteOptions{}
	body, err := readBody(r)
	if err != nil {
		return nil, nil, err
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, d); err != nil {
			return nil, nil, apierrors.NewBadRequest("delete options: " + err.Error())
		}
	}
	q := r.URL.Query()
	if p := q.Get("propagationPolicy"); p != "" {
		policy := metav1.DeletionPropagation(p)
		d.PropagationPolicy = &policy
	}
	if q.Get("gracePeriodSeconds") != "" {
		n, err := intParam(q, "gracePeriodSeconds")
		if err != nil {
			return nil, nil, err
		}
		d.GracePeriodSeconds = &n
	}
	dry, err := dryRun(append(q["dryRun"], d.DryRun...))
	if err != nil {
		return nil, nil, err
	}
	return d, &writeOptions{dryRun: dry}, nil
}

func dryRun(values []string) (bool, error) {
	for _, v := range values {
		if v != metav1.DryRunAll {
			return false, apierrors.NewBadRequest(fmt.Sprintf("invalid dryRun value %q", v))
		}
	}
	return len(values) > 0, nil
}

// writeParams reads the query parameters that every write has.
func writeParams(r *http.Request, req *request) (*writeOptions, error) {
	q := r.URL.Query()
	dry, err := dryRun(q["dryRun"])
	if err != nil {
		return nil, err
	}
	o := &writeOptions{dryRun: dry, subresource: req.sub, manager: q.Get("fieldManager"), validation: q.Get("fieldValidation")}
	switch o.validation {
	case "", validationStrict, validationIgnore, "Warn":
	default:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid fieldValidation value %q", o.validation))
	}
	const maxManager = 128
	if len(o.manager) > maxManager {
		return nil, apierrors.NewBadRequest("fieldManager is longer than 128 characters")
	}
	if o.manager == "" {
		o.manager, _, _ = strings.Cut(r.UserAgent(), "/")
		if len(o.manager) > maxManager {
			o.manager = o.manager[:maxManager]
		}
	}
	if o.manager == "" {
		o.manager = "unknown"
	}
	return o, nil
}

// readWrite reads the body of a create or update and checks it against the path.
func (s *Server) readWrite(r *http.Request, req *request) (*unstructured.Unstructured, *writeOptions, error) {
	o, err := writeParams(r, req)
	if err != nil {
		return nil, nil, err
	}
	body, err := readBody(r)
	if err != nil {
		return nil, nil, err
	}
	u, err := decodeObject(body)
	if err != nil {
		return nil, nil, err
	}
	return u, o, matchPath(u, req)
}

// matchPath checks that an object is what its path says, and completes it from the path.
func matchPath(u *unstructured.Unstructured, req *request) error {
	want := req.res.gvk()
	if got := u.GroupVersionKind(); u.GetKind() == "" && u.GetAPIVersion() == "" {
		u.SetGroupVersionKind(want)
	} else if got != want {
		return apierrors.NewBadRequest(fmt.Sprintf(
			"the API version in the data (%s) does not match the expected API version (%s)",
			got.GroupVersion().WithKind(got.Kind), want))
	}
	if err := checkMetadata(u); err != nil {
		return err
	}
	if req.name != "" {
		if u.GetName() == "" {
			u.SetName(req.name)
		}
		if u.GetName() != req.name {
			return apierrors.NewBadRequest(fmt.Sprintf(
				"the name of the object (%s) does not match the name on the URL (%s)", u.GetName(), req.name))
		}
	}
	if !req.res.namespaced {
		if u.GetNamespace() != "" {
			return apierrors.NewBadRequest("namespace is not allowed on this type")
		}
		return nil
	}
	if req.ns == "" {
		return apierrors.NewBadRequest("an empty namespace may not be set when a resource name is provided")
	}
	if u.GetNamespace() == "" {
		u.SetNamespace(req.ns)
	}
	if u.GetNamespace() != req.ns {
		return apierrors.NewBadRequest(fmt.Sprintf(
			"the namespace of the provided object does not match the namespace sent on the request (%s, %s)", u.GetNamespace(), req.ns))
	}
	return nil
}

// mediaProtobuf is what typed clients of client-go write by default.
const mediaProtobuf = "application/vnd.kubernetes.protobuf"

// protobufToJSON reads a built-in kind in Kubernetes' protobuf envelope.
func protobufToJSON(body []byte) ([]byte, error) {
	obj, gvk, err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Decode(body, nil, nil)
	if err != nil {
		return nil, apierrors.NewBadRequest("invalid protobuf: " + err.Error())
	}
	obj.GetObjectKind().SetGroupVersionKind(*gvk)
	out, err := json.Marshal(obj)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return out, nil
}

// readBody returns a body as JSON. YAML and the protobuf of built-in kinds are converted; CBOR is 415.
func readBody(r *http.Request) ([]byte, error) {
	mediaType := "application/json"
	if ct := r.Header.Get("Content-Type"); ct != "" {
		var err error
		if mediaType, _, err = mime.ParseMediaType(ct); err != nil {
			return nil, unsupportedMediaType(ct)
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, err
		}
		return nil, apierrors.NewBadRequest("read body: " + err.Error())
	}
	switch mediaType {
	case "application/json", "application/octet-stream", "*/*":
		return body, nil
	case mediaProtobuf:
		return protobufToJSON(body)
	case "application/yaml", "application/x-yaml", "text/yaml":
		out, err := yaml.YAMLToJSON(body)
		if err != nil {
			return nil, apierrors.NewBadRequest("invalid YAML: " + err.Error())
		}
		return out, nil
	}
	return nil, unsupportedMediaType(mediaType)
}

func unsupportedMediaType(mediaType string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: fmt.Sprintf("the body of the request was in an unknown format %q - accepted media types include: application/json, application/yaml", mediaType),
	}}
}

// decodeObject reads a JSON object with integers kept as such.
func decodeObject(body []byte) (*unstructured.Unstructured, error) {
	var m map[string]any
	if err := utiljson.Unmarshal(body, &m); err != nil {
		return nil, apierrors.NewBadRequest("invalid JSON: " + err.Error())
	}
	if m == nil {
		return nil, apierrors.NewBadRequest("the request body must be an object")
	}
	for _, field := range []string{"kind", "apiVersion"} {
		if _, ok := m[field].(string); !ok && m[field] != nil {
			return nil, apierrors.NewBadRequest(field + " must be a string")
		}
	}
	if _, ok := m["metadata"]; !ok || m["metadata"] == nil {
		m["metadata"] = map[string]any{}
	}
	return &unstructured.Unstructured{Object: m}, nil
}

// warn sends the warnings of a write as headers.
func warn(w http.ResponseWriter, o *writeOptions) {
	for _, text := range o.warnings {
		w.Header().Add("Warning", `299 - "`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(text)+`"`)
	}
}
