// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What the servers of tests and the clients of tests report is the same.
func TestObserved(t *testing.T) {
	t.Parallel()
	const list, uid = "/v1/dashboard/projects/metadata", "/v1/spectroclusters/x%2Fy"
	for _, tt := range []struct {
		reason, method, path string
		status               int
		kind, body           string
		want                 string // part of the report, "" for none
	}{
		{"a good answer", "GET", list, 200, "application/json; charset=utf-8", `{"items":[]}`, ""},
		{"a bad one", "GET", list, 200, "application/json", `{"items":[],"more":1}`, "more"},
		{"an error where the path is escaped", "GET", uid, 404, "application/json", `{"code":"ResourceNotFound","message":"m"}`, ""},
		{"a bad error", "GET", uid, 404, "application/json", `{"error":"m"}`, "v1SpectroClustersGet"},
		{"an error without a code", "GET", uid, 404, "application/json", `{"message":"m"}`, "names no code"},
		{"a path that nobody knows", "GET", "/nothing", 404, "application/json", `{"code":"RouteNotFound","message":"m"}`, ""},
		{"a path that nobody knows, served", "GET", "/nothing", 200, "application/json", `{}`, "no such operation"},
		{"a path that nobody knows, refused in another form", "GET", "/nothing", 404, "text/plain", "no", "its type is"},
		{"a stream", "GET", "/lazuli/v1/clusters/x/watch", 200, "text/event-stream", "data: x\n\n", ""},
		{"a stream that is none", "GET", "/lazuli/v1/clusters/x/watch", 200, "text/plain", "data: x\n\n", "its type is"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			var told []string
			report := func(err error) { told = append(told, err.Error()) }
			plain := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			c := load(t)
			req := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, http.NoBody)
			c.Handler(plain, report).ServeHTTP(httptest.NewRecorder(), req)
			res, err := c.Transport(served{plain}, report).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != tt.body {
				t.Errorf("the answer is passed on as %q, %v", body, err)
			}
			switch {
			case tt.want == "" && len(told) > 0:
				t.Errorf("reported %q", told)
			case tt.want != "" && (len(told) != 2 || told[0] != told[1] || !strings.Contains(told[0], tt.want)):
				t.Errorf("reported %q, want %q twice", told, tt.want)
			}
		})
	}
}

// served is a server without a network.
type served struct{ http.Handler }

func (s served) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	return rec.Result(), nil
}
