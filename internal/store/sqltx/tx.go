// SPDX-License-Identifier: Apache-2.0

package sqltx

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
)

// Tx implements store.Tx in a transaction of the driver, which calls Undo when
// it does not commit and publishes Changes when it does.
type Tx struct {
	Reader
	Dialect sqltext.Dialect
	Now     time.Time // stamps all that is written
	Random  io.Reader // of the uids of events and audits
	// TrimLater leaves old events to the driver, which learns from Appended
	// whose: in a transaction they would be one more thing to collide over.
	TrimLater bool
	changes   []store.Change
	listed    map[lazuli.Kind]struct{}
	appended  []store.WorkKey
	undo      []func()
}

// Appended are the objects whose events wait to be trimmed.
func (t *Tx) Appended() []store.WorkKey { return t.appended }

// TrimEvents removes the events of an object that are more than MaxEvents.
func TrimEvents(ctx context.Context, on Session, kind lazuli.Kind, object string) error {
	_, err := on.Exec(ctx, sqltext.TrimEvents, string(kind), object, MaxEvents-1)
	return on.Fail(fmt.Sprintf("trim the events of %s %s", kind, object), err)
}

// Changes are what was written so far.
func (t *Tx) Changes() []store.Change { return t.changes }

// Undo takes back what Create and Update set in the caller's objects.
func (t *Tx) Undo() {
	for _, undo := range slices.Backward(t.undo) {
		undo()
	}
	t.undo = nil
}

// Create implements store.Tx.
func (t *Tx) Create(ctx context.Context, o lazuli.Object) (err error) {
	act := describe("create", o)
	if o.Head().UID == "" {
		return lazuli.Errorf(lazuli.CodeInternal, "%s: it has no uid", act)
	}
	undo := t.stamp(o, t.Now, 1)
	defer func() {
		if err != nil {
			undo()
		}
	}()
	data, err := encode(o)
	if err != nil {
		return t.On.Fail(act, err)
	}
	h, ix := o.Head(), o.Index()
	n, err := t.On.Exec(ctx, sqltext.InsertObject, string(o.Kind()), h.UID, h.Project, ix.Owner, h.Name, lazuli.Fold(h.Name),
		ix.State, ix.Unique, sqltext.Micros(t.Now), t.Schemas.Version(o.Kind()), data)
	if err != nil {
		return t.On.Fail(act, err)
	}
	if n == 0 {
		switch _, err := t.version(ctx, o); lazuli.CodeOf(err) {
		case "":
			return lazuli.Errorf(lazuli.CodeConflict, "%s: its uid exists already", act)
		case lazuli.CodeNotFound:
			return duplicate(o)
		default:
			return err
		}
	}
	if err := t.putLabels(ctx, o); err != nil {
		return t.On.Fail(act, err)
	}
	if o.Kind().Listed() {
		if err := t.list(ctx, o, ix); err != nil {
			return t.On.Fail(act, err)
		}
	}
	t.changed(o.Kind(), h.UID, false)
	return nil
}

// Update implements store.Tx.
func (t *Tx) Update(ctx context.Context, o lazuli.Object) (err error) {
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
		return t.On.Fail(act, err)
	}
	kind, version := string(o.Kind()), t.Schemas.Version(o.Kind())
	n, err := t.On.Exec(ctx, sqltext.UpdateData, kind, h.UID, h.Project, ix.Owner, h.Name, ix.State, ix.Unique,
		sqltext.Micros(t.Now), version, data, was)
	if err == nil && n == 0 {
		n, err = t.On.Exec(ctx, sqltext.UpdateObject, kind, h.UID, h.Project, ix.Owner, h.Name, lazuli.Fold(h.Name),
			ix.State, ix.Unique, sqltext.Micros(t.Now), version, data, was)
	}
	if err != nil {
		return t.On.Fail(act, err)
	}
	if n == 0 {
		return t.notUpdated(ctx, o, was)
	}
	if err := t.replaceLabels(ctx, o, false); err != nil {
		return t.On.Fail(act, err)
	}
	if o.Kind().Listed() {
		if err := t.relist(ctx, o, ix); err != nil {
			return t.On.Fail(act, err)
		}
	}
	t.changed(o.Kind(), h.UID, false)
	return nil
}

// replaceLabels writes only when they differ, or always: they seldom change, and
// writers of other objects collide over what is written.
func (t *Tx) replaceLabels(ctx context.Context, o lazuli.Object, always bool) error {
	rows, err := t.On.Query(ctx, sqltext.Labels, string(o.Kind()), o.Head().UID)
	if err != nil {
		return err
	}
	have := map[string]string{}
	if _, err := scanAll(rows, func(rows Rows) (struct{}, error) {
		var key, value string
		err := rows.Scan(&key, &value)
		have[key] = value
		return struct{}{}, err
	}); err != nil {
		return err
	}
	if !always && maps.Equal(have, o.Head().Labels) {
		return nil
	}
	if _, err := t.On.Exec(ctx, sqltext.DeleteLabels, string(o.Kind()), o.Head().UID); err != nil {
		return err
	}
	return t.putLabels(ctx, o)
}

