// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	typeVNet     = "Microsoft.Network/virtualNetworks"
	typeNSG      = "Microsoft.Network/networkSecurityGroups"
	typePublicIP = "Microsoft.Network/publicIPAddresses"
	typeNAT      = "Microsoft.Network/natGateways"
	typeLB       = "Microsoft.Network/loadBalancers"
	typeNIC      = "Microsoft.Network/networkInterfaces"
	typeRoutes   = "Microsoft.Network/routeTables"
)

// network is what Azure knows beyond the resources: addresses that are taken, and names.
type network struct {
	private map[string]map[netip.Addr]string // subnet key -> address -> key of the owner
	public  map[netip.Addr]string            // address -> key of the public IP
	names   map[string]string                // fqdn -> key of the public IP
}

func newNetwork() network {
	return network{private: map[string]map[netip.Addr]string{}, public: map[netip.Addr]string{}, names: map[string]string{}}
}

// reservedAddresses at the start of each subnet are Azure's: network, gateway, two for DNS; the last is broadcast.
const reservedAddresses = 4

// takeAddress reserves an address of a subnet; wanted is invalid for the first free one.
func (s *Simulator) takeAddress(subnetID, prefix, owner string, wanted netip.Addr) (netip.Addr, *apiError) {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return netip.Addr{}, badRequest("InvalidAddressPrefixFormat", "Address prefix %s of resource %s is not formatted correctly.", prefix, subnetID)
	}
	p = p.Masked()
	key := keyOf(subnetID)
	taken := s.net.private[key]
	if taken == nil {
		taken = map[netip.Addr]string{}
		s.net.private[key] = taken
	}
	first := p.Addr()
	for range reservedAddresses {
		first = first.Next()
	}
	if wanted.IsValid() {
		switch {
		case !p.Contains(wanted):
			return wanted, badRequest("PrivateIPAddressNotInSubnet", "Private static IP address %s does not belong to the range of subnet prefix %s.", wanted, p)
		case wanted.Less(first) || !p.Contains(wanted.Next()):
			return wanted, badRequest("PrivateIPAddressInReservedRange", "Private static IP address %s falls within reserved IP range of subnet prefix %s.", wanted, p)
		case taken[wanted] != "" && taken[wanted] != owner:
			return wanted, badRequest("PrivateIPAddressIsAllocated", "IP configuration %s is using the private IP address %s which is already allocated to resource %s.",
				owner, wanted, taken[wanted])
		}
		taken[wanted] = owner
		return wanted, nil
	}
	for a := first; p.Contains(a.Next()); a = a.Next() {
		if taken[a] == "" {
			taken[a] = owner
			return a, nil
		}
	}
	return netip.Addr{}, badRequest("SubnetIsFull", "Subnet %s with address prefix %s does not have enough capacity for 1 IP addresses.", subnetID, p)
}

func (s *Simulator) freeAddress(subnetID, address string) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return
	}
	key := keyOf(subnetID)
	delete(s.net.private[key], a)
	if len(s.net.private[key]) == 0 {
		delete(s.net.private, key)
	}
}

// networkHint is what Network sends as Retry-After on the PUT of a virtual network (azure-operations, E.2).
const networkHint = 3 * time.Second

func networkKind() *kind {
	return &kind{
		typ: typeVNet, latency: "network.virtualnetworks", children: map[string]string{"subnets": "subnets"}, etags: true,
		puts: "PutVirtualNetworkOperation", hint: []time.Duration{networkHint}, deletes: true,
		put: putNetwork, block: blockNetwork, view: viewNetwork,
		refs: func(r *resource) []ref {
			var out []ref
			for _, sub := range items(r.body, "properties", "subnets") {
				id := r.id + "/subnets/" + str(sub, "name")
				for _, p := range []string{"networkSecurityGroup", "natGateway", "routeTable"} {
					if to := str(sub, "properties", p, "id"); to != "" {
						out = append(out, ref{id, to})
					}
				}
			}
			return out
		},
		usage: func(*Simulator, *resource) map[string]int { return map[string]int{"VirtualNetworks": 1} },
	}
}

func subnetPrefix(sub object) string {
	if p := str(sub, "properties", "addressPrefix"); p != "" {
		return p
	}
	if l := texts(sub, "properties", "addressPrefixes"); len(l) > 0 {
		return l[0]
	}
	return ""
}

// smallestSubnet is the longest prefix of a subnet (learn.microsoft.com, virtual network FAQ).
const smallestSubnet = 29

