// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
)

// Condition types are Palette's; in a cluster at rest all are True.
const (
	condImage         = "ImageResolutionDone"
	condInfra         = "CloudInfrastructureReady"
	condBootstrap     = "BootstrappingDone"
	condKubeconfig    = "KubeConfigReady"
	condControlPlane  = "ControlPlaneNodeAdditionDone"
	condWorkers       = "WorkerNodeAdditionDone"
	condAddOns        = "AddOnDeploymentDone"
	condWorkersGone   = "WorkerNodeDeletionDone"
	condControlGone   = "ControlPlaneNodeDeletionDone"
	statusTrue        = "True"
	statusFalse       = "False"
	reasonInProgress  = "InProgress"
	reasonFailed      = "Failed"
	typePackSpectro   = "spectro"
	typeReasonDeleted = "Deleted"
)

// aspect ties a condition to the nodes of the graph that it sums up.
type aspect struct {
	kind   string
	reason string // when all is done
	covers func(s *step, n *lazuli.Node) bool
}

func aspects() []aspect {
	is := func(names ...string) func(*step, *lazuli.Node) bool {
		return func(_ *step, n *lazuli.Node) bool { return slices.Contains(names, n.Name) }
	}
	joins := func(control bool) func(*step, *lazuli.Node) bool {
		return func(s *step, n *lazuli.Node) bool {
			if pool, ok := strings.CutPrefix(n.Name, prefixPlacement); ok {
				return s.pool(pool).ControlPlane == control
			}
			name, ok := strings.CutPrefix(n.Name, prefixJoin)
			m := s.Machines[name]
			return ok && m != nil && m.ControlPlane == control
		}
	}
	return []aspect{
		{condImage, "ImageResolved", is(nodePlacement)},
		{condInfra, "InfrastructureReady", func(_ *step, n *lazuli.Node) bool { return n.AzureID != "" }},
		{condKubeconfig, "KubeConfigReady", is(nodeKubeconfig)},
		// A machine whose boot is known to have failed belongs to it too.
		{condBootstrap, "Bootstrapped", func(_ *step, n *lazuli.Node) bool {
			return n.Name == nodeAPIServer || strings.HasPrefix(n.Name, prefixJoin) && n.Facts[factBoot] != "" && n.State != lazuli.NodeDone
		}},
		{condControlPlane, "ControlPlaneNodesAdded", joins(true)},
		{condWorkers, "WorkerNodesAdded", joins(false)},
		{condAddOns, "AddOnsDeployed", func(_ *step, n *lazuli.Node) bool { return strings.HasPrefix(n.Name, prefixRelease) }},
	}
}

// status sums the records up for users. g is nil before the machines are
// placed.
func (s *step) status(g *desired) {
	for _, a := range aspects() {
		s.condition(s.summarise(a))
	}
	if g == nil {
		s.unsettle()
		return
	}
	s.packs(g)
	st := &s.Cluster.Status
	for _, n := range g.Nodes() {
		if s.Nodes[n.Name].State != lazuli.NodeDone {
			s.unsettle()
			return
		}
	}
	if s.busyInside(g) {
		s.unsettle()
	} else {
		s.settleDown()
	}
	if st.State == lazuli.StateRunning || st.State == lazuli.StateDeleting {
		return
	}
	st.State, st.RunningAt, st.SeenAt = lazuli.StateRunning, s.now, s.now
	st.Healthy, st.Message = true, ""
	s.dirtyCluster = true
	s.say(lazuli.SeverityInfo, "Running", "All machines joined and all packs are applied, %s after the first write",
		s.now.Sub(st.StartedAt).Round(1e9)) // whole seconds
}

// busyInside reports whether something is under way that the graph does not show:
// machines and releases on their way out, marks, maintenance.
func (s *step) busyInside(g *desired) bool {
	if len(s.leaving()) > 0 || len(s.surplus(g)) > 0 {
		return true
	}
	for name, n := range s.Nodes {
		if strings.HasPrefix(name, prefixPlacement) && n.State != lazuli.NodeDone && n.State != lazuli.NodeGone {
			return true
		}
	}
	return slices.ContainsFunc(s.machines(), func(m *lazuli.Machine) bool { return s.unmarked(m) || s.maintaining(m) })
}

