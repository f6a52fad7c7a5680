// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/internal/bootstrap"
)

func TestValidation(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		change func(*bootstrap.Cluster, *bootstrap.Node)
		field  string
	}{
		{"empty name", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Name = "" }, "cluster.name"},
		{"upper-case name", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Name = "Prod" }, "cluster.name"},
		{"old minor", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.KubernetesVersion = "1.34.13" }, "cluster.kubernetesVersion"},
		{"future minor", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.KubernetesVersion = "1.38.0" }, "cluster.kubernetesVersion"},
		{"version with a v", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.KubernetesVersion = "v1.36.3" }, "cluster.kubernetesVersion"},
		{"pre-release", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.KubernetesVersion = "1.36.3-rc.0" }, "cluster.kubernetesVersion"},
		{"endpoint with a port", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Endpoint += ":6443" }, "cluster.endpoint"},
		{"endpoint is an address", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Endpoint = "10.0.0.1" }, "cluster.endpoint"},
		{"port too high", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Port = 65536 }, "cluster.port"},
		{"no CIDR", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.PodCIDR = "192.168.0.0" }, "cluster.podCIDR"},
		{"IPv6", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.PodCIDR = "fd00::/48" }, "cluster.podCIDR"},
		{"host bits", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.PodCIDR = "192.168.1.0/16" }, "cluster.podCIDR"},
		{"pods too few", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.PodCIDR = "192.168.1.0/25" }, "cluster.podCIDR"},
		{"pods in link-local", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.PodCIDR = "169.254.0.0/16" }, "cluster.podCIDR"},
		{"pods over the wire server", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.PodCIDR = "168.63.0.0/16" }, "cluster.podCIDR"},
		{"services too many", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.ServiceCIDR = "10.0.0.0/8" }, "cluster.serviceCIDR"},
		{"overlap", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.PodCIDR = "10.100.0.0/16" }, "cluster.serviceCIDR"},
		{"domain", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.DNSDomain = "cluster_local" }, "cluster.dnsDomain"},
		{"region", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Location = "West Europe" }, "cluster.location"},
		{"SAN", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.APIServerSANs = []string{"ok", "*.x"} }, "cluster.apiServerSANs[1]"},
		{"image", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Image = "vhd" }, "cluster.image"},
		{"proxy", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Proxy = "ipvs" }, "cluster.proxy"},
		{"token life too short to boot in", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.TokenTTL = time.Second }, "cluster.tokenTTL"},
		{"token life too long", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.TokenTTL = 48 * time.Hour }, "cluster.tokenTTL"},
		{"mirror with credentials", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Mirror.Binaries = "https://u:p@x" }, "cluster.mirror.binaries"},
		{"mirror ending in a slash", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Mirror.Registry = "https://x/" }, "cluster.mirror.registry"},
		{"mirror on a file", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Mirror.AptKubernetes = "file:///x" }, "cluster.mirror.aptKubernetes"},
		{"mirror with a line end", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.Mirror.UbuntuArchive = "https://x/a%0ab" }, "cluster.mirror.ubuntuArchive"},
		{"node name with dots", func(_ *bootstrap.Cluster, n *bootstrap.Node) { n.Name = "a.b" }, "node.name"},
		{"node name too long", func(_ *bootstrap.Cluster, n *bootstrap.Node) { n.Name = strings.Repeat("a", 64) }, "node.name"},
		{"role", func(_ *bootstrap.Cluster, n *bootstrap.Node) { n.Role = "etcd" }, "node.role"},
		{"worker without token", func(_ *bootstrap.Cluster, n *bootstrap.Node) { n.Token = "" }, "node.token"},
		{"no provider id", func(c *bootstrap.Cluster, _ *bootstrap.Node) { c.SubscriptionID = "" }, "node.providerID"},
		{"label value", func(_ *bootstrap.Cluster, n *bootstrap.Node) { n.Labels["a"] = "x,b=y" }, "node.labels"},
		{"label key", func(_ *bootstrap.Cluster, n *bootstrap.Node) { n.Labels["a=b"] = "x" }, "node.labels"},
		{"taint effect", func(_ *bootstrap.Cluster, n *bootstrap.Node) { n.Taints = []bootstrap.Taint{{Key: "a", Effect: "No"}} }, "node.taints[0].effect"},
		{"taint key", func(_ *bootstrap.Cluster, n *bootstrap.Node) { n.Taints = []bootstrap.Taint{{Effect: "NoSchedule"}} }, "node.taints[0].key"},
		{"LUN", func(_ *bootstrap.Cluster, n *bootstrap.Node) { n.EtcdDiskLUN = 64 }, "node.etcdDiskLUN"},
		{"file over the PKI", func(_ *bootstrap.Cluster, n *bootstrap.Node) {
			n.Files = []bootstrap.File{{Path: "/etc/kubernetes/pki/ca.crt"}}
		}, "node.files[0].path"},
		{"file that climbs", func(_ *bootstrap.Cluster, n *bootstrap.Node) {
			n.Files = []bootstrap.File{{Path: "/opt/../etc/lazuli/x"}}
		}, "node.files[0].path"},
		{"file mode", func(_ *bootstrap.Cluster, n *bootstrap.Node) {
			n.Files = []bootstrap.File{{Path: "/opt/x", Mode: "rw"}}
		}, "node.files[0].mode"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			c, n := fixtureCluster(), fixtureNode(bootstrap.Worker)
			tt.change(&c, &n)
			_, err := bootstrap.UserData(c, fixturePKI(t), n, nil)
			if err == nil || !strings.Contains(err.Error(), tt.field+":") && !strings.Contains(err.Error(), tt.field+".") {
				t.Errorf("error %v does not name %s", err, tt.field)
			}
			if err != nil && strings.Contains(err.Error(), "0123456789abcdef") {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

func TestJoinersAreValidated(t *testing.T) {
	t.Parallel()
	for reason, joiners := range map[string][]bootstrap.Token{
		"malformed": {"abcdef.0123456789abcdef", "nope"},
		"same id":   {"abcdef.0123456789abcdef", "abcdef.1123456789abcdef"},
	} {
		_, err := bootstrap.UserData(fixtureCluster(), fixturePKI(t), fixtureNode(bootstrap.Init), joiners)
		if err == nil || !strings.Contains(err.Error(), "joiners[1]") || strings.Contains(err.Error(), "123456789") {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// nasty is what somebody might send as a name, a label, a path or a URL in
// the hope that it ends up as YAML, shell or TOML.
func nasty() []string {
	return []string{
		"'; touch /tmp/pwned; '", `"; touch /tmp/pwned; "`, "$(touch /tmp/pwned)", "`touch /tmp/pwned`", "${IFS}x", "a\nb", "a\r\nb",
		"\nruncmd:\n- touch /tmp/pwned", "x: y", "- x", "# x", "&a *a", "!!python/object:os.system", "{{ ds.meta_data }}", "{% raw %}",
		"## template: jinja", "|", ">", "%TAG", "---\nkind: X", "...\n", "a\x00b", "\u2028", "\ufeff", "\x1b[2J", "a\tb", "~", "null", "yes", "0x10", "1e3", "01:02",
		"../../etc/shadow", "/etc/lazuli/../lazuli/bootstrap.env", "a b", "a,b=c", "a=b,c", "--config=/x", "-rf", "*", "?", "[a]", "\\", `\'`, "'", `"`, "''", "'\\''",
		"https://x'$(id)'", "https://x/\"]\n[host]", "https://x#y", "javascript:alert(1)", strings.Repeat("a", 5000), "\xff\xfe", "é", "𝔞", "a;b", "a&&b", "a|b", "a>b", "a<b",
	}
}

func TestNothingInjects(t *testing.T) {
	t.Parallel()
	places := map[string]func(*bootstrap.Cluster, *bootstrap.Node, string){
		"name":        func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.Name = v },
		"uid":         func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.UID = v },
		"version":     func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.KubernetesVersion = v },
		"endpoint":    func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.Endpoint = v },
		"pods":        func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.PodCIDR = v },
		"services":    func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.ServiceCIDR = v },
		"domain":      func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.DNSDomain = v },
		"location":    func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.Location = v },
		"group":       func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.ResourceGroup = v },
		"san":         func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.APIServerSANs = []string{v} },
		"archive":     func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.Mirror.UbuntuArchive = v },
		"apt":         func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.Mirror.AptKubernetes = v },
		"binaries":    func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.Mirror.Binaries = v },
		"registry":    func(c *bootstrap.Cluster, _ *bootstrap.Node, v string) { c.Mirror.Registry = "https://" + v },
		"node":        func(_ *bootstrap.Cluster, n *bootstrap.Node, v string) { n.Name = v },
		"provider":    func(_ *bootstrap.Cluster, n *bootstrap.Node, v string) { n.ProviderID = "azure://" + v },
		"token":       func(_ *bootstrap.Cluster, n *bootstrap.Node, v string) { n.Token = bootstrap.Token(v) },
		"label":       func(_ *bootstrap.Cluster, n *bootstrap.Node, v string) { n.Labels[v] = "x" },
		"label value": func(_ *bootstrap.Cluster, n *bootstrap.Node, v string) { n.Labels["x"] = v },
		"taint": func(_ *bootstrap.Cluster, n *bootstrap.Node, v string) {
			n.Taints = []bootstrap.Taint{{Key: v, Effect: "NoSchedule"}}
		},
		"taint value": func(_ *bootstrap.Cluster, n *bootstrap.Node, v string) {
			n.Taints = []bootstrap.Taint{{Key: "x", Value: v, Effect: "NoSchedule"}}
		},
		"file": func(_ *bootstrap.Cluster, n *bootstrap.Node, v string) {
			n.Files = []bootstrap.File{{Path: "/opt/" + v}}
		},
		"content": func(_ *bootstrap.Cluster, n *bootstrap.Node, v string) {
			n.Files = []bootstrap.File{{Path: "/opt/x", Content: v}}
		},
	}
	base := fixtureCluster()
	base.Image = bootstrap.Stock
	clean, cleanFiles := decode(t, mustRender(t, base, fixtureNode(bootstrap.Worker)))
	const script = "/usr/local/lib/lazuli/bootstrap"
	for place, put := range places {
		for _, v := range nasty() {
			c, n := base, fixtureNode(bootstrap.Worker)
			put(&c, &n, v)
			data, err := bootstrap.UserData(c, fixturePKI(t), n, nil)
			if err != nil {
				continue // refused, which is the best answer
			}
			got, files := decode(t, data)
			if len(got.RunCmd) != 1 || got.RunCmd[0] != clean.RunCmd[0] || got.Hosts == nil || *got.Hosts {
				t.Errorf("%s = %q changes the cloud-config", place, v)
			}
			if files[script] != cleanFiles[script] {
				t.Errorf("%s = %q changes the script", place, v)
			}
			if extra := len(files) - len(cleanFiles); extra < 0 || extra > 1 {
				t.Errorf("%s = %q: %d files more", place, v, extra)
			}
			var join joinDocument
			documents(t, files[kubeadmFile].Content, &join)
			if len(join.NodeRegistration.KubeletExtraArgs) != 3 {
				t.Errorf("%s = %q: kubelet gets %v", place, v, join.NodeRegistration.KubeletExtraArgs)
			}
			if place == "content" && v != files["/opt/x"].Content {
				t.Errorf("content %q arrives as %q", v, files["/opt/x"].Content)
			}
			for line := range strings.SplitSeq(strings.TrimSuffix(files["/etc/lazuli/bootstrap.env"].Content, "\n"), "\n") {
				if !strings.HasPrefix(line, "LAZULI_") || !strings.HasSuffix(line, "'") {
					t.Errorf("%s = %q: environment has the line %q", place, v, line)
				}
			}
		}
	}
}

