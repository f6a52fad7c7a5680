// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Defaults of Config.
const (
	DefaultConcurrency  = 32
	DefaultLease        = 12 * time.Second
	DefaultPollInterval = 2 * time.Second
	DefaultDrain        = 10 * time.Second
)

const (
	// cancelGrace is what runs get to return in once their contexts are cancelled.
	cancelGrace = 2 * time.Second
	// storeRetry is the pause after the store could not answer.
	storeRetry = time.Second
	// minWait keeps a clock that disagrees with the store's from spinning.
	minWait = time.Millisecond
)

// Config configures an Engine.
type Config struct {
	Store        store.Store             // required
	Handlers     map[lazuli.Kind]Handler // required; only these kinds are claimed
	Owner        string                  // required; names this process: two that run at once never share it
	Concurrency  int                     // runs at a time; default 32
	Lease        time.Duration           // how long a dead process keeps others out; default 12 s
	PollInterval time.Duration           // safety net; default 2 s
	Drain        time.Duration           // what runs get to end in when Run's context ends; default 10 s
	Logger       *slog.Logger            // default: discards
	Random       func(n int64) (r int64) // 0 <= r < n, for waits; called by one goroutine; default math/rand/v2
}

// Stats counts since the engine was made.
type Stats struct {
	Claimed  int64 // leases taken
	Finished int64 // outcomes recorded, of any sort
	Failed   int64 // of them Failed, panics included
	Terminal int64 // of them Terminal
	Panicked int64 // handlers that panicked
	Lost     int64 // runs whose lease was lost; their outcomes were dropped
	InFlight int64 // runs now
}

// Engine runs handlers on due work.
type Engine struct {
	cfg     Config
	kinds   []lazuli.Kind
	results chan result
	clock   store.Clock // of holds
	running atomic.Bool
	stats   struct {
		claimed, finished, failed, terminal, panicked, lost, inFlight atomic.Int64
	}
}

// New checks the configuration and fills in its defaults.
func New(cfg Config) (*Engine, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("make a reconcile engine: no store")
	case len(cfg.Handlers) == 0:
		return nil, errors.New("make a reconcile engine: no handlers")
	case cfg.Owner == "":
		return nil, errors.New("make a reconcile engine: no owner")
	case cfg.Concurrency < 0 || cfg.Lease < 0 || cfg.PollInterval < 0 || cfg.Drain < 0:
		return nil, errors.New("make a reconcile engine: a number is negative")
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.PollInterval == 0 {
		cfg.PollInterval = DefaultPollInterval
	}
	if cfg.Drain == 0 {
		cfg.Drain = DefaultDrain
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Int64N
	}
	cfg.Handlers = maps.Clone(cfg.Handlers)
	cfg.Logger = cfg.Logger.With("owner", cfg.Owner)
	return &Engine{
		cfg:     cfg,
		kinds:   slices.Sorted(maps.Keys(cfg.Handlers)),
		results: make(chan result, cfg.Concurrency), // a run never waits to return
	}, nil
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	return Stats{
		Claimed:  e.stats.claimed.Load(),
		Finished: e.stats.finished.Load(),
		Failed:   e.stats.failed.Load(),
		Terminal: e.stats.terminal.Load(),
		Panicked: e.stats.panicked.Load(),
		Lost:     e.stats.lost.Load(),
		InFlight: e.stats.inFlight.Load(),
	}
}

// release ends what a former process left. A store that cannot answer is waited
// for, unless it is closed.
func (e *Engine) release(ctx context.Context, changes <-chan store.Change) error {
	for {
		err := e.cfg.Store.Release(ctx, e.cfg.Owner)
		if lazuli.CodeOf(err) != lazuli.CodeUnavailable {
			return err
		}
		e.cfg.Logger.Error("cannot release leases", "error", err)
		retry := time.After(storeRetry)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-retry:
				waiting = false
			case _, open := <-changes: // all that is due is claimed afterwards
				if !open {
					return err
				}
			}
		}
	}
}

// Run works until ctx ends, then drains and returns nil. It fails when the
// store cannot be watched at the start or is closed meanwhile, and when runs
// do not return although their contexts were cancelled. An Engine runs once at
// a time.
func (e *Engine) Run(ctx context.Context) error {
	if !e.running.CompareAndSwap(false, true) {
		return errors.New("run the reconcile engine: it runs already")
	}
	defer e.running.Store(false)

	watching, stopWatching := context.WithCancel(ctx)
	changes, err := e.cfg.Store.Watch(watching)
	if err != nil {
		stopWatching()
		return fmt.Errorf("run the reconcile engine: %w", err)
	}
	defer func() {
		stopWatching()
		for range changes { // waits for the watch to end
		}
	}()
	if err := e.release(ctx, changes); ctx.Err() != nil {
		return nil
	} else if err != nil {
		return fmt.Errorf("run the reconcile engine: %w", err)
	}

	l := &loop{Engine: e, changes: changes}
	// Runs and their finishes outlive ctx: they are drained.
	lasting := context.WithoutCancel(ctx)
	var stopRuns, stopStore context.CancelFunc
	l.runs, stopRuns = context.WithCancel(lasting)
	defer stopRuns()
	l.store, stopStore = context.WithCancel(lasting)
	defer stopStore()

	err = l.work(ctx)
	if derr := l.drain(stopRuns, stopStore); derr != nil {
		err = errors.Join(err, derr)
	}
	return err
}
