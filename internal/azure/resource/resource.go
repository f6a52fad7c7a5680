// SPDX-License-Identifier: Apache-2.0

// Package resource describes the Azure resources of a cluster as plain values
// and the answers of Azure as plain facts, so that deciding what to do needs
// neither the SDK nor a connection. Package azure carries the values out.
//
// It refuses to know any wire format, to hold a connection, and to decide.
package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
)

// Type is an Azure resource type as it stands in ids.
type Type string

// The types that a cluster is made of.
const (
	TypeSecurityGroup    Type = "Microsoft.Network/networkSecurityGroups"
	TypePublicIP         Type = "Microsoft.Network/publicIPAddresses"
	TypeLoadBalancer     Type = "Microsoft.Network/loadBalancers"
	TypeNATGateway       Type = "Microsoft.Network/natGateways"
	TypeVirtualNetwork   Type = "Microsoft.Network/virtualNetworks"
	TypeNetworkInterface Type = "Microsoft.Network/networkInterfaces"
	TypeAvailabilitySet  Type = "Microsoft.Compute/availabilitySets"
	TypeVirtualMachine   Type = "Microsoft.Compute/virtualMachines"
	TypeDisk             Type = "Microsoft.Compute/disks"
)

// ID builds the id of a resource, which is known before the resource exists.
func ID(subscription, group string, t Type, name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/%s/%s", subscription, group, t, name)
}