func putNetwork(c *call, r *resource, old object) *apiError {
	var spaces []netip.Prefix
	for _, t := range texts(r.body, "properties", "addressSpace", "addressPrefixes") {
		p, err := netip.ParsePrefix(t)
		if err != nil {
			return badRequest("InvalidAddressPrefixFormat", "Address prefix %s of resource %s is not formatted correctly.", t, r.id)
		}
		spaces = append(spaces, p.Masked())
	}
	if len(spaces) == 0 {
		return badRequest("InvalidRequestFormat", "Cannot parse the request: addressSpace.addressPrefixes is missing in virtual network %s.", r.target.name())
	}
	subnets := items(r.body, "properties", "subnets")
	var seen []netip.Prefix
	for i, sub := range subnets {
		p, err := netip.ParsePrefix(subnetPrefix(sub))
		if err != nil || str(sub, "name") == "" {
			return badRequest("InvalidAddressPrefixFormat", "Address prefix %s of subnet %s is not formatted correctly.", subnetPrefix(sub), str(sub, "name"))
		}
		p = p.Masked()
		if p.Bits() > smallestSubnet || !slices.ContainsFunc(spaces, func(a netip.Prefix) bool { return a.Bits() <= p.Bits() && a.Contains(p.Addr()) }) {
			return badRequest("NetcfgInvalidSubnet", "Subnet '%s' is not valid in virtual network '%s'.", str(sub, "name"), r.target.name())
		}
		if j := slices.IndexFunc(seen, p.Overlaps); j >= 0 {
			return badRequest("NetcfgSubnetRangesOverlap", "Subnet '%s' is not valid because its IP address range overlaps with that of an existing subnet in virtual network '%s'.",
				str(sub, "name"), r.target.name())
		}
		seen = append(seen, p)
		if err := c.checkSubnetRefs(r, subnets[i]); err != nil {
			return err
		}
	}
	return c.keepUsedSubnets(r, old)
}

func (c *call) checkSubnetRefs(r *resource, sub object) *apiError {
	id := r.id + "/subnets/" + str(sub, "name")
	for _, x := range []struct{ prop, typ string }{{"networkSecurityGroup", typeNSG}, {"natGateway", typeNAT}, {"routeTable", typeRoutes}} {
		to := str(sub, "properties", x.prop, "id")
		if to == "" {
			continue
		}
		other, err := c.refer(id, to, x.typ, x.typ+"/join/action")
		if err != nil {
			return err
		}
		if other.location != r.location {
			return badRequest("InvalidResourceReference", "Resource %s referenced by resource %s was not found. Please make sure that the referenced "+
				"resource exists, and that both resources are in the same region.", to, id)
		}
		if x.prop != "natGateway" {
			continue
		}
		for _, user := range c.sim.store.referrers(to, "/subnets/") { // A gateway serves the subnets of one network.
			if !within(r.id, user) {
				return badRequest("NatGatewayCannotBeUsedByMultipleVirtualNetworks", "NAT gateway %s cannot be used by subnets of different virtual networks.", to)
			}
		}
	}
	return nil
}

// keepUsedSubnets refuses to drop or move a subnet in which something lives (CAPZ#172).
func (c *call) keepUsedSubnets(r *resource, old object) *apiError {
	for _, was := range items(old, "properties", "subnets") {
		now := part(r.body, "subnets", str(was, "name"))
		if now != nil && subnetPrefix(now) == subnetPrefix(was) {
			continue
		}
		if err := c.subnetFree(str(was, "id")); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) subnetFree(id string) *apiError {
	users := c.sim.store.referrers(id, "")
	if len(users) == 0 {
		return nil
	}
	name := id[strings.LastIndexByte(id, '/')+1:]
	return badRequest("InUseSubnetCannotBeDeleted", "Subnet %s is in use by %s and cannot be deleted. In order to delete the subnet, delete all the "+
		"resources within the subnet. See aka.ms/deletesubnet.", name, users[0])
}

func blockNetwork(c *call, r *resource) *apiError {
	for _, sub := range items(r.body, "properties", "subnets") {
		if err := c.subnetFree(str(sub, "id")); err != nil {
			return err
		}
	}
	return nil
}

func viewNetwork(s *Simulator, r *resource, out object) {
	props := ensure(out, "properties")
	if _, set := props["subnets"]; !set {
		props["subnets"] = []any{}
	}
	for _, sub := range items(out, "properties", "subnets") {
		setRelated(ensure(sub, "properties"), "ipConfigurations", s.store.referrers(str(sub, "id"), ""))
	}
	props["resourceGuid"] = resourceGUID(r)
}

// resourceGUID is stable for a resource.
func resourceGUID(r *resource) string {
	h := fnv.New128a()
	_, _ = h.Write([]byte(r.key())) // A hash never refuses bytes.
	b := h.Sum(nil)
	return hexGUID(b)
}

func hexGUID(b []byte) string {
	const digits = "0123456789abcdef"
	var sb strings.Builder
	for i, x := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			sb.WriteByte('-')
		}
		sb.WriteByte(digits[x>>4])
		sb.WriteByte(digits[x&15])
	}
	return sb.String()
}

