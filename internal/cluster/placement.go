// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

const (
	suffixAlphabet = "bcdfghjklmnpqrstvwxz2456789" // no vowels, no look-alikes
	factZones      = "zones"                       // of the location, comma-separated, on nodePlacement
	factSold       = "zones of "                   // and a size's name in lower case: the zones that sell it
)

// name gives the cluster its names in Azure, before anything else.
func (s *step) name() error {
	st := &s.Cluster.Status
	if st.Prefix == "" {
		st.Prefix = lazuli.ResourcePrefix(s.Cluster.Name, s.Cluster.UID)
		s.dirtyCluster = true
	}
	if st.State == "" {
		st.State = lazuli.StatePending
		s.dirtyCluster = true
	}
	if st.DNSLabel == "" {
		return s.label()
	}
	return nil
}

// label draws a DNS label for the API server. It is drawn again when Azure says
// that somebody has it.
func (s *step) label() error {
	b := make([]byte, lazuli.LabelSuffixLength/2) // two digits a byte
	if _, err := io.ReadFull(s.random, b); err != nil {
		return fmt.Errorf("draw a DNS label: %w", err)
	}
	st := &s.Cluster.Status
	st.DNSLabel = st.Prefix + "-" + hex.EncodeToString(b)
	// The form of the name is Azure's: "Public IP addresses", DNS name label.
	st.Endpoint = st.DNSLabel + "." + strings.ToLower(s.Spec.Location) + "." + cloudappDomain(s.Cloud.Name)
	st.KubeVersion = s.Settings.KubernetesVersion
	s.dirtyCluster = !mutated("labelUnsaved")
	return nil
}

// cloudappDomain is under which an Azure cloud names public addresses.
func cloudappDomain(cloud string) string {
	switch cloud {
	case "AzureUSGovernmentCloud", "AzureUSGovernment":
		return "cloudapp.usgovcloudapi.net"
	case "AzureChinaCloud":
		return "cloudapp.chinacloudapi.cn"
	default:
		return "cloudapp.azure.com"
	}
}

// takeSizes places the machines once it is known what is sold where.
func (s *step) takeSizes(a Answer) {
	if a.Err != nil {
		s.fault(a.Intent.Node, a.Err)
		return
	}
	s.sizes = map[string]resource.Size{}
	for _, size := range a.Sizes {
		s.sizes[strings.ToLower(size.Name)] = size
	}
	if a.Intent.Node != nodePlacement {
		return // the machines that a pool lacks are placed by fit
	}
	if err := s.place(); err != nil {
		s.fault(nodePlacement, err)
		return
	}
	s.done(nodePlacement)
}

// place decides the machines of all pools: their names, zones and what their
// size can do. It is decided once; what it depends on beside the random names
// is only the spec and the sizes.
func (s *step) place() error {
	all := s.offered()
	// All or nothing: a pool that cannot be placed leaves no machine of another.
	pools := s.pools()
	zonesOf := make([][]string, len(pools))
	for i, p := range pools {
		size, err := s.sizeOf(p)
		if err != nil {
			return err
		}
		if zonesOf[i], err = s.zonesFor(p, size); err != nil {
			return err
		}
	}
	for i, p := range pools {
		size := s.sizes[strings.ToLower(p.InstanceType)]
		for k := range p.Size {
			m, err := s.newMachine(p, size, s.leastUsed(p.Name, zonesOf[i]))
			if err != nil {
				return err
			}
			m.Init = p.ControlPlane && k == 0
			s.Machines[m.Name] = m
			s.dirtyMachines[m.Name] = true
		}
		s.findings(p, size, zonesOf[i])
	}
	facts := map[string]string{factZones: strings.Join(all, ",")}
	for _, p := range s.Spec.Pools {
		size := s.sizes[strings.ToLower(p.InstanceType)]
		facts[factSold+strings.ToLower(p.InstanceType)] = strings.Join(size.Zones, ",")
	}
	s.change(nodePlacement).Facts = facts
	return nil
}

