// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// limit is a token bucket's size and refill, and how its policy is called.
type limit struct {
	key    string
	policy string
	header string // "" for Compute's, which share one header
	size   float64
	rate   float64 // tokens a second
}

type bucket struct {
	tokens float64
	at     time.Time
	until  time.Time // a client was told to stay away until then
}

type throttle struct{ buckets map[string]*bucket }

func newThrottle() *throttle { return &throttle{buckets: map[string]*bucket{}} }

// maxBuckets is where buckets that have been full for long are forgotten.
const maxBuckets = 100_000

// take takes one token. When there is none, wait is how long until there is.
func (t *throttle) take(l limit, now time.Time) (left int, wait time.Duration, early bool) {
	b := t.buckets[l.key]
	if b == nil {
		if len(t.buckets) >= maxBuckets {
			t.sweep(now)
		}
		b = &bucket{tokens: l.size, at: now}
		t.buckets[l.key] = b
	}
	b.tokens = min(l.size, b.tokens+max(0, now.Sub(b.at).Seconds())*l.rate)
	b.at = now
	early = now.Before(b.until)
	if b.tokens < 1 {
		wait = time.Duration(math.Ceil((1-b.tokens)/l.rate)) * time.Second
		b.until = now.Add(wait)
		return 0, wait, early
	}
	b.tokens--
	return int(b.tokens), 0, early
}

func (t *throttle) sweep(now time.Time) {
	for k, b := range t.buckets {
		if now.Sub(b.at) > time.Hour {
			delete(t.buckets, k)
		}
	}
}

// Limits of ARM since 2024 (learn.microsoft.com, request limits and throttling), of Compute (compute throttling limits)
// and of Network. All refill continuously.
const (
	armReads, armReadRate   = 250, 25
	armWrites, armWriteRate = 200, 10
	armGlobal               = 15 // times the limit of one principal
	minute                  = 1.0 / 60
	fiveMinutes             = 1.0 / 300
)

func (c *call) armLimits() []limit {
	class, size, rate := "writes", float64(armWrites), float64(armWriteRate)
	switch c.class {
	case classRead:
		class, size, rate = "reads", armReads, armReadRate
	case classDelete:
		class = "deletes"
	}
	level, scope := "subscription", c.target.subscription
	if scope == "" {
		level, scope = "tenant", c.principal.TenantID
	}
	out := []limit{{
		key: "arm|" + c.principal.ObjectID + "|" + scope + "|" + class, policy: class,
		header: "x-ms-ratelimit-remaining-" + level + "-" + class, size: size, rate: rate,
	}}
	if level == "subscription" {
		out = append(out, limit{
			key: "arm|*|" + scope + "|" + class, policy: class,
			header: "x-ms-ratelimit-remaining-subscription-global-" + class, size: size * armGlobal, rate: rate * armGlobal,
		})
	}
	return out
}

// providerLimits are those of the resource provider behind ARM, per subscription and region.
func (c *call) providerLimits() []limit {
	region := c.location()
	sub := strings.ToLower(c.target.subscription) + "|" + region
	switch strings.ToLower(c.target.namespace) {
	case "microsoft.network":
		if c.class == classRead {
			return []limit{{key: "net|" + sub + "|r", policy: "Microsoft.Network/reads", size: 10000, rate: 10000 * fiveMinutes, header: "-"}}
		}
		return []limit{{key: "net|" + sub + "|w", policy: "Microsoft.Network/writes", size: 1000, rate: 1000 * fiveMinutes, header: "-"}}
	case "microsoft.compute":
		return c.computeLimits(sub)
	}
	return nil
}

