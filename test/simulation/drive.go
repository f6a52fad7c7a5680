// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/cluster"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// alive is live, with a panic of the product as a violation.
func (r *run) alive(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.oracle.blame("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return r.live(ctx)
}

// live plays the life of the cluster: create, perhaps deletion on the way,
// rest, deletion, rest.
func (r *run) live(ctx context.Context) error {
	deadline := r.weather.started.Add(max(r.weather.Clears, r.plan.plenty) + afterWeather)
	state := func(want ...lazuli.ClusterState) func() bool {
		return func() bool {
			return slices.Contains(want, r.cluster().Status.State)
		}
	}
	running, gone := state(lazuli.StateRunning), state(lazuli.StateDeleted)
	if err := r.until(ctx, deadline, func() bool { return gone() || running() && r.settled() }); err != nil {
		return err
	}
	if !r.deleted && len(r.oracle.faults) == 0 {
		r.trace.note("running")
		if err := r.until(ctx, time.Now().Add(restTime), func() bool { return r.deleted }); err != nil {
			return err
		}
		if err := r.until(ctx, deadline, func() bool { return r.deleted || r.settled() }); err != nil {
			return err
		}
		if !r.deleted {
			r.oracle.inventory()
			if err := r.controller(ctx); err != nil {
				return err
			}
		}
	}
	if r.opts.OnlyCreate || len(r.oracle.faults) > 0 {
		return nil
	}
	if !r.deleted {
		if err := r.remove(ctx); err != nil {
			return err
		}
	}
	if err := r.until(ctx, deadline.Add(afterWeather), gone); err != nil {
		return err
	}
	r.trace.note("deleted")
	r.oracle.empty()
	r.oracle.keys()
	if err := r.until(ctx, time.Now().Add(restTime), func() bool { return false }); err != nil {
		return err
	}
	r.oracle.empty()
	return nil
}

// remove is the user's DELETE.
func (r *run) remove(ctx context.Context) error {
	if r.cluster().Status.State != lazuli.StateRunning {
		r.weather.met(FaultTouch)
	}
	r.deleted = true
	r.deleteFrom = r.points
	r.trace.note("the user deletes")
	defer r.written()
	err := r.store.Update(ctx, func(tx store.Tx) error {
		var c lazuli.Cluster
		if err := tx.Get(ctx, r.uid, &c); err != nil {
			return err
		}
		c.Delete = &lazuli.DeleteIntent{At: time.Now(), Actor: "tester"}
		c.Status.State = lazuli.StateDeleting
		if err := tx.Update(ctx, &c); err != nil {
			return err
		}
		return tx.Touch(ctx, store.WorkKey{Kind: lazuli.KindCluster, ID: r.uid}, time.Time{})
	})
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// world lets happen what happens by the clock.
func (r *run) world(ctx context.Context) error {
	if r.poor && time.Since(r.weather.started) > r.plan.plenty {
		r.plenty()
	}
	for steps := r.weather.Steps; len(steps) > 0 && time.Since(r.weather.started) >= steps[0].At; steps = r.weather.Steps {
		if steps[0].Skew != r.skew {
			r.weather.met(FaultClock)
			r.trace.note("the clock steps from %s to %s", r.skew, steps[0].Skew)
			r.skew = steps[0].Skew
		}
		r.weather.Steps = steps[1:]
	}
	if r.fedUp() && !r.plan.inCommit {
		return r.remove(ctx)
	}
	return r.repool(ctx)
}

// fedUp reports whether it is time for the user to delete the cluster in the
// middle of its create.
func (r *run) fedUp() bool {
	return !r.deleted && r.plan.deleteAfter > 0 && time.Since(r.weather.started) > r.plan.deleteAfter
}

// until works until done says so; coming to the deadline is a fault unless done
// never will.
func (r *run) until(ctx context.Context, deadline time.Time, done func() bool) error {
	rest := time.Until(deadline) <= restTime
	for {
		if err := r.world(ctx); err != nil {
			return err
		}
		if done() {
			return nil
		}
		if !time.Now().Before(deadline) || len(r.oracle.faults) >= mostFaults {
			if !rest {
				r.oracle.blame("not there by the deadline: %s", r.why())
			}
			return nil
		}
		time.Sleep(time.Millisecond) // a claim takes time, and the store's is in microseconds
		leases, err := r.records.Claim(ctx, owner, []lazuli.Kind{lazuli.KindCluster}, 1, lease)
		if r.proc.dead {
			if err := r.rebirth(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("claim: %w", err)
		}
		if len(leases) == 0 {
			if err := r.sleep(ctx, deadline); err != nil {
				return err
			}
			continue
		}
		r.haunt(ctx)
		if err := r.session(ctx, leases[0]); err != nil {
			return err
		}
		if r.proc.dead {
			if err := r.rebirth(ctx); err != nil {
				return err
			}
		}
	}
}

// sleep waits for the next thing that is due.
func (r *run) sleep(ctx context.Context, deadline time.Time) error {
	next := deadline
	due, ok, err := r.store.NextDue(ctx, []lazuli.Kind{lazuli.KindCluster})
	if err != nil {
		return fmt.Errorf("next due: %w", err)
	}
	if due = due.Add(-r.skew); ok && due.Before(next) {
		next = due
	}
	if steps := r.weather.Steps; len(steps) > 0 {
		if at := r.weather.started.Add(steps[0].At); at.Before(next) {
			next = at
		}
	}
	if at := r.weather.started.Add(r.plan.deleteAfter); !r.deleted && r.plan.deleteAfter > 0 && !r.plan.inCommit && at.Before(next) {
		next = at
	}
	if at, ok := r.nextPools(); ok && at.Before(next) {
		next = at
	}
	time.Sleep(max(time.Until(next), time.Millisecond))
	return nil
}

// rebirth starts the next process after some time.
func (r *run) rebirth(ctx context.Context) error {
	const longest = 20 * time.Second
	time.Sleep(time.Duration(r.random.Int64N(int64(longest))))
	r.trace.note("a new process")
	return r.birth(ctx)
}

// session is one reconcile of the cluster, its effects one at a time.
func (r *run) session(ctx context.Context, l store.Lease) error {
	s, err := r.hub.Open(ctx, l)
	switch {
	case lazuli.CodeOf(err) == lazuli.CodeNotFound:
		return r.finish(ctx, store.Finish{Lease: l, Drop: true})
	case err != nil:
		return fmt.Errorf("open: %w", err)
	}
	f := &flight{inFlight: map[string]bool{}}
	for {
		if l.Until.Sub(r.wall()) < renewBelow {
			renewed, err := r.store.Renew(ctx, l, lease)
			if r.lapsed(err) {
				return nil // the engine gives the run up
			}
			if err != nil {
				return fmt.Errorf("renew: %w", err)
			}
			l = renewed
		}
		late := !r.learnt
		plan, err := s.Step(ctx, f.news(r), f.inFlight)
		if r.proc.dead {
			return nil
		}
		r.learnt = r.deleted && s.World().Cluster.Delete != nil
		if r.lapsed(err) {
			return nil
		}
		if err != nil {
			if lazuli.CodeOf(err) != lazuli.CodeConflict || !r.plan.poolsInCommit {
				r.oracle.blame("step: %v", err)
			}
			return r.finish(ctx, store.Finish{Lease: l, Due: r.wall().Add(time.Second)})
		}
		for _, in := range plan.Intents {
			r.trace.note("intent %s", in.Key())
			f.inFlight[in.Key()] = true
			f.pending = append(f.pending, named{in, late})
		}
		if r.steps++; r.steps > mostSteps {
			r.oracle.blame("no end after %d steps: %s", mostSteps, r.why())
			return nil
		}
		if len(f.inFlight) == 0 {
			return r.rest(ctx, l, plan)
		}
		if r.stall(s, l, f) {
			return r.rebirth(ctx)
		}
		if err := r.act(ctx, s, f); err != nil || r.proc.dead {
			return err
		}
	}
}

// lapsed reports whether an error says that a lease does not hold any more,
// which only a clock that stepped can have done to this process.
func (r *run) lapsed(err error) bool {
	return r.weather.Met[FaultClock] > 0 && lazuli.CodeOf(err) == lazuli.CodeFenced
}

// flight are the intents that are named and not answered.
type flight struct {
	inFlight map[string]bool
	pending  []named
	answers  []cluster.Answer
}

// named is an intent, and whether the process could not know of the user's
// deletion when it was named.
type named struct {
	cluster.Intent

	late bool
}

// news takes some of the answers, in an order that the seed chooses.
func (f *flight) news(r *run) []cluster.Answer {
	if len(f.answers) == 0 {
		return nil
	}
	r.random.Shuffle(len(f.answers), func(i, j int) { f.answers[i], f.answers[j] = f.answers[j], f.answers[i] })
	n := r.random.IntN(len(f.answers) + 1)
	if len(f.pending) == 0 {
		n = max(1, n)
	}
	out := f.answers[:n:n]
	f.answers = f.answers[n:]
	for _, a := range out {
		delete(f.inFlight, a.Intent.Key())
	}
	return out
}

// act carries some intents out, and lets time pass.
func (r *run) act(ctx context.Context, s *cluster.Session, f *flight) error {
	for range 1 + r.random.IntN(3) {
		if len(f.pending) == 0 {
			break
		}
		i := r.random.IntN(len(f.pending))
		in := f.pending[i]
		f.pending = append(f.pending[:i], f.pending[i+1:]...)
		r.late = in.late
		a := s.CarryOut(ctx, in.Intent)
		if r.proc.dead {
			return nil
		}
		r.trace.note("answer %s %s %s", in.Key(), a.Result.State, lazuli.CodeOf(a.Err))
		f.answers = append(f.answers, a)
		if err := r.world(ctx); err != nil {
			return err
		}
	}
	r.dawdle()
	return nil
}

// dawdle lets time pass: mostly a moment, now and then long.
func (r *run) dawdle() {
	const moment, while, long = 200 * time.Millisecond, 5 * time.Second, 2 * time.Minute
	d := moment
	switch n := r.random.IntN(100); {
	case n < 70:
	case n < 98 || r.opts.Calm:
		d = while
	default:
		d = long
	}
	time.Sleep(time.Duration(r.random.Int64N(int64(d))))
}

// rest ends the run as the engine does.
func (r *run) rest(ctx context.Context, l store.Lease, p cluster.Plan) error {
	f := store.Finish{Lease: l, Due: p.Wake, Reset: true}
	if p.Outcome.String() == "remove" {
		f.Drop = true
	}
	return r.finish(ctx, f)
}

func (r *run) finish(ctx context.Context, f store.Finish) error {
	if err := r.records.Finish(ctx, []store.Finish{f}); err != nil && !r.proc.dead && !r.lapsed(err) {
		return fmt.Errorf("finish: %w", err)
	}
	return nil
}

// why says what keeps the cluster from its end.
func (r *run) why() string {
	c := r.cluster()
	var text strings.Builder
	text.WriteString(string(c.Status.State) + " " + c.Status.Message)
	for _, n := range r.nodes() {
		if n.State != lazuli.NodeDone && n.State != lazuli.NodeGone && n.State != lazuli.NodeWaiting {
			fmt.Fprintf(&text, "\n  %s %s %s", n.Name, n.State, n.Message)
		}
	}
	return text.String()
}

// ghost is a process that stood still for longer than its lease.
type ghost struct {
	proc    *process
	session *cluster.Session
	flight  *flight
	hold    *store.Hold // as it was when the process stopped
}

// stall has the process stand still, once in a seed that says so: when its lease
// is over another one takes over, and this one goes on later as if nothing had
// been.
func (r *run) stall(s *cluster.Session, l store.Lease, f *flight) bool {
	const chance = 60
	if !r.plan.zombie || r.ghost != nil || time.Since(r.weather.started) > r.weather.Clears || r.random.IntN(chance) > 0 {
		return false
	}
	r.weather.met(FaultZombie)
	r.trace.note("stands still under fence %d", l.Fence)
	clock := store.Clock{Wall: r.wall}
	left := l.Until.Sub(r.wall())
	r.ghost = &ghost{proc: r.proc, session: s, flight: f, hold: store.NewHold(clock, clock.Now(), left)}
	time.Sleep(left)
	r.client = nil // the ghost's, closed with the run
	return true
}

// haunt lets the ghost go on when another process has the lease. It does to
// Azure what it had still to do when it stopped: its reads go out, its writes
// and its records must be refused.
func (r *run) haunt(ctx context.Context) {
	g := r.ghost
	if g == nil || g.session == nil || r.random.IntN(3) > 0 {
		return
	}
	r.trace.note("a process that lost its lease goes on")
	g.proc.zombie = true
	leased := lazuli.WithGuard(ctx, g.hold.Check)
	for _, in := range g.flight.pending {
		switch in.Act { //nolint:exhaustive // what goes to Azure
		case cluster.ActPut, cluster.ActDelete, cluster.ActGet, cluster.ActPoll, cluster.ActList:
			a := g.session.CarryOut(leased, in.Intent)
			r.trace.note("the ghost's %s: %s %s", in.Key(), a.Result.State, lazuli.CodeOf(a.Err))
			if lazuli.CodeOf(a.Err) != lazuli.CodeFenced {
				g.flight.answers = append(g.flight.answers, a)
			}
		}
	}
	_, err := g.session.Step(ctx, g.flight.answers, map[string]bool{})
	r.trace.note("its records: %s", lazuli.CodeOf(err))
	g.session = nil
}

// controller makes what the cluster's own cloud controller would: a resource
// with the cluster's tag that the hub has no record of.
func (r *run) controller(ctx context.Context) error {
	if r.random.IntN(2) == 0 {
		return nil
	}
	id := resource.ID(subscription, group, resource.TypePublicIP, "kubernetes-a1b2c3")
	r.extra = append(r.extra, id)
	return r.make(ctx, resource.PublicIP{
		Common: resource.Common{ID: id, Location: r.plan.location, Tags: map[string]string{r.tag: r.uid}}, Zones: zonesOf(r.plan.location),
	})
}
