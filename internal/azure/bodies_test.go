// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

func common(t resource.Type, name string) resource.Common {
	return resource.Common{
		ID: idOf(t, name), Location: region,
		Tags: map[string]string{"lazuli.io-cluster": "6920f0c3a1b2c3d4e5f60718", "env": "test", "flag": ""},
	}
}

// cluster returns the resources of a cluster of one control plane and one
// worker, in the order of creation.
func cluster() []resource.Spec {
	lb := resource.LoadBalancer{
		Common: common(resource.TypeLoadBalancer, "demo-api"), Frontend: "api", BackendPool: "control-plane",
		PublicIPID: idOf(resource.TypePublicIP, "demo-api"), Port: 6443, ProbePath: "/readyz",
		ProbeInterval: 5 * time.Second, IdleTimeout: 30 * time.Minute,
	}
	vnet := resource.VirtualNetwork{
		Common: common(resource.TypeVirtualNetwork, "demo-vnet"), CIDRs: []string{"10.0.0.0/16"},
		Subnets: []resource.Subnet{
			{
				Name: "control-plane", CIDR: "10.0.0.0/24",
				SecurityGroupID: idOf(resource.TypeSecurityGroup, "demo-cp"), NATGatewayID: idOf(resource.TypeNATGateway, "demo-nat"),
			},
			{
				Name: "workers", CIDR: "10.0.16.0/20",
				SecurityGroupID: idOf(resource.TypeSecurityGroup, "demo-workers"), NATGatewayID: idOf(resource.TypeNATGateway, "demo-nat"),
			},
		},
	}
	return []resource.Spec{
		resource.SecurityGroup{Common: common(resource.TypeSecurityGroup, "demo-cp"), Rules: []resource.SecurityRule{
			{
				Name: "api-from-users", Priority: 200, Inbound: true, Allow: true, Protocol: "Tcp",
				Sources: []string{"Internet"}, Destination: "*", Ports: []string{"6443"}, Description: "who may reach the API",
			},
			{
				Name: "some-networks", Priority: 210, Inbound: true, Allow: false, Protocol: "*",
				Sources: []string{"192.0.2.0/24", "198.51.100.0/24"}, Destination: "10.0.0.0/24", Ports: []string{"80", "8000-8080"},
			},
		}},
		resource.SecurityGroup{Common: common(resource.TypeSecurityGroup, "demo-workers")},
		resource.PublicIP{Common: common(resource.TypePublicIP, "demo-api"), DNSLabel: "demo-0a1b2c3d", Zones: []string{"1", "2", "3"}},
		resource.PublicIP{Common: common(resource.TypePublicIP, "demo-nat"), Zones: []string{"1", "2", "3"}},
		lb,
		resource.NATGateway{
			Common: common(resource.TypeNATGateway, "demo-nat"), PublicIPIDs: []string{idOf(resource.TypePublicIP, "demo-nat")},
			IdleTimeout: 4 * time.Minute,
		},
		vnet,
		resource.NetworkInterface{
			Common: common(resource.TypeNetworkInterface, "demo-cp-x7k2p"), SubnetID: vnet.SubnetID("control-plane"),
			BackendPoolIDs: []string{lb.BackendPoolID()}, AcceleratedNetworking: true,
		},
		resource.NetworkInterface{Common: common(resource.TypeNetworkInterface, "demo-w-9q4ds"), SubnetID: vnet.SubnetID("workers")},
		controlPlane(),
		worker(),
	}
}

func controlPlane() resource.VirtualMachine {
	return resource.VirtualMachine{
		Common: common(resource.TypeVirtualMachine, "demo-cp-x7k2p"), Size: "Standard_D2s_v3", Zone: "1", ComputerName: "demo-cp-x7k2p",
		NICID:  idOf(resource.TypeNetworkInterface, "demo-cp-x7k2p"),
		Image:  resource.Image{Publisher: "Canonical", Offer: "ubuntu-24_04-lts", SKU: "server", Version: "latest"},
		OSDisk: resource.Disk{Name: "demo-cp-x7k2p-os", SizeGB: 64, Type: "Premium_LRS"},
		DataDisks: []resource.Disk{
			{Name: "demo-cp-x7k2p-etcd", SizeGB: 128, Type: "Premium_LRS", Caching: "None", LUN: 0},
		},
		AdminUser: "lazuli", SSHKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITESTKEYTESTKEY test", UserData: resource.UserData("#cloud-config\n{}\n"),
	}
}

func worker() resource.VirtualMachine {
	return resource.VirtualMachine{
		Common: common(resource.TypeVirtualMachine, "demo-w-9q4ds"), Size: "Standard_D4s_v3", ComputerName: "demo-w-9q4ds",
		NICID:  idOf(resource.TypeNetworkInterface, "demo-w-9q4ds"),
		Image:  resource.Image{Publisher: "Canonical", Offer: "ubuntu-24_04-lts", SKU: "server", Version: "latest"},
		OSDisk: resource.Disk{Name: "demo-w-9q4ds-os", SizeGB: 64, Type: "StandardSSD_LRS"}, AdminUser: "lazuli",
		SSHKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITESTKEYTESTKEY test", UserData: resource.UserData("#cloud-config\n{}\n"),
	}
}

// TestBodies shows what is sent for each kind of resource.
func TestBodies(t *testing.T) {
	t.Parallel()
	gallery, community := worker(), worker()
	gallery.Image = resource.Image{GalleryID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/g/images/i/versions/1.0.0"}
	gallery.AvailabilitySetID = idOf(resource.TypeAvailabilitySet, "demo-cp")
	community.Image = resource.Image{CommunityGalleryID: "/CommunityGalleries/g-1/Images/i/Versions/1.0.0"}
	community.UserData, community.OSDisk = nil, resource.Disk{Name: "demo-os", Caching: "ReadOnly"}
	specs := cluster()
	for _, tc := range []struct {
		file string
		spec resource.Spec
	}{
		{"security_group.json", specs[0]},
		{"security_group_empty.json", specs[1]},
		{"public_ip.json", specs[2]},
		{"public_ip_plain.json", resource.PublicIP{Common: common(resource.TypePublicIP, "demo-nat")}},
		{"load_balancer.json", specs[4]},
		{"nat_gateway.json", specs[5]},
		{"virtual_network.json", specs[6]},
		{"interface.json", specs[7]},
		{"interface_worker.json", specs[8]},
		{"availability_set.json", resource.AvailabilitySet{Common: common(resource.TypeAvailabilitySet, "demo-cp"), FaultDomains: 2}},
		{"virtual_machine.json", specs[9]},
		{"virtual_machine_gallery.json", gallery},
		{"virtual_machine_community.json", community},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			c, wire := fixture(t, always(http.StatusOK, `{"properties":{"provisioningState":"Succeeded"}}`))
			if _, err := c.Put(t.Context(), target(), tc.spec); err != nil {
				t.Fatal(err)
			}
			calls := wire.arm()
			if len(calls) != 1 || calls[0].Method != http.MethodPut || !strings.EqualFold(calls[0].Path, tc.spec.ResourceID()) {
				t.Fatalf("calls are %v, want one PUT of %s", calls, tc.spec.ResourceID())
			}
			golden(t, "bodies/"+tc.file, indent(t, calls[0].Body))
		})
	}
}
