// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"crypto/rand"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/seal"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
)

const remote = "192.0.2.1:1234"

// cheap keeps tests from waiting for hashes.
var cheap = auth.PasswordParams{Memory: 64, Iterations: 1, Parallelism: 1}

func authenticator(t *testing.T, s store.Store, now func() time.Time) *auth.Authenticator {
	t.Helper()
	sealer, err := seal.Open(filepath.Join(t.TempDir(), "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(auth.Config{Store: s, Seal: sealer, Now: now, Passwords: cheap})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func openStore(t *testing.T) store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: sqlite.Memory})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestBootstrapGivesOneKeyOnce(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	first, err := auth.Bootstrap(t.Context(), s, auth.BootstrapOptions{Passwords: cheap})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^lz_[0-9a-f]{64}$`).MatchString(first.Key.Reveal()) {
		t.Errorf("the key has %d characters and not the form lz_ and 64 hexadecimal digits", len(first.Key.Reveal()))
	}
	second, err := auth.Bootstrap(t.Context(), s, auth.BootstrapOptions{Passwords: cheap})
	if err != nil {
		t.Fatal(err)
	}
	if !second.Key.Empty() {
		t.Error("a second start made another key")
	}
	if first.ProjectUID != second.ProjectUID || first.UserUID != second.UserUID {
		t.Error("a second start made other objects")
	}
	var p lazuli.Project
	if err := s.Get(t.Context(), first.ProjectUID, &p); err != nil {
		t.Fatal(err)
	}
	if p.Name != "Default" {
		t.Errorf("project %q: Terraform looks for Default", p.Name)
	}
}

func TestBootstrapTakesAGivenKey(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	given := lazuli.NewSecret("chosen-by-the-operator")
	for range 2 {
		got, err := auth.Bootstrap(t.Context(), s, auth.BootstrapOptions{Key: given, Passwords: cheap})
		if err != nil {
			t.Fatal(err)
		}
		if !got.Key.Empty() {
			t.Error("a given key must not be returned as one that was made")
		}
	}
	a, err := authenticator(t, s, time.Now).Authenticate(t.Context(), http.Header{"Apikey": {given.Reveal()}}, remote)
	if err != nil {
		t.Fatal(err)
	}
	if !a.May(auth.UserDelete, "") || a.Name != "admin" {
		t.Errorf("actor %+v", a)
	}
	for _, bad := range []string{"short", "has a blank in it, which is bad", strings.Repeat("x", 600)} {
		_, err := auth.Bootstrap(t.Context(), s, auth.BootstrapOptions{Key: lazuli.NewSecret(bad)})
		if lazuli.CodeOf(err) != lazuli.CodeInvalidField {
			t.Errorf("key of %d characters: %v", len(bad), err)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	boot, err := auth.Bootstrap(t.Context(), s, auth.BootstrapOptions{Now: func() time.Time { return now }, Passwords: cheap})
	if err != nil {
		t.Fatal(err)
	}
	good := boot.Key.Reveal()
	expired := addKey(t, s, now, &lazuli.APIKey{UserUID: boot.UserUID, ExpiresAt: now})
	revoked := addKey(t, s, now, &lazuli.APIKey{UserUID: boot.UserUID, Disabled: true})
	orphan := addKey(t, s, now, &lazuli.APIKey{UserUID: "ffffffffffffffffffffffff"})
	tests := []struct {
		reason string
		header http.Header
		ok     bool
	}{
		{"Palette's header", http.Header{"Apikey": {good}}, true},
		{"bearer", http.Header{"Authorization": {"Bearer " + good}}, true},
		{"bearer in lower case", http.Header{"Authorization": {"bearer " + good}}, true},
		{"raw, as Palette sends tokens", http.Header{"Authorization": {good}}, true},
		{"nothing", http.Header{}, false},
		{"empty", http.Header{"Apikey": {""}}, false},
		{"unknown", http.Header{"Apikey": {"lz_" + strings.Repeat("0", 64)}}, false},
		{"one digit short", http.Header{"Apikey": {good[:len(good)-1]}}, false},
		{"the hash is no key", http.Header{"Apikey": {auth.HashKey(boot.Key)}}, false},
		{"huge", http.Header{"Apikey": {strings.Repeat("a", 1<<20)}}, false},
		{"expired", http.Header{"Apikey": {expired}}, false},
		{"revoked", http.Header{"Apikey": {revoked}}, false},
		{"user is gone", http.Header{"Apikey": {orphan}}, false},
		{"a wrong ApiKey is not forgiven by Authorization",
			http.Header{"Apikey": {"x"}, "Authorization": {good}}, false},
	}
	a := authenticator(t, s, func() time.Time { return now })
	var text string
	for _, tt := range tests {
		actor, err := a.Authenticate(t.Context(), tt.header, remote)
		if tt.ok {
			if err != nil || !actor.May(auth.UserDelete, "") {
				t.Errorf("%s: %+v, %v", tt.reason, actor, err)
			}
			continue
		}
		if lazuli.CodeOf(err) != lazuli.CodeUnauthenticated {
			t.Errorf("%s: %v", tt.reason, err)
			continue
		}
		if text == "" {
			text = err.Error()
		}
		if err.Error() != text {
			t.Errorf("%s: the text %q tells it from the others, %q", tt.reason, err, text)
		}
	}
}

func addKey(t *testing.T, s store.Store, now time.Time, k *lazuli.APIKey) string {
	t.Helper()
	key, err := auth.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k.Hash = auth.HashKey(key)
	if k.UID, err = lazuli.NewUID(now, strings.NewReader(k.Hash)); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Create(t.Context(), k) }); err != nil {
		t.Fatal(err)
	}
	return key.Reveal()
}

func TestActor(t *testing.T) {
	t.Parallel()
	role := func(scope lazuli.RoleScope, ps ...auth.Permission) []auth.Role {
		return []auth.Role{{Scope: scope, Permissions: auth.NewSet(ps...)}}
	}
	tenant := auth.NewGrants(role(lazuli.ScopeTenant, auth.ClusterGet, auth.ClusterDelete), nil)
	project := auth.NewGrants(nil, map[string][]auth.Role{"p1": role(lazuli.ScopeProject, auth.ClusterGet)})
	misplaced := auth.NewGrants(role(lazuli.ScopeProject, auth.ClusterGet), map[string][]auth.Role{"p1": role(lazuli.ScopeTenant, auth.ClusterGet)})
	wide, narrow := auth.Actor{}.WithGrants(tenant), auth.Actor{}.WithGrants(project)
	bound := auth.Actor{Project: "p1"}.WithGrants(tenant)
	lost := auth.Actor{}.WithGrants(misplaced)
	tests := []struct {
		reason    string
		got, want bool
	}{
		{"a tenant's role holds in the tenant", wide.May(auth.ClusterDelete, ""), true},
		{"and in each project", wide.May(auth.ClusterDelete, "p2"), true},
		{"and no further", wide.May(auth.ClusterUpdate, "p2"), false},
		{"a project's role holds there", narrow.May(auth.ClusterGet, "p1"), true},
		{"not elsewhere", narrow.May(auth.ClusterGet, "p2"), false},
		{"not in the tenant", narrow.May(auth.ClusterGet, ""), false},
		{"which is somewhere", narrow.Anywhere(auth.ClusterGet), true},
		{"but not for another permission", narrow.Anywhere(auth.ClusterDelete), false},
		{"a bound key acts in its project", bound.May(auth.ClusterDelete, "p1"), true},
		{"not in others", bound.May(auth.ClusterDelete, "p2"), false},
		{"not in the tenant", bound.May(auth.ClusterDelete, ""), false},
		{"nor sees others", bound.Sees("p2"), false},
		{"a project without grants is none", narrow.Sees("p2"), false},
		{"a role in the wrong place grants nothing", lost.Anywhere(auth.ClusterGet), false},
		{"nobody may nothing", auth.Actor{}.Anywhere(auth.ClusterGet), false},
		{"what needs nothing is for all", auth.Actor{}.May(auth.None, ""), true},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %v", tt.reason, tt.got)
		}
	}
}

