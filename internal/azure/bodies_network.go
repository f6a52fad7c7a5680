// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"math"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
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
			Access:                   to.Ptr(armnetwork.SecurityRuleAccessDeny),
			Direction:                to.Ptr(armnetwork.SecurityRuleDirectionOutbound),
			Priority:                 ptr32(r.Priority),
			Protocol:                 to.Ptr(armnetwork.SecurityRuleProtocol(r.Protocol)),
			SourcePortRange:          to.Ptr(anyPort),
			DestinationAddressPrefix: to.Ptr(r.Destination),
		}
		if r.Allow {
			p.Access = to.Ptr(armnetwork.SecurityRuleAccessAllow)
		}
		if r.Inbound {
			p.Direction = to.Ptr(armnetwork.SecurityRuleDirectionInbound)
		}
		if r.Description != "" {
			p.Description = to.Ptr(r.Description)
		}
		// A service tag stands in the singular field only, one value is normal there.
		if len(r.Sources) == 1 {
			p.SourceAddressPrefix = to.Ptr(r.Sources[0])
		} else {
			p.SourceAddressPrefixes = ptrs(r.Sources)
		}
		if len(r.Ports) == 1 {
			p.DestinationPortRange = to.Ptr(r.Ports[0])
		} else {
			p.DestinationPortRanges = ptrs(r.Ports)
		}
		rules = append(rules, &armnetwork.SecurityRule{Name: to.Ptr(r.Name), Properties: p})
	}
	return armnetwork.SecurityGroup{
		Location: to.Ptr(s.Location), Tags: tags(s.Tags),
		Properties: &armnetwork.SecurityGroupPropertiesFormat{SecurityRules: rules},
	}
}

func publicIPBody(s resource.PublicIP) armnetwork.PublicIPAddress {
	p := &armnetwork.PublicIPAddressPropertiesFormat{
		PublicIPAddressVersion:   to.Ptr(armnetwork.IPVersionIPv4),
		PublicIPAllocationMethod: to.Ptr(armnetwork.IPAllocationMethodStatic),
	}
	if s.DNSLabel != "" {
		p.DNSSettings = &armnetwork.PublicIPAddressDNSSettings{DomainNameLabel: to.Ptr(s.DNSLabel)}
	}
	return armnetwork.PublicIPAddress{
		Location: to.Ptr(s.Location), Tags: tags(s.Tags), Zones: ptrs(s.Zones), Properties: p,
		SKU: &armnetwork.PublicIPAddressSKU{
			Name: to.Ptr(armnetwork.PublicIPAddressSKUNameStandard),
			Tier: to.Ptr(armnetwork.PublicIPAddressSKUTierRegional),
		},
	}
}

// loadBalancerBody makes one rule for one port. The rule resets idle
// connections, so that a watch that dies is seen to die, and gives no outbound
// way, which is the NAT gateway's.
func loadBalancerBody(s resource.LoadBalancer) armnetwork.LoadBalancer {
	sub := func(kind, name string) *armnetwork.SubResource {
		return &armnetwork.SubResource{ID: to.Ptr(s.ID + "/" + kind + "/" + name)}
	}
	return armnetwork.LoadBalancer{
		Location: to.Ptr(s.Location), Tags: tags(s.Tags),
		SKU: &armnetwork.LoadBalancerSKU{
			Name: to.Ptr(armnetwork.LoadBalancerSKUNameStandard),
			Tier: to.Ptr(armnetwork.LoadBalancerSKUTierRegional),
		},
		Properties: &armnetwork.LoadBalancerPropertiesFormat{
			FrontendIPConfigurations: []*armnetwork.FrontendIPConfiguration{{
				Name: to.Ptr(s.Frontend),
				Properties: &armnetwork.FrontendIPConfigurationPropertiesFormat{
					PublicIPAddress: &armnetwork.PublicIPAddress{ID: to.Ptr(s.PublicIPID)},
				},
			}},
			BackendAddressPools: []*armnetwork.BackendAddressPool{{Name: to.Ptr(s.BackendPool)}},
			Probes: []*armnetwork.Probe{{
				Name: to.Ptr(probeName),
				Properties: &armnetwork.ProbePropertiesFormat{
					Protocol:          to.Ptr(armnetwork.ProbeProtocolHTTPS),
					Port:              ptr32(s.Port),
					RequestPath:       to.Ptr(s.ProbePath),
					IntervalInSeconds: ptr32(int(s.ProbeInterval / time.Second)),
					ProbeThreshold:    ptr32(probeFailures),
				},
			}},
			LoadBalancingRules: []*armnetwork.LoadBalancingRule{{
				Name: to.Ptr(ruleName),
				Properties: &armnetwork.LoadBalancingRulePropertiesFormat{
					Protocol:                to.Ptr(armnetwork.TransportProtocolTCP),
					FrontendPort:            ptr32(s.Port),
					BackendPort:             ptr32(s.Port),
					FrontendIPConfiguration: sub("frontendIPConfigurations", s.Frontend),
					BackendAddressPool:      sub("backendAddressPools", s.BackendPool),
					Probe:                   sub("probes", probeName),
					IdleTimeoutInMinutes:    ptr32(int(s.IdleTimeout / time.Minute)),
					EnableTCPReset:          to.Ptr(true),
					EnableFloatingIP:        to.Ptr(false),
					DisableOutboundSnat:     to.Ptr(true),
					LoadDistribution:        to.Ptr(armnetwork.LoadDistributionDefault),
				},
			}},
		},
	}
}

