// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	armHost      = "arm.example"
	loginHost    = "login.example"
	subscription = "00000000-0000-0000-0000-0000000000aa"
	group        = "rg-test"
	region       = "westeurope"
	// canary is the secret that must never be seen outside of the token request.
	canary = "canary-secret-value-for-tests"
)

func target() resource.Target {
	return resource.Target{
		Cloud:    resource.Cloud{Name: "test", ARMURL: "https://" + armHost, AuthorityURL: "https://" + loginHost},
		TenantID: "11111111-1111-1111-1111-111111111111", ClientID: "22222222-2222-2222-2222-222222222222",
		ClientSecret: lazuli.NewSecret(canary), SubscriptionID: subscription, Location: region,
	}
}

func idOf(t resource.Type, name string) string { return resource.ID(subscription, group, t, name) }

// inProcess is a transporter that calls a handler in the caller's goroutine.
type inProcess struct {
	handler http.Handler

	mu    sync.Mutex
	calls []seen
}

type seen struct {
	Method, Host, Path, Query string
	Header                    http.Header
	Body                      []byte
}

func (s seen) String() string { return s.Method + " " + s.Host + s.Path }

var errLost = errors.New("connection reset by peer")

// Do implements policy.Transporter.
func (p *inProcess) Do(req *http.Request) (_ *http.Response, err error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	var body []byte
	if req.Body != nil {
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	p.calls = append(p.calls, seen{
		Method: req.Method, Host: req.URL.Host, Path: req.URL.Path, Query: req.URL.RawQuery, Header: req.Header.Clone(), Body: body,
	})
	p.mu.Unlock()
	in := req.Clone(req.Context())
	in.Host, in.Body, in.RequestURI = req.URL.Host, io.NopCloser(bytes.NewReader(body)), req.URL.RequestURI()
	defer func() {
		if recover() != nil { // http.ErrAbortHandler: the connection breaks
			err = &url.Error{Op: req.Method, URL: req.URL.String(), Err: errLost} // as http.Client tells it
		}
	}()
	rec := httptest.NewRecorder()
	p.handler.ServeHTTP(rec, in)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// arm returns the calls to Resource Manager.
func (p *inProcess) arm() []seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []seen
	for _, c := range p.calls {
		if c.Host == armHost {
			out = append(out, c)
		}
	}
	return out
}

// entra answers as Entra ID does to a client that may sign in.
func entra(w http.ResponseWriter, r *http.Request) bool {
	if r.Host != loginHost {
		return false
	}
	if strings.HasSuffix(r.URL.Path, "/token") {
		reply(w, http.StatusOK, `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"a-token"}`)
		return true
	}
	base := "https://" + loginHost + "/tenant"
	reply(w, http.StatusOK, fmt.Sprintf(
		`{"issuer":%q,"token_endpoint":%q,"authorization_endpoint":%q,"jwks_uri":%q}`,
		base, base+"/token", base+"/authorize", base+"/keys"))
	return true
}

func reply(w http.ResponseWriter, status int, body string, headers ...string) {
	for i := 0; i+1 < len(headers); i += 2 {
		w.Header().Set(headers[i], headers[i+1])
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// fixture makes a client whose Resource Manager is the handler.
func fixture(t *testing.T, arm http.HandlerFunc) (*azure.Client, *inProcess) {
	t.Helper()
	wire := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !entra(w, r) {
			arm(w, r)
		}
	})}
	return azure.New(azure.Config{Transport: wire}), wire
}

// always answers each request in the same way.
func always(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, status, body, headers...) }
}

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func indent(t *testing.T, raw []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("the body is not JSON: %v", err)
	}
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}
