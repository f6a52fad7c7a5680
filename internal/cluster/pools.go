// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/graph"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

const (
	// drainTime bounds how long a machine that leaves is waited for: budgets that
	// never allow an eviction must not keep it for ever. It is as long as the
	// default of Cluster API's providers for a stuck drain is short: what pods have
	// to end in.
	drainTime = 15 * time.Minute
	drainWait = 5 * time.Second
	// dropTime bounds how long the Node of a machine that is gone is tried to be
	// deleted: the cluster's own cloud controller does it, too.
	dropTime = 5 * time.Minute
	// joinTime is within which a worker has to join once its VM was asked for and
	// the API server answers, as one process sees it without a break. Boots that install their software take 6 minutes.
	joinTime = 30 * time.Minute
)

// fit makes the machines of each pool as many as the user wants: those that are
// too few are placed, and of those that are too many some leave.
func (s *step) fit() error {
	wanted := map[string]lazuli.Pool{}
	for _, p := range s.pools() {
		wanted[p.Name] = p
		var err error
		switch n := len(s.inPool(p.Name)); {
		case n < p.Size:
			err = s.grow(p, p.Size-n)
		default:
			s.placed(p.Name)
			if n > p.Size && !p.ControlPlane { // etcd's members go with a machine's replacement only
				s.shrink(p.Name, n-p.Size, "pool %s shall have %d machines", p.Name, p.Size)
			}
		}
		if err != nil {
			return err
		}
	}
	var gone []string
	for _, m := range s.machines() {
		if _, ok := wanted[m.Pool]; !ok && !m.ControlPlane && !slices.Contains(gone, m.Pool) {
			gone = append(gone, m.Pool)
		}
	}
	for _, name := range gone {
		s.shrink(name, len(s.inPool(name)), "pool %s shall be no more", name)
	}
	for _, name := range s.nodeNames() {
		pool, ok := strings.CutPrefix(name, prefixPlacement)
		if _, is := wanted[pool]; ok && !is {
			s.placed(pool)
		}
	}
	s.leave()
	return nil
}

// inPool are the machines of a pool that shall be.
func (w *World) inPool(pool string) []*lazuli.Machine {
	return slices.DeleteFunc(w.machines(), func(m *lazuli.Machine) bool { return m.Pool != pool })
}

// grow places machines that a pool lacks, once it is known what is sold where by
// now.
func (s *step) grow(p lazuli.Pool, lacking int) error {
	name := prefixPlacement + p.Name
	if err := s.ensureNode(graph.Node[task]{Name: name, Title: "Placement of machines of pool " + p.Name}); err != nil {
		return err
	}
	rec := s.Nodes[name]
	if rec.State == lazuli.NodeDone || rec.State == lazuli.NodeGone {
		rec = s.change(name)
		rec.State, rec.StartedAt, rec.EndedAt, rec.Attempts = lazuli.NodeWaiting, time.Time{}, time.Time{}, 0
	}
	if !s.ready(name) {
		return nil
	}
	if rec.State == lazuli.NodeWaiting {
		s.start(name)
	}
	if s.sizes == nil {
		s.want(Intent{Act: ActSizes, Node: name})
		return nil
	}
	size, err := s.sizeOf(p)
	var zones []string
	if err == nil {
		zones, err = s.zonesFor(p, size)
	}
	if err != nil {
		s.sizes = nil // asked for again with the next try
		s.fault(name, err)
		s.at(s.Nodes[name].NextTry)
		return nil
	}
	s.fewer(p, size)
	sold := s.change(nodePlacement)
	if sold.Facts == nil {
		sold.Facts = map[string]string{}
	}
	sold.Facts[factSold+strings.ToLower(p.InstanceType)] = strings.Join(size.Zones, ",")
	var names []string
	for range lacking {
		m, err := s.newMachine(p, size, s.leastUsed(p.Name, zones))
		if err != nil {
			return err
		}
		m.Late = s.keysMade()
		s.Machines[m.Name] = m
		s.dirtyMachines[m.Name] = true
		names = append(names, m.Name)
	}
	s.picked = true
	s.findings(p, size, zones)
	s.say(lazuli.SeverityInfo, "PoolGrows", "Pool %s gets %s", p.Name, strings.Join(names, ", "))
	s.done(name)
	return nil
}

