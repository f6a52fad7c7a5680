// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// The budget of a bucket, which is what Azure counts requests in:
//
//	(principal, subscription, location, provider, read|write|delete|poll)
//
//	request --> closed? ----------------> AzureThrottled with the time until it opens, nothing is sent
//	               | open
//	               v
//	            drift read and few left? -> AzureThrottled, the rest is the users'
//	               |
//	               v
//	            in flight < bound? --no--> wait in line, users before drift
//	               | yes
//	               v
//	            Azure --> 429, 503 + Retry-After: close until then
//	                      x-ms-ratelimit-remaining-*: 0 closes briefly, a tenth of the most ever seen stops drift reads
//
// A 429 that says that one resource is busy (RetryableError) closes nothing.
// Retry-After on a success is the caller's next poll and closes nothing.
const (
	defaultConcurrency = 16
	defaultThrottle    = 10 * time.Second // for a 429 that names no time
	emptyPause         = time.Second      // buckets fill up every second (docThrottle)
	reservePause       = 5 * time.Second  // drift reads wait so long when few are left
	reservePart        = 10               // a tenth
	maxCounters        = 32               // names of limits kept for a bucket
	maxBuckets         = 8192
	bucketIdle         = time.Hour
	remainingPrefix    = "x-ms-ratelimit-remaining-"
	remainingResource  = "x-ms-ratelimit-remaining-resource"
)

// Class is the kind of operation that Azure counts together.
type Class string

// The classes of operations.
const (
	ClassRead   Class = "read"
	ClassWrite  Class = "write"
	ClassDelete Class = "delete"
	ClassPoll   Class = "poll"
)

// Priority is what a request waits behind.
type Priority int

// The priorities; the zero value is for what users wait for.
const (
	PriorityUser  Priority = iota // a create, a scale, a delete, a look-up of a form
	PriorityDrift                 // a look whether anything changed: last in line, first to be refused
)

type priorityKey struct{}

// WithPriority marks the calls made with the context.
func WithPriority(ctx context.Context, p Priority) context.Context {
	return context.WithValue(ctx, priorityKey{}, p)
}

func priorityOf(ctx context.Context) Priority {
	p, _ := ctx.Value(priorityKey{}).(Priority) // the zero value is right
	return p
}

// Bucket is what Azure counts requests in.
type Bucket struct {
	Principal    string // tenant/client
	Subscription string
	Location     string
	Provider     string // Microsoft.Compute, Microsoft.Network, ...
	Class        Class
}

// BucketStats is what a bucket has seen.
type BucketStats struct {
	Bucket
	Calls     int            // requests sent
	Throttled int            // of which Azure refused with 429, or with 503 and a time
	Refused   int            // not sent: the bucket was closed or kept for users
	InFlight  int            // now
	OpensAt   time.Time      // zero when open
	Remaining map[string]int // by Azure's name of the limit, as last told
}

type callKey struct{}

// call is what the budget needs to know and a request does not say.
type call struct {
	principal, subscription, location string
	class                             Class // "" follows from the method
}

type budgeter struct {
	bound int
	now   func() time.Time

	mu    sync.Mutex
	gates map[Bucket]*gate
}

type gate struct {
	used      time.Time
	opensAt   time.Time
	keptUntil time.Time // for users
	inFlight  int
	lines     [2][]chan struct{} // by priority; a closed channel is a granted place
	counters  map[string]counter

	calls, throttled, refused int
}

type counter struct{ left, most int }

func newBudgeter(bound int, now func() time.Time) *budgeter {
	if bound <= 0 {
		bound = defaultConcurrency
	}
	return &budgeter{bound: bound, now: now, gates: map[Bucket]*gate{}}
}

// Do implements policy.Policy.
func (b *budgeter) Do(req *policy.Request) (*http.Response, error) {
	raw := req.Raw()
	bucket := bucketOf(raw)
	if err := b.enter(raw.Context(), bucket); err != nil {
		return nil, err
	}
	resp, err := req.Next()
	b.leave(bucket, resp)
	return resp, err
}

