// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
	"github.com/lazuli-dev/lazuli/internal/store/sqltx"
)

const (
	// maxRuns bounds how often one transaction gives way to others.
	maxRuns = 30
	// maxBroken bounds how often one transaction starts again because its
	// connection was found dead: the pool may hold several from before a
	// restart of the database.
	maxBroken = 3
	minPause  = time.Millisecond
	maxPause  = 100 * time.Millisecond
	// trimEvery is after how many events, about, those of an object are trimmed.
	trimEvery = 16

	begin     = "begin isolation level serializable"
	beginRead = "begin read only, isolation level repeatable read"
	commit    = "commit"
	rollback  = "rollback"
)

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.update(ctx, func(t *sqltx.Tx) error { return fn(t) })
}

// Fenced implements store.Store.
func (s *Store) Fenced(ctx context.Context, l store.Lease, fn func(store.Tx) error) error {
	return s.update(ctx, func(t *sqltx.Tx) error {
		if err := t.Hold(ctx, l); err != nil {
			return err
		}
		return fn(t)
	})
}

// Upkeep implements store.Store.
func (s *Store) Upkeep(ctx context.Context, u store.Upkeep) (more bool, err error) {
	err = s.update(ctx, func(t *sqltx.Tx) error {
		more, err = t.Upkeep(ctx, u)
		return err
	})
	return more, err
}

// Writable implements store.Store. A transaction that asks for its number is
// written down when it commits, and no standby gives it one.
func (s *Store) Writable(ctx context.Context) error {
	return s.update(ctx, func(t *sqltx.Tx) error {
		if _, err := t.On.Exec(ctx, "select pg_current_xact_id()"); err != nil {
			return t.On.Fail("ask for a transaction's number", err)
		}
		return nil
	})
}

// update runs fn in a transaction, again while others are in the way, and
// publishes what it changed.
func (s *Store) update(ctx context.Context, fn func(*sqltx.Tx) error) error {
	lost := 0
	for run := 1; ; run++ {
		t, again, err := s.transact(ctx, fn)
		if err == nil {
			s.hub.Publish(t.Changes())
			s.trim(ctx, t.Appended())
			return nil
		}
		switch {
		case !collided(again) && !broken(again), run >= maxRuns:
			return err
		case broken(again):
			if lost++; lost >= maxBroken {
				return err
			}
		}
		if err := wait(ctx, run); err != nil {
			return fmt.Errorf("wait for other transactions: %w", err)
		}
	}
}

// wait pauses a random while that grows with the runs.
func wait(ctx context.Context, run int) error {
	ceiling := min(maxPause, minPause<<min(run, 10)) // far above maxPause
	timer := time.NewTimer(rand.N(ceiling))          //nolint:gosec // spreads load
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// transact runs fn once. again is what the database said against the
// transaction, whatever fn made of it; it is nil when there is no sense in
// another run.
func (s *Store) transact(ctx context.Context, fn func(*sqltx.Tx) error) (_ *sqltx.Tx, again, err error) {
	conn, err := s.acquire(ctx)
	if err != nil {
		return nil, nil, unavailable("begin a transaction", err)
	}
	defer conn.Release() // a connection within a transaction is not used again
	on := &session{on: conn}
	if _, err := on.Exec(ctx, begin); err != nil {
		return nil, err, unavailable("begin a transaction", err)
	}
	t := &sqltx.Tx{
		Reader: s.reader(on), Dialect: sqltext.Postgres(), Now: s.now(), Random: s.opts.Random, TrimLater: true,
	}
	done := false
	defer func() { // also when fn panics
		if !done {
			t.Undo()
			s.rollback(ctx, conn)
		}
	}()
	err = fn(t)
	if on.first != nil { // the transaction is over, even when fn took no notice
		if err == nil {
			err = unavailable("go on with a transaction that had failed", on.first)
		}
		return nil, on.first, err
	}
	if err != nil {
		return nil, nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("commit a transaction: %w", err)
	}
	if err := s.commit(ctx, conn, t.Changes()); err != nil {
		if !collided(err) {
			return nil, nil, unavailable("commit a transaction: it may have happened or not", err)
		}
		return nil, err, unavailable("commit a transaction", err)
	}
	done = true
	return t, nil, nil
}

// rollback ends a transaction; when that does not work, so does the connection.
func (s *Store) rollback(ctx context.Context, conn *pgxpool.Conn) {
	if conn.Conn().IsClosed() {
		return
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	if _, err := conn.Exec(bounded, rollback); err != nil {
		s.opts.Logger.DebugContext(ctx, "a transaction could not be rolled back; its connection ends", "error", err)
	}
}

// commit tells the changes to the other processes and commits, in one round
// trip. It does not end with the caller's context: the answer would be lost,
// not the commit.
func (s *Store) commit(ctx context.Context, conn *pgxpool.Conn, changes []store.Change) (err error) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTimeout)
	defer cancel()
	var batch pgx.Batch
	for _, payload := range payloads(s.origin, changes) {
		batch.Queue("select pg_notify($1, $2)", channel, payload)
	}
	batch.Queue(commit)
	results := conn.SendBatch(bounded, &batch)
	defer func() {
		if cerr := results.Close(); err == nil {
			err = slow(ctx, cerr)
		}
	}()
	for range batch.Len() - 1 {
		if _, err := results.Exec(); err != nil {
			return slow(ctx, err)
		}
	}
	tag, err := results.Exec()
	if err != nil {
		return slow(ctx, err)
	}
	if tag.String() != "COMMIT" {
		return errors.New("the database rolled it back")
	}
	return nil
}

// trim removes old events of an object now and then: a few more than
// sqltx.MaxEvents may be there for a while.
func (s *Store) trim(ctx context.Context, objects []store.WorkKey) {
	for _, o := range objects {
		if rand.IntN(trimEvery) != 0 { //nolint:gosec // spreads load
			continue
		}
		if err := sqltx.TrimEvents(ctx, &session{on: s.pool}, o.Kind, o.ID); err != nil {
			s.opts.Logger.DebugContext(ctx, "old events stay for now", "error", err)
		}
	}
}

func (s *Store) reader(on *session) sqltx.Reader {
	return sqltx.Reader{On: on, Schemas: s.opts.Schemas, Listings: s.opts.Listings}
}

// reading runs fn, again when it met a connection that had died meanwhile.
// several is that fn's statements must see one state.
func (s *Store) reading(ctx context.Context, several bool, fn func(sqltx.Reader) error) error {
	for run := 1; ; run++ {
		again, err := s.readOnce(ctx, several, fn)
		if err == nil || again == nil || !broken(again) || run >= maxBroken {
			return err
		}
	}
}

func (s *Store) readOnce(ctx context.Context, several bool, fn func(sqltx.Reader) error) (again, err error) {
	conn, err := s.acquire(ctx)
	if err != nil {
		return nil, unavailable("read from the database", err)
	}
	defer conn.Release()
	on := &session{on: conn}
	if several {
		if _, err := on.Exec(ctx, beginRead); err != nil {
			return err, unavailable("read from the database", err)
		}
		defer s.rollback(ctx, conn)
	}
	err = fn(s.reader(on))
	return on.first, err
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
