// SPDX-License-Identifier: Apache-2.0

package simulation_test

import (
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/test/simulation"
)

// Pools that grow, shrink, come and go, under weather and kills and with a
// deletion at any moment: each seed converges, breaks no rule and replays.
func TestPools(t *testing.T) {
	t.Parallel()
	packs := builtin(t)
	for n := range *seeds {
		s := *first + uint64(n)
		rep, err := play(t, simulation.Options{Seed: s, Packs: packs, Pools: true})
		if err != nil {
			t.Fatalf("seed %d: %v", s, err)
		}
		if len(rep.Faults) > 0 {
			t.Errorf("seed %d with pools: %s\n%s", s, rep.Plan, strings.Join(rep.Faults, "\n"))
			if *seed == s {
				t.Logf("%s", rep.Trace)
			}
			continue
		}
		again, err := play(t, simulation.Options{Seed: s, Packs: packs, Pools: true})
		if err != nil || again.Hash != rep.Hash {
			t.Errorf("seed %d with pools does not replay: %v, %s", s, err, differ(rep.Trace, again.Trace))
		}
	}
}
