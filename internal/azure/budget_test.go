// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

var (
	aDisk = idOf(resource.TypeDisk, "d")
	aNIC  = idOf(resource.TypeNetworkInterface, "n")
)

// stats returns the bucket of t's reads of a provider.
func stats(c *azure.Client, provider string, class azure.Class) azure.BucketStats {
	for _, s := range c.Stats() {
		if s.Provider == provider && s.Class == class && s.Location == region {
			return s
		}
	}
	return azure.BucketStats{}
}

func throttled(t *testing.T, err error, wait time.Duration) {
	t.Helper()
	if lazuli.CodeOf(err) != lazuli.CodeAzureThrottled || azure.RetryAfter(err) != wait || !azure.Retryable(err) {
		t.Errorf("the error is %v after %s, want throttled for %s", err, azure.RetryAfter(err), wait)
	}
}

// TestRetryAfterBindsTheBucket: one 429 stops all calls of its bucket, and of
// no other, until its time has come.
func TestRetryAfterBindsTheBucket(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason  string
		status  int
		body    string
		headers []string
		wait    time.Duration
	}{
		{"429 with a time", 429, `{"error":{"code":"SubscriptionRequestsThrottled"}}`, []string{"Retry-After", "17"}, 17 * time.Second},
		{"429 without a time", 429, `{"code":"TooManyRequests"}`, nil, 10 * time.Second},
		{"503 with a time", 503, ``, []string{"Retry-After", "5"}, 5 * time.Second},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				busy := true
				c, wire := fixture(t, func(w http.ResponseWriter, _ *http.Request) {
					if busy {
						reply(w, tc.status, tc.body, tc.headers...)
						return
					}
					reply(w, 200, `{}`, "Retry-After", "60")
				})
				get := func(to resource.Target, id string) error {
					_, err := c.Get(t.Context(), to, id)
					return err
				}
				if err := get(target(), aDisk); err == nil {
					t.Fatal("the first call was accepted")
				}
				busy = false
				sent := len(wire.arm())
				throttled(t, get(target(), aDisk), tc.wait)
				if len(wire.arm()) != sent {
					t.Error("a call into a closed bucket was sent")
				}
				elsewhere, another := target(), target()
				elsewhere.Location, another.ClientID = "northeurope", "another"
				for _, err := range []error{get(target(), aNIC), get(elsewhere, aDisk), get(another, aDisk)} {
					if err != nil {
						t.Errorf("a call of another bucket: %v", err)
					}
				}
				if _, err := c.Delete(t.Context(), target(), aDisk, false); err != nil {
					t.Errorf("a delete: %v", err)
				}
				if _, err := c.Poll(t.Context(), target(), opURL); err != nil {
					t.Errorf("a poll: %v", err)
				}
				time.Sleep(tc.wait - time.Second)
				throttled(t, get(target(), aDisk), time.Second)
				time.Sleep(time.Second)
				for range 2 { // Retry-After on a success is no refusal
					if err := get(target(), aDisk); err != nil {
						t.Errorf("after the time: %v", err)
					}
				}
				got := stats(c, "Microsoft.Compute", azure.ClassRead)
				if got.Calls != 3 || got.Throttled != 1 || got.Refused != 2 || !got.OpensAt.IsZero() {
					t.Errorf("the bucket has seen %+v", got)
				}
			})
		})
	}
}

// TestBusyIsNotThrottled: a 429 about one resource, and a 503 without a time,
// close nothing.
func TestBusyIsNotThrottled(t *testing.T) {
	t.Parallel()
	for _, answer := range []http.HandlerFunc{
		always(429, `{"error":{"code":"RetryableError","details":[{"code":"ReferencedResourceNotProvisioned"}]}}`, "Retry-After", "10"),
		always(503, ``),
		always(409, `{"error":{"code":"AnotherOperationInProgress"}}`, "Retry-After", "10"),
	} {
		c, wire := fixture(t, answer)
		for range 2 {
			if _, err := c.Get(t.Context(), target(), aDisk); err == nil {
				t.Error("the call was accepted")
			}
		}
		if n := len(wire.arm()); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	}
}

