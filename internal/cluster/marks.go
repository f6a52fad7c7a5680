// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"maps"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

const (
	factMarked  = "marked" // the Node carries the marks of factMarks
	factMarks   = "marks"  // workload.Marks as JSON: what the machine booted with, or got last
	markedFully = "true"
	workerRole  = "node-role.kubernetes.io/worker"
	controlRole = "node-role.kubernetes.io/control-plane"
	noSchedule  = "NoSchedule"
)

// marks are what a machine's Node shall carry.
func (w *World) marks(m *lazuli.Machine) workload.Marks {
	p := w.pool(m.Pool)
	out := workload.Marks{Labels: map[string]string{}, Annotations: p.Annotations}
	if !m.ControlPlane {
		out.Labels[workerRole] = "" // unless the pool says more of it
	}
	maps.Copy(out.Labels, p.Labels)
	if m.ControlPlane && !p.UseAsWorker {
		out.Taints = append(out.Taints, workload.Taint{Key: controlRole, Effect: noSchedule}) // kubeadm's own
	}
	for _, t := range p.Taints {
		out.Taints = append(out.Taints, workload.Taint(t))
	}
	return out
}

// encoded is the form in which marks are kept and compared; maps are in order.
func encoded(m workload.Marks) string {
	b, err := json.Marshal(m)
	if err != nil { // strings only: cannot happen
		return ""
	}
	return string(b)
}

// bootMarks notes what a machine boots with, so that it can be taken away.
func (s *step) bootMarks(m *lazuli.Machine) {
	rec := s.Nodes[prefixJoin+m.Name]
	if rec == nil {
		return
	}
	s.change(rec.Name).Facts = map[string]string{factMarks: encoded(s.marks(m))}
}

// unmarked reports whether a machine's Node lacks something of its pool.
func (s *step) unmarked(m *lazuli.Machine) bool {
	rec := s.Nodes[prefixJoin+m.Name]
	return rec != nil && (rec.Facts[factMarked] == "" || rec.Facts[factMarks] != encoded(s.marks(m)))
}

// mark has a machine's Node carry what its kubelet may not say of itself, and
// what its pool was given later.
func (s *step) mark(m *lazuli.Machine) {
	name := prefixJoin + m.Name
	if !s.unmarked(m) || s.busy(name) {
		return
	}
	in := Intent{Act: ActMark, Node: name, Marks: s.marks(m)}
	if had := s.Nodes[name].Facts[factMarks]; had != "" {
		if err := json.Unmarshal([]byte(had), &in.Unmarks); err != nil {
			in.Unmarks = workload.Marks{} // what was put there then stays
		}
	}
	s.want(in)
}

func (s *step) takeMark(a Answer) {
	m := s.Machines[machineOf(a.Intent.Node)]
	if a.Err != nil && !mutated("markLost") || m == nil || m.Going() {
		return // the next look at the nodes tries again
	}
	n := s.change(a.Intent.Node)
	n.Facts = map[string]string{factMarked: markedFully, factMarks: encoded(a.Intent.Marks)}
	s.joined(m)
}
