// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const keyLength = 16 // hexadecimal digits, as in the names of directories

// Key is the hash of the words and of all files under the paths of source, by name, content and whether they can be executed.
// Tests and Markdown do not count. A path that is not there counts as empty.
func Key(source string, paths, words []string) (string, error) {
	hash := sha256.New()
	for _, w := range words {
		fmt.Fprintf(hash, "word %d %s\n", len(w), w)
	}
	for _, p := range slices.Sorted(slices.Values(paths)) {
		err := filepath.WalkDir(filepath.Join(source, p), func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !entry.Type().IsRegular() || strings.HasSuffix(name, "_test.go") || path.Ext(name) == ".md" {
				return nil
			}
			return addFile(hash, source, name, entry)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("hash %s: %w", p, err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:keyLength], nil
}

func addFile(hash io.Writer, source, name string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	relative, err := filepath.Rel(source, name)
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	file, err := os.Open(name)
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	defer file.Close()
	fmt.Fprintf(hash, "file %q %t %d\n", filepath.ToSlash(relative), info.Mode()&0o111 != 0, info.Size())
	_, err = io.Copy(hash, file)
	return err //nolint:wrapcheck // names the file
}
