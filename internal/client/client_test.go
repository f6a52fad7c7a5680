// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/client"
	"github.com/lazuli-dev/lazuli/internal/contract"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

const (
	uid     = "0123456789abcdef01234567"
	cluster = `{"metadata":{"name":"c","uid":"` + uid + `"}}`
)

// server serves one handler and returns a client of it.
type server func(*testing.T, http.HandlerFunc) (*client.Client, *httptest.Server)

// hub serves one handler over TLS and returns a client of it. What it answers is
// held against the contract: the client is tested with what a hub may say.
func hub(t *testing.T, h http.HandlerFunc) (*client.Client, *httptest.Server) {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	return stranger(t, c.Handler(h, func(err error) { t.Errorf("not as the contract has it: %v", err) }).ServeHTTP)
}

// stranger is something in the hub's place that knows no contract.
func stranger(t *testing.T, h http.HandlerFunc) (*client.Client, *httptest.Server) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{
		URL: srv.URL, APIKey: lazuli.NewSecret("canary-key"), CAFile: ca, Project: "project-uid",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, srv
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(b)
}

func TestRequest(t *testing.T) {
	t.Parallel()
	c, _ := hub(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for name, want := range map[string]string{"ApiKey": "canary-key", "ProjectUid": "project-uid", "Content-Type": "application/json"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("header %s is %q", name, got)
			}
		}
		if r.Method != http.MethodPost || r.URL.Path != "/v1/cloudaccounts/azure" || !strings.Contains(string(body), `"name":"a"`) {
			t.Errorf("%s %s %s", r.Method, r.URL, body)
		}
		answer(w, http.StatusCreated, palette.UID{UID: uid})
	})
	got, err := c.CreateAccount(t.Context(), palette.AzureAccount{Metadata: palette.ObjectMeta{Name: "a"}})
	if err != nil || got != uid {
		t.Errorf("%q, %v", got, err)
	}
}

// TestPathsAreEscapedOnce: what a user types as a uid must not reach another path.
func TestPathsAreEscapedOnce(t *testing.T) {
	t.Parallel()
	c, _ := hub(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.EscapedPath(); got != "/v1/spectroclusters/..%2Fx%3Fy%20z" {
			t.Errorf("path %s", got)
		}
		answer(w, http.StatusOK, json.RawMessage(cluster))
	})
	if _, err := c.Cluster(t.Context(), "../x?y z"); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason      string
		status      int
		contentType string
		body        string
		code        lazuli.Code
		contains    string
		fields      int
		serve       server
	}{
		{
			"findings per field and the remedy come through", http.StatusBadRequest, "application/json",
			`{"code":"InvalidField","message":"spec.a: bad","details":{"fields":[{"field":"spec.a","message":"bad"}],"remedy":"mend it"}}`,
			lazuli.CodeInvalidField, "spec.a: bad", 1, hub,
		},
		{
			"an internal error carries the reference for the logs", http.StatusInternalServerError, "application/json; charset=utf-8",
			`{"code":"InternalError","message":"broke","ref":"r1"}`, lazuli.CodeInternal, "(reference r1)", 0, hub,
		},
		{
			"something before the hub that speaks HTML", http.StatusBadGateway, "text/html",
			"<html>canary</html>", lazuli.CodeUnavailable, "the hub answered 502", 0, stranger,
		},
		{"a code out of the status", http.StatusUnauthorized, "", "", lazuli.CodeUnauthenticated, "401", 0, stranger},
		{"JSON that is no error of ours", http.StatusForbidden, "application/json", `[]`, lazuli.CodeForbidden, "403", 0, stranger},
		{"a redirect is not followed: it would carry the key away", http.StatusFound, "", "", lazuli.CodeInternal, "302", 0, stranger},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			c, _ := tt.serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.contentType)
				w.Header().Set("Location", "https://example.com/")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			_, err := c.Cluster(t.Context(), uid)
			if lazuli.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.contains) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %s: %v", lazuli.CodeOf(err), err)
			}
			r, ok := errors.AsType[*client.RefusedError](err)
			if !ok || r.Status != tt.status || len(r.Err.Fields) != tt.fields {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		call   func(context.Context, *client.Client) error
		status int
		wait   string
		calls  int64
		good   bool
	}{
		{"GET after 503", getCluster, http.StatusServiceUnavailable, "0", 2, true},
		{"GET after 429", getCluster, http.StatusTooManyRequests, "0", 2, true},
		{"GET not after 500, which is final", getCluster, http.StatusInternalServerError, "0", 1, false},
		{"GET not when the hub asks for longer than anyone waits", getCluster, http.StatusServiceUnavailable, "3600", 1, false},
		{"POST never: it may have been carried out", createCluster, http.StatusServiceUnavailable, "0", 1, false},
		{"DELETE never", deleteCluster, http.StatusTooManyRequests, "0", 1, false},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			c, _ := hub(t, func(w http.ResponseWriter, _ *http.Request) {
				if calls.Add(1) == 1 {
					w.Header().Set("Retry-After", tt.wait)
					answer(w, tt.status, palette.Error{Code: "Unavailable", Message: "later"})
					return
				}
				answer(w, http.StatusOK, json.RawMessage(cluster))
			})
			err := tt.call(t.Context(), c)
			if (err == nil) != tt.good || calls.Load() != tt.calls {
				t.Errorf("%d calls, %v", calls.Load(), err)
			}
		})
	}
}

