// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/pgtest"
	"github.com/lazuli-dev/lazuli/internal/store/postgres"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
	"github.com/lazuli-dev/lazuli/test/bench"
)

// idleRows are work rows that are not due, among which the due ones are found.
const idleRows = 10_000

func benchEngines(t *testing.T, table *bench.Table, n sizes) {
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "bench.db")})
	check(t, err)
	benchEngine(t, table, "SQLite", s, n)
	check(t, s.Close())

	pg, err := pgtest.Start(t.Context())
	if errors.Is(err, pgtest.ErrMissing) {
		for _, name := range []string{"no-op reconciles, PostgreSQL", "touch's commit to handler's start, PostgreSQL"} {
			table.NotRun(name, err.Error())
		}
		return
	}
	check(t, err)
	defer func() { check(t, pg.Close()) }()
	url, err := pg.Create(t.Context(), "bench", "")
	check(t, err)
	p, err := postgres.Open(t.Context(), postgres.Options{URL: url})
	check(t, err)
	benchEngine(t, table, "PostgreSQL that does not sync", p, n)
	check(t, p.Close())
}

func benchEngine(t *testing.T, table *bench.Table, on string, s store.Store, n sizes) {
	t.Helper()
	touch(t, s, "idle", idleRows, time.Now().Add(time.Hour))
	var left atomic.Int64
	all := make(chan struct{})
	started := make(chan time.Time, 1)
	var single atomic.Bool
	e, err := reconcile.New(reconcile.Config{
		Store: s, Owner: "bench", Concurrency: 100,
		Handlers: map[lazuli.Kind]reconcile.Handler{lazuli.KindCluster: reconcile.HandlerFunc(func(context.Context, store.Lease) reconcile.Outcome {
			if single.Load() {
				started <- time.Now()
			} else if left.Add(-1) == 0 {
				close(all)
			}
			return reconcile.Done()
		})},
	})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	defer func() {
		cancel()
		check(t, <-ended)
	}()

	left.Store(int64(n.reconciles))
	begin := time.Now()
	touch(t, s, "busy", n.reconciles, time.Time{})
	<-all
	took := time.Since(begin)
	table.Figure(fmt.Sprintf("no-op reconciles, %s, %d idle rows", on, idleRows), float64(n.reconciles)/took.Seconds(), "1/s", bench.None)

	single.Store(true)
	waits := make([]time.Duration, n.touches)
	for i := range waits {
		touch(t, s, fmt.Sprint("one", i), 1, time.Time{})
		committed := time.Now()
		waits[i] = (<-started).Sub(committed)
		time.Sleep(2 * time.Millisecond) // real time: lets the engine finish, for this is about one touch, not about load
	}
	table.Figure("touch's commit to handler's start, "+on+", median", milliseconds(median(waits)), "ms", bench.None)
	table.Figure("  95th percentile", milliseconds(percentile(waits, 95)), "ms", bench.None)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func touch(t *testing.T, s store.Store, prefix string, n int, due time.Time) {
	t.Helper()
	const batch = 1000
	for from := 0; from < n; from += batch {
		check(t, s.Update(t.Context(), func(tx store.Tx) error {
			for i := from; i < min(from+batch, n); i++ {
				if err := tx.Touch(t.Context(), store.WorkKey{Kind: lazuli.KindCluster, ID: fmt.Sprint(prefix, i)}, due); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
