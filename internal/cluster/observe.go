// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// watch looks at the deployed cluster: often while something is awaited there,
// now and then once it runs.
func (s *step) watch(g *desired) {
	if s.Nodes[nodeAPIServer].State != lazuli.NodeDone {
		return
	}
	interval := s.HealthInterval
	for _, n := range g.Nodes() {
		if s.Nodes[n.Name].State != lazuli.NodeDone {
			interval = s.ProbeInterval
		}
	}
	if slices.ContainsFunc(s.machines(), s.unmarked) {
		interval = s.ProbeInterval
	}
	for _, p := range s.Cluster.Status.Packs {
		if !p.Ready {
			interval = s.ProbeInterval
		}
	}
	if due := s.probed.Add(interval); due.After(s.now) {
		s.at(due)
	} else {
		s.want(Intent{Act: ActNodes, Node: subjectNodes})
		s.at(s.now.Add(interval))
	}
	for _, n := range g.Nodes() {
		r := n.Payload.release
		if r == nil || s.Nodes[n.Name].State != lazuli.NodeDone {
			continue
		}
		if due := s.checked[r.Set.Name].Add(interval); due.After(s.now) {
			s.at(due)
			continue
		}
		if !s.busy(n.Name) && !s.packReady(*r) {
			s.want(Intent{Act: ActStatus, Node: n.Name, Release: *r})
		}
	}
}

// takeNodes compares the machines with the nodes that joined.
func (s *step) takeNodes(a Answer) {
	s.probed = s.now
	if a.Err != nil {
		s.health(false, "the API server does not answer: "+a.Err.Error())
		return
	}
	byName := map[string]*workload.Node{}
	for i := range a.Nodes {
		byName[a.Nodes[i].Name] = &a.Nodes[i]
	}
	var waiting []string
	for _, m := range s.machines() {
		if n := byName[m.Name]; (n == nil || !n.Ready) && !s.coming(m) {
			waiting = append(waiting, m.Name)
		}
		s.seen(m, byName[m.Name])
	}
	if err := s.overdue(byName); err != nil {
		s.failed = err
		return
	}
	message := ""
	if len(waiting) > 0 {
		message = "not ready: " + strings.Join(waiting, ", ")
	}
	s.health(message == "", message)
}

// coming reports whether a machine is new in a cluster that runs without it.
func (s *step) coming(m *lazuli.Machine) bool {
	rec := s.Nodes[prefixJoin+m.Name]
	return s.Cluster.Status.State == lazuli.StateRunning && (rec == nil || rec.State != lazuli.NodeDone)
}

// seen takes over what a machine's Node says; n is nil when it has not joined.
func (s *step) seen(m *lazuli.Machine, n *workload.Node) {
	before := *m
	if n != nil {
		s.mark(m)
	}
	switch {
	case n == nil:
		m.Ready, m.Message = false, "the node has not joined"
		if mutated("deleteUnasked") {
			s.want(Intent{Act: ActDelete, Node: prefixVM + m.Name, AzureID: m.VMID})
		}
	case n.Ready:
		m.Ready, m.Message, m.KubeVersion = true, "", n.Version
		s.machineState(m.Name, lazuli.MachineRunning)
		s.joined(m)
	default:
		m.Ready, m.Message, m.KubeVersion = false, strings.TrimSpace(n.Reason+": "+n.Message), n.Version
		s.machineState(m.Name, lazuli.MachineProvisioned)
	}
	if before.Ready != m.Ready || before.Message != m.Message || before.KubeVersion != m.KubeVersion {
		m.SeenAt = s.now
		s.dirtyMachines[m.Name] = true
	}
}

// joined ends the tasks of a machine whose node is ready: that its VM is good is
// proved, so nobody needs to ask Azure. Its token has served; one that is not
// withdrawn here, because of a crash, expires by itself.
func (s *step) joined(m *lazuli.Machine) {
	name := prefixJoin + m.Name
	rec := s.Nodes[name]
	if rec == nil || rec.State == lazuli.NodeDone || !m.Ready || rec.Facts[factMarked] == "" {
		return
	}
	for _, name := range []string{prefixVM + m.Name, name} {
		n := s.Nodes[name]
		if n == nil || n.State == lazuli.NodeDone {
			continue
		}
		if n.StartedAt.IsZero() {
			n.StartedAt = s.now
		}
		s.done(name)
	}
	if s.Secrets == nil {
		return
	}
	if t, ok := s.Secrets.Tokens[m.Name]; ok && !mutated("tokenKept") {
		s.want(Intent{Act: ActDeleteToken, Node: name, Token: t.ID()})
	}
}

// health notes what the last look at the cluster said.
func (s *step) health(ok bool, message string) {
	st := &s.Cluster.Status
	if !ok && st.State == lazuli.StateRunning && st.Healthy {
		s.say(lazuli.SeverityWarning, "Unhealthy", "%s", message)
	}
	if ok && st.State == lazuli.StateRunning && !st.Healthy {
		s.say(lazuli.SeverityInfo, "Healthy", "The API server answers and all nodes are ready")
	}
	const stale = 5 * time.Minute // a fresher time is not worth a write
	if st.Healthy != ok || st.Message != message || ok && s.now.Sub(st.SeenAt) > stale {
		st.Healthy, st.Message = ok, message
		if ok {
			st.SeenAt = s.now
		}
		s.dirtyCluster = true
	}
}

func (s *step) takeApply(a Answer) {
	if len(a.Intent.Release.Set.Documents) == 0 && a.Intent.Release.Pack == "" {
		s.removed(a)
		return
	}
	if n := s.Nodes[a.Intent.Node]; n == nil || n.State == lazuli.NodeGone || n.State == lazuli.NodeDeleting {
		return // removed meanwhile
	}
	if a.Err != nil {
		s.fault(a.Intent.Node, a.Err)
		return
	}
	if a.Intent.Release.NeedsCloud {
		s.say(lazuli.SeverityWarning, "SecretInCluster",
			"The cloud controller and the disk driver use the account's client secret, kept in the Secret %s of namespace %s: "+
				"whoever may read it there has the account's rights. A managed identity on the nodes would need no secret",
			pack.CloudConfigName, pack.CloudConfigNamespace)
	}
	s.done(a.Intent.Node)
}

func (s *step) takeStatus(a Answer) {
	r := a.Intent.Release
	s.checked[r.Set.Name] = s.now
	ready, message := a.Ready, ""
	switch {
	case a.Err != nil:
		ready, message = false, a.Err.Error()
	case len(a.Waiting) > 0:
		message = "waiting for " + strings.Join(a.Waiting, ", ")
	}
	key := prefixRelease + r.Set.Name
	n := s.Nodes[key]
	if n == nil || n.State != lazuli.NodeDone || n.Hash != "" && n.Hash != r.hash() {
		return // it was asked of another content
	}
	value := "false"
	if ready {
		value = "true"
	}
	if n.Facts["ready"] != value || n.Facts["waiting"] != message {
		n = s.change(key)
		n.Facts = map[string]string{"ready": value, "waiting": message}
	}
}

// packReady reports whether a release was seen ready.
func (s *step) packReady(r release) bool {
	n := s.Nodes[prefixRelease+r.Set.Name]
	return n != nil && n.Facts["ready"] == "true"
}
