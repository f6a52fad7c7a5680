// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

func balancerKind() *kind {
	return &kind{
		typ: typeLB, latency: "network.loadbalancers", etags: true, deletes: true,
		children: map[string]string{
			"frontendipconfigurations": "frontendIPConfigurations", "backendaddresspools": "backendAddressPools",
			"loadbalancingrules": "loadBalancingRules", "probes": "probes", "inboundnatrules": "inboundNatRules", "outboundrules": "outboundRules",
		},
		put: putBalancer,
		began: func(c *call, r *resource, _ *operation, _ bool) bool {
			c.sim.startProbes(r)
			return false
		},
		removed: removedBalancer,
		view:    viewBalancer,
		refs: func(r *resource) []ref {
			var out []ref
			for _, f := range items(r.body, "properties", "frontendIPConfigurations") {
				id := r.id + "/frontendIPConfigurations/" + str(f, "name")
				for _, p := range []string{"publicIPAddress", "subnet"} {
					if to := str(f, "properties", p, "id"); to != "" {
						out = append(out, ref{id, to})
					}
				}
			}
			return out
		},
		usage: func(*Simulator, *resource) map[string]int { return map[string]int{"LoadBalancers": 1} },
	}
}

func putBalancer(c *call, r *resource, old object) *apiError {
	if sku := str(r.body, "sku", "name"); sku != "Standard" { // Basic ended on 2025-09-30.
		return badRequest("BasicSkuLoadBalancerNotSupported", "Load balancer %s has SKU '%s'. Only Standard load balancers can be created.", r.id, sku)
	}
	for _, f := range items(r.body, "properties", "frontendIPConfigurations") {
		if err := c.putFrontend(r, f, old); err != nil {
			return err
		}
	}
	for _, was := range items(old, "properties", "frontendIPConfigurations") {
		if sub := str(was, "properties", "subnet", "id"); sub != "" && part(r.body, "frontendIPConfigurations", str(was, "name")) == nil {
			c.sim.freeAddress(sub, str(was, "properties", "privateIPAddress"))
		}
	}
	return checkRules(r)
}

func (c *call) putFrontend(r *resource, f, old object) *apiError {
	id := r.id + "/frontendIPConfigurations/" + str(f, "name")
	p := ensure(f, "properties")
	if to := str(p, "publicIPAddress", "id"); to != "" {
		ip, err := c.refer(id, to, typePublicIP, typePublicIP+"/join/action")
		if err != nil {
			return err
		}
		return c.publicIPFree(ip, r.id)
	}
	to := str(p, "subnet", "id")
	if to == "" {
		return badRequest("FrontendIPConfigurationsMustHaveAddress", "Frontend %s needs a subnet or a public IP address.", id)
	}
	vnet, err := c.refer(id, to, typeVNet, typeVNet+"/subnets/join/action")
	if err != nil {
		return err
	}
	wanted, bad := netip.ParseAddr(str(p, "privateIPAddress"))
	if bad != nil {
		was := part(old, "frontendIPConfigurations", str(f, "name"))
		if wanted, bad = netip.ParseAddr(str(was, "properties", "privateIPAddress")); bad != nil {
			wanted = netip.Addr{}
		}
	}
	sub := part(vnet.body, "subnets", to[strings.LastIndexByte(to, '/')+1:])
	a, err := c.sim.takeAddress(to, subnetPrefix(sub), keyOf(id), wanted)
	if err != nil {
		return err
	}
	p["privateIPAddress"] = a.String()
	if str(p, "privateIPAllocationMethod") == "" {
		p["privateIPAllocationMethod"] = "Dynamic"
	}
	return nil
}

// checkRules makes sure that rules name parts of this load balancer and do not collide on a port.
func checkRules(r *resource) *apiError {
	has := func(prop, id string) bool {
		return slices.ContainsFunc(items(r.body, "properties", prop), func(o object) bool {
			return keyOf(id) == keyOf(r.id+"/"+prop+"/"+str(o, "name"))
		})
	}
	seen := map[string]string{}
	for _, rule := range items(r.body, "properties", "loadBalancingRules") {
		p := child(rule, "properties")
		id := r.id + "/loadBalancingRules/" + str(rule, "name")
		links := []struct{ prop, id string }{
			{"frontendIPConfigurations", str(p, "frontendIPConfiguration", "id")}, {"probes", str(p, "probe", "id")},
		}
		for _, pool := range poolsOf(rule) {
			links = append(links, struct{ prop, id string }{"backendAddressPools", pool})
		}
		for _, l := range links {
			if l.id != "" && !has(l.prop, l.id) {
				return badRequest("InvalidResourceReference", "Resource %s referenced by resource %s was not found. Please make sure that the referenced "+
					"resource exists, and that both resources are in the same region.", l.id, id)
			}
		}
		front, _ := number(p, "frontendPort")
		back, _ := number(p, "backendPort")
		const last = 65534
		if front < 1 || front > last || back < 1 {
			return badRequest("LoadBalancingRuleInvalidPort", "Load balancing rule %s has an invalid frontend or backend port.", id)
		}
		slot := strings.ToLower(links[0].id+"|"+str(p, "protocol")) + "|" + at1(p, "frontendPort")
		if other, taken := seen[slot]; taken {
			return badRequest("RulesUseSameFrontendPortProtocolAndIPConfig", "Load balancing rules %s and %s with the same protocol and frontend port use the same frontend.", other, id)
		}
		seen[slot] = id
	}
	return nil
}