func routeTableKind() *kind {
	return &kind{
		typ: typeRoutes, latency: "network.routetables", children: map[string]string{"routes": "routes"}, etags: true,
		puts: "PutRouteTableOperation", hint: []time.Duration{networkHint}, deletes: true,
		put: func(*call, *resource, object) *apiError { return nil },
		block: func(c *call, r *resource) *apiError {
			if users := c.sim.store.referrers(r.id, ""); len(users) > 0 {
				return badRequest("InUseRouteTableCannotBeDeleted", "Route table %s is in use and cannot be deleted.", r.id)
			}
			return nil
		},
		view: func(s *Simulator, r *resource, out object) {
			props := ensure(out, "properties")
			if _, set := props["routes"]; !set {
				props["routes"] = []any{}
			}
			setRelated(props, "subnets", s.store.referrers(r.id, ""))
		},
		usage: func(*Simulator, *resource) map[string]int { return map[string]int{"RouteTables": 1} },
	}
}

func publicIPKind() *kind {
	return &kind{
		typ: typePublicIP, latency: "network.publicipaddresses", etags: true,
		puts: "PutPublicIpAddressOperation", hint: []time.Duration{time.Second}, deletes: true,
		put: putPublicIP,
		block: func(c *call, r *resource) *apiError {
			if users := c.sim.store.referrers(r.id, ""); len(users) > 0 {
				return badRequest("PublicIPAddressCannotBeDeleted", "Public IP address %s can not be deleted since it is still allocated to resource %s. "+
					"In order to delete the public IP, disassociate/detach the Public IP address from the resource.", r.id, users[0])
			}
			return nil
		},
		removed: func(s *Simulator, r *resource) {
			if a, err := netip.ParseAddr(str(r.body, "properties", "ipAddress")); err == nil {
				delete(s.net.public, a)
			}
			delete(s.net.names, str(r.body, "properties", "dnsSettings", "fqdn"))
		},
		view: func(s *Simulator, r *resource, out object) {
			props := ensure(out, "properties")
			delete(props, "ipConfiguration")
			for _, id := range s.store.referrers(r.id, "") {
				if strings.Contains(strings.ToLower(id), "/natgateways/") {
					props["natGateway"] = object{"id": id}
					continue
				}
				props["ipConfiguration"] = object{"id": id}
			}
			props["resourceGuid"] = resourceGUID(r)
		},
		usage: func(*Simulator, *resource) map[string]int {
			return map[string]int{"PublicIPAddresses": 1, "StandardSkuPublicIpAddresses": 1}
		},
	}
}

func putPublicIP(c *call, r *resource, old object) *apiError {
	s := c.sim
	sku := str(r.body, "sku", "name")
	if sku != "Standard" && sku != "StandardV2" { // Basic public addresses ended on 2025-09-30.
		return badRequest("BasicSkuPublicIpAddressNotSupported", "Public IP address %s has SKU '%s'. Only Standard addresses can be created.", r.id, sku)
	}
	props := ensure(r.body, "properties")
	if str(props, "publicIPAllocationMethod") != "Static" {
		return badRequest("StandardSkuPublicIPAddressesMustUseStaticAllocation", "Standard sku publicIp %s must have AllocationMethod set to Static.", r.id)
	}
	if err := c.checkZones(r, old); err != nil {
		return err
	}
	if label := str(props, "dnsSettings", "domainNameLabel"); label != "" {
		if !labelPattern.MatchString(label) {
			return badRequest("InvalidDomainNameLabel", "The domain name label %s is invalid. It must conform to the following regular expression: %s.", label, labelPattern)
		}
		fqdn := label + "." + r.location + ".cloudapp.azure.com"
		if user := s.net.names[fqdn]; user != "" && user != r.key() {
			return badRequest("DnsRecordInUse", "DNS record %s is already used by another public IP.", fqdn)
		}
		delete(s.net.names, str(old, "properties", "dnsSettings", "fqdn"))
		s.net.names[fqdn] = r.key()
		ensure(props, "dnsSettings")["fqdn"] = fqdn
	} else {
		delete(s.net.names, str(old, "properties", "dnsSettings", "fqdn"))
	}
	if was := str(old, "properties", "ipAddress"); was != "" {
		props["ipAddress"] = was
	} else {
		props["ipAddress"] = s.publicAddress(r.key()).String()
	}
	props["publicIPAddressVersion"] = "IPv4"
	if _, set := props["idleTimeoutInMinutes"]; !set {
		props["idleTimeoutInMinutes"] = 4
	}
	return nil
}

