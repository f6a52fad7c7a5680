// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// The platform's addresses. The first two are Azure's (learn.microsoft.com, "What is IP address 168.63.129.16").
var (
	platformAddress = netip.MustParseAddr("168.63.129.16")
	metadataAddress = netip.MustParseAddr("169.254.169.254")
	mirrorAddress   = netip.MustParseAddr("100.127.0.1")
	publicPrefix    = netip.MustParsePrefix("100.64.0.0/10")
)

const (
	mirrorName    = "mirror.sim.internal"
	machineDomain = "internal.cloudapp.net"
)

// Cloud is what a network asks the simulator. azuresim.Env has it.
type Cloud interface {
	// RouteFrom says which machine answers, and on which port, when machine from opens TCP to a public address.
	RouteFrom(from string, to netip.AddrPort) (machine string, port int, err error)
	// LookupHost resolves a public DNS name of the cloud.
	LookupHost(name string) (netip.Addr, error)
	// Tags are those that a machine has now.
	Tags(id string) map[string]string
}

// Config is what a network is made of.
type Config struct {
	// Prefix begins the names of namespaces and links: at most six lower-case letters and digits, unique for a process.
	Prefix string
	Cloud  Cloud
	// Mirror is the directory that http://mirror.sim.internal serves; empty when there is none.
	Mirror string
	// Report is called with what a guest's agent reports to the wire server: nil is Ready, else what went wrong.
	Report func(machineID string, err error)
	// Dial reaches machines of other networks, for connections to their public addresses. Nil when there are none.
	Dial func(ctx context.Context, machineID string, port int) (net.Conn, error)
	// Logger is slog's default when nil.
	Logger *slog.Logger
}

// Port is where a machine is attached.
type Port struct {
	Machine azuresim.Machine
	At      azuresim.Attachment
}

// Network is one virtual network. All methods are safe for use by several goroutines. Ids of machines compare without
// case.
type Network struct {
	cfg  Config
	log  *slog.Logger
	name string // of the namespace
	made bool   // the namespace is ours
	ns   *os.File
	life context.Context
	end  context.CancelFunc

	group   sync.WaitGroup // of the servers
	closers []io.Closer

	change sync.Mutex // held while links and rules change
	rules  string     // that nft was given last

	mu     sync.Mutex
	guests map[string]*guest // by id in lower case
	conns  map[net.Conn]bool // that the proxy joins
	closed bool
}

// guest is an attached machine.
type guest struct {
	Port
	name, link string // of the namespace, and of the link's end in the network
	made       bool   // the namespace is ours
	dhcp       net.PacketConn
}

func (g *guest) gateway() netip.Addr { return g.At.Subnet.Masked().Addr().Next() }

var prefixPattern = regexp.MustCompile(`^[a-z][a-z0-9]{1,5}$`)

// New makes a network's namespace and starts its servers. The context bounds the making only: the network lives until
// Close.
func New(ctx context.Context, vnetID string, c Config) (*Network, error) {
	if !prefixPattern.MatchString(c.Prefix) {
		return nil, fmt.Errorf("make virtual network: prefix %q is not two to six lower-case letters and digits", c.Prefix)
	}
	n := &Network{cfg: c, log: c.Logger, name: c.Prefix + "-n" + short(vnetID), guests: map[string]*guest{}, conns: map[net.Conn]bool{}}
	if n.log == nil {
		n.log = slog.Default()
	}
	n.log = n.log.With("vnet", vnetID)
	n.life, n.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := n.start(ctx); err != nil {
		return nil, fmt.Errorf("make virtual network %s: %w", vnetID, errors.Join(err, n.Close()))
	}
	return n, nil
}

func (n *Network) start(ctx context.Context) error {
	if err := addNamespace(ctx, n.name); err != nil {
		return err
	}
	n.made = true
	ns, err := os.Open(namespacePath(n.name))
	if err != nil {
		return err
	}
	n.ns = ns
	// The default route into lo is a black hole: it lets proxy_arp answer for every address, and the forward chain
	// drops what takes it, silently as Azure does.
	err = ip(ctx, `link set lo up
address add 168.63.129.16/32 dev lo
address add 169.254.169.254/32 dev lo
address add 100.127.0.1/32 dev lo
route add local 100.64.0.0/10 dev lo
route add default dev lo
`, "-n", n.name, "-batch", "-")
	if err != nil {
		return err
	}
	if err := n.sysctl(map[string]string{
		"ip_forward": "1", "conf/all/rp_filter": "0", "conf/default/rp_filter": "0", "conf/all/send_redirects": "0", "conf/default/send_redirects": "0",
	}); err != nil {
		return err
	}
	if err := n.apply(ctx); err != nil {
		return err
	}
	return n.serve(ctx)
}

