// SPDX-License-Identifier: Apache-2.0

package process

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	defaultPort      = 6443
	defaultDiscovery = 5 * time.Minute // kubeadm's timeouts.discovery
	defaultTLS       = 5 * time.Minute // kubeadm's timeouts.tlsBootstrap
	controlPlaneRole = "node-role.kubernetes.io/control-plane"
	uninitialized    = "node.cloudprovider.kubernetes.io/uninitialized"
)

// config is kubeadm's configuration as documents, so that what this level does not know stays as it is.
type config struct {
	docs                []map[string]any
	init, cluster, join map[string]any
}

func parseConfig(text string) (*config, error) {
	c := &config{}
	for doc := range strings.SplitSeq("\n"+text, "\n---") {
		var d map[string]any
		if err := yaml.Unmarshal([]byte(doc), &d); err != nil {
			return nil, fmt.Errorf("read kubeadm configuration: %w", err)
		}
		if len(d) == 0 {
			continue
		}
		c.docs = append(c.docs, d)
		switch d["kind"] {
		case "InitConfiguration":
			c.init = d
		case "ClusterConfiguration":
			c.cluster = d
		case "JoinConfiguration":
			c.join = d
		}
	}
	return c, nil
}

func (c *config) text() (string, error) {
	var b strings.Builder
	for i, d := range c.docs {
		raw, err := yaml.Marshal(d)
		if err != nil {
			return "", fmt.Errorf("write kubeadm configuration: %w", err)
		}
		if i > 0 {
			b.WriteString("---\n")
		}
		b.Write(raw)
	}
	return b.String(), nil
}

// within returns the object at a path, which it makes.
func within(o map[string]any, path ...string) map[string]any {
	for _, key := range path {
		next, ok := o[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			o[key] = next
		}
		o = next
	}
	return o
}

// initTexts are the configuration that the cluster is told of, and the one with which kubeadm makes its files: the same
// with a folder of this machine and the loopback address.
func (c *config) initTexts(privateIP, hostname, pkiDir, loopback string) (told, local string, err error) {
	version := "kubeadm.k8s.io/v1beta4"
	for _, d := range []map[string]any{c.init, c.cluster} {
		if d != nil {
			version, _ = d["apiVersion"].(string)
		}
	}
	if c.init == nil {
		c.init = map[string]any{"apiVersion": version, "kind": "InitConfiguration"}
		c.docs = append(c.docs, c.init)
	}
	if c.cluster == nil {
		c.cluster = map[string]any{"apiVersion": version, "kind": "ClusterConfiguration"}
		c.docs = append(c.docs, c.cluster)
	}
	here := within(c.init, "localAPIEndpoint")
	if here["advertiseAddress"] == nil {
		here["advertiseAddress"] = privateIP
	}
	node := within(c.init, "nodeRegistration")
	for key, value := range map[string]string{"name": hostname, "criSocket": "unix:///run/containerd/containerd.sock"} {
		if node[key] == nil {
			node[key] = value
		}
	}
	if told, err = c.text(); err != nil {
		return "", "", err
	}
	other, err := parseConfig(told)
	if err != nil {
		return "", "", err
	}
	other.cluster["certificatesDir"] = pkiDir
	for _, at := range []struct {
		in   map[string]any
		list string
	}{{within(other.cluster, "apiServer"), "certSANs"}, {within(other.cluster, "etcd", "local"), "serverCertSANs"}} {
		names, _ := at.in[at.list].([]any)
		at.in[at.list] = append(names, loopback)
	}
	local, err = other.text()
	return told, local, err
}

type taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

// registration is what a kubelet tells of itself.
type registration struct {
	name, providerID string
	labels           map[string]string
	taints           []taint
	controlPlane     bool
	// external: a cloud controller initialises the node.
	external bool
}

// args reads a list of name and value (v1beta4) or a map (v1beta3).
type args map[string]string

// UnmarshalJSON is json.Unmarshaler.
func (a *args) UnmarshalJSON(raw []byte) error {
	*a = args{}
	if strings.HasPrefix(strings.TrimSpace(string(raw)), "{") {
		m := map[string]string{}
		err := json.Unmarshal(raw, &m)
		*a = m
		return err
	}
	var list []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	err := json.Unmarshal(raw, &list)
	for _, x := range list {
		(*a)[x.Name] = x.Value
	}
	return err
}