// publicAddress finds an address in 127.64.0.0/10. It follows from the id, so that the order of creation has no say.
func (s *Simulator) publicAddress(key string) netip.Addr {
	const base, bits = 0x7f400000, 22
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // A hash never refuses bytes.
	for n := h.Sum32(); ; n++ {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], base|n&(1<<bits-1))
		a := netip.AddrFrom4(b)
		if last := b[3]; last != 0 && last != 255 && s.net.public[a] == "" {
			s.net.public[a] = key
			return a
		}
	}
}

// checkZones refuses zones that a region does not have and a change of zones.
func (c *call) checkZones(r *resource, old object) *apiError {
	zones := texts(r.body, "zones")
	reg, _ := c.sim.catalog.region(r.location)
	for _, z := range zones {
		if !slices.Contains(reg.Zones, z) {
			return badRequest("LocationNotSupportAvailabilityZones", "The zone(s) '%s' for resource '%s' is not supported. The supported zones for location '%s' are '%s'.",
				z, r.kind.typ+"/"+r.target.name(), r.location, strings.Join(reg.Zones, ","))
		}
	}
	if old != nil && !slices.Equal(texts(old, "zones"), zones) {
		return badRequest("ResourceAvailabilityZonesCannotBeModified", "Resource %s has an existing availability zone constraint %s and the request has "+
			"availability zone constraint %s, which do not match. Zones cannot be added/updated/removed once the resource is created.",
			r.id, strings.Join(texts(old, "zones"), ","), strings.Join(zones, ","))
	}
	return nil
}

func natKind() *kind {
	return &kind{
		typ: typeNAT, latency: "network.natgateways", etags: true, puts: "PutNatGatewayOperation", hint: []time.Duration{networkHint}, deletes: true,
		put: putNAT,
		block: func(c *call, r *resource) *apiError {
			if users := c.sim.store.referrers(r.id, ""); len(users) > 0 {
				return badRequest("InUseNatGatewayCannotBeDeleted", "NAT gateway %s cannot be deleted because it is in use by subnet %s.", r.id, users[0])
			}
			return nil
		},
		refs: func(r *resource) []ref {
			var out []ref
			for _, ip := range items(r.body, "properties", "publicIpAddresses") {
				out = append(out, ref{r.id, str(ip, "id")})
			}
			return out
		},
		view: func(s *Simulator, r *resource, out object) {
			props := ensure(out, "properties")
			setRelated(props, "subnets", s.store.referrers(r.id, "/subnets/"))
			props["resourceGuid"] = resourceGUID(r)
		},
		usage: func(*Simulator, *resource) map[string]int { return map[string]int{"NatGateways": 1} },
	}
}

func putNAT(c *call, r *resource, old object) *apiError {
	sku := str(r.body, "sku", "name")
	if sku != "Standard" && sku != "StandardV2" {
		return badRequest("InvalidSkuForNatGateway", "NAT gateway %s has an invalid SKU '%s'.", r.id, sku)
	}
	const zonesOfStandard = 1
	if sku == "Standard" && len(texts(r.body, "zones")) > zonesOfStandard {
		return badRequest("NatGatewayMultipleZonesNotSupported", "NAT gateway %s of SKU Standard can be in one zone only.", r.id)
	}
	if err := c.checkZones(r, old); err != nil {
		return err
	}
	ips := items(r.body, "properties", "publicIpAddresses")
	const most = 16
	if len(ips) > most {
		return badRequest("NatGatewayPublicIpCountExceeded", "NAT gateway %s cannot have more than %d public IP addresses.", r.id, most)
	}
	for _, x := range ips {
		ip, err := c.refer(r.id, str(x, "id"), typePublicIP, typePublicIP+"/join/action")
		if err != nil {
			return err
		}
		if got := str(ip.body, "sku", "name"); got != sku {
			return badRequest("NatGatewaySkuMismatch", "NAT gateway %s of SKU %s cannot use public IP %s of SKU %s.", r.id, sku, ip.id, got)
		}
		if err := c.publicIPFree(ip, r.id); err != nil {
			return err
		}
	}
	const least, longest = 4, 120
	if n, set := number(r.body, "properties", "idleTimeoutInMinutes"); set && (n < least || n > longest) {
		return badRequest("InvalidIdleTimeout", "The idle timeout %d of NAT gateway %s is not between %d and %d minutes.", n, r.id, least, longest)
	}
	return nil
}

func (c *call) publicIPFree(ip *resource, user string) *apiError {
	for _, by := range c.sim.store.referrers(ip.id, "") {
		if !within(user, by) {
			return badRequest("PublicIPAddressInUse", "Resource %s is referencing public IP address %s that is already allocated to resource %s.", user, ip.id, by)
		}
	}
	return nil
}
