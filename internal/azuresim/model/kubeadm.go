// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"
)

// Versions of kubeadm's API. v1beta3 was removed in Kubernetes 1.37.
const (
	kubeadmGroup      = "kubeadm.k8s.io/"
	kubeadmV1beta4    = kubeadmGroup + "v1beta4"
	kubeadmV1beta3    = kubeadmGroup + "v1beta3"
	lastMinorOfBeta3  = 36
	oldestMinor       = 35
	newestMinor       = 37
	defaultBindPort   = 6443
	defaultTokenGroup = "system:bootstrappers:kubeadm:default-node-token"
)

// kubeadm's defaults of its time-outs and of a token's life.
const (
	defaultTokenTTL    = 24 * time.Hour
	defaultDiscovery   = 5 * time.Minute
	defaultEtcdAPICall = 2 * time.Minute
)

// arg is a flag of a component.
type arg struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// args is a list in v1beta4 and was a map in v1beta3.
type args struct {
	list  []arg
	isMap bool
}

// UnmarshalJSON accepts both forms; validation knows which one the version has.
func (a *args) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		m := map[string]string{}
		if err := json.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("read extra args: %w", err)
		}
		a.isMap = true
		for k, v := range m {
			a.list = append(a.list, arg{Name: k, Value: v})
		}
		return nil
	}
	if err := json.Unmarshal(raw, &a.list); err != nil {
		return fmt.Errorf("read extra args: %w", err)
	}
	return nil
}

// value returns the last value of a flag.
func (a args) value(name string) (string, bool) {
	out, ok := "", false
	for _, x := range a.list {
		if x.Name == name {
			out, ok = x.Value, true
		}
	}
	return out, ok
}

type taint struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Effect string `json:"effect"`
}

type nodeRegistration struct {
	Name             string   `json:"name"`
	CRISocket        string   `json:"criSocket"`
	KubeletExtraArgs args     `json:"kubeletExtraArgs"`
	Taints           *[]taint `json:"taints"`
}

type timeouts struct {
	Discovery   string `json:"discovery"`
	EtcdAPICall string `json:"etcdAPICall"`
}

type endpointOf struct {
	AdvertiseAddress string `json:"advertiseAddress"`
	BindPort         int    `json:"bindPort"`
}

type bootstrapToken struct {
	Token       string   `json:"token"`
	TTL         string   `json:"ttl"`
	Expires     string   `json:"expires"`
	Usages      []string `json:"usages"`
	Groups      []string `json:"groups"`
	Description string   `json:"description"`
}

type initConfiguration struct {
	BootstrapTokens  []bootstrapToken `json:"bootstrapTokens"`
	LocalAPIEndpoint endpointOf       `json:"localAPIEndpoint"`
	NodeRegistration nodeRegistration `json:"nodeRegistration"`
	SkipPhases       []string         `json:"skipPhases"`
	Timeouts         timeouts         `json:"timeouts"`
}

type clusterConfiguration struct {
	ClusterName          string `json:"clusterName"`
	ControlPlaneEndpoint string `json:"controlPlaneEndpoint"`
	KubernetesVersion    string `json:"kubernetesVersion"`
	Networking           struct {
		PodSubnet     string `json:"podSubnet"`
		ServiceSubnet string `json:"serviceSubnet"`
		DNSDomain     string `json:"dnsDomain"`
	} `json:"networking"`
	APIServer struct {
		CertSANs  []string `json:"certSANs"`
		ExtraArgs args     `json:"extraArgs"`
	} `json:"apiServer"`
	ControllerManager struct {
		ExtraArgs args `json:"extraArgs"`
	} `json:"controllerManager"`
}

