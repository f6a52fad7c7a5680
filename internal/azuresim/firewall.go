// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// labelPattern is the rule for domain name labels (learn.microsoft.com, naming rules).
var labelPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{1,61}[a-z0-9]$`)

func securityGroupKind() *kind {
	return &kind{
		typ: typeNSG, latency: "network.networksecuritygroups", children: map[string]string{"securityrules": "securityRules"}, etags: true,
		puts: "PutNetworkSecurityGroupOperation", hint: []time.Duration{networkHint}, deletes: true,
		put: putSecurityGroup,
		block: func(c *call, r *resource) *apiError {
			if users := c.sim.store.referrers(r.id, ""); len(users) > 0 {
				return badRequest("InUseNetworkSecurityGroupCannotBeDeleted", "Network security group %s cannot be deleted because it is in use by the "+
					"following resources: %s. In order to delete the Network security group, remove the association with the resource(s). See aka.ms/deletensg.",
					r.id, strings.Join(users, ", "))
			}
			return nil
		},
		view: func(s *Simulator, r *resource, out object) {
			props := ensure(out, "properties")
			if _, set := props["securityRules"]; !set {
				props["securityRules"] = []any{}
			}
			var defaults []any
			for _, d := range defaultRules() {
				d["id"] = r.id + "/defaultSecurityRules/" + str(d, "name")
				defaults = append(defaults, d)
			}
			props["defaultSecurityRules"] = defaults
			setRelated(props, "subnets", s.store.referrers(r.id, "/subnets/"))
			setRelated(props, "networkInterfaces", s.store.referrers(r.id, "/networkinterfaces/"))
			props["resourceGuid"] = resourceGUID(r)
		},
		usage: func(*Simulator, *resource) map[string]int { return map[string]int{"NetworkSecurityGroups": 1} },
	}
}

func putSecurityGroup(_ *call, r *resource, _ object) *apiError {
	used := map[string]string{}
	const least, most = 100, 4096
	for _, rule := range items(r.body, "properties", "securityRules") {
		name := str(rule, "name")
		p := child(rule, "properties")
		priority, set := number(p, "priority")
		direction, access := str(p, "direction"), str(p, "access")
		switch {
		case !set || priority < least || priority > most:
			return badRequest("SecurityRuleInvalidPriority", "Security rule %s has invalid priority. The value can be between %d and %d.", name, least, most)
		case direction != "Inbound" && direction != "Outbound", access != "Allow" && access != "Deny", str(p, "protocol") == "":
			return badRequest("SecurityRuleParameterInvalid", "Security rule %s needs protocol, direction (Inbound, Outbound) and access (Allow, Deny).", name)
		case portsOf(p, "destination") == nil:
			return badRequest("SecurityRuleInvalidPortRange", "Security rule has invalid Port range. Value provided: %s. Value should be an integer OR "+
				"integer range with '-' delimiter. Valid range 0-65535.", str(p, "destinationPortRange"))
		case prefixesOf(p, "source") == nil || prefixesOf(p, "destination") == nil:
			return badRequest("SecurityRuleParameterContainsUnsupportedValue", "Security rule %s has no valid source or destination address prefix.", name)
		}
		slot := direction + strconv.Itoa(priority)
		if other, taken := used[slot]; taken {
			return badRequest("SecurityRuleConflict", "Security rule %s conflicts with rule %s. Rules cannot have the same Priority and Direction. "+
				"To learn more, see aka.ms/nsgrules.", name, other)
		}
		used[slot] = name
	}
	return nil
}

// defaultRules are in every group (learn.microsoft.com, network security groups overview).
func defaultRules() []object {
	rule := func(name, direction, access, from, to string, priority int) object {
		return object{"name": name, "type": typeNSG + "/defaultSecurityRules", "properties": object{
			"provisioningState": stateSucceeded, "protocol": "*", "sourcePortRange": "*", "destinationPortRange": "*",
			"sourceAddressPrefix": from, "destinationAddressPrefix": to, "access": access, "priority": priority, "direction": direction,
		}}
	}
	const first, second, last = 65000, 65001, 65500
	return []object{
		rule("AllowVnetInBound", "Inbound", "Allow", "VirtualNetwork", "VirtualNetwork", first),
		rule("AllowAzureLoadBalancerInBound", "Inbound", "Allow", "AzureLoadBalancer", "*", second),
		rule("DenyAllInBound", "Inbound", "Deny", "*", "*", last),
		rule("AllowVnetOutBound", "Outbound", "Allow", "VirtualNetwork", "VirtualNetwork", first),
		rule("AllowInternetOutBound", "Outbound", "Allow", "*", "Internet", second),
		rule("DenyAllOutBound", "Outbound", "Deny", "*", "*", last),
	}
}

// prefixesOf collects addressPrefix and addressPrefixes of one side; nil when there is none or one is not understood.
func prefixesOf(p object, side string) []string {
	list := texts(p, side+"AddressPrefixes")
	if one := str(p, side+"AddressPrefix"); one != "" {
		list = append(list, one)
	}
	for _, v := range list {
		if v == "*" || strings.IndexFunc(v, func(r rune) bool { return r >= '0' && r <= '9' }) != 0 {
			continue // A service tag.
		}
		if _, err := netip.ParseAddr(v); err == nil {
			continue
		}
		if _, err := netip.ParsePrefix(v); err != nil {
			return nil
		}
	}
	return list
}

// portsOf collects portRange and portRanges of one side; nil when there is none or one is not a port range.
func portsOf(p object, side string) [][2]int {
	list := texts(p, side+"PortRanges")
	if one := str(p, side+"PortRange"); one != "" {
		list = append(list, one)
	}
	var out [][2]int
	const last = 65535
	for _, v := range list {
		if v == "*" {
			out = append(out, [2]int{0, last})
			continue
		}
		lo, hi, ranged := strings.Cut(v, "-")
		if !ranged {
			hi = lo
		}
		a, errA := strconv.Atoi(lo)
		b, errB := strconv.Atoi(hi)
		if errA != nil || errB != nil || a > b || a < 0 || b > last {
			return nil
		}
		out = append(out, [2]int{a, b})
	}
	return out
}

// probeAddress is where health probes come from.
var probeAddress = netip.AddrFrom4([4]byte{168, 63, 129, 16})

// packet is one connection attempt as a security group sees it.
type packet struct {
	from, to netip.Addr
	port     int
	spaces   []netip.Prefix // of the virtual network, for the tag VirtualNetwork
}

// orderedRules are a group's rules in the order of priority, the default ones last.
func orderedRules(group *resource) []object {
	rules := append(items(group.body, "properties", "securityRules"), defaultRules()...)
	slices.SortStableFunc(rules, func(a, b object) int {
		x, _ := number(a, "properties", "priority")
		y, _ := number(b, "properties", "priority")
		return x - y
	})
	return rules
}

// allows walks the rules in the order of priority; the first match ends. A nil group allows everything.
func (s *Simulator) allows(group *resource, direction string, k packet) bool {
	if group == nil {
		return true
	}
	for _, rule := range orderedRules(group) {
		p := child(rule, "properties")
		protocol := strings.ToLower(str(p, "protocol"))
		if str(p, "direction") != direction || protocol != "*" && protocol != "tcp" {
			continue
		}
		if !slices.ContainsFunc(portsOf(p, "destination"), func(r [2]int) bool { return r[0] <= k.port && k.port <= r[1] }) {
			continue
		}
		if peersOf(prefixesOf(p, "source"), k.spaces).Has(k.from, k.spaces) && peersOf(prefixesOf(p, "destination"), k.spaces).Has(k.to, k.spaces) {
			return str(p, "access") == "Allow"
		}
	}
	return false
}
