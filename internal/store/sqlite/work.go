// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
)

// holds fails with lazuli.CodeFenced unless the lease holds now.
func (t *tx) holds(ctx context.Context, l store.Lease) error {
	rows, err := t.on.query(context.WithoutCancel(ctx), sqltext.HoldsLease,
		string(l.Kind), l.ID, l.Owner, l.Fence, sqltext.Micros(t.now))
	if err != nil {
		return unavailable(fmt.Sprintf("check the lease of %s %s", l.Kind, l.ID), err)
	}
	n, err := scanInt(rows)
	if err != nil {
		return unavailable(fmt.Sprintf("check the lease of %s %s", l.Kind, l.ID), err)
	}
	if n == 0 {
		return lost(l)
	}
	return nil
}

func lost(l store.Lease) error {
	return lazuli.Errorf(lazuli.CodeFenced, "the lease of %s %s (owner %s, fence %d) is over", l.Kind, l.ID, l.Owner, l.Fence)
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context) (<-chan store.Change, error) {
	return s.hub.Watch(ctx) //nolint:wrapcheck // it names the act
}

// Claim implements store.Store. The leases are ordered by due time.
func (s *Store) Claim(ctx context.Context, owner string, kinds []lazuli.Kind, limit int, lease time.Duration) ([]store.Lease, error) {
	if len(kinds) == 0 || limit <= 0 {
		return nil, nil
	}
	if owner == "" {
		return nil, lazuli.Errorf(lazuli.CodeInternal, "claim work: the owner has no name")
	}
	var leases []store.Lease
	err := s.update(ctx, ordered, func(t *tx) error {
		until := t.now.Add(lease)
		args := append([]any{owner, sqltext.Micros(until), sqltext.Micros(t.now), limit}, kindArgs(kinds)...)
		rows, err := t.on.query(context.WithoutCancel(ctx), sqltext.Claim(len(kinds), ""), args...)
		if err != nil {
			return unavailable("claim work", err)
		}
		leases, err = scanLeases(rows, owner, until)
		return unavailable("claim work", err)
	})
	return leases, err
}

func scanLeases(rows *sql.Rows, owner string, until time.Time) ([]store.Lease, error) {
	type claimed struct {
		store.Lease
		due int64
	}
	all, err := scanAll(rows, func(rows *sql.Rows) (claimed, error) {
		c := claimed{Lease: store.Lease{Owner: owner, Until: until}}
		err := rows.Scan(&c.Kind, &c.ID, &c.Gen, &c.Fence, &c.Attempts, &c.due)
		return c, err //nolint:wrapcheck // the caller names the act
	})
	if err != nil {
		return nil, err
	}
	// RETURNING has no order of its own.
	slices.SortFunc(all, func(a, b claimed) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	leases := make([]store.Lease, len(all))
	for i, c := range all {
		leases[i] = c.Lease
	}
	return leases, nil
}

// Finish implements store.Store, in one transaction.
func (s *Store) Finish(ctx context.Context, done []store.Finish) error {
	if len(done) == 0 {
		return nil
	}
	return s.update(ctx, ordered, func(t *tx) error {
		for _, f := range done {
			if err := t.finish(ctx, f); err != nil {
				return unavailable(fmt.Sprintf("finish work on %s %s", f.Lease.Kind, f.Lease.ID), err)
			}
		}
		return nil
	})
}

func (t *tx) finish(ctx context.Context, f store.Finish) error {
	l, now := f.Lease, sqltext.Micros(t.now)
	if f.Drop {
		if _, err := t.exec(ctx, sqltext.RaiseFence, l.Fence); err != nil {
			return err
		}
		n, err := t.exec(ctx, sqltext.DropWork, string(l.Kind), l.ID, l.Owner, l.Fence, l.Gen, now)
		if err != nil || n > 0 {
			return err
		}
	}
	due, reset := sqltext.Never, 0
	if !f.Due.IsZero() {
		due = sqltext.Micros(f.Due)
	}
	if f.Reset {
		reset = 1
	}
	_, err := t.exec(ctx, sqltext.FinishWork, string(l.Kind), l.ID, l.Owner, l.Fence, l.Gen, due, now, reset)
	return err
}

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, l store.Lease, lease time.Duration) (store.Lease, error) {
	err := s.update(ctx, ordered, func(t *tx) error {
		until := t.now.Add(lease)
		n, err := t.exec(ctx, sqltext.RenewWork, string(l.Kind), l.ID, l.Owner, l.Fence, sqltext.Micros(t.now), sqltext.Micros(until))
		if err != nil {
			return unavailable(fmt.Sprintf("renew the lease of %s %s", l.Kind, l.ID), err)
		}
		if n == 0 {
			return lost(l)
		}
		l.Until = until
		return nil
	})
	if err != nil {
		return store.Lease{}, err
	}
	return l, nil
}

// Release implements store.Store. This process is the only one, so the leases
// of all owners end: who held them is gone.
func (s *Store) Release(ctx context.Context, _ string) error {
	return s.update(ctx, ordered, func(t *tx) error {
		_, err := t.exec(ctx, sqltext.ReleaseAll, sqltext.Micros(t.now))
		return unavailable("release leases", err)
	})
}

// NextDue implements store.Store.
func (s *Store) NextDue(ctx context.Context, kinds []lazuli.Kind) (due time.Time, ok bool, err error) {
	if len(kinds) == 0 {
		return time.Time{}, false, nil
	}
	err = s.reading(ctx, false, func(r reader) error {
		rows, err := r.on.query(ctx, sqltext.NextDue(len(kinds)), append([]any{sqltext.Never}, kindArgs(kinds)...)...)
		if err != nil {
			return unavailable("look for the next work", err)
		}
		all, err := scanAll(rows, func(rows *sql.Rows) (n sql.NullInt64, err error) { return n, rows.Scan(&n) })
		if err != nil {
			return unavailable("look for the next work", err)
		}
		for _, n := range all {
			if at := sqltext.Time(n.Int64); n.Valid && (!ok || at.Before(due)) {
				due, ok = at, true
			}
		}
		return nil
	})
	return due, ok, err
}

func kindArgs(kinds []lazuli.Kind) []any {
	args := make([]any, len(kinds))
	for i, k := range kinds {
		args[i] = string(k)
	}
	return args
}
