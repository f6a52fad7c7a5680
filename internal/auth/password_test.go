// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"context"
	"crypto/rand"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
)

func hasher(t *testing.T, p auth.PasswordParams) *auth.Passwords {
	t.Helper()
	h, err := auth.NewPasswords(p, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPasswordHash(t *testing.T) {
	t.Parallel()
	weak, strong := hasher(t, cheap), hasher(t, auth.PasswordParams{Memory: 128, Iterations: 2, Parallelism: 1})
	right, wrong := lazuli.NewSecret("correct horse battery"), lazuli.NewSecret("correct horse batterx")
	hash, err := weak.Hash(t.Context(), right)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^\$argon2id\$v=19\$m=64,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`).MatchString(hash) {
		t.Errorf("hash %s", hash)
	}
	if again, err := weak.Hash(t.Context(), right); err != nil || again == hash {
		t.Errorf("the same salt twice, or %v", err)
	}
	for _, tt := range []struct {
		reason       string
		by           *auth.Passwords
		password     lazuli.Secret
		hash         string
		ok, outdated bool
	}{
		{"right", weak, right, hash, true, false},
		{"wrong", weak, wrong, hash, false, false},
		{"right, and the costs grew", strong, right, hash, true, true},
		{"wrong, and the costs grew", strong, wrong, hash, false, false},
		{"no hash", weak, right, "", false, false},
		{"empty password, no hash", weak, lazuli.Secret{}, "", false, false},
		{"no PHC form", weak, right, "plain", false, false},
		{"another algorithm", weak, right, strings.Replace(hash, "argon2id", "argon2i", 1), false, false},
		{"another version", weak, right, strings.Replace(hash, "v=19", "v=16", 1), false, false},
		{"other costs", weak, right, strings.Replace(hash, "t=1", "t=2", 1), false, false},
		{"costs that would eat the machine", weak, right, strings.Replace(hash, "m=64", "m=4294967295", 1), false, false},
		{"no costs", weak, right, strings.Replace(hash, "m=64", "m=0", 1), false, false},
		{"a short hash", weak, right, hash[:len(hash)-30], false, false},
		{"a password that is too long", weak, lazuli.NewSecret(strings.Repeat("x", 1<<20)), hash, false, false},
	} {
		ok, outdated, err := tt.by.Check(t.Context(), tt.password, tt.hash)
		if err != nil || ok != tt.ok || outdated != tt.outdated {
			t.Errorf("%s: %v %v %v", tt.reason, ok, outdated, err)
		}
	}
}

func TestPasswordsRehashOnSignIn(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	stored := func() string {
		var u lazuli.User
		if err := o.store.Get(t.Context(), o.user, &u); err != nil {
			t.Fatal(err)
		}
		return u.PasswordHash
	}
	before := stored()
	o.signIn()
	if stored() != before {
		t.Error("the same costs, and another hash")
	}
	grown, err := auth.New(auth.Config{Store: o.store, Seal: o.seal, Now: o.now, Passwords: auth.PasswordParams{Memory: 128, Iterations: 1, Parallelism: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grown.SignIn(t.Context(), "admin", o.password, remote); err != nil {
		t.Fatal(err)
	}
	if s := stored(); !strings.Contains(s, "m=128,") {
		t.Errorf("stored %s", s)
	}
	o.signIn()
}

// However many ask, few hashes are computed at once, and who would wait too long
// is told.
func TestHashesAreBounded(t *testing.T) {
	t.Parallel()
	h := hasher(t, auth.PasswordParams{Memory: 8 << 10, Iterations: 2, Parallelism: 1})
	var busy atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			_, _, err := h.Check(t.Context(), lazuli.NewSecret("x"), "")
			if lazuli.CodeOf(err) == lazuli.CodeTooManyRequests {
				busy.Add(1)
			}
		})
	}
	wg.Wait()
	if n := busy.Load(); n == 0 || n == 200 {
		t.Errorf("%d of 200 were sent away", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 { // a slot may be free
		if _, err := h.Hash(ctx, lazuli.NewSecret("x")); err != nil {
			return
		}
	}
}

func TestCheckNewPassword(t *testing.T) {
	t.Parallel()
	u := &lazuli.User{Meta: lazuli.Meta{Name: "Ada Lovelace"}, Email: "ada.lovelace@example.com"}
	for password, ok := range map[string]bool{
		"correct horse": true, "пароль-пароль": true, "short": false, "elevenchars": false, "Ada Lovelace": false,
		"ADA.lovelace@example.com": false, "aaaaaaaaaaaaaaaa": false, "with a\nline break": false,
		"invalid \xff utf-8 text": false, strings.Repeat("long ", 60): false, "": false,
	} {
		fault := auth.CheckNewPassword(lazuli.NewSecret(password), u)
		if (fault == "") != ok || password != "" && strings.Contains(fault, password) {
			t.Errorf("%q: %q", password, fault)
		}
	}
	p, err := auth.NewPassword(rand.Reader)
	if err != nil || auth.CheckNewPassword(p, u) != "" || !regexp.MustCompile(`^([a-z2-9]{5}-){4}[a-z2-9]{5}$`).MatchString(p.Reveal()) {
		t.Errorf("a made password: %v", err)
	}
}

func TestAddressKey(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "@": "@", "": "",
	} {
		if got := auth.AddressKey(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// Waits grow, are of one name from one address, and end.
func TestWaitsGrow(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	try := func(from string) error {
		_, err := o.SignIn(t.Context(), "admin", lazuli.NewSecret("wrong"), from)
		return err
	}
	waited := time.Duration(0)
	last := time.Duration(0)
	for n := range 20 {
		err := try(remote)
		wait := time.Duration(0)
		for lazuli.CodeOf(err) == lazuli.CodeTooManyRequests {
			o.pass(time.Second)
			wait += time.Second
			err = try(remote)
		}
		if n < 5 && wait > 0 {
			t.Errorf("attempt %d had to wait", n)
		}
		if wait < last {
			t.Errorf("attempt %d waited %v, the one before %v", n, wait, last)
		}
		last = wait
		waited += wait
	}
	if last != 15*time.Minute || waited < time.Hour {
		t.Errorf("20 guesses took %v, the last %v", waited, last)
	}
	// The owner is elsewhere and does not notice.
	if _, err := o.SignIn(t.Context(), "admin", o.password, "198.51.100.7:1"); err != nil {
		t.Error(err)
	}
	o.pass(2 * time.Hour)
	if _, err := o.SignIn(t.Context(), "admin", o.password, remote); err != nil {
		t.Errorf("long after: %v", err)
	}
}
