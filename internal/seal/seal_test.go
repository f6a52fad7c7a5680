// SPDX-License-Identifier: Apache-2.0

package seal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/seal"
)

const (
	plain  = "an-obviously-fake-secret"
	holder = "account/0123456789abcdef01234567"
)

func open(t *testing.T, path string) *seal.Sealer {
	t.Helper()
	s, err := seal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sealed(t *testing.T, s *seal.Sealer) lazuli.Sealed {
	t.Helper()
	v, err := s.Seal([]byte(plain), holder)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRoundTripOverReopening(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "made", "key.json")
	first := open(t, path)
	v := sealed(t, first)
	if bytes.Contains(v, []byte(plain)) {
		t.Error("the sealed value shows the plain one")
	}
	if bytes.Equal(v, sealed(t, first)) {
		t.Error("sealing twice gave the same value: the data key or the nonce is reused")
	}
	got, err := open(t, path).Unseal(v, holder)
	if err != nil || string(got) != plain {
		t.Errorf("unsealed with the file read again: %q, %v", got, err)
	}
	empty, err := first.Seal(nil, holder)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := first.Unseal(empty, holder); err != nil || len(got) != 0 {
		t.Errorf("an empty value: %q, %v", got, err)
	}
}

func TestUnsealRefuses(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "key.json"))
	other := open(t, filepath.Join(t.TempDir(), "key.json"))
	v := sealed(t, s)
	flipped := bytes.Clone(v)
	flipped[len(flipped)-1] ^= 1
	tests := map[string]struct {
		by     *seal.Sealer
		sealed lazuli.Sealed
		aad    string
		reason string
	}{
		"another holder":    {s, v, holder + "0", "a value copied to another object must not open there"},
		"no holder":         {s, v, "", "an unbound value could be moved"},
		"another key":       {other, v, holder, "the key file is not that of the database"},
		"changed":           {s, flipped, holder, "GCM authenticates"},
		"cut":               {s, v[:10], holder, "a truncated column"},
		"first byte alone":  {s, v[:1], holder, "a truncated column"},
		"empty":             {s, nil, holder, "nothing was ever sealed"},
		"of another format": {s, append(lazuli.Sealed{99}, v[1:]...), holder, "a newer release wrote it"},
		"plain by accident": {s, lazuli.Sealed(plain), holder, "a value that was never sealed must not pass for one"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.by.Unseal(test.sealed, test.aad)
			if got != nil || lazuli.CodeOf(err) != lazuli.CodeInternal {
				t.Fatalf("%s: got %q, %v", test.reason, got, err)
			}
			if strings.Contains(err.Error(), plain) {
				t.Errorf("the error shows the value: %v", err)
			}
			if _, ok := errors.AsType[*lazuli.Error](err); !ok {
				t.Errorf("the error has no code: %v", err)
			}
		})
	}
	if _, err := s.Seal([]byte(plain), ""); err == nil {
		t.Error("sealed for no holder")
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("file modes mean little here")
	}
	dir := filepath.Join(t.TempDir(), "keys")
	path := filepath.Join(dir, "key.json")
	open(t, path)
	for name, want := range map[string]os.FileMode{path: 0o600, dir: 0o700} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s: %o, want %o", name, got, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the key's directory holds %v (%v), want the key alone", entries, err)
	}

	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(path); err == nil || lazuli.RemedyOf(err) != "chmod 600 "+path {
		t.Errorf("opened a key that everyone may read: %v", err)
	}
	if err := os.WriteFile(path, []byte("not "+plain), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = seal.Open(path)
	if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), plain) {
		t.Errorf("a file that is no key: %v, want an error that names the file and shows none of it", err)
	}
	if after, err := os.ReadFile(path); err != nil || bytes.Equal(after, before) {
		t.Errorf("the file was replaced: %v", err)
	}
}

func TestTwoMakersGetOneKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key.json")
	const makers = 8
	all := make([]*seal.Sealer, makers)
	var wg sync.WaitGroup
	for i := range makers {
		wg.Go(func() {
			s, err := seal.Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = s
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	v := sealed(t, all[0])
	for i, s := range all {
		if _, err := s.Unseal(v, holder); err != nil {
			t.Errorf("maker %d has another key: %v", i, err)
		}
	}
}
