// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kinds of faults.
const (
	// FaultStatus answers Status, Code and Message without doing anything.
	FaultStatus = "status"
	// FaultThrottle answers 429 with RetryAfter. Code "OperationNotAllowed" has Compute's body.
	FaultThrottle = "throttle"
	// FaultReset closes the connection after the request took effect.
	FaultReset = "reset"
	// FaultRefuse closes the connection before the request has any effect.
	FaultRefuse = "refuse"
	// FaultLost lets the request take effect and never answers.
	FaultLost = "lost"
	// FaultStuck lets the operation that the request starts never end.
	FaultStuck = "stuck"
	// FaultFail lets the operation that the request starts end as Failed with Code and Message.
	FaultFail = "fail"
	// FaultSlow only adds Delay.
	FaultSlow = "slow"
)

// Duration is a time.Duration that reads and writes as "1.5s".
type Duration time.Duration

// MarshalText is encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText is encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("read duration: %w", err)
	}
	*d = Duration(v)
	return nil
}

// Fault is a rule. A request that matches Method, Path and Principal is counted; it is hit when its number is Nth, or
// by Probability, or always when both are zero, at most Count times (0: without end).
type Fault struct {
	Name string `json:"name,omitempty"`
	// Method is an HTTP method; empty: any.
	Method string `json:"method,omitempty"`
	// Path is a glob over the lower-cased path: * stays within one segment, ** crosses them; empty: any.
	Path string `json:"path,omitempty"`
	// Principal is a client id, an object id or a name; empty: any.
	Principal   string   `json:"principal,omitempty"`
	Probability float64  `json:"probability,omitempty"`
	Nth         int      `json:"nth,omitempty"`
	Count       int      `json:"count,omitempty"`
	Kind        string   `json:"kind"`
	Delay       Duration `json:"delay,omitempty"`
	Status      int      `json:"status,omitempty"`
	Code        string   `json:"code,omitempty"`
	Message     string   `json:"message,omitempty"`
	RetryAfter  Duration `json:"retryAfter,omitempty"`
}

type faultState struct {
	rule Fault
	seen int
	hits int
	rand *rand.Rand
}

// ParseFaults reads a JSON list of rules. Unknown keys are errors.
func ParseFaults(raw []byte) ([]Fault, error) {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	var list []Fault
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("read fault rules: %w", err)
	}
	return list, nil
}

// SetFaults replaces all rules and their counters.
func (s *Simulator) SetFaults(list []Fault) error {
	states := make([]*faultState, 0, len(list))
	for i, f := range list {
		known := []string{FaultStatus, FaultThrottle, FaultReset, FaultRefuse, FaultLost, FaultStuck, FaultFail, FaultSlow}
		if !slices.Contains(known, f.Kind) {
			return fmt.Errorf("set fault %d: kind %q is unknown, use one of %s", i, f.Kind, strings.Join(known, ", "))
		}
		if f.Kind == FaultStatus && f.Status == 0 {
			return fmt.Errorf("set fault %d: kind status needs a status", i)
		}
		states = append(states, &faultState{rule: f, rand: stream(s.cfg.Seed, "fault#"+strconv.Itoa(i)+f.Name)})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = states
	return nil
}

// Faults are the rules in force.
func (s *Simulator) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Fault, 0, len(s.faults))
	for _, f := range s.faults {
		out = append(out, f.rule)
	}
	return out
}

// glob matches segment by segment; ** stands for any number of segments.
func glob(pattern, p string) bool {
	return globSegments(strings.Split(strings.ToLower(pattern), "/"), strings.Split(strings.ToLower(p), "/"))
}

func globSegments(pattern, segs []string) bool {
	for i, want := range pattern {
		if want == "**" {
			for j := i; j <= len(segs); j++ {
				if globSegments(pattern[i+1:], segs[j:]) {
					return true
				}
			}
			return false
		}
		if i >= len(segs) {
			return false
		}
		if hit, err := path.Match(want, segs[i]); err != nil || !hit {
			return false
		}
	}
	return len(pattern) == len(segs)
}

// matchFault picks the first rule that hits a call.
func (s *Simulator) matchFault(c *call) *faultState {
	for _, f := range s.faults {
		r := f.rule
		if r.Method != "" && !strings.EqualFold(r.Method, c.method) || r.Path != "" && !glob(r.Path, c.target.path) {
			continue
		}
		if r.Principal != "" {
			p := c.principal
			if p == nil || !strings.EqualFold(r.Principal, p.ClientID) && !strings.EqualFold(r.Principal, p.ObjectID) && r.Principal != p.Name {
				continue
			}
		}
		f.seen++
		if r.Count > 0 && f.hits >= r.Count || r.Nth > 0 && f.seen != r.Nth {
			continue
		}
		if r.Probability > 0 && f.rand.Float64() >= r.Probability {
			continue
		}
		f.hits++
		return f
	}
	return nil
}

// beforeFault answers in place of the simulator.
func (c *call) beforeFault() *reply {
	if c.fault == nil {
		return nil
	}
	r := c.fault.rule
	e := &apiError{status: r.Status, code: r.Code, message: r.Message, retry: time.Duration(r.RetryAfter)}
	if e.message == "" {
		e.message = "Injected by a fault rule."
	}
	switch r.Kind {
	case FaultStatus:
		if e.code == "" {
			e.code = strings.ReplaceAll(http.StatusText(r.Status), " ", "")
		}
	case FaultThrottle:
		e.status = http.StatusTooManyRequests
		if e.code == "" {
			e.code = "SubscriptionRequestsThrottled"
		}
		e.bare = e.code == "OperationNotAllowed"
		c.throttled = true
	case FaultRefuse:
		return status(0)
	default:
		return nil
	}
	rep := &reply{status: e.status, body: e.body(), header: http.Header{}}
	if e.retry > 0 {
		c.sim.retryAfter(rep.header, e.retry)
	}
	return rep
}

// afterFault is what happens to the answer on its way; nil: it is lost.
func (s *Simulator) afterFault(ctx context.Context, c *call, rep *reply) *reply {
	if c.fault == nil {
		return rep
	}
	switch c.fault.rule.Kind {
	case FaultReset, FaultRefuse:
		return nil
	case FaultLost:
		const patience = 10 * time.Minute // Clients give up before that; a leaked handler must end all the same.
		_ = s.sleep(ctx, patience)
		return nil
	}
	return rep
}
