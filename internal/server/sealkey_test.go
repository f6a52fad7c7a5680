// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/server"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
)

// A hub whose sealing key is lost or another's does not start: it would seal
// new secrets beside old ones that nobody can open.
func TestSealingKeyBelongsToTheStore(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	_, stop := start(t, cfg)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(cfg.DataDir, "lazuli.db")})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(tx store.Tx) error {
		return tx.Create(t.Context(), &lazuli.Account{
			Meta: lazuli.Meta{UID: strings.Repeat("a", 24), Name: "az"}, ClientSecret: lazuli.Sealed("sealed with another key"),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	refused := func(want string) {
		t.Helper()
		_, err := server.New(t.Context(), cfg, "test", io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New() = %v, want %q", err, want)
		}
	}
	refused("does not open what the store holds")
	if err := os.Remove(filepath.Join(cfg.DataDir, "seal.key")); err != nil {
		t.Fatal(err)
	}
	refused("is missing")
}
