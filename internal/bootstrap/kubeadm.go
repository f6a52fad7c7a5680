// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	kubeadmAPI = "kubeadm.k8s.io/v1beta4" // the only stable one since kubeadm 1.37
	criSocket  = "unix:///run/containerd/containerd.sock"
	// etcdDataDir is below the mount point: a fresh ext4 has lost+found in its
	// root, and kubeadm's preflight wants an empty directory.
	etcdMount   = "/var/lib/etcddisk"
	etcdDataDir = etcdMount + "/etcd"
	// etcdQuota is the largest database that etcd recommends, in bytes.
	etcdQuota = 8 << 30

	controlPlaneTaint = "node-role.kubernetes.io/control-plane"
	regionLabel       = "topology.kubernetes.io/region"
	// ownTokenTTL is the life of the token that kubeadm insists on making
	// when nobody joins; nobody ever knows it.
	ownTokenTTL = time.Minute
)

// arg is a command-line argument as v1beta4 has it: a list, not a map.
type arg struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type typeMeta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

type initConfiguration struct {
	typeMeta
	BootstrapTokens  []bootstrapToken `json:"bootstrapTokens,omitempty"`
	LocalAPIEndpoint apiEndpoint      `json:"localAPIEndpoint"`
	NodeRegistration nodeRegistration `json:"nodeRegistration"`
	SkipPhases       []string         `json:"skipPhases,omitempty"`
	Timeouts         timeouts         `json:"timeouts"`
}

// bootstrapToken leaves usages and groups to kubeadm, whose defaults are what a
// joining machine needs.
type bootstrapToken struct {
	Token string `json:"token,omitempty"`
	TTL   string `json:"ttl"`
}

type apiEndpoint struct {
	BindPort int `json:"bindPort"`
}

type nodeRegistration struct {
	Name             string  `json:"name"`
	CRISocket        string  `json:"criSocket"`
	KubeletExtraArgs []arg   `json:"kubeletExtraArgs"`
	Taints           []Taint `json:"taints"` // absent and empty differ: absent is kubeadm's default
}

type timeouts struct {
	ControlPlaneComponentHealthCheck string `json:"controlPlaneComponentHealthCheck"`
	Discovery                        string `json:"discovery"`
	EtcdAPICall                      string `json:"etcdAPICall"`
	KubeletHealthCheck               string `json:"kubeletHealthCheck"`
	KubernetesAPICall                string `json:"kubernetesAPICall"`
	TLSBootstrap                     string `json:"tlsBootstrap"`
}

type clusterConfiguration struct {
	typeMeta
	APIServer            apiServer  `json:"apiServer"`
	ClusterName          string     `json:"clusterName"`
	ControlPlaneEndpoint string     `json:"controlPlaneEndpoint"`
	ControllerManager    component  `json:"controllerManager"`
	EncryptionAlgorithm  string     `json:"encryptionAlgorithm"`
	Etcd                 etcd       `json:"etcd"`
	KubernetesVersion    string     `json:"kubernetesVersion"`
	Networking           networking `json:"networking"`
}

type component struct {
	ExtraArgs []arg `json:"extraArgs,omitempty"`
}

type apiServer struct {
	CertSANs []string `json:"certSANs"`
}

type etcd struct {
	Local localEtcd `json:"local"`
}

type localEtcd struct {
	DataDir   string `json:"dataDir"`
	ExtraArgs []arg  `json:"extraArgs"`
}

type networking struct {
	DNSDomain     string `json:"dnsDomain"`
	PodSubnet     string `json:"podSubnet"`
	ServiceSubnet string `json:"serviceSubnet"`
}

type kubeletConfiguration struct {
	typeMeta
	CgroupDriver                    string `json:"cgroupDriver"`
	ShutdownGracePeriod             string `json:"shutdownGracePeriod"`
	ShutdownGracePeriodCriticalPods string `json:"shutdownGracePeriodCriticalPods"`
}

type kubeProxyConfiguration struct {
	typeMeta
	Mode ProxyMode `json:"mode"`
}

type joinConfiguration struct {
	typeMeta
	ControlPlane     *joinControlPlane `json:"controlPlane,omitempty"`
	Discovery        discovery         `json:"discovery"`
	NodeRegistration nodeRegistration  `json:"nodeRegistration"`
	Timeouts         timeouts          `json:"timeouts"`
}

type joinControlPlane struct {
	LocalAPIEndpoint apiEndpoint `json:"localAPIEndpoint"`
}

type discovery struct {
	BootstrapToken    tokenDiscovery `json:"bootstrapToken"`
	TLSBootstrapToken string         `json:"tlsBootstrapToken"`
}

type tokenDiscovery struct {
	APIServerEndpoint string   `json:"apiServerEndpoint"`
	CACertHashes      []string `json:"caCertHashes"`
	Token             string   `json:"token"`
}

// bootTimeouts are long where all machines boot at once: a joiner waits for the
// init node, and control planes wait for each other's promotion in etcd, one
// learner at a time.
func bootTimeouts() timeouts {
	return timeouts{
		ControlPlaneComponentHealthCheck: "10m0s",
		Discovery:                        "30m0s",
		EtcdAPICall:                      "10m0s",
		KubeletHealthCheck:               "10m0s",
		KubernetesAPICall:                "2m0s",
		TLSBootstrap:                     "10m0s",
	}
}

