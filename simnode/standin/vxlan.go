// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	vxlanDevice = "vxlan.1"
	vxlanID     = 1
	vxlanBridge = "cni0"
	vxlanAgain  = time.Minute // the longest that a lost rule stays lost
)

// vxlanConfig is what the pod network is told.
type vxlanConfig struct {
	node    string
	podCIDR string // of the whole cluster: what leaves it is masqueraded
	cniDir  string
	mtu     int // of pods and of the tunnel: the machine's less 50
	port    int
}

// VXLAN is the pod network: one vxlan device a node, one route, neighbour and forwarding entry for each other node, a bridge
// for the pods by CNI's own plugins, and masquerading for what leaves the cluster. It is what flannel does with its vxlan
// backend, without its choices: a tunnel end's hardware address follows from the node's address, so nothing has to be told.
func VXLAN(arguments []string) error {
	var c vxlanConfig
	flags, kubeconfig := newFlags("vxlan")
	flags.StringVar(&c.node, "node-name", os.Getenv("NODE_NAME"), "the own node")
	flags.StringVar(&c.podCIDR, "pod-cidr", "", "all pods' addresses")
	flags.StringVar(&c.cniDir, "cni-dir", "/etc/cni/net.d", "where the CNI configuration goes")
	flags.IntVar(&c.mtu, "mtu", 1450, "of pods and of the tunnel")
	flags.IntVar(&c.port, "port", 8472, "UDP port of the tunnel")
	if err := flags.Parse(arguments); err != nil {
		return err //nolint:wrapcheck // names the flag
	}
	if c.node == "" || c.podCIDR == "" {
		return errors.New("--node-name and --pod-cidr are needed")
	}
	log := logger("vxlan", "joins the nodes' pod networks as flannel does")
	client, err := connect(*kubeconfig)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return c.run(ctx, client, log)
}

// run follows the Nodes until ctx ends. What the kernel holds stays, as it does for flannel: pods go on while this restarts.
func (c vxlanConfig) run(ctx context.Context, client kubernetes.Interface, log *slog.Logger) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	informer := factory.Core().V1().Nodes()
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { notify() }, UpdateFunc: func(_, _ any) { notify() }, DeleteFunc: func(any) { notify() },
	}); err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	last, lastErr := "", ""
	again := time.NewTicker(vxlanAgain)
	defer again.Stop()
	for {
		nodes := make([]*corev1.Node, 0, 8)
		for _, o := range informer.Informer().GetStore().List() {
			if n, ok := o.(*corev1.Node); ok {
				nodes = append(nodes, n)
			}
		}
		// Heartbeats change Nodes all the time: only what matters here is applied.
		self, peers, err := Ends(c.node, nodes)
		state := fmt.Sprint(self, peers)
		if err == nil && state != last {
			if err = c.apply(ctx, self, peers); err == nil {
				last, lastErr = state, ""
				log.Info("network applied", "own", self.PodCIDR, "peers", len(peers))
			}
		}
		retry := (<-chan time.Time)(nil)
		if err != nil {
			if err.Error() != lastErr {
				log.Error("apply the network", "error", err)
				lastErr = err.Error()
			}
			retry = time.After(2 * time.Second)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry:
		case <-again.C:
			last = ""
		}
	}
}

// End is one end of the tunnel: a node.
type End struct {
	Node    string
	Address string // the node's own, in the virtual network
	PodCIDR string
}

// Hardware is the hardware address of the end's vxlan device, locally administered, as the bridge plugin makes them.
func (e End) Hardware() net.HardwareAddr {
	return append(net.HardwareAddr{0x0a, 0x58}, net.ParseIP(e.Address).To4()...)
}

// Network is the end's pods, and the address of the device itself: the network's first, which no pod gets.
func (e End) Network() (*net.IPNet, error) {
	_, network, err := net.ParseCIDR(e.PodCIDR)
	if err != nil {
		return nil, fmt.Errorf("pod network of %s: %w", e.Node, err)
	}
	return network, nil
}

