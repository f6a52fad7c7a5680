// SPDX-License-Identifier: Apache-2.0

package azuresim_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources/v3"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// pause lets five seconds of virtual time pass.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Second):
	}
}

func check[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func end[T any](t *testing.T, p *runtime.Poller[T], err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.PollUntilDone(t.Context(), &runtime.PollUntilDoneOptions{Frequency: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type clients struct {
	group *armresources.ResourceGroupsClient
	all   *armresources.Client
	net   *armnetwork.ClientFactory
	comp  *armcompute.ClientFactory
}

func newClients(t *testing.T, s *azuresim.Simulator) clients {
	t.Helper()
	cred, opts := sdk(t, "https://"+host, s.Transport(), -1)
	res := check[*armresources.ClientFactory](t)(armresources.NewClientFactory(sub, cred, opts))
	return clients{
		group: res.NewResourceGroupsClient(), all: res.NewClient(),
		net:  check[*armnetwork.ClientFactory](t)(armnetwork.NewClientFactory(sub, cred, opts)),
		comp: check[*armcompute.ClientFactory](t)(armcompute.NewClientFactory(sub, cred, opts)),
	}
}

const region = "westeurope"

func tags() map[string]*string { return map[string]*string{clusterT: new("c1")} }

// buildNetwork makes what a cluster needs before its machines, as our product does.
func buildNetwork(t *testing.T, c clients) {
	t.Helper()
	ctx := t.Context()
	loc := new(region)
	nsg, err := c.net.NewSecurityGroupsClient().BeginCreateOrUpdate(ctx, group, "nsg", armnetwork.SecurityGroup{
		Location: loc, Tags: tags(), Properties: &armnetwork.SecurityGroupPropertiesFormat{SecurityRules: []*armnetwork.SecurityRule{{
			Name: new("api"), Properties: &armnetwork.SecurityRulePropertiesFormat{
				Priority: new(int32(100)), Direction: new(armnetwork.SecurityRuleDirectionInbound), Access: new(armnetwork.SecurityRuleAccessAllow),
				Protocol: new(armnetwork.SecurityRuleProtocolTCP), SourceAddressPrefix: new("Internet"), SourcePortRange: new("*"),
				DestinationAddressPrefix: new("*"), DestinationPortRange: new("6443"),
			},
		}}},
	}, nil)
	end(t, nsg, err)
	for _, name := range []string{"api", "nat"} {
		props := &armnetwork.PublicIPAddressPropertiesFormat{PublicIPAllocationMethod: new(armnetwork.IPAllocationMethodStatic)}
		if name == "api" {
			props.DNSSettings = &armnetwork.PublicIPAddressDNSSettings{DomainNameLabel: new("c1-abc")}
		}
		p, err := c.net.NewPublicIPAddressesClient().BeginCreateOrUpdate(ctx, group, name, armnetwork.PublicIPAddress{
			Location: loc, Tags: tags(), SKU: &armnetwork.PublicIPAddressSKU{Name: new(armnetwork.PublicIPAddressSKUNameStandard)}, Properties: props,
		}, nil)
		end(t, p, err)
	}
	nat, err := c.net.NewNatGatewaysClient().BeginCreateOrUpdate(ctx, group, "nat", armnetwork.NatGateway{
		Location: loc, Tags: tags(), SKU: &armnetwork.NatGatewaySKU{Name: new(armnetwork.NatGatewaySKUNameStandard)},
		Properties: &armnetwork.NatGatewayPropertiesFormat{PublicIPAddresses: []*armnetwork.SubResource{{ID: new(netID("publicIPAddresses", "nat"))}}},
	}, nil)
	end(t, nat, err)
	lbID := netID("loadBalancers", "lb")
	lb, err := c.net.NewLoadBalancersClient().BeginCreateOrUpdate(ctx, group, "lb", armnetwork.LoadBalancer{
		Location: loc, Tags: tags(), SKU: &armnetwork.LoadBalancerSKU{Name: new(armnetwork.LoadBalancerSKUNameStandard)},
		Properties: &armnetwork.LoadBalancerPropertiesFormat{
			FrontendIPConfigurations: []*armnetwork.FrontendIPConfiguration{{Name: new("api"), Properties: &armnetwork.FrontendIPConfigurationPropertiesFormat{
				PublicIPAddress: &armnetwork.PublicIPAddress{ID: new(netID("publicIPAddresses", "api"))},
			}}},
			BackendAddressPools: []*armnetwork.BackendAddressPool{{Name: new("cp")}},
			Probes: []*armnetwork.Probe{{Name: new("readyz"), Properties: &armnetwork.ProbePropertiesFormat{
				Port: new(int32(6443)), Protocol: new(armnetwork.ProbeProtocolHTTPS), RequestPath: new("/readyz"), IntervalInSeconds: new(int32(5)),
			}}},
			LoadBalancingRules: []*armnetwork.LoadBalancingRule{{Name: new("api"), Properties: &armnetwork.LoadBalancingRulePropertiesFormat{
				Protocol: new(armnetwork.TransportProtocolTCP), FrontendPort: new(int32(6443)), BackendPort: new(int32(6443)),
				FrontendIPConfiguration: &armnetwork.SubResource{ID: new(lbID + "/frontendIPConfigurations/api")},
				BackendAddressPool:      &armnetwork.SubResource{ID: new(lbID + "/backendAddressPools/cp")},
				Probe:                   &armnetwork.SubResource{ID: new(lbID + "/probes/readyz")},
			}}},
		},
	}, nil)
	end(t, lb, err)
	vnet, err := c.net.NewVirtualNetworksClient().BeginCreateOrUpdate(ctx, group, "vnet", armnetwork.VirtualNetwork{
		Location: loc, Tags: tags(), Properties: &armnetwork.VirtualNetworkPropertiesFormat{
			AddressSpace: &armnetwork.AddressSpace{AddressPrefixes: []*string{new("10.0.0.0/16")}},
			Subnets: []*armnetwork.Subnet{{Name: new("cp"), Properties: &armnetwork.SubnetPropertiesFormat{
				AddressPrefix: new("10.0.1.0/24"), NatGateway: &armnetwork.SubResource{ID: new(netID("natGateways", "nat"))},
				NetworkSecurityGroup: &armnetwork.SecurityGroup{ID: new(netID("networkSecurityGroups", "nsg"))},
			}}},
		},
	}, nil)
	end(t, vnet, err)
}

func makeNIC(t *testing.T, c clients, name string) {
	t.Helper()
	p, err := c.net.NewInterfacesClient().BeginCreateOrUpdate(t.Context(), group, name, armnetwork.Interface{
		Location: new(region), Tags: tags(), Properties: &armnetwork.InterfacePropertiesFormat{
			IPConfigurations: []*armnetwork.InterfaceIPConfiguration{{Name: new("ip"), Properties: &armnetwork.InterfaceIPConfigurationPropertiesFormat{
				Subnet:                          &armnetwork.Subnet{ID: new(netID("virtualNetworks", "vnet") + "/subnets/cp")},
				LoadBalancerBackendAddressPools: []*armnetwork.BackendAddressPool{{ID: new(netID("loadBalancers", "lb") + "/backendAddressPools/cp")}},
			}}},
		},
	}, nil)
	nic := end(t, p, err)
	if got := *nic.Properties.ProvisioningState; got != armnetwork.ProvisioningStateSucceeded {
		t.Fatalf("nic state %s", got)
	}
}

func machineSpec(name, size, zone string) armcompute.VirtualMachine {
	vm := armcompute.VirtualMachine{
		Location: new(region), Tags: tags(), Properties: &armcompute.VirtualMachineProperties{
			HardwareProfile: &armcompute.HardwareProfile{VMSize: new(armcompute.VirtualMachineSizeTypes(size))},
			OSProfile: &armcompute.OSProfile{
				ComputerName: new(name), AdminUsername: new("azureuser"), CustomData: new(b64("#cloud-config\n")),
				LinuxConfiguration: &armcompute.LinuxConfiguration{SSH: &armcompute.SSHConfiguration{PublicKeys: []*armcompute.SSHPublicKey{{
					Path: new("/home/azureuser/.ssh/authorized_keys"), KeyData: new(testKey),
				}}}},
			},
			StorageProfile: &armcompute.StorageProfile{
				ImageReference: &armcompute.ImageReference{
					Publisher: new("Canonical"), Offer: new("ubuntu-24_04-lts"), SKU: new("server"), Version: new("latest"),
				},
				OSDisk: &armcompute.OSDisk{
					CreateOption: new(armcompute.DiskCreateOptionTypesFromImage), DeleteOption: new(armcompute.DiskDeleteOptionTypesDelete), DiskSizeGB: new(int32(64)),
				},
				DataDisks: []*armcompute.DataDisk{{
					Lun: new(int32(0)), CreateOption: new(armcompute.DiskCreateOptionTypesEmpty), DiskSizeGB: new(int32(128)),
					DeleteOption: new(armcompute.DiskDeleteOptionTypesDetach),
				}},
			},
			NetworkProfile: &armcompute.NetworkProfile{NetworkInterfaces: []*armcompute.NetworkInterfaceReference{{
				ID:         new(netID("networkInterfaces", name)),
				Properties: &armcompute.NetworkInterfaceReferenceProperties{DeleteOption: new(armcompute.DeleteOptionsDelete)},
			}}},
		},
	}
	if zone != "" {
		vm.Zones = []*string{new(zone)}
	}
	return vm
}

// TestClusterWithSDK builds a machine with everything around it by Microsoft's own clients, in virtual time, and takes
// it down again.
func TestClusterWithSDK(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, azuresim.Config{Seed: 7}, world())
		c := newClients(t, s)
		buildNetwork(t, c)
		makeNIC(t, c, "m1")
		vms := c.comp.NewVirtualMachinesClient()
		from := time.Now()
		p, err := vms.BeginCreateOrUpdate(t.Context(), group, "m1", machineSpec("m1", "Standard_D2s_v3", "1"), nil)
		vm := end(t, p, err)
		took := time.Since(from)
		if took < 8*time.Second || took > 10*time.Minute {
			t.Errorf("create took %s, outside of the measured range", took)
		}
		if vm.Properties.OSProfile.CustomData != nil {
			t.Error("custom data came back; Azure never shows it")
		}
		view := check[armcompute.VirtualMachinesClientInstanceViewResponse](t)(vms.InstanceView(t.Context(), group, "m1", nil))
		if n := len(view.Statuses); n != 2 || *view.Statuses[1].Code != "PowerState/running" {
			t.Errorf("instance view: %d statuses", n)
		}
		if vm.Properties.StorageProfile.OSDisk.ManagedDisk == nil {
			t.Error("the implicit OS disk has no id")
		}
		names := map[string]int{}
		pager := c.all.NewListByResourceGroupPager(group, &armresources.ClientListByResourceGroupOptions{
			Filter: new("tagName eq '" + clusterT + "' and tagValue eq 'c1'"), Top: new(int32(3)), Expand: new("provisioningState,createdTime"),
		})
		pages := 0
		for pager.More() {
			page := check[armresources.ClientListByResourceGroupResponse](t)(pager.NextPage(t.Context()))
			pages++
			for _, r := range page.Value {
				names[*r.Type]++
				if *r.ProvisioningState != "Succeeded" || r.CreatedTime == nil {
					t.Errorf("%s: state %s", *r.ID, *r.ProvisioningState)
				}
			}
		}
		if pages < 3 || names["Microsoft.Compute/disks"] != 2 || names["Microsoft.Network/publicIPAddresses"] != 2 {
			t.Errorf("%d pages, resources %v", pages, names)
		}
		del, err := vms.BeginDelete(t.Context(), group, "m1", nil)
		end(t, del, err)
		if _, err := c.net.NewInterfacesClient().Get(t.Context(), group, "m1", nil); !isCode(err, "ResourceNotFound") {
			t.Errorf("the NIC with deleteOption Delete: %v", err)
		}
		disks := check[armcompute.DisksClientListByResourceGroupResponse](t)(c.comp.NewDisksClient().NewListByResourceGroupPager(group, nil).NextPage(t.Context()))
		if len(disks.Value) != 1 || *disks.Value[0].Properties.DiskState != armcompute.DiskStateUnattached {
			t.Errorf("disks after delete: %d", len(disks.Value))
		}
		gone, err := c.group.BeginDelete(t.Context(), group, nil)
		end(t, gone, err)
		if left := s.Resources(); len(left) != 0 {
			t.Errorf("left after the group: %v", left)
		}
	})
}

func isCode(err error, code string) bool {
	var re *azcore.ResponseError
	return errors.As(err, &re) && re.ErrorCode == code
}
