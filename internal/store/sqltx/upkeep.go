// SPDX-License-Identifier: Apache-2.0

package sqltx

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
)

// maxDropped bounds the rows that one look at an object that is gone deletes.
const maxDropped = 1000

// Upkeep is Upkeep of store.Store, in the driver's transaction.
func (t *Tx) Upkeep(ctx context.Context, u store.Upkeep) (more bool, err error) {
	rows, err := t.On.Query(ctx, sqltext.GoneBefore, sqltext.Micros(t.Now.Add(-u.KeepGone)), u.Batch)
	if err != nil {
		return false, t.On.Fail("look for what is gone", err)
	}
	gone, err := scanAll(rows, func(rows Rows) (k store.WorkKey, err error) { return k, rows.Scan(&k.Kind, &k.ID) })
	if err != nil {
		return false, t.On.Fail("look for what is gone", err)
	}
	for _, key := range gone {
		if err := t.forget(ctx, key); err != nil {
			return false, t.On.Fail(fmt.Sprintf("forget %s %s", key.Kind, key.ID), err)
		}
	}
	more = len(gone) == u.Batch
	for _, kind := range slices.Sorted(maps.Keys(t.Listings)) {
		again, err := t.renew(ctx, kind, t.Listings[kind], u.Batch)
		if err != nil {
			return false, t.On.Fail(fmt.Sprintf("list objects of kind %s anew", kind), err)
		}
		more = more || again
	}
	return more, nil
}

// forget drops what was said about an object that is gone; one that is there
// again keeps it.
func (t *Tx) forget(ctx context.Context, key store.WorkKey) error {
	kind := string(key.Kind)
	rows, err := t.On.Query(ctx, sqltext.ObjectVersion, kind, key.ID)
	if err != nil {
		return err
	}
	_, there, err := scanInt(rows)
	if err != nil {
		return err
	}
	for _, text := range []string{sqltext.DropEvents, sqltext.DropAudits} {
		if there {
			break
		}
		n, err := t.On.Exec(ctx, text, kind, key.ID, maxDropped)
		if err != nil || n == maxDropped {
			return err // there may be more, next time
		}
	}
	_, err = t.On.Exec(ctx, sqltext.ForgetGone, kind, key.ID)
	return err
}

// renew lists objects anew whose listings another release made. An object that
// cannot be read stays as it is.
func (t *Tx) renew(ctx context.Context, kind lazuli.Kind, l store.Listing, batch int) (more bool, err error) {
	if l.New == nil {
		return false, nil
	}
	rows, err := t.On.Query(ctx, sqltext.StaleListings, string(kind), l.Version, batch)
	if err != nil {
		return false, err
	}
	uids, err := scanAll(rows, func(rows Rows) (uid string, err error) { return uid, rows.Scan(&uid) })
	if err != nil {
		return false, err
	}
	done := 0
	for _, uid := range uids {
		o := l.New()
		switch err := t.Get(ctx, uid, o); lazuli.CodeOf(err) {
		case "":
		case lazuli.CodeInternal:
			continue
		default:
			return false, err
		}
		if err := t.replaceLabels(ctx, o, true); err != nil {
			return false, err
		}
		if err := t.relist(ctx, o, o.Index()); err != nil {
			return false, err
		}
		done++
	}
	return done > 0 && len(uids) == batch, nil
}
