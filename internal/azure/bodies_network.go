// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"math"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// Names inside resources. They are part of ids that others refer to, and do
// not change.
const (
	probeName    = "kube-apiserver"
	ruleName     = "kube-apiserver"
	ipConfigName = "primary"
	anyPort      = "*"
	// probeFailures before a backend gets no new connections; one is enough,
	// since the interval is short and a failed control plane should go at once.
	probeFailures = 1
)

func securityGroupBody(s resource.SecurityGroup) armnetwork.SecurityGroup {
	rules := make([]*armnetwork.SecurityRule, 0, len(s.Rules))
	for _, r := range s.Rules {
		p := &armnetwork.SecurityRulePropertiesFormat{
			Access:                   new(armnetwork.SecurityRuleAccessDeny),
			Direction:                new(armnetwork.SecurityRuleDirectionOutbound),
			Priority:                 ptr32(r.Priority),
			Protocol:                 new(armnetwork.SecurityRuleProtocol(r.Protocol)),
			SourcePortRange:          new(anyPort),
			DestinationAddressPrefix: new(r.Destination),
		}
		if r.Allow {
			p.Access = new(armnetwork.SecurityRuleAccessAllow)
		}
		if r.Inbound {
			p.Direction = new(armnetwork.SecurityRuleDirectionInbound)
		}
		if r.Description != "" {
			p.Description = new(r.Description)
		}
		// A service tag stands in the singular field only, one value is normal there.
		if len(r.Sources) == 1 {
			p.SourceAddressPrefix = new(r.Sources[0])
		} else {
			p.SourceAddressPrefixes = ptrs(r.Sources)
		}
		if len(r.Ports) == 1 {
			p.DestinationPortRange = new(r.Ports[0])
		} else {
			p.DestinationPortRanges = ptrs(r.Ports)
		}
		rules = append(rules, &armnetwork.SecurityRule{Name: new(r.Name), Properties: p})
	}
	return armnetwork.SecurityGroup{
		Location: new(s.Location), Tags: tags(s.Tags),
		Properties: &armnetwork.SecurityGroupPropertiesFormat{SecurityRules: rules},
	}
}

func publicIPBody(s resource.PublicIP) armnetwork.PublicIPAddress {
	p := &armnetwork.PublicIPAddressPropertiesFormat{
		PublicIPAddressVersion:   new(armnetwork.IPVersionIPv4),
		PublicIPAllocationMethod: new(armnetwork.IPAllocationMethodStatic),
	}
	if s.DNSLabel != "" {
		p.DNSSettings = &armnetwork.PublicIPAddressDNSSettings{DomainNameLabel: new(s.DNSLabel)}
	}
	return armnetwork.PublicIPAddress{
		Location: new(s.Location), Tags: tags(s.Tags), Zones: ptrs(s.Zones), Properties: p,
		SKU: &armnetwork.PublicIPAddressSKU{
			Name: new(armnetwork.PublicIPAddressSKUNameStandard),
			Tier: new(armnetwork.PublicIPAddressSKUTierRegional),
		},
	}
}

// loadBalancerBody makes one rule for one port. The rule resets idle
// connections, so that a watch that dies is seen to die, and gives no outbound
// way, which is the NAT gateway's.
func loadBalancerBody(s resource.LoadBalancer) armnetwork.LoadBalancer {
	sub := func(kind, name string) *armnetwork.SubResource {
		return &armnetwork.SubResource{ID: new(s.ID + "/" + kind + "/" + name)}
	}
	return armnetwork.LoadBalancer{
		Location: new(s.Location), Tags: tags(s.Tags),
		SKU: &armnetwork.LoadBalancerSKU{
			Name: new(armnetwork.LoadBalancerSKUNameStandard),
			Tier: new(armnetwork.LoadBalancerSKUTierRegional),
		},
		Properties: &armnetwork.LoadBalancerPropertiesFormat{
			FrontendIPConfigurations: []*armnetwork.FrontendIPConfiguration{{
				Name: new(s.Frontend),
				Properties: &armnetwork.FrontendIPConfigurationPropertiesFormat{
					PublicIPAddress: &armnetwork.PublicIPAddress{ID: new(s.PublicIPID)},
				},
			}},
			BackendAddressPools: []*armnetwork.BackendAddressPool{{Name: new(s.BackendPool)}},
			Probes: []*armnetwork.Probe{{
				Name: new(probeName),
				Properties: &armnetwork.ProbePropertiesFormat{
					Protocol:          new(armnetwork.ProbeProtocolHTTPS),
					Port:              ptr32(s.Port),
					RequestPath:       new(s.ProbePath),
					IntervalInSeconds: ptr32(int(s.ProbeInterval / time.Second)),
					ProbeThreshold:    ptr32(probeFailures),
				},
			}},
			LoadBalancingRules: []*armnetwork.LoadBalancingRule{{
				Name: new(ruleName),
				Properties: &armnetwork.LoadBalancingRulePropertiesFormat{
					Protocol:                new(armnetwork.TransportProtocolTCP),
					FrontendPort:            ptr32(s.Port),
					BackendPort:             ptr32(s.Port),
					FrontendIPConfiguration: sub("frontendIPConfigurations", s.Frontend),
					BackendAddressPool:      sub("backendAddressPools", s.BackendPool),
					Probe:                   sub("probes", probeName),
					IdleTimeoutInMinutes:    ptr32(int(s.IdleTimeout / time.Minute)),
					EnableTCPReset:          new(true),
					EnableFloatingIP:        new(false),
					DisableOutboundSnat:     new(true),
					LoadDistribution:        new(armnetwork.LoadDistributionDefault),
				},
			}},
		},
	}
}

