// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lazuli-dev/lazuli/internal/azuresim/vnet"
)

const (
	lockName   = "lock"
	prefixName = "prefix"
	halfName   = ".new" // a directory that is being made
)

// prefixLetters are the letters of every prefix, so that none begins another: links have no room for more.
const prefixLetters = 6

// prefixOf begins the names of everything that a process makes on its host. The n-th is another one.
func prefixOf(pid, n int) string {
	const numbers = 36 * 36 * 36 * 36
	number := strconv.FormatInt(int64((pid+n)%numbers), 36)
	return "lz" + strings.Repeat("0", prefixLetters-len("lz")-len(number)) + number
}

// claim makes the directory of this simulator, after everything that killed ones left beside it is swept. The file holds
// it, and the prefix is nobody else's.
func claim(ctx context.Context, dir string, log *slog.Logger) (held *os.File, prefix string, err error) {
	base := filepath.Dir(dir)
	if err := os.MkdirAll(base, 0o755); err != nil { //nolint:gosec // nothing secret
		return nil, "", err
	}
	// One at a time, so that nobody sweeps a directory that is not locked yet.
	turn, err := lockFile(filepath.Join(base, ".lock"), true)
	if err != nil {
		return nil, "", err
	}
	defer turn.Close() //nolint:errcheck // a lock
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, "", err
	}
	taken := map[string]bool{}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == halfName {
			continue
		}
		if err := sweep(ctx, filepath.Join(base, e.Name()), log); err != nil {
			log.Warn("sweep what a killed simulator left", "directory", e.Name(), "error", err)
		}
		if text, err := os.ReadFile(filepath.Join(base, e.Name(), prefixName)); err == nil {
			taken[string(text)] = true
		}
	}
	for n := 0; prefix == "" || taken[prefix]; n++ {
		prefix = prefixOf(os.Getpid(), n)
	}
	if err := makeOwn(dir, prefix); err != nil {
		return nil, "", err
	}
	if held, err = lockFile(filepath.Join(dir, lockName), false); err != nil {
		return nil, "", errors.Join(err, os.RemoveAll(dir))
	}
	return held, prefix, nil
}

// makeOwn makes a directory that says whose it is, whole or not at all: without that word nobody would sweep it, and the
// next process with our id could not make it.
func makeOwn(dir, prefix string) error {
	half := filepath.Join(filepath.Dir(dir), halfName) // It is our turn: what is there was left by a process that was killed.
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	if err := os.Mkdir(half, 0o755); err != nil { //nolint:gosec // nothing secret
		return err
	}
	_ = os.Remove(dir) // An empty one says nothing. Any other stays, and is in the way.
	err := os.WriteFile(filepath.Join(half, prefixName), []byte(prefix), 0o600)
	if err == nil {
		err = os.Rename(half, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(half))
	}
	return nil
}

// sweep removes what a simulator left, unless it lives. A directory that is not a simulator's stays.
func sweep(ctx context.Context, dir string, log *slog.Logger) error {
	text, err := os.ReadFile(filepath.Join(dir, prefixName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	held, err := lockFile(filepath.Join(dir, lockName), false)
	if errors.Is(err, errLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer held.Close() //nolint:errcheck // a lock
	prefix := strings.TrimSpace(string(text))
	if len(prefix) != prefixLetters {
		return fmt.Errorf("sweep %s: it is not a simulator's", dir)
	}
	log.Info("sweeping what a killed simulator left", "directory", dir)
	return errors.Join(sweepGroups(prefix+"-"), vnet.Sweep(ctx, prefix), unmountBelow(dir), detachLoops(dir), os.RemoveAll(dir))
}

// sweepGroups ends processes in groups whose names have a beginning, and removes the groups.
func sweepGroups(prefix string) error {
	groups, err := hierarchies()
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, h := range groups {
		list, err := filepath.Glob(filepath.Join(h.mountpoint, prefix+"*"))
		if err != nil {
			return err
		}
		for _, path := range list {
			names[filepath.Base(path)] = true
		}
	}
	var errs []error
	for name := range names {
		errs = append(errs, removeGroups(groups, name))
	}
	return errors.Join(errs...)
}
