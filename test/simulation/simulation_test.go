// SPDX-License-Identifier: Apache-2.0

package simulation_test

import (
	"flag"
	"testing"
	"testing/synctest"

	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/test/simulation"
)

var (
	seed  = flag.Uint64("seed", 0, "play this seed alone and print its trace")
	seeds = flag.Int("seeds", 24, "how many seeds TestSeeds plays")
	twice = flag.Bool("twice", true, "play each seed twice and compare the traces")
	first = flag.Uint64("first", 1, "the first of them")
)

// play plays one seed in a bubble of its own.
func play(t *testing.T, opts simulation.Options) *simulation.Report {
	t.Helper()
	var rep *simulation.Report
	synctest.Test(t, func(t *testing.T) {
		var err error
		if rep, err = simulation.Run(t.Context(), opts); err != nil {
			t.Errorf("seed %d: %v", opts.Seed, err)
		}
	})
	return rep
}

func builtin(t *testing.T) *pack.Registry {
	t.Helper()
	packs, err := pack.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return packs
}

func TestSeed(t *testing.T) {
	if *seed == 0 {
		t.Skip("no -seed")
	}
	rep := play(t, simulation.Options{Seed: *seed, Packs: builtin(t)})
	if rep == nil {
		return
	}
	t.Logf("%s\n%s", rep.Plan, rep.Trace)
	t.Logf("seed %d: hash %s, %s virtual, met %v, killed %d", rep.Seed, rep.Hash, rep.Virtual, rep.Met, rep.Killed)
	for _, f := range rep.Faults {
		t.Errorf("%s", f)
	}
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

// Each seed converges, breaks no rule, and replays to the same trace.
func TestSeeds(t *testing.T) {
	packs := builtin(t)
	met := map[simulation.Fault]int{}
	for s := *first; s < *first+uint64(*seeds); s++ {
		rep := play(t, simulation.Options{Seed: s, Packs: packs})
		if rep == nil {
			continue
		}
		for k, n := range rep.Met {
			met[k] += n
		}
		for _, f := range rep.Faults {
			t.Errorf("seed %d (%s): %s", s, rep.Plan, f)
		}
		if *twice {
			if again := play(t, simulation.Options{Seed: s, Packs: packs}); again != nil && again.Hash != rep.Hash {
				t.Errorf("seed %d does not replay: %s", s, differ(rep.Trace, again.Trace))
			}
		}
	}
	t.Logf("%d seeds, faults met: %v", *seeds, met)
}
