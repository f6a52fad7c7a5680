// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// kept is how many events of an object a store keeps.
const kept = 1000

func eventCases() map[string]func(*suite) {
	return map[string]func(*suite){
		"newest first":     newestFirst,
		"stamped":          stamped,
		"trimmed":          trimmed,
		"audits are taken": audits,
	}
}

// events returns the messages of the events that q selects.
func (s *suite) events(q store.EventQuery) (messages []string, last string) {
	s.Helper()
	events, err := s.store.Events(s.ctx, q)
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range events {
		messages = append(messages, e.Message)
		last = e.UID
	}
	return messages, last
}

func (s *suite) appendEvents(object string, from, to int) {
	s.Helper()
	s.update(func(tx store.Tx) error {
		for i := from; i < to; i++ {
			if err := tx.AppendEvent(s.ctx, lazuli.Event{Kind: thingKind, Object: object, Message: fmt.Sprint(i)}); err != nil {
				return err
			}
		}
		return nil
	})
}

func newestFirst(s *suite) {
	s.appendEvents("a", 0, 3)
	s.appendEvents("b", 10, 11)
	s.appendEvents("a", 3, 5)
	q := store.EventQuery{Kind: thingKind, Object: "a", Limit: 2}
	var pages []string
	for range 4 {
		page, last := s.events(q)
		pages = append(pages, fmt.Sprint(page))
		q.Before = last
		if last == "" {
			break
		}
	}
	s.same([]string{"[4 3]", "[2 1]", "[0]", "[]"}, pages, "pages of one object, also within a transaction")
	got, _ := s.events(store.EventQuery{Kind: "other", Object: "a"})
	s.same([]string(nil), got, "events of another kind")
	got, _ = s.events(store.EventQuery{Kind: thingKind, Object: "a", Before: "unknown"})
	s.same([]string(nil), got, "nothing is older than an event that is no more")
}

func stamped(s *suite) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	full := lazuli.Event{
		UID: s.uid(), At: at, Project: "p", Kind: thingKind, Object: "a", Name: "name",
		Severity: lazuli.SeverityWarning, Reason: "Because", Message: "text",
	}
	before := time.Now().Add(-time.Microsecond)
	s.update(func(tx store.Tx) error {
		if err := tx.AppendEvent(s.ctx, full); err != nil {
			return err
		}
		return tx.AppendEvent(s.ctx, lazuli.Event{Kind: thingKind, Object: "a"})
	})
	events, err := s.store.Events(s.ctx, store.EventQuery{Kind: thingKind, Object: "a"})
	if err != nil || len(events) != 2 {
		s.Fatalf("events: %v, %v", events, err)
	}
	s.same(full, events[1], "what the event says is kept")
	if e := events[0]; !lazuli.ValidUID(e.UID) || e.At.Before(before) {
		s.Errorf("the event got uid %q and time %s", e.UID, e.At)
	}
}

func trimmed(s *suite) {
	const extra = 5
	s.appendEvents("other", 0, 1)
	s.appendEvents("a", 0, kept+extra)
	got, _ := s.events(store.EventQuery{Kind: thingKind, Object: "a"})
	if len(got) != kept || got[0] != fmt.Sprint(kept+extra-1) || got[kept-1] != fmt.Sprint(extra) {
		s.Errorf("%d events from %s to %s, want the newest %d", len(got), got[0], got[len(got)-1], kept)
	}
	if got, _ := s.events(store.EventQuery{Kind: thingKind, Object: "other"}); len(got) != 1 {
		s.Errorf("another object has %d events, want 1", len(got))
	}
}

// audits cannot be read through the contract; the driver's own tests show that
// they cannot be changed either.
func audits(s *suite) {
	a := lazuli.Audit{UID: s.uid(), Actor: "u", RequestID: "r", Operation: "op", Outcome: "ok"}
	s.update(func(tx store.Tx) error {
		if err := tx.AppendAudit(s.ctx, a); err != nil {
			return err
		}
		a.UID = ""
		return tx.AppendAudit(s.ctx, a)
	})
	a.UID = fmt.Sprintf("%024x", s.uids.Load())
	if err := s.store.Update(s.ctx, func(tx store.Tx) error { return tx.AppendAudit(s.ctx, a) }); err == nil {
		s.Error("an audit was recorded twice under one uid")
	}
}
