// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"slices"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/store"
)

func bootstrap(t *testing.T, s store.Store, key string) auth.Bootstrapped {
	t.Helper()
	b, err := auth.Bootstrap(t.Context(), s, auth.BootstrapOptions{Key: lazuli.NewSecret(key), Passwords: cheap})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func change(t *testing.T, s store.Store, f func(store.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func userCount(t *testing.T, s store.Store) int {
	t.Helper()
	page, err := s.Query(t.Context(), store.Query{Kind: lazuli.KindUser})
	if err != nil {
		t.Fatal(err)
	}
	return page.Total
}

func TestBootstrapMarksTheFirstPassword(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	first := bootstrap(t, s, "")
	var u lazuli.User
	if err := s.Get(t.Context(), first.UserUID, &u); err != nil {
		t.Fatal(err)
	}
	if !u.MustChangePassword || u.PasswordHash == "" || !slices.Equal(u.Roles, []string{auth.BuiltinUID(auth.RoleTenantAdmin)}) || u.Email != "admin" {
		t.Errorf("%+v", u)
	}
	a := authenticator(t, s, time.Now)
	if _, err := a.SignIn(t.Context(), "admin", first.Password, remote); err != nil {
		t.Error(err)
	}
}

// What an administrator does to the first user outlives a start of the hub: no
// start brings a way in back.
func TestBootstrapBringsNothingBack(t *testing.T) {
	t.Parallel()
	for reason, f := range map[string]func(store.Tx, *lazuli.User) error{
		"renamed": func(tx store.Tx, u *lazuli.User) error {
			u.Email, u.Name = "ada", "Ada"
			return tx.Update(t.Context(), u)
		},
		"removed":     func(tx store.Tx, u *lazuli.User) error { return tx.Delete(t.Context(), u.Kind(), u.UID) },
		"disabled":    func(tx store.Tx, u *lazuli.User) error { u.Disabled = true; return tx.Update(t.Context(), u) },
		"without key": func(tx store.Tx, _ *lazuli.User) error { return removeKeys(t, tx) },
		"demoted":     func(tx store.Tx, u *lazuli.User) error { u.Roles = nil; return tx.Update(t.Context(), u) },
	} {
		s := openStore(t)
		first := bootstrap(t, s, "")
		change(t, s, func(tx store.Tx) error {
			var u lazuli.User
			if err := tx.Get(t.Context(), first.UserUID, &u); err != nil {
				return err
			}
			return f(tx, &u)
		})
		before := userCount(t, s)
		again := bootstrap(t, s, "")
		if !again.Key.Empty() || !again.Password.Empty() || userCount(t, s) != before {
			t.Errorf("%s: a start made %+v, %d users", reason, again, userCount(t, s))
		}
	}
}

func removeKeys(t *testing.T, tx store.Tx) error {
	t.Helper()
	page, err := tx.Query(t.Context(), store.Query{Kind: lazuli.KindAPIKey})
	if err != nil {
		return err
	}
	for _, row := range page.Rows {
		if err := tx.Delete(t.Context(), lazuli.KindAPIKey, row.Meta.UID); err != nil {
			return err
		}
	}
	return nil
}

// The operator can always enter: with a key in the configuration.
func TestOperatorsKeyAfterAll(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	first := bootstrap(t, s, "")
	change(t, s, func(tx store.Tx) error { return tx.Delete(t.Context(), lazuli.KindUser, first.UserUID) })
	const key = "an-operators-key-0123456789"
	for range 2 {
		bootstrap(t, s, key)
	}
	if n := userCount(t, s); n != 1 {
		t.Errorf("%d users", n)
	}
	if err := opening(t, s).tryKey(t, key); err != nil {
		t.Error(err)
	}
}

// A store of a release before roles has the user admin and a key, and no tenant.
func TestBootstrapOfAnOlderStore(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	const key = "lz_a-key-of-long-ago"
	change(t, s, func(tx store.Tx) error {
		uid := "aaaaaaaaaaaaaaaaaaaaaaaa"
		if err := tx.Create(t.Context(), &lazuli.User{Meta: lazuli.Meta{UID: uid, Name: "admin"}}); err != nil {
			return err
		}
		return tx.Create(t.Context(), &lazuli.APIKey{
			Meta: lazuli.Meta{UID: "bbbbbbbbbbbbbbbbbbbbbbbb", Name: "bootstrap"}, UserUID: uid, Hash: auth.HashKey(lazuli.NewSecret(key)),
		})
	})
	b := bootstrap(t, s, "")
	if b.UserUID != "aaaaaaaaaaaaaaaaaaaaaaaa" || !b.Key.Empty() || b.Password.Empty() || userCount(t, s) != 1 {
		t.Errorf("%+v", b)
	}
	if err := opening(t, s).tryKey(t, key); err != nil {
		t.Error(err)
	}
}
