// SPDX-License-Identifier: Apache-2.0

// Package e2e_test runs the product against its simulated surroundings.
package e2e_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azuresim"
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

// Three control planes over three zones, all machines at once.
func TestHighAvailability(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 7)
		l.Start()
		defer l.Stop()
		begin := time.Now()
		uid := l.Create("ha", 3, 3)
		l.Until(uid, lazuli.StateRunning, 30*time.Minute)
		all, writes, _ := l.Calls()
		t.Logf("ready after %s, %d calls to Azure, %d of them writes", time.Since(begin).Round(time.Second), all, writes)
		if want := 7 + 2*6; writes != want {
			t.Errorf("%d writes, want %d", writes, want)
		}
		zones := map[string]int{}
		for _, m := range l.Machines(uid) {
			if m.ControlPlane {
				zones[m.Zone]++
			}
			if !m.Ready || m.State != lazuli.MachineRunning {
				t.Errorf("%s is %s: %s", m.Name, m.State, m.Message)
			}
		}
		if len(zones) != 3 {
			t.Errorf("control planes by zone: %v", zones)
		}
		begin = time.Now()
		l.Sim.Reset()
		l.Delete(uid)
		l.Until(uid, lazuli.StateDeleted, 30*time.Minute)
		all, _, _ = l.Calls()
		t.Logf("gone after %s, %d calls to Azure", time.Since(begin).Round(time.Second), all)
		if left := l.Left(); len(left) > 0 {
			t.Errorf("left in Azure: %v", left)
		}
	})
}

// A zone without room for a size is passed over: the machine's successor comes
// up elsewhere, and the one that failed leaves nothing behind.
func TestZoneWithoutRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 11)
		for _, family := range []string{"standardDSv3Family"} {
			l.Sim.SetCapacity(azuresim.Capacity{Location: lab.Location, Zone: "2", Family: family, VCPUs: 0})
		}
		l.Start()
		defer l.Stop()
		uid := l.Create("tight", 3, 0)
		c := l.Until(uid, lazuli.StateRunning, 40*time.Minute)
		if len(c.Status.Exhausted) == 0 {
			t.Error("the zone without room is not remembered")
		}
		live, zones := 0, map[string]int{}
		for _, m := range l.Machines(uid) {
			if m.RetiredAt.IsZero() {
				live++
				zones[m.Zone]++
			}
		}
		if live != 3 || zones["2"] != 0 {
			t.Errorf("%d machines by zone %v", live, zones)
		}
		time.Sleep(10 * time.Minute)
		if vms := l.OfType("virtualMachines"); len(vms) != 3 {
			t.Errorf("virtual machines in Azure: %v", vms)
		}
		if nics := l.OfType("networkInterfaces"); len(nics) != 3 {
			t.Errorf("network interfaces in Azure: %v", nics)
		}
	})
}
