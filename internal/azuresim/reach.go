// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ErrUnreachable means that packets are dropped: no route, a security group, or no healthy backend.
var ErrUnreachable = errors.New("connection timed out")

// ErrNoSuchHost means that a name of the cloud does not resolve.
var ErrNoSuchHost = errors.New("no such host")

// backend is one member of a load balancer's pool whose machine exists.
type backend struct {
	guest *guest
	nic   *resource
	cfg   object
	addr  netip.Addr
}

// way is where a connection ends.
type way struct {
	machine string
	port    int
}

// LookupHost resolves a public DNS name of the cloud; ErrNoSuchHost when there is none.
func (s *Simulator) LookupHost(name string) (netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookup(name)
}

func (s *Simulator) lookup(name string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return a, nil
	}
	ip := s.store.byKey[s.net.names[strings.ToLower(strings.TrimSuffix(name, "."))]]
	if ip == nil {
		return netip.Addr{}, fmt.Errorf("look up %s: %w", name, ErrNoSuchHost)
	}
	a, err := netip.ParseAddr(str(ip.body, "properties", "ipAddress"))
	if err != nil {
		return a, fmt.Errorf("look up %s: %w", name, ErrNoSuchHost)
	}
	return a, nil
}

// Reach is Env. For a name or address that is not of this cloud, to is "": the Internet answers, provided that there is
// a way out.
func (s *Simulator) Reach(from, host string, port int) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	vm := s.store.get(from)
	if vm == nil {
		return "", fmt.Errorf("reach %s: machine %s is gone: %w", host, from, ErrUnreachable)
	}
	nic := s.primaryNIC(vm)
	if nic == nil {
		return "", fmt.Errorf("reach %s: machine %s has no network interface: %w", host, from, ErrUnreachable)
	}
	addr, err := s.lookup(host)
	if err != nil {
		if strings.HasSuffix(strings.ToLower(host), ".cloudapp.azure.com") {
			return "", err
		}
		_, err = s.egress(nic, netip.Addr{}, port)
		return "", err
	}
	w, err := s.routeFrom(keyOf(from), nic, addr, port)
	return w.machine, err
}

func noWay(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrUnreachable)...)
}

// subnetOf is the network and the subnet of an IP configuration.
func (s *Simulator) subnetOf(cfg object) (vnet *resource, sub object) {
	id := str(cfg, "properties", "subnet", "id")
	vnet = s.store.owner(id)
	if vnet == nil {
		return nil, nil
	}
	return vnet, part(vnet.body, "subnets", id[strings.LastIndexByte(id, '/')+1:])
}

