// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/bootstrap"
	"github.com/lazuli-dev/lazuli/internal/graph"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// Names of the nodes of a cluster's graph. Machines and releases have one node
// each behind these prefixes.
const (
	nodePlacement     = "placement"
	nodeKeys          = "keys"
	nodeKubeconfig    = "kubeconfig"
	nodeNSGControl    = "nsg/control-plane"
	nodeNSGWorkers    = "nsg/workers"
	nodeAPIAddress    = "ip/api"
	nodeNATAddress    = "ip/nat"
	nodeLoadBalancer  = "lb/api"
	nodeNATGateway    = "nat"
	nodeNetwork       = "vnet"
	nodeAPIServer     = "api-server"
	prefixNIC         = "nic/"
	prefixVM          = "vm/"
	prefixJoin        = "node/"
	prefixRelease     = "apply/"
	prefixToken       = "token/"
	prefixPlacement   = "placement/"   // and a pool: of machines that came later
	prefixDrain       = "drain/"       // and a machine that leaves
	prefixMaintain    = "maintenance/" // and a machine
	nodeAvailability  = "avset/control-plane"
	subjectNodes      = "nodes"    // of ActNodes: all nodes of the cluster at once
	subjectInventory  = "azure"    // of ActList
	subjectServices   = "services" // of ActDeleteServices
	subnetControl     = "control-plane"
	subnetWorkers     = "workers"
	backendPool       = "control-plane"
	apiPort           = 6443
	probePath         = "/readyz"
	probeInterval     = 5 * time.Second
	lbIdleTimeout     = 30 * time.Minute
	natIdleTimeout    = 4 * time.Minute
	defaultVNetCIDR   = "10.0.0.0/16"
	controlSubnetBits = 24
	etcdDiskGB        = 128
	etcdDiskType      = "Premium_LRS"
	etcdLUN           = 0
	fieldManager      = "lazuli"
	faultDomains      = 2 // what every region has
	archArm64         = "Arm64"
	generation1       = "V1"
	tokenLife         = time.Hour
	flagTag           = "spectro__tag" // value of a label that the user gave without a value
)

// task is what one node of the graph stands for.
type task struct {
	spec    func() resource.Spec // nil for what is not an Azure resource
	azureID string
	machine *lazuli.Machine
	release *release
}

// desired is the graph of what a cluster needs.
type desired = graph.Graph[task]

// Design draws up the graph of a cluster whose machines are known. Everything
// that can start has started: all machines at once, as soon as their subnet is
// there, control planes also their backend pool.
func (w *World) design() (*desired, error) {
	b := &builder{World: w}
	b.local(nodePlacement, "Placement of the machines")
	b.local(nodeKeys, "Keys and tokens", nodePlacement)
	b.resource(nodeAPIAddress, "Public IP address of the API server", b.address("api", w.Cluster.Status.DNSLabel))
	b.resource(nodeNATAddress, "Public IP address of outbound traffic", b.address("nat", ""))
	var needsNAT []string
	if len(w.Spec.AllowedCIDRs) > 0 {
		needsNAT = append(needsNAT, nodeNATAddress) // the rule names the address
	}
	b.resource(nodeNSGControl, "Network security group of the control plane", b.controlPlaneNSG, needsNAT...)
	b.resource(nodeNSGWorkers, "Network security group of the workers", b.workerNSG)
	b.resource(nodeLoadBalancer, "Load balancer of the API server", b.loadBalancer, nodeAPIAddress)
	b.resource(nodeNATGateway, "NAT gateway", b.natGateway, nodeNATAddress)
	b.resource(nodeNetwork, "Virtual network", b.network, nodeNSGControl, nodeNSGWorkers, nodeNATGateway)
	// Where names resolve only inside Azure's cloud, the address stands in the kubeconfig.
	b.local(nodeKubeconfig, "Kubeconfig", nodeKeys, nodeAPIAddress)
	apiDeps := []string{nodeKubeconfig, nodeLoadBalancer}
	if w.faultDomains() {
		b.resource(nodeAvailability, "Availability set of the control plane", b.availabilitySet)
	}
	for _, m := range w.machines() {
		b.machine(m)
		if m.Init {
			apiDeps = append(apiDeps, prefixVM+m.Name)
		}
	}
	b.local(nodeAPIServer, "API server answers", apiDeps...)
	network, err := b.releases()
	if err != nil {
		return nil, err
	}
	for _, m := range w.machines() {
		b.nodes = append(b.nodes, graph.Node[task]{
			Name:    prefixJoin + m.Name,
			Title:   "Node " + m.Name + " ready",
			Deps:    append([]string{prefixVM + m.Name}, network...),
			Payload: task{machine: m},
		})
	}
	return graph.New(b.nodes...)
}