// offered are the zones in which the location sells anything; none where it has
// no zones.
func (s *step) offered() []string {
	var all []string
	for _, size := range s.sizes {
		all = append(all, size.Zones...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// pools are the pools in the order in which they are placed: the control plane
// first, then by name, whatever the order of the request.
func (w *World) pools() []lazuli.Pool {
	out := slices.Clone(w.Spec.Pools)
	slices.SortStableFunc(out, func(a, b lazuli.Pool) int {
		if a.ControlPlane != b.ControlPlane {
			if a.ControlPlane {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

func (s *step) sizeOf(p lazuli.Pool) (resource.Size, error) {
	size, ok := s.sizes[strings.ToLower(p.InstanceType)]
	if ok && size.Restricted == "" {
		return size, nil
	}
	why := "it is not sold there"
	if ok {
		why = size.Restricted
	}
	return size, &lazuli.Error{
		Code:    lazuli.CodeAzureCapacity,
		Message: fmt.Sprintf("pool %s: size %s cannot be had in %s: %s", p.Name, p.InstanceType, s.Spec.Location, why),
		Remedy:  "Choose another size or region, or ask Azure for access to the size.",
	}
}

// zonesFor returns the zones that a pool's machines are spread over: those that
// sell the size and that the user allows; none where the location has none,
// whatever the user allows. That no zone is both is a fault.
// Zones that had no room a moment ago are left out as long as others remain.
func (s *step) zonesFor(p lazuli.Pool, size resource.Size) ([]string, error) {
	allowed := size.Zones
	if len(p.Zones) > 0 && !mutated("ignoreUserZones") {
		allowed = nil
		for _, z := range size.Zones {
			if slices.Contains(p.Zones, z) {
				allowed = append(allowed, z)
			}
		}
		if len(allowed) == 0 && len(s.offered()) > 0 {
			return nil, &lazuli.Error{
				Code: lazuli.CodeAzureCapacity,
				Message: fmt.Sprintf("pool %s: size %s is sold in none of the zones %s of %s",
					p.Name, p.InstanceType, strings.Join(p.Zones, ", "), s.Spec.Location),
				Remedy: "Choose other zones, another size, or no zones at all.",
			}
		}
	}
	roomy := slices.DeleteFunc(slices.Clone(allowed), func(z string) bool { return s.exhausted(size.Name, z) })
	if len(roomy) == 0 {
		return allowed, nil
	}
	return roomy, nil
}

// leastUsed is the zone with the fewest machines of the pool, then of the
// cluster, then the first; "" where there are no zones.
func (s *step) leastUsed(pool string, zones []string) string {
	best, bestCount := "", [2]int{}
	for _, z := range zones {
		if mutated("allInOneZone") && best != "" {
			break
		}
		var count [2]int
		for _, m := range s.machines() {
			if m.Zone != z {
				continue
			}
			count[1]++
			if m.Pool == pool {
				count[0]++
			}
		}
		if best == "" || count[0] < bestCount[0] || count[0] == bestCount[0] && count[1] < bestCount[1] {
			best, bestCount = z, count
		}
	}
	return best
}

// findings tells what about a pool's placement is less than one would wish, and
// still better than a refusal.
func (s *step) findings(p lazuli.Pool, size resource.Size, zones []string) {
	s.fewer(p, size)
	if !p.ControlPlane {
		return
	}
	switch {
	case len(zones) == 0 && p.Size > 1:
		s.say(lazuli.SeverityWarning, "NoZones", "%s has no availability zones: the control plane is spread over fault domains only", s.Spec.Location)
	case len(zones) < p.Size && p.Size > 1 && len(zones) < 3: // no region has more
		s.say(lazuli.SeverityWarning, "FewZones", "%s is sold in %d zones of %s only: losing one zone can cost etcd its majority",
			size.Name, len(zones), s.Spec.Location)
	}
	if !size.PremiumIO {
		s.say(lazuli.SeverityWarning, "SlowEtcd", "%s takes no premium disks: etcd shares the operating system's disk", size.Name)
	}
}

// fewer tells that a pool is not in all zones that the user asked for.
func (s *step) fewer(p lazuli.Pool, size resource.Size) {
	without := slices.DeleteFunc(slices.Clone(p.Zones), func(z string) bool { return slices.Contains(size.Zones, z) })
	switch {
	case len(without) == 0:
	case len(s.offered()) == 0:
		s.say(lazuli.SeverityWarning, "ZonesNotThere", "Pool %s: %s has no availability zones: the zones that it asks for have no effect", p.Name, s.Spec.Location)
	default:
		s.say(lazuli.SeverityWarning, "ZonesNotThere", "Pool %s: %s is not sold in zone %s of %s: its machines go to the others that it asks for",
			p.Name, size.Name, strings.Join(without, ", "), s.Spec.Location)
	}
}

func (s *step) newMachine(p lazuli.Pool, size resource.Size, zone string) (*lazuli.Machine, error) {
	suffix := make([]byte, lazuli.SuffixLength)
	if _, err := io.ReadFull(s.random, suffix); err != nil {
		return nil, fmt.Errorf("draw a machine's name: %w", err)
	}
	for j, b := range suffix {
		suffix[j] = suffixAlphabet[int(b)%len(suffixAlphabet)]
	}
	uid, err := lazuli.NewUID(s.now, s.random)
	if err != nil {
		return nil, fmt.Errorf("draw a machine's uid: %w", err)
	}
	name := lazuli.MachineName(s.Cluster.Status.Prefix, p.Name, string(suffix))
	m := &lazuli.Machine{
		Meta:         lazuli.Meta{UID: uid, Name: name, Project: s.Cluster.Project},
		ClusterUID:   s.Cluster.UID,
		Pool:         p.Name,
		ControlPlane: p.ControlPlane,
		InstanceType: size.Name,
		VMID:         resource.ID(s.Spec.SubscriptionID, s.Spec.ResourceGroup, resource.TypeVirtualMachine, name),
		NICID:        resource.ID(s.Spec.SubscriptionID, s.Spec.ResourceGroup, resource.TypeNetworkInterface, name+"-nic"),
		Arch:         size.Arch,
		Zone:         zone,
		State:        lazuli.MachinePending,
		StateSince:   s.now,
		// A disk of its own keeps etcd's writes apart from the pods'; it wants
		// premium storage, which not every size takes.
		EtcdDisk:              p.ControlPlane && size.PremiumIO,
		DiskType:              p.DiskType,
		DiskSizeGB:            p.DiskSizeGB,
		AcceleratedNetworking: size.AcceleratedNetworking,
		Generation:            generation1,
	}
	if slices.Contains(size.Generations, "V2") || len(size.Generations) == 0 {
		m.Generation = "V2"
	}
	return m, nil
}

// regionZones are the zones of the location, as they were when the machines
// were placed.
func (w *World) regionZones() []string {
	n := w.Nodes[nodePlacement]
	if n == nil || n.Facts[factZones] == "" {
		return nil
	}
	return strings.Split(n.Facts[factZones], ",")
}