func getCluster(ctx context.Context, c *client.Client) error {
	_, err := c.Cluster(ctx, uid)
	return err
}

func createCluster(ctx context.Context, c *client.Client) error {
	_, err := c.CreateCluster(ctx, palette.AzureClusterEntity{Metadata: &palette.ObjectMeta{}})
	return err
}

func deleteCluster(ctx context.Context, c *client.Client) error {
	return c.DeleteCluster(ctx, uid, false)
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	c, srv := hub(t, func(http.ResponseWriter, *http.Request) {})
	srv.Close()
	err := getCluster(t.Context(), c)
	if lazuli.CodeOf(err) != lazuli.CodeUnavailable || lazuli.RemedyOf(err) == "" || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

func TestStrangersCertificate(t *testing.T) {
	t.Parallel()
	_, srv := hub(t, func(http.ResponseWriter, *http.Request) { t.Error("the key was sent to a stranger") })
	c, err := client.New(client.Config{URL: srv.URL, APIKey: lazuli.NewSecret("k")})
	if err != nil {
		t.Fatal(err)
	}
	err = getCluster(t.Context(), c)
	if !strings.Contains(err.Error(), "not trusted") || !strings.Contains(lazuli.RemedyOf(err), "LAZULI_CA_FILE") {
		t.Errorf("got %v, remedy %q", err, lazuli.RemedyOf(err))
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(bad, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []client.Config{
		{URL: ""}, {URL: "127.0.0.1:9443"}, {URL: "ftp://x"}, {URL: "https://x/path"},
		{URL: "https://x", CAFile: bad}, {URL: "https://x", CAFile: bad + "-missing"},
	} {
		if _, err := client.New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// TestClustersFollowsPages: a name on the second page is a name.
func TestClustersFollowsPages(t *testing.T) {
	t.Parallel()
	c, _ := hub(t, func(w http.ResponseWriter, r *http.Request) {
		item := palette.ClusterSummary{Metadata: palette.ObjectMeta{Name: "a" + r.URL.Query().Get("continue")}}
		item.SpecSummary.CloudConfig.MachinePools = []palette.MachinePoolMeta{}
		item.SpecSummary.ClusterProfileTemplates = []palette.ClusterProfileTemplateMeta{}
		item.Status.Health.Conditions = []palette.HealthCondition{}
		item.Status.Location = json.RawMessage(`{}`)
		page := palette.List[palette.ClusterSummary]{
			Items:    []palette.ClusterSummary{item},
			ListMeta: &palette.ListMeta{},
		}
		if r.URL.Query().Get("continue") == "" {
			page.ListMeta.Continue = "next"
		}
		answer(w, http.StatusOK, page)
	})
	items, err := c.Clusters(t.Context(), "")
	if err != nil || len(items) != 2 || items[1].Metadata.Name != "anext" {
		t.Errorf("%+v, %v", items, err)
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	c, _ := hub(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "text/event-stream" || r.URL.Path != "/lazuli/v1/clusters/"+uid+"/watch" {
			t.Errorf("%s with %v", r.URL, r.Header)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, ": alive\n\nid: 1\nevent: tasks\ndata: a\ndata: b\n\ndata:c\n\nevent: empty\n\ndata: cut off")
	})
	var got []client.Event
	err := c.Stream(t.Context(), "/lazuli/v1/clusters/"+uid+"/watch", nil, func(e client.Event) error {
		got = append(got, e)
		return nil
	})
	want := []client.Event{{Name: "tasks", ID: "1", Data: "a\nb"}, {Name: "message", ID: "1", Data: "c"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestWatchSignals(t *testing.T) {
	t.Parallel()
	c, _ := hub(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "data: x\n\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	changed := c.Watch(ctx, uid)
	if _, ok := <-changed; !ok {
		t.Error("closed before the end")
	}
	cancel()
	for range changed {
	}
}
