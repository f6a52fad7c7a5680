// SPDX-License-Identifier: Apache-2.0

//go:build unix

package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
	"github.com/lazuli-dev/lazuli/internal/store/storetest"
)

// fullEnv makes the test binary tell of the database that it names what becomes
// of it on a full disk. It is a process of its own, since a full disk is a limit
// of the whole process here: no file may grow, and none be written.
const fullEnv = "LAZULI_TEST_FULL_DISK"

func TestWritableOnAFullDisk(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), fullEnv+"="+file(t))
	out, err := c.CombinedOutput()
	if err != nil || string(out) != "done\n" {
		t.Errorf("%v: %s", err, out)
	}
}

func fullDisk(path string) int {
	err := playFullDisk(context.Background(), path)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("done")
	return 0
}

func playFullDisk(ctx context.Context, path string) (err error) {
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	full := func(yes bool) error {
		now := was
		if yes {
			now.Cur = 0
		}
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &now)
	}
	now := time.Now()
	s, err := sqlite.Open(ctx, sqlite.Options{Path: path, Now: func() time.Time { return now }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	n := 0
	write := func() error {
		n++
		return s.Update(ctx, func(tx store.Tx) error {
			return tx.Create(ctx, &storetest.Thing{KindName: "thing", Meta: lazuli.Meta{UID: fmt.Sprintf("%024x", n), Name: fmt.Sprint("n", n)}})
		})
	}
	expect := func(reason string, err error, works bool) error {
		if works && err != nil {
			return fmt.Errorf("%s: %w", reason, err)
		}
		if !works && lazuli.CodeOf(err) != lazuli.CodeUnavailable {
			return fmt.Errorf("%s: it goes on: %w", reason, err)
		}
		return nil
	}
	steps := []func() error{
		func() error { return expect("a write", write(), true) },
		func() error { return expect("room", s.Writable(ctx), true) },
		func() error { return full(true) },
		func() error { return expect("a change was just stored", s.Writable(ctx), true) },
		func() error { now = now.Add(4 * time.Second); return nil },
		func() error { return expect("no room, and nobody wrote", s.Writable(ctx), false) },
		func() error { return full(false) },
		func() error { return expect("room again", s.Writable(ctx), true) },
		func() error { return full(true) },
		func() error { return expect("a write without room", write(), false) },
		func() error { return expect("a write has just failed", s.Writable(ctx), false) },
		func() error { return expect("and no room is there yet", s.Writable(ctx), false) },
		func() error { return full(false) },
		func() error { return expect("healed", s.Writable(ctx), true) },
		func() error { return expect("a write after all", write(), true) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return errors.Join(err, full(false))
		}
	}
	left, err := os.ReadDir(path[:strings.LastIndex(path, "/")])
	for _, f := range left {
		if strings.HasPrefix(f.Name(), ".room") {
			err = errors.Join(err, fmt.Errorf("%s is left", f.Name()))
		}
	}
	return err
}
