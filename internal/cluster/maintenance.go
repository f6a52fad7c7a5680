// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/graph"
)

// maintain carries out what users want of single machines: a cordon empties the
// machine, for as long as it is drained when it leaves, and an uncordon lets
// pods onto it again. A budget that never gives way is a failure that stays.
func (s *step) maintain() error {
	for _, m := range s.machines() {
		wish, ok := s.Cluster.Maintenance[m.UID]
		if !ok {
			continue
		}
		have := m.Maintenance
		if have == nil || !have.Is(wish) {
			m.Maintenance = &lazuli.Maintenance{MaintenanceWish: wish, State: lazuli.MaintenanceInitiated, Started: s.now}
			s.dirtyMachines[m.Name] = true
			have = m.Maintenance
		}
		if !s.maintaining(m) {
			continue
		}
		name := prefixMaintain + m.Name
		title := "Drain of " + m.Name + " for maintenance"
		if err := s.ensureNode(graph.Node[task]{Name: name, Title: title}); err != nil {
			return err
		}
		rec := s.Nodes[name]
		if rec.IntentAt.Before(have.Started) {
			rec = s.change(name)
			rec.StartedAt, rec.EndedAt, rec.NextTry, rec.Facts, rec.Attempts = time.Time{}, time.Time{}, time.Time{}, nil, 0
			rec.Title = title
			if wish.Action == lazuli.MaintenanceUncordon {
				rec.Title = "End of the maintenance of " + m.Name
			}
			s.start(name)
		}
		s.at(have.Started.Add(drainTime))
		if !s.ready(name) || !s.reachable() {
			continue
		}
		act := ActDrain
		if wish.Action == lazuli.MaintenanceUncordon {
			act = ActUncordon
		}
		s.want(Intent{Act: act, Node: name})
	}
	return nil
}

// maintaining reports whether a machine's maintenance is under way.
func (s *step) maintaining(m *lazuli.Machine) bool {
	wish, ok := s.Cluster.Maintenance[m.UID]
	have := m.Maintenance
	return ok && (have == nil || !have.Is(wish) || have.State == lazuli.MaintenanceInitiated || have.State == lazuli.MaintenanceInProgress)
}

// takeMaintenance puts on record how far a cordon or uncordon is.
func (s *step) takeMaintenance(a Answer) {
	name := a.Intent.Node
	m, n := s.Machines[machineOf(name)], s.Nodes[name]
	if m == nil || n == nil || m.Going() || m.Maintenance == nil {
		return
	}
	if act := m.Maintenance.Action; (act == lazuli.MaintenanceUncordon) != (a.Intent.Act == ActUncordon) {
		return // an answer to an older wish
	}
	state, text := lazuli.MaintenanceInProgress, strings.Join(a.Drained.Waiting, "; ")
	switch {
	case a.Err != nil:
		text = a.Err.Error()
	case a.Intent.Act == ActUncordon || a.Drained.Done():
		state, text = lazuli.MaintenanceCompleted, ""
	}
	if state != lazuli.MaintenanceCompleted {
		n.NextTry = s.now.Add(max(drainWait, s.ProbeInterval))
		if s.now.Sub(m.Maintenance.Started) >= drainTime {
			state = lazuli.MaintenanceFailed
		}
	}
	if m.Maintenance.State == state && m.Maintenance.Message == text {
		return
	}
	next := *m.Maintenance
	next.State, next.Message = state, text
	m.Maintenance = &next
	s.dirtyMachines[m.Name] = true
	switch state {
	case lazuli.MaintenanceCompleted:
		s.done(name)
		s.say(lazuli.SeverityInfo, "MaintenanceCompleted", "%s of %s is done", next.Action, m.Name)
	case lazuli.MaintenanceFailed:
		s.done(name)
		s.say(lazuli.SeverityWarning, "MaintenanceFailed", "%s of %s did not end within %s: %s", next.Action, m.Name, drainTime, text)
	case lazuli.MaintenanceInitiated, lazuli.MaintenanceInProgress:
		s.change(name).Message = text
	}
}
