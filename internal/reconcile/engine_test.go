// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
)

const kind = lazuli.KindCluster

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store and the engines on it, inside a bubble of virtual time.
type world struct {
	t     *testing.T
	ctx   context.Context
	store store.Store
}

// bubble runs fn under virtual time.
func bubble(t *testing.T, fn func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), sqlite.Options{Path: sqlite.Memory})
		if err != nil {
			t.Fatal(err)
		}
		fn(&world{t: t, ctx: t.Context(), store: s})
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// run starts an engine; stop ends it and returns what Run did.
func (w *world) run(cfg reconcile.Config, h reconcile.HandlerFunc) (e *reconcile.Engine, stop func() error) {
	w.t.Helper()
	if cfg.Store == nil {
		cfg.Store = w.store
	}
	if cfg.Owner == "" {
		cfg.Owner = "hub"
	}
	if cfg.Lease == 0 {
		cfg.Lease = time.Minute // the times that the tests want follow from it
	}
	cfg.Handlers = map[lazuli.Kind]reconcile.Handler{kind: h}
	e, err := reconcile.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	synctest.Wait()
	return e, sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

// stops ends an engine that must end well.
func (w *world) stops(stop func() error) {
	w.t.Helper()
	if err := stop(); err != nil {
		w.t.Errorf("run: %v", err)
	}
}

func (w *world) touch(id string, due time.Time) {
	w.t.Helper()
	if err := w.store.Update(w.ctx, func(tx store.Tx) error {
		return tx.Touch(w.ctx, store.WorkKey{Kind: kind, ID: id}, due)
	}); err != nil {
		w.t.Fatal(err)
	}
}

// after lets virtual time pass and all that follows happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// diary records when runs started, as seconds since it was made.
type diary struct {
	mu    sync.Mutex
	since time.Time
	runs  []string
}

func newDiary() *diary { return &diary{since: time.Now()} }

func (d *diary) note(format string, args ...any) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.runs = append(d.runs, fmt.Sprintf(format, args...)+" @"+time.Since(d.since).String())
	return len(d.runs)
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.runs)
}

func (d *diary) want(t *testing.T, reason string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, d.all()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reason, diff)
	}
}

func TestWakesWithoutWaitingForThePoll(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		d := newDiary()
		e, stop := w.run(reconcile.Config{PollInterval: time.Hour}, func(_ context.Context, l store.Lease) reconcile.Outcome {
			d.note("%s", l.ID)
			return reconcile.Done()
		})
		after(time.Second)
		w.touch("now", time.Time{})
		w.touch("later", time.Now().Add(90*time.Second))
		synctest.Wait()
		w.touch("sooner", time.Now().Add(30*time.Second))
		after(10 * time.Minute)
		d.want(t, "each starts when it is due", "now @1s", "sooner @31s", "later @1m31s")
		want := reconcile.Stats{Claimed: 3, Finished: 3}
		if diff := cmp.Diff(want, e.Stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
		w.stops(stop)
	})
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	tests := map[string]struct {
		outcomes []reconcile.Outcome // of the runs in turn; the last repeats
		want     []string
		reason   string
	}{
		"done":        {[]reconcile.Outcome{reconcile.Done()}, []string{"1 @0s", "1 @1h0m0s"}, "the second run is the touch after an hour"},
		"zero":        {[]reconcile.Outcome{{}}, []string{"1 @0s", "1 @1h0m0s"}, "the zero outcome is done"},
		"terminal":    {[]reconcile.Outcome{reconcile.Terminal(boom)}, []string{"1 @0s", "1 @1h0m0s"}, "not retried until touched"},
		"retry after": {[]reconcile.Outcome{reconcile.RetryAfter(40 * time.Minute), reconcile.Done()}, []string{"1 @0s", "1 @40m0s", "1 @1h0m0s"}, "attempts start again"},
		"at":          {[]reconcile.Outcome{reconcile.At(time.Date(2000, 1, 1, 0, 7, 0, 0, time.UTC)), reconcile.Done()}, []string{"1 @0s", "1 @7m0s", "1 @1h0m0s"}, "bubbles start in 2000"},
		"at zero":     {[]reconcile.Outcome{reconcile.At(time.Time{})}, []string{"1 @0s", "1 @1h0m0s"}, "no time is never"},
		"failed nil":  {[]reconcile.Outcome{reconcile.Failed(nil)}, []string{"1 @0s", "1 @1h0m0s"}, "no error is no failure"},
		"remove":      {[]reconcile.Outcome{reconcile.Remove()}, []string{"1 @0s", "1 @1h0m0s"}, "a touch makes a new row"},
		"failed": {
			[]reconcile.Outcome{reconcile.Failed(boom), reconcile.Failed(boom), reconcile.Failed(boom), reconcile.Done()},
			[]string{"1 @0s", "2 @1s", "3 @2s", "4 @3s", "1 @1h0m0s"}, "the shortest waits; the attempts grow until a run does not fail",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				d := newDiary()
				shortest := func(int64) int64 { return 0 }
				_, stop := w.run(reconcile.Config{Random: shortest}, func(_ context.Context, l store.Lease) reconcile.Outcome {
					n := d.note("%d", l.Attempts)
					return test.outcomes[min(n, len(test.outcomes))-1]
				})
				w.touch("a", time.Time{})
				after(time.Hour)
				w.touch("a", time.Time{})
				after(0)
				d.want(t, test.reason, test.want...)
				w.stops(stop)
			})
		})
	}
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		d := newDiary()
		longest := func(n int64) int64 { return n - 1 }
		_, stop := w.run(reconcile.Config{Random: longest}, func(_ context.Context, _ store.Lease) reconcile.Outcome {
			d.note("run")
			return reconcile.Failed(errors.New("boom"))
		})
		w.touch("a", time.Time{})
		after(1111 * time.Second)
		d.want(t, "2, 4, 8, ... seconds, then five minutes each",
			"run @0s", "run @2s", "run @6s", "run @14s", "run @30s", "run @1m2s", "run @2m6s", "run @4m14s", "run @8m30s", "run @13m30s", "run @18m30s")
		w.stops(stop)
	})
}