func natGatewayBody(s resource.NATGateway) armnetwork.NatGateway {
	addresses := make([]*armnetwork.SubResource, 0, len(s.PublicIPIDs))
	for _, id := range s.PublicIPIDs {
		addresses = append(addresses, &armnetwork.SubResource{ID: new(id)})
	}
	return armnetwork.NatGateway{
		Location: new(s.Location), Tags: tags(s.Tags),
		SKU: &armnetwork.NatGatewaySKU{Name: new(natGatewaySKU(s))},
		Properties: &armnetwork.NatGatewayPropertiesFormat{
			PublicIPAddresses:    addresses,
			IdleTimeoutInMinutes: ptr32(int(s.IdleTimeout / time.Minute)),
		},
	}
}

// natGatewaySKU is the one place that knows the SKU. Standard lives in one
// zone; StandardV2 spans them but needs addresses of its own SKU and a region
// that has it.
func natGatewaySKU(resource.NATGateway) armnetwork.NatGatewaySKUName {
	return armnetwork.NatGatewaySKUNameStandard
}

func virtualNetworkBody(s resource.VirtualNetwork) armnetwork.VirtualNetwork {
	subnets := make([]*armnetwork.Subnet, 0, len(s.Subnets))
	for _, n := range s.Subnets {
		p := &armnetwork.SubnetPropertiesFormat{
			AddressPrefix:         new(n.CIDR),
			DefaultOutboundAccess: new(false),
		}
		if n.SecurityGroupID != "" {
			p.NetworkSecurityGroup = &armnetwork.SecurityGroup{ID: new(n.SecurityGroupID)}
		}
		if n.NATGatewayID != "" {
			p.NatGateway = &armnetwork.SubResource{ID: new(n.NATGatewayID)}
		}
		subnets = append(subnets, &armnetwork.Subnet{Name: new(n.Name), Properties: p})
	}
	return armnetwork.VirtualNetwork{
		Location: new(s.Location), Tags: tags(s.Tags),
		Properties: &armnetwork.VirtualNetworkPropertiesFormat{
			AddressSpace: &armnetwork.AddressSpace{AddressPrefixes: ptrs(s.CIDRs)},
			Subnets:      subnets,
		},
	}
}

func interfaceBody(s resource.NetworkInterface) armnetwork.Interface {
	pools := make([]*armnetwork.BackendAddressPool, 0, len(s.BackendPoolIDs))
	for _, id := range s.BackendPoolIDs {
		pools = append(pools, &armnetwork.BackendAddressPool{ID: new(id)})
	}
	return armnetwork.Interface{
		Location: new(s.Location), Tags: tags(s.Tags),
		Properties: &armnetwork.InterfacePropertiesFormat{
			EnableAcceleratedNetworking: new(s.AcceleratedNetworking),
			EnableIPForwarding:          new(false),
			IPConfigurations: []*armnetwork.InterfaceIPConfiguration{{
				Name: new(ipConfigName),
				Properties: &armnetwork.InterfaceIPConfigurationPropertiesFormat{
					Primary:                         new(true),
					PrivateIPAddressVersion:         new(armnetwork.IPVersionIPv4),
					PrivateIPAllocationMethod:       new(armnetwork.IPAllocationMethodDynamic),
					Subnet:                          &armnetwork.Subnet{ID: new(s.SubnetID)},
					LoadBalancerBackendAddressPools: pools,
				},
			}},
		},
	}
}

func tags(in map[string]string) map[string]*string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]*string, len(in))
	for k, v := range in {
		out[k] = new(v)
	}
	return out
}

func ptrs(in []string) []*string {
	if len(in) == 0 {
		return nil
	}
	out := make([]*string, 0, len(in))
	for _, v := range in {
		out = append(out, new(v))
	}
	return out
}

// ptr32 bounds a number to what Azure's fields hold; nonsense is Azure's to refuse.
func ptr32(n int) *int32 {
	return new(int32(max(math.MinInt32, min(math.MaxInt32, n))))
}