// Ends finds the own end and all others. A node without an address or a range is not there yet, and an error when it is self.
func Ends(self string, nodes []*corev1.Node) (End, []End, error) {
	var own End
	peers := make([]End, 0, len(nodes))
	for _, n := range nodes {
		e := End{Node: n.Name, PodCIDR: n.Spec.PodCIDR}
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP && net.ParseIP(a.Address).To4() != nil && e.Address == "" {
				e.Address = a.Address
			}
		}
		switch {
		case n.Name == self:
			own = e
		case e.Address != "" && e.PodCIDR != "":
			peers = append(peers, e)
		}
	}
	switch {
	case own.Node == "":
		return own, nil, fmt.Errorf("the node %s is not there", self)
	case own.Address == "":
		return own, nil, fmt.Errorf("the node %s has no address yet", self)
	case own.PodCIDR == "":
		return own, nil, fmt.Errorf("the node %s has no pod range yet: the controller manager has to allocate node ranges", self)
	}
	slices.SortFunc(peers, func(a, b End) int { return strings.Compare(a.Node, b.Node) })
	return own, peers, nil
}

// apply makes the kernel and the CNI configuration what they should be.
func (c vxlanConfig) apply(ctx context.Context, self End, peers []End) error {
	link, err := c.device(self)
	if err != nil {
		return err
	}
	if err := c.masquerade(ctx); err != nil {
		return err
	}
	if err := routes(link, peers); err != nil {
		return err
	}
	return c.writeCNI(self)
}

// device makes the vxlan device, anew when its parent or hardware address is not the right one.
func (c vxlanConfig) device(self End) (netlink.Link, error) {
	parent, err := linkOf(self.Address)
	if err != nil {
		return nil, err
	}
	network, err := self.Network()
	if err != nil {
		return nil, err
	}
	link, err := netlink.LinkByName(vxlanDevice)
	if err == nil {
		v, ok := link.(*netlink.Vxlan)
		if !ok || v.VtepDevIndex != parent.Attrs().Index || v.HardwareAddr.String() != self.Hardware().String() || v.Port != c.port {
			if err := netlink.LinkDel(link); err != nil {
				return nil, fmt.Errorf("delete the old %s: %w", vxlanDevice, err)
			}
			link = nil
		}
	} else {
		link = nil
	}
	if link == nil {
		attributes := netlink.NewLinkAttrs()
		attributes.Name, attributes.MTU, attributes.HardwareAddr = vxlanDevice, c.mtu, self.Hardware()
		v := &netlink.Vxlan{
			LinkAttrs: attributes, VxlanId: vxlanID, VtepDevIndex: parent.Attrs().Index,
			SrcAddr: net.ParseIP(self.Address), Port: c.port, Learning: false,
		}
		if err := netlink.LinkAdd(v); err != nil {
			return nil, fmt.Errorf("make %s: %w", vxlanDevice, err)
		}
		if link, err = netlink.LinkByName(vxlanDevice); err != nil {
			return nil, fmt.Errorf("find %s: %w", vxlanDevice, err)
		}
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: network.IP, Mask: net.CIDRMask(32, 32)}}
	if err := netlink.AddrReplace(link, address); err != nil {
		return nil, fmt.Errorf("give %s its address: %w", vxlanDevice, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("set %s up: %w", vxlanDevice, err)
	}
	return link, nil
}

// linkOf finds the device that holds an address.
func linkOf(address string) (netlink.Link, error) {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		if a.IP.String() == address {
			return netlink.LinkByIndex(a.LinkIndex) //nolint:wrapcheck // names the index
		}
	}
	return nil, fmt.Errorf("no device has the node's address %s", address)
}