// The quoting is the second line of defence, so it is tested against a shell.
func TestShellQuote(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	for _, v := range nasty() {
		if strings.ContainsRune(v, 0) {
			continue // no shell word can hold it, and no field lets it through
		}
		out, err := exec.CommandContext(t.Context(), bash, "-c", "printf %s "+bootstrap.ShellQuote(v)).Output()
		if err != nil || string(out) != v {
			t.Errorf("%q comes out of the shell as %q (%v)", v, out, err)
		}
	}
}

func TestKubeletMaySet(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		"pool": true, "example.com/x": true, "topology.kubernetes.io/zone": true, "node.kubernetes.io/anything": true,
		"kubelet.kubernetes.io/x": true, "sub.node.kubernetes.io/x": true, "lazuli.io/pool": true,
		"node-role.kubernetes.io/worker": false, "node-restriction.kubernetes.io/x": false, "kubernetes.io/role": false,
		"x.k8s.io/y": false, "k8s.io/y": false, "notkubernetes.io/x": true, "topology.kubernetes.io/rack": false,
	} {
		if got := bootstrap.KubeletMaySet(key); got != want {
			t.Errorf("KubeletMaySet(%s) = %t", key, got)
		}
	}
	rest := bootstrap.HubLabels(map[string]string{"a": "b", "node-role.kubernetes.io/worker": ""})
	if _, ok := rest["node-role.kubernetes.io/worker"]; !ok || len(rest) != 1 {
		t.Errorf("HubLabels = %v", rest)
	}
}
