// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"io"
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

	ci, anas, bound := filepath.Join(dir, "ci.key"), filepath.Join(dir, "ana.key"), filepath.Join(dir, "bound.key")
	s.do(cli.ExitOK, "apikey", "create", "ci", "--lasts", "24h", "-o", ci)
	s.do(cli.ExitOK, "apikey", "create", "of-ana", "--user", "ana@example.org", "-o", anas)
	s.do(cli.ExitOK, "apikey", "create", "bound", "--bind-project", "default", "-o", bound)
	s.do(cli.ExitNotFound, "apikey", "create", "x", "--user", "nobody@example.org")
	s.do(cli.ExitNotFound, "apikey", "create", "x", "--bind-project", "nowhere")
	s.do(cli.ExitUsage, "apikey", "create", "x", "--lasts", "-1h")
	s.do(cli.ExitOK, "apikey", "list")

	env["LAZULI_API_KEY"] = keyIn(t, anas)
	s.do(cli.ExitOK, "cluster", "list")
	s.do(cli.ExitRefused, "user", "create", "cy@example.org")
	s.do(cli.ExitNotFound, "apikey", "revoke", "nobodys")
	env["LAZULI_API_KEY"] = keyIn(t, bound)
	s.do(cli.ExitOK, "cluster", "list")
	s.do(cli.ExitRefused, "apikey", "create", "wider", "--lasts", "1h", "--user", "bo@example.org")
	env["LAZULI_API_KEY"] = keyIn(t, ci)
	s.do(cli.ExitRefused, "apikey", "create", "longer")
	env["LAZULI_API_KEY"] = admin
	s.do(cli.ExitOK, "apikey", "revoke", "ci")
	s.do(cli.ExitOK, "apikey", "delete", "OF-ANA")
	s.do(cli.ExitOK, "apikey", "list")
	for _, name := range []string{ci, anas} {
		env["LAZULI_API_KEY"] = keyIn(t, name)
		s.do(cli.ExitRefused, "cluster", "list")
	}
	golden(t, "identity.txt", strings.ReplaceAll(s.log.String(), dir+"/", "TMP/"))

	// Without a file the key alone is on standard output.
	env["LAZULI_API_KEY"] = admin
	var out bytes.Buffer
	code := cli.Run(t.Context(), []string{"apikey", "create", "shown"}, strings.NewReader(""), &out, io.Discard, lookup(env))
	if key := strings.TrimSuffix(out.String(), "\n"); code != cli.ExitOK || !strings.HasPrefix(key, "lz_") || strings.ContainsAny(key, " \n") {
		t.Errorf("exit code %d and %d bytes that are no key", code, out.Len())
	}
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