func spacesOf(vnet *resource) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts(vnet.body, "properties", "addressSpace", "addressPrefixes") {
		if p, err := netip.ParsePrefix(t); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// leaves checks the outbound rules: the NIC's group, then the subnet's.
func (s *Simulator) leaves(nic *resource, to netip.Addr, port int) bool {
	cfg := primaryConfig(nic)
	vnet, sub := s.subnetOf(cfg)
	if vnet == nil {
		return false
	}
	from, err := netip.ParseAddr(str(cfg, "properties", "privateIPAddress"))
	if err != nil {
		return false
	}
	k := packet{from: from, to: to, port: port, spaces: spacesOf(vnet)}
	return s.allows(s.groupOf(nic.body), "Outbound", k) && s.allows(s.groupOf(sub), "Outbound", k)
}

// groupOf is the security group that an object names, or nil.
func (s *Simulator) groupOf(o object) *resource {
	return s.store.get(str(o, "properties", "networkSecurityGroup", "id"))
}

// egress is the address with which a machine appears outside. Without a NAT gateway or an address of its own there is
// none: subnets are private (defaultOutboundAccess false).
func (s *Simulator) egress(nic *resource, to netip.Addr, port int) (netip.Addr, error) {
	if !to.IsValid() {
		to = netip.AddrFrom4([4]byte{1, 1, 1, 1}) // Any address of the Internet.
	}
	if !s.leaves(nic, to, port) {
		return netip.Addr{}, noWay("leave through the network security group")
	}
	return s.wayOut(nic)
}

// wayOut is egress whatever the security groups say.
func (s *Simulator) wayOut(nic *resource) (netip.Addr, error) {
	cfg := primaryConfig(nic)
	ids := []string{str(cfg, "properties", "publicIPAddress", "id")}
	_, sub := s.subnetOf(cfg)
	if nat := s.store.get(str(sub, "properties", "natGateway", "id")); nat != nil && nat.state == stateSucceeded {
		for _, ip := range items(nat.body, "properties", "publicIpAddresses") {
			ids = append([]string{str(ip, "id")}, ids...) // A gateway goes before an address of one's own.
		}
	}
	for _, id := range ids {
		if ip := s.store.get(id); ip != nil {
			if a, err := netip.ParseAddr(str(ip.body, "properties", "ipAddress")); err == nil {
				return a, nil
			}
		}
	}
	return netip.Addr{}, noWay("leave the subnet without a NAT gateway")
}

// routeFrom is the way from a machine to an address.
func (s *Simulator) routeFrom(from string, nic *resource, addr netip.Addr, port int) (way, error) {
	if s.net.public[addr] != "" {
		source, err := s.egress(nic, addr, port)
		if err != nil {
			return way{}, err
		}
		return s.routePublic(source, addr, port)
	}
	cfg := primaryConfig(nic)
	vnet, _ := s.subnetOf(cfg)
	source, bad := netip.ParseAddr(str(cfg, "properties", "privateIPAddress"))
	if vnet == nil || bad != nil {
		return way{}, noWay("leave a network interface without a subnet")
	}
	owner := ""
	for _, sub := range items(vnet.body, "properties", "subnets") {
		if k := s.net.private[keyOf(str(sub, "id"))][addr]; k != "" {
			owner = k
		}
	}
	if owner == "" {
		if addr.IsPrivate() {
			return way{}, noWay("find %s in the virtual network", addr)
		}
		_, err := s.egress(nic, addr, port)
		return way{}, err
	}
	if !s.leaves(nic, addr, port) {
		return way{}, noWay("leave through the network security group")
	}
	r := s.store.owner(owner)
	if r != nil && r.kind.typ == typeLB {
		w, err := s.routeFrontend(r, owner, source, port)
		if err == nil && keyOf(w.machine) == from { // A member cannot reach itself through an internal load balancer.
			return way{}, noWay("hairpin through load balancer %s", r.id)
		}
		return w, err
	}
	b, known := s.backendOf(owner)
	if !known {
		return way{}, noWay("find a machine at %s", addr)
	}
	return s.arrive(b, source, port)
}

// arrive checks the target's side.
func (s *Simulator) arrive(b backend, source netip.Addr, port int) (way, error) {
	switch {
	case b.guest.power != powerRunning:
		return way{}, noWay("reach %s, which is %s", b.guest.machine.Name, b.guest.power)
	case !s.admits(b, source, port):
		return way{}, noWay("pass the network security group of %s with %s as source to port %d", b.guest.machine.Name, source, port)
	}
	return way{machine: b.guest.machine.ID, port: port}, nil
}

// admits checks the inbound rules: the subnet's group, then the NIC's.
func (s *Simulator) admits(b backend, source netip.Addr, port int) bool {
	vnet, sub := s.subnetOf(b.cfg)
	if vnet == nil {
		return false
	}
	k := packet{from: source, to: b.addr, port: port, spaces: spacesOf(vnet)}
	inner, outer := s.groupOf(b.nic.body), s.groupOf(sub)
	if inner == nil && outer == nil && !peersOf([]string{"VirtualNetwork", "AzureLoadBalancer"}, k.spaces).Has(source, k.spaces) {
		return false // Standard addresses are closed without a security group.
	}
	return s.allows(outer, "Inbound", k) && s.allows(inner, "Inbound", k)
}

// routePublic is the way from an address outside to a public address.
func (s *Simulator) routePublic(source, addr netip.Addr, port int) (way, error) {
	ip := s.store.byKey[s.net.public[addr]]
	if ip == nil {
		return way{}, noWay("find public address %s", addr)
	}
	for _, user := range s.store.referrers(ip.id, "") {
		r := s.store.owner(user)
		switch {
		case r == nil:
		case r.kind.typ == typeLB:
			return s.routeFrontend(r, keyOf(user), source, port)
		case r.kind.typ == typeNIC:
			if b, known := s.backendOf(keyOf(user)); known {
				return s.arrive(b, source, port)
			}
		}
	}
	return way{}, noWay("find anything behind public address %s", addr)
}

// routeFrontend chooses a healthy backend, each in turn.
func (s *Simulator) routeFrontend(lb *resource, frontend string, source netip.Addr, port int) (way, error) {
	for _, rule := range items(lb.body, "properties", "loadBalancingRules") {
		p := child(rule, "properties")
		n, _ := number(p, "frontendPort")
		if n != port || keyOf(str(p, "frontendIPConfiguration", "id")) != frontend || strings.EqualFold(str(p, "protocol"), "Udp") {
			continue
		}
		var healthy []backend
		for _, b := range s.backends(rule) {
			if b.guest.power == powerRunning && s.healthy(lb, rule, b) {
				healthy = append(healthy, b)
			}
		}
		if len(healthy) == 0 {
			return way{}, noWay("find a healthy backend of %s", str(rule, "id"))
		}
		key := keyOf(str(rule, "id"))
		turn := s.front.turns[key]
		s.front.turns[key]++
		back, _ := number(p, "backendPort")
		return s.arrive(healthy[turn%len(healthy)], source, back)
	}
	return way{}, noWay("find a rule for port %s on %s", strconv.Itoa(port), lb.id)
}

// healthy says what the last probes found. A rule without a probe takes every backend for healthy.
func (s *Simulator) healthy(lb *resource, rule object, b backend) bool {
	probe := str(rule, "properties", "probe", "id")
	if probe == "" {
		return true
	}
	name := strings.ToLower(probe[strings.LastIndexByte(probe, '/')+1:])
	return s.front.health[keyOf(b.guest.machine.ID)][lb.key()+"|"+name].up
}

// backends are the members of a rule's pools, in the order of their ids.
func (s *Simulator) backends(rule object) []backend {
	var out []backend
	for _, pool := range poolsOf(rule) {
		for _, member := range s.store.referrers(pool, "/networkinterfaces/") {
			if b, known := s.backendOf(member); known {
				out = append(out, b)
			}
		}
	}
	return out
}

// backendOf finds the machine behind an IP configuration.
func (s *Simulator) backendOf(config string) (backend, bool) {
	nic := s.store.owner(config)
	if nic == nil || nic.kind.typ != typeNIC {
		return backend{}, false
	}
	g := s.vms[keyOf(s.machineOf(nic))]
	cfg := part(nic.body, "ipConfigurations", config[strings.LastIndexByte(config, '/')+1:])
	a, err := netip.ParseAddr(str(cfg, "properties", "privateIPAddress"))
	if g == nil || err != nil {
		return backend{}, false
	}
	return backend{guest: g, nic: nic, cfg: cfg, addr: a}, true
}
