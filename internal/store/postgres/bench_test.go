// SPDX-License-Identifier: Apache-2.0

//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/postgres"
)

// The benchmarks are those of the engine on SQLite (internal/reconcile) on a
// server that does not sync: what they measure is statements and round trips.

// benchStore is a database with 10,000 idle work rows.
func benchStore(b *testing.B) (s *postgres.Store, url string) {
	b.Helper()
	url = database(b, template)
	s = open(b, postgres.Options{URL: url})
	const idle = 10_000
	if err := s.Update(b.Context(), func(tx store.Tx) error {
		for i := range idle {
			if err := tx.Touch(b.Context(), store.WorkKey{Kind: kind, ID: fmt.Sprint("idle", i)}, time.Now().Add(time.Hour)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	return s, url
}

func benchEngine(b *testing.B, s store.Store, owner string, run reconcile.HandlerFunc) {
	b.Helper()
	e, err := reconcile.New(reconcile.Config{
		Store: s, Owner: owner, Concurrency: 100, Handlers: map[lazuli.Kind]reconcile.Handler{kind: run},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
}

// BenchmarkNoop is the time of one claimed, run and recorded no-op, with one
// engine and with two on one database.
func BenchmarkNoop(b *testing.B) {
	for _, engines := range []int{1, 2} {
		b.Run(fmt.Sprint("engines=", engines), func(b *testing.B) {
			s, url := benchStore(b)
			var left atomic.Int64
			left.Store(int64(b.N))
			all := make(chan struct{})
			run := func(context.Context, store.Lease) reconcile.Outcome {
				if left.Add(-1) == 0 {
					close(all)
				}
				return reconcile.Done()
			}
			ids := make([]string, b.N)
			for i := range ids {
				ids[i] = fmt.Sprint("busy", i)
			}
			touch(b, s, ids...)
			b.ResetTimer()
			for i := range engines {
				benchEngine(b, open(b, postgres.Options{URL: url}), fmt.Sprint("bench", i), run)
			}
			<-all
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
		})
	}
}

// BenchmarkTouchToStart is the time from the commit of a touch to the start of
// the run, in the process that touched and in another.
func BenchmarkTouchToStart(b *testing.B) {
	for _, where := range []string{"same process", "another process"} {
		b.Run(where, func(b *testing.B) {
			s, url := benchStore(b)
			started := make(chan time.Time)
			on := s
			if where != "same process" {
				on = open(b, postgres.Options{URL: url})
			}
			benchEngine(b, on, "bench", func(context.Context, store.Lease) reconcile.Outcome {
				started <- time.Now()
				return reconcile.Done()
			})
			var waits []time.Duration
			for i := range b.N {
				touch(b, s, fmt.Sprint("one", i))
				committed := time.Now()
				waits = append(waits, (<-started).Sub(committed))
				time.Sleep(5 * time.Millisecond) // lets the engine finish: this is about one touch, not about load
			}
			slices.Sort(waits)
			b.ReportMetric(float64(waits[len(waits)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(waits[len(waits)*95/100].Microseconds()), "p95-µs")
		})
	}
}

// BenchmarkFenced is one write under a lease, as a run makes it, by as many at
// a time as there are clusters at work.
func BenchmarkFenced(b *testing.B) {
	const clusters = 32
	s, _ := benchStore(b)
	var ids []string
	for i := range clusters {
		ids = append(ids, fmt.Sprint("c", i))
		if err := s.Update(b.Context(), func(tx store.Tx) error {
			return tx.Create(b.Context(), &lazuli.Cluster{Meta: lazuli.Meta{UID: ids[i], Name: ids[i]}})
		}); err != nil {
			b.Fatal(err)
		}
	}
	touch(b, s, ids...)
	leases, err := s.Claim(b.Context(), "bench", []lazuli.Kind{kind}, clusters, time.Hour)
	if err != nil || len(leases) != clusters {
		b.Fatalf("claimed %d, %v", len(leases), err)
	}
	var runs atomic.Int64
	work := make(chan int)
	failed := make(chan error, clusters)
	b.ResetTimer()
	for i := range clusters {
		go func() {
			var err error
			for range work {
				ctx := b.Context()
				if werr := s.Fenced(ctx, leases[i], func(tx store.Tx) error {
					runs.Add(1)
					var c lazuli.Cluster
					if err := tx.Get(ctx, leases[i].ID, &c); err != nil {
						return err
					}
					if err := tx.AppendEvent(ctx, lazuli.Event{Kind: kind, Object: c.UID, Message: "hello"}); err != nil {
						return err
					}
					return tx.Update(ctx, &c)
				}); werr != nil {
					err = werr
				}
			}
			failed <- err
		}()
	}
	for i := range b.N {
		work <- i
	}
	close(work)
	for range clusters {
		if err := <-failed; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(runs.Load())/float64(b.N), "runs/write")
}