type joinConfiguration struct {
	Discovery struct {
		BootstrapToken *struct {
			Token                    string   `json:"token"`
			APIServerEndpoint        string   `json:"apiServerEndpoint"`
			CACertHashes             []string `json:"caCertHashes"`
			UnsafeSkipCAVerification bool     `json:"unsafeSkipCAVerification"`
		} `json:"bootstrapToken"`
		TLSBootstrapToken string `json:"tlsBootstrapToken"`
	} `json:"discovery"`
	NodeRegistration nodeRegistration `json:"nodeRegistration"`
	ControlPlane     *struct {
		LocalAPIEndpoint endpointOf `json:"localAPIEndpoint"`
	} `json:"controlPlane"`
	Timeouts timeouts `json:"timeouts"`
}

// kubeadmConfig is the file that kubeadm is called with.
type kubeadmConfig struct {
	apiVersion string
	init       *initConfiguration
	cluster    *clusterConfiguration
	join       *joinConfiguration
	// others keeps the kubelet's and kube-proxy's configuration by kind, for the ConfigMaps.
	others map[string]string
	// clusterText is the ClusterConfiguration as YAML.
	clusterText string
}

// parseKubeadm reads a stream of YAML documents.
func parseKubeadm(text string) (*kubeadmConfig, error) {
	c := &kubeadmConfig{others: map[string]string{}}
	for doc := range strings.SplitSeq("\n"+text, "\n---") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			return nil, fmt.Errorf("unable to decode config: %w", err)
		}
		if head.Kind == "" && head.APIVersion == "" {
			continue
		}
		if !strings.HasPrefix(head.APIVersion, kubeadmGroup) {
			c.others[head.Kind] = doc
			continue
		}
		if head.APIVersion != kubeadmV1beta4 && head.APIVersion != kubeadmV1beta3 {
			return nil, fmt.Errorf("your configuration file uses an unknown API spec: %q", head.APIVersion)
		}
		c.apiVersion = head.APIVersion
		var into any
		switch head.Kind {
		case "InitConfiguration":
			c.init = &initConfiguration{}
			into = c.init
		case "ClusterConfiguration":
			c.cluster = &clusterConfiguration{}
			c.clusterText = doc
			into = c.cluster
		case "JoinConfiguration":
			c.join = &joinConfiguration{}
			into = c.join
		default:
			continue
		}
		if err := yaml.Unmarshal([]byte(doc), into); err != nil {
			return nil, fmt.Errorf("unable to decode %s: %w", head.Kind, err)
		}
	}
	return c, nil
}

var (
	tokenPattern = regexp.MustCompile(`^([a-z0-9]{6})\.([a-z0-9]{16})$`)
	hashPattern  = regexp.MustCompile(`^sha256:[a-f0-9]{64}$`)
)

// checkInit is what kubeadm init refuses before it does anything.
func (c *kubeadmConfig) checkInit(hostname string) error {
	if c.init == nil {
		c.init = &initConfiguration{}
	}
	if c.cluster == nil {
		c.cluster = &clusterConfiguration{}
	}
	minor, err := supportedMinor(c.cluster.KubernetesVersion)
	if err != nil {
		return err
	}
	if err := c.checkVersion(minor); err != nil {
		return err
	}
	for _, t := range c.init.BootstrapTokens {
		if t.Token != "" && !tokenPattern.MatchString(t.Token) {
			return fmt.Errorf("bootstrapTokens: the bootstrap token was not of the form %q", tokenPattern)
		}
		if t.TTL != "" && t.Expires != "" {
			return errors.New("bootstrapTokens: ttl and expires cannot both be set")
		}
		if _, err := optionalDuration(t.TTL, defaultTokenTTL); err != nil {
			return fmt.Errorf("bootstrapTokens: %w", err)
		}
	}
	if e := c.cluster.ControlPlaneEndpoint; e != "" {
		if _, _, err := splitEndpoint(e); err != nil {
			return fmt.Errorf("controlPlaneEndpoint: %w", err)
		}
	}
	if err := errors.Join(
		checkSubnet("podSubnet", c.cluster.Networking.PodSubnet),
		checkSubnet("serviceSubnet", c.cluster.Networking.ServiceSubnet),
	); err != nil {
		return err
	}
	if err := c.checkArgs(c.cluster.APIServer.ExtraArgs, c.cluster.ControllerManager.ExtraArgs); err != nil {
		return err
	}
	if err := c.checkTimeouts(c.init.Timeouts); err != nil {
		return err
	}
	return c.checkNode(&c.init.NodeRegistration, hostname)
}