// notUpdated says why an update changed nothing.
func (t *Tx) notUpdated(ctx context.Context, o lazuli.Object, was int64) error {
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
func (t *Tx) version(ctx context.Context, o lazuli.Object) (int64, error) {
	rows, err := t.On.Query(ctx, sqltext.ObjectVersion, string(o.Kind()), o.Head().UID)
	if err != nil {
		return 0, t.On.Fail(describe("read", o), err)
	}
	n, found, err := scanInt(rows)
	if err != nil {
		return 0, t.On.Fail(describe("read", o), err)
	}
	if !found {
		return 0, lazuli.Errorf(lazuli.CodeNotFound, "%s %q does not exist", o.Kind(), o.Head().UID)
	}
	return n, nil
}

// stamp sets what the store decides; undo, which also runs when the transaction
// does not commit, takes it back.
func (t *Tx) stamp(o lazuli.Object, created time.Time, version int64) (undo func()) {
	h := o.Head()
	was := *h
	undo = func() { h.Version, h.CreatedAt, h.UpdatedAt = was.Version, was.CreatedAt, was.UpdatedAt }
	t.undo = append(t.undo, undo)
	h.Version, h.CreatedAt, h.UpdatedAt = version, created, t.Now
	return undo
}

func (t *Tx) putLabels(ctx context.Context, o lazuli.Object) error {
	h := o.Head()
	for _, key := range slices.Sorted(maps.Keys(h.Labels)) {
		if _, err := t.On.Exec(ctx, sqltext.InsertLabel, string(o.Kind()), h.UID, key, h.Labels[key],
			lazuli.Fold(h.Labels[key])); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements store.Tx. Labels, listing and facets go with their object.
func (t *Tx) Delete(ctx context.Context, kind lazuli.Kind, uid string) error {
	n, err := t.On.Exec(ctx, sqltext.DeleteObject, string(kind), uid)
	if err != nil {
		return t.On.Fail(fmt.Sprintf("delete %s %s", kind, uid), err)
	}
	if n > 0 {
		if _, err := t.On.Exec(ctx, sqltext.NoteGone, string(kind), uid, sqltext.Micros(t.Now)); err != nil {
			return t.On.Fail(fmt.Sprintf("delete %s %s", kind, uid), err)
		}
		if kind.Listed() {
			t.relisted(kind)
		}
		t.changed(kind, uid, false)
	}
	return nil
}

// Touch implements store.Tx.
func (t *Tx) Touch(ctx context.Context, key store.WorkKey, due time.Time) error {
	if due.IsZero() {
		due = t.Now
	}
	st := t.Dialect.Touch(key, due)
	if _, err := t.On.Exec(ctx, st.Text, st.Args...); err != nil {
		return t.On.Fail(fmt.Sprintf("touch %s %s", key.Kind, key.ID), err)
	}
	t.changed(key.Kind, key.ID, true)
	return nil
}

// AppendEvent implements store.Tx. An event without a uid gets one.
func (t *Tx) AppendEvent(ctx context.Context, e lazuli.Event) error {
	act := fmt.Sprintf("append an event of %s %s", e.Kind, e.Object)
	uid, at, err := t.identify(e.UID, e.At)
	if err != nil {
		return t.On.Fail(act, err)
	}
	if _, err := t.On.Exec(ctx, sqltext.InsertEvent, uid, at, e.Project, string(e.Kind), e.Object, e.Name,
		string(e.Severity), e.Reason, e.Message); err != nil {
		return t.On.Fail(act, err)
	}
	if t.TrimLater {
		t.appended = append(t.appended, store.WorkKey{Kind: e.Kind, ID: e.Object})
	} else if err := TrimEvents(ctx, t.On, e.Kind, e.Object); err != nil {
		return err
	}
	t.changed(e.Kind, e.Object, false)
	return nil
}

// AppendAudit implements store.Tx. An audit without a uid gets one.
func (t *Tx) AppendAudit(ctx context.Context, a lazuli.Audit) error {
	uid, at, err := t.identify(a.UID, a.At)
	if err != nil {
		return t.On.Fail("append an audit", err)
	}
	_, err = t.On.Exec(ctx, sqltext.InsertAudit, uid, at, a.Actor, a.RequestID, a.Operation, a.Project,
		string(a.Kind), a.Object, a.Outcome)
	return t.On.Fail("append an audit", err)
}

func (t *Tx) identify(uid string, at time.Time) (string, int64, error) {
	if at.IsZero() {
		at = t.Now
	}
	if uid == "" {
		var err error
		if uid, err = lazuli.NewUID(t.Now, t.Random); err != nil {
			return "", 0, err
		}
	}
	return uid, sqltext.Micros(at), nil
}

func (t *Tx) changed(kind lazuli.Kind, uid string, work bool) {
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