// TestRemaining: few requests left are the users'; none left closes for a moment.
func TestRemaining(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		left := "Microsoft.Compute/LowCostGet3Min;4000,Microsoft.Compute/LowCostGet30Min;31000"
		c, _ := fixture(t, func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, `{}`, "x-ms-ratelimit-remaining-resource", left, "x-ms-ratelimit-remaining-subscription-reads", "249")
		})
		drift := azure.WithPriority(t.Context(), azure.PriorityDrift)
		get := func(ctx context.Context) error {
			_, err := c.Get(ctx, target(), aDisk)
			return err
		}
		if err := errors.Join(get(t.Context()), get(drift)); err != nil {
			t.Fatal(err)
		}
		want := map[string]int{"Microsoft.Compute/LowCostGet3Min": 4000, "Microsoft.Compute/LowCostGet30Min": 31000, "subscription-reads": 249}
		if diff := cmp.Diff(want, stats(c, "Microsoft.Compute", azure.ClassRead).Remaining); diff != "" {
			t.Error(diff)
		}
		left = "Microsoft.Compute/LowCostGet3Min;400"
		if err := get(t.Context()); err != nil {
			t.Fatal(err)
		}
		throttled(t, get(drift), 5*time.Second)
		left = "Microsoft.Compute/LowCostGet3Min;0"
		if err := get(t.Context()); err != nil {
			t.Errorf("a user's call while few are left: %v", err)
		}
		throttled(t, get(t.Context()), time.Second)
		left = "Microsoft.Compute/LowCostGet3Min;3000"
		time.Sleep(time.Second)
		if err := get(t.Context()); err != nil {
			t.Errorf("after a second: %v", err)
		}
		time.Sleep(5 * time.Second)
		if err := get(drift); err != nil {
			t.Errorf("a drift read when there are many again: %v", err)
		}
	})
}

// TestConcurrency: a bucket has so many requests in flight and no more, users'
// before drift reads, and whoever gives up leaves the line.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const bound = 4
		var mu sync.Mutex
		inFlight, most := 0, 0
		var order []string
		wire := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if entra(w, r) {
				return
			}
			mu.Lock()
			inFlight++
			most = max(most, inFlight)
			order = append(order, resource.NameOf(r.URL.Path))
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			inFlight--
			mu.Unlock()
			reply(w, 200, `{}`)
		})}
		c := azure.New(azure.Config{Transport: wire, Concurrency: bound})
		get := func(ctx context.Context, name string) error {
			_, err := c.Get(ctx, target(), idOf(resource.TypeDisk, name))
			return err
		}
		if err := get(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		start := func(ctx context.Context, name string) {
			all.Go(func() {
				if err := get(ctx, name); err != nil && ctx.Err() == nil {
					t.Errorf("%s: %v", name, err)
				}
			})
			synctest.Wait()
		}
		drift := azure.WithPriority(t.Context(), azure.PriorityDrift)
		quitter, quit := context.WithCancel(t.Context())
		for range 3 {
			start(drift, "drift")
		}
		for range 6 {
			start(t.Context(), "user")
		}
		start(quitter, "quitter")
		if got := stats(c, "Microsoft.Compute", azure.ClassRead).InFlight; got != bound {
			t.Errorf("%d in flight, want %d", got, bound)
		}
		quit()
		all.Wait()
		want := []string{"first", "drift", "drift", "user", "user", "user", "user", "user", "user", "drift"}
		if diff := cmp.Diff(want, order); diff != "" {
			t.Error(diff)
		}
		if most != bound {
			t.Errorf("%d requests at once, want %d", most, bound)
		}
		if got := stats(c, "Microsoft.Compute", azure.ClassRead); got.InFlight != 0 || got.Calls != len(want) {
			t.Errorf("the bucket has seen %+v", got)
		}
	})
}

// TestClosedWhileWaiting: who waits in line when the bucket closes is told at
// once, and nobody is left in the line.
func TestClosedWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wire := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if entra(w, r) {
				return
			}
			time.Sleep(time.Second)
			reply(w, 429, `{"code":"TooManyRequests"}`, "Retry-After", "30")
		})}
		c := azure.New(azure.Config{Transport: wire, Concurrency: 1})
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				_, err := c.Get(t.Context(), target(), aDisk)
				throttled(t, err, 30*time.Second)
			})
		}
		all.Wait()
		if n := len(wire.arm()); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		if got := stats(c, "Microsoft.Compute", azure.ClassRead); got.InFlight != 0 || got.Refused != 4 {
			t.Errorf("the bucket has seen %+v", got)
		}
	})
}

// TestGivingUpInTheMomentOfTheGrant: a place that is granted to somebody who
// leaves in that very moment is not lost. The clock is read while the place is
// being handed on, which is when the one in line gives up.
func TestGivingUpInTheMomentOfTheGrant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var answered atomic.Bool
		wire := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if entra(w, r) {
				return
			}
			time.Sleep(time.Second)
			reply(w, 200, `{}`)
			answered.Store(true)
		})}
		c := azure.New(azure.Config{Transport: wire, Concurrency: 1, Now: func() time.Time {
			if answered.Load() {
				cancel()
			}
			return time.Now()
		}})
		var all sync.WaitGroup
		all.Go(func() { _, _ = c.Get(t.Context(), target(), aDisk) })
		synctest.Wait()
		all.Go(func() {
			if _, err := c.Get(ctx, target(), aDisk); !errors.Is(err, context.Canceled) {
				t.Errorf("the call that was given up is %v", err)
			}
		})
		all.Wait()
		if got := stats(c, "Microsoft.Compute", azure.ClassRead); got.InFlight != 0 || got.Calls != 1 {
			t.Errorf("the bucket has seen %+v", got)
		}
		if _, err := c.Get(t.Context(), target(), aDisk); err != nil {
			t.Errorf("the next call: %v", err)
		}
	})
}
