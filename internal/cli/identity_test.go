// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/internal/cli"
)

// TestIdentity is an administrator who lets others in, and out again.
func TestIdentity(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "env")
	env := run(t, nothing, "demo", "--serve-only", "--listen", "127.0.0.1:0", "--env-file", file).environment(t, file)
	s := &session{t: t, env: env}
	admin := env["LAZULI_API_KEY"]

	s.do(cli.ExitOK, "user", "list")
	s.do(cli.ExitOK, "user", "create", "ana@example.org", "--first-name", "Ana", "--last-name", "Lima", "--role", "tenant viewer")
	s.do(cli.ExitRefused, "user", "create", "ana@example.org")
	s.do(cli.ExitNotFound, "user", "create", "bo@example.org", "--role", "Emperor")
	s.do(cli.ExitOK, "user", "create", "bo@example.org")
	s.do(cli.ExitOK, "user", "list")

	none := filepath.Join(dir, "none.key")
	ci, anas, bound := filepath.Join(dir, "ci.key"), filepath.Join(dir, "ana.key"), filepath.Join(dir, "bound.key")
	s.do(cli.ExitOK, "apikey", "create", "ci", "--lasts", "24h", "-o", ci)
	s.do(cli.ExitOK, "apikey", "create", "of-ana", "--user", "ana@example.org", "-o", anas)
	s.do(cli.ExitOK, "apikey", "create", "bound", "--bind-project", "default", "-o", bound)
	s.do(cli.ExitNotFound, "apikey", "create", "x", "--user", "nobody@example.org", "-o", none)
	s.do(cli.ExitNotFound, "apikey", "create", "x", "--bind-project", "nowhere", "-o", none)
	s.do(cli.ExitUsage, "apikey", "create", "x", "--lasts", "-1h", "-o", none)
	s.do(cli.ExitUsage, "apikey", "create", "x")
	s.do(cli.ExitFailure, "apikey", "create", "x", "-o", ci) // which holds another
	s.do(cli.ExitOK, "apikey", "list")

	env["LAZULI_API_KEY"] = keyIn(t, anas)
	s.do(cli.ExitOK, "cluster", "list")
	s.do(cli.ExitRefused, "user", "create", "cy@example.org")
	s.do(cli.ExitNotFound, "apikey", "revoke", "nobodys")
	env["LAZULI_API_KEY"] = keyIn(t, bound)
	s.do(cli.ExitOK, "cluster", "list")
	s.do(cli.ExitRefused, "apikey", "create", "wider", "--lasts", "1h", "--user", "bo@example.org", "-o", none)
	env["LAZULI_API_KEY"] = keyIn(t, ci)
	s.do(cli.ExitRefused, "apikey", "create", "longer", "-o", none)
	if _, err := os.Stat(none); !os.IsNotExist(err) {
		t.Errorf("a refused key left its file: %v", err)
	}
	env["LAZULI_API_KEY"] = admin
	s.do(cli.ExitOK, "apikey", "revoke", "ci")
	s.do(cli.ExitOK, "apikey", "delete", "OF-ANA")
	s.do(cli.ExitOK, "apikey", "list")
	for _, name := range []string{ci, anas} {
		env["LAZULI_API_KEY"] = keyIn(t, name)
		s.do(cli.ExitRefused, "cluster", "list")
	}
	golden(t, "identity.txt", strings.ReplaceAll(s.log.String(), dir+"/", "TMP/"))

	for _, secret := range []string{admin, keyIn(t, ci), keyIn(t, anas), keyIn(t, bound)} {
		if strings.Contains(s.log.String(), secret) {
			t.Error("a key was printed that nobody asked for")
		}
	}
}

// keyIn reads a key that was written to a file, for this user alone.
func keyIn(t *testing.T, name string) string {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%s: %v, %v", name, info, err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "\n")
}
