// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// loop is one Run. A single goroutine finishes and claims, in turns, so that
// finishes come in batches and nothing but the store needs a lock.
type loop struct {
	*Engine
	changes <-chan store.Change
	runs    context.Context // parent of all runs, cancelled late in a drain
	store   context.Context // of the loop's own calls of the store
	busy    int             // runs that are not finished in the store
	ended   []store.Finish  // of runs that returned, not yet in the store
	freed   int             // runs whose slot the next successful finish frees
	pause   bool            // the store could not answer a moment ago
}

// work claims and finishes until ctx ends or the store closes.
func (l *loop) work(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		l.collect()
		l.finish()
		wait := l.claim(ctx)
		if l.pause {
			wait, l.pause = storeRetry, false
		}
		timer.Reset(wait)
		changes := l.changes
		if l.busy >= l.cfg.Concurrency {
			changes = nil // they keep, merged, until there is room
		}
		if !l.sleep(ctx, timer.C, changes) {
			if ctx.Err() == nil {
				return lazuli.Errorf(lazuli.CodeUnavailable, "run the reconcile engine: the store was closed")
			}
		}
	}
	return nil
}

// sleep returns when there may be something to do; false is that the watch has
// ended.
func (l *loop) sleep(ctx context.Context, timer <-chan time.Time, changes <-chan store.Change) bool {
	for {
		select {
		case <-ctx.Done():
			return true
		case <-timer:
			return true
		case r := <-l.results:
			l.take(r)
			return true
		case c, open := <-changes:
			if !open {
				return false
			}
			if _, ours := l.cfg.Handlers[c.Kind]; ours && c.Work {
				return true
			}
		}
	}
}

// collect takes what has returned, without waiting.
func (l *loop) collect() {
	for {
		select {
		case r := <-l.results:
			l.take(r)
		default:
			return
		}
	}
}

// take notes the end of a run.
func (l *loop) take(r result) {
	log := l.cfg.Logger.With("kind", r.lease.Kind, "id", r.lease.ID, "fence", r.lease.Fence)
	l.freed++
	if r.lost != nil {
		l.stats.lost.Add(1)
		log.Warn("lost the lease of a run", "error", r.lost)
		return
	}
	now := time.Now()
	if r.outcome.verdict == failed && l.runs.Err() != nil {
		// The drain cancelled it: no failure, and the next process goes on at once.
		log.Debug("a run was cancelled", "error", r.outcome.err)
		l.ended = append(l.ended, store.Finish{Lease: r.lease, Due: now})
		return
	}
	if lazuli.CodeOf(r.outcome.err) == lazuli.CodeFenced {
		// It met the lease's end before keep did. Should the store think otherwise,
		// for its answer to a renewal was slow, the object is due at once.
		l.stats.lost.Add(1)
		log.Warn("lost the lease of a run", "error", r.outcome.err)
		l.ended = append(l.ended, store.Finish{Lease: r.lease, Due: now})
		return
	}
	f := r.outcome.finish(r.lease, now, l.cfg.Random)
	switch r.outcome.verdict {
	case failed:
		l.stats.failed.Add(1)
		log.Warn("a run failed", "attempts", r.lease.Attempts, "retry_in", f.Due.Sub(now), "error", r.outcome.err)
	case terminal:
		l.stats.terminal.Add(1)
		log.Warn("a run ended for good", "error", r.outcome.err)
	case done, retryAfter, at, remove:
		log.Debug("a run ended", "outcome", r.outcome, "due", f.Due)
	}
	l.ended = append(l.ended, f)
}

// finish records what has ended, all in one transaction. When the store cannot
// answer, the runs keep their slots and it is tried again.
func (l *loop) finish() {
	if len(l.ended) > 0 {
		if err := l.cfg.Store.Finish(l.store, l.ended); err != nil {
			l.cfg.Logger.Error("cannot record the end of runs", "runs", len(l.ended), "error", err)
			l.pause = true
			return
		}
		l.stats.finished.Add(int64(len(l.ended)))
		l.ended = l.ended[:0]
	}
	l.busy -= l.freed
	l.freed = 0
}

// claim starts runs for what is due and returns how long there is nothing to
// claim.
func (l *loop) claim(ctx context.Context) time.Duration {
	free := l.cfg.Concurrency - l.busy
	if free <= 0 || l.pause {
		return l.cfg.PollInterval
	}
	asked := l.clock.Now()
	leases, err := l.cfg.Store.Claim(ctx, l.cfg.Owner, l.kinds, free, l.cfg.Lease)
	if err != nil {
		l.trouble(ctx, "cannot claim work", err)
		return l.cfg.PollInterval
	}
	for _, lease := range leases {
		l.busy++
		l.stats.claimed.Add(1)
		l.start(l.runs, lease, asked)
	}
	if len(leases) == free {
		return l.cfg.PollInterval // full; the end of a run wakes the loop
	}
	due, ok, err := l.cfg.Store.NextDue(ctx, l.kinds)
	if err != nil {
		l.trouble(ctx, "cannot look for the next work", err)
	}
	if err != nil || !ok {
		return l.cfg.PollInterval
	}
	return min(l.cfg.PollInterval, max(minWait, time.Until(due)))
}

func (l *loop) trouble(ctx context.Context, act string, err error) {
	if ctx.Err() != nil {
		return
	}
	l.cfg.Logger.Error(act, "error", err)
	l.pause = true
}

// drain waits for the runs and records their ends.
func (l *loop) drain(stopRuns, stopStore context.CancelFunc) error {
	cancelRuns := time.NewTimer(l.cfg.Drain)
	defer cancelRuns.Stop()
	giveUp := time.NewTimer(l.cfg.Drain + cancelGrace)
	defer giveUp.Stop()
	defer time.AfterFunc(l.cfg.Drain+cancelGrace, stopStore).Stop()
	for {
		l.collect()
		l.pause = false
		l.finish()
		if l.busy == 0 {
			return nil
		}
		var retry <-chan time.Time
		if l.pause {
			retry = time.After(storeRetry)
		}
		select {
		case r := <-l.results:
			l.take(r)
		case <-retry:
		case <-cancelRuns.C:
			stopRuns()
		case <-giveUp.C:
			return l.abandoned()
		}
	}
}

func (l *loop) abandoned() error {
	if n := len(l.ended); n > 0 {
		return fmt.Errorf("drain the reconcile engine: the ends of %d runs could not be recorded; they run again when their leases are over", n)
	}
	return fmt.Errorf("drain the reconcile engine: %d runs did not return when they were cancelled", l.busy)
}
