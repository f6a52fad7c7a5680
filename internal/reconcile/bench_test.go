// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
)

// benchEngine runs an engine on a file with 10,000 idle work rows.
func benchEngine(b *testing.B, h reconcile.HandlerFunc) *sqlite.Store {
	b.Helper()
	ctx := b.Context()
	s, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(b.TempDir(), "bench.db")})
	if err != nil {
		b.Fatal(err)
	}
	const idle = 10_000
	touchAll(b, s, "idle", idle, time.Now().Add(time.Hour))
	e, err := reconcile.New(reconcile.Config{
		Store: s, Owner: "bench", Concurrency: 100, Handlers: map[lazuli.Kind]reconcile.Handler{kind: h},
	})
	if err != nil {
		b.Fatal(err)
	}
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(run) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func touchAll(b *testing.B, s store.Store, prefix string, n int, due time.Time) {
	b.Helper()
	if err := s.Update(b.Context(), func(tx store.Tx) error {
		for i := range n {
			if err := tx.Touch(b.Context(), store.WorkKey{Kind: kind, ID: fmt.Sprint(prefix, i)}, due); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkNoop is the time of one claimed, run and recorded no-op.
func BenchmarkNoop(b *testing.B) {
	var left atomic.Int64
	left.Store(int64(b.N))
	all := make(chan struct{})
	s := benchEngine(b, func(context.Context, store.Lease) reconcile.Outcome {
		if left.Add(-1) == 0 {
			close(all)
		}
		return reconcile.Done()
	})
	b.ResetTimer()
	touchAll(b, s, "busy", b.N, time.Time{})
	<-all
}

// BenchmarkTouchToStart is the time from the begin of a touch's transaction,
// and from its commit, to the start of the run.
func BenchmarkTouchToStart(b *testing.B) {
	started := make(chan time.Time)
	s := benchEngine(b, func(context.Context, store.Lease) reconcile.Outcome {
		started <- time.Now()
		return reconcile.Done()
	})
	var total, fromCommit []time.Duration
	for i := range b.N {
		begin := time.Now()
		touchAll(b, s, fmt.Sprint("one", i), 1, time.Time{})
		committed := time.Now()
		at := <-started
		total = append(total, at.Sub(begin))
		fromCommit = append(fromCommit, at.Sub(committed))
		time.Sleep(time.Millisecond) // lets the engine finish: this is about one touch, not about load
	}
	slices.Sort(total)
	slices.Sort(fromCommit)
	b.ReportMetric(float64(total[len(total)/2].Microseconds()), "p50-total-µs")
	b.ReportMetric(float64(fromCommit[len(fromCommit)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(fromCommit[len(fromCommit)*95/100].Microseconds()), "p95-µs")
}
