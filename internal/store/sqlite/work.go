// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
	"github.com/lazuli-dev/lazuli/internal/store/sqltx"
)

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context) (<-chan store.Change, error) { return s.hub.Watch(ctx) }

// working runs fn in a transaction on work rows.
func (s *Store) working(ctx context.Context, fn func(r sqltx.Runner, now time.Time) error) error {
	return s.update(ctx, ordered, func(t *sqltx.Tx) error {
		return fn(sqltx.Runner{On: t.On, Dialect: t.Dialect}, t.Now)
	})
}

// Claim implements store.Store. The leases are ordered by due time.
func (s *Store) Claim(
	ctx context.Context, owner string, kinds []lazuli.Kind, limit int, lease time.Duration,
) (leases []store.Lease, err error) {
	if len(kinds) == 0 || limit <= 0 {
		return nil, nil
	}
	err = s.working(ctx, func(r sqltx.Runner, now time.Time) error {
		leases, err = r.Claim(ctx, owner, kinds, limit, lease, now)
		return err
	})
	return leases, err
}

// Finish implements store.Store, in one transaction.
func (s *Store) Finish(ctx context.Context, done []store.Finish) error {
	if len(done) == 0 {
		return nil
	}
	return s.working(ctx, func(r sqltx.Runner, now time.Time) error {
		for _, f := range done {
			if err := r.Finish(ctx, f, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, l store.Lease, lease time.Duration) (renewed store.Lease, err error) {
	err = s.working(ctx, func(r sqltx.Runner, now time.Time) error {
		renewed, err = r.Renew(ctx, l, lease, now)
		return err
	})
	if err != nil {
		return store.Lease{}, err
	}
	return renewed, nil
}

// Release implements store.Store. This process is the only one, so the leases
// of all owners end: who held them is gone.
func (s *Store) Release(ctx context.Context, owner string) error {
	return s.working(ctx, func(r sqltx.Runner, now time.Time) error { return r.Release(ctx, owner, now) })
}

// NextDue implements store.Store.
func (s *Store) NextDue(ctx context.Context, kinds []lazuli.Kind) (due time.Time, ok bool, err error) {
	if len(kinds) == 0 {
		return time.Time{}, false, nil
	}
	err = s.reading(ctx, false, func(r sqltx.Reader) error {
		due, ok, err = sqltx.Runner{On: r.On, Dialect: sqltext.SQLite()}.NextDue(ctx, kinds, s.now())
		return err
	})
	return due, ok, err
}