func TestTouchDuringARunCausesAnother(t *testing.T) {
	t.Parallel()
	for name, outcome := range map[string]reconcile.Outcome{
		"done": reconcile.Done(), "terminal": reconcile.Terminal(errors.New("boom")), "remove": reconcile.Remove(),
		"retry": reconcile.RetryAfter(24 * time.Hour), "failed": reconcile.Failed(errors.New("boom")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				d := newDiary()
				_, stop := w.run(reconcile.Config{PollInterval: time.Hour}, func(_ context.Context, l store.Lease) reconcile.Outcome {
					if d.note("gen %d", l.Gen) == 1 {
						time.Sleep(10 * time.Second)
						return outcome
					}
					return reconcile.Done()
				})
				w.touch("a", time.Time{})
				after(5 * time.Second)
				w.touch("a", time.Time{})
				w.touch("a", time.Now().Add(time.Hour))
				after(2 * time.Minute)
				d.want(t, "one more run, when the first ends", "gen 1 @0s", "gen 3 @10s")
				w.stops(stop)
			})
		})
	}
}

// crashing is the store of a process that dies: from then on it hears nothing.
type crashing struct {
	store.Store
	mu   sync.Mutex
	dead bool
}

func (c *crashing) crash() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
}

func (c *crashing) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return lazuli.Errorf(lazuli.CodeUnavailable, "the process is dead")
	}
	return nil
}

func (c *crashing) Claim(ctx context.Context, owner string, kinds []lazuli.Kind, limit int, lease time.Duration) ([]store.Lease, error) {
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.Store.Claim(ctx, owner, kinds, limit, lease)
}

func (c *crashing) Finish(ctx context.Context, done []store.Finish) error {
	if err := c.err(); err != nil {
		return err
	}
	return c.Store.Finish(ctx, done)
}

func (c *crashing) Renew(ctx context.Context, l store.Lease, lease time.Duration) (store.Lease, error) {
	if err := c.err(); err != nil {
		return store.Lease{}, err
	}
	return c.Store.Renew(ctx, l, lease)
}

