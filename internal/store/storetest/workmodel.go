// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// workModel drives work rows at random beside a model of them. It holds that
// at most one lease of a row is live, that the fence of a row grows with every
// claim, and that no touch is ever lost: the end of a round claims and finishes
// until nothing is due, and then every row was seen in its last generation.
func workModel(s *suite) {
	round := 0
	rapid.Check(s.T, func(t *rapid.T) {
		round++
		m := &workMachine{
			s: s, kind: lazuli.Kind(fmt.Sprintf("work%d", round)),
			rows: map[string]*workRow{}, fence: map[string]int64{}, lastGen: map[string]int64{},
		}
		t.Repeat(map[string]func(*rapid.T){
			"touch":  m.touch,
			"claim":  m.claim,
			"finish": m.finish,
			"renew":  m.renew,
			"fenced": m.fenced,
			"":       m.check,
		})
		m.drain(t)
	})
}

// When a row is due, as far as the model has to know.
type dueness int

const (
	dueNow dueness = iota
	dueLater
	dueNever
)

type workRow struct {
	gen      int64
	seen     int64 // generation of the last finish
	due      dueness
	live     *store.Lease // the lease that holds
	attempts int
}

type workMachine struct {
	s       *suite
	kind    lazuli.Kind
	rows    map[string]*workRow
	fence   map[string]int64 // the highest seen of an id, over the removal of its row
	lastGen map[string]int64
	leases  []store.Lease // all that were ever given
}

func (m *workMachine) touch(t *rapid.T) {
	id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id")
	due, at := dueNow, time.Time{}
	if rapid.Bool().Draw(t, "later") {
		due, at = dueLater, time.Now().Add(long)
	}
	m.s.update(func(tx store.Tx) error { return tx.Touch(m.s.ctx, store.WorkKey{Kind: m.kind, ID: id}, at) })
	row := m.rows[id]
	if row == nil {
		row = &workRow{due: dueNever}
		m.rows[id] = row
	}
	row.gen++
	row.due = min(row.due, due)
}

func (m *workMachine) claim(t *rapid.T) {
	limit := rapid.IntRange(1, 4).Draw(t, "limit")
	lease := rapid.SampledFrom([]time.Duration{0, long}).Draw(t, "lease") // 0: the owner dies at once
	m.claimSome(t, limit, lease)
}

func (m *workMachine) claimSome(t *rapid.T, limit int, lease time.Duration) []store.Lease {
	owner := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "owner")
	leases, err := m.s.store.Claim(m.s.ctx, owner, []lazuli.Kind{m.kind}, limit, lease)
	if err != nil {
		t.Fatal(err)
	}
	able := 0
	for _, row := range m.rows {
		if row.due == dueNow && row.live == nil {
			able++
		}
	}
	if len(leases) != min(limit, able) {
		t.Fatalf("claimed %d of %d with limit %d", len(leases), able, limit)
	}
	for _, l := range leases {
		row := m.rows[l.ID]
		if row == nil || row.due != dueNow || row.live != nil {
			t.Fatalf("claimed %+v, whose row is %+v", l, row)
		}
		if l.Fence <= m.fence[l.ID] {
			t.Fatalf("fence %d of %s after %d", l.Fence, l.ID, m.fence[l.ID])
		}
		m.fence[l.ID] = l.Fence
		row.attempts++
		if l.Gen != row.gen || l.Attempts != row.attempts || l.Owner != owner {
			t.Fatalf("lease %+v of row %+v", l, row)
		}
		if lease > 0 {
			row.live = &l
		}
	}
	m.leases = append(m.leases, leases...)
	return leases
}

// pick draws a lease, live or not.
func (m *workMachine) pick(t *rapid.T) (l store.Lease, row *workRow, holds bool) {
	if len(m.leases) == 0 {
		t.Skip("no lease yet")
	}
	l = rapid.SampledFrom(m.leases).Draw(t, "lease")
	row = m.rows[l.ID]
	return l, row, row != nil && row.live != nil && row.live.Fence == l.Fence
}

func (m *workMachine) finish(t *rapid.T) {
	l, row, holds := m.pick(t)
	f := store.Finish{Lease: l, Drop: rapid.Bool().Draw(t, "drop"), Reset: rapid.Bool().Draw(t, "reset")}
	due := rapid.SampledFrom([]dueness{dueNow, dueLater, dueNever}).Draw(t, "due")
	switch due {
	case dueNow:
		f.Due = time.Now().Add(-time.Second)
	case dueLater:
		f.Due = time.Now().Add(long)
	case dueNever:
	}
	m.s.finish(f)
	if !holds {
		return
	}
	row.live = nil
	row.seen = l.Gen
	switch {
	case row.gen > l.Gen:
		row.due = dueNow
	case f.Drop:
		m.lastGen[l.ID] = l.Gen
		delete(m.rows, l.ID)
	default:
		row.due = due
	}
	if f.Reset {
		row.attempts = 0
	}
}

func (m *workMachine) renew(t *rapid.T) {
	l, _, holds := m.pick(t)
	_, err := m.s.store.Renew(m.s.ctx, l, long)
	if holds != (err == nil) || !holds && lazuli.CodeOf(err) != lazuli.CodeFenced {
		t.Fatalf("renewed %+v, which holds: %v: %v", l, holds, err)
	}
}

func (m *workMachine) fenced(t *rapid.T) {
	l, _, holds := m.pick(t)
	ran := false
	err := m.s.store.Fenced(m.s.ctx, l, func(store.Tx) error {
		ran = true
		return nil
	})
	if holds != (err == nil) || ran != holds || !holds && lazuli.CodeOf(err) != lazuli.CodeFenced {
		t.Fatalf("wrote under %+v, which holds: %v: %v", l, holds, err)
	}
}

func (m *workMachine) check(t *rapid.T) {
	_, ok, err := m.s.store.NextDue(m.s.ctx, []lazuli.Kind{m.kind})
	if err != nil {
		t.Fatal(err)
	}
	want := false
	for _, row := range m.rows {
		want = want || row.live != nil || row.due != dueNever
	}
	if ok != want {
		t.Fatalf("something is due: %v, want %v", ok, want)
	}
}

// drain ends all live leases and works off what is due.
func (m *workMachine) drain(t *rapid.T) {
	for _, row := range m.rows {
		if row.live != nil {
			m.s.finish(store.Finish{Lease: *row.live})
			row.seen = row.live.Gen
			row.due = dueNever
			if row.gen > row.seen {
				row.due = dueNow
			}
			row.live = nil
		}
	}
	for {
		leases := m.claimSome(t, len(m.rows)+1, long)
		if len(leases) == 0 {
			break
		}
		for _, l := range leases {
			m.s.finish(store.Finish{Lease: l})
			row := m.rows[l.ID]
			row.live, row.seen, row.due = nil, l.Gen, dueNever
		}
	}
	for id, row := range m.rows {
		if row.seen != row.gen && row.due != dueLater {
			t.Fatalf("%s was touched %d times and last seen in generation %d", id, row.gen, row.seen)
		}
	}
}
