// SPDX-License-Identifier: Apache-2.0

package simulation_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
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
	everyNth = flag.Int("every", 100, "TestKillPoints kills at every so manieth point; 1 is each")
)

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

// judge plays a seed, twice when told so, and returns what is wrong with it.
func judge(t *testing.T, packs *pack.Registry, s uint64, twice bool) (*simulation.Report, []string) {
	t.Helper()
	rep, err := play(t, simulation.Options{Seed: s, Packs: packs})
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
	again, err := play(t, simulation.Options{Seed: s, Packs: packs})
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
}

// A process may die at any point between effects: each is found by the trace
// of a run without kills, and tried.
func TestKillPoints(t *testing.T) {
	t.Parallel()
	packs := builtin(t)
	for _, sc := range []scenario{
		{name: "create 1+1", controlPlanes: 1, workers: 1, onlyCreate: true},
		{name: "create 3+2", controlPlanes: 3, workers: 2, onlyCreate: true},
		{name: "delete 1+1", controlPlanes: 1, workers: 1},
		{name: "delete during create 1+1", controlPlanes: 1, workers: 1, deleteAfter: 40 * time.Second},
	} {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			killAtEach(t, packs, sc)
		})
	}
}

func killAtEach(t *testing.T, packs *pack.Registry, sc scenario) {
	t.Helper()
	opts := simulation.Options{
		Seed: 1, Packs: packs, Calm: true, ControlPlanes: sc.controlPlanes, Workers: sc.workers, DeleteAfter: sc.deleteAfter, OnlyCreate: sc.onlyCreate,
	}
	rep, err := play(t, opts)
	if err != nil || len(rep.Faults) > 0 {
		t.Fatalf("without kills: %v %v", err, rep)
	}
	from := 1
	if !sc.onlyCreate {
		from = rep.DeleteFrom + 1
	}
	found, covered, converged := rep.Points-from+1, 0, 0
	for at := from; at <= rep.Points; at += *everyNth {
		opts.KillAt = at
		got, err := play(t, opts)
		switch {
		case err != nil:
			t.Errorf("killed at point %d: %v", at, err)
		case got.Killed != 1:
			t.Errorf("point %d was not reached", at)
		case len(got.Faults) > 0:
			covered++
			t.Errorf("killed at point %d: %s", at, strings.Join(got.Faults, "\n"))
		default:
			covered++
			converged++
		}
	}
	t.Logf("%s: kill points: %d found, %d covered, %d converged", sc.name, found, covered, converged)
}

// TestCampaign plays seeds for as long as it is told, on two processors.
func TestCampaign(t *testing.T) {
	t.Parallel()
	if *campaign == 0 {
		t.Skip("no -campaign")
	}
	packs := builtin(t)
	c := &tally{next: *first, met: map[simulation.Fault]int{}, began: time.Now()}
	const workers, replayed = 2, 5 // each fifth is played twice
	for w := range workers {
		t.Run(fmt.Sprintf("worker %d", w), func(t *testing.T) {
			t.Parallel()
			for time.Since(c.began) < *campaign {
				s := c.take()
				rep, wrong := judge(t, packs, s, s%replayed == 0)
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
	fmt.Fprintf(&b, "%d seeds, each fifth twice, in %s (%.1f seeds/s, %s of virtual time), processes killed: %d\nfaults met:\n",
		c.played, took.Round(time.Second), float64(c.played)/took.Seconds(), c.virtual.Round(time.Hour), c.killed)
	for _, f := range slices.Sorted(maps.Keys(c.met)) {
		fmt.Fprintf(&b, "  %-12s %d\n", f, c.met[f])
	}
	return b.String()
}
