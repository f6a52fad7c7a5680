// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/lazuli-dev/lazuli"
)

const (
	keyFileMode = 0o600
	keyDirMode  = 0o700
	// tooOpen are the permissions that a key file must not grant: any to
	// everyone, and writing to its group. A group that reads is how Kubernetes
	// mounts a Secret for a process that is not root.
	tooOpen fs.FileMode = 0o027
)

// Open makes a Sealer from the key file at path: a Tink keyset in clear JSON.
// A missing file is made, with a new random AES-256-GCM key, mode 0600, and is
// on disk when Open returns; its directory is made too. When two processes make
// it at once both get the same key.
//
// Who loses the file loses every sealed value.
func Open(path string) (*Sealer, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, fmt.Errorf("create key file %s: %w", path, err)
		}
		raw, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read key file %s: %w", path, err)
	}
	if err := checkMode(path); err != nil {
		return nil, err
	}
	kek, err := parse(raw)
	if err != nil {
		return nil, &lazuli.Error{
			Code:    lazuli.CodeUnavailable,
			Message: fmt.Sprintf("read key file %s: it is not a keyset", path),
			Remedy:  "Restore the key file from where you keep it. A new one would not open what was sealed with it.",
			Err:     err,
		}
	}
	return New(kek), nil
}

func checkMode(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read key file %s: %w", path, err)
	}
	if mode := info.Mode().Perm(); mode&tooOpen != 0 && runtime.GOOS != "windows" {
		return &lazuli.Error{
			Code:    lazuli.CodeUnavailable,
			Message: fmt.Sprintf("read key file %s: its mode %04o lets others use it", path, mode),
			Remedy:  "chmod 600 " + path,
		}
	}
	return nil
}

func parse(raw []byte) (tink.AEAD, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		// The cause is left out: a parser may quote what it does not understand.
		return nil, errors.New("it cannot be parsed")
	}
	kek, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("use the keyset: %w", err)
	}
	return kek, nil
}

// create writes a new key beside path and links it there: a link, unlike a
// rename, never replaces a key that another process put there meanwhile.
func create(path string) (err error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	var raw bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&raw)); err != nil {
		return fmt.Errorf("encode a key: %w", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, keyDirMode); err != nil {
		return err // the caller names the act
	}
	f, err := os.CreateTemp(dir, ".key-*") // has mode 0600
	if err != nil {
		return err // the caller names the act
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name()), syncDir(dir)) }()
	_, err = f.Write(raw.Bytes())
	if err := errors.Join(err, f.Chmod(keyFileMode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err // the caller names the act
	}
	return nil
}

// syncDir makes a new name in a directory survive power loss.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err // the caller names the act
	}
	return errors.Join(d.Sync(), d.Close())
}
