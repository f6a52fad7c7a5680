// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/contract"
)

// aliases are routes that the document does not name: other spellings of one
// that it does.
func aliases() map[string]string {
	return map[string]string{}
}

// The document has what is served, and nothing else.
func TestRoutesAreTheContracts(t *testing.T) {
	t.Parallel()
	doc, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	form := func(path string) string { return pathParameter.ReplaceAllString(path, "{}") }
	named := map[string]contract.Operation{}
	for _, op := range doc.Served() {
		named[op.Method+" "+form(op.Path)] = op
	}
	for _, r := range api.Table() {
		key := r.Method + " " + form(r.Pattern)
		if aliases()[key] != "" {
			key = aliases()[key]
		}
		op, ok := named[key]
		switch {
		case !ok:
			t.Errorf("%s is served and not in the document", key)
			continue
		case op.ID != r.Operation:
			t.Errorf("%s is operation %s, the document says %s", key, r.Operation, op.ID)
		case op.Status != r.Status:
			t.Errorf("%s succeeds with %d, the document says %d", key, r.Status, op.Status)
		case doc.HasBody(op.ID) != (r.Body && !r.File) && op.ID != "v1ProjectsUidDelete": // its body would ask to delete what is in the project
			t.Errorf("%s reads a body: %t, the document says otherwise", key, r.Body)
		}
		delete(named, key)
	}
	for key, op := range named {
		t.Errorf("%s (%s) is in the document and not served", key, op.ID)
	}
}

func TestNotServed(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e9, 1e9 })
	for _, tt := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"POST", "/v1/spectroclusters/vsphere", http.StatusBadRequest, "OperationNotServed"},
		{"GET", "/v1/cloudaccounts/maas/6b02d940ee635acca8a1e2d7", http.StatusBadRequest, "OperationNotServed"},
		{"GET", "/v1/nothing/of/this/kind", http.StatusNotFound, "RouteNotFound"},
		{"GET", "/", http.StatusNotFound, "RouteNotFound"},
	} {
		a := h.want(tt.status, tt.method, tt.path, nil)
		if e := a.err(t); e.Code != tt.code {
			t.Errorf("%s %s: %s", tt.method, tt.path, e.Code)
		}
	}
	served := map[string]bool{}
	for _, r := range api.Table() {
		served[r.Operation] = true
	}
	n := 0
	for _, op := range contract.Operations() {
		if served[op.ID] {
			continue
		}
		n++
		path := pathParameter.ReplaceAllString(op.Path, "6b02d940ee635acca8a1e2d7")
		a := h.send(op.Method, path, nil)
		if e := a.err(t); a.status != http.StatusBadRequest || e.Code != "OperationNotServed" {
			t.Errorf("%s %s (%s): %d %s", op.Method, path, op.ID, a.status, e.Code)
		}
	}
	t.Logf("%d operations are not served", n)
}

// A profile comes back from the file that it was exported to.
func TestImportOfAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	upload := func(path, member, content string) answer {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		part, err := m.CreateFormFile(member, "profile")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		return w.send("POST", path, b.Bytes(), "Content-Type", m.FormDataContentType())
	}
	const path = "/v1/clusterprofiles/import/file"
	for _, format := range []string{"json", "yaml"} {
		file := string(w.want(http.StatusOK, "GET", "/v1/clusterprofiles/"+w.addon+"/export?format="+format, nil).body)
		file = strings.Replace(file, "extra", "from-"+format, 1)
		a := upload(path+"?publish=true&format="+format, "importFile", file)
		if a.status != http.StatusCreated {
			t.Fatalf("%s: %d %s\n%s", format, a.status, a.body, file)
		}
		w.want(http.StatusOK, "GET", "/v1/clusterprofiles/"+a.uid(t), nil)
	}
	for _, tt := range []struct {
		reason string
		got    answer
		status int
	}{
		{"another member", upload(path, "other", "{}"), http.StatusBadRequest},
		{"no JSON", upload(path, "importFile", "{"), http.StatusBadRequest},
		{"no YAML", upload(path+"?format=yaml", "importFile", "a: [b"), http.StatusBadRequest},
		{"another format", upload(path+"?format=toml", "importFile", "{}"), http.StatusBadRequest},
		{"too much", upload(path, "importFile", strings.Repeat(" ", 2<<20)), http.StatusRequestEntityTooLarge},
		{"no multipart", w.send("POST", path, "{}"), http.StatusUnsupportedMediaType},
	} {
		if tt.got.status != tt.status {
			t.Errorf("%s: status %d, want %d: %s", tt.reason, tt.got.status, tt.status, tt.got.body)
		}
	}
}
