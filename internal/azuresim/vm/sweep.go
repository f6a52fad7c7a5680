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
)

// prefixOf begins the names of everything that a process makes on its host: a letter and five more, so that none begins
// another.
func prefixOf(pid int) string {
	const letters = 5
	number := strconv.FormatInt(int64(pid), 36)
	return "z" + strings.Repeat("0", max(0, letters-len(number))) + number
}

// claim makes the directory of this simulator, after everything that killed ones left beside it is swept. The result
// holds it.
func claim(ctx context.Context, dir, prefix string, log *slog.Logger) (*os.File, error) {
	base := filepath.Dir(dir)
	if err := os.MkdirAll(base, 0o755); err != nil { //nolint:gosec // nothing secret
		return nil, err
	}
	// One at a time, so that nobody sweeps a directory that is not locked yet.
	turn, err := lockFile(filepath.Join(base, ".lock"), true)
	if err != nil {
		return nil, err
	}
	defer turn.Close()
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := sweep(ctx, filepath.Join(base, e.Name()), log); err != nil {
			log.Warn("sweep what a killed simulator left", "directory", e.Name(), "error", err)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // nothing secret
		return nil, err
	}
	held, err := lockFile(filepath.Join(dir, lockName), false)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, prefixName), []byte(prefix), 0o600); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held, nil
}

// sweep removes what a simulator left, unless it lives. A directory that is not a simulator's stays.
func sweep(ctx context.Context, dir string, log *slog.Logger) error {
	text, err := os.ReadFile(filepath.Join(dir, prefixName)) //nolint:gosec // of the cache
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
	defer held.Close()
	prefix := strings.TrimSpace(string(text))
	if len(prefix) != len(prefixOf(0)) {
		return fmt.Errorf("sweep %s: it is not a simulator's", dir)
	}
	log.Info("sweeping what a killed simulator left", "directory", dir)
	return errors.Join(sweepGroups("lzsim-"+prefix+"-"), vnet.Sweep(ctx, prefix), unmountBelow(dir), detachLoops(dir), os.RemoveAll(dir))
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