// keysMade reports whether the first tokens were asked for: a machine that
// comes later gets its own in the running cluster.
func (s *step) keysMade() bool {
	n := s.Nodes[nodeKeys]
	return n != nil && n.State != lazuli.NodeWaiting
}

// placed ends what a placement waited for when the pool lacks nothing any more.
func (s *step) placed(pool string) {
	name := prefixPlacement + pool
	if n := s.Nodes[name]; n != nil && n.State != lazuli.NodeDone && n.State != lazuli.NodeGone && !s.busy(name) {
		s.vanished(name)
	}
}

// shrink picks machines that leave: those that never became ready, then from
// the zone that has most of the pool, then the newest.
func (s *step) shrink(pool string, count int, why string, args ...any) {
	if mutated("shrinkNothing") {
		return
	}
	left := s.inPool(pool)
	for range count {
		zones := map[string]int{}
		for _, m := range left {
			zones[m.Zone]++
		}
		victim := slices.MinFunc(left, func(a, b *lazuli.Machine) int {
			return cmp.Or(
				compareBool(a.KubeVersion != "", b.KubeVersion != ""),
				compareBool(a.Ready, b.Ready),
				cmp.Compare(zones[b.Zone], zones[a.Zone]),
				b.CreatedAt.Compare(a.CreatedAt),
				cmp.Compare(b.Name, a.Name),
			)
		})
		left = slices.DeleteFunc(left, func(m *lazuli.Machine) bool { return m == victim })
		s.dismiss(victim, fmt.Sprintf(why, args...))
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// dismiss records that a machine shall leave, before anything is done to it.
func (s *step) dismiss(m *lazuli.Machine, why string) {
	s.picked = true
	m.LeavingAt, m.State, m.StateSince, m.Message = s.now, lazuli.MachineDeleting, s.now, why
	s.dirtyMachines[m.Name] = true
	for _, name := range []string{prefixJoin + m.Name, prefixToken + m.Name} {
		if n := s.Nodes[name]; n != nil {
			s.vanished(name)
		}
	}
	s.say(lazuli.SeverityInfo, "MachineLeaves", "%s leaves: %s", m.Name, why)
}

// leaving are the machines that are drained or wait for it, by name.
func (w *World) leaving() []*lazuli.Machine {
	var out []*lazuli.Machine
	for _, m := range w.Machines {
		if !m.LeavingAt.IsZero() && m.RetiredAt.IsZero() {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *lazuli.Machine) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// leave empties the machines that leave and retires those that are empty, that
// never had anything, or that took too long.
func (s *step) leave() {
	for _, m := range s.leaving() {
		name := prefixDrain + m.Name
		if m.KubeVersion == "" || !s.reachable() || mutated("noDrain") {
			s.retire(m)
			continue
		}
		end := m.LeavingAt.Add(drainTime)
		if !end.After(s.now) {
			if rec := s.Nodes[name]; rec != nil && !s.busy(name) {
				s.say(lazuli.SeverityWarning, "DrainIncomplete", "%s could not be emptied within %s and goes with what is on it. %s",
					m.Name, drainTime, rec.Facts["waiting"])
			}
			s.retire(m)
			continue
		}
		s.at(end)
		if err := s.ensureNode(graph.Node[task]{Name: name, Title: "Drain of " + m.Name}); err != nil {
			s.failed = err
			return
		}
		if !s.ready(name) {
			continue
		}
		if s.Nodes[name].State == lazuli.NodeWaiting {
			s.start(name)
		}
		s.want(Intent{Act: ActDrain, Node: name})
	}
}

// reachable reports whether the deployed cluster was ever there to be asked.
func (s *step) reachable() bool {
	n := s.Nodes[nodeAPIServer]
	return n != nil && n.State == lazuli.NodeDone && s.Secrets != nil && len(s.Secrets.AdminKubeconfig) > 0
}

// takeDrain puts on record how far a machine is emptied.
func (s *step) takeDrain(a Answer) {
	name := a.Intent.Node
	if strings.HasPrefix(name, prefixMaintain) {
		s.takeMaintenance(a)
		return
	}
	m, n := s.Machines[machineOf(name)], s.Nodes[name]
	if m == nil || n == nil || m.LeavingAt.IsZero() || !m.RetiredAt.IsZero() {
		return
	}
	if a.Err == nil && a.Drained.Done() {
		s.done(name)
		s.retire(m)
		return
	}
	text := strings.Join(a.Drained.Waiting, "; ")
	if a.Err != nil {
		text = a.Err.Error()
	}
	n.NextTry = s.now.Add(max(drainWait, s.ProbeInterval)) // a write per look would tell nobody anything
	if n.Facts["waiting"] != text {
		n = s.change(name)
		n.Facts, n.Message = map[string]string{"waiting": text}, text
	}
}

// retire gives a machine that is empty up for removal.
func (s *step) retire(m *lazuli.Machine) {
	m.RetiredAt = s.now
	s.dirtyMachines[m.Name] = true
	if n := s.Nodes[prefixDrain+m.Name]; n != nil && n.State != lazuli.NodeDone {
		s.vanished(n.Name)
	}
}

// dropNode sees to it that the cluster forgets the Node of a machine that is
// gone. It reports whether that is settled.
func (s *step) dropNode(m *lazuli.Machine) bool {
	name := prefixJoin + m.Name
	if !s.reachable() || s.dropped[m.Name] || mutated("nodeKept") {
		return true
	}
	if s.dropping[m.Name].IsZero() {
		s.dropping[m.Name] = s.now
	}
	if s.now.Sub(s.dropping[m.Name]) > dropTime {
		return true
	}
	if s.busy(name) {
		return false
	}
	if due := s.checked[name].Add(s.ProbeInterval); due.After(s.now) {
		s.at(due)
		return false
	}
	s.want(Intent{Act: ActDropNode, Node: name})
	return false
}

func (s *step) takeDropNode(a Answer) {
	s.checked[a.Intent.Node] = s.now
	if a.Err == nil {
		s.dropped[machineOf(a.Intent.Node)] = true
	}
}

// machineOf is the machine that a node of the graph is about.
func machineOf(node string) string {
	_, name, _ := strings.Cut(node, "/")
	return name
}

// overdue asks machines that ought to have joined what became of their boot, and
// replaces the workers that ought to have joined long ago. The look at
// the cluster that this follows succeeded: they are known not to be there. One
// that joined and is not ready yet may wait for us, for the network say.
func (s *step) overdue(joined map[string]*workload.Node) error {
	for _, m := range s.machines() {
		vm := s.Nodes[prefixVM+m.Name]
		if joined[m.Name] != nil || m.State == lazuli.MachineRunning || vm == nil || vm.IntentAt.IsZero() ||
			vm.State != lazuli.NodeDone && vm.State != lazuli.NodeWorking {
			continue
		}
		if join := prefixJoin + m.Name; s.Nodes[join] != nil {
			s.diagnose(join, m, s.waited[m.Name])
		}
		if m.ControlPlane {
			continue // one that joined half may be a member of etcd by now
		}
		// Not by the wall: a clock that jumped must not replace a machine.
		if left := joinTime - s.waited[m.Name]; left > 0 {
			s.at(s.now.Add(left))
			continue
		}
		if s.replacedLately(m.Pool) >= maxReplaced {
			continue
		}
		zone, _ := s.otherZone(m, false)
		err := lazuli.Errorf(lazuli.CodeUnavailable, "its machine runs, and its node did not join within %s", joinTime)
		if err := s.replace(m, zone, err); err != nil {
			return err
		}
	}
	return nil
}
