// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/internal/cli"
)

// TestAPIKeys: a key is made into a file and nowhere else, works, and ends when
// it is deleted.
func TestAPIKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := filepath.Join(dir, "env")
	demo := run(t, nothing, "demo", "--serve-only", "--listen", "127.0.0.1:0", "--speed", "200", "--env-file", env)
	s := &session{t: t, env: demo.environment(t, env)}
	file := filepath.Join(dir, "key")

	said := s.do(cli.ExitOK, "apikey", "create", "robot", "-o", file, "--expires", "24h")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSuffix(string(raw), "\n")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || len(key) < 40 {
		t.Errorf("a key of %d characters in %v (%v)", len(key), info, err)
	}
	list := s.do(cli.ExitOK, "apikey", "list") + s.do(cli.ExitOK, "apikey", "list", "-o", "json")
	row := ""
	for line := range strings.Lines(list) {
		if strings.HasPrefix(line, "robot ") {
			row = line
		}
	}
	if fields := strings.Fields(row); len(fields) != 6 || fields[3] != "active" {
		t.Fatalf("the list has %q", row)
	} else if at, err := time.Parse(time.RFC3339, fields[4]); err != nil || time.Until(at) < 23*time.Hour || time.Until(at) > 24*time.Hour {
		t.Errorf("it holds until %v (%v)", at, err)
	}

	robot := &session{t: t, env: map[string]string{
		"LAZULI_URL": s.env["LAZULI_URL"], "LAZULI_CA_FILE": s.env["LAZULI_CA_FILE"], "LAZULI_API_KEY": key,
	}}
	robot.do(cli.ExitOK, "cluster", "list")
	robot.do(cli.ExitRefused, "apikey", "create", "longer", "-o", filepath.Join(dir, "longer")) // than itself
	s.do(cli.ExitFailure, "apikey", "create", "again", "-o", file)                              // which is there
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, raw) {
		t.Errorf("the file of another key was changed (%v)", err)
	}
	for _, none := range []string{"longer", "again"} {
		if strings.Contains(s.do(cli.ExitOK, "apikey", "list"), none) {
			t.Errorf("there is a key %q that no file holds", none)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "longer")); err == nil {
		t.Error("the file of a key that was refused is there")
	}

	s.do(cli.ExitOK, "apikey", "delete", "robot")
	robot.do(cli.ExitRefused, "cluster", "list")
	s.do(cli.ExitNotFound, "apikey", "delete", "robot")
	if all := said + list + s.log.String() + robot.log.String(); strings.Contains(all, key) {
		t.Error("the key was printed")
	}
}

func TestAPIKeyUsage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		args   []string
		want   string
	}{
		{"nowhere to write it", []string{"create", "x"}, "--output FILE is required"},
		{"over before it begins", []string{"create", "x", "-o", "f", "--expires", "-1h"}, "is over already"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			var errOut bytes.Buffer
			code := cli.Run(t.Context(), append([]string{"apikey"}, tt.args...), strings.NewReader(""), io.Discard, &errOut, nothing)
			if code != cli.ExitUsage || !strings.Contains(errOut.String(), tt.want) {
				t.Errorf("exit code %d: %s", code, &errOut)
			}
		})
	}
}
