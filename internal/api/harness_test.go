// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/contract"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/seal"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
	"github.com/lazuli-dev/lazuli/test/e2e/tape"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Obviously of tests alone.
const (
	adminKey = "lz_test-key-of-the-administrator"
	sshKey   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ4lYc0jtZcS9bxyqzGa8eXW0VNTVvhBWUhhvmGDhVLp test@example"
	tenant   = "11111111-1111-4111-8111-111111111111"
	client   = "22222222-2222-4222-8222-222222222222"
	subs     = "33333333-3333-4333-8333-333333333333"
	canary   = "CANARY~client~secret~7f3a"
)

// cheapPasswords keep tests from waiting for hashes.
var cheapPasswords = auth.PasswordParams{Memory: 64, Iterations: 1, Parallelism: 1}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// hub is an API over a real store and a real sealer, with Azure written by
// hand.
type hub struct {
	t       testing.TB
	store   store.Store
	seal    *seal.Sealer
	api     *api.API
	prober  *prober
	packs   *pack.Registry
	logs    *lockedBuffer
	dbPath  string
	project string
	user    string
	// password is the administrator's first.
	password lazuli.Secret
	passed   atomic.Int64 // seconds since noon
	model    *tape.Model
	answers  bytes.Buffer // all bodies and headers that were sent
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// prober answers what it was told to.
type prober struct {
	mu        sync.Mutex
	account   error
	placement api.Placement
	err       error
	asked     []api.AzureCredentials
	hang      bool
}

func (p *prober) CheckAccount(ctx context.Context, c api.AzureCredentials) error {
	return p.ask(ctx, c, p.account)
}

func (p *prober) Placement(ctx context.Context, c api.AzureCredentials, _, _ string) (api.Placement, error) {
	return p.placement, p.ask(ctx, c, p.err)
}

func (p *prober) ask(ctx context.Context, c api.AzureCredentials, err error) error {
	p.mu.Lock()
	p.asked = append(p.asked, c)
	p.mu.Unlock()
	if p.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func goodPlacement() api.Placement {
	zones := []string{"1", "2", "3"}
	return api.Placement{
		SubscriptionFound: true, GroupFound: true, GroupLocation: "westeurope",
		Locations: []string{"eastus", "northcentralus", "westeurope"},
		Sizes: map[string]api.SizeInfo{
			"Standard_D4s_v3": {VCPUs: 4, MemoryGB: 16, Zones: zones, Arch: "amd64", PremiumIO: true},
			"Standard_D2s_v3": {VCPUs: 2, MemoryGB: 8, Zones: []string{"1", "2"}, Arch: "amd64", PremiumIO: true},
			"Standard_D2_v2":  {VCPUs: 2, MemoryGB: 7, Arch: "amd64"},
			"Standard_B1s":    {VCPUs: 1, MemoryGB: 1, Zones: zones, Arch: "amd64", PremiumIO: true},
			"Standard_NC12s_v3": {VCPUs: 12, MemoryGB: 224, Zones: zones, Arch: "amd64", PremiumIO: true,
				Restricted: true, Reason: "NotAvailableForSubscription"},
		},
		DiskTypes: []string{"Standard_LRS", "StandardSSD_LRS", "Premium_LRS"},
		Zones:     zones,
	}
}

func (h *hub) now() time.Time { return noon.Add(time.Duration(h.passed.Load()) * time.Second) }

type option func(*api.Config, *hub)

func inFile(_ *api.Config, h *hub) { h.dbPath = filepath.Join(h.t.TempDir(), "hub.db") }

func newHub(t testing.TB, opts ...option) *hub {
	t.Helper()
	h := &hub{t: t, model: tape.NewModel(), prober: &prober{placement: goodPlacement()}, logs: &lockedBuffer{}, dbPath: sqlite.Memory}
	cfg := api.Config{
		Prober: h.prober,
		Logger: slog.New(slog.NewJSONHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    h.now,
		Random: rand.NewChaCha8([32]byte{1}), Version: "1.2.3",
	}
	for _, o := range opts {
		o(&cfg, h)
	}
	var err error
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h.store, err = sqlite.Open(t.Context(), sqlite.Options{
		Path: h.dbPath, Now: cfg.Now, Random: rand.NewChaCha8([32]byte{2}), Listings: api.Listings(),
	})
	must(err)
	t.Cleanup(func() { must(h.store.Close()) })
	h.seal, err = seal.Open(filepath.Join(t.TempDir(), "seal.key"))
	must(err)
	h.packs, err = pack.Builtin()
	must(err)
	boot, err := auth.Bootstrap(t.Context(), h.store, auth.BootstrapOptions{
		Key: lazuli.NewSecret(adminKey), Now: cfg.Now, Random: rand.NewChaCha8([32]byte{3}), Passwords: cheapPasswords,
	})
	must(err)
	h.project, h.user, h.password = boot.ProjectUID, boot.UserUID, boot.Password
	cfg.Passwords = cheapPasswords
	cfg.Store, cfg.Seal, cfg.Packs = h.store, h.seal, h.packs
	h.api, err = api.New(cfg)
	must(err)
	t.Cleanup(h.api.Close)
	return h
}

// answer is what a request was answered with.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send sends a request as the administrator in the project Default; header
// pairs replace that, and an empty value removes a header.
func (h *hub) send(method, path string, body any, header ...string) answer {
	h.t.Helper()
	var sent []byte
	var r io.Reader = http.NoBody
	if body != nil {
		sent = h.bytes(body)
		r = bytes.NewReader(sent)
	}
	req := httptest.NewRequestWithContext(h.t.Context(), method, path, r)
	req.Header.Set("ApiKey", adminKey)
	req.Header.Set("ProjectUid", h.project)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.handler().ServeHTTP(w, req)
	h.answers.Write(w.Body.Bytes())
	h.watch(req, sent, w)
	for k, v := range w.Header() {
		h.answers.WriteString(k + strings.Join(v, ","))
	}
	return answer{w.Code, w.Header(), w.Body.Bytes()}
}

// bytes is a body as it is sent.
func (h *hub) bytes(body any) []byte {
	h.t.Helper()
	switch b := body.(type) {
	case []byte:
		return b
	case string:
		return []byte(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			h.t.Fatal(err)
		}
		return data
	}
}

// watch has the model of what the wire's clients need judge an answer.
func (h *hub) watch(r *http.Request, sent []byte, w *httptest.ResponseRecorder) {
	if w.Code == http.StatusInternalServerError || h.model == nil {
		return // of the tests that break something, or ask what no client asks
	}
	for _, f := range h.model.Observe(&tape.Exchange{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Project: r.Header.Get("ProjectUid"), Sent: sent,
		Status: w.Code, Header: w.Header(), Got: w.Body.Bytes(),
	}) {
		h.t.Errorf("%s %s: %s", r.Method, r.URL.Path, f)
	}
}

// handler is the API's, with every answer held against the contract.
func (h *hub) handler() http.Handler {
	h.t.Helper()
	c, err := contract.Load()
	if err != nil {
		h.t.Fatal(err)
	}
	return c.Handler(h.api.Handler(), func(err error) { h.t.Errorf("not as the contract has it: %v", err) })
}

// want sends and insists on a status.
func (h *hub) want(status int, method, path string, body any, header ...string) answer {
	h.t.Helper()
	a := h.send(method, path, body, header...)
	if a.status != status {
		h.t.Fatalf("%s %s: status %d, want %d: %s", method, path, a.status, status, a.body)
	}
	if status == http.StatusNoContent && len(a.body) > 0 {
		h.t.Fatalf("%s %s: 204 with the body %s", method, path, a.body)
	}
	return a
}

func (a answer) json(t testing.TB, dst any) {
	t.Helper()
	if err := json.Unmarshal(a.body, dst); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

func (a answer) uid(t testing.TB) string {
	t.Helper()
	var u palette.UID
	a.json(t, &u)
	if !lazuli.ValidUID(u.UID) {
		t.Fatalf("no uid in %s", a.body)
	}
	return u.UID
}

func (a answer) err(t testing.TB) palette.Error {
	t.Helper()
	var e palette.Error
	a.json(t, &e)
	if e.Code == "" || e.Message == "" || e.Ref == "" {
		t.Errorf("an error without code, message or ref: %s", a.body)
	}
	return e
}

// Bodies of good requests.

type object = map[string]any

func accountBody(name, scope string) object {
	return object{
		"metadata": object{"name": name, "annotations": object{"scope": scope, "overlordUid": ""},
			"creationTimestamp": "0001-01-01T00:00:00.000Z"},
		"spec": object{
			"azureEnvironment": "AzurePublicCloud", "tenantId": tenant, "clientId": client, "clientSecret": canary,
			"settings": object{"disablePropertiesRequest": false},
		},
	}
}

func (h *hub) layer(name, version string) object {
	h.t.Helper()
	p, err := h.packs.Resolve(name, version, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return object{"name": name, "tag": p.Version, "uid": p.UID, "type": "spectro", "values": "", "manifests": []any{}}
}

func (h *hub) profileBody(name string) object {
	k8s := h.layer("kubernetes", "1.36.x")
	k8s["values"] = "pack:\n  podCIDR: 192.168.0.0/16"
	return object{
		"metadata": object{"name": name, "labels": object{"owner": "me"}, "annotations": object{"description": "infra"}},
		"spec": object{"version": "1.0.0", "variables": nil, "template": object{
			"cloudType": "azure", "type": "infra", "packs": []any{
				h.layer("ubuntu-azure", "22.04"), k8s, h.layer("cni-calico-azure", ""), h.layer("csi-azure", ""),
			},
		}},
	}
}

func addonBody(name string) object {
	return object{
		"metadata": object{"name": name, "annotations": object{"description": ""}},
		"spec": object{"version": "1.0.0", "template": object{
			"cloudType": "all", "type": "add-on", "packs": []any{object{
				"name": "extra", "type": "manifest", "uid": "spectro-manifest-pack",
				"manifests": []any{object{"name": "ns", "content": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: x"}},
			}},
		}, "variables": []any{object{
			"name": "port", "displayName": "Port", "defaultValue": "8080", "format": "number", "inputType": "text",
			"hidden": false, "immutable": false, "isSensitive": false, "required": false, "options": nil,
		}}},
	}
}

func pool(name string, controlPlane bool, size int) object {
	return object{
		"cloudConfig": object{"azs": []any{}, "instanceType": "Standard_D4s_v3",
			"osDisk": object{"diskSizeGB": 60, "managedDisk": object{"storageAccountType": "Standard_LRS"}, "osType": "Linux"}},
		"managedPoolConfig": object{"isSystemNodePool": false},
		"poolConfig": object{
			"name": name, "size": size, "isControlPlane": controlPlane, "labels": []any{"worker"}, "taints": []any{},
			"updateStrategy": object{"type": "RollingUpdateScaleOut"}, "useControlPlaneAsWorker": false,
		},
	}
}

// clusterBody has the control plane as pool 0 and workers as pool 1.
func clusterBody(name, account string, profiles ...string) object {
	refs := []any{}
	for _, p := range profiles {
		refs = append(refs, object{"uid": p, "packValues": []any{}, "variables": []any{}})
	}
	return object{
		"metadata": object{"name": name, "labels": object{"env": "dev", "flag": "spectro__tag"},
			"annotations": object{"description": "d"}},
		"spec": object{
			"cloudAccountUid": account,
			"cloudConfig": object{
				"location": "westeurope", "resourceGroup": "rg", "sshKey": sshKey, "subscriptionId": subs,
			},
			"clusterConfig": object{"hostClusterConfig": object{"isHostCluster": false}, "machineManagementConfig": object{},
				"resources": object{"namespaces": []any{}, "rbacs": []any{}}},
			"machinepoolconfig": []any{pool("cp", true, 3), pool("w1", false, 2)},
			"policies":          object{},
			"profiles":          refs,
		},
	}
}

// world is a hub with an account, a published infrastructure and a cluster's
// body that refers to them.
type world struct {
	*hub
	account, profile, addon string
}

func newWorld(t testing.TB, opts ...option) *world {
	t.Helper()
	h := newHub(t, opts...)
	w := &world{hub: h}
	w.account = h.want(http.StatusCreated, "POST", "/v1/cloudaccounts/azure", accountBody("az", "project")).uid(t)
	w.profile = h.want(http.StatusCreated, "POST", "/v1/clusterprofiles", h.profileBody("infra")).uid(t)
	w.addon = h.want(http.StatusCreated, "POST", "/v1/clusterprofiles", addonBody("extra")).uid(t)
	for _, p := range []string{w.profile, w.addon} {
		h.want(http.StatusNoContent, "PATCH", "/v1/clusterprofiles/"+p+"/publish", nil)
	}
	return w
}

func (w *world) body() object { return clusterBody("prod", w.account, w.profile) }

func (w *world) create(name string) string {
	w.t.Helper()
	w.passed.Add(1)
	b := w.body()
	set(w.t, b, "metadata.name", name)
	return w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", b).uid(w.t)
}

// change stores a change of a cluster, as the engine would.
func (w *world) change(uid string, f func(*lazuli.Cluster)) {
	w.t.Helper()
	err := w.store.Update(w.t.Context(), func(tx store.Tx) error {
		var c lazuli.Cluster
		if err := tx.Get(w.t.Context(), uid, &c); err != nil {
			return err
		}
		f(&c)
		return tx.Update(w.t.Context(), &c)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (h *hub) add(objects ...lazuli.Object) {
	h.t.Helper()
	err := h.store.Update(h.t.Context(), func(tx store.Tx) error {
		for _, o := range objects {
			if err := tx.Create(h.t.Context(), o); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// key makes an API key of a new user, who administers or views the tenant; a key
// with a project is bound to it.
func (h *hub) key(name, project string, admin bool) string {
	h.t.Helper()
	role := auth.RoleTenantViewer
	if admin {
		role = auth.RoleTenantAdmin
	}
	secret, _ := h.keyOf(name, project, lazuli.Assignment{Roles: []string{auth.BuiltinUID(role)}})
	return secret
}

// keyOf makes an API key of a new user with roles, and returns it and the
// user's uid.
func (h *hub) keyOf(name, project string, roles lazuli.Assignment) (secret, user string) {
	h.t.Helper()
	secret = "lz_test-" + name + "-" + strings.Repeat("k", 20)
	u := &lazuli.User{Meta: lazuli.Meta{UID: testUID("user", name), Name: name}, Email: name + "@example.com", Assignment: roles}
	k := &lazuli.APIKey{Meta: lazuli.Meta{UID: testUID("key", name), Name: name, Project: project}, UserUID: u.UID,
		Hash: auth.HashKey(lazuli.NewSecret(secret))}
	h.add(u, k)
	return secret, u.UID
}

// testUID is the uid of an object that a test made.
func testUID(kind, name string) string {
	sum := sha256.Sum256([]byte(kind + name))
	return hex.EncodeToString(sum[:12])
}

// remove deletes an object behind the API's back.
func (h *hub) remove(kind lazuli.Kind, uid string) {
	h.t.Helper()
	err := h.store.Update(h.t.Context(), func(tx store.Tx) error { return tx.Delete(h.t.Context(), kind, uid) })
	if err != nil {
		h.t.Fatal(err)
	}
}

// assign gives a user other roles behind the API's back.
func (h *hub) assign(user string, roles lazuli.Assignment) {
	h.t.Helper()
	err := h.store.Update(h.t.Context(), func(tx store.Tx) error {
		var u lazuli.User
		if err := tx.Get(h.t.Context(), user, &u); err != nil {
			return err
		}
		u.Assignment = roles
		return tx.Update(h.t.Context(), &u)
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// counts tells how many objects and events there are, audits apart.
func (h *hub) counts() map[lazuli.Kind]int {
	h.t.Helper()
	out := map[lazuli.Kind]int{}
	for _, k := range []lazuli.Kind{lazuli.KindAccount, lazuli.KindProfile, lazuli.KindCluster, lazuli.KindProject} {
		p, err := h.store.Query(h.t.Context(), store.Query{Kind: k})
		if err != nil {
			h.t.Fatal(err)
		}
		out[k] = p.Total
	}
	return out
}

var segment = regexp.MustCompile(`[^.\[\]]+`)

// remove stands for the absence of a value in set.
type remove struct{}

// set changes one value of a body; indices are written [i].
func set(t testing.TB, body object, path string, value any) {
	t.Helper()
	parts := segment.FindAllString(path, -1)
	var at any = body
	for i, p := range parts {
		last := i == len(parts)-1
		switch node := at.(type) {
		case object:
			if !last {
				if node[p] == nil {
					node[p] = object{}
				}
				at = node[p]
				continue
			}
			if _, gone := value.(remove); gone {
				delete(node, p)
			} else {
				node[p] = value
			}
		case []any:
			n, err := strconv.Atoi(p)
			if err != nil || n >= len(node) {
				t.Fatalf("set %s: no index %s", path, p)
			}
			if last {
				node[n] = value
			}
			at = node[n]
		default:
			t.Fatalf("set %s: nothing below %s", path, p)
		}
	}
}

// golden compares pretty JSON with a file; names stand for values that differ
// from run to run.
func golden(t *testing.T, file string, body []byte, names map[string]string) {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, body, "", "  "); err != nil {
		b.Reset()
		b.Write(body)
	}
	text := strings.TrimSpace(b.String()) + "\n"
	for value, name := range maps.All(names) {
		text = strings.ReplaceAll(text, value, name)
	}
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}
