// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// Fault is a kind of weather.
type Fault string

// The faults that a call can meet.
const (
	FaultRefused   Fault = "refused"    // no connection: nothing happened
	FaultLost      Fault = "lost"       // the request took effect, the answer was lost
	FaultTimeout   Fault = "timeout"    // the same, and the client waits for its own time-out
	FaultThrottle  Fault = "throttled"  // 429 with Retry-After, ARM's body
	FaultThrottle2 Fault = "throttled2" // 429 with Retry-After, Compute's body, or none at all
	FaultBroken    Fault = "5xx"        // 500, 502, 503 (with Retry-After), 504; nothing happened
	FaultHalf      Fault = "5xx-after"  // 500 though the request took effect
	FaultSlow      Fault = "slow"       // the answer takes up to 50 s
	FaultStuck     Fault = "stuck"      // an operation stays InProgress for minutes after its end
	FaultExpired   Fault = "expired"    // 401, the token has expired
	FaultUndone    Fault = "undone"     // a deletion that was accepted and comes to nothing
	FaultStaleGet  Fault = "stale-get"  // 404 after 201
	FaultStaleList Fault = "stale-list" // a list as it was up to 60 s ago
	FaultLabel     Fault = "label"      // the DNS label is taken
	FaultQuota     Fault = "quota"      // cores run out until the weather clears
	FaultAPIServer Fault = "api-server" // the deployed cluster's API does not answer, or not in time
	FaultCapacity  Fault = "capacity"   // zones without room for a size, until the weather clears
	FaultBoot      Fault = "boot"       // a machine whose guest never reports
	FaultJoin      Fault = "join"       // a machine whose guest reports: a worker never joins, a control plane when the weather has cleared
	FaultKill      Fault = "kill"       // the process dies
	FaultZombie    Fault = "zombie"     // a process that lost its lease writes late
	FaultClock     Fault = "clock"      // the hub's wall clock steps, and is set right when the weather clears
	FaultTouch     Fault = "touch"      // the user deletes in the middle of a create
)

// Weather is what a seed has in store: how likely each fault is per call, and
// until when.
type Weather struct {
	Chance map[Fault]float64
	Clears time.Duration // since the start: afterwards no call fails
	Kills  int           // at most
	Quota  bool
	NoRoom []string // zones
	Steps  []Step   // of the hub's clock
	Met    map[Fault]int

	calls   int                 // to Azure so far
	bursts  map[Fault]time.Time // a burst of a fault lasts until then
	random  *rand.Rand
	started time.Time
}

// Step is a step of the hub's wall clock. Those of a seed are in the order of
// At, and the last one comes when the weather clears and sets the clock right.
type Step struct {
	At   time.Duration // since the start
	Skew time.Duration // against the true time, from then on
}

// perCall are the faults that are drawn for each call, in the order of the
// draw.
func perCall() []Fault {
	return []Fault{
		FaultRefused, FaultLost, FaultTimeout, FaultThrottle, FaultThrottle2, FaultBroken, FaultHalf, FaultSlow,
		FaultStuck, FaultExpired, FaultStaleGet, FaultStaleList, FaultLabel, FaultAPIServer, FaultBoot, FaultJoin, FaultKill,
	}
}

const (
	calmPart    = 0.45 // of the faults that a seed leaves out
	worstChance = 0.2
	worstRare   = 0.8 // of faults that few calls can meet
	worstKill   = 0.02
	burstPart   = 0.25 // of hits that start a burst of the same
	burstWorst  = 90 * time.Second
	mostKills   = 4
)

func newWeather(r *rand.Rand, started time.Time) *Weather {
	w := &Weather{
		Chance: map[Fault]float64{}, Met: map[Fault]int{}, bursts: map[Fault]time.Time{},
		random: r, started: started,
	}
	w.Clears = time.Duration(2+r.IntN(40)) * time.Minute
	for _, f := range perCall() {
		p := r.Float64()
		if r.Float64() >= calmPart {
			w.Chance[f] = p * p * worst(f)
		}
	}
	if w.Chance[FaultKill] > 0 {
		w.Kills = 1 + r.IntN(mostKills)
	}
	w.Quota = r.IntN(8) == 0
	if r.IntN(5) == 0 {
		for _, z := range []string{"1", "2", "3"} {
			if r.IntN(2) == 0 {
				w.NoRoom = append(w.NoRoom, z)
			}
		}
	}
	w.drawSteps()
	return w
}

func (w *Weather) drawSteps() {
	const one, most = 4, 3 // in so many seeds, and of those at most so many steps
	r := w.random
	if r.IntN(one) > 0 {
		return
	}
	for range 1 + r.IntN(most) {
		far := []time.Duration{2 * time.Second, 3 * time.Minute, time.Hour}[r.IntN(3)]
		at := time.Duration(r.Int64N(int64(w.Clears)))
		w.Steps = append(w.Steps, Step{At: at, Skew: time.Duration(r.Int64N(int64(2*far))) - far})
	}
	slices.SortFunc(w.Steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	w.Steps = append(w.Steps, Step{At: w.Clears})
}

// worst is the chance of a fault in the worst seed.
func worst(f Fault) float64 {
	switch f {
	case FaultStaleGet, FaultStaleList, FaultLabel, FaultBoot:
		return worstRare
	case FaultKill:
		return worstKill
	default:
		return worstChance
	}
}

// calm is weather without faults.
func calm(started time.Time) *Weather {
	return &Weather{Chance: map[Fault]float64{}, Met: map[Fault]int{}, bursts: map[Fault]time.Time{}, started: started}
}

// hits draws whether a call meets a fault.
func (w *Weather) hits(f Fault) bool {
	if w.random == nil || time.Since(w.started) > w.Clears {
		return false
	}
	if f == FaultRefused {
		// A life may be too short to meet anything by chance, and prove nothing.
		if w.calls++; w.calls > 1 && len(w.Met) == 0 {
			return true
		}
	}
	p := w.Chance[f]
	if p == 0 {
		return false
	}
	if w.bursts[f].After(time.Now()) {
		const inBurst = 0.8
		return w.random.Float64() < inBurst
	}
	if w.random.Float64() >= p {
		return false
	}
	if w.random.Float64() < burstPart {
		w.bursts[f] = time.Now().Add(time.Duration(w.random.Int64N(int64(burstWorst))))
	}
	return true
}

func (w *Weather) met(f Fault) { w.Met[f]++ }
