// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/lazuli-dev/lazuli"
)

// maxPID is more than the digits of any process id.
const maxPID = 20

// lockFile takes the lock that keeps a second process out of the database. The
// kernel lets go of it when the process ends, however it ends. The lock file
// holds the owner's process id, for people, and is never removed: a process
// that waits for the removed file would hold a lock that no one else sees.
func lockFile(path string) (io.Closer, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("lock database %s: %w", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(lockError(f, path, err), f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock database %s: %w", path, err), f.Close())
	}
	return f, nil
}

func lockError(f io.Reader, path string, err error) error {
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("lock database %s: %w", path, err)
	}
	who := ""
	if pid, err := io.ReadAll(io.LimitReader(f, maxPID)); err == nil && len(pid) > 0 {
		who = " (process " + strings.TrimSpace(string(pid)) + ")"
	}
	return &lazuli.Error{
		Code:    lazuli.CodeUnavailable,
		Message: "open database " + path + ": it is in use" + who,
		Remedy:  "Stop the other hub, or give this one a database of its own: SQLite serves one process.",
	}
}