// routes makes route, neighbour and forwarding entry of each peer, and takes those of nodes that are gone away.
func routes(link netlink.Link, peers []End) error {
	index := link.Attrs().Index
	hardware, gateways, destinations := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range peers {
		network, err := p.Network()
		if err != nil {
			return err
		}
		forward := &netlink.Neigh{
			LinkIndex: index, State: netlink.NUD_PERMANENT, Family: syscall.AF_BRIDGE, Flags: netlink.NTF_SELF,
			IP: net.ParseIP(p.Address), HardwareAddr: p.Hardware(),
		}
		neighbour := &netlink.Neigh{
			LinkIndex: index, State: netlink.NUD_PERMANENT, Type: syscall.RTN_UNICAST,
			IP: network.IP, HardwareAddr: p.Hardware(),
		}
		for _, n := range []*netlink.Neigh{forward, neighbour} {
			if err := netlink.NeighSet(n); err != nil {
				return fmt.Errorf("set the way to %s: %w", p.Node, err)
			}
		}
		route := &netlink.Route{LinkIndex: index, Scope: netlink.SCOPE_UNIVERSE, Dst: network, Gw: network.IP, Flags: int(netlink.FLAG_ONLINK)}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("set the route to %s: %w", p.Node, err)
		}
		hardware[p.Hardware().String()], gateways[network.IP.String()], destinations[network.String()] = true, true, true
	}
	return dropStale(link, hardware, gateways, destinations)
}

func dropStale(link netlink.Link, hardware, gateways, destinations map[string]bool) error {
	index := link.Attrs().Index
	list, err := netlink.RouteList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range list {
		if r.Dst != nil && r.Gw != nil && !destinations[r.Dst.String()] {
			if err := netlink.RouteDel(&r); err != nil {
				return fmt.Errorf("delete the route to %s: %w", r.Dst, err)
			}
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, syscall.AF_BRIDGE} {
		neighbours, err := netlink.NeighList(index, family)
		if err != nil {
			return fmt.Errorf("list neighbours: %w", err)
		}
		for _, n := range neighbours {
			stale := n.State&netlink.NUD_PERMANENT != 0 && len(n.HardwareAddr) == 6 &&
				(family == netlink.FAMILY_V4 && !gateways[n.IP.String()] || family == syscall.AF_BRIDGE && !hardware[n.HardwareAddr.String()])
			if !stale || n.HardwareAddr[0] != 0x0a || n.HardwareAddr[1] != 0x58 {
				continue
			}
			n.Family = family
			if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, syscall.ENOENT) {
				return fmt.Errorf("delete the neighbour %s: %w", n.IP, err)
			}
		}
	}
	return nil
}

// masquerade gives what pods send out of the cluster their node's address.
func (c vxlanConfig) masquerade(ctx context.Context) error {
	command := exec.CommandContext(ctx, "nft", "-f", "-")
	command.Stdin = strings.NewReader(Masquerade(c.podCIDR))
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("set masquerading: %w: %s", err, out)
	}
	return nil
}

// Masquerade is the rules as nft reads them, in a table of their own.
func Masquerade(podCIDR string) string {
	return strings.ReplaceAll(`table ip simnode_vxlan
delete table ip simnode_vxlan
table ip simnode_vxlan {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr PODS ip daddr != PODS ip daddr != 224.0.0.0/4 masquerade
  }
}
`, "PODS", podCIDR)
}

// writeCNI writes the configuration whose presence makes the node Ready, so it is the last that is done.
func (c vxlanConfig) writeCNI(self End) error {
	body, err := CNI(self.PodCIDR, c.mtu)
	if err != nil {
		return err
	}
	path := filepath.Join(c.cniDir, "10-vxlan.conflist")
	if old, err := os.ReadFile(path); err == nil && string(old) == string(body) {
		return nil
	}
	if err := os.MkdirAll(c.cniDir, 0o755); err != nil {
		return fmt.Errorf("make the CNI folder: %w", err)
	}
	if err := os.WriteFile(path+".new", body, 0o644); err != nil {
		return fmt.Errorf("write the CNI configuration: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the CNI configuration: %w", err)
	}
	return nil
}

// CNI is the configuration of CNI's own plugins for the pods of one node.
func CNI(podCIDR string, mtu int) ([]byte, error) {
	type object = map[string]any
	body, err := json.MarshalIndent(object{
		"cniVersion": "1.0.0", "name": "vxlan",
		"plugins": []object{
			{
				"type": "bridge", "bridge": vxlanBridge, "isGateway": true, "hairpinMode": true, "ipMasq": false, "mtu": mtu,
				"ipam": object{
					"type": "host-local", "ranges": [][]object{{{"subnet": podCIDR}}},
					"routes": []object{{"dst": "0.0.0.0/0"}},
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the CNI configuration: %w", err)
	}
	return append(body, '\n'), nil
}