type builder struct {
	*World
	nodes []graph.Node[task]
}

func (b *builder) local(name, title string, deps ...string) {
	b.nodes = append(b.nodes, graph.Node[task]{Name: name, Title: title, Deps: deps})
}

func (b *builder) resource(name, title string, spec func() resource.Spec, deps ...string) {
	b.nodes = append(b.nodes, graph.Node[task]{
		Name: name, Title: title, Deps: deps,
		Payload: task{spec: spec, azureID: spec().ResourceID()},
	})
}

func (b *builder) machine(m *lazuli.Machine) {
	nicDeps := []string{nodeNetwork}
	vmDeps := []string{prefixNIC + m.Name, nodeKeys, nodeAPIAddress} // the address settles the endpoint's name
	if m.ControlPlane {
		nicDeps = append(nicDeps, nodeLoadBalancer)
		if b.faultDomains() && !mutated("setUnordered") {
			vmDeps = append(vmDeps, nodeAvailability)
		}
	}
	if m.Late {
		b.local(prefixToken+m.Name, "Bootstrap token of "+m.Name, nodeAPIServer)
		vmDeps = append(vmDeps, prefixToken+m.Name)
	}
	b.nodes = append(b.nodes,
		graph.Node[task]{
			Name: prefixNIC + m.Name, Title: "Network interface of " + m.Name, Deps: nicDeps,
			Payload: task{azureID: m.NICID, machine: m, spec: func() resource.Spec { return b.nic(m) }},
		},
		graph.Node[task]{
			Name: prefixVM + m.Name, Title: "Virtual machine " + m.Name, Deps: vmDeps,
			Payload: task{azureID: m.VMID, machine: m, spec: func() resource.Spec { return b.vm(m) }},
		})
}

// faultDomains reports whether the control plane is spread over fault domains:
// it is where the location has no zones to spread it over.
func (w *World) faultDomains() bool {
	planes := 0
	for _, m := range w.machines() {
		if m.ControlPlane {
			planes++
			if m.Zone != "" {
				return false
			}
		}
	}
	return planes > 1
}

func (b *builder) availabilitySet() resource.Spec {
	return resource.AvailabilitySet{Common: b.common(resource.TypeAvailabilitySet, "control-plane"), FaultDomains: faultDomains}
}

// releases adds a node per release in the order of their stages, and returns
// the nodes that a machine's readiness waits for.
func (b *builder) releases() (network []string, err error) {
	all, err := b.renderReleases()
	if err != nil {
		return nil, err
	}
	byStage := map[pack.Stage][]string{}
	for _, r := range all {
		byStage[r.stage] = append(byStage[r.stage], prefixRelease+r.Set.Name)
	}
	for _, r := range all {
		deps := []string{nodeAPIServer}
		switch r.stage {
		case pack.StageNodeInitialiser:
		case pack.StageNetwork:
			// An uninitialised node takes no network pods: the order is Azure's.
			deps = append(deps, byStage[pack.StageNodeInitialiser]...)
		default:
			deps = append(deps, byStage[pack.StageNetwork]...)
		}
		b.nodes = append(b.nodes, graph.Node[task]{
			Name: prefixRelease + r.Set.Name, Title: r.title, Deps: deps,
			Payload: task{release: &r.release},
		})
	}
	network = append(network, byStage[pack.StageNodeInitialiser]...)
	return append(network, byStage[pack.StageNetwork]...), nil
}

func (w *World) id(t resource.Type, suffix string) string {
	return resource.ID(w.Spec.SubscriptionID, w.Spec.ResourceGroup, t, w.Cluster.Status.Prefix+"-"+suffix)
}

