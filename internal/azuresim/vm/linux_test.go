// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vm_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lazuli-dev/lazuli/internal/azuresim/vm"
)

// TestClaim makes a simulator's directory beside what one left that was killed while it made its own.
func TestClaim(t *testing.T) {
	t.Parallel()
	for reason, made := range map[string][]string{
		"nothing":                        nil,
		"its own, with nothing in it":    {"run/7"},
		"one half made":                  {"run/.new"},
		"one half made that says whose":  {"run/.new/prefix"},
		"somebody's, which is not ours":  {"run/theirs/file"},
		"a lock and an empty directory ": {"run/.lock", "run/7"},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			for _, path := range made {
				path = filepath.Join(base, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				var err error
				if name := filepath.Base(path); name == "7" || name == ".new" {
					err = os.Mkdir(path, 0o755)
				} else {
					err = os.WriteFile(path, []byte(vm.PrefixOf(os.Getpid())), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			prefix, err := vm.Claim(t, filepath.Join(base, "run", "7"))
			if err != nil {
				t.Fatal(err)
			}
			if prefix != vm.PrefixOf(os.Getpid()) {
				t.Errorf("its prefix is %s", prefix)
			}
			if other, err := vm.Claim(t, filepath.Join(base, "run", "8")); err != nil || other == prefix {
				t.Errorf("another one beside it: %q, %v", other, err)
			}
			if _, err := vm.Claim(t, filepath.Join(base, "run", "7")); err == nil {
				t.Error("a directory is claimed twice")
			}
			if _, err := os.Stat(filepath.Join(base, "run", ".new")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a half of one is left: %v", err)
			}
			if _, err := os.Stat(filepath.Join(base, "run", "theirs")); err != nil && reason == "somebody's, which is not ours" {
				t.Error(err)
			}
		})
	}
}

// TestCapabilities asks what root lacks in containers that took something away from it.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	all := ^uint64(0)
	tests := []struct {
		reason string
		have   uint64
		want   []string
	}{
		{"root", all, nil},
		{"a container's root without what binds a guest's first ports", all &^ (1 << unix.CAP_NET_BIND_SERVICE), []string{"CAP_NET_BIND_SERVICE"}},
		{"one whose programs cannot become other users", all &^ (1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID), []string{"CAP_SETGID", "CAP_SETUID"}},
		{"one that cannot unpack files with capabilities", all &^ (1<<unix.CAP_SETFCAP | 1<<unix.CAP_FOWNER | 1<<unix.CAP_SETPCAP), []string{"CAP_FOWNER", "CAP_SETPCAP", "CAP_SETFCAP"}},
		{"one without what the level does without", all &^ (1<<unix.CAP_SYS_RESOURCE | 1<<unix.CAP_SYS_MODULE | 1<<unix.CAP_SYS_TIME), nil},
	}
	for _, tt := range tests {
		if got := vm.Lacking(tt.have); !slices.Equal(got, tt.want) {
			t.Errorf("%s lacks %v, want %v", tt.reason, got, tt.want)
		}
	}
}