// checkJoin is what kubeadm join refuses before it asks anyone.
func (c *kubeadmConfig) checkJoin(hostname string) error {
	if c.join == nil {
		return errors.New("no JoinConfiguration in the configuration file")
	}
	d := c.join.Discovery.BootstrapToken
	if d == nil {
		return errors.New("discovery: bootstrapToken or file must be set (only tokens are modelled)")
	}
	if !tokenPattern.MatchString(d.Token) {
		return errors.New("discovery.bootstrapToken.token: the bootstrap token is invalid")
	}
	if t := c.join.Discovery.TLSBootstrapToken; t != "" && !tokenPattern.MatchString(t) {
		return errors.New("discovery.tlsBootstrapToken: the bootstrap token is invalid")
	}
	if _, _, err := splitEndpoint(d.APIServerEndpoint); err != nil {
		return fmt.Errorf("discovery.bootstrapToken.apiServerEndpoint: %w", err)
	}
	if len(d.CACertHashes) == 0 && !d.UnsafeSkipCAVerification {
		return errors.New("discovery.bootstrapToken: using token-based discovery without caCertHashes can be unsafe. Set unsafeSkipCAVerification as true in your kubeadm config file to continue")
	}
	for _, h := range d.CACertHashes {
		if !hashPattern.MatchString(h) {
			return fmt.Errorf("discovery.bootstrapToken.caCertHashes: invalid hash %q", clip(h))
		}
	}
	if err := c.checkTimeouts(c.join.Timeouts); err != nil {
		return err
	}
	return c.checkNode(&c.join.NodeRegistration, hostname)
}

// checkVersion refuses API versions that a minor release of kubeadm no longer reads.
func (c *kubeadmConfig) checkVersion(minor uint64) error {
	if c.apiVersion == kubeadmV1beta3 && minor > lastMinorOfBeta3 {
		return fmt.Errorf("your configuration file uses an old API spec: %q (kubeadm v1.%d). Please use kubeadm v1.%d instead and run 'kubeadm config migrate'",
			kubeadmV1beta3, minor, lastMinorOfBeta3)
	}
	return nil
}

func (c *kubeadmConfig) checkArgs(lists ...args) error {
	for _, a := range lists {
		if len(a.list) > 0 && a.isMap != (c.apiVersion == kubeadmV1beta3) {
			return fmt.Errorf("json: extra args of %s are a %s", c.apiVersion,
				map[bool]string{true: "map of strings", false: "list of name and value"}[c.apiVersion == kubeadmV1beta3])
		}
	}
	return nil
}

func (c *kubeadmConfig) checkTimeouts(t timeouts) error {
	for _, text := range []string{t.Discovery, t.EtcdAPICall} {
		if _, err := optionalDuration(text, time.Second); err != nil {
			return fmt.Errorf("timeouts: %w", err)
		}
	}
	return nil
}

// checkNode checks a node registration. kubeadm only warns about a name that does not resolve; the cloud provider
// finds a machine by its node's name, so another name than the host's is refused here.
func (c *kubeadmConfig) checkNode(n *nodeRegistration, hostname string) error {
	if n.Name == "" {
		n.Name = hostname
	}
	if n.Name != hostname {
		return fmt.Errorf("nodeRegistration.name %q is not the host's name %q: the cloud provider would not find the machine", clip(n.Name), hostname)
	}
	if err := c.checkArgs(n.KubeletExtraArgs); err != nil {
		return err
	}
	if n.Taints != nil {
		for _, t := range *n.Taints {
			if t.Key == "" || t.Effect != "NoSchedule" && t.Effect != "NoExecute" && t.Effect != "PreferNoSchedule" {
				return fmt.Errorf("nodeRegistration.taints: invalid taint %q with effect %q", t.Key, t.Effect)
			}
		}
	}
	return nil
}

