// SPDX-License-Identifier: Apache-2.0

// Package e2e_test runs the product against its simulated surroundings.
package e2e_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/test/lab"
)

// The main job in virtual time: a cluster comes up as Azure would let it, and
// goes without a trace.
func TestCreateAndDelete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 1)
		l.Start()
		defer l.Stop()
		begin := time.Now()
		uid := l.Create("prod", 1, 1)
		c := l.Until(uid, lazuli.StateRunning, 30*time.Minute)
		ready := time.Since(begin)
		all, writes, _ := l.Calls()
		t.Logf("ready after %s, %d calls to Azure, %d of them writes", ready.Round(time.Second), all, writes)
		if want := 7 + 2*2; writes != want {
			t.Errorf("%d writes, want %d: 7 and 2 a machine", writes, want)
		}
		if !c.Status.Healthy {
			t.Errorf("not healthy: %s", c.Status.Message)
		}
		time.Sleep(5 * time.Minute)
		for _, cond := range l.Cluster(uid).Status.Conditions {
			if cond.Status != "True" {
				t.Errorf("condition %s is %s at rest: %s", cond.Type, cond.Status, cond.Message)
			}
		}
		l.Sim.Reset()
		time.Sleep(20 * time.Minute)
		if all, _, _ := l.Calls(); all > 0 {
			t.Errorf("%d calls to Azure for a cluster at rest", all)
		}
		begin = time.Now()
		l.Sim.Reset()
		l.Delete(uid)
		l.Until(uid, lazuli.StateDeleted, 30*time.Minute)
		all, _, deletes := l.Calls()
		t.Logf("gone after %s, %d calls to Azure, %d of them deletes", time.Since(begin).Round(time.Second), all, deletes)
		if left := l.Left(); len(left) > 0 {
			t.Errorf("left in Azure: %v", left)
		}
	})
}

// Deletion in the middle of a create, at any moment, leaves nothing.
func TestDeleteWhileCreating(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{
		0, 500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 90 * time.Second,
	} {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t, uint64(after))
				l.Start()
				defer l.Stop()
				uid := l.Create("brief", 1, 1)
				time.Sleep(after)
				l.Delete(uid)
				l.Until(uid, lazuli.StateDeleted, 30*time.Minute)
				time.Sleep(10 * time.Minute) // what was under way would show by now
				if left := l.Left(); len(left) > 0 {
					t.Errorf("left in Azure: %v", left)
				}
			})
		})
	}
}
