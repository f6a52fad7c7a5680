// SPDX-License-Identifier: Apache-2.0

//go:build mutant

package simulation_test

import (
	"testing"
)

// within is how many seeds the harness may take to notice a defect.
const within = 120

// TestMutants breaks the product deliberately, one defect at a time, and wants
// each noticed. The defects stand behind mutated in internal/cluster and
// internal/azure.
func TestMutants(t *testing.T) {
	packs := builtin(t)
	for _, m := range []struct{ name, defect string }{
		{"dropFence", "records are written without the lease's fence"},
		{"zombieWrites", "what was queued when the process stopped leaves after its lease"},
		{"skipIntent", "a write is not recorded before it is made"},
		{"putBlind", "a write whose answer was lost is repeated without a look"},
		{"lostIsDone", "a write whose answer was lost counts as made"},
		{"doneEarly", "an operation under way counts as ended"},
		{"forgetPoll", "an operation is never asked for"},
		{"neverRetry", "what failed for a moment is given up"},
		{"ignoreRetryAfter", "a closed bucket is called"},
		{"refusedIsAbsent", "a refusal counts as absence"},
		{"deleteUnasked", "a machine that has not joined is deleted"},
		{"reuseName", "a successor takes its predecessor's names"},
		{"labelUnsaved", "a DNS label is used before it is on record"},
		{"keysUnsaved", "keys are used before they are on disk"},
		{"loseDelete", "a commit overwrites the user's intent to delete"},
		{"trustList", "one list without a resource proves that it is gone"},
		{"deleteBlind", "what others hold is deleted first"},
		{"forgetWorking", "what is under way when the deletion comes is forgotten"},
		{"adoptNothing", "what carries the tag without a record stays"},
		{"keysKept", "the keys of a deleted cluster stay in the store"},
		{"servicesSkipped", "machines go before the Services that hold load balancers"},
		{"emptyOnce", "one list without anything proves that all is gone"},
		{"noDrain", "a machine that leaves is not drained"},
		{"allInOneZone", "all machines are in the first zone"},
		{"ignoreUserZones", "machines are in zones that the user does not allow"},
		{"deleteAskedOnce", "a deletion that came to nothing is not asked for again"},
		{"markLost", "a mark that did not arrive counts as made"},
		{"nodeKept", "the Node of a machine that left stays"},
		{"setUnordered", "a machine is made before its availability set"},
		{"noZoneMemory", "a zone without room is tried again at once"},
		{"tokenKept", "the token of a machine that joined stays in the cluster"},
		{"staleWishPicks", "machines leave by a wish that the user has changed"},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Setenv("LAZULI_MUTANT", m.name)
			for s := uint64(1); s <= within; s++ {
				_, wrong := judge(t, packs, s, false)
				if len(wrong) == 0 {
					continue
				}
				// It proves something only where all is well without the defect.
				t.Setenv("LAZULI_MUTANT", "")
				_, without := judge(t, packs, s, false)
				t.Setenv("LAZULI_MUTANT", m.name)
				if len(without) == 0 {
					t.Logf("%-18s caught after %2d seeds: %s\n    %.160s", m.name, s, m.defect, wrong[0])
					return
				}
			}
			t.Errorf("%-18s not caught within %d seeds: %s", m.name, within, m.defect)
		})
	}
}
