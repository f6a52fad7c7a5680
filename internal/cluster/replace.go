// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

const (
	// exhaustedFor is how long a zone without room for a size is passed over, and
	// at most how long a machine waits that can be placed nowhere else.
	exhaustedFor = 15 * time.Minute
	// firstRoom is how long such a machine waits the first time.
	firstRoom = 2 * time.Minute
	// maxReplaced is how many machines of a pool are replaced within replaceWindow:
	// a size that can be had nowhere must not eat names for ever.
	maxReplaced   = 5
	replaceWindow = time.Hour
	provisioning  = "OSProvisioning" // Azure's codes of a guest that never reported begin with it
)

// replaceFailed gives a machine whose VM cannot come up a successor with
// another name, in another zone when it was room that lacked. It reports
// whether it did: else the failure stays on record and is retried, after wait
// when that is set.
//
// Where there is no other zone, the successor stands in the same place and comes
// after a while, for room comes and goes: the VM that failed never gets any.
func (s *step) replaceFailed(vm string, err error) (replaced bool, wait time.Duration, _ error) {
	m := s.Machines[strings.TrimPrefix(vm, prefixVM)]
	if m == nil || m.Going() || m.Ready || s.member(m) {
		return false, 0, nil
	}
	noRoom := lazuli.CodeOf(err) == lazuli.CodeAzureCapacity
	if !noRoom && !strings.HasPrefix(azureCode(err), provisioning) {
		return false, 0, nil
	}
	waited := noRoom && s.Nodes[vm].Code == lazuli.CodeAzureCapacity // a later look says once more what the first said
	if noRoom && !waited {
		s.exhaust(m.InstanceType, m.Zone)
	}
	late := s.replacedLately(m.Pool)
	zone, ok := s.otherZone(m, noRoom)
	if !ok && noRoom {
		zone, ok, wait = m.Zone, waited, min(firstRoom<<min(late, maxReplaced), exhaustedFor)
	}
	if !ok || late >= maxReplaced {
		return false, wait, nil
	}
	return true, 0, s.replace(m, zone, err)
}

// member reports whether a control plane may be a member of etcd: what Azure
// says of its VM then counts for less than what the cluster says. The one that
// makes the cluster is, once the API server answered: another would make a
// second cluster behind the same address.
func (s *step) member(m *lazuli.Machine) bool {
	api := s.Nodes[nodeAPIServer]
	return m.ControlPlane && (m.KubeVersion != "" || m.Init && api != nil && api.State == lazuli.NodeDone)
}

// otherZone picks the zone of a successor. The candidates are the zones in
// which the size was sold when the cluster was placed, within the user's wish.
func (s *step) otherZone(m *lazuli.Machine, noRoom bool) (string, bool) {
	if m.Zone == "" {
		return "", !noRoom // without zones there is no other place
	}
	p := s.pool(m.Pool)
	var zones []string
	for _, z := range s.soldZones(m.InstanceType) {
		if len(p.Zones) > 0 && !slices.Contains(p.Zones, z) || s.exhausted(m.InstanceType, z) {
			continue
		}
		zones = append(zones, z)
	}
	zone := s.leastUsed(m.Pool, zones)
	return zone, zone != ""
}

// replace retires a machine and names its successor.
func (s *step) replace(m *lazuli.Machine, zone string, why error) error {
	size := resource.Size{
		Name: m.InstanceType, Arch: m.Arch, AcceleratedNetworking: m.AcceleratedNetworking, PremiumIO: m.EtcdDisk,
		Generations: []string{m.Generation},
	}
	next, err := s.newMachine(s.pool(m.Pool), size, zone)
	if err != nil {
		return err
	}
	if mutated("reuseName") {
		next.Name, next.VMID, next.NICID = m.Name, m.VMID, m.NICID
	}
	next.Init = m.Init
	next.Late = !m.Init // its token was not among the first
	s.Machines[next.Name] = next
	s.dirtyMachines[next.Name] = true

	m.RetiredAt, m.State, m.StateSince, m.Message = s.now, lazuli.MachineDeleting, s.now, why.Error()
	s.dirtyMachines[m.Name] = true
	for _, name := range []string{prefixJoin + m.Name, prefixToken + m.Name} {
		if n := s.Nodes[name]; n != nil {
			s.vanished(name)
		}
	}
	where := ""
	if zone != m.Zone {
		where = fmt.Sprintf(" in zone %s instead of %s", zone, m.Zone)
	}
	s.say(lazuli.SeverityWarning, "MachineReplaced", "%s takes the place of %s%s: %v", next.Name, m.Name, where, why)
	return nil
}

// sweep removes what retired machines left in Azure.
func (s *step) sweep() {
	for _, name := range s.retired() {
		m := s.Machines[name]
		var left []*lazuli.Node
		for _, prefix := range []string{prefixVM, prefixNIC} {
			n := s.Nodes[prefix+name]
			if n == nil || n.State == lazuli.NodeGone {
				continue
			}
			if n.IntentAt.IsZero() {
				s.vanished(n.Name)
				continue
			}
			left = append(left, n)
		}
		for _, n := range left {
			s.removeResource(n, left)
		}
		if len(left) == 0 && s.dropNode(m) {
			m.State, m.StateSince = lazuli.MachineDeleted, s.now
			s.dirtyMachines[name] = true
		}
	}
}

// retired are the names of the machines that another one replaced and that are
// not yet gone.
func (w *World) retired() []string {
	var out []string
	for name, m := range w.Machines {
		if !m.RetiredAt.IsZero() && m.State != lazuli.MachineDeleted {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// ofRetired reports whether a node belongs to a machine that shall be no more.
func (w *World) ofRetired(node string) bool {
	m := w.Machines[machineOf(node)]
	return m != nil && m.Going()
}

func (s *step) replacedLately(pool string) int {
	n := 0
	for _, m := range s.Machines {
		if m.Pool == pool && m.LeavingAt.IsZero() && !m.RetiredAt.IsZero() && s.now.Sub(m.RetiredAt) < replaceWindow {
			n++
		}
	}
	return n
}

// exhaust notes that a size had no room in a zone, and forgets what is over.
func (s *step) exhaust(size, zone string) {
	kept := []lazuli.Exhausted{{Size: size, Zone: zone, Until: s.now.Add(exhaustedFor)}}
	for _, e := range s.Cluster.Status.Exhausted {
		if e.Until.After(s.now) && (e.Size != size || e.Zone != zone) {
			kept = append(kept, e)
		}
	}
	s.Cluster.Status.Exhausted = kept
	s.dirtyCluster = true
}

func (s *step) exhausted(size, zone string) bool {
	return !mutated("noZoneMemory") && slices.ContainsFunc(s.Cluster.Status.Exhausted, func(e lazuli.Exhausted) bool {
		return strings.EqualFold(e.Size, size) && e.Zone == zone && e.Until.After(s.now)
	})
}

// soldZones are the zones in which a size was sold when the cluster was placed.
func (w *World) soldZones(size string) []string {
	n := w.Nodes[nodePlacement]
	if n == nil || n.Facts[factSold+strings.ToLower(size)] == "" {
		return nil
	}
	return strings.Split(n.Facts[factSold+strings.ToLower(size)], ",")
}
