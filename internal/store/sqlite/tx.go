// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
	"github.com/lazuli-dev/lazuli/internal/store/sqltx"
)

// whole is the writing connection within a transaction.
//
// Its statements do not end with the caller's context: SQLite may roll a whole
// transaction back when it interrupts a statement, and what followed would be
// committed alone. The context is looked at before each statement instead.
type whole struct{ *session }

// Query implements sqltx.Session.
func (w whole) Query(ctx context.Context, text string, args ...any) (sqltx.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return w.session.Query(context.WithoutCancel(ctx), text, args...)
}

// QueryOnce implements sqltx.Session.
func (w whole) QueryOnce(ctx context.Context, text string, args ...any) (sqltx.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return w.session.QueryOnce(context.WithoutCancel(ctx), text, args...)
}

// Exec implements sqltx.Session.
func (w whole) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return w.session.Exec(context.WithoutCancel(ctx), text, args...)
}

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.update(ctx, synced, func(t *sqltx.Tx) error { return fn(t) })
}

// Fenced implements store.Store.
func (s *Store) Fenced(ctx context.Context, l store.Lease, fn func(store.Tx) error) error {
	return s.update(ctx, synced, func(t *sqltx.Tx) error {
		if err := t.Hold(ctx, l); err != nil {
			return err
		}
		return fn(t)
	})
}

// Upkeep implements store.Store.
func (s *Store) Upkeep(ctx context.Context, u store.Upkeep) (more bool, err error) {
	err = s.update(ctx, ordered, func(t *sqltx.Tx) error {
		more, err = t.Upkeep(ctx, u)
		return err
	})
	return more, err
}

// durability is what a commit survives.
type durability string

const (
	// synced commits, and all before them, survive power loss.
	synced durability = "full"
	// ordered commits survive the end of the process, and power loss when a
	// synced one follows. Leases need no more: one that is forgotten costs
	// another look at its object, a sync of the disk costs milliseconds.
	ordered durability = "normal"
)

// update runs fn in a transaction and publishes what it changed.
func (s *Store) update(ctx context.Context, d durability, fn func(*sqltx.Tx) error) error {
	changes, err := s.inTurn(ctx, d, fn)
	if err != nil {
		if lazuli.CodeOf(err) == lazuli.CodeUnavailable {
			s.failing.Store(true)
		}
		return err
	}
	if len(changes) > 0 {
		s.wrote.Store(s.now().UnixNano())
	}
	s.hub.Publish(changes)
	return nil
}

func (s *Store) inTurn(ctx context.Context, d durability, fn func(*sqltx.Tx) error) ([]store.Change, error) {
	if err := s.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer s.giveTurn() // also when fn panics
	if err := s.setDurability(ctx, d); err != nil {
		return nil, err
	}
	return s.transact(ctx, fn)
}

// setDurability prepares the connection for the next transaction.
func (s *Store) setDurability(ctx context.Context, d durability) error {
	if s.durability == d || s.read == nil {
		return nil
	}
	// Not as a kept statement: SQLite carries this pragma out when it is prepared.
	if _, err := s.write.on.ExecContext(context.WithoutCancel(ctx), "pragma synchronous="+string(d)); err != nil {
		return unavailable("set the durability of commits", err)
	}
	s.durability = d
	return nil
}

func (s *Store) transact(ctx context.Context, fn func(*sqltx.Tx) error) (_ []store.Change, err error) {
	lasting := context.WithoutCancel(ctx)
	if _, err := s.write.Exec(lasting, "begin immediate"); err != nil {
		return nil, unavailable("begin a transaction", err)
	}
	t := &sqltx.Tx{
		Reader: s.reader(whole{s.write}), Dialect: sqltext.SQLite(), Now: s.now(), Random: s.opts.Random,
	}
	committed := false
	defer func() { // also when fn panics
		if committed {
			return
		}
		t.Undo()
		if _, rerr := s.write.Exec(lasting, "rollback"); rerr != nil {
			err = errors.Join(err, unavailable("roll a transaction back", rerr))
		}
	}()
	if err := fn(t); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("commit a transaction: %w", err)
	}
	listed := t.Listed()
	s.counts.change(listed, true)
	defer s.counts.change(listed, false)
	if _, err := s.write.Exec(lasting, "commit"); err != nil {
		return nil, unavailable("commit a transaction", err)
	}
	committed = true
	return t.Changes(), nil
}
