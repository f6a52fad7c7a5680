// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
	"github.com/lazuli-dev/lazuli/internal/store/sqltx"
)

// unsynced lets the commit of a batch return before it is on disk; the log is
// synced within a second. Leases need no more: one whose end is forgotten
// costs another look at its object.
const unsynced = "select set_config('synchronous_commit', 'off', true)"

// working runs fn on a connection. Each statement on work rows is a
// transaction of its own, so it is safe to begin anew when others were in the
// way, but not when the answer was lost: a claim might have happened.
func (s *Store) working(ctx context.Context, act string, fn func(conn *pgxpool.Conn) error) error {
	for run := 1; ; run++ {
		conn, err := s.acquire(ctx)
		if err != nil {
			return unavailable(act, err)
		}
		err = fn(conn)
		conn.Release()
		if err == nil || !collided(err) || run >= maxRuns {
			return err
		}
		if err := wait(ctx, run); err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
	}
}

func runner(conn *pgxpool.Conn) sqltx.Runner {
	return sqltx.Runner{On: &session{on: conn}, Dialect: sqltext.Postgres()}
}

// Claim implements store.Store. The leases are ordered by due time.
func (s *Store) Claim(
	ctx context.Context, owner string, kinds []lazuli.Kind, limit int, lease time.Duration,
) (leases []store.Lease, err error) {
	err = s.working(ctx, "claim work", func(conn *pgxpool.Conn) error {
		leases, err = runner(conn).Claim(ctx, owner, kinds, limit, lease, s.now())
		return err
	})
	return leases, err
}

// Finish implements store.Store, in one transaction and one round trip.
func (s *Store) Finish(ctx context.Context, done []store.Finish) error {
	if len(done) == 0 {
		return nil
	}
	const act = "finish work"
	return s.working(ctx, act, func(conn *pgxpool.Conn) error {
		now := s.now()
		var batch pgx.Batch
		batch.Queue(unsynced)
		for _, f := range done {
			for _, st := range sqltext.Postgres().Finish(f, now) {
				batch.Queue(st.Text, st.Args...)
			}
		}
		bounded, cancel := context.WithTimeout(ctx, actTimeout)
		defer cancel()
		return unavailable(act, slow(ctx, conn.SendBatch(bounded, &batch).Close()))
	})
}

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, l store.Lease, lease time.Duration) (renewed store.Lease, err error) {
	err = s.working(ctx, "renew a lease", func(conn *pgxpool.Conn) error {
		renewed, err = runner(conn).Renew(ctx, l, lease, s.now())
		return err
	})
	return renewed, err
}

// Release implements store.Store. The leases of other owners stay: they may be
// at work.
func (s *Store) Release(ctx context.Context, owner string) error {
	return s.working(ctx, "release leases", func(conn *pgxpool.Conn) error {
		return runner(conn).Release(ctx, owner, s.now())
	})
}

// NextDue implements store.Store.
func (s *Store) NextDue(ctx context.Context, kinds []lazuli.Kind) (due time.Time, ok bool, err error) {
	err = s.reading(ctx, false, func(r sqltx.Reader) error {
		due, ok, err = sqltx.Runner{On: r.On, Dialect: sqltext.Postgres()}.NextDue(ctx, kinds, s.now())
		return err
	})
	return due, ok, err
}
