// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
)

// tx implements store.Tx on the writing connection.
//
// Its statements do not end with the caller's context: SQLite may roll a whole
// transaction back when it interrupts a statement, and what followed would be
// committed alone. The context is looked at before each statement instead.
type tx struct {
	reader
	s       *Store
	now     time.Time
	changes []store.Change
	undo    []func()
}

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.update(ctx, synced, func(t *tx) error { return fn(t) })
}

// Fenced implements store.Store.
func (s *Store) Fenced(ctx context.Context, l store.Lease, fn func(store.Tx) error) error {
	return s.update(ctx, synced, func(t *tx) error {
		if err := t.holds(ctx, l); err != nil {
			return err
		}
		return fn(t)
	})
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
func (s *Store) update(ctx context.Context, d durability, fn func(*tx) error) error {
	changes, err := s.inTurn(ctx, d, fn)
	if err != nil {
		return err
	}
	s.hub.Publish(changes)
	return nil
}

func (s *Store) inTurn(ctx context.Context, d durability, fn func(*tx) error) ([]store.Change, error) {
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

func (s *Store) transact(ctx context.Context, fn func(*tx) error) (_ []store.Change, err error) {
	whole := context.WithoutCancel(ctx)
	if _, err := s.write.exec(whole, "begin immediate"); err != nil {
		return nil, unavailable("begin a transaction", err)
	}
	t := &tx{reader: reader{on: s.write, schemas: s.opts.Schemas}, s: s, now: s.now()}
	committed := false
	defer func() { // also when fn panics
		if committed {
			return
		}
		for _, undo := range slices.Backward(t.undo) {
			undo()
		}
		if _, rerr := s.write.exec(whole, "rollback"); rerr != nil {
			err = errors.Join(err, unavailable("roll a transaction back", rerr))
		}
	}()
	if err := fn(t); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("commit a transaction: %w", err)
	}
	if _, err := s.write.exec(whole, "commit"); err != nil {
		return nil, unavailable("commit a transaction", err)
	}
	committed = true
	return t.changes, nil
}

func (t *tx) exec(ctx context.Context, text string, args ...any) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err //nolint:wrapcheck // the caller names the act
	}
	return t.on.exec(context.WithoutCancel(ctx), text, args...)
}

// Get implements store.Reader.
func (t *tx) Get(ctx context.Context, uid string, dst lazuli.Object) error {
	return t.reading(ctx, func(ctx context.Context) error { return t.reader.Get(ctx, uid, dst) })
}

// ByUnique implements store.Reader.
func (t *tx) ByUnique(ctx context.Context, unique string, dst lazuli.Object) error {
	return t.reading(ctx, func(ctx context.Context) error { return t.reader.ByUnique(ctx, unique, dst) })
}

// Query implements store.Reader.
func (t *tx) Query(ctx context.Context, q store.Query) (page store.Page, err error) {
	err = t.reading(ctx, func(ctx context.Context) error {
		page, err = t.reader.Query(ctx, q)
		return err
	})
	return page, err
}

// Events implements store.Reader.
func (t *tx) Events(ctx context.Context, q store.EventQuery) (events []lazuli.Event, err error) {
	err = t.reading(ctx, func(ctx context.Context) error {
		events, err = t.reader.Events(ctx, q)
		return err
	})
	return events, err
}

func (*tx) reading(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read in a transaction: %w", err)
	}
	return fn(context.WithoutCancel(ctx))
}

// Create implements store.Tx.
func (t *tx) Create(ctx context.Context, o lazuli.Object) (err error) {
	act := describe("create", o)
	if o.Head().UID == "" {
		return lazuli.Errorf(lazuli.CodeInternal, "%s: it has no uid", act)
	}
	undo := t.stamp(o, t.now, 1)
	defer func() {
		if err != nil {
			undo()
		}
	}()
	data, err := encode(o)
	if err != nil {
		return unavailable(act, err)
	}
	h, ix := o.Head(), o.Index()
	n, err := t.exec(ctx, sqltext.InsertObject, string(o.Kind()), h.UID, h.Project, ix.Owner, h.Name, lazuli.Fold(h.Name),
		ix.State, ix.Unique, sqltext.Micros(t.now), t.schemas.Version(o.Kind()), data)
	if err != nil {
		return unavailable(act, err)
	}
	if n == 0 {
		if _, err := t.version(ctx, o); err == nil {
			return lazuli.Errorf(lazuli.CodeConflict, "%s: its uid exists already", act)
		}
		return duplicate(o)
	}
	if err := t.putLabels(ctx, o); err != nil {
		return unavailable(act, err)
	}
	t.changed(o.Kind(), h.UID, false)
	return nil
}

// Update implements store.Tx.
func (t *tx) Update(ctx context.Context, o lazuli.Object) (err error) {
	act := describe("update", o)
	h, ix := o.Head(), o.Index()
	was := h.Version
	undo := t.stamp(o, h.CreatedAt, was+1)
	defer func() {
		if err != nil {
			undo()
		}
	}()
	data, err := encode(o)
	if err != nil {
		return unavailable(act, err)
	}
	n, err := t.exec(ctx, sqltext.UpdateObject, string(o.Kind()), h.UID, h.Project, ix.Owner, h.Name, lazuli.Fold(h.Name),
		ix.State, ix.Unique, sqltext.Micros(t.now), t.schemas.Version(o.Kind()), data, was)
	if err != nil {
		return unavailable(act, err)
	}
	if n == 0 {
		return t.notUpdated(ctx, o, was)
	}
	if _, err := t.exec(ctx, sqltext.DeleteLabels, string(o.Kind()), h.UID); err != nil {
		return unavailable(act, err)
	}
	if err := t.putLabels(ctx, o); err != nil {
		return unavailable(act, err)
	}
	t.changed(o.Kind(), h.UID, false)
	return nil
}

