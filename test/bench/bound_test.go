// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
	"github.com/lazuli-dev/lazuli/test/bench"
)

// small is a cluster of one of each role whose every step takes a second.
func small() bench.Draws {
	s := time.Second
	d := bench.Draws{Resources: map[string]time.Duration{
		bench.NSGControl: s, bench.NSGWorkers: s, bench.APIAddress: s, bench.NATAddress: s,
		bench.LoadBalancer: s, bench.NATGateway: s, bench.Network: s,
	}}
	for name, role := range map[string]bench.Role{"init-a": bench.Init, "cp-b": bench.ControlPlane, "cp-c": bench.ControlPlane, "w-d": bench.Worker} {
		d.Machines = append(d.Machines, bench.Machine{Name: name, Role: role, NIC: s, VM: s, Phases: model.Phases{
			Final: s, Install: s, Prepare: s, APIHealthy: s, Upload: s, JoinPrepare: s, Learner: s, JoinHealthy: s, Join: s, Register: s,
			NodeManager: s, Initialise: s, Network: s,
		}})
	}
	return d
}

func TestBound(t *testing.T) {
	t.Parallel()
	change := func(role bench.Role, f func(*bench.Machine)) bench.Draws {
		d := small()
		for i := range d.Machines {
			if d.Machines[i].Role == role {
				f(&d.Machines[i])
				break
			}
		}
		return d
	}
	for _, c := range []struct {
		reason string
		draws  bench.Draws
		want   time.Duration
	}{
		// address, NAT gateway, network; interface, machine, final stage, install;
		// prepare, API server, registered, cluster-info; join prepare, two
		// learners, API server, registered; node manager, initialised, Ready
		{"the second of two control planes waits for the first's promotion", small(), 19 * time.Second},
		{"a slow worker is the end", change(bench.Worker, func(m *bench.Machine) { m.VM = 30 * time.Second }), 41 * time.Second},
		{"the slower of two further control planes is taken in first", change(bench.ControlPlane, func(m *bench.Machine) { m.JoinHealthy = 5 * time.Second }), 22 * time.Second},
		{"everybody waits for the first control plane", change(bench.Init, func(m *bench.Machine) { m.VM = 11 * time.Second }), 29 * time.Second},
	} {
		got, chain := bench.Bound(c.draws)
		if got != c.want {
			t.Errorf("%s: bound %s, want %s: %v", c.reason, got, c.want, chain)
		}
		if len(chain) == 0 || chain[len(chain)-1].End != got {
			t.Errorf("%s: the chain ends elsewhere: %v", c.reason, chain)
		}
		if serial := bench.Serial(c.draws); serial < got {
			t.Errorf("%s: the serial controller takes %s, less than the bound %s", c.reason, serial, got)
		}
	}
}