func (c *call) computeLimits(sub string) []limit {
	pair := func(name, id string, one, all float64) []limit {
		const burst = 3 // A bucket holds three minutes' worth.
		out := []limit{{
			key: "crp|" + sub + "|" + name, policy: "Microsoft.Compute/" + name + "SubscriptionMaximum", size: all * burst, rate: all * minute,
		}}
		if id != "" {
			out = append(out, limit{
				key: "crp|" + id + "|" + name, policy: "Microsoft.Compute/" + name + "Resource", size: one * burst, rate: one * minute,
			})
		}
		return out
	}
	if op := c.pollID(); op != "" {
		id := op
		if o := c.sim.ops[op]; o != nil {
			id = keyOf(o.resource)
		}
		return pair("GetOperation", id, 15, 5000)
	}
	if len(c.target.types) == 0 || !strings.EqualFold(c.target.types[0], "virtualMachines") {
		return nil
	}
	if len(c.target.names) == 0 {
		return pair("HighCostGet", "", 0, 300)
	}
	id := "/" + strings.ToLower(c.target.namespace+"/"+c.target.subscription+"/"+c.target.group+"/"+c.target.names[0])
	switch {
	case c.class == classRead:
		return pair("GetVM", id, 12, 8000)
	case c.class == classDelete, c.target.collection() && strings.EqualFold(c.target.types[1], "deallocate"):
		return pair("DeleteVM", id, 4, 500)
	case c.method == http.MethodPut && len(c.target.types) == 1:
		return pair("PutVM", id, 4, 500)
	default:
		return pair("UpdateVM", id, 4, 500)
	}
}

// location is the region that a call is about, or the front end's.
func (c *call) location() string {
	if l := str(c.body, "location"); l != "" {
		return normalLocation(l)
	}
	if r := c.sim.store.owner(c.target.path); r != nil && r.location != "" {
		return r.location
	}
	if len(c.target.types) > 0 && strings.EqualFold(c.target.types[0], "locations") && len(c.target.names) > 0 {
		return normalLocation(c.target.names[0])
	}
	return strings.ToLower(frontRegion)
}

func (c *call) checkLimits() *apiError {
	for _, l := range c.armLimits() {
		left, wait, early := c.sim.throttle.take(l, c.now)
		c.early = c.early || early
		c.out.Set(l.header, strconv.Itoa(left))
		if wait > 0 {
			c.throttled = true
			e := fail(http.StatusTooManyRequests, "SubscriptionRequestsThrottled",
				"Number of '%s' requests for subscription '%s' actor '%s' exceeded. Please try again after '%d' seconds after additional tokens are available.",
				l.policy, c.target.subscription, c.principal.ObjectID, int(wait.Seconds()))
			e.retry = wait
			return e
		}
	}
	var remaining []string
	for _, l := range c.providerLimits() {
		left, wait, early := c.sim.throttle.take(l, c.now)
		c.early = c.early || early
		if l.header == "" {
			remaining = append(remaining, l.policy+";"+strconv.Itoa(left))
		}
		if wait > 0 {
			c.throttled = true
			return c.tooMany(l, wait)
		}
	}
	if len(remaining) > 0 {
		c.out.Set("x-ms-ratelimit-remaining-resource", strings.Join(remaining, ","))
	}
	return nil
}

// tooMany is a resource provider's 429. Compute leaves the error wrapper out and details the policy.
func (c *call) tooMany(l limit, wait time.Duration) *apiError {
	if l.header != "" {
		e := fail(http.StatusTooManyRequests, "TooManyRequests",
			"The request is being throttled as the limit has been reached for operation type - %s. Try again after %d seconds.",
			l.policy, int(wait.Seconds()))
		e.retry = wait
		return e
	}
	const window = 3 * time.Minute
	e := fail(http.StatusTooManyRequests, "OperationNotAllowed",
		"The server rejected the request because too many requests have been received for this subscription.")
	e.bare, e.retry = true, wait
	_, group, _ := strings.Cut(l.policy, "/")
	e.details = []*apiError{{
		code: "TooManyRequests", target: group,
		message: fmt.Sprintf(`{"operationGroup":"%s","startTime":"%s","endTime":"%s","allowedRequestCount":%d,"measuredRequestCount":%d}`,
			group, c.now.Add(-window).Format(time.RFC3339), c.now.Format(time.RFC3339), int(l.size), int(l.size)+1),
	}}
	return e
}