// tags are what a resource carries: the cluster's own, the user's, and those of
// a pool. A label without a value becomes a tag without a value.
func (w *World) tags(more map[string]string) map[string]string {
	out := tagsOf(w.Cluster.Labels)
	maps.Copy(out, more)
	out[lazuli.ClusterTag] = w.Cluster.UID
	return out
}

// tagsOf are the tags that a cluster's labels become: all whose keys Azure takes.
func tagsOf(labels map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range labels {
		if v == flagTag {
			v = ""
		}
		if lazuli.AzureTag(k) {
			out[k] = v
		}
	}
	return out
}

func (w *World) common(t resource.Type, suffix string) resource.Common {
	return resource.Common{ID: w.id(t, suffix), Location: w.Spec.Location, Tags: w.tags(nil)}
}

func (b *builder) address(suffix, label string) func() resource.Spec {
	return func() resource.Spec {
		return resource.PublicIP{
			Common:   b.common(resource.TypePublicIP, suffix),
			DNSLabel: label,
			Zones:    b.regionZones(),
		}
	}
}

func (b *builder) controlPlaneNSG() resource.Spec {
	sources := []string{"Internet"}
	if len(b.Spec.AllowedCIDRs) > 0 {
		sources = slices.Clone(b.Spec.AllowedCIDRs)
		// The nodes themselves reach the API server through its public address.
		if n := b.Nodes[nodeNATAddress]; n != nil && n.Facts[resource.FactIPAddress] != "" {
			sources = append(sources, n.Facts[resource.FactIPAddress]+"/32")
		}
	}
	return resource.SecurityGroup{
		Common: b.common(resource.TypeSecurityGroup, "control-plane"),
		Rules: []resource.SecurityRule{{
			Name: "api-server", Priority: 1000, Inbound: true, Allow: true, Protocol: "Tcp",
			Sources: sources, Destination: "*", Ports: []string{"6443"},
			Description: "Kubernetes API",
		}},
	}
}

func (b *builder) workerNSG() resource.Spec {
	return resource.SecurityGroup{Common: b.common(resource.TypeSecurityGroup, "workers")}
}

func (w *World) balancer() resource.LoadBalancer {
	return resource.LoadBalancer{
		Common:        w.common(resource.TypeLoadBalancer, "api"),
		Frontend:      "api",
		PublicIPID:    w.id(resource.TypePublicIP, "api"),
		BackendPool:   backendPool,
		Port:          apiPort,
		ProbePath:     probePath,
		ProbeInterval: probeInterval,
		IdleTimeout:   lbIdleTimeout,
	}
}

func (b *builder) loadBalancer() resource.Spec { return b.balancer() }

func (b *builder) natGateway() resource.Spec {
	return resource.NATGateway{
		Common:      b.common(resource.TypeNATGateway, "nat"),
		PublicIPIDs: []string{b.id(resource.TypePublicIP, "nat")},
		IdleTimeout: natIdleTimeout,
	}
}

func (w *World) vnet() resource.VirtualNetwork {
	cidr := w.Spec.VNetCIDR
	if cidr == "" {
		cidr = defaultVNetCIDR
	}
	control, workers := subnetCIDRs(cidr)
	v := resource.VirtualNetwork{Common: w.common(resource.TypeVirtualNetwork, "vnet"), CIDRs: []string{cidr}}
	for _, s := range []struct {
		wish       lazuli.Subnet
		name, cidr string
		nsg        string
	}{
		{w.Spec.ControlPlaneSubnet, subnetControl, control, "control-plane"},
		{w.Spec.WorkerSubnet, subnetWorkers, workers, "workers"},
	} {
		subnet := resource.Subnet{
			Name: s.name, CIDR: s.cidr,
			SecurityGroupID: w.id(resource.TypeSecurityGroup, s.nsg),
			NATGatewayID:    w.id(resource.TypeNATGateway, "nat"),
		}
		if s.wish.Name != "" {
			subnet.Name = s.wish.Name
		}
		if s.wish.CIDR != "" {
			subnet.CIDR = s.wish.CIDR
		}
		v.Subnets = append(v.Subnets, subnet)
	}
	return v
}

func (b *builder) network() resource.Spec { return b.vnet() }

