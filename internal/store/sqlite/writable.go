// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store/sqltx"
)

const (
	// freshFor is how long a change that was committed speaks for the next one.
	freshFor = 3 * time.Second
	// room is what must fit on the disk after a write has failed: more than all but
	// the largest transactions take. One page alone often still fits in a
	// write-ahead log that is used again.
	room = 256 << 10
)

// Writable implements store.Store. After a write has failed it looks for room on
// the disk, and at all times, unless a change was just committed, it writes one
// page: the cookie that SQLite leaves to its users.
func (s *Store) Writable(ctx context.Context) error {
	failing := s.failing.Load()
	if age := s.now().UnixNano() - s.wrote.Load(); !failing && age >= 0 && age < int64(freshFor) {
		return nil
	}
	if failing && s.lock != nil {
		if err := s.fits(); err != nil {
			return &lazuli.Error{Code: lazuli.CodeUnavailable, Message: "look for room beside the database", Err: err}
		}
	}
	err := s.update(ctx, ordered, func(t *sqltx.Tx) error {
		if _, err := t.On.Exec(ctx, "pragma user_version=1"); err != nil {
			return t.On.Fail("write a page", err)
		}
		return nil
	})
	if err == nil {
		s.wrote.Store(s.now().UnixNano())
		s.failing.Store(false)
	}
	return err
}

// fits writes a file beside the database and takes it away again.
func (s *Store) fits() (err error) {
	f, err := os.CreateTemp(filepath.Dir(s.opts.Path), ".room-*")
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, room)); err != nil {
		return fmt.Errorf("write a file: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write a file: %w", err)
	}
	return nil
}
