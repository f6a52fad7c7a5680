// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// errDead is what a process sees of its surroundings after it died: nothing of
// what it does then has any effect, and the driver drops all that it knew.
var errDead = errors.New("the process is dead")

// process is the life of one hub process. Whatever has effects asks it before
// and after, and these are the points where it can be killed.
type process struct {
	run    *run
	dead   bool
	zombie bool // another process has its lease, and it does not know yet
}

// point is a place where the process may die; it reports whether it is alive.
func (p *process) point(what string) bool {
	if p.dead {
		return false
	}
	r := p.run
	if r.setup || p.zombie {
		return true
	}
	r.points++
	kill := r.points == r.opts.KillAt
	if r.kills < r.weather.Kills && r.weather.hits(FaultKill) {
		kill = true
	}
	if kill {
		r.kills++
		r.weather.met(FaultKill)
		r.trace.note("killed at point %d: %s", r.points, what)
		p.dead = true
	}
	return !p.dead
}

// records is the store as one process sees it.
type records struct {
	store.Store

	p *process
}

func (s *records) commit(what string, do func() error) error {
	if !s.p.point("before " + what) {
		return errDead
	}
	err := do()
	s.p.run.written()
	if !s.p.point("after " + what) {
		return errDead
	}
	return err
}

// Update implements store.Store.
func (s *records) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.commit("update", func() error {
		if s.p.zombie {
			s.p.run.oracle.blame("a process without the lease wrote")
		}
		return s.Store.Update(ctx, func(tx store.Tx) error { return fn(&noted{Tx: tx, run: s.p.run}) })
	})
}

// Fenced implements store.Store.
func (s *records) Fenced(ctx context.Context, l store.Lease, fn func(store.Tx) error) error {
	return s.commit("commit", func() error {
		if r := s.p.run; r.fedUp() && r.plan.inCommit && !s.p.zombie {
			if err := r.remove(ctx); err != nil {
				return err
			}
		}
		if !s.p.zombie {
			if err := s.p.run.repoolInCommit(ctx); err != nil {
				return err
			}
		}
		before, exhausted := s.p.run.machineRecords(), s.p.run.cluster().Status.Exhausted
		err := s.Store.Fenced(ctx, l, func(tx store.Tx) error { return fn(&noted{Tx: tx, run: s.p.run}) })
		s.p.run.written()
		if err == nil {
			s.p.run.oracle.committed(before, exhausted)
		}
		switch {
		case err != nil:
			s.p.run.trace.note("commit refused: %s", lazuli.CodeOf(err))
		case s.p.zombie:
			s.p.run.oracle.blame("a process without the lease wrote")
		}
		return err
	})
}

// Claim implements store.Store.
func (s *records) Claim(ctx context.Context, owner string, kinds []lazuli.Kind, limit int, d time.Duration) (out []store.Lease, err error) {
	if !s.p.point("before claim") {
		return nil, errDead
	}
	out, err = s.Store.Claim(ctx, owner, kinds, limit, d)
	if len(out) > 0 && !s.p.point("after claim") {
		return nil, errDead
	}
	return out, err
}

// Finish implements store.Store.
func (s *records) Finish(ctx context.Context, done []store.Finish) error {
	return s.commit("finish", func() error { return s.Store.Finish(ctx, done) })
}

// noted puts the writes of a transaction into the trace.
type noted struct {
	store.Tx

	run *run
}

// Create implements store.Tx.
func (n *noted) Create(ctx context.Context, o lazuli.Object) error {
	n.run.trace.note("create %s %s %s", o.Kind(), o.Head().Name, o.Index().State)
	return n.Tx.Create(ctx, o)
}

// Update implements store.Tx.
func (n *noted) Update(ctx context.Context, o lazuli.Object) error {
	n.run.trace.note("update %s %s %s", o.Kind(), o.Head().Name, o.Index().State)
	switch rec := o.(type) {
	case *lazuli.Node:
		n.run.oracle.done(rec)
	case *lazuli.Cluster:
		n.run.oracle.ended(rec)
	}
	return n.Tx.Update(ctx, o)
}

// AppendEvent implements store.Tx.
func (n *noted) AppendEvent(ctx context.Context, e lazuli.Event) error {
	n.run.trace.note("event %s %s", e.Severity, e.Reason)
	return n.Tx.AppendEvent(ctx, e)
}

// plainSeal keeps secrets in clear: there are none here, and the sealing is not
// what is looked at.
type plainSeal struct{}

// Seal implements cluster.Sealer.
func (plainSeal) Seal(plain []byte, _ string) (lazuli.Sealed, error) {
	return lazuli.Sealed(plain), nil
}

// Unseal implements cluster.Sealer.
func (plainSeal) Unseal(s lazuli.Sealed, _ string) ([]byte, error) { return []byte(s), nil }
