// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// A lease is prolonged when one part in renewParts of it is over.
const renewParts = 3

// result is the end of a run.
type result struct {
	lease   store.Lease
	outcome Outcome
	lost    error // why the outcome does not count
}

// start runs the handler of a lease, which was asked for at a moment, and keeps
// the lease meanwhile.
func (e *Engine) start(ctx context.Context, lease store.Lease, asked store.Moment) {
	e.stats.inFlight.Add(1)
	hold := store.NewHold(e.clock, asked, e.cfg.Lease)
	ctx, cancel := context.WithCancelCause(lazuli.WithGuard(ctx, hold.Check))
	kept := make(chan error, 1)
	go func() { kept <- e.keep(ctx, cancel, lease, hold) }()
	go func() {
		outcome := e.call(ctx, lease)
		cancel(nil)
		lost := <-kept
		e.stats.inFlight.Add(-1)
		e.results <- result{lease: lease, outcome: outcome, lost: lost}
	}()
}

// call runs the handler. A panic is a failure of this object alone.
func (e *Engine) call(ctx context.Context, lease store.Lease) (o Outcome) {
	defer func() {
		if p := recover(); p != nil {
			e.stats.panicked.Add(1)
			e.cfg.Logger.ErrorContext(ctx, "a handler panicked",
				"kind", lease.Kind, "id", lease.ID, "panic", p, "stack", string(debug.Stack()))
			o = Failed(lazuli.Errorf(lazuli.CodeInternal, "reconcile %s %s: panic: %v", lease.Kind, lease.ID, p))
		}
	}()
	return e.cfg.Handlers[lease.Kind].Reconcile(ctx, lease)
}

// keep prolongs a lease until ctx ends. When the lease is lost it cancels the
// run and says why.
func (e *Engine) keep(ctx context.Context, cancel context.CancelCauseFunc, lease store.Lease, hold *store.Hold) error {
	third := e.cfg.Lease / renewParts
	timer := time.NewTimer(third)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		asked := e.clock.Now()
		renewed, err := e.cfg.Store.Renew(ctx, lease, e.cfg.Lease)
		switch {
		case err == nil:
			lease = renewed
			hold.Renewed(asked)
			timer.Reset(third)
		case ctx.Err() != nil:
			return nil
		case lazuli.CodeOf(err) == lazuli.CodeFenced:
			cancel(err)
			return err
		case hold.Left() <= storeRetry:
			err = fmt.Errorf("the lease is over before the store answers: %w", err)
			cancel(err)
			return err
		default:
			timer.Reset(min(third, storeRetry))
		}
	}
}
