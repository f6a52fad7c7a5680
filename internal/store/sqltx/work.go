// SPDX-License-Identifier: Apache-2.0

package sqltx

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Hold fails with lazuli.CodeFenced unless the lease holds; then no one else
// claims the row before the transaction ends.
func (t *Tx) Hold(ctx context.Context, l store.Lease) error {
	act := fmt.Sprintf("check the lease of %s %s", l.Kind, l.ID)
	st := t.Dialect.Holds(l, t.Now)
	rows, err := t.On.Query(ctx, st.Text, st.Args...)
	if err != nil {
		return t.On.Fail(act, err)
	}
	_, holds, err := scanInt(rows)
	if err != nil {
		return t.On.Fail(act, err)
	}
	if !holds {
		return lost(l)
	}
	return nil
}

func lost(l store.Lease) error {
	return lazuli.Errorf(lazuli.CodeFenced, "the lease of %s %s (owner %s, fence %d) is over", l.Kind, l.ID, l.Owner, l.Fence)
}

// Claim is Claim of store.Store, at a time by the caller's clock. The leases
// are ordered by due time.
func (r Runner) Claim(
	ctx context.Context, owner string, kinds []lazuli.Kind, limit int, lease time.Duration, now time.Time,
) ([]store.Lease, error) {
	if len(kinds) == 0 || limit <= 0 {
		return nil, nil
	}
	if owner == "" {
		return nil, lazuli.Errorf(lazuli.CodeInternal, "claim work: the owner has no name")
	}
	st := r.Dialect.Claim(owner, kinds, limit, lease, now)
	rows, err := r.On.Query(ctx, st.Text, st.Args...)
	if err != nil {
		return nil, r.On.Fail("claim work", err)
	}
	leases, err := scanLeases(rows, owner, now.Add(lease))
	return leases, r.On.Fail("claim work", err)
}

func scanLeases(rows Rows, owner string, until time.Time) ([]store.Lease, error) {
	type claimed struct {
		store.Lease
		due int64
	}
	all, err := scanAll(rows, func(rows Rows) (claimed, error) {
		c := claimed{Lease: store.Lease{Owner: owner, Until: until}}
		err := rows.Scan(&c.Kind, &c.ID, &c.Gen, &c.Fence, &c.Attempts, &c.due)
		return c, err
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

// Finish is Finish of store.Store for one lease, in the driver's transaction.
func (r Runner) Finish(ctx context.Context, f store.Finish, now time.Time) error {
	for _, st := range r.Dialect.Finish(f, now) {
		if _, err := r.On.Exec(ctx, st.Text, st.Args...); err != nil {
			return r.On.Fail(fmt.Sprintf("finish work on %s %s", f.Lease.Kind, f.Lease.ID), err)
		}
	}
	return nil
}

// Renew is Renew of store.Store, at a time by the caller's clock.
func (r Runner) Renew(ctx context.Context, l store.Lease, lease time.Duration, now time.Time) (store.Lease, error) {
	st := r.Dialect.Renew(l, lease, now)
	n, err := r.On.Exec(ctx, st.Text, st.Args...)
	if err != nil {
		return store.Lease{}, r.On.Fail(fmt.Sprintf("renew the lease of %s %s", l.Kind, l.ID), err)
	}
	if n == 0 {
		return store.Lease{}, lost(l)
	}
	l.Until = now.Add(lease)
	return l, nil
}

// Release is Release of store.Store, at a time by the caller's clock.
func (r Runner) Release(ctx context.Context, owner string, now time.Time) error {
	st := r.Dialect.Release(owner, now)
	_, err := r.On.Exec(ctx, st.Text, st.Args...)
	return r.On.Fail("release leases", err)
}

// NextDue is NextDue of store.Store, at a time by the caller's clock.
func (r Runner) NextDue(ctx context.Context, kinds []lazuli.Kind, now time.Time) (due time.Time, ok bool, err error) {
	const act = "look for the next work"
	if len(kinds) == 0 {
		return time.Time{}, false, nil
	}
	st := r.Dialect.NextDue(kinds, now)
	rows, err := r.On.Query(ctx, st.Text, st.Args...)
	if err != nil {
		return time.Time{}, false, r.On.Fail(act, err)
	}
	all, err := scanAll(rows, func(rows Rows) (n sql.NullInt64, err error) { return n, rows.Scan(&n) })
	if err != nil {
		return time.Time{}, false, r.On.Fail(act, err)
	}
	for _, n := range all {
		// Not sqltext.Time: 0 is a time here, if an old one.
		if at := time.UnixMicro(n.Int64).UTC(); n.Valid && (!ok || at.Before(due)) {
			due, ok = at, true
		}
	}
	return due, ok, nil
}
