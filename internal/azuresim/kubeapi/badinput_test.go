// SPDX-License-Identifier: Apache-2.0

package kubeapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// serve calls a handler without a socket.
func serve(h http.Handler, r *http.Request) *http.Response {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const nodes, cms = "/api/v1/nodes", "/api/v1/namespaces/default/configmaps"
	if _, err := s.Store().Create(kubeapi.ConfigMaps, configMap("here")); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		method, path, contentType, body string
		want                            int
		reason                          string
	}{
		{"POST", nodes, "application/json", ``, 400, "no body"},
		{"POST", nodes, "application/json", `[]`, 400, "not an object"},
		{"POST", nodes, "application/json", `{"kind":1}`, 400, "kind is not a string"},
		{"POST", nodes, "application/json", `{"kind":"Node","apiVersion":"v1","metadata":3}`, 400, "metadata is not an object"},
		{"POST", nodes, "application/json", `{"kind":"Node","apiVersion":"v1","metadata":{"name":"x","labels":{"a":1}}}`, 400, "a label is not a string"},
		{"POST", nodes, "application/json", `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"}}`, 400, "another kind"},
		{"POST", nodes, "application/json", `{"kind":"Node","apiVersion":"v1","metadata":{"name":"x"},"spec":[]}`, 400, "spec is not an object"},
		{"POST", nodes, "application/json", `{"kind":"Node","apiVersion":"v1","metadata":{}}`, 422, "no name"},
		{"POST", nodes + "?fieldValidation=Strict", "application/json", `{"kind":"Node","apiVersion":"v1","metadata":{"name":"x"},"spek":1}`, 400, "unknown field"},
		{"POST", nodes + "?dryRun=Some", "application/json", `{}`, 400, "dryRun knows All only"},
		{"POST", nodes, "application/vnd.kubernetes.protobuf", "k8s\x00", 400, "broken protobuf"},
		{"POST", nodes, "application/cbor", "x", 415, "CBOR"},
		{"POST", nodes, "application/yaml", "a: [", 400, "broken YAML"},
		{"POST", nodes, "application/json", `{"a":"` + strings.Repeat("x", 4<<20) + `"}`, 413, "too large"},
		{"GET", nodes + "?limit=-1", "", "", 400, "negative limit"},
		{"GET", nodes + "?continue=zzz", "", "", 400, "foreign continue token"},
		{"GET", nodes + "?resourceVersion=abc", "", "", 400, "revision is not a number"},
		{"GET", nodes + "?labelSelector=%3D%3D", "", "", 400, "bad label selector"},
		{"GET", nodes + "?fieldSelector=spec.foo%3Dx", "", "", 400, "unknown field selector"},
		{"GET", nodes + "?watch=true&sendInitialEvents=true", "", "", 400, "streaming list without resourceVersionMatch"},
		{"GET", "/api/v1/nope", "", "", 404, "no such resource"},
		{"GET", "/api/v1/namespaces/default/nodes/x/y/z", "", "", 404, "no such subresource"},
		{"GET", "/", "", "", 404, "root"},
		{"GET", "//", "", "", 404, "empty segments"},
		{"PATCH", cms + "/here", "application/json-patch+json", `{`, 400, "broken JSON patch"},
		{"PATCH", cms + "/here", "application/json-patch+json", `[{"op":"replace","path":"/a/b","value":1}]`, 422, "a patch that does not fit"},
		{"PATCH", cms + "/here", "application/json-patch+json", `[{"op":"replace","path":"","value":null}]`, 422, "a patch that removes everything"},
		{"PATCH", cms + "/here", "application/merge-patch+json", `[]`, 400, "a merge patch that is a list"},
		{"PATCH", cms + "/here", "application/merge-patch+json", `{"metadata":{"name":"there"}}`, 400, "a name cannot change"},
		{"PATCH", cms + "/here", "application/strategic-merge-patch+json", `"x"`, 400, "a strategic patch that is a string"},
		{"PATCH", cms + "/here", "application/apply-patch+yaml", `a: 1`, 400, "an apply without a manager"},
		{"PATCH", cms + "/here?fieldManager=m", "application/apply-patch+yaml", "- 1", 400, "an apply of a list"},
		{"PATCH", cms + "/here?fieldManager=m", "application/apply-patch+yaml", `{kind: ConfigMap, apiVersion: v2, metadata: {name: here}}`, 400, "an apply of another version"},
		{"PATCH", cms + "/here", "text/plain", `x`, 415, "unknown patch type"},
		{"PATCH", cms, "application/merge-patch+json", `{}`, 405, "a patch of a collection"},
		{"PUT", cms + "/gone", "application/json", `{"metadata":{"name":"gone"}}`, 404, "an update creates nothing"},
		{"DELETE", cms + "/here", "application/json", `{"preconditions":{"uid":"other"}}`, 409, "a precondition that does not hold"},
		{"DELETE", "/api/v1/namespaces/kube-system", "", "", 403, "kube-system stays"},
		{"TRACE", cms + "/here", "", "", 405, "unknown method"},
	} {
		r := httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body))
		r = r.WithContext(kubeapi.WithUser(t.Context(), kubeapi.User{Name: "m", Groups: []string{"system:masters"}}))
		if tc.contentType != "" {
			r.Header.Set("Content-Type", tc.contentType)
		}
		resp := serve(s, r)
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tc.want || !strings.Contains(string(body), `"kind":"Status"`) {
			t.Errorf("%s: %s %s: %d, want %d: %.300s", tc.reason, tc.method, tc.path, resp.StatusCode, tc.want, body)
		}
	}
}

func FuzzWrites(f *testing.F) {
	f.Add("PATCH", "application/apply-patch+yaml", `{kind: ConfigMap, apiVersion: v1, metadata: {name: here, managedFields: []}, data: {a: b}}`)
	f.Add("PATCH", "application/strategic-merge-patch+json", `{"metadata":{"$patch":"delete"}}`)
	f.Add("PUT", "application/json", `{"metadata":{"name":"here","ownerReferences":[3]}}`)
	f.Fuzz(func(t *testing.T, method, contentType, body string) {
		s := newServer(t)
		if _, err := s.Store().Create(kubeapi.ConfigMaps, configMap("here")); err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "/api/v1/namespaces/default/configmaps/here?fieldManager=m", strings.NewReader(body))
		if err != nil {
			t.Skip("not a request")
		}
		r = r.WithContext(kubeapi.WithUser(r.Context(), kubeapi.User{Name: "m", Groups: []string{"system:masters"}}))
		r.Header.Set("Content-Type", contentType)
		if code := serve(s, r).StatusCode; code == http.StatusInternalServerError {
			t.Logf("internal error for %q", body)
		}
	})
}
