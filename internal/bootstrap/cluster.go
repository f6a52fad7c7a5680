// SPDX-License-Identifier: Apache-2.0

package bootstrap

import "time"

// ImageKind says what a machine's image holds already.
type ImageKind string

// The kinds of image.
const (
	// Gallery images have containerd, kubelet, kubeadm and kubectl of the wanted
	// version baked in; the boot only checks that.
	Gallery ImageKind = "gallery"
	// Stock is a marketplace Ubuntu, onto which the boot installs pinned versions.
	Stock ImageKind = "stock"
)

// ProxyMode is how Services reach pods.
type ProxyMode string

// The proxy modes.
const (
	// ProxyNFTables is the default: its rules change in time proportional to what
	// changed, where iptables rewrites its tables, and it is stable since
	// Kubernetes 1.33. It needs Linux 5.13, which every image we accept has. A
	// network pack with a dataplane of its own in iptables asks for that instead.
	ProxyNFTables ProxyMode = "nftables"
	// ProxyIPTables is for network packs that program iptables themselves.
	ProxyIPTables ProxyMode = "iptables"
	// ProxyNone leaves kube-proxy out, for networks that replace it.
	ProxyNone ProxyMode = "none"
)

// Role is a machine's part in the cluster.
type Role string

// The roles.
const (
	Init         Role = "init"         // the control plane that runs kubeadm init
	ControlPlane Role = "controlplane" // every further control plane
	Worker       Role = "worker"
)

// Defaults of Cluster's fields.
const (
	DefaultPort      = 6443
	DefaultDNSDomain = "cluster.local"
	DefaultTokenTTL  = time.Hour
	// NoEtcdDisk as Node.EtcdDiskLUN keeps etcd on the OS disk.
	NoEtcdDisk = -1
)

// Mirror redirects what a boot downloads. Each is a base URL without a trailing
// slash; an empty one means upstream.
type Mirror struct {
	// UbuntuArchive replaces the archive in APT's sources (stock images).
	UbuntuArchive string
	// AptKubernetes replaces https://pkgs.k8s.io (stock images).
	AptKubernetes string
	// Binaries replaces https://github.com for containerd's and runc's release
	// files, under the same paths (stock images).
	Binaries string
	// Registry is asked for every image before the image's own registry (all images).
	Registry string
}

// Cluster is what all machines of a cluster have in common.
type Cluster struct {
	Name              string // RFC 1123 label
	UID               string
	KubernetesVersion string // such as 1.36.3, without a v
	Endpoint          string // DNS name of the API server, without a port
	Port              int    // of the API server; 0 is DefaultPort
	PodCIDR           string // IPv4
	ServiceCIDR       string // IPv4, /12 or smaller, apart from PodCIDR
	DNSDomain         string // "" is DefaultDNSDomain
	Location          string // Azure region, becomes the Node's region label; may be empty
	SubscriptionID    string // with ResourceGroup for Node.ProviderID where that is empty
	ResourceGroup     string
	APIServerSANs     []string // further names and addresses for the API server's certificate
	// AllocateNodeCIDRs has the controller manager hand each Node a /24 of
	// PodCIDR: for networks without an IPAM of their own.
	AllocateNodeCIDRs bool
	Proxy             ProxyMode // "" is ProxyNFTables
	Image             ImageKind // "" is Gallery
	Mirror            Mirror
	TokenTTL          time.Duration // of the tokens that the init node registers; 0 is DefaultTokenTTL
}

// Taint is put on a Node when it registers.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"` // NoSchedule, PreferNoSchedule, NoExecute
}

// File is one more file for a machine, such as the cloud provider's azure.json.
type File struct {
	Path    string // absolute and clean, outside /etc/kubernetes/pki and our own folders
	Mode    string // octal, such as 0600; "" is 0600
	Content string
}

// Node is one machine.
type Node struct {
	Name string // RFC 1123 label: VM, computer and Node at once
	// ProviderID is the identity that the kubelet reports. Empty, it is made of the
	// cluster's subscription and resource group and the name.
	ProviderID string
	Role       Role
	Token      Token // the machine's own; not needed by the init node
	Labels     map[string]string
	Taints     []Taint
	// EtcdDiskLUN is the data disk of etcd on control planes, or NoEtcdDisk.
	EtcdDiskLUN int
	// UseAsWorker leaves a control plane without the NoSchedule taint and without
	// the label that keeps it out of the pools of LoadBalancer Services.
	UseAsWorker bool
	Files       []File
}

func (c Cluster) withDefaults() Cluster {
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	if c.DNSDomain == "" {
		c.DNSDomain = DefaultDNSDomain
	}
	if c.Proxy == "" {
		c.Proxy = ProxyNFTables
	}
	if c.Image == "" {
		c.Image = Gallery
	}
	if c.TokenTTL == 0 {
		c.TokenTTL = DefaultTokenTTL
	}
	return c
}

func (n Node) providerID(c Cluster) string {
	if n.ProviderID != "" {
		return n.ProviderID
	}
	// The form of cloud-provider-azure for a VM outside scale sets.
	return "azure:///subscriptions/" + c.SubscriptionID + "/resourceGroups/" + c.ResourceGroup +
		"/providers/Microsoft.Compute/virtualMachines/" + n.Name
}

func (n Node) controlPlane() bool { return n.Role == Init || n.Role == ControlPlane }
