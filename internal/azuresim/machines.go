// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// Machines runs the virtual machines of a simulator at one level of reality (model, process, vm).
// Implementations are safe for use by several goroutines.
type Machines interface {
	// Start begins the boot of a machine that was allocated. It does not block.
	Start(env Env, m Machine)
	// Stop ends a machine at once, as pulling the plug would. Unknown ids are ignored.
	Stop(id string)
	// Dial opens a connection to a TCP port of a running machine, as from inside the VNet.
	Dial(ctx context.Context, id string, port int) (net.Conn, error)
	// Probe answers a load balancer's health probe without a socket. Path is empty for a TCP probe.
	Probe(id string, port int, path string) bool
}

// Machine is what a guest can see of itself.
type Machine struct {
	// ID is the ARM id as first written. Zone is "" or "1" to "3".
	ID, Name, ComputerName, SubscriptionID, ResourceGroup, Location, Zone, Size string
	// VMID is the resource's vmId: the firmware's UUID, and what the metadata service tells.
	VMID string
	// VCPUs and MemoryGB come from the size's capabilities.
	VCPUs    int
	MemoryGB float64
	// CustomData is decoded, byte for byte as it was sent.
	CustomData []byte
	AdminUser  string
	SSHKeys    []string
	// PrivateIP is the address of the primary network interface.
	PrivateIP string
	// Image is the imageReference as one string: the id, the communityGalleryImageId, or publisher:offer:sku:version.
	Image     string
	DataDisks []DataDisk
	Tags      map[string]string
}

// DataDisk is a data disk attached to a machine.
type DataDisk struct {
	LUN    int
	SizeGB int
}

// Env is the world a machine lives in. All methods are safe to call from event functions and from any goroutine.
type Env interface { //nolint:interfacebloat // one world, one implementation
	// Now is the simulated time.
	Now() time.Time
	// Outside is what the clocks outside of the simulator show. Times that come from there, of tokens and certificates,
	// compare with it: a fast simulator scales durations, and is not at another date.
	Outside() time.Time
	// Until is the simulated time until the clocks outside show t; not positive when they have.
	Until(t time.Time) time.Duration
	// After runs fn once after d of simulated time. Event functions never run concurrently with each other and are
	// called without any simulator lock held.
	After(d time.Duration, fn func())
	// Rand returns a stream that depends only on the simulator's seed and the name.
	Rand(name string) *rand.Rand
	// Reach says which machine answers when machine from opens TCP to host:port. Host is a public DNS name or an
	// address of a load balancer (egress passes the subnet's NAT gateway, without one there is no way out; the network
	// security group of the target's subnet is checked with the NAT address as source; the probe's result is honoured),
	// or a private address inside the VNet.
	Reach(from, host string, port int) (to string, err error)
	// RouteFrom is Reach for machines that have sockets of their own: what answers when machine from opens TCP to a public
	// address of the cloud, and on which of its ports. It wraps ErrUnreachable where packets are dropped.
	RouteFrom(from string, to netip.AddrPort) (machine string, port int, err error)
	// LookupHost resolves a public DNS name of the cloud; ErrNoSuchHost when there is none.
	LookupHost(name string) (netip.Addr, error)
	// Attachment says how a machine hangs in its virtual network now; ErrUnreachable when it does not.
	Attachment(id string) (Attachment, error)
	// Tags are those that a machine has now; none when there is no such machine.
	Tags(id string) map[string]string
	// Provisioned is the guest agent's report; err != nil is a failed provisioning (OSProvisioningClientError). A
	// machine that never reports times out after 20 minutes (OSProvisioningTimedOut).
	Provisioned(id string, err error)
	// PoweredOff says that a machine does not run any more though nobody stopped it: its guest was shut down from inside,
	// or died. Azure shows it as stopped, keeps its hardware, and starts it again when asked to. A machine that does not
	// run as far as Azure knows stays as it is.
	PoweredOff(id string)
	// Console appends a line to the machine's serial console.
	Console(id, line string)
}