// NameOf returns the last segment of an id.
func NameOf(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

// TypeOf returns the type of the resource that a (top-level) id names, or "".
func TypeOf(id string) Type {
	const marker = "/providers/"
	i := strings.LastIndex(strings.ToLower(id), marker)
	if i < 0 {
		return ""
	}
	parts := strings.Split(id[i+len(marker):], "/")
	if len(parts) < 3 {
		return ""
	}
	got := parts[0] + "/" + parts[1]
	for _, t := range []Type{
		TypeSecurityGroup, TypePublicIP, TypeLoadBalancer, TypeNATGateway, TypeVirtualNetwork,
		TypeNetworkInterface, TypeAvailabilitySet, TypeVirtualMachine, TypeDisk,
	} {
		if strings.EqualFold(got, string(t)) {
			return t
		}
	}
	return Type(got)
}

// Same reports whether two ids name one resource: Azure compares ids without
// regard to case.
func Same(a, b string) bool { return strings.EqualFold(a, b) }

// Common is what all resources have.
type Common struct {
	ID       string
	Location string
	Tags     map[string]string
}

// ResourceID returns the id.
func (c Common) ResourceID() string { return c.ID }

// Spec is the desired form of one resource.
type Spec interface {
	ResourceID() string
	Type() Type
}

// Hash identifies the desired form of a resource: equal specs, equal hashes.
func Hash(s Spec) string {
	b, err := json.Marshal(s)
	if err != nil { // plain values only: cannot happen
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// SecurityRule is one rule of a network security group.
type SecurityRule struct {
	Name        string
	Priority    int // 100 to 4096, unique per direction; the lowest number decides
	Inbound     bool
	Allow       bool
	Protocol    string   // Tcp, Udp, *
	Sources     []string // CIDRs, or one service tag such as Internet
	Destination string   // CIDR, service tag or *
	Ports       []string // destination ports or ranges
	Description string
}

// SecurityGroup is a network security group.
type SecurityGroup struct {
	Common
	Rules []SecurityRule
}

// Type implements Spec.
func (SecurityGroup) Type() Type { return TypeSecurityGroup }

// PublicIP is a Standard, static, IPv4 address.
type PublicIP struct {
	Common
	DNSLabel string   // "" for none
	Zones    []string // empty where the region has no zones
}

// Type implements Spec.
func (PublicIP) Type() Type { return TypePublicIP }

// LoadBalancer is a Standard public load balancer with one frontend, one
// backend pool, one probe and one rule.
type LoadBalancer struct {
	Common
	Frontend      string // name
	PublicIPID    string
	BackendPool   string // name
	Port          int    // of frontend and backends, TCP
	ProbePath     string // HTTPS
	ProbeInterval time.Duration
	IdleTimeout   time.Duration
}

// Type implements Spec.
func (LoadBalancer) Type() Type { return TypeLoadBalancer }

// BackendPoolID is the id of the load balancer's backend pool.
func (l LoadBalancer) BackendPoolID() string {
	return l.ID + "/backendAddressPools/" + l.BackendPool
}

// NATGateway gives subnets their way out.
type NATGateway struct {
	Common
	PublicIPIDs []string
	IdleTimeout time.Duration
}

// Type implements Spec.
func (NATGateway) Type() Type { return TypeNATGateway }

// Subnet is a part of a virtual network.
type Subnet struct {
	Name            string
	CIDR            string
	SecurityGroupID string
	NATGatewayID    string
}

// VirtualNetwork is a network with its subnets inline: one write instead of
// one after the other.
type VirtualNetwork struct {
	Common
	CIDRs   []string
	Subnets []Subnet
}

// Type implements Spec.
func (VirtualNetwork) Type() Type { return TypeVirtualNetwork }

// SubnetID is the id of one of the network's subnets.
func (v VirtualNetwork) SubnetID(name string) string { return v.ID + "/subnets/" + name }

// NetworkInterface connects a VM to a subnet; it never has a public address.
type NetworkInterface struct {
	Common
	SubnetID              string
	BackendPoolIDs        []string
	AcceleratedNetworking bool
}

// Type implements Spec.
func (NetworkInterface) Type() Type { return TypeNetworkInterface }

// AvailabilitySet spreads machines over fault domains where a region has no zones.
type AvailabilitySet struct {
	Common
	FaultDomains int
}

// Type implements Spec.
func (AvailabilitySet) Type() Type { return TypeAvailabilitySet }

// Image is where a VM's OS disk comes from: exactly one of the three forms.
type Image struct {
	Publisher, Offer, SKU, Version string // marketplace
	GalleryID                      string // image version of a gallery of the user's
	CommunityGalleryID             string
}

// Disk is a managed disk that is made with its VM and dies with it.
type Disk struct {
	Name    string
	SizeGB  int
	Type    string // Standard_LRS, StandardSSD_LRS, Premium_LRS, ...
	Caching string // None, ReadOnly, ReadWrite
	LUN     int    // of data disks
}

// UserData is what a VM boots with. It holds keys, and prints as its length.
type UserData []byte

// String implements fmt.Stringer.
func (u UserData) String() string { return fmt.Sprintf("[user data, %d bytes]", len(u)) }

// GoString implements fmt.GoStringer.
func (u UserData) GoString() string { return u.String() }

// VirtualMachine is a Linux VM with one network interface. Interface and disks
// are deleted with it (deleteOption Delete).
type VirtualMachine struct {
	Common
	Size              string
	Zone              string // "" for none
	AvailabilitySetID string
	ComputerName      string
	NICID             string
	Image             Image
	OSDisk            Disk
	DataDisks         []Disk
	AdminUser         string
	SSHKey            string
	UserData          UserData `json:"-"` // create only, never compared
}

// Type implements Spec.
func (VirtualMachine) Type() Type { return TypeVirtualMachine }

// State is what Azure says of a resource.
type State string

// The states of a resource.
const (
	StateAbsent    State = "Absent"  // Azure says 404
	StateWorking   State = "Working" // an operation is under way
	StateSucceeded State = "Succeeded"
	StateFailed    State = "Failed" // Err says why
	StateDeleting  State = "Deleting"
)

// Names of facts in Result.Facts.
const (
	FactIPAddress = "ipAddress" // of a public IP
	FactFQDN      = "fqdn"      // of a public IP
	FactPrivateIP = "privateIp" // of a network interface
)

// Result is Azure's answer about one resource or operation.
type Result struct {
	State      State
	PollURL    string        // of the operation under way, if any
	RetryAfter time.Duration // when Azure wants to be asked again; 0 is unsaid
	Facts      map[string]string
	Err        *lazuli.Error // with StateFailed
}

// Found is one row of a list of resources.
type Found struct {
	ID    string
	Type  Type
	State State
	Tags  map[string]string
}

// Cloud is an Azure cloud's addresses.
type Cloud struct {
	Name             string // AzurePublicCloud, AzureUSGovernmentCloud, ...
	ARMURL           string
	AuthorityURL     string
	CAFile           string // PEM; "" trusts the system's roots
	ResolveByAddress bool   // reach public addresses by number: their names resolve only inside
}

// Target is the principal and the subscription that a call is made with.
type Target struct {
	Cloud          Cloud
	TenantID       string
	ClientID       string
	ClientSecret   lazuli.Secret
	SubscriptionID string
	Location       string // of the budget that the call is counted in
}

// Size is a VM size as a subscription may use it in one location.
type Size struct {
	Name                  string
	Family                string // of the quota that it counts against
	VCPUs                 int
	MemoryGB              float64
	Zones                 []string // that sell it to this subscription, sorted
	Generations           []string // of Hyper-V: V1, V2
	Arch                  string   // x64, Arm64
	PremiumIO             bool
	AcceleratedNetworking bool
	NVMeOnly              bool
	MaxDataDisks          int
	Restricted            string // why it is not to be had at all in the location; "" where it is
}