func (s *step) summarise(a aspect) lazuli.Condition {
	c := lazuli.Condition{Type: a.kind, Status: statusTrue, Reason: a.reason}
	total, done := 0, 0
	for _, name := range s.nodeNames() {
		n := s.Nodes[name]
		if !a.covers(s, n) || s.ofRetired(name) || n.State == lazuli.NodeGone {
			continue
		}
		total++
		switch {
		case n.State == lazuli.NodeDone && (a.kind != condAddOns || n.Facts["ready"] == "true"), s.satisfied(name) && a.kind == condInfra:
			done++
		case n.Message != "" && c.Reason != reasonFailed:
			c.Reason, c.Message = reasonFailed, n.Title+": "+n.Message
			if n.Remedy != "" {
				c.Message += ". " + n.Remedy
			}
		case a.kind == condAddOns && n.Facts["waiting"] != "" && c.Message == "":
			c.Message = n.Title + ": " + n.Facts["waiting"]
		}
	}
	// A cluster without workers has nothing to wait for there.
	if total == done && (total > 0 || a.kind == condWorkers && len(s.Machines) > 0) {
		return c
	}
	c.Status = statusFalse
	if c.Reason != reasonFailed {
		c.Reason = reasonInProgress
		if c.Message == "" {
			c.Message = fmt.Sprintf("%d of %d done", done, total)
		}
	}
	return c
}

func (s *step) nodeNames() []string {
	names := make([]string, 0, len(s.Nodes))
	for name := range s.Nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// condition records a condition; its time moves only with its status.
func (s *step) condition(c lazuli.Condition) {
	st := &s.Cluster.Status
	i := slices.IndexFunc(st.Conditions, func(have lazuli.Condition) bool { return have.Type == c.Type })
	if i < 0 {
		c.Since = s.now
		st.Conditions = append(st.Conditions, c)
		s.dirtyCluster = true
		return
	}
	have := st.Conditions[i]
	c.Since = have.Since
	if c.Status != have.Status {
		c.Since = s.now
	}
	if c != have {
		st.Conditions[i] = c
		s.dirtyCluster = true
	}
}

// packs records how far each layer of each profile is. A layer without anything
// to apply, such as the operating system, is ready with the first node.
func (s *step) packs(g *desired) {
	var out []lazuli.PackStatus
	for _, p := range s.Cluster.Applied() {
		for _, l := range p.Layers {
			ps := lazuli.PackStatus{
				Name: l.Name, ProfileUID: p.UID, Version: cmp.Or(l.Version, l.Tag), Type: cmp.Or(l.Type, typePackSpectro), Ready: true,
			}
			found := false
			for _, n := range g.Nodes() {
				if r := n.Payload.release; r != nil && r.Pack == l.Name && r.ProfileUID == p.UID {
					found = true
					s.packPart(&ps, s.Nodes[n.Name])
				}
			}
			if boot := s.Nodes[nodeAPIServer]; !found && boot != nil {
				ps.Ready, ps.StartedAt, ps.EndedAt = boot.State == lazuli.NodeDone, boot.StartedAt, boot.EndedAt
			}
			if !found && (l.Type == pack.TypeHelm || l.Type == pack.TypeOCI) {
				// Clients wait for every pack; the notice and this text tell them.
				ps.Message = "its chart is stored and not installed: this release installs no charts"
			}
			out = append(out, ps)
		}
	}
	if !slices.Equal(out, s.Cluster.Status.Packs) {
		s.Cluster.Status.Packs = out
		s.dirtyCluster = true
	}
}

func (s *step) packPart(ps *lazuli.PackStatus, n *lazuli.Node) {
	if ps.StartedAt.IsZero() || !n.StartedAt.IsZero() && n.StartedAt.Before(ps.StartedAt) {
		ps.StartedAt = n.StartedAt
	}
	if n.EndedAt.After(ps.EndedAt) {
		ps.EndedAt = n.EndedAt
	}
	if n.Facts["ready"] != "true" {
		ps.Ready = false
		ps.Message = cmp.Or(n.Message, n.Facts["waiting"], "waiting")
	}
}
