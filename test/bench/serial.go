// SPDX-License-Identifier: Apache-2.0

package bench

import "time"

// The habits of the serial controller: a reconcile spends at most budget on a
// call, and comes back after requeue when something is not there yet.
const (
	budget  = 2 * time.Second
	requeue = 15 * time.Second
)

// Serial is a model, not a measurement: the time in which a controller that
// handles a cluster's resources one after the other would have the cluster
// Ready with the same draws. It writes a resource, waits for at most 2 s, and
// looks again 15 s later. The machines follow the network, further control
// planes follow one by one when the one before is Ready, and workers, all at
// once, when the first control plane is initialised, each its network interface
// before its virtual machine.
func Serial(d Draws) time.Duration {
	var now time.Duration
	for _, name := range []string{Network, NSGControl, NSGWorkers, APIAddress, NATAddress, NATGateway, LoadBalancer} {
		now += settled(d.Resources[name])
	}
	begin, info, joined := now, now, now
	for _, m := range d.Machines {
		if m.Role == Init {
			initialised := begin + machine(m) + m.Final + m.Install + m.Prepare + m.APIHealthy + m.Register + m.Upload
			info = looked(begin, initialised)
			joined = looked(begin, initialised+ready(m))
		}
	}
	end := joined
	for _, m := range d.Machines {
		switch m.Role {
		case ControlPlane:
			done := joined + machine(m) + m.Final + m.Install + m.JoinPrepare + m.Learner + m.JoinHealthy + m.Register + ready(m)
			joined = looked(joined, done)
			end = max(end, joined)
		case Worker:
			end = max(end, looked(info, info+machine(m)+m.Final+m.Install+m.Join+m.Register+ready(m)))
		case Init:
		}
	}
	return end
}

func ready(m Machine) time.Duration { return m.NodeManager + m.Phases.Initialise + m.Network }

func machine(m Machine) time.Duration { return settled(m.NIC) + settled(m.VM) }

// settled is when the controller knows of the end of something that takes d.
func settled(d time.Duration) time.Duration {
	for at := time.Duration(0); ; at += budget + requeue {
		if d <= at {
			return at
		}
		if d <= at+budget {
			return d
		}
	}
}

// looked is the first look at or after t of a controller that looks every
// requeue since begin.
func looked(begin, t time.Duration) time.Duration {
	at := begin
	for at < t {
		at += requeue
	}
	return at
}
