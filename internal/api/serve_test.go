// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

func TestErrorsPage(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "errors.md")
	want := api.ErrorsMarkdown()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("docs/errors.md is out of date; go test ./internal/api -update (-want +got):\n%s", d)
	}
}

func TestErrorTable(t *testing.T) {
	t.Parallel()
	seen := map[lazuli.Code]bool{}
	for _, r := range api.Errors() {
		if seen[r.Code] {
			t.Errorf("%s is there twice", r.Code)
		}
		seen[r.Code] = true
		if r.Status < 400 || r.Meaning == "" || r.Remedy == "" {
			t.Errorf("%s lacks a status, a meaning or a remedy", r.Code)
		}
		// Palette's clients repeat these for half an hour.
		if r.Status > 500 && !r.Retry {
			t.Errorf("%s: %d is repeated by clients, and repeating does not help", r.Code, r.Status)
		}
	}
	for _, c := range codesOf(t) {
		if !seen[c] {
			t.Errorf("%s has no row", c)
		}
	}
}

// codesOf reads the codes of the root package from its source.
func codesOf(t *testing.T) []lazuli.Code {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("..", "..", "errors.go"))
	if err != nil {
		t.Fatal(err)
	}
	var out []lazuli.Code
	for line := range strings.SplitSeq(string(src), "\n") {
		if _, rest, ok := strings.Cut(line, ` Code = "`); ok {
			code, _, _ := strings.Cut(rest, `"`)
			out = append(out, lazuli.Code(code))
		}
	}
	if len(out) < 20 {
		t.Fatalf("only %d codes found", len(out))
	}
	return out
}

