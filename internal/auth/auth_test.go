// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
)

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
	first, err := auth.Bootstrap(t.Context(), s, auth.BootstrapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^lz_[0-9a-f]{64}$`).MatchString(first.Key.Reveal()) {
		t.Errorf("the key has %d characters and not the form lz_ and 64 hexadecimal digits", len(first.Key.Reveal()))
	}
	second, err := auth.Bootstrap(t.Context(), s, auth.BootstrapOptions{})
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
		got, err := auth.Bootstrap(t.Context(), s, auth.BootstrapOptions{Key: given})
		if err != nil {
			t.Fatal(err)
		}
		if !got.Key.Empty() {
			t.Error("a given key must not be returned as one that was made")
		}
	}
	a, err := auth.New(s, time.Now).Authenticate(t.Context(), http.Header{"Apikey": {given.Reveal()}})
	if err != nil {
		t.Fatal(err)
	}
	if !a.Admin || a.Name != "admin" {
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
	boot, err := auth.Bootstrap(t.Context(), s, auth.BootstrapOptions{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	good := boot.Key.Reveal()
	expired := addKey(t, s, now, &lazuli.APIKey{UserUID: boot.UserUID, ExpiresAt: now})
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
		{"user is gone", http.Header{"Apikey": {orphan}}, false},
		{"a wrong ApiKey is not forgiven by Authorization",
			http.Header{"Apikey": {"x"}, "Authorization": {good}}, false},
	}
	a := auth.New(s, func() time.Time { return now })
	var text string
	for _, tt := range tests {
		actor, err := a.Authenticate(t.Context(), tt.header)
		if tt.ok {
			if err != nil || !actor.Admin {
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
	key, err := auth.NewKey(bytes.NewReader(bytes.Repeat([]byte(k.UserUID), 3)))
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
	admin, reader := auth.Actor{Admin: true}, auth.Actor{}
	bound := auth.Actor{Admin: true, Project: "p1"}
	tests := []struct {
		reason    string
		got, want bool
	}{
		{"an administrator deletes", admin.May(auth.ClusterDelete), true},
		{"a reader looks", reader.May(auth.ClusterGet), true},
		{"a reader lists", reader.May(auth.CloudAccountList), true},
		{"a reader does not create", reader.May(auth.ClusterCreate), false},
		{"a reader does not publish", reader.May(auth.ClusterProfilePublish), false},
		{"an unbound key sees all", admin.Sees("p2"), true},
		{"a bound key sees its project", bound.Sees("p1"), true},
		{"a bound key sees no other project", bound.Sees("p2"), false},
		{"a bound key sees the tenant's objects", bound.Sees(""), true},
		{"a bound key does not change the tenant's objects", bound.Changes(""), false},
		{"a bound key changes its project's", bound.Changes("p1"), true},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %v", tt.reason, tt.got)
		}
	}
}
