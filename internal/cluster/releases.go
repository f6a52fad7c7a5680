// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/graph"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// renew has a release applied again whose content is another by now, and one
// that comes back after it was taken out.
func (s *step) renew(n graph.Node[task], rec *lazuli.Node) {
	r := n.Payload.release
	if r == nil || s.busy(n.Name) {
		return
	}
	again := rec.State == lazuli.NodeDone && rec.Hash != "" && rec.Hash != r.hash()
	if !again && rec.State != lazuli.NodeGone && rec.State != lazuli.NodeDeleting {
		return
	}
	s.reopen(n.Name, lazuli.NodeWaiting)
}

// reopen makes a task of a release wait once more.
func (s *step) reopen(name string, state lazuli.NodeState) {
	n := s.change(name)
	n.State, n.Facts, n.Hash, n.Attempts = state, nil, "", 0
	n.StartedAt, n.EndedAt, n.NextTry = time.Time{}, time.Time{}, time.Time{}
	n.Code, n.Message, n.Remedy = "", "", ""
}

// prune takes out of the cluster what the releases brought there that no
// profile has any more.
func (s *step) prune(g *desired) error {
	for _, name := range s.surplus(g) {
		n := s.Nodes[name]
		if s.busy(name) {
			continue
		}
		if n.IntentAt.IsZero() || s.Nodes[nodeAPIServer].State != lazuli.NodeDone {
			s.vanished(name)
			continue
		}
		if n.State != lazuli.NodeDeleting {
			s.reopen(name, lazuli.NodeDeleting)
			n.StartedAt, n.IntentAt = s.now, s.now
			n.Title = "Remove " + strings.TrimPrefix(name, prefixRelease)
		}
		if s.ready(name) {
			s.want(Intent{Act: ActApply, Node: name, Release: release{Set: workload.Set{
				Name: strings.TrimPrefix(name, prefixRelease), FieldManager: fieldManager, Prune: true,
			}}})
		}
	}
	return nil
}

// surplus are the releases on record that the graph no longer has, add-ons
// before what they stand on.
func (s *step) surplus(g *desired) []string {
	wanted := map[string]bool{}
	for _, n := range g.Nodes() {
		wanted[n.Name] = true
	}
	names := slices.DeleteFunc(s.nodeNames(), func(name string) bool {
		return !strings.HasPrefix(name, prefixRelease) || wanted[name] || s.Nodes[name].State == lazuli.NodeGone
	})
	return names
}

// removed ends the removal of a release.
func (s *step) removed(a Answer) {
	name := a.Intent.Node
	if a.Err != nil {
		s.fault(name, a.Err)
		return
	}
	s.vanished(name)
	s.say(lazuli.SeverityInfo, "ReleaseRemoved", "What %s had brought into the cluster is removed", strings.TrimPrefix(name, prefixRelease))
}