func TestForms(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	const path = "/v1/cloudaccounts/azure"
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	before := h.counts()
	for _, tt := range []struct {
		reason string
		body   string
		header []string
		status int
		code   string
	}{
		{"nothing", "", nil, 400, "MalformedBody"},
		{"blanks", " \n", nil, 400, "MalformedBody"},
		{"no JSON", "hello", nil, 400, "MalformedBody"},
		{"YAML", "metadata:\n  name: x", nil, 400, "MalformedBody"},
		{"half of JSON", `{"metadata":`, nil, 400, "MalformedBody"},
		{"two documents", `{} {}`, nil, 400, "MalformedBody"},
		{"a key twice", `{"spec":{"a":1,"a":2}}`, nil, 400, "MalformedBody"},
		{"a key twice, once escaped", `{"spec":1,"\u0073pec":2}`, nil, 400, "MalformedBody"},
		{"NUL", `{"a":"\u0000"}`, nil, 400, "MalformedBody"},
		{"NUL in a key", `{"a\u0000":1}`, nil, 400, "MalformedBody"},
		{"half of a surrogate pair", `{"a":"\ud800"}`, nil, 400, "MalformedBody"},
		{"the other half", `{"a":"\udc00"}`, nil, 400, "MalformedBody"},
		{"two first halves", `{"a":"\ud800\ud800"}`, nil, 400, "MalformedBody"},
		{"a first half at the end", `{"a":"\ud800`, nil, 400, "MalformedBody"},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", nil, 400, "MalformedBody"},
		{"NaN", `{"a":NaN}`, nil, 400, "MalformedBody"},
		{"deep objects", deep(65), nil, 400, "MalformedBody"},
		{"very deep lists", strings.Repeat("[", 100000), nil, 400, "MalformedBody"},
		{"very deep and closed", strings.Repeat("[", 100000) + strings.Repeat("]", 100000), nil, 400, "MalformedBody"},
		{"just deep enough", deep(63), nil, 400, "InvalidField"},
		{"a whole pair", `{"metadata":{"name":"\ud83d\ude00"}}`, nil, 400, "InvalidField"},
		{"null", `null`, nil, 400, "InvalidField"},
		{"a list", `[]`, nil, 400, "InvalidField"},
		{"a text", `"x"`, nil, 400, "InvalidField"},
		{"a number", `1e999`, nil, 400, "InvalidField"},
		{"too large", `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 413, "BodyTooLarge"},
		{"a form", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "UnsupportedMediaType"},
		{"text", "{}", []string{"Content-Type", "text/plain"}, 415, "UnsupportedMediaType"},
		{"a broken type", "{}", []string{"Content-Type", ";;"}, 415, "UnsupportedMediaType"},
		{"another charset", "{}", []string{"Content-Type", "application/json; charset=utf-16"}, 415, "UnsupportedMediaType"},
		{"gzip", "{}", []string{"Content-Encoding", "gzip"}, 415, "UnsupportedMediaType"},
		{"JSON with its charset", "{}", []string{"Content-Type", "application/json; charset=UTF-8"}, 400, "InvalidField"},
		{"JSON without a word", "{}", []string{"Content-Type", ""}, 400, "InvalidField"},
	} {
		a := h.send("POST", path, tt.body, tt.header...)
		if a.status != tt.status || a.err(t).Code != tt.code {
			t.Errorf("%s: status %d, %.200s", tt.reason, a.status, a.body)
		}
		if ct := a.header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: an error of type %s, which Palette's clients cannot read", tt.reason, ct)
		}
	}
	if d := cmp.Diff(before, h.counts()); d != "" {
		t.Error(d)
	}
}

func TestAdmission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid := w.create("prod")
	other := strings.Repeat("c", 24)
	w.add(&lazuli.Project{Meta: lazuli.Meta{UID: other, Name: "Other"}})
	reader := w.key("reader", "", false)
	bound := w.key("bound", w.project, true)
	stranger := w.key("stranger", other, true)
	type req struct {
		reason, method, path string
		body                 any
		key, project         string
		status               int
	}
	cluster := "/v1/spectroclusters/" + uid
	for _, tt := range []req{
		{"no key", "GET", cluster, nil, "", "", 401},
		{"a wrong key", "GET", cluster, nil, "lz_no", "", 401},
		{"a wrong key at a path that is none", "GET", "/v1/none", nil, "lz_no", "", 404},
		{"a reader looks", "GET", cluster, nil, reader, "", 200},
		{"a reader searches", "POST", "/v1/dashboard/spectroclusters/search", object{}, reader, "", 200},
		{"a reader does not create", "POST", "/v1/spectroclusters/azure", w.body(), reader, w.project, 403},
		{"a reader does not plan", "POST", "/lazuli/v1/clusters/plan", w.body(), reader, w.project, 403},
		{"a reader does not delete", "DELETE", cluster, nil, reader, "", 403},
		{"a reader has no administrator's kubeconfig", "GET", cluster + "/assets/adminKubeconfig", nil, reader, "", 403},
		{"a reader has no kubeconfig, which Terraform takes for empty", "GET", cluster + "/assets/kubeconfigclient", nil, reader, "", 404},
		{"the header does not hide an object", "GET", cluster, nil, adminKey, other, 200},
		{"nor does an absent one", "GET", cluster, nil, adminKey, "", 200},
		{"nor does a wrong one", "GET", cluster, nil, adminKey, "nonsense", 200},
		{"but nothing is created in a project that is none", "POST", "/v1/clusterprofiles", w.profileBody("x"), adminKey, "nonsense", 400},
		{"nor listed", "GET", "/v1/spectroclusters", nil, adminKey, "nonsense", 400},
		{"a key of the project sees it", "GET", cluster, nil, bound, "", 200},
		{"a key of another project does not", "GET", cluster, nil, stranger, "", 404},
		{"whatever its header says", "GET", cluster, nil, stranger, w.project, 404},
		{"nor its overview", "GET", "/v1/dashboard/spectroclusters/" + uid + "/overview", nil, stranger, "", 404},
		{"nor its tasks", "GET", "/lazuli/v1/clusters/" + uid + "/tasks", nil, stranger, "", 404},
		{"nor its watch", "GET", "/lazuli/v1/clusters/" + uid + "/watch", nil, stranger, "", 404},
		{"nor its events", "GET", "/v1/events/components/spectrocluster/" + uid, nil, stranger, "", 404},
		{"nor its account", "GET", "/v1/cloudaccounts/azure/" + w.account, nil, stranger, "", 404},
		{"nor its profile", "GET", "/v1/clusterprofiles/" + w.profile, nil, stranger, "", 404},
		{"nor does it delete it", "DELETE", cluster, nil, stranger, "", 404},
		{"nor does it create beside it", "POST", "/v1/clusterprofiles", w.profileBody("x"), stranger, w.project, 400},
		{"it creates in its own", "POST", "/v1/clusterprofiles", w.profileBody("x"), stranger, "", 201},
		{"a bound key does not create for the tenant", "POST", "/v1/cloudaccounts/azure", accountBody("t", "tenant"), bound, "", 403},
	} {
		if a := w.send(tt.method, tt.path, tt.body, "ApiKey", tt.key, "ProjectUid", tt.project); a.status != tt.status {
			t.Errorf("%s: status %d, want %d: %s", tt.reason, a.status, tt.status, a.body)
		}
	}
	// A cluster of the tenant, with its kubeconfig, is not each project's.
	ofTenant := w.want(201, "POST", "/v1/spectroclusters/azure", w.body(), "ProjectUid", "").uid(t)
	for _, path := range []string{"/v1/spectroclusters/" + ofTenant, "/v1/spectroclusters/" + ofTenant + "/assets/adminKubeconfig",
		"/v1/dashboard/spectroclusters/" + ofTenant + "/overview"} {
		if e := w.want(404, "GET", path, nil, "ApiKey", bound, "ProjectUid", "").err(t); strings.Contains(e.Message, "kubeconfig") {
			t.Errorf("a key of a project sees a cluster of the tenant: %+v", e)
		}
	}
	w.want(200, "GET", "/v1/spectroclusters/"+ofTenant, nil, "ApiKey", reader, "ProjectUid", "")
	// Unseen and absent must not be told apart.
	unseen := w.want(404, "GET", cluster, nil, "ApiKey", stranger).err(t)
	absent := w.want(404, "GET", "/v1/spectroclusters/"+strings.Repeat("d", 24), nil, "ApiKey", stranger).err(t)
	unseen.Ref, absent.Ref = "", ""
	if strings.ReplaceAll(unseen.Message, uid, "X") != strings.ReplaceAll(absent.Message, strings.Repeat("d", 24), "X") || unseen.Code != absent.Code {
		t.Errorf("%+v tells from %+v", unseen, absent)
	}
	for path, want := range map[string]int{"/v1/spectroclusters": 0, "/v1/cloudaccounts/azure": 0, "/v1/dashboard/projects/metadata": 1} {
		var l palette.List[object]
		w.want(200, "GET", path, nil, "ApiKey", stranger, "ProjectUid", "").json(t, &l)
		if len(l.Items) != want {
			t.Errorf("%s shows a stranger %d items", path, len(l.Items))
		}
	}
}

// A uid inside a body is no way around the project that it belongs to, even for
// who may see both.
func TestBorrowing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := strings.Repeat("c", 24)
	w.add(&lazuli.Project{Meta: lazuli.Meta{UID: other, Name: "Other"}})
	foreign := w.want(201, "POST", "/v1/clusterprofiles", w.profileBody("foreign"), "ProjectUid", other).uid(t)
	w.want(204, "PATCH", "/v1/clusterprofiles/"+foreign+"/publish", nil)
	for _, tt := range []struct {
		project string
		body    object
		field   string
	}{
		{other, clusterBody("a", w.account, foreign), "spec.cloudAccountUid"},
		{w.project, clusterBody("a", w.account, foreign), "spec.profiles[0].uid"},
	} {
		e := w.want(400, "POST", "/v1/spectroclusters/azure", tt.body, "ProjectUid", tt.project).err(t)
		if !slices.Contains(paths(e), tt.field) {
			t.Errorf("%s: %+v", tt.field, e)
		}
	}
	// Who acts for the whole tenant may bring the projects' things together there.
	w.want(201, "POST", "/v1/spectroclusters/azure", clusterBody("a", w.account, w.profile), "ProjectUid", "")
	tenantAccount := w.want(201, "POST", "/v1/cloudaccounts/azure", accountBody("shared", "tenant")).uid(t)
	w.want(201, "POST", "/v1/spectroclusters/azure", clusterBody("a", tenantAccount, foreign), "ProjectUid", other)
	w.want(409, "DELETE", "/v1/cloudaccounts/azure/"+tenantAccount, nil)
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, tt := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/v1/none", 404, "RouteNotFound"},
		{"GET", "/", 404, "RouteNotFound"},
		{"PUT", "/v1/cloudaccounts/azure", 405, "MethodNotAllowed"},
		{"PATCH", "/healthz", 405, "MethodNotAllowed"},
		{"GET", "/v1/spectroclusters/x", 404, "ResourceNotFound"},
		{"GET", "/v1/spectroclusters/..%2f..%2fetc", 404, "ResourceNotFound"},
		{"GET", "/v1/spectroclusters/%00", 404, "ResourceNotFound"},
		{"GET", "/v1/spectroclusters/%ff%fe", 404, "ResourceNotFound"},
		{"GET", "/v1/clusterprofiles/" + strings.Repeat("a", 24), 404, "ResourceNotFound"},
		{"GET", "/v1/cloudconfigs/azure/x", 404, "ResourceNotFound"},
		{"GET", "/v1/cloudconfigs/azure/" + strings.Repeat("a", 24), 404, "ResourceNotFound"},
		{"GET", "/v1/packs/x", 404, "ResourceNotFound"},
		{"GET", "/v1/packs/kubernetes/registries/x", 404, "ResourceNotFound"},
		{"GET", "/v1/registries/pack/x/sync/status", 404, "ResourceNotFound"},
		{"GET", "/v1/events/components/edgehost/x", 404, "ResourceNotFound"},
		{"GET", "/v1/packs?limit=-1", 400, "InvalidField"},
		{"GET", "/v1/packs?limit=x", 400, "InvalidField"},
		{"GET", "/v1/packs?continue=x", 400, "InvalidField"},
		{"GET", "/v1/packs?filters=secret%3Dx", 400, "InvalidField"},
		{"GET", "/v1/spectroclusters?continue=x", 400, "InvalidField"},
	} {
		a := h.send(tt.method, tt.path, nil)
		if a.status != tt.status || a.err(t).Code != tt.code {
			t.Errorf("%s %s: status %d, %s", tt.method, tt.path, a.status, a.body)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		h.want(200, "GET", path, nil, "ApiKey", "")
	}
	a := h.want(200, "GET", "/lazuli/v1/version", nil)
	if !strings.Contains(string(a.body), "1.2.3") {
		t.Errorf("%s", a.body)
	}
	h.want(401, "GET", "/lazuli/v1/version", nil, "ApiKey", "")
	for _, k := range []string{"X-Content-Type-Options", "Content-Security-Policy", "Cache-Control", "X-Request-Id", "Strict-Transport-Security"} {
		if a.header.Get(k) == "" {
			t.Errorf("no header %s", k)
		}
	}
	golden(t, "projects.json", h.want(200, "GET", "/v1/dashboard/projects/metadata", nil, "ProjectUid", "").body, map[string]string{h.project: "<project>"})
	golden(t, "registries.json", h.want(200, "GET", "/v1/registries/metadata", nil).body, nil)
	golden(t, "sync.json", h.want(200, "GET", "/v1/registries/pack/"+h.packs.UID()+"/sync/status", nil).body, nil)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1, 3 })
	for range 3 {
		h.want(200, "GET", "/lazuli/v1/version", nil)
	}
	a := h.want(http.StatusTooManyRequests, "GET", "/lazuli/v1/version", nil)
	if a.err(t).Code != "TooManyRequests" || a.header.Get("Retry-After") == "" {
		t.Errorf("%s", a.body)
	}
	h.want(200, "GET", "/lazuli/v1/version", nil, "ApiKey", h.key("other", "", false)) // has a bucket of its own
	h.passed.Add(1)
	h.want(200, "GET", "/lazuli/v1/version", nil)
}

// brokenStore fails, or panics, where it is told to.
type brokenStore struct {
	store.Store
	err   error
	panic bool
}

func (b *brokenStore) Query(ctx context.Context, q store.Query) (store.Page, error) {
	if b.panic {
		panic("broken on purpose")
	}
	if b.err != nil {
		return store.Page{}, b.err
	}
	return b.Store.Query(ctx, q)
}

func TestBrokenStore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		broken brokenStore
		status int
		code   string
	}{
		{"the store cannot answer", brokenStore{err: lazuli.Errorf(lazuli.CodeUnavailable, "disk is full")}, 503, "Unavailable"},
		{"a defect", brokenStore{err: errors.New("CANARY-detail")}, 500, "InternalError"},
		{"a panic", brokenStore{panic: true}, 500, "InternalError"},
		{"the caller left", brokenStore{err: context.Canceled}, 503, "Unavailable"},
	} {
		h := newHub(t)
		tt.broken.Store = h.store
		broken, err := api.New(api.Config{
			Store: &tt.broken, Seal: h.seal, Prober: h.prober, Packs: h.packs, Now: h.now, Logger: h.api.Logger,
		})
		if err != nil {
			t.Fatal(err)
		}
		h.api = broken
		a := h.want(tt.status, "GET", "/v1/spectroclusters", nil)
		if a.err(t).Code != tt.code || bytes.Contains(a.body, []byte("CANARY")) || bytes.Contains(a.body, []byte("on purpose")) {
			t.Errorf("%s: %s", tt.reason, a.body)
		}
		if tt.broken.panic {
			if !strings.Contains(h.logs.String(), "brokenStore") {
				t.Errorf("%s: no stack in the log", tt.reason)
			}
			continue
		}
		if tt.status == 500 && !strings.Contains(h.logs.String(), "CANARY-detail") {
			t.Errorf("%s: the log does not tell what it was", tt.reason)
		}
		h.want(503, "GET", "/readyz", nil)
	}
}

// fullStore takes no changes while it is told to.
type fullStore struct {
	store.Store
	err   error
	asked int
}

func (f *fullStore) Writable(ctx context.Context) error {
	f.asked++
	if f.err != nil {
		return f.err
	}
	return f.Store.Writable(ctx)
}

// A hub that can read and not write is not ready, until it can.
func TestReadyWhileTheStoreTakesChanges(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	full := &fullStore{Store: h.store}
	a, err := api.New(api.Config{Store: full, Seal: h.seal, Prober: h.prober, Packs: h.packs, Now: h.now})
	if err != nil {
		t.Fatal(err)
	}
	h.api = a
	later := func() { h.passed.Add(1) }
	h.want(200, "GET", "/readyz", nil, "ApiKey", "")
	h.want(200, "GET", "/readyz", nil, "ApiKey", "")
	if full.asked != 1 {
		t.Errorf("two looks at once ask the store %d times", full.asked)
	}
	full.err = lazuli.Errorf(lazuli.CodeUnavailable, "CANARY")
	later()
	if a := h.want(503, "GET", "/readyz", nil, "ApiKey", ""); bytes.Contains(a.body, []byte("CANARY")) {
		t.Errorf("%s", a.body)
	}
	h.want(200, "GET", "/healthz", nil, "ApiKey", "")
	full.err = nil
	later()
	h.want(200, "GET", "/readyz", nil, "ApiKey", "")
}

func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rec := &auditStore{Store: w.store}
	a, err := api.New(api.Config{Store: rec, Seal: w.seal, Prober: w.prober, Packs: w.packs, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	w.api = a
	uid := w.want(201, "POST", "/v1/spectroclusters/azure", w.body()).uid(t)
	other := w.body()
	set(t, other, "metadata.annotations.description", "another")
	w.want(409, "POST", "/v1/spectroclusters/azure", other)
	w.want(400, "POST", "/v1/spectroclusters/azure", "{")
	w.want(204, "DELETE", "/v1/spectroclusters/"+uid, nil)
	w.want(404, "DELETE", "/v1/spectroclusters/nothing", nil)
	w.want(200, "GET", "/v1/spectroclusters/"+uid, nil)
	want := []lazuli.Audit{
		{Actor: "admin", Operation: "v1SpectroClustersAzureCreate", Project: w.project, Kind: lazuli.KindCluster, Object: uid, Outcome: "ok"},
		{Actor: "admin", Operation: "v1SpectroClustersAzureCreate", Outcome: "DuplicateName"},
		{Actor: "admin", Operation: "v1SpectroClustersAzureCreate", Outcome: "MalformedBody"},
		{Actor: "admin", Operation: "v1SpectroClustersDelete", Project: w.project, Kind: lazuli.KindCluster, Object: uid, Outcome: "ok"},
		{Actor: "admin", Operation: "v1SpectroClustersDelete", Object: "nothing", Outcome: "ResourceNotFound"},
	}
	for i := range rec.audits {
		if rec.audits[i].RequestID == "" {
			t.Error("no request id")
		}
		rec.audits[i].RequestID = ""
	}
	if d := cmp.Diff(want, rec.audits); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// auditStore keeps a copy of the audit records.
type auditStore struct {
	store.Store
	audits []lazuli.Audit
}

func (s *auditStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error { return fn(auditTx{tx, s}) })
}

type auditTx struct {
	store.Tx
	s *auditStore
}

func (t auditTx) AppendAudit(ctx context.Context, a lazuli.Audit) error {
	t.s.audits = append(t.s.audits, a)
	return t.Tx.AppendAudit(ctx, a)
}