// sysctl writes below net/ipv4 of the network's namespace.
func (n *Network) sysctl(values map[string]string) error {
	return inNamespace(n.ns, func() error {
		for key, value := range values {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+key, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// Attach makes a machine's namespace with eth0, which is down and has no address: the guest asks DHCP. It returns the
// path of the namespace. A half-made attachment is undone.
func (n *Network) Attach(ctx context.Context, p Port) (path string, err error) {
	n.change.Lock()
	defer n.change.Unlock()
	id := strings.ToLower(p.Machine.ID)
	g := &guest{Port: p, name: n.cfg.Prefix + "-m" + short(id), link: n.cfg.Prefix + "v" + short(id)}
	if _, err := net.ParseMAC(p.At.MAC); err != nil || !p.At.Address.Is4() || !p.At.Subnet.Contains(p.At.Address) {
		return "", fmt.Errorf("attach machine %s: address %s (%s) is not one of subnet %s", p.Machine.Name, p.At.Address, p.At.MAC, p.At.Subnet)
	}
	n.mu.Lock()
	_, taken := n.guests[id]
	closed := n.closed
	n.mu.Unlock()
	if taken || closed {
		return "", fmt.Errorf("attach machine %s: it is attached already, or the network is closed", p.Machine.Name)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("attach machine %s: %w", p.Machine.Name, errors.Join(err, n.remove(g)))
		}
	}()
	if err := addNamespace(ctx, g.name); err != nil {
		return "", err
	}
	g.made = true
	// The neighbour is permanent, so that no packet waits for the guest's ARP. 12:34:56:78:9a:bc is every gateway's
	// address in Azure.
	batch := strings.NewReplacer("LINK", g.link, "MAC", p.At.MAC, "GUEST", g.name, "GATEWAY", g.gateway().String(), "ADDRESS", p.At.Address.String()).Replace(
		`link add LINK mtu 1500 type veth peer name eth0 address MAC mtu 1500 netns GUEST
link set LINK address 12:34:56:78:9a:bc
address add GATEWAY/32 dev LINK
link set LINK up
route add ADDRESS/32 dev LINK src GATEWAY
neighbour replace ADDRESS lladdr MAC dev LINK nud permanent
`)
	if err := ip(ctx, batch, "-n", n.name, "-batch", "-"); err != nil {
		return "", err
	}
	if err := n.sysctl(map[string]string{
		"conf/" + g.link + "/proxy_arp": "1", "conf/" + g.link + "/rp_filter": "0", "neigh/" + g.link + "/proxy_delay": "0",
	}); err != nil {
		return "", err
	}
	n.mu.Lock()
	n.guests[id] = g
	n.mu.Unlock()
	if err := n.apply(ctx); err != nil {
		return "", err
	}
	return namespacePath(g.name), n.serveDHCP(ctx, g)
}

// Update gives a machine's new rules to the network, if there are any. The address must be the same.
func (n *Network) Update(machineID string, at azuresim.Attachment) error {
	n.change.Lock()
	defer n.change.Unlock()
	n.mu.Lock()
	g := n.guests[strings.ToLower(machineID)]
	var old azuresim.Attachment
	if g != nil {
		old = g.At
	}
	n.mu.Unlock()
	switch {
	case g == nil:
		return fmt.Errorf("update attachment of %s: it is not attached", machineID)
	case at.Address != old.Address || at.MAC != old.MAC || at.Subnet != old.Subnet:
		return fmt.Errorf("update attachment of %s: its interface changed: detach it first", machineID)
	case reflect.DeepEqual(at, old):
		return nil
	}
	n.set(g, at)
	if err := n.apply(n.life); err != nil {
		n.set(g, old)
		return fmt.Errorf("update attachment of %s: %w", machineID, err)
	}
	return nil
}

func (n *Network) set(g *guest, at azuresim.Attachment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	g.At = at
}

// Detach removes a machine's namespace and link. Processes in the namespace lose their network and are not ended.
// Unknown machines are ignored.
func (n *Network) Detach(machineID string) error {
	n.change.Lock()
	defer n.change.Unlock()
	n.mu.Lock()
	g := n.guests[strings.ToLower(machineID)]
	n.mu.Unlock()
	if g == nil {
		return nil
	}
	if err := n.remove(g); err != nil {
		return fmt.Errorf("detach machine %s: %w", machineID, err)
	}
	return nil
}

// remove undoes what Attach did, as far as it came. The lock of changes is held.
func (n *Network) remove(g *guest) error {
	id := strings.ToLower(g.Machine.ID)
	n.mu.Lock()
	known := n.guests[id] == g && !n.closed // When all goes, so do the rules.
	if n.guests[id] == g {
		delete(n.guests, id)
	}
	n.mu.Unlock()
	if g.dhcp != nil {
		_ = g.dhcp.Close() // It is going; nobody could do anything about an error.
	}
	if !g.made {
		return nil
	}
	ctx := context.WithoutCancel(n.life) // Close ended the life already.
	var errs []error
	if known {
		errs = append(errs, n.apply(ctx))
	}
	if n.has(g.link) {
		errs = append(errs, ip(ctx, "", "-n", n.name, "link", "delete", g.link))
	}
	return errors.Join(append(errs, deleteNamespace(ctx, g.name))...)
}

// has reports whether the network has a link.
func (n *Network) has(link string) bool {
	err := inNamespace(n.ns, func() error {
		_, err := net.InterfaceByName(link)
		return err
	})
	return err == nil
}

// Close detaches all machines, ends the servers and removes the namespace. A second call does nothing.
func (n *Network) Close() error {
	n.change.Lock()
	defer n.change.Unlock()
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	guests := make([]*guest, 0, len(n.guests))
	for _, g := range n.guests {
		guests = append(guests, g)
	}
	for c := range n.conns {
		_ = c.Close() // It goes either way.
	}
	n.mu.Unlock()
	n.end()
	var errs []error
	for _, c := range slices.Backward(n.closers) {
		_ = c.Close()
	}
	for _, g := range guests {
		errs = append(errs, n.remove(g))
	}
	n.group.Wait()
	if n.ns != nil {
		_ = n.ns.Close()
	}
	if n.made {
		errs = append(errs, deleteNamespace(context.WithoutCancel(n.life), n.name))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close virtual network: %w", err)
	}
	return nil
}

// apply gives the rules to nft, in one transaction, when they changed. The lock of changes is held.
func (n *Network) apply(ctx context.Context) error {
	n.mu.Lock()
	links := make([]attached, 0, len(n.guests))
	for _, g := range n.guests {
		links = append(links, attached{g.link, g.At})
	}
	n.mu.Unlock()
	text := ruleset(links)
	if text == n.rules {
		return nil
	}
	if err := ip(ctx, text, "netns", "exec", n.name, "nft", "-f", "-"); err != nil {
		return err
	}
	n.rules = text
	return nil
}

// bySource finds the machine with an address. Sources are true: forged ones are dropped.
func (n *Network) bySource(a netip.Addr) (Port, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.guests {
		if g.At.Address == a.Unmap() {
			return g.Port, true
		}
	}
	return Port{}, false
}

// tagged is bySource with the machine's present tags.
func (n *Network) tagged(a netip.Addr) (Port, bool) {
	p, known := n.bySource(a)
	if known {
		p.Machine.Tags = n.cfg.Cloud.Tags(p.Machine.ID)
	}
	return p, known
}

// byName finds the address of a machine by its computer name.
func (n *Network) byName(name string) (netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.guests {
		if strings.EqualFold(computerName(g.Machine), name) {
			return g.At.Address, true
		}
	}
	return netip.Addr{}, false
}

func computerName(m azuresim.Machine) string {
	if m.ComputerName != "" {
		return m.ComputerName
	}
	return m.Name
}

// short names something in few letters: links have room for fifteen.
func short(id string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(id)))
	return hex.EncodeToString(sum[:4])
}
