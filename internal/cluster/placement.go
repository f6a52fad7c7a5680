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
	b := make([]byte, lazuli.LabelSuffixLength/2) //nolint:mnd // two digits a byte
	if _, err := io.ReadFull(s.random, b); err != nil {
		return fmt.Errorf("draw a DNS label: %w", err)
	}
	st := &s.Cluster.Status
	st.DNSLabel = st.Prefix + "-" + hex.EncodeToString(b)
	// The form of the name is Azure's: "Public IP addresses", DNS name label.
	st.Endpoint = st.DNSLabel + "." + strings.ToLower(s.Spec.Location) + "." + cloudappDomain(s.Cloud.Name)
	st.KubeVersion = s.Settings.KubernetesVersion
	s.dirtyCluster = true
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
		s.fault(nodePlacement, a.Err)
		return
	}
	s.sizes = map[string]resource.Size{}
	for _, size := range a.Sizes {
		s.sizes[strings.ToLower(size.Name)] = size
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
	zones := map[string]bool{}
	for _, size := range s.sizes {
		for _, z := range size.Zones {
			zones[z] = true
		}
	}
	all := make([]string, 0, len(zones))
	for z := range zones {
		all = append(all, z)
	}
	slices.Sort(all)
	placed := map[string]*lazuli.Machine{}
	for _, p := range s.Spec.Pools {
		size, ok := s.sizes[strings.ToLower(p.InstanceType)]
		if !ok || size.Restricted != "" {
			why := "it is not sold there"
			if ok {
				why = size.Restricted
			}
			return &lazuli.Error{
				Code:    lazuli.CodeAzureCapacity,
				Message: fmt.Sprintf("pool %s: size %s cannot be had in %s: %s", p.Name, p.InstanceType, s.Spec.Location, why),
				Remedy:  "Choose another size or region, or ask Azure for access to the size.",
			}
		}
		over, err := s.zonesFor(p, size)
		if err != nil {
			return err
		}
		for i := range p.Size {
			m, err := s.newMachine(p, size, i, over)
			if err != nil {
				return err
			}
			placed[m.Name] = m
		}
	}
	for name, m := range placed {
		s.Machines[name] = m
		s.dirtyMachines[name] = true
	}
	s.change(nodePlacement).Facts = map[string]string{factZones: strings.Join(all, ",")}
	return nil
}

// zonesFor returns the zones that a pool's machines go to in turn; none where
// the location has none.
func (s *step) zonesFor(p lazuli.Pool, size resource.Size) ([]string, error) {
	if len(p.Zones) == 0 {
		return size.Zones, nil
	}
	var both []string
	for _, z := range p.Zones {
		if slices.Contains(size.Zones, z) && !slices.Contains(both, z) {
			both = append(both, z)
		}
	}
	if len(both) == 0 {
		return nil, &lazuli.Error{
			Code: lazuli.CodeAzureCapacity,
			Message: fmt.Sprintf("pool %s: size %s is sold in none of the zones %s of %s",
				p.Name, p.InstanceType, strings.Join(p.Zones, ", "), s.Spec.Location),
			Remedy: "Choose other zones, another size, or no zones at all.",
		}
	}
	return both, nil
}

func (s *step) newMachine(p lazuli.Pool, size resource.Size, i int, zones []string) (*lazuli.Machine, error) {
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
		Init:         p.ControlPlane && i == 0,
		InstanceType: size.Name,
		VMID:         resource.ID(s.Spec.SubscriptionID, s.Spec.ResourceGroup, resource.TypeVirtualMachine, name),
		NICID:        resource.ID(s.Spec.SubscriptionID, s.Spec.ResourceGroup, resource.TypeNetworkInterface, name+"-nic"),
		Arch:         size.Arch,
		State:        lazuli.MachinePending,
		StateSince:   s.now,
		// A disk of its own keeps etcd's writes apart from the pods'; it wants
		// premium storage, which not every size takes.
		EtcdDisk:              p.ControlPlane && size.PremiumIO,
		AcceleratedNetworking: size.AcceleratedNetworking,
		Generation:            generation1,
	}
	if slices.Contains(size.Generations, "V2") || len(size.Generations) == 0 {
		m.Generation = "V2"
	}
	if len(zones) > 0 {
		m.Zone = zones[i%len(zones)]
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