func natGatewayBody(s resource.NATGateway) armnetwork.NatGateway {
	addresses := make([]*armnetwork.SubResource, 0, len(s.PublicIPIDs))
	for _, id := range s.PublicIPIDs {
		addresses = append(addresses, &armnetwork.SubResource{ID: to.Ptr(id)})
	}
	return armnetwork.NatGateway{
		Location: to.Ptr(s.Location), Tags: tags(s.Tags),
		SKU: &armnetwork.NatGatewaySKU{Name: to.Ptr(natGatewaySKU(s))},
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
			AddressPrefix:         to.Ptr(n.CIDR),
			DefaultOutboundAccess: to.Ptr(false),
		}
		if n.SecurityGroupID != "" {
			p.NetworkSecurityGroup = &armnetwork.SecurityGroup{ID: to.Ptr(n.SecurityGroupID)}
		}
		if n.NATGatewayID != "" {
			p.NatGateway = &armnetwork.SubResource{ID: to.Ptr(n.NATGatewayID)}
		}
		subnets = append(subnets, &armnetwork.Subnet{Name: to.Ptr(n.Name), Properties: p})
	}
	return armnetwork.VirtualNetwork{
		Location: to.Ptr(s.Location), Tags: tags(s.Tags),
		Properties: &armnetwork.VirtualNetworkPropertiesFormat{
			AddressSpace: &armnetwork.AddressSpace{AddressPrefixes: ptrs(s.CIDRs)},
			Subnets:      subnets,
		},
	}
}

func interfaceBody(s resource.NetworkInterface) armnetwork.Interface {
	pools := make([]*armnetwork.BackendAddressPool, 0, len(s.BackendPoolIDs))
	for _, id := range s.BackendPoolIDs {
		pools = append(pools, &armnetwork.BackendAddressPool{ID: to.Ptr(id)})
	}
	return armnetwork.Interface{
		Location: to.Ptr(s.Location), Tags: tags(s.Tags),
		Properties: &armnetwork.InterfacePropertiesFormat{
			EnableAcceleratedNetworking: to.Ptr(s.AcceleratedNetworking),
			EnableIPForwarding:          to.Ptr(false),
			IPConfigurations: []*armnetwork.InterfaceIPConfiguration{{
				Name: to.Ptr(ipConfigName),
				Properties: &armnetwork.InterfaceIPConfigurationPropertiesFormat{
					Primary:                         to.Ptr(true),
					PrivateIPAddressVersion:         to.Ptr(armnetwork.IPVersionIPv4),
					PrivateIPAllocationMethod:       to.Ptr(armnetwork.IPAllocationMethodDynamic),
					Subnet:                          &armnetwork.Subnet{ID: to.Ptr(s.SubnetID)},
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
		out[k] = to.Ptr(v)
	}
	return out
}

func ptrs(in []string) []*string {
	if len(in) == 0 {
		return nil
	}
	return to.SliceOfPtrs(in...)
}

// ptr32 bounds a number to what Azure's fields hold; nonsense is Azure's to refuse.
func ptr32(n int) *int32 {
	return to.Ptr(int32(max(math.MinInt32, min(math.MaxInt32, n)))) //nolint:gosec // bounded
}