// kubeadmInit renders the documents of "kubeadm init".
func kubeadmInit(c Cluster, n Node, joiners []Token) (string, error) {
	initial := initConfiguration{
		typeMeta:         typeMeta{kubeadmAPI, "InitConfiguration"},
		LocalAPIEndpoint: apiEndpoint{BindPort: c.Port},
		NodeRegistration: registration(c, n),
		Timeouts:         bootTimeouts(),
	}
	for _, t := range joiners {
		initial.BootstrapTokens = append(initial.BootstrapTokens, bootstrapToken{Token: string(t), TTL: c.TokenTTL.String()})
	}
	if len(joiners) == 0 {
		// With none given kubeadm makes one that lives for a day.
		initial.BootstrapTokens = []bootstrapToken{{TTL: ownTokenTTL.String()}}
	}
	proxy := c.Proxy
	if proxy == ProxyNone {
		initial.SkipPhases = []string{"addon/kube-proxy"}
	}
	docs := []any{initial, clusterDocument(c), kubeletConfiguration{
		typeMeta:                        typeMeta{"kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"},
		CgroupDriver:                    "systemd",
		ShutdownGracePeriod:             "60s",
		ShutdownGracePeriodCriticalPods: "20s",
	}}
	if proxy != ProxyNone {
		docs = append(docs, kubeProxyConfiguration{
			typeMeta: typeMeta{"kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration"},
			Mode:     proxy,
		})
	}
	return documents(docs...)
}

func clusterDocument(c Cluster) clusterConfiguration {
	sans := []string{c.Endpoint}
	for _, s := range c.APIServerSANs {
		if !slices.Contains(sans, s) {
			sans = append(sans, s)
		}
	}
	return clusterConfiguration{
		typeMeta:             typeMeta{kubeadmAPI, "ClusterConfiguration"},
		APIServer:            apiServer{CertSANs: sans},
		ClusterName:          c.Name,
		ControlPlaneEndpoint: c.address(),
		ControllerManager: component{ExtraArgs: []arg{
			{"allocate-node-cidrs", strconv.FormatBool(c.AllocateNodeCIDRs)},
			{"cloud-provider", "external"},
		}},
		EncryptionAlgorithm: "ECDSA-P256", // leaf keys like our CAs
		Etcd: etcd{Local: localEtcd{
			DataDir:   etcdDataDir,
			ExtraArgs: []arg{{"quota-backend-bytes", strconv.Itoa(etcdQuota)}},
		}},
		KubernetesVersion: "v" + c.KubernetesVersion,
		Networking:        networking{DNSDomain: c.DNSDomain, PodSubnet: c.PodCIDR, ServiceSubnet: c.ServiceCIDR},
	}
}

// kubeadmJoin renders the document of "kubeadm join".
func kubeadmJoin(c Cluster, p PKI, n Node) (string, error) {
	hash, err := p.CACertHash()
	if err != nil {
		return "", fmt.Errorf("pki: %w", err)
	}
	join := joinConfiguration{
		typeMeta: typeMeta{kubeadmAPI, "JoinConfiguration"},
		Discovery: discovery{
			BootstrapToken:    tokenDiscovery{APIServerEndpoint: c.address(), CACertHashes: []string{hash}, Token: string(n.Token)},
			TLSBootstrapToken: string(n.Token),
		},
		NodeRegistration: registration(c, n),
		Timeouts:         bootTimeouts(),
	}
	if n.Role == ControlPlane {
		join.ControlPlane = &joinControlPlane{LocalAPIEndpoint: apiEndpoint{BindPort: c.Port}}
	}
	return documents(join)
}

func (c Cluster) address() string { return c.Endpoint + ":" + strconv.Itoa(c.Port) }

func registration(c Cluster, n Node) nodeRegistration {
	r := nodeRegistration{Name: n.Name, CRISocket: criSocket, Taints: []Taint{}, KubeletExtraArgs: []arg{
		{"cloud-provider", "external"},
		{"provider-id", n.providerID(c)},
	}}
	if labels := kubeletLabels(c, n); labels != "" {
		r.KubeletExtraArgs = append(r.KubeletExtraArgs, arg{"node-labels", labels})
	}
	if n.controlPlane() && !n.UseAsWorker {
		r.Taints = append(r.Taints, Taint{Key: controlPlaneTaint, Effect: "NoSchedule"})
	}
	for _, t := range n.Taints {
		if !slices.Contains(r.Taints, t) {
			r.Taints = append(r.Taints, t)
		}
	}
	return r
}

// kubeletLabels is the value of --node-labels: the labels that the kubelet may
// set, in the order of their keys.
func kubeletLabels(c Cluster, n Node) string {
	labels := map[string]string{}
	if c.Location != "" {
		labels[regionLabel] = c.Location
	}
	for k, v := range n.Labels {
		if KubeletMaySet(k) {
			labels[k] = v
		}
	}
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, k+"="+labels[k])
	}
	return strings.Join(pairs, ",")
}

func documents(docs ...any) (string, error) {
	var b bytes.Buffer
	for i, d := range docs {
		if i > 0 {
			b.WriteString("---\n")
		}
		text, err := yaml.Marshal(d)
		if err != nil {
			return "", fmt.Errorf("encode kubeadm configuration: %w", err)
		}
		b.Write(text)
	}
	return b.String(), nil
}