func bucketOf(raw *http.Request) Bucket {
	c, _ := raw.Context().Value(callKey{}).(call) // a call without it has its own bucket
	class := c.class
	if class == "" {
		switch raw.Method {
		case http.MethodGet, http.MethodHead:
			class = ClassRead
		case http.MethodDelete:
			class = ClassDelete
		default:
			class = ClassWrite
		}
	}
	return Bucket{
		Principal: c.principal, Subscription: c.subscription, Location: c.location,
		Provider: providerOf(raw.URL.Path), Class: class,
	}
}

func providerOf(path string) string {
	const marker = "/providers/"
	i := strings.LastIndex(strings.ToLower(path), marker)
	if i < 0 {
		return "Microsoft.Resources"
	}
	name, _, _ := strings.Cut(path[i+len(marker):], "/")
	return name
}

// enter waits for a place in the bucket, or says why there is none.
func (b *budgeter) enter(ctx context.Context, bucket Bucket) error {
	p := priorityOf(ctx)
	b.mu.Lock()
	g := b.gate(bucket)
	if err := b.refuse(g, bucket, p); err != nil {
		b.mu.Unlock()
		return err
	}
	if len(g.lines[PriorityUser]) == 0 && (p == PriorityUser || len(g.lines[PriorityDrift]) == 0) && g.inFlight < b.boundOf(p) {
		g.inFlight++
		g.calls++
		b.mu.Unlock()
		return nil
	}
	place := make(chan struct{})
	g.lines[p] = append(g.lines[p], place)
	b.mu.Unlock()

	select {
	case <-place:
	case <-ctx.Done():
		b.abandon(g, p, place)
		return fmt.Errorf("wait for a place in the budget of %s: %w", bucket.Provider, ctx.Err())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse(g, bucket, p); err != nil { // it closed meanwhile
		g.inFlight--
		b.admit(g)
		return err
	}
	g.calls++
	return nil
}

// leave gives the place back and learns from the answer.
func (b *budgeter) leave(bucket Bucket, resp *http.Response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.gate(bucket)
	g.inFlight--
	if resp != nil {
		b.learn(g, resp)
	}
	b.admit(g)
}

func (b *budgeter) abandon(g *gate, p Priority, place chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(g.lines[p], place); i >= 0 {
		g.lines[p] = slices.Delete(g.lines[p], i, i+1)
		return
	}
	g.inFlight-- // the place was granted in the same moment
	b.admit(g)
}

// admit lets in who is next; the caller holds the lock. Whoever then finds the
// bucket closed lets in the next one, so that all in line are told.
func (b *budgeter) admit(g *gate) {
	for p := range g.lines {
		for len(g.lines[p]) > 0 && g.inFlight < b.boundOf(Priority(p)) {
			place := g.lines[p][0]
			g.lines[p] = g.lines[p][1:]
			g.inFlight++
			close(place)
		}
		if len(g.lines[p]) > 0 {
			return
		}
	}
}

// boundOf leaves half the places to users.
func (b *budgeter) boundOf(p Priority) int {
	if p == PriorityUser {
		return b.bound
	}
	return max(1, b.bound/2) // half
}

// refuse returns the error for a bucket that is closed to p; the caller holds the lock.
func (b *budgeter) refuse(g *gate, bucket Bucket, p Priority) error {
	now := b.now()
	opens := g.opensAt
	cause := "Azure asked to be left alone"
	if p == PriorityDrift && g.keptUntil.After(opens) {
		opens, cause = g.keptUntil, "few requests are left, and they are kept for users' work"
	}
	if !now.Before(opens) || mutated("ignoreRetryAfter") {
		return nil
	}
	g.refused++
	wait := opens.Sub(now)
	return &lazuli.Error{
		Code:    lazuli.CodeAzureThrottled,
		Message: fmt.Sprintf("%s: the %s budget of %s is closed for %s", cause, bucket.Class, bucket.Provider, wait.Round(time.Millisecond)),
		Remedy:  remedyWait,
		Err:     &resource.Failure{Retryable: true, RetryAfter: wait, Scope: resource.ScopeSubscription, Text: "not sent"},
	}
}

// learn closes the gate when Azure says so, and notes what is left; the caller
// holds the lock.
func (b *budgeter) learn(g *gate, resp *http.Response) {
	now := b.now()
	wait := retryAfter(resp.Header, b.now)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests && !onlyBusy(resp):
		if wait == 0 {
			wait = defaultThrottle
		}
		g.throttled++
		g.close(now.Add(wait))
	case resp.StatusCode == http.StatusServiceUnavailable && wait > 0:
		g.throttled++
		g.close(now.Add(wait))
	}
	for name, left := range remaining(resp.Header) {
		c, known := g.counters[name]
		if !known && len(g.counters) >= maxCounters {
			continue
		}
		c = counter{left: left, most: max(c.most, left)}
		g.counters[name] = c
		switch {
		case left <= 0:
			g.close(now.Add(emptyPause))
		case left <= c.most/reservePart:
			g.keptUntil = now.Add(reservePause)
		}
	}
}

