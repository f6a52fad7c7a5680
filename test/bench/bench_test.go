// SPDX-License-Identifier: Apache-2.0

package bench_test

import "testing"

func TestOne(t *testing.T) {
	for seed := range uint64(3) {
		l := live(t, seed+1, true, true)
		t.Logf("seed %d ready %s bound %s ratio %.3f serial %s calls %d writes %d delete %d left %d", l.seed, l.ready, l.bound, l.ratio(), l.serial, l.calls, l.writes, l.deleteCalls, l.left)
		for _, c := range l.chain {
			t.Logf("   %7.2f %s", c.End.Seconds(), c.Short())
		}
		t.Log("\n" + l.trace)
	}
}