// supportedMinor checks a Kubernetes version and returns its minor number.
func supportedMinor(version string) (uint64, error) {
	v, err := semver.StrictNewVersion(strings.TrimPrefix(version, "v"))
	if err != nil || !strings.HasPrefix(version, "v") {
		return 0, fmt.Errorf("kubernetesVersion: version %q doesn't match patterns for neither semantic version nor labels (stable, latest, ...)", version)
	}
	if v.Major() != 1 || v.Minor() < oldestMinor || v.Minor() > newestMinor {
		return 0, fmt.Errorf("kubernetesVersion: %s is outside the supported versions v1.%d to v1.%d", version, oldestMinor, newestMinor)
	}
	return v.Minor(), nil
}

// splitEndpoint reads host:port; the port is optional.
func splitEndpoint(text string) (host string, port int, err error) {
	if text == "" {
		return "", 0, errors.New("must be set")
	}
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		if strings.Contains(text, ":") {
			return "", 0, fmt.Errorf("%q is not host:port", clip(text))
		}
		return text, defaultBindPort, nil
	}
	port, err = strconv.Atoi(portText)
	if err != nil || port < 1 || port > 65535 || host == "" {
		return "", 0, fmt.Errorf("%q is not host:port", clip(text))
	}
	return host, port, nil
}

// minServiceBits is kubeadm's smallest service subnet: room for kubernetes and the DNS.
const minServiceBits = 30

func checkSubnet(field, cidr string) error {
	if cidr == "" {
		return nil
	}
	for one := range strings.SplitSeq(cidr, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(one))
		if err != nil {
			return fmt.Errorf("networking.%s: couldn't parse subnet: invalid CIDR address: %s", field, clip(one))
		}
		if field == "serviceSubnet" && p.Addr().Is4() && p.Bits() > minServiceBits-1 {
			return fmt.Errorf("networking.%s: subnet %s is too small", field, one)
		}
	}
	return nil
}

func optionalDuration(text string, byDefault time.Duration) (time.Duration, error) {
	if text == "" {
		return byDefault, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("invalid duration %q", clip(text))
	}
	return d, nil
}

// firstSubnet is the IPv4 part of a possibly dual-stack subnet.
func firstSubnet(cidr string) string {
	first, _, _ := strings.Cut(cidr, ",")
	return strings.TrimSpace(first)
}

var allowedNodeLabels = regexp.MustCompile(`^(?:(?:beta\.)?kubernetes\.io/(?:hostname|os|arch|instance-type)|(?:topology|failure-domain\.beta)\.kubernetes\.io/(?:zone|region)|(?:[a-z0-9.-]+\.)?(?:kubelet|node)\.kubernetes\.io/.+)$`)

// nodeLabels reads the kubelet's --node-labels. A kubelet may not give itself labels of Kubernetes' own domains outside
// a short list (NodeRestriction); it does not start then.
func nodeLabels(n *nodeRegistration) (map[string]string, error) {
	out := map[string]string{}
	text, _ := n.KubeletExtraArgs.value("node-labels")
	for pair := range strings.SplitSeq(text, ",") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("kubelet: invalid argument %q for --node-labels", clip(pair))
		}
		domain, _, slash := strings.Cut(key, "/")
		own := slash && (domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io") || domain == "k8s.io" || strings.HasSuffix(domain, ".k8s.io"))
		if own && !allowedNodeLabels.MatchString(key) {
			return nil, fmt.Errorf("kubelet: unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [%s]", key)
		}
		out[key] = value
	}
	return out, nil
}