func TestAnotherOwnerTakesOverWhenTheLeaseIsOver(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		d := newDiary()
		mortal := &crashing{Store: w.store}
		var write error
		victim, stopVictim := w.run(reconcile.Config{Store: mortal, Owner: "victim", PollInterval: time.Hour},
			func(ctx context.Context, l store.Lease) reconcile.Outcome {
				d.note("victim starts")
				<-ctx.Done()
				d.note("victim is told: %v", context.Cause(ctx) != nil)
				time.Sleep(10 * time.Second)
				write = w.store.Fenced(context.WithoutCancel(ctx), l, func(store.Tx) error {
					d.note("victim writes")
					return nil
				})
				return reconcile.Done()
			})
		w.touch("a", time.Time{})
		after(time.Second)
		_, stopHeir := w.run(reconcile.Config{Owner: "heir", PollInterval: time.Hour, Store: keepLeases{w.store}},
			func(_ context.Context, l store.Lease) reconcile.Outcome {
				d.note("heir starts, attempt %d", l.Attempts)
				return reconcile.Done()
			})
		after(44 * time.Second) // renewed at 20 s and 40 s
		mortal.crash()
		after(5 * time.Minute)
		d.want(t, "taken over at the very end of the lease, without a poll",
			"victim starts @0s", "victim is told: true @1m39s", "heir starts, attempt 2 @1m40s")
		if lazuli.CodeOf(write) != lazuli.CodeFenced {
			t.Errorf("the victim's late write: %v, want it fenced off", write)
		}
		if got := victim.Stats().Lost; got != 1 {
			t.Errorf("lost %d leases, want 1", got)
		}
		w.stops(stopVictim)
		w.stops(stopHeir)
	})
}

// keepLeases is a store that releases nothing at a start, as one of several
// processes would see it.
type keepLeases struct{ store.Store }

func (keepLeases) Release(context.Context, string) error { return nil }

func TestRunIsCancelledWhenItsLeaseIsTaken(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		d := newDiary()
		_, stop := w.run(reconcile.Config{PollInterval: time.Hour}, func(ctx context.Context, l store.Lease) reconcile.Outcome {
			d.note("fence %d starts", l.Fence)
			if l.Fence > 1 {
				return reconcile.Done()
			}
			<-ctx.Done()
			d.note("told: %s", lazuli.CodeOf(context.Cause(ctx)))
			return reconcile.RetryAfter(time.Second)
		})
		w.touch("a", time.Time{})
		after(5 * time.Second)
		if err := w.store.Release(w.ctx, "hub"); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		d.want(t, "told at the next renewal; its outcome does not count, the work goes on",
			"fence 1 starts @0s", "told: LeaseLost @20s", "fence 2 starts @20s")
		w.stops(stop)
	})
}

// TestGuardEndsBeforeTheLease: writes elsewhere are let out while renewals come
// through, and are refused when so little is left that they might be late.
func TestGuardEndsBeforeTheLease(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		d := newDiary()
		mortal := &crashing{Store: w.store}
		e, stop := w.run(reconcile.Config{Store: mortal, PollInterval: time.Hour}, func(ctx context.Context, l store.Lease) reconcile.Outcome {
			if l.Fence > 1 {
				d.note("goes on, attempt %d", l.Attempts)
				return reconcile.Done()
			}
			d.note("may write: %q", lazuli.CodeOf(lazuli.MayWrite(ctx)))
			for {
				time.Sleep(time.Second)
				if err := lazuli.MayWrite(ctx); err != nil {
					d.note("may write: %q", lazuli.CodeOf(err))
					return reconcile.Failed(fmt.Errorf("write: %w", err))
				}
			}
		})
		w.touch("a", time.Time{})
		after(50 * time.Second) // renewed at 20 s and 40 s
		mortal.crash()
		after(40 * time.Second)
		mortal.mu.Lock()
		mortal.dead = false
		mortal.mu.Unlock()
		after(10 * time.Minute)
		d.want(t, "three quarters of the lease after the last renewal; the lease still held, and was given back",
			`may write: "" @0s`, `may write: "LeaseLost" @1m25s`, "goes on, attempt 2 @1m31s")
		if s := e.Stats(); s.Lost != 1 || s.Failed != 0 {
			t.Errorf("%d lost and %d failed, want one that lost its lease", s.Lost, s.Failed)
		}
		w.stops(stop)
	})
}

