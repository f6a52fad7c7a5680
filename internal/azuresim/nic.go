// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"net/netip"
	"strings"
	"time"
)

// nicReservation is how long a NIC stays with a machine that failed or went (terraform-provider-azurerm#8105).
const nicReservation = 180 * time.Second

func nicKind() *kind {
	return &kind{
		typ: typeNIC, latency: "network.networkinterfaces", children: map[string]string{"ipconfigurations": "ipConfigurations"},
		etags: true, deletes: true, put: putNIC, block: blockNIC, removed: removedNIC, view: viewNIC,
		refs: func(r *resource) []ref {
			var out []ref
			for _, cfg := range items(r.body, "properties", "ipConfigurations") {
				id := r.id + "/ipConfigurations/" + str(cfg, "name")
				for _, p := range []string{"subnet", "publicIPAddress"} {
					if to := str(cfg, "properties", p, "id"); to != "" {
						out = append(out, ref{id, to})
					}
				}
				for _, pool := range items(cfg, "properties", "loadBalancerBackendAddressPools") {
					out = append(out, ref{id, str(pool, "id")})
				}
			}
			if to := str(r.body, "properties", "networkSecurityGroup", "id"); to != "" {
				out = append(out, ref{r.id, to})
			}
			return out
		},
		usage: func(*Simulator, *resource) map[string]int { return map[string]int{"NetworkInterfaces": 1} },
	}
}

func putNIC(c *call, r *resource, old object) *apiError {
	cfgs := items(r.body, "properties", "ipConfigurations")
	if len(cfgs) == 0 {
		return badRequest("NetworkInterfaceMustHaveAtLeastOneIpConfiguration", "Network interface %s must have at least one IP configuration.", r.id)
	}
	if to := str(r.body, "properties", "networkSecurityGroup", "id"); to != "" {
		if _, err := c.refer(r.id, to, typeNSG, typeNSG+"/join/action"); err != nil {
			return err
		}
	}
	for i, cfg := range cfgs {
		if i == 0 && len(cfgs) == 1 {
			ensure(cfg, "properties")["primary"] = true
		}
		if err := c.putIPConfig(r, cfg, old); err != nil {
			return err
		}
	}
	for _, was := range items(old, "properties", "ipConfigurations") {
		now := part(r.body, "ipConfigurations", str(was, "name"))
		if str(now, "properties", "privateIPAddress") != str(was, "properties", "privateIPAddress") {
			c.sim.freeAddress(str(was, "properties", "subnet", "id"), str(was, "properties", "privateIPAddress"))
		}
	}
	return nil
}

func (c *call) putIPConfig(r *resource, cfg, old object) *apiError {
	id := r.id + "/ipConfigurations/" + str(cfg, "name")
	p := ensure(cfg, "properties")
	to := str(p, "subnet", "id")
	if to == "" {
		return badRequest("SubnetMissing", "Subnet is missing in IP configuration %s.", id)
	}
	vnet, err := c.refer(id, to, typeVNet, typeVNet+"/subnets/join/action")
	if err != nil {
		return err
	}
	if vnet.location != r.location {
		return badRequest("InvalidResourceReference", "Resource %s referenced by resource %s was not found. Please make sure that the referenced "+
			"resource exists, and that both resources are in the same region.", to, id)
	}
	if ipID := str(p, "publicIPAddress", "id"); ipID != "" {
		ip, err := c.refer(id, ipID, typePublicIP, typePublicIP+"/join/action")
		if err != nil {
			return err
		}
		if err := c.publicIPFree(ip, r.id); err != nil {
			return err
		}
	}
	for _, pool := range items(p, "loadBalancerBackendAddressPools") {
		if _, err := c.refer(id, str(pool, "id"), typeLB, typeLB+"/backendAddressPools/join/action"); err != nil {
			return err
		}
	}
	return c.address(id, p, vnet, part(old, "ipConfigurations", str(cfg, "name")))
}

// address gives a configuration its private address; a dynamic one keeps what it has.
func (c *call) address(id string, p object, vnet *resource, was object) *apiError {
	to := str(p, "subnet", "id")
	var wanted netip.Addr
	method := str(p, "privateIPAllocationMethod")
	source := ""
	switch {
	case method == "Static":
		source = str(p, "privateIPAddress")
	case keyOf(str(was, "properties", "subnet", "id")) == keyOf(to):
		source = str(was, "properties", "privateIPAddress")
	}
	if source != "" {
		a, bad := netip.ParseAddr(source)
		if bad != nil {
			return badRequest("InvalidIPAddressFormat", "IP address %s of %s is not formatted correctly.", source, id)
		}
		wanted = a
	}
	sub := part(vnet.body, "subnets", to[strings.LastIndexByte(to, '/')+1:])
	a, err := c.sim.takeAddress(to, subnetPrefix(sub), keyOf(id), wanted)
	if err != nil {
		return err
	}
	p["privateIPAddress"], p["privateIPAddressVersion"] = a.String(), "IPv4"
	if method == "" {
		p["privateIPAllocationMethod"] = "Dynamic"
	}
	return nil
}

// machineOf is the id of the machine that uses a NIC.
func (s *Simulator) machineOf(nic *resource) string {
	if users := s.store.referrers(nic.id, "/virtualmachines/"); len(users) > 0 {
		return users[0]
	}
	return ""
}

func blockNIC(c *call, r *resource) *apiError {
	if vm := c.sim.machineOf(r); vm != "" {
		return badRequest("NicInUse", "Network Interface %s is used by existing resource %s. In order to delete the network interface, it must be "+
			"dissociated from the resource. To learn more, see aka.ms/deletenic.", r.id, vm)
	}
	return c.nicReserved(r, "")
}

// nicReserved refuses everybody but the machine that a NIC is kept for.
func (c *call) nicReserved(r *resource, vm string) *apiError {
	if r.reservedFor == "" || keyOf(vm) == keyOf(r.reservedFor) || !c.now.Before(r.reservedUntil) {
		return nil
	}
	return badRequest("NicReservedForAnotherVm", "Nic(s) in request is reserved for another Virtual Machine for 180 seconds. Please provide another "+
		"nic(s) or retry after 180 seconds. Reserved VM: %s", r.reservedFor)
}

func removedNIC(s *Simulator, r *resource) {
	for _, cfg := range items(r.body, "properties", "ipConfigurations") {
		s.freeAddress(str(cfg, "properties", "subnet", "id"), str(cfg, "properties", "privateIPAddress"))
	}
}

func viewNIC(s *Simulator, r *resource, out object) {
	props := ensure(out, "properties")
	delete(props, "virtualMachine")
	if vm := s.machineOf(r); vm != "" {
		props["virtualMachine"] = object{"id": vm}
		props["primary"] = true
	}
	for _, k := range []string{"enableAcceleratedNetworking", "enableIPForwarding"} {
		if _, set := props[k]; !set {
			props[k] = false
		}
	}
	ensure(props, "dnsSettings")
	props["nicType"], props["resourceGuid"] = "Standard", resourceGUID(r)
	mac := strings.ToUpper(strings.ReplaceAll(resourceGUID(r), "-", ""))
	props["macAddress"] = "00-0D-3A-" + mac[:2] + "-" + mac[2:4] + "-" + mac[4:6]
}
