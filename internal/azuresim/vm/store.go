// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// cloneStore copies an image store into an existing directory. Contents and layers never change, so they are linked;
// databases are copied. On another file system everything is copied.
func cloneStore(from, to string) error {
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		return cloneEntry(path, filepath.Join(to, rel), rel, e)
	})
	if err != nil {
		return fmt.Errorf("copy image store: %w", err)
	}
	return nil
}

func cloneEntry(from, to, rel string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if err := os.Symlink(target, to); err != nil {
			return err
		}
	case info.Mode().IsRegular() && immutable(rel):
		err := os.Link(from, to)
		if err == nil || !errors.Is(err, syscall.EXDEV) {
			return err
		}
		fallthrough
	case info.Mode().IsRegular():
		if err := copyFile(from, to); err != nil {
			return err
		}
	default: // Sockets and the like: a running containerd makes its own.
		return nil
	}
	return likeOriginal(to, info)
}

// immutable says which files of a store no guest changes.
func immutable(rel string) bool {
	rel = filepath.ToSlash(rel)
	if _, in, ok := strings.Cut(rel, "/snapshots/"); ok {
		parts := strings.SplitN(in, "/", 3)
		return len(parts) == 3 && parts[1] == "fs"
	}
	return strings.Contains(rel, "/blobs/")
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was read only
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
