// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/test/bench"
	"github.com/lazuli-dev/lazuli/test/lab"
)

// patience is longer than any draw of the simulator.
const patience = 40 * time.Minute

// life is what one seed's cluster took.
type life struct {
	seed                 uint64
	ready, bound, serial time.Duration
	gone                 time.Duration
	calls, writes        int // to create
	deleteCalls          int
	left                 int
	chain                []bench.Link
	trace                string
}

func (l life) ratio() float64 { return float64(l.ready) / float64(l.bound) }

// live creates and deletes a cluster of 3 control planes and 3 workers.
func live(t *testing.T, seed uint64, preinstalled, remove bool) (out life) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, seed)
		l.Start()
		defer l.Stop()
		out.seed = seed
		begin := time.Now()
		uid := l.CreateWish(lab.Wish{Name: "ha", ControlPlanes: 3, Workers: []int{2, 1}, Preinstalled: preinstalled})
		c := l.Until(uid, lazuli.StateRunning, patience)
		out.ready = c.Status.RunningAt.Sub(begin)
		out.calls, out.writes, _ = l.Calls()
		d := draws(t, l, uid)
		out.bound, out.chain = bench.Bound(d)
		out.serial = bench.Serial(d)
		if out.ready < out.bound {
			t.Errorf("seed %d: ready after %s, though nobody could be faster than %s", seed, out.ready, out.bound)
		}
		out.trace = trace(l, uid, begin)
		if !remove {
			return
		}
		time.Sleep(time.Minute) // what is still polled after the cluster is Ready counts to its create no more
		l.Sim.Reset()
		begin = time.Now()
		l.Delete(uid)
		l.Until(uid, lazuli.StateDeleted, patience)
		out.gone = time.Since(begin)
		out.deleteCalls, _, _ = l.Calls()
		out.left = len(l.Left())
	})
	return out
}

// draws collects what Azure and the guests took for a cluster.
func draws(t *testing.T, l *lab.Lab, uid string) bench.Draws {
	t.Helper()
	took := map[string]time.Duration{} // by lower-case id
	for _, a := range l.Sim.Acts() {
		if a.Method == http.MethodPut && a.Status < 300 && !a.Failed {
			took[strings.ToLower(a.ID)] = a.Ended.Sub(a.Began)
		}
	}
	d := bench.Draws{Resources: map[string]time.Duration{}}
	for id, dt := range took {
		for suffix, name := range map[string]string{
			"-control-plane": bench.NSGControl, "-workers": bench.NSGWorkers, "/loadbalancers/": bench.LoadBalancer,
			"/natgateways/": bench.NATGateway, "/virtualnetworks/": bench.Network, "-api": bench.APIAddress, "-nat": bench.NATAddress,
		} {
			switch {
			case strings.HasPrefix(suffix, "/"):
				if strings.Contains(id, suffix) {
					d.Resources[name] = dt
				}
			case strings.HasSuffix(id, suffix) && (strings.Contains(id, "/networksecuritygroups/") || strings.Contains(id, "/publicipaddresses/")):
				d.Resources[name] = dt
			}
		}
	}
	for _, m := range l.Machines(uid) {
		if !m.RetiredAt.IsZero() {
			continue
		}
		role := bench.Worker
		switch {
		case m.Init:
			role = bench.Init
		case m.ControlPlane:
			role = bench.ControlPlane
		}
		phases, ok := l.Guests.PhasesOf(l.Sim, m.VMID)
		vm, known := took[strings.ToLower(m.VMID)]
		if !ok || !known {
			t.Fatalf("machine %s has no draws", m.Name)
		}
		d.Machines = append(d.Machines, bench.Machine{
			Name: m.Name, Role: role, NIC: took[strings.ToLower(m.NICID)], VM: vm, Phases: phases,
		})
	}
	if len(d.Resources) != 7 || len(d.Machines) != 6 {
		t.Fatalf("%d resources and %d machines were drawn: %v", len(d.Resources), len(d.Machines), d.Resources)
	}
	return d
}

// trace tells the times of the records of a cluster beside those of Azure.
func trace(l *lab.Lab, uid string, begin time.Time) string {
	var b strings.Builder
	l.Timeline(&b, uid, begin)
	return b.String()
}

func median[T int | time.Duration | float64](list []T) T {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}

func each[T any](lives []life, of func(life) T) []T {
	out := make([]T, len(lives))
	for i, l := range lives {
		out[i] = of(l)
	}
	return out
}
