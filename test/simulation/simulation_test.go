// SPDX-License-Identifier: Apache-2.0

package simulation_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/test/simulation"
)

var (
	seed     = flag.Uint64("seed", 0, "play this seed alone and print its trace")
	first    = flag.Uint64("first", 1, "the first seed of TestSeeds and TestCampaign")
	seeds    = flag.Int("seeds", 12, "how many seeds TestSeeds plays, each twice")
	campaign = flag.Duration("campaign", 0, "how long TestCampaign plays seeds")
	replay   = flag.Int("replay", 2, "TestCampaign plays each so manieth seed twice")
	everyNth = flag.Int("every", 100, "TestKillPoints kills at every so manieth point; 1 is each")
)

// running is when a calm cluster has come to run.
const running = 15 * time.Minute

// play plays one seed in a bubble of its own.
func play(t *testing.T, opts simulation.Options) (rep *simulation.Report, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { rep, err = simulation.Run(t.Context(), opts) })
	if err == nil && rep == nil {
		err = errors.New("no report")
	}
	return rep, err
}

func builtin(t *testing.T) *pack.Registry {
	t.Helper()
	packs, err := pack.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return packs
}

// differ tells where two traces part.
func differ(a, b *simulation.Trace) string {
	for i, line := range a.Lines {
		if i >= len(b.Lines) {
			return line + " | (end)"
		}
		if b.Lines[i] != line {
			return line + " | " + b.Lines[i]
		}
	}
	return "the second goes on"
}

// options are how a seed is played: in one of three the user changes the pools.
func options(packs *pack.Registry, s uint64) simulation.Options {
	const one = 3
	return simulation.Options{Seed: s, Packs: packs, Pools: s%one == 0}
}

// judge plays a seed, twice when told so, and returns what is wrong with it.
func judge(t *testing.T, packs *pack.Registry, s uint64, twice bool) (*simulation.Report, []string) {
	t.Helper()
	rep, err := play(t, options(packs, s))
	if err != nil {
		return nil, []string{err.Error()}
	}
	wrong := rep.Faults
	if rep.Total() == 0 {
		wrong = append(wrong, "it met no fault, and proves nothing")
	}
	if !twice || len(wrong) > 0 {
		return rep, wrong
	}
	again, err := play(t, options(packs, s))
	switch {
	case err != nil:
		wrong = append(wrong, err.Error())
	case again.Hash != rep.Hash:
		wrong = append(wrong, "it does not replay: "+differ(rep.Trace, again.Trace))
	}
	return rep, wrong
}

// One seed with its trace: make seed SEED=n.
func TestSeed(t *testing.T) {
	t.Parallel()
	if *seed == 0 {
		t.Skip("no -seed")
	}
	rep, wrong := judge(t, builtin(t), *seed, true)
	if rep != nil {
		t.Logf("%s\n%s", rep.Plan, rep.Trace)
		t.Logf("seed %d: hash %s, %s in virtual time, %d points, killed %d times; met %v",
			rep.Seed, rep.Hash, rep.Virtual, rep.Points, rep.Killed, rep.Met)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}

// Each seed converges, breaks no rule, meets a fault, and replays to the same
// trace.
func TestSeeds(t *testing.T) {
	t.Parallel()
	packs := builtin(t)
	for n := range *seeds {
		s := *first + uint64(n)
		if rep, wrong := judge(t, packs, s, true); len(wrong) > 0 {
			t.Errorf("seed %d (make seed SEED=%d): %v\n%s", s, s, plan(rep), strings.Join(wrong, "\n"))
		}
	}
}

func plan(rep *simulation.Report) string {
	if rep == nil {
		return ""
	}
	return rep.Plan
}

// scenario is a calm run whose points are enumerated.
type scenario struct {
	name                   string
	controlPlanes, workers int
	deleteAfter            time.Duration
	onlyCreate             bool
	scale                  []simulation.Change
}

// A process may die at any point between effects: each is found by the trace
// of a run without kills, and tried.
func TestKillPoints(t *testing.T) {
	t.Parallel()
	packs := builtin(t)
	k := &kills{}
	for _, sc := range []scenario{
		{name: "create 1+1", controlPlanes: 1, workers: 1, onlyCreate: true},
		{name: "create 3+2", controlPlanes: 3, workers: 2, onlyCreate: true},
		{name: "grow 1+1 by 1 and 1", controlPlanes: 1, workers: 1, onlyCreate: true, scale: []simulation.Change{{After: running, Workers: 2, Extra: 1}}},
		{name: "shrink 1+2, remove 1", controlPlanes: 1, workers: 1, onlyCreate: true, scale: []simulation.Change{
			{After: time.Second, Workers: 2, Extra: 1}, {After: running, Workers: 1},
		}},
		{name: "delete 1+1", controlPlanes: 1, workers: 1},
		{name: "delete during create 1+1", controlPlanes: 1, workers: 1, deleteAfter: 40 * time.Second},
	} {
		k.find(t, packs, sc)
	}
	t.Run("kill", func(t *testing.T) {
		t.Parallel()
		for w := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprintf("worker %d", w), func(t *testing.T) {
				t.Parallel()
				for p, ok := k.take(); ok; p, ok = k.take() {
					k.try(t, p)
				}
			})
		}
	})
	t.Cleanup(func() { t.Log(k) })
}

