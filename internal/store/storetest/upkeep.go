// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

func upkeepCases() map[string]func(*suite) {
	return map[string]func(*suite){
		"what is gone is forgotten": forgetsGone,
		"in batches":                forgetsInBatches,
		"it takes changes":          takesChanges,
	}
}

// takesChanges: to ask changes nothing that anybody reads.
func takesChanges(s *suite) {
	o := s.thing("a", "")
	for range 2 {
		if err := s.store.Writable(s.ctx); err != nil {
			s.Fatal(err)
		}
	}
	s.create(o)
	if err := s.store.Writable(s.ctx); err != nil {
		s.Fatal(err)
	}
	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	if err := s.store.Writable(ended); err != nil && !errors.Is(err, context.Canceled) {
		s.Errorf("to an ended context: %v", err)
	}
}

// upkeep does one batch.
func (s *suite) upkeep(keep time.Duration, batch int) (more bool) {
	s.Helper()
	more, err := s.store.Upkeep(s.ctx, store.Upkeep{KeepGone: keep, Batch: batch})
	if err != nil {
		s.Fatalf("upkeep: %v", err)
	}
	return more
}

// spoken makes things of which something was said.
func (s *suite) spoken(names ...string) (all []*Thing) {
	for _, name := range names {
		o := s.thing(name, "")
		s.create(o)
		s.appendEvents(o.UID, 0, 3)
		s.update(func(tx store.Tx) error {
			return tx.AppendAudit(s.ctx, lazuli.Audit{Kind: thingKind, Object: o.UID, Outcome: "ok"})
		})
		all = append(all, o)
	}
	return all
}

func (s *suite) remove(all ...*Thing) {
	s.Helper()
	s.update(func(tx store.Tx) error {
		for _, o := range all {
			if err := tx.Delete(s.ctx, thingKind, o.UID); err != nil {
				return err
			}
		}
		return nil
	})
}

func forgetsGone(s *suite) {
	all := s.spoken("gone", "here", "back")
	check := func(reason string, want ...int) {
		s.Helper()
		var got []int
		for _, o := range all {
			events, _ := s.events(store.EventQuery{Kind: thingKind, Object: o.UID})
			got = append(got, len(events))
		}
		s.same(want, got, reason)
	}
	s.upkeep(0, 10)
	check("all are there", 3, 3, 3)
	s.remove(all[0], all[2])
	s.create(all[2])
	s.upkeep(time.Hour, 10)
	check("not for long enough", 3, 3, 3)
	if s.upkeep(0, 10) {
		s.Error("there is more to do")
	}
	check("one is gone, one is there again", 0, 3, 3)
	s.remove(all[2])
	s.upkeep(0, 10)
	check("now it is gone", 0, 3, 0)
}

func forgetsInBatches(s *suite) {
	var names []string
	for i := range 5 {
		names = append(names, fmt.Sprint(i))
	}
	all := s.spoken(names...)
	s.appendEvents(all[0].UID, 0, kept)
	s.remove(all...)
	batches := 0
	for s.upkeep(0, 2) {
		if batches++; batches > 10 {
			s.Fatal("there is always more to do")
		}
	}
	for _, o := range all {
		if got, _ := s.events(store.EventQuery{Kind: thingKind, Object: o.UID}); len(got) > 0 {
			s.Errorf("%s: %d events are left", o.Name, len(got))
		}
	}
}