// TestHoldBelievesTheFasterClock: a machine that was suspended has a monotonic
// clock that stood still, and a wall clock may be set back.
func TestHoldBelievesTheFasterClock(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		reason          string
		wall, monotonic time.Duration // that pass
		fenced          bool
	}{
		{"both agree that there is time", 8 * time.Second, 8 * time.Second, false},
		{"both agree that a write may be late", 9 * time.Second, 9 * time.Second, true},
		{"the machine was suspended", time.Hour, time.Second, true},
		{"the wall clock was set back", -time.Hour, 13 * time.Second, true},
		{"the wall clock was set back a moment ago", -time.Hour, time.Second, false},
	} {
		wall, monotonic := time.Now(), time.Now()
		clock := store.Clock{Wall: func() time.Time { return wall }, Monotonic: func() time.Time { return monotonic }}
		hold := store.NewHold(clock, clock.Now(), 12*time.Second)
		wall, monotonic = wall.Add(test.wall), monotonic.Add(test.monotonic)
		if got := lazuli.CodeOf(hold.Check()) == lazuli.CodeFenced; got != test.fenced {
			t.Errorf("%s: fenced is %v", test.reason, got)
		}
		hold.Renewed(clock.Now())
		if err := hold.Check(); err != nil {
			t.Errorf("%s: after a renewal: %v", test.reason, err)
		}
	}
}

func TestRestartGoesOnAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		d := newDiary()
		w.touch("a", time.Time{})
		if _, err := w.store.Claim(w.ctx, "hub", []lazuli.Kind{kind}, 1, time.Hour); err != nil {
			t.Fatal(err)
		}
		_, stop := w.run(reconcile.Config{}, func(_ context.Context, l store.Lease) reconcile.Outcome {
			d.note("fence %d", l.Fence)
			return reconcile.Done()
		})
		after(time.Minute)
		d.want(t, "the former process's lease is released", "fence 2 @0s")
		w.stops(stop)
	})
}

func TestLongRunKeepsItsLease(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		d := newDiary()
		handler := func(_ context.Context, l store.Lease) reconcile.Outcome {
			d.note("%s", l.Owner)
			time.Sleep(time.Hour)
			return reconcile.Done()
		}
		_, stopA := w.run(reconcile.Config{Owner: "a"}, handler)
		w.touch("x", time.Time{})
		synctest.Wait()
		_, stopB := w.run(reconcile.Config{Owner: "b", Store: keepLeases{w.store}}, handler)
		after(2 * time.Hour)
		d.want(t, "one run, by one owner", "a @0s")
		w.stops(stopA)
		w.stops(stopB)
	})
}

func TestPanicIsAFailureOfOneObject(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		d := newDiary()
		e, stop := w.run(reconcile.Config{Random: func(int64) int64 { return 0 }}, func(_ context.Context, l store.Lease) reconcile.Outcome {
			d.note("%s", l.ID)
			if l.ID == "bad" && l.Attempts == 1 {
				panic("boom")
			}
			return reconcile.Done()
		})
		w.touch("bad", time.Time{})
		after(100 * time.Millisecond)
		w.touch("good", time.Time{})
		after(time.Minute)
		d.want(t, "others go on and it is tried again", "bad @0s", "good @100ms", "bad @1s")
		if got := e.Stats(); got.Panicked != 1 || got.Failed != 1 {
			t.Errorf("stats %+v", got)
		}
		w.stops(stop)
	})
}