func at1(o object, name string) string { return string(encode(o[name])) }

func poolsOf(rule object) []string {
	var out []string
	if one := str(rule, "properties", "backendAddressPool", "id"); one != "" {
		out = append(out, one)
	}
	for _, p := range items(rule, "properties", "backendAddressPools") {
		if id := str(p, "id"); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// removedBalancer frees addresses and takes the pools out of their members, as Azure does.
func removedBalancer(s *Simulator, r *resource) {
	for _, f := range items(r.body, "properties", "frontendIPConfigurations") {
		if sub := str(f, "properties", "subnet", "id"); sub != "" {
			s.freeAddress(sub, str(f, "properties", "privateIPAddress"))
		}
	}
	for _, pool := range items(r.body, "properties", "backendAddressPools") {
		for _, member := range s.store.referrers(str(pool, "id"), "/networkinterfaces/") {
			nic := s.store.owner(member)
			for _, cfg := range items(nic.body, "properties", "ipConfigurations") {
				list, _ := at(cfg, "properties", "loadBalancerBackendAddressPools").([]any)
				ensure(cfg, "properties")["loadBalancerBackendAddressPools"] = slices.DeleteFunc(list, func(v any) bool {
					o, isObject := v.(object)
					return isObject && within(r.id, str(o, "id"))
				})
			}
			s.save(nic)
		}
	}
}

func viewBalancer(s *Simulator, r *resource, out object) {
	props := ensure(out, "properties")
	rules := items(out, "properties", "loadBalancingRules")
	users := func(match func(rule object) bool) []string {
		var ids []string
		for _, rule := range rules {
			if match(rule) {
				ids = append(ids, str(rule, "id"))
			}
		}
		return ids
	}
	for _, f := range items(out, "properties", "frontendIPConfigurations") {
		setRelated(ensure(f, "properties"), "loadBalancingRules", users(func(rule object) bool {
			return keyOf(str(rule, "properties", "frontendIPConfiguration", "id")) == keyOf(str(f, "id"))
		}))
	}
	for _, p := range items(out, "properties", "probes") {
		setRelated(ensure(p, "properties"), "loadBalancingRules", users(func(rule object) bool {
			return keyOf(str(rule, "properties", "probe", "id")) == keyOf(str(p, "id"))
		}))
	}
	for _, p := range items(out, "properties", "backendAddressPools") {
		setRelated(ensure(p, "properties"), "backendIPConfigurations", s.store.referrers(str(p, "id"), "/networkinterfaces/"))
		setRelated(ensure(p, "properties"), "loadBalancingRules", users(func(rule object) bool {
			return slices.ContainsFunc(poolsOf(rule), func(id string) bool { return keyOf(id) == keyOf(str(p, "id")) })
		}))
	}
	for _, prop := range []string{"frontendIPConfigurations", "backendAddressPools", "loadBalancingRules", "probes", "inboundNatRules"} {
		if _, set := props[prop]; !set {
			props[prop] = []any{}
		}
	}
	props["resourceGuid"] = resourceGUID(r)
}

// health is what a load balancer thinks of one backend.
type health struct {
	up     bool
	streak int // probes in a row that say the opposite
}

// startProbes begins a chain of probes for each probe that has none yet.
func (s *Simulator) startProbes(r *resource) {
	for _, p := range items(r.body, "properties", "probes") {
		key := r.key() + "|" + strings.ToLower(str(p, "name"))
		if s.front.probing[key] {
			continue
		}
		s.front.probing[key] = true
		s.probeLater(r.key(), str(p, "name"), p)
	}
}

func (s *Simulator) probeLater(lb, name string, probe object) {
	const least = 5 // seconds; learn.microsoft.com, load balancer health probes
	interval, _ := number(probe, "properties", "intervalInSeconds")
	s.after(time.Duration(max(interval, least))*time.Second, func() { s.probeRound(lb, name) })
}

// probeRound asks every backend of a probe once.
func (s *Simulator) probeRound(lb, name string) {
	key := lb + "|" + strings.ToLower(name)
	r := s.store.byKey[lb]
	var probe object
	if r != nil {
		probe = part(r.body, "probes", name)
	}
	if probe == nil {
		delete(s.front.probing, key)
		return
	}
	port, _ := number(probe, "properties", "port")
	path := str(probe, "properties", "requestPath")
	threshold, _ := number(probe, "properties", "probeThreshold")
	var backends []backend
	for _, rule := range items(r.body, "properties", "loadBalancingRules") {
		if keyOf(str(rule, "properties", "probe", "id")) != keyOf(str(probe, "id")) {
			continue
		}
		for _, b := range s.backends(rule) {
			if !slices.ContainsFunc(backends, func(x backend) bool { return x.guest == b.guest }) {
				backends = append(backends, b)
			}
		}
	}
	s.probeLater(lb, name, probe)
	if len(backends) == 0 {
		return
	}
	reach := make([]bool, len(backends))
	for i, b := range backends {
		reach[i] = b.guest.power == powerRunning && s.admits(b, probeAddress, port)
	}
	s.outside(func() {
		for i, b := range backends {
			reach[i] = reach[i] && s.cfg.Machines.Probe(b.guest.machine.ID, port, path)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, b := range backends {
			if machine := keyOf(b.guest.machine.ID); s.vms[machine] == b.guest { // It may have gone meanwhile.
				s.front.record(machine, key, reach[i], max(threshold, 1))
			}
		}
	})
}