// subnetCIDRs splits a network: the first /24 (or the first quarter of a
// smaller one) is the control plane's, the upper half is the workers'.
func subnetCIDRs(cidr string) (control, workers string) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil || !p.Addr().Is4() {
		return "", ""
	}
	p = p.Masked()
	bits := max(controlSubnetBits, p.Bits()+2)
	upper := p.Addr().As4()
	half := p.Bits()
	upper[half/8] |= 0x80 >> (half % 8) // the first host bit
	return netip.PrefixFrom(p.Addr(), bits).String(), netip.PrefixFrom(netip.AddrFrom4(upper), half+1).String()
}

func (b *builder) nic(m *lazuli.Machine) resource.Spec {
	v := b.vnet()
	subnet, pools := v.Subnets[1].Name, []string(nil)
	if m.ControlPlane {
		subnet, pools = v.Subnets[0].Name, []string{b.balancer().BackendPoolID()}
	}
	return resource.NetworkInterface{
		Common:                resource.Common{ID: m.NICID, Location: b.Spec.Location, Tags: b.tags(b.pool(m.Pool).Tags)},
		SubnetID:              v.SubnetID(subnet),
		BackendPoolIDs:        pools,
		AcceleratedNetworking: m.AcceleratedNetworking,
	}
}

func (b *builder) vm(m *lazuli.Machine) resource.Spec {
	p := b.pool(m.Pool)
	vm := resource.VirtualMachine{
		Common:       resource.Common{ID: m.VMID, Location: b.Spec.Location, Tags: b.tags(p.Tags)},
		Size:         m.InstanceType,
		Zone:         m.Zone,
		ComputerName: m.Name,
		NICID:        m.NICID,
		Image:        b.image(m),
		OSDisk:       resource.Disk{Name: m.Name + "-os", SizeGB: cmp.Or(m.DiskSizeGB, p.DiskSizeGB), Type: cmp.Or(m.DiskType, p.DiskType), Caching: "ReadWrite"},
		AdminUser:    b.Settings.SSHUser,
		SSHKey:       b.Spec.SSHKey,
	}
	if m.ControlPlane && b.faultDomains() {
		vm.AvailabilitySetID = b.id(resource.TypeAvailabilitySet, "control-plane")
	}
	if m.EtcdDisk {
		vm.DataDisks = []resource.Disk{{
			Name: m.Name + "-etcd", SizeGB: etcdDiskGB, Type: etcdDiskType, Caching: "None", LUN: etcdLUN,
		}}
	}
	return vm
}

func (w *World) pool(name string) lazuli.Pool {
	for _, p := range w.Spec.Pools {
		if p.Name == name {
			return p
		}
	}
	return lazuli.Pool{Name: name}
}

// image is the source of a machine's OS disk. The marketplace has an offer per
// generation of Hyper-V and per architecture; a gallery's image knows its own.
func (w *World) image(m *lazuli.Machine) resource.Image {
	img := w.Settings.Image
	switch img.Kind {
	case pack.ImageGallery:
		return resource.Image{GalleryID: img.ID}
	case pack.ImageCommunity:
		return resource.Image{CommunityGalleryID: img.CommunityID}
	case pack.ImageMarketplace:
	}
	sku := img.SKUGen2
	switch {
	case m.Arch == archArm64:
		sku = img.SKUArm64
	case m.Generation == generation1:
		sku = img.SKUGen1
	}
	return resource.Image{Publisher: img.Publisher, Offer: img.Offer, SKU: sku, Version: img.Version}
}

// facts are what manifests may use.
func (w *World) facts() pack.Cluster {
	st := w.Cluster.Status
	v := w.vnet()
	return pack.Cluster{
		Name: w.Cluster.Name, UID: w.Cluster.UID,
		KubernetesVersion: w.Settings.KubernetesVersion,
		Endpoint:          st.Endpoint,
		PodCIDR:           w.Settings.PodCIDR,
		ServiceCIDR:       w.Settings.ServiceCIDR,
		Location:          w.Spec.Location,
		TenantID:          w.TenantID,
		SubscriptionID:    w.Spec.SubscriptionID,
		ResourceGroup:     w.Spec.ResourceGroup,
		VNet:              resource.NameOf(v.ID),
		WorkerSubnet:      v.Subnets[1].Name,
		WorkerNSG:         resource.NameOf(v.Subnets[1].SecurityGroupID),
		ResourcePrefix:    st.Prefix,
		Tags:              w.tags(nil),
		CloudConfigSecret: true,
	}
}

