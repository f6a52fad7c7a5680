// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
)

// Role is what a machine is to its cluster.
type Role int

// The roles.
const (
	Init         Role = iota // the first control plane
	ControlPlane             // a further one
	Worker
)

// Resources of the table that a cluster has once.
const (
	NSGControl   = "security group control plane"
	NSGWorkers   = "security group workers"
	APIAddress   = "address of the API server"
	NATAddress   = "address of outbound traffic"
	LoadBalancer = "load balancer"
	NATGateway   = "NAT gateway"
	Network      = "virtual network"
)

// Machine is what was drawn for one machine.
type Machine struct {
	Name    string
	Role    Role
	NIC, VM time.Duration // from the request to the resource being as asked for
	model.Phases
}

// Draws are what was drawn for one cluster: how long each thing takes, whenever
// it begins.
type Draws struct {
	Resources map[string]time.Duration
	Machines  []Machine
}

// Link is one step of the chain that a bound consists of.
type Link struct {
	What string
	End  time.Duration // from the start
}

// plan computes the earliest ends of the table's rows.
type plan struct {
	Draws
	end  map[string]time.Duration
	from map[string]string // the row that a row waited for last
}

// Bound is the time in which a cluster could be Ready at best by the table of
// the package, and the chain of steps that makes it so long.
func Bound(d Draws) (time.Duration, []Link) {
	var best *plan
	var last string
	for _, order := range d.promotions() {
		p := &plan{Draws: d, end: map[string]time.Duration{}, from: map[string]string{}}
		if ready := p.run(order); best == nil || p.end[ready] < best.end[last] {
			best, last = p, ready
		}
	}
	if best == nil {
		return 0, nil
	}
	var chain []Link
	for row := last; row != ""; row = best.from[row] {
		chain = append(chain, Link{row, best.end[row]})
	}
	slices.Reverse(chain)
	return best.end[last], chain
}

// promotions are the orders in which etcd can take further control planes in.
func (d Draws) promotions() [][]int {
	var joining []int
	for i, m := range d.Machines {
		if m.Role == ControlPlane {
			joining = append(joining, i)
		}
	}
	return permutations(joining)
}

func permutations(list []int) [][]int {
	if len(list) < 2 { //nolint:mnd // one order
		return [][]int{list}
	}
	var out [][]int
	for i := range list {
		rest := slices.Delete(slices.Clone(list), i, i+1)
		for _, p := range permutations(rest) {
			out = append(out, append([]int{list[i]}, p...))
		}
	}
	return out
}

// row ends a row at its time after the last of those that it waits for.
func (p *plan) row(name string, takes time.Duration, after ...string) {
	var begin time.Duration
	for _, a := range after {
		if p.from[name] == "" || p.end[a] > begin {
			begin, p.from[name] = p.end[a], a
		}
	}
	p.end[name] = begin + takes
}

// run fills the table in and returns the row that ends last.
func (p *plan) run(promotions []int) string {
	for _, name := range []string{NSGControl, NSGWorkers, APIAddress, NATAddress} {
		p.row(name, p.Resources[name])
	}
	p.row(LoadBalancer, p.Resources[LoadBalancer], APIAddress)
	p.row(NATGateway, p.Resources[NATGateway], NATAddress)
	p.row(Network, p.Resources[Network], NSGControl, NSGWorkers, NATGateway)
	info := ""
	for _, m := range p.Machines {
		p.boot(m)
		if m.Role == Init {
			info = p.initialise(m)
		}
	}
	turn := info
	for _, i := range promotions {
		m := p.Machines[i]
		p.row("join prepare "+m.Name, m.JoinPrepare, "install "+m.Name, info)
		p.row("etcd learner "+m.Name, m.Learner, "join prepare "+m.Name, turn)
		turn = "etcd learner " + m.Name
		p.row("API server "+m.Name, m.JoinHealthy, turn)
		p.row("registered "+m.Name, m.Register, "API server "+m.Name)
	}
	last := ""
	for _, m := range p.Machines {
		if m.Role == Worker {
			p.row("join "+m.Name, m.Join, "install "+m.Name, info)
			p.row("registered "+m.Name, m.Register, "join "+m.Name)
		}
		p.row("node manager "+m.Name, m.NodeManager, "registered "+m.Name)
		p.row("initialised "+m.Name, m.Phases.Initialise, "node manager "+m.Name)
		p.row("Ready "+m.Name, m.Network, "initialised "+m.Name)
		if ready := "Ready " + m.Name; last == "" || p.end[ready] > p.end[last] {
			last = ready
		}
	}
	return last
}

// boot is a machine's way to the end of its install.
func (p *plan) boot(m Machine) {
	deps := []string{Network}
	if m.Role != Worker {
		deps = append(deps, LoadBalancer)
	}
	p.row("network interface "+m.Name, m.NIC, deps...)
	p.row("virtual machine "+m.Name, m.VM, "network interface "+m.Name)
	p.row("final stage "+m.Name, m.Final, "virtual machine "+m.Name)
	p.row("install "+m.Name, m.Install, "final stage "+m.Name)
}

// initialise is the first control plane's way; it returns what joiners wait for.
func (p *plan) initialise(m Machine) string {
	p.row("prepare "+m.Name, m.Prepare, "install "+m.Name)
	p.row("API server "+m.Name, m.APIHealthy, "prepare "+m.Name)
	p.row("registered "+m.Name, m.Register, "API server "+m.Name)
	p.row("cluster-info "+m.Name, m.Upload, "registered "+m.Name)
	return "cluster-info " + m.Name
}

// Short is a row without the name of its machine.
func (l Link) Short() string {
	i := strings.LastIndexByte(l.What, ' ')
	if i < 0 || !strings.Contains(l.What[i:], "-") {
		return l.What
	}
	return l.What[:i]
}
