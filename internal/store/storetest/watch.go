// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

func watchCases() map[string]func(*suite) {
	return map[string]func(*suite){
		"what is sent":                 whatIsSent,
		"a slow reader loses repeats":  slowReader,
		"every watcher gets all":       everyWatcher,
		"ends with its context":        watchEnds,
		"work is told with the object": workIsTold,
	}
}

func (s *suite) watch() <-chan store.Change {
	s.Helper()
	changes, err := s.store.Watch(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	return changes
}

// next returns the next change.
func (s *suite) next(changes <-chan store.Change) store.Change {
	s.Helper()
	select {
	case c, open := <-changes:
		if !open {
			s.Fatal("the watch ended")
		}
		return c
	case <-time.After(patience):
		s.Fatal("no change came")
		return store.Change{}
	}
}

func whatIsSent(s *suite) {
	o := s.thing("a", "")
	key := store.WorkKey{Kind: thingKind, ID: o.UID}
	changes := s.watch()
	steps := []struct {
		act  string
		fn   func(tx store.Tx) error
		work bool
	}{
		{"create", func(tx store.Tx) error { return tx.Create(s.ctx, o) }, false},
		{"update", func(tx store.Tx) error { return tx.Update(s.ctx, o) }, false},
		{"touch", func(tx store.Tx) error { return tx.Touch(s.ctx, key, time.Time{}) }, true},
		{"touch for later", func(tx store.Tx) error { return tx.Touch(s.ctx, key, time.Now().Add(time.Hour)) }, true},
		{"event", func(tx store.Tx) error {
			return tx.AppendEvent(s.ctx, lazuli.Event{Kind: thingKind, Object: o.UID})
		}, false},
		{"delete", func(tx store.Tx) error { return tx.Delete(s.ctx, thingKind, o.UID) }, false},
	}
	for _, step := range steps {
		s.update(step.fn)
		s.same(store.Change{Kind: thingKind, UID: o.UID, Work: step.work}, s.next(changes), step.act)
	}
	s.update(func(tx store.Tx) error { return tx.Delete(s.ctx, thingKind, o.UID) })
	last := s.thing("last", "")
	s.create(last)
	s.same(store.Change{Kind: thingKind, UID: last.UID}, s.next(changes), "deleting nothing is no change")
}

func workIsTold(s *suite) {
	first, o := s.thing("first", ""), s.thing("a", "")
	changes := s.watch()
	s.create(first)
	s.update(func(tx store.Tx) error {
		if err := tx.Create(s.ctx, o); err != nil {
			return err
		}
		return tx.Touch(s.ctx, store.WorkKey{Kind: thingKind, ID: o.UID}, time.Time{})
	})
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, o) })
	s.same(first.UID, s.next(changes).UID, "the oldest change comes first")
	s.same(store.Change{Kind: thingKind, UID: o.UID, Work: true}, s.next(changes), "the later change of the object alone does not hide the work")
}

func slowReader(s *suite) {
	const times = 50
	a, b := s.thing("a", ""), s.thing("b", "")
	s.create(a, b)
	changes := s.watch()
	for range times { // no one reads: a writer must not wait for it
		s.update(func(tx store.Tx) error { return tx.Update(s.ctx, a) })
	}
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, b) })
	got := map[string]int{}
	for got[b.UID] == 0 {
		got[s.next(changes).UID]++
	}
	if n := got[a.UID]; n < 1 || n > 2 {
		s.Errorf("%d changes of one object were kept, want one, and perhaps one that was on its way", n)
	}
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, a) })
	s.same(a.UID, s.next(changes).UID, "the last change comes, however many came before")
}

func everyWatcher(s *suite) {
	one, two := s.watch(), s.watch()
	want := map[string]bool{}
	for i := range 20 {
		o := s.thing(fmt.Sprint(i), "")
		s.create(o)
		want[o.UID] = true
	}
	for _, changes := range []<-chan store.Change{one, two} {
		got := map[string]bool{}
		for len(got) < len(want) {
			got[s.next(changes).UID] = true
		}
		s.same(want, got, "all objects that changed")
	}
}

func watchEnds(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	changes, err := s.store.Watch(ctx)
	if err != nil {
		s.Fatal(err)
	}
	s.create(s.thing("a", "")) // waits in the watch
	cancel()
	deadline := time.After(patience)
	for {
		select {
		case _, open := <-changes:
			if !open {
				s.create(s.thing("b", "")) // no one watches any more
				return
			}
		case <-deadline:
			s.Fatal("the watch goes on after its context")
		}
	}
}