// staged is a release with its place in the graph.
type staged struct {
	release
	stage pack.Stage
	title string
}

// renderReleases turns the layers of all profiles into releases. The result is
// kept: within a run only the endpoint's name can change it.
func (w *World) renderReleases() ([]staged, error) {
	facts := w.facts()
	if w.rendered != nil && w.renderedFor == facts.Endpoint {
		return w.rendered, nil
	}
	var out []staged
	if w.unresolved != nil {
		return nil, w.unresolved
	}
	for _, p := range w.deployed() {
		for _, l := range p.Layers {
			rendered, err := w.Packs.Render(w.applied(l), facts)
			if err != nil {
				return nil, fmt.Errorf("profile %s, layer %s: %w", p.Name, l.Name, err)
			}
			for _, r := range rendered {
				out = append(out, staged{
					release: release{
						Set:        workload.Set{Name: r.Name, FieldManager: fieldManager, Documents: r.Documents, Prune: true},
						Pack:       l.Name,
						ProfileUID: p.UID,
						NeedsCloud: r.Stage == pack.StageCloudController,
					},
					stage: r.Stage,
					title: "Apply " + r.Name,
				})
			}
		}
	}
	own, err := w.resources()
	if err != nil {
		return nil, err
	}
	out = append(out, own...)
	w.rendered, w.renderedFor = out, facts.Endpoint
	return out, nil
}

// bootstrapCluster is what all machines boot with in common.
func (w *World) bootstrapCluster() bootstrap.Cluster {
	st := w.Cluster.Status
	c := bootstrap.Cluster{
		Name: w.Cluster.Name, UID: w.Cluster.UID,
		KubernetesVersion: w.Settings.KubernetesVersion,
		Endpoint:          st.Endpoint,
		Port:              apiPort,
		PodCIDR:           w.Settings.PodCIDR,
		ServiceCIDR:       w.Settings.ServiceCIDR,
		DNSDomain:         w.Settings.DNSDomain,
		Location:          w.Spec.Location,
		SubscriptionID:    w.Spec.SubscriptionID,
		ResourceGroup:     w.Spec.ResourceGroup,
		APIServerSANs:     w.Settings.APIServerSANs,
		AllocateNodeCIDRs: w.Settings.AllocateNodeCIDRs,
		Proxy:             bootstrap.ProxyMode(w.Settings.ProxyMode),
		Image:             bootstrap.Stock,
		Mirror:            bootstrap.Mirror(w.Settings.Mirror),
		TokenTTL:          tokenLife,
	}
	if w.Settings.Image.Preinstalled {
		c.Image = bootstrap.Gallery
	}
	return c
}

// userData renders what a machine boots with.
func (w *World) userData(m *lazuli.Machine) ([]byte, error) {
	if w.Secrets == nil { // a restored store may lack what its records say was made
		return nil, lazuli.Errorf(lazuli.CodeInternal, "render the user data of %s: the cluster's keys are not in the store", m.Name)
	}
	p := w.pool(m.Pool)
	n := bootstrap.Node{
		Name:        m.Name,
		ProviderID:  "azure://" + m.VMID,
		Role:        bootstrap.Worker,
		Token:       w.Secrets.Tokens[m.Name],
		Labels:      p.Labels,
		EtcdDiskLUN: bootstrap.NoEtcdDisk,
		UseAsWorker: p.UseAsWorker,
	}
	for _, t := range p.Taints {
		n.Taints = append(n.Taints, bootstrap.Taint(t))
	}
	var joiners []bootstrap.Token
	switch {
	case m.Init:
		n.Role = bootstrap.Init
		for _, other := range w.machines() {
			if t, ok := w.Secrets.Tokens[other.Name]; ok {
				joiners = append(joiners, t)
			}
		}
	case m.ControlPlane:
		n.Role = bootstrap.ControlPlane
	}
	if m.EtcdDisk {
		n.EtcdDiskLUN = etcdLUN
	}
	data, err := bootstrap.UserData(w.bootstrapCluster(), w.Secrets.PKI, n, joiners)
	if err != nil {
		return nil, lazuli.Errorf(lazuli.CodeInvalidField, "render the user data of %s: %v", m.Name, err)
	}
	return data, nil
}