func TestExcess(t *testing.T) {
	t.Parallel()
	of := func(tenant, project string) *auth.Grants {
		var at []auth.Role
		in := map[string][]auth.Role{}
		for _, r := range auth.BuiltinRoles() {
			if r.Name == tenant {
				at = append(at, r)
			}
			if r.Name == project {
				in["p1"] = append(in["p1"], r)
			}
		}
		return auth.NewGrants(at, in)
	}
	for _, tt := range []struct {
		reason        string
		giver, gift   *auth.Grants
		covers        bool
		first, inside string
	}{
		{"all", of(auth.RoleTenantAdmin, ""), of(auth.RoleTenantAdmin, "Project Admin"), true, "", ""},
		{"the same", of("", "Project Admin"), of("", "Project Admin"), true, "", ""},
		{"less", of("", "Project Admin"), of("", "Project Viewer"), true, "", ""},
		{"more", of("", "Project Viewer"), of("", "Project Editor"), false, "cloudaccount.update", "p1"},
		{"wider", of("", "Project Admin"), of(auth.RoleTenantViewer, ""), false, "apiKey.get", ""},
		{"nothing", of("", ""), of("", ""), true, "", ""},
		{"from nothing", of("", ""), of("", "Cluster Account Viewer"), false, "cloudaccount.get", "p1"},
	} {
		p, project, ok := tt.giver.Excess(tt.gift)
		if ok == tt.covers || string(p) != tt.first || project != tt.inside {
			t.Errorf("%s: %s in %q, %v", tt.reason, p, project, ok)
		}
	}
}

// door tries API keys that must open everything.
type door struct{ *auth.Authenticator }

func opening(t *testing.T, s store.Store) door {
	t.Helper()
	return door{authenticator(t, s, time.Now)}
}

func (d door) tryKey(t *testing.T, key string) error {
	t.Helper()
	actor, err := d.Authenticate(t.Context(), http.Header{"Apikey": {key}}, remote)
	if err == nil && !actor.May(auth.UserDelete, "") {
		t.Error("the key does not open everything")
	}
	return err
}
