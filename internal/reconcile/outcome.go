// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"time"

	"github.com/lazuli-dev/lazuli/internal/store"
)

// The bounds of the wait after Failed.
const (
	MinBackoff = time.Second
	MaxBackoff = 5 * time.Minute
)

// Handler looks at one object and moves it towards what is desired. It reads
// the object itself, writes with store.Fenced under the lease, returns soon
// after ctx ends, and may be called concurrently for different objects.
type Handler interface {
	Reconcile(ctx context.Context, lease store.Lease) Outcome
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, lease store.Lease) Outcome

// Reconcile implements Handler.
func (f HandlerFunc) Reconcile(ctx context.Context, lease store.Lease) Outcome { return f(ctx, lease) }

type verdict int

const (
	done verdict = iota
	retryAfter
	at
	failed
	terminal
	remove
)

func (v verdict) String() string {
	return [...]string{"done", "retry after", "at", "failed", "terminal", "remove"}[v]
}

// Outcome is what a run returns: when to look again. The zero Outcome is Done.
type Outcome struct {
	verdict verdict
	after   time.Duration
	at      time.Time
	err     error
}

// Done asks for no further look until the object is touched.
func Done() Outcome { return Outcome{} }

// RetryAfter asks for another look after d. It is no failure.
func RetryAfter(d time.Duration) Outcome { return Outcome{verdict: retryAfter, after: d} }

// At asks for another look at t; the zero time is Done.
func At(t time.Time) Outcome {
	if t.IsZero() {
		return Done()
	}
	return Outcome{verdict: at, at: t}
}

// Failed asks for another look after a wait that grows with the attempts; nil
// is Done.
func Failed(err error) Outcome {
	if err == nil {
		return Done()
	}
	return Outcome{verdict: failed, err: err}
}

// Terminal says that no repetition helps: no further look until the object is
// touched. The handler has told the user why.
func Terminal(err error) Outcome { return Outcome{verdict: terminal, err: err} }

// Remove says that the object is no more: its work row goes.
func Remove() Outcome { return Outcome{verdict: remove} }

// Err is the error of Failed and Terminal, nil for others.
func (o Outcome) Err() error { return o.err }

// String names the outcome, for logs and tests.
func (o Outcome) String() string { return o.verdict.String() }

// finish turns the outcome of a run that ended now into what the store records.
func (o Outcome) finish(l store.Lease, now time.Time, random func(int64) int64) store.Finish {
	f := store.Finish{Lease: l, Reset: o.verdict != failed}
	switch o.verdict {
	case retryAfter:
		f.Due = now.Add(max(0, o.after))
	case at:
		f.Due = o.at
	case failed:
		f.Due = now.Add(backoff(l.Attempts, random))
	case remove:
		f.Drop = true
	case done, terminal: // due when touched
	}
	return f
}

// backoff draws the wait after a number of attempts.
func backoff(attempts int, random func(int64) int64) time.Duration {
	ceiling := MaxBackoff
	const doublings = 9 // 2^9 s is more than MaxBackoff
	if attempts < doublings {
		ceiling = min(MaxBackoff, MinBackoff<<max(1, attempts))
	}
	return MinBackoff + time.Duration(random(int64(ceiling-MinBackoff)+1))
}