func registrationOf(doc map[string]any, hostname string, controlPlane bool) (registration, error) {
	var n struct {
		NodeRegistration struct {
			Name             string   `json:"name"`
			KubeletExtraArgs args     `json:"kubeletExtraArgs"`
			Taints           *[]taint `json:"taints"`
		} `json:"nodeRegistration"`
	}
	if err := convert(doc, &n); err != nil {
		return registration{}, err
	}
	extra := n.NodeRegistration.KubeletExtraArgs
	r := registration{
		name: cmp.Or(n.NodeRegistration.Name, hostname), providerID: extra["provider-id"], labels: map[string]string{},
		controlPlane: controlPlane, external: extra["cloud-provider"] == "external",
	}
	for pair := range strings.SplitSeq(extra["node-labels"], ",") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			r.labels[key] = value
		}
	}
	switch {
	case n.NodeRegistration.Taints != nil:
		r.taints = *n.NodeRegistration.Taints
	case controlPlane:
		r.taints = []taint{{Key: controlPlaneRole, Effect: "NoSchedule"}}
	}
	return r, nil
}

// joining is what a JoinConfiguration says beside the node.
type joining struct {
	endpoint        string // host:port
	token, tlsToken string
	pins            []string
	controlPlane    bool
	port            int // of its own API server
	discovery, tls  time.Duration
}

func joiningOf(doc map[string]any) (joining, error) {
	var j struct {
		Discovery struct {
			BootstrapToken struct {
				Token             string   `json:"token"`
				APIServerEndpoint string   `json:"apiServerEndpoint"`
				CACertHashes      []string `json:"caCertHashes"`
			} `json:"bootstrapToken"`
			TLSBootstrapToken string `json:"tlsBootstrapToken"`
		} `json:"discovery"`
		ControlPlane *struct {
			LocalAPIEndpoint struct {
				BindPort int `json:"bindPort"`
			} `json:"localAPIEndpoint"`
		} `json:"controlPlane"`
		Timeouts struct {
			Discovery    string `json:"discovery"`
			TLSBootstrap string `json:"tlsBootstrap"`
		} `json:"timeouts"`
	}
	if err := convert(doc, &j); err != nil {
		return joining{}, err
	}
	d := j.Discovery.BootstrapToken
	out := joining{
		endpoint: d.APIServerEndpoint, token: d.Token, tlsToken: cmp.Or(j.Discovery.TLSBootstrapToken, d.Token), pins: d.CACertHashes,
		controlPlane: j.ControlPlane != nil, port: defaultPort,
		discovery: duration(j.Timeouts.Discovery, defaultDiscovery), tls: duration(j.Timeouts.TLSBootstrap, defaultTLS),
	}
	if j.ControlPlane != nil {
		out.port = cmp.Or(j.ControlPlane.LocalAPIEndpoint.BindPort, defaultPort)
	}
	if !strings.Contains(out.endpoint, ":") {
		out.endpoint += fmt.Sprintf(":%d", defaultPort)
	}
	return out, nil
}

func duration(text string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(text); err == nil {
		return d
	}
	return otherwise
}

// convert reads a document into a struct.
func convert(doc map[string]any, out any) error {
	raw, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(raw, out)
	}
	if err != nil {
		return fmt.Errorf("read %v: %w", doc["kind"], err)
	}
	return nil
}

// manifestArgs are the flags of the container in a static pod's manifest.
func manifestArgs(manifest []byte) ([]string, error) {
	var pod struct {
		Spec struct {
			Containers []struct {
				Command []string `json:"command"`
			} `json:"containers"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(manifest, &pod); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if len(pod.Spec.Containers) != 1 || len(pod.Spec.Containers[0].Command) == 0 {
		return nil, fmt.Errorf("read manifest: %d containers, one with a command is expected", len(pod.Spec.Containers))
	}
	return pod.Spec.Containers[0].Command[1:], nil
}

// withArgs replaces flags, or appends them.
func withArgs(list []string, with map[string]string) []string {
	var out []string
	for _, a := range list {
		name, _, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		if _, replaced := with[name]; !replaced {
			out = append(out, a)
		}
	}
	for name, value := range with {
		out = append(out, "--"+name+"="+value)
	}
	return out
}
