// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltx"
)

func (s *Store) reader(on sqltx.Session) sqltx.Reader {
	return sqltx.Reader{On: on, Schemas: s.opts.Schemas, Listings: s.opts.Listings, Planless: true}
}

// reading runs fn on a session that reads one consistent state. In memory that
// is the writing connection.
func (s *Store) reading(ctx context.Context, several bool, fn func(sqltx.Reader) error) (err error) {
	if s.read == nil {
		if err := s.takeTurn(ctx); err != nil {
			return err
		}
		defer s.giveTurn()
		return fn(s.reader(s.write))
	}
	if s.shut.Load() {
		return errClosed()
	}
	var on *session
	select {
	case on = <-s.read:
	case <-ctx.Done():
		return fmt.Errorf("wait for the database: %w", ctx.Err())
	}
	if on == nil { // the channel is closed
		return errClosed()
	}
	defer func() { s.read <- on }() // also when fn panics
	if !several {
		return fn(s.reader(on))
	}
	lasting := context.WithoutCancel(ctx)
	if _, err := on.Exec(lasting, "begin"); err != nil {
		return unavailable("read from the database", err)
	}
	// A transaction that only reads has nothing to commit.
	defer func() {
		if _, rerr := on.Exec(lasting, "rollback"); rerr != nil {
			err = errors.Join(err, unavailable("end a transaction that reads", rerr))
		}
	}()
	return fn(s.reader(on))
}

// Get implements store.Reader.
func (s *Store) Get(ctx context.Context, uid string, dst lazuli.Object) error {
	return s.reading(ctx, false, func(r sqltx.Reader) error { return r.Get(ctx, uid, dst) })
}

// ByUnique implements store.Reader.
func (s *Store) ByUnique(ctx context.Context, unique string, dst lazuli.Object) error {
	return s.reading(ctx, false, func(r sqltx.Reader) error { return r.ByUnique(ctx, unique, dst) })
}

// Query implements store.Reader.
func (s *Store) Query(ctx context.Context, q store.Query) (page store.Page, err error) {
	several := q.Limit > 0 || q.After != ""
	var counts sqltx.Counter
	if q.Kind.Listed() {
		counts = s.counts.reader(q.Kind) // before a snapshot begins
	}
	err = s.reading(ctx, several, func(r sqltx.Reader) error {
		r.Counts = counts
		page, err = r.Query(ctx, q)
		return err
	})
	return page, err
}

// Events implements store.Reader.
func (s *Store) Events(ctx context.Context, q store.EventQuery) (events []lazuli.Event, err error) {
	err = s.reading(ctx, false, func(r sqltx.Reader) error {
		events, err = r.Events(ctx, q)
		return err
	})
	return events, err
}
