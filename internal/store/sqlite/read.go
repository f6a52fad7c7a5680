// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltx"
)

func (s *Store) reader(on sqltx.Session) sqltx.Reader {
	return sqltx.Reader{On: on, Schemas: s.opts.Schemas, Listings: s.opts.Listings}
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
	if !several {
		return fn(s.reader(s.read))
	}
	db, ok := s.read.on.(*sql.DB)
	if !ok {
		return errors.New("read from the database: not a pool")
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return unavailable("read from the database", err)
	}
	// A transaction that only reads has nothing to commit.
	defer func() {
		if rerr := tx.Rollback(); rerr != nil && !errors.Is(rerr, sql.ErrTxDone) && err == nil {
			err = unavailable("read from the database", rerr)
		}
	}()
	return fn(s.reader(newSession(tx)))
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
	err = s.reading(ctx, several, func(r sqltx.Reader) error {
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
