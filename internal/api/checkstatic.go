// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"
	"regexp"

	"github.com/lazuli-dev/lazuli/internal/palette"
)

// What Azure allows as the name of a network, a subnet or a security group
// ("Naming rules and restrictions for Azure resources", Microsoft.Network), and
// of a private DNS zone.
var (
	networkPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?$`)
	zoneDNSPattern = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// checkStatic checks what a request says of a network that is there already:
// its name, and a name for each of the two subnets.
func checkStatic(f *findings, c *palette.AzureClusterConfig) {
	const path, static = "spec.cloudConfig.", "belongs to a network that exists already: name it in spec.cloudConfig.vnetName"
	existing := c.VNetName != ""
	named(f, path+"vnetName", c.VNetName, networkPattern)
	named(f, path+"vnetResourceGroup", c.VNetResourceGroup, groupPattern)
	if c.VNetResourceGroup != "" && !existing {
		f.fault(path+"vnetResourceGroup", "%s", static)
	}
	for _, s := range subnets(c) {
		at := path + s.name
		if s.subnet == nil || s.subnet.Name == "" {
			if existing {
				f.fault(at+".name", "is required in a network that exists already")
			}
			if s.subnet == nil {
				continue
			}
		}
		for _, m := range []struct {
			name, value string
			pattern     *regexp.Regexp
		}{
			{"name", s.subnet.Name, networkPattern},
			{"securityGroupName", s.subnet.SecurityGroupName, networkPattern},
			{"nsgResourceGroup", s.subnet.NSGResourceGroup, groupPattern},
		} {
			named(f, at+"."+m.name, m.value, m.pattern)
			if m.value != "" && !existing {
				f.fault(at+"."+m.name, "%s", static)
			}
		}
	}
}

// named checks the name of something in Azure, when there is one.
func named(f *findings, path, name string, pattern *regexp.Regexp) {
	if name != "" && !pattern.MatchString(name) {
		f.fault(path, "%q cannot be a name in Azure", shorten(name))
	}
}

// checkPrivate checks how the API server is reached.
func checkPrivate(f *findings, c *palette.AzureClusterConfig) {
	const path = "spec.cloudConfig."
	if p := c.APIServerAccessProfile; p != nil {
		checkRanges(f, path, p)
	}
	if c.InfraLBConfig == nil || c.InfraLBConfig.APIServerLB == nil {
		return
	}
	lb, at := c.InfraLBConfig.APIServerLB, path+"infraLBConfig.apiServerLB."
	private := lb.Type == palette.LBInternal
	if lb.Type != "" && lb.Type != "Public" && !private {
		f.fault(at+"type", "%q is neither Public nor Internal", shorten(lb.Type))
	}
	named(f, at+"privateDNSName", lb.PrivateDNSName, zoneDNSPattern)
	named(f, at+"privateDNSZoneResourceGroup", lb.PrivateDNSZoneResourceGroup, groupPattern)
	for name, value := range map[string]string{
		"apiServerLBStaticIP": lb.APIServerLBStaticIP, "privateDNSName": lb.PrivateDNSName,
		"privateDNSZoneResourceGroup": lb.PrivateDNSZoneResourceGroup,
	} {
		if value != "" && !private {
			f.fault(at+name, "belongs to a private API server: the type has to be Internal")
		}
	}
	checkLBAddress(f, at, lb, c.ControlPlaneSubnet)
}

// checkLBAddress checks a fixed address of the API server, which is one of the
// control plane's subnet.
func checkLBAddress(f *findings, at string, lb *palette.LoadBalancerSpec, subnet *palette.Subnet) {
	if lb.APIServerLBStaticIP == "" {
		if lb.IPAllocationMethod == "Static" {
			f.fault(at+"apiServerLBStaticIP", "is required for a Static address")
		}
		return
	}
	addr, err := netip.ParseAddr(lb.APIServerLBStaticIP)
	if err != nil || !addr.Is4() {
		f.fault(at+"apiServerLBStaticIP", "%q is not an IPv4 address", shorten(lb.APIServerLBStaticIP))
		return
	}
	if subnet == nil {
		return
	}
	if r, err := netip.ParsePrefix(subnet.CIDRBlock); err == nil && !r.Contains(addr) {
		f.fault(at+"apiServerLBStaticIP", "%s is not in the control plane's subnet %s", addr, r)
	}
}