// notUpdated says why an update changed nothing.
func (t *tx) notUpdated(ctx context.Context, o lazuli.Object, was int64) error {
	stored, err := t.version(ctx, o)
	if err != nil {
		return err
	}
	if stored != was {
		return &lazuli.Error{
			Code:    lazuli.CodeConflict,
			Message: fmt.Sprintf("%s: it was changed meanwhile (version %d is stored, %d was read)", describe("update", o), stored, was),
			Remedy:  "Read it again and repeat the change.",
		}
	}
	return duplicate(o)
}

// version returns the stored version of an object, or lazuli.CodeNotFound.
func (t *tx) version(ctx context.Context, o lazuli.Object) (int64, error) {
	rows, err := t.on.query(context.WithoutCancel(ctx), sqltext.ObjectVersion, string(o.Kind()), o.Head().UID)
	if err != nil {
		return 0, unavailable(describe("read", o), err)
	}
	n, err := scanInt(rows)
	if err != nil {
		return 0, unavailable(describe("read", o), err)
	}
	if n == 0 {
		return 0, lazuli.Errorf(lazuli.CodeNotFound, "%s %q does not exist", o.Kind(), o.Head().UID)
	}
	return int64(n), nil
}

// stamp sets what the store decides; undo, which also runs when the transaction
// does not commit, takes it back.
func (t *tx) stamp(o lazuli.Object, created time.Time, version int64) (undo func()) {
	h := o.Head()
	was := *h
	undo = func() { h.Version, h.CreatedAt, h.UpdatedAt = was.Version, was.CreatedAt, was.UpdatedAt }
	t.undo = append(t.undo, undo)
	h.Version, h.CreatedAt, h.UpdatedAt = version, created, t.now
	return undo
}

func (t *tx) putLabels(ctx context.Context, o lazuli.Object) error {
	h := o.Head()
	for _, key := range slices.Sorted(maps.Keys(h.Labels)) {
		if _, err := t.exec(ctx, sqltext.InsertLabel, string(o.Kind()), h.UID, key, h.Labels[key]); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements store.Tx. Labels go with their object.
func (t *tx) Delete(ctx context.Context, kind lazuli.Kind, uid string) error {
	n, err := t.exec(ctx, sqltext.DeleteObject, string(kind), uid)
	if err != nil {
		return unavailable(fmt.Sprintf("delete %s %s", kind, uid), err)
	}
	if n > 0 {
		t.changed(kind, uid, false)
	}
	return nil
}

// Touch implements store.Tx.
func (t *tx) Touch(ctx context.Context, key store.WorkKey, due time.Time) error {
	if due.IsZero() {
		due = t.now
	}
	if _, err := t.exec(ctx, sqltext.Touch, string(key.Kind), key.ID, sqltext.Micros(due)); err != nil {
		return unavailable(fmt.Sprintf("touch %s %s", key.Kind, key.ID), err)
	}
	t.changed(key.Kind, key.ID, true)
	return nil
}

// AppendEvent implements store.Tx. An event without a uid gets one.
func (t *tx) AppendEvent(ctx context.Context, e lazuli.Event) error {
	act := fmt.Sprintf("append an event of %s %s", e.Kind, e.Object)
	uid, at, err := t.identify(e.UID, e.At)
	if err != nil {
		return unavailable(act, err)
	}
	if _, err := t.exec(ctx, sqltext.InsertEvent, uid, at, e.Project, string(e.Kind), e.Object, e.Name,
		string(e.Severity), e.Reason, e.Message); err != nil {
		return unavailable(act, err)
	}
	if _, err := t.exec(ctx, sqltext.TrimEvents, string(e.Kind), e.Object, maxEvents-1); err != nil {
		return unavailable(act, err)
	}
	t.changed(e.Kind, e.Object, false)
	return nil
}

// AppendAudit implements store.Tx. An audit without a uid gets one.
func (t *tx) AppendAudit(ctx context.Context, a lazuli.Audit) error {
	uid, at, err := t.identify(a.UID, a.At)
	if err != nil {
		return unavailable("append an audit", err)
	}
	_, err = t.exec(ctx, sqltext.InsertAudit, uid, at, a.Actor, a.RequestID, a.Operation, a.Project,
		string(a.Kind), a.Object, a.Outcome)
	return unavailable("append an audit", err)
}

func (t *tx) identify(uid string, at time.Time) (string, int64, error) {
	if at.IsZero() {
		at = t.now
	}
	if uid == "" {
		var err error
		if uid, err = lazuli.NewUID(t.now, t.s.opts.Random); err != nil {
			return "", 0, err //nolint:wrapcheck // the caller names the act
		}
	}
	return uid, sqltext.Micros(at), nil
}

func (t *tx) changed(kind lazuli.Kind, uid string, work bool) {
	t.changes = append(t.changes, store.Change{Kind: kind, UID: uid, Work: work})
}

func describe(act string, o lazuli.Object) string {
	return fmt.Sprintf("%s %s %q", act, o.Kind(), o.Head().Name)
}

func duplicate(o lazuli.Object) error {
	return lazuli.Errorf(lazuli.CodeDuplicateName, "%s %q exists already", o.Kind(), o.Head().Name)
}

// encode renders an object without escaping <, > and &, so that text which the
// user sent is stored as it was sent.
func encode(o lazuli.Object) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(o); err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}