func TestManyObjects(t *testing.T) {
	t.Parallel()
	const objects, concurrency = 1000, 16
	bubble(t, func(w *world) {
		var (
			mu      sync.Mutex
			now     = map[string]bool{}
			most    int
			seen    = map[string]int64{}
			started = time.Now()
		)
		e, stop := w.run(reconcile.Config{Concurrency: concurrency}, func(_ context.Context, l store.Lease) reconcile.Outcome {
			mu.Lock()
			if now[l.ID] {
				t.Errorf("%s runs twice at a time", l.ID)
			}
			now[l.ID] = true
			most = max(most, len(now))
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			delete(now, l.ID)
			seen[l.ID] = l.Gen
			return reconcile.Done()
		})
		for i := range objects {
			w.touch(fmt.Sprint(i), time.Time{})
		}
		for i := range objects { // a second touch of each, at all stages
			w.touch(fmt.Sprint(i), time.Time{})
			if i%100 == 0 {
				after(3 * time.Second)
			}
		}
		for deadline := time.Now().Add(time.Hour); ; after(time.Second) {
			if _, ok, err := w.store.NextDue(w.ctx, []lazuli.Kind{kind}); err != nil {
				t.Fatal(err)
			} else if !ok || time.Now().After(deadline) {
				break
			}
		}
		for i := range objects {
			if got := seen[fmt.Sprint(i)]; got != 2 {
				t.Errorf("object %d: last seen in generation %d, want 2", i, got)
			}
		}
		if most != concurrency {
			t.Errorf("at most %d ran at a time, want %d", most, concurrency)
		}
		st := e.Stats()
		if ideal := time.Duration(st.Finished/concurrency+1) * time.Second; time.Since(started) > ideal+5*time.Second {
			t.Errorf("%d runs took %s, want about %s: slots stood empty", st.Finished, time.Since(started), ideal)
		}
		w.stops(stop)
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		takes   time.Duration // of a run that ignores its context
		heeds   bool          // the run returns when its context ends
		want    time.Duration // of the drain
		fails   string
		nextDue bool // the object is due for the next process
		reason  string
	}{
		"short run":     {takes: 3 * time.Second, want: 3 * time.Second, reason: "it ends in peace"},
		"heeding run":   {takes: time.Hour, heeds: true, want: 10 * time.Second, nextDue: true, reason: "it is cancelled when the drain's time is up"},
		"stubborn run":  {takes: time.Hour, want: 12 * time.Second, fails: "1 runs did not return", nextDue: true, reason: "it is left behind, and said so"},
		"late but good": {takes: 11 * time.Second, want: 11 * time.Second, reason: "its outcome counts"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				_, stop := w.run(reconcile.Config{}, func(ctx context.Context, _ store.Lease) reconcile.Outcome {
					var end <-chan struct{}
					if test.heeds {
						end = ctx.Done()
					}
					select {
					case <-time.After(test.takes):
						return reconcile.Done()
					case <-end:
						return reconcile.Failed(ctx.Err())
					}
				})
				w.touch("a", time.Time{})
				synctest.Wait()
				since := time.Now()
				err := stop()
				if got := time.Since(since); got != test.want {
					t.Errorf("%s: drained for %s, want %s", test.reason, got, test.want)
				}
				if (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
					t.Errorf("%s: Run returned %v", test.reason, err)
				}
				_, due, err := w.store.NextDue(w.ctx, []lazuli.Kind{kind})
				if err != nil || due != test.nextDue {
					t.Errorf("%s: due for the next process: %v, %v", test.reason, due, err)
				}
				after(2 * time.Hour) // the stubborn run ends, for the bubble
			})
		})
	}
}

func TestRunEndsWhenTheStoreCloses(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		_, stop := w.run(reconcile.Config{}, func(context.Context, store.Lease) reconcile.Outcome { return reconcile.Done() })
		if err := w.store.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := stop(); lazuli.CodeOf(err) != lazuli.CodeUnavailable {
			t.Errorf("Run: %v, want that the store is not available", err)
		}
	})
}

func TestRecoversWhenTheStoreDoes(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		d := newDiary()
		flaky := &crashing{Store: w.store}
		e, stop := w.run(reconcile.Config{Store: flaky}, func(_ context.Context, l store.Lease) reconcile.Outcome {
			d.note("%s", l.ID)
			time.Sleep(time.Second)
			return reconcile.Done()
		})
		w.touch("a", time.Time{})
		synctest.Wait()
		flaky.crash()
		after(5 * time.Second)
		w.touch("b", time.Time{})
		flaky.mu.Lock()
		flaky.dead = false
		flaky.mu.Unlock()
		after(10 * time.Second)
		d.want(t, "the first run's end is recorded late, not repeated", "a @0s", "b @5s")
		if got := e.Stats().Finished; got != 2 {
			t.Errorf("finished %d, want 2", got)
		}
		w.stops(stop)
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		handlers := map[lazuli.Kind]reconcile.Handler{kind: reconcile.HandlerFunc(func(context.Context, store.Lease) reconcile.Outcome {
			return reconcile.Done()
		})}
		for name, cfg := range map[string]reconcile.Config{
			"no store":    {Handlers: handlers, Owner: "a"},
			"no handlers": {Store: w.store, Owner: "a"},
			"no owner":    {Store: w.store, Handlers: handlers},
			"negative":    {Store: w.store, Handlers: handlers, Owner: "a", Lease: -1},
		} {
			if _, err := reconcile.New(cfg); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		e, err := reconcile.New(reconcile.Config{Store: w.store, Handlers: handlers, Owner: "a"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(w.ctx)
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		synctest.Wait()
		if err := e.Run(w.ctx); err == nil {
			t.Error("ran twice at a time")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