// point is where a scenario's process dies.
type point struct {
	scenario string
	opts     simulation.Options
}

// kills are the points of all scenarios.
type kills struct {
	mu        sync.Mutex
	todo      []point
	names     []string
	found     map[string]int
	covered   map[string]int
	converged map[string]int
}

// find plays a scenario without kills and notes its points.
func (k *kills) find(t *testing.T, packs *pack.Registry, sc scenario) {
	t.Helper()
	opts := simulation.Options{
		Seed: 1, Packs: packs, Calm: true, ControlPlanes: sc.controlPlanes, Workers: sc.workers, DeleteAfter: sc.deleteAfter, OnlyCreate: sc.onlyCreate, Scale: sc.scale,
	}
	rep, err := play(t, opts)
	if err != nil || len(rep.Faults) > 0 {
		t.Fatalf("%s without kills: %v %v", sc.name, err, rep)
	}
	if k.found == nil {
		k.found, k.covered, k.converged = map[string]int{}, map[string]int{}, map[string]int{}
	}
	from := 1
	if !sc.onlyCreate || len(sc.scale) > 0 {
		from = rep.DeleteFrom + 1
	}
	k.names = append(k.names, sc.name)
	k.found[sc.name] = rep.Points - from + 1
	for at := from; at <= rep.Points; at += *everyNth {
		opts.KillAt = at
		k.todo = append(k.todo, point{sc.name, opts})
	}
}

func (k *kills) take() (p point, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.todo) == 0 {
		return point{}, false
	}
	p, k.todo = k.todo[0], k.todo[1:]
	return p, true
}

// try kills at one point. A point that is not reached is not covered.
func (k *kills) try(t *testing.T, p point) {
	t.Helper()
	rep, err := play(t, p.opts)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil:
		t.Errorf("%s, killed at point %d: %v", p.scenario, p.opts.KillAt, err)
	case rep.Killed != 1:
		t.Errorf("%s: point %d was not reached", p.scenario, p.opts.KillAt)
	case len(rep.Faults) > 0:
		k.covered[p.scenario]++
		t.Errorf("%s, killed at point %d: %s", p.scenario, p.opts.KillAt, strings.Join(rep.Faults, "\n"))
	default:
		k.covered[p.scenario]++
		k.converged[p.scenario]++
	}
}

func (k *kills) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b strings.Builder
	found, covered := 0, 0
	for _, name := range k.names {
		fmt.Fprintf(&b, "\n  %-26s found %4d, covered %4d, converged %4d", name, k.found[name], k.covered[name], k.converged[name])
		found, covered = found+k.found[name], covered+k.covered[name]
	}
	all := ""
	if found == covered {
		all = " (all)"
	}
	return fmt.Sprintf("kill points found %d, covered %d%s%s", found, covered, all, b.String())
}

// TestCampaign plays seeds for as long as it is told, on two processors.
func TestCampaign(t *testing.T) {
	t.Parallel()
	if *campaign == 0 {
		t.Skip("no -campaign")
	}
	packs := builtin(t)
	c := &tally{next: *first, met: map[simulation.Fault]int{}, began: time.Now()}
	const workers = 2
	for w := range workers {
		t.Run(fmt.Sprintf("worker %d", w), func(t *testing.T) {
			t.Parallel()
			for time.Since(c.began) < *campaign {
				s := c.take()
				rep, wrong := judge(t, packs, s, s%uint64(max(1, *replay)) == 0)
				c.add(rep)
				if len(wrong) > 0 {
					t.Errorf("seed %d (make seed SEED=%d): %v\n%s", s, s, plan(rep), strings.Join(wrong, "\n"))
				}
			}
		})
	}
	t.Cleanup(func() { t.Log(c) })
}

// tally sums a campaign up.
type tally struct {
	mu      sync.Mutex
	next    uint64
	played  int
	killed  int
	virtual time.Duration
	met     map[simulation.Fault]int
	began   time.Time
}

func (c *tally) take() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	return c.next - 1
}

func (c *tally) add(rep *simulation.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.played++
	if rep == nil {
		return
	}
	c.killed += rep.Killed
	c.virtual += rep.Virtual
	for f, n := range rep.Met {
		c.met[f] += n
	}
}

func (c *tally) String() string {
	var b strings.Builder
	took := time.Since(c.began)
	fmt.Fprintf(&b, "%d seeds, %d of them twice, in %s (%.1f seeds/s, %s of virtual time), processes killed: %d\nfaults met:\n",
		c.played, c.played/max(1, *replay), took.Round(time.Second), float64(c.played)/took.Seconds(), c.virtual.Round(time.Hour), c.killed)
	for _, f := range slices.Sorted(maps.Keys(c.met)) {
		fmt.Fprintf(&b, "  %-12s %d\n", f, c.met[f])
	}
	return b.String()
}
