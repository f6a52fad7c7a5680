// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"net/netip"
	"slices"
	"strings"
)

// Attachment is how a machine hangs in its virtual network: what a fabric must know to carry its packets.
type Attachment struct {
	// VNetID is the ARM id of the virtual network in lower case, Spaces its address spaces.
	VNetID string
	Spaces []netip.Prefix
	// Subnet is the prefix of the subnet: its first address is the gateway. Address is the machine's own.
	Subnet  netip.Prefix
	Address netip.Addr
	// MAC is the interface's address, as 00:0d:3a:01:02:03.
	MAC string
	// Inbound and Outbound are the security groups that a packet passes one after the other. Each must allow it; no
	// group allows everything.
	Inbound, Outbound [][]Rule
	// Egress is the address that the Internet sees, invalid when there is no way out. What may take it, the rules say.
	Egress netip.Addr
}

// Rule is one rule of a security group. Groups are in the order of priority and end with Azure's default rules: the
// first rule that matches decides, and a packet that matches none is dropped.
type Rule struct {
	Name     string
	Allow    bool
	Protocol string // "*", "tcp", "udp" or "icmp"
	From, To Peers
	// Ports are the ranges of the destination's ports, both ends included.
	Ports [][2]int
}

// Peers are the addresses of one side of a rule, service tags resolved.
type Peers struct {
	// Any is every address. Prefixes are more of them, and Outside says that each address that is neither in the
	// virtual network nor the platform's (168.63.129.16) belongs to them too.
	Any      bool
	Prefixes []netip.Prefix
	Outside  bool
}

// NetworkWatcher is implemented by Machines that carry packets: NetworkChanged says that attachments may have changed.
// It runs as an event, must not block, and several changes may be told as one.
type NetworkWatcher interface{ NetworkChanged() }

// Attachment is Env.
func (s *Simulator) Attachment(id string) (Attachment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	vm := s.store.get(id)
	if vm == nil {
		return Attachment{}, noWay("attach machine %s, which is gone", id)
	}
	nic := s.primaryNIC(vm)
	if nic == nil {
		return Attachment{}, noWay("attach machine %s, which has no network interface", id)
	}
	cfg := primaryConfig(nic)
	vnet, sub := s.subnetOf(cfg)
	addr, bad := netip.ParseAddr(str(cfg, "properties", "privateIPAddress"))
	if vnet == nil || bad != nil {
		return Attachment{}, noWay("attach machine %s, whose network interface has no subnet", id)
	}
	subnet, bad := netip.ParsePrefix(subnetPrefix(sub))
	if bad != nil {
		return Attachment{}, noWay("attach machine %s to subnet %s", id, subnetPrefix(sub))
	}
	view := object{}
	viewNIC(s, nic, view)
	out := Attachment{
		VNetID: vnet.key(), Spaces: spacesOf(vnet), Subnet: subnet.Masked(), Address: addr,
		MAC: strings.ToLower(strings.ReplaceAll(str(view, "properties", "macAddress"), "-", ":")),
	}
	inner, outer := s.groupOf(nic.body), s.groupOf(sub)
	for _, g := range []*resource{outer, inner} { // Packets come in through the subnet's group first.
		if g != nil {
			out.Inbound = append(out.Inbound, resolved(g, "Inbound", out.Spaces))
		}
	}
	for _, g := range []*resource{inner, outer} {
		if g != nil {
			out.Outbound = append(out.Outbound, resolved(g, "Outbound", out.Spaces))
		}
	}
	if egress, err := s.wayOut(nic); err == nil {
		out.Egress = egress
	}
	return out, nil
}

// RouteFrom is Env.
func (s *Simulator) RouteFrom(from string, to netip.AddrPort) (machine string, port int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	vm := s.store.get(from)
	if vm == nil {
		return "", 0, noWay("reach %s: machine %s is gone", to, from)
	}
	nic := s.primaryNIC(vm)
	if nic == nil {
		return "", 0, noWay("reach %s: machine %s has no network interface", to, from)
	}
	w, err := s.routeFrom(keyOf(from), nic, to.Addr(), int(to.Port()))
	return w.machine, w.port, err
}

// resolved are a group's rules of one direction.
func resolved(group *resource, direction string, spaces []netip.Prefix) []Rule {
	var out []Rule
	for _, rule := range orderedRules(group) {
		p := child(rule, "properties")
		if str(p, "direction") != direction {
			continue
		}
		out = append(out, Rule{
			Name: str(rule, "name"), Allow: str(p, "access") == "Allow", Protocol: strings.ToLower(str(p, "protocol")),
			From: peersOf(prefixesOf(p, "source"), spaces), To: peersOf(prefixesOf(p, "destination"), spaces), Ports: portsOf(p, "destination"),
		})
	}
	return out
}

// peersOf resolves service tags. A tag that is not known here covers nothing.
func peersOf(list []string, spaces []netip.Prefix) Peers {
	var out Peers
	for _, v := range list {
		switch strings.ToLower(v) {
		case "*":
			out.Any = true
		case "virtualnetwork":
			out.Prefixes = append(out.Prefixes, spaces...)
		case "azureloadbalancer":
			out.Prefixes = append(out.Prefixes, netip.PrefixFrom(probeAddress, probeAddress.BitLen()))
		case "internet":
			out.Outside = true
		default:
			if p, err := netip.ParsePrefix(v); err == nil {
				out.Prefixes = append(out.Prefixes, p.Masked())
			} else if a, err := netip.ParseAddr(v); err == nil {
				out.Prefixes = append(out.Prefixes, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return out
}

// Has reports whether an address is one of the peers. Spaces are those of the virtual network.
func (p Peers) Has(a netip.Addr, spaces []netip.Prefix) bool {
	holds := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(q netip.Prefix) bool { return q.Contains(a) })
	}
	return p.Any || holds(p.Prefixes) || p.Outside && a != probeAddress && !holds(spaces)
}

// touchNetwork tells whoever carries packets, soon. The lock is held.
func (s *Simulator) touchNetwork() {
	s.touchFront()
	watcher, watches := s.cfg.Machines.(NetworkWatcher)
	if !watches || s.announced {
		return
	}
	s.announced = true
	s.outside(func() {
		s.mu.Lock()
		s.announced = false
		s.mu.Unlock()
		watcher.NetworkChanged()
	})
}