func (g *gate) close(until time.Time) {
	if until.After(g.opensAt) {
		g.opensAt = until
	}
}

// onlyBusy reports a 429 that is about one resource, not about the rate.
func onlyBusy(resp *http.Response) bool {
	body, err := runtime.Payload(resp)
	if err != nil {
		return false
	}
	return find(parseError(body), resp.StatusCode).Code != lazuli.CodeAzureThrottled
}

// remaining reads how many requests are left, by the name of the limit. The
// resource header holds pairs (Microsoft.Compute/PutVM3Min;239), the others one number.
func remaining(h http.Header) map[string]int {
	out := map[string]int{}
	for name, values := range h {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, remainingPrefix) {
			continue
		}
		for _, v := range values {
			for pair := range strings.SplitSeq(v, ",") {
				limit, count := strings.TrimPrefix(lower, remainingPrefix), strings.TrimSpace(pair)
				if lower == remainingResource {
					var ok bool
					if limit, count, ok = strings.Cut(count, ";"); !ok {
						continue
					}
				}
				if n, err := strconv.Atoi(count); err == nil {
					out[limit] = n
				}
			}
		}
	}
	return out
}

// gate returns the gate of a bucket; the caller holds the lock.
func (b *budgeter) gate(bucket Bucket) *gate {
	now := b.now()
	g, ok := b.gates[bucket]
	if !ok {
		if len(b.gates) >= maxBuckets {
			b.prune(now)
		}
		g = &gate{counters: map[string]counter{}}
		b.gates[bucket] = g
	}
	g.used = now
	return g
}

func (b *budgeter) prune(now time.Time) {
	for k, g := range b.gates {
		if g.inFlight == 0 && now.Sub(g.used) > bucketIdle && now.After(g.opensAt) {
			delete(b.gates, k)
		}
	}
}

func (b *budgeter) stats() []BucketStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	out := make([]BucketStats, 0, len(b.gates))
	for k, g := range b.gates {
		s := BucketStats{
			Bucket: k, Calls: g.calls, Throttled: g.throttled, Refused: g.refused, InFlight: g.inFlight,
			Remaining: make(map[string]int, len(g.counters)),
		}
		if now.Before(g.opensAt) {
			s.OpensAt = g.opensAt
		}
		for name, c := range g.counters {
			s.Remaining[name] = c.left
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(x, y BucketStats) int {
		return cmp.Or(
			cmp.Compare(x.Principal, y.Principal), cmp.Compare(x.Subscription, y.Subscription),
			cmp.Compare(x.Location, y.Location), cmp.Compare(x.Provider, y.Provider), cmp.Compare(x.Class, y.Class),
		)
	})
	return out
}
