// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

func objectCases() map[string]func(*suite) {
	return map[string]func(*suite){
		"round trip":                    roundTrip,
		"times and versions":            timesAndVersions,
		"missing":                       missing,
		"conflict":                      conflict,
		"many writers lose no update":   manyWriters,
		"a look and a write are one":    lookAndWrite,
		"unique":                        unique,
		"unique is of a kind":           uniqueOfAKind,
		"a transaction goes on":         goesOn,
		"a transaction reads itself":    readsItself,
		"rollback leaves nothing":       rollback,
		"panic leaves nothing":          panics,
		"ended context writes nothing":  endedContext,
		"reading forgets what dst held": forgets,
		"closed":                        closed,
	}
}

func roundTrip(s *suite) {
	o := s.thing(`Ünïcode <&> "quoted" \`, "u")
	o.Labels = map[string]string{"team": "a:b", "flag": ""}
	o.Annotations = map[string]string{"k": "v"}
	o.Project = "p"
	o.Text = "line\nbreak \u2028 and <html>"
	o.List = &[]string{}
	s.create(o)
	s.same(o, s.get(o.UID), "what was stored is what is read, an empty list included")
	o.List, o.Labels = nil, map[string]string{"other": "x"}
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, o) })
	s.same(o, s.get(o.UID), "an update replaces all")
	var by Thing
	by.KindName = thingKind
	if err := s.store.ByUnique(s.ctx, "u", &by); err != nil {
		s.Fatal(err)
	}
	s.same(o, &by, "found by what is unique")
}

func timesAndVersions(s *suite) {
	before := time.Now().Add(-time.Microsecond)
	o := s.thing("a", "")
	o.CreatedAt = time.Unix(1, 0)
	s.create(o)
	if o.Version != 1 || o.CreatedAt.Before(before) || !o.CreatedAt.Equal(o.UpdatedAt) {
		s.Errorf("created: version %d at %s, updated at %s", o.Version, o.CreatedAt, o.UpdatedAt)
	}
	created := o.CreatedAt
	for want := int64(2); want <= 3; want++ {
		o.CreatedAt = time.Unix(1, 0) // the caller has no say in it
		s.update(func(tx store.Tx) error { return tx.Update(s.ctx, o) })
		if o.Version != want || o.UpdatedAt.Before(created) {
			s.Errorf("updated: version %d at %s, want %d", o.Version, o.UpdatedAt, want)
		}
	}
	got := s.get(o.UID)
	if !got.CreatedAt.Equal(created) || !got.UpdatedAt.Equal(o.UpdatedAt) || got.Version != o.Version {
		s.Errorf("read: %+v, want created at %s", got.Meta, created)
	}
}

func missing(s *suite) {
	s.gone("none")
	s.code(s.store.ByUnique(s.ctx, "none", s.thing("", "")), lazuli.CodeNotFound, "by unique")
	s.create(s.thing("a", ""))
	s.code(s.store.ByUnique(s.ctx, "", s.thing("", "")), lazuli.CodeNotFound, "by the empty unique")
	o := s.thing("b", "")
	o.Version = 1
	s.code(s.store.Update(s.ctx, func(tx store.Tx) error { return tx.Update(s.ctx, o) }), lazuli.CodeNotFound, "update")
	s.update(func(tx store.Tx) error { return tx.Delete(s.ctx, thingKind, "none") })
	s.create(o)
	s.update(func(tx store.Tx) error { return tx.Delete(s.ctx, "other kind", o.UID) })
	s.get(o.UID)
	s.update(func(tx store.Tx) error { return tx.Delete(s.ctx, thingKind, o.UID) })
	s.gone(o.UID)
	if err := s.store.Update(s.ctx, func(tx store.Tx) error { return tx.Create(s.ctx, &Thing{KindName: thingKind}) }); err == nil {
		s.Error("created without a uid")
	}
}

func conflict(s *suite) {
	o := s.thing("a", "")
	s.create(o)
	stale := s.get(o.UID)
	o.Text = "first"
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, o) })
	stale.Text = "second"
	s.code(s.store.Update(s.ctx, func(tx store.Tx) error { return tx.Update(s.ctx, stale) }), lazuli.CodeConflict, "update of an old version")
	if stale.Version != 1 {
		s.Errorf("a failed update left version %d in the object", stale.Version)
	}
	s.same(o, s.get(o.UID), "the first writer wins")
	again := *o
	s.code(s.store.Update(s.ctx, func(tx store.Tx) error { return tx.Create(s.ctx, &again) }), lazuli.CodeConflict, "create with a uid that exists")
	s.same(o, s.get(o.UID), "a create replaces nothing")
}

func manyWriters(s *suite) {
	const writers, each = 4, 10
	o := s.thing("counter", "")
	s.create(o)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				for {
					mine := &Thing{KindName: thingKind}
					if err := s.store.Get(s.ctx, o.UID, mine); err != nil {
						s.Error(err)
						return
					}
					mine.Count++
					err := s.store.Update(s.ctx, func(tx store.Tx) error { return tx.Update(s.ctx, mine) })
					if err == nil {
						break
					}
					if lazuli.CodeOf(err) != lazuli.CodeConflict {
						s.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if got := s.get(o.UID); got.Count != writers*each || got.Version != writers*each+1 {
		s.Errorf("count %d in version %d, want %d and one more", got.Count, got.Version, writers*each)
	}
}

// lookAndWrite has writers read, and write what that reading allows, in one
// transaction: no other writer comes between.
func lookAndWrite(s *suite) {
	const writers, each = 4, 5
	counter := s.thing("counter", "")
	s.create(counter)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := s.store.Update(s.ctx, func(tx store.Tx) error {
					c := &Thing{KindName: thingKind}
					if err := tx.Get(s.ctx, counter.UID, c); err != nil {
						return err
					}
					c.Count++
					return tx.Update(s.ctx, c)
				}); err != nil {
					s.Errorf("count: %v", err)
				}
			}
			if err := s.store.Update(s.ctx, func(tx store.Tx) error {
				page, err := tx.Query(s.ctx, store.Query{Kind: "only one"})
				if err != nil || page.Total > 0 {
					return err
				}
				o := s.thing("first", "")
				o.KindName = "only one"
				return tx.Create(s.ctx, o)
			}); err != nil {
				s.Errorf("create unless there is one: %v", err)
			}
		})
	}
	wg.Wait()
	if got := s.get(counter.UID); got.Count != writers*each {
		s.Errorf("count %d, want %d", got.Count, writers*each)
	}
	if page, err := s.store.Query(s.ctx, store.Query{Kind: "only one"}); err != nil || page.Total != 1 {
		s.Errorf("%d objects, %v, want the one of the first writer", page.Total, err)
	}
}

func unique(s *suite) {
	a, b := s.thing("A", "x"), s.thing("B", "x")
	s.create(a, s.thing("free", ""), s.thing("free", ""))
	create := func(tx store.Tx) error { return tx.Create(s.ctx, b) }
	s.code(s.store.Update(s.ctx, create), lazuli.CodeDuplicateName, "create of a taken name")
	s.gone(b.UID)

	b.IndexIs.Unique = "y"
	s.create(b)
	b.IndexIs.Unique = "x"
	update := func(tx store.Tx) error { return tx.Update(s.ctx, b) }
	s.code(s.store.Update(s.ctx, update), lazuli.CodeDuplicateName, "update to a taken name")
	if b.Version != 1 {
		s.Errorf("a failed update left version %d in the object", b.Version)
	}

	a.IndexIs.Unique = "" // as a cluster that reads Deleted
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, a) })
	s.update(update)
	a.IndexIs.Unique = "x"
	s.code(s.store.Update(s.ctx, func(tx store.Tx) error { return tx.Update(s.ctx, a) }), lazuli.CodeDuplicateName, "the name has another owner now")
	s.update(func(tx store.Tx) error { return tx.Delete(s.ctx, thingKind, b.UID) })
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, a) })
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, a) }) // its own name is no obstacle
}

func uniqueOfAKind(s *suite) {
	a, b := s.thing("a", "x"), s.thing("b", "x")
	b.KindName, b.UID = "other", a.UID
	s.create(a, b)
	if got := s.get(a.UID); got.Name != "a" {
		s.Errorf("got %q: kinds share uids", got.Name)
	}
}

func goesOn(s *suite) {
	a, b, c := s.thing("a", "x"), s.thing("b", "x"), s.thing("c", "y")
	s.create(a)
	s.update(func(tx store.Tx) error {
		s.code(tx.Create(s.ctx, b), lazuli.CodeDuplicateName, "create of a taken name")
		stale := *a
		stale.Version = 7
		s.code(tx.Update(s.ctx, &stale), lazuli.CodeConflict, "update of another version")
		if stale.Version != 7 || b.Version != 0 {
			s.Errorf("failed writes left versions %d and %d", stale.Version, b.Version)
		}
		return tx.Create(s.ctx, c)
	})
	s.gone(b.UID)
	s.get(c.UID)
}

func readsItself(s *suite) {
	o := s.thing("a", "x")
	o.Labels = map[string]string{"k": "v"}
	s.update(func(tx store.Tx) error {
		if err := tx.Create(s.ctx, o); err != nil {
			return err
		}
		if err := tx.AppendEvent(s.ctx, lazuli.Event{Kind: thingKind, Object: o.UID}); err != nil {
			return err
		}
		got, by := &Thing{KindName: thingKind}, &Thing{KindName: thingKind}
		if err := tx.Get(s.ctx, o.UID, got); err != nil {
			return err
		}
		if err := tx.ByUnique(s.ctx, "x", by); err != nil {
			return err
		}
		s.same(o, got, "get in the transaction")
		s.same(o, by, "by unique in the transaction")
		page, err := tx.Query(s.ctx, store.Query{Kind: thingKind, Where: []store.Where{{Label: "k", Op: store.Eq, Value: "v"}}})
		if err != nil || page.Total != 1 {
			s.Errorf("query in the transaction: %d, %v", page.Total, err)
		}
		events, err := tx.Events(s.ctx, store.EventQuery{Kind: thingKind, Object: o.UID})
		if err != nil || len(events) != 1 {
			s.Errorf("events in the transaction: %d, %v", len(events), err)
		}
		return nil
	})
}

// all writes everything that a transaction can.
func (s *suite) all(tx store.Tx, created, updated *Thing) error {
	if err := tx.Create(s.ctx, created); err != nil {
		return err
	}
	updated.Text = "changed"
	updated.Labels = map[string]string{"new": "label"}
	if err := tx.Update(s.ctx, updated); err != nil {
		return err
	}
	if err := tx.Touch(s.ctx, store.WorkKey{Kind: thingKind, ID: updated.UID}, time.Time{}); err != nil {
		return err
	}
	if err := tx.AppendAudit(s.ctx, lazuli.Audit{Object: updated.UID}); err != nil {
		return err
	}
	return tx.AppendEvent(s.ctx, lazuli.Event{Kind: thingKind, Object: updated.UID})
}

// nothing checks that all left no trace.
func (s *suite) nothing(created, updated *Thing, before Thing) {
	s.Helper()
	s.gone(created.UID)
	s.same(&before, s.get(before.UID), "the object is as it was")
	if created.Version != 0 || !created.CreatedAt.IsZero() || updated.Version != before.Version || !updated.UpdatedAt.Equal(before.UpdatedAt) {
		s.Errorf("what the store set is still there: %+v, %+v", created.Meta, updated.Meta)
	}
	if events, err := s.store.Events(s.ctx, store.EventQuery{Kind: thingKind, Object: before.UID}); err != nil || len(events) != 0 {
		s.Errorf("events: %v, %v", events, err)
	}
	if due, ok, err := s.store.NextDue(s.ctx, []lazuli.Kind{thingKind}); err != nil || ok {
		s.Errorf("work is due at %s, %v", due, err)
	}
	page, err := s.store.Query(s.ctx, store.Query{Kind: thingKind, Where: []store.Where{{Label: "new", Op: store.Prefix}}})
	if err != nil || page.Total != 0 {
		s.Errorf("labels: %d, %v", page.Total, err)
	}
}

func rollback(s *suite) {
	created, updated := s.thing("new", "x"), s.thing("old", "y")
	s.create(updated)
	before := *updated
	watch := s.watch()
	if err := s.store.Update(s.ctx, func(tx store.Tx) error {
		if err := s.all(tx, created, updated); err != nil {
			return err
		}
		return errRollback
	}); fmt.Sprint(err) != errRollback.Error() {
		s.Errorf("update: %v, want what fn returned", err)
	}
	s.nothing(created, updated, before)
	marker := s.thing("marker", "")
	s.create(marker)
	if c := s.next(watch); c.UID != marker.UID {
		s.Errorf("a change was sent that never was: %+v", c)
	}
	s.update(func(tx store.Tx) error { return s.all(tx, created, updated) })
}

func panics(s *suite) {
	created, updated := s.thing("new", "x"), s.thing("old", "y")
	s.create(updated)
	before := *updated
	func() {
		defer func() {
			if recover() == nil {
				s.Error("the panic was swallowed")
			}
		}()
		_ = s.store.Update(s.ctx, func(tx store.Tx) error { // it panics
			if err := s.all(tx, created, updated); err != nil {
				return err
			}
			panic("boom")
		})
	}()
	s.nothing(created, updated, before)
	s.update(func(tx store.Tx) error { return s.all(tx, created, updated) })
}

func endedContext(s *suite) {
	created, updated := s.thing("new", "x"), s.thing("old", "y")
	s.create(updated)
	before := *updated
	ctx, cancel := context.WithCancel(s.ctx)
	if err := s.store.Update(ctx, func(tx store.Tx) error {
		defer cancel()
		return s.all(tx, created, updated)
	}); err == nil || ctx.Err() == nil {
		s.Errorf("committed although the context had ended: %v", err)
	}
	s.nothing(created, updated, before)
	if err := s.store.Update(ctx, func(store.Tx) error {
		s.Error("began a transaction")
		return nil
	}); err == nil {
		s.Error("no error")
	}
	if err := s.store.Get(ctx, updated.UID, s.thing("", "")); err == nil {
		s.Error("read although the context had ended")
	}
	s.update(func(tx store.Tx) error { return s.all(tx, created, updated) })
}

func forgets(s *suite) {
	o := s.thing("a", "")
	o.More = map[string]int{"stored": 1}
	s.create(o)
	dst := &Thing{KindName: thingKind, Text: "left over", More: map[string]int{"left over": 1}}
	dst.Labels = map[string]string{"left": "over"}
	if err := s.store.Get(s.ctx, o.UID, dst); err != nil {
		s.Fatal(err)
	}
	s.same(o, dst, "fields and entries that the row lacks are gone")
}

func closed(s *suite) {
	watch := s.watch()
	if err := s.store.Close(); err != nil {
		s.Fatal(err)
	}
	select {
	case _, open := <-watch:
		if open {
			s.Error("a change came from a closed store")
		}
	case <-time.After(patience):
		s.Error("the watch goes on")
	}
	s.code(s.store.Get(s.ctx, "x", s.thing("", "")), lazuli.CodeUnavailable, "get")
	s.code(s.store.Update(s.ctx, func(store.Tx) error { return nil }), lazuli.CodeUnavailable, "update")
	_, err := s.store.Claim(s.ctx, "a", []lazuli.Kind{thingKind}, 1, time.Minute)
	s.code(err, lazuli.CodeUnavailable, "claim")
	_, err = s.store.Watch(s.ctx)
	s.code(err, lazuli.CodeUnavailable, "watch")
	if err := s.store.Close(); err != nil {
		s.Errorf("close twice: %v", err)
	}
}
