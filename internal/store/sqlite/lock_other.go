// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package sqlite

import (
	"io"

	"github.com/lazuli-dev/lazuli"
)

// lockFile refuses: without a lock that ends with its process, two hubs could
// write to one database.
func lockFile(path string) (io.Closer, error) {
	return nil, lazuli.Errorf(lazuli.CodeUnavailable,
		"open database %s: this operating system has no file lock that the hub could rely on", path)
}
