// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli/internal/bootstrap"
)

// The fields of kubeadm's v1beta4 that we use, written down again from its
// reference page, so that a misspelt field is an error here and not on a machine.
type (
	typeMeta struct{ APIVersion, Kind string }
	argument struct{ Name, Value string }
	taint    struct{ Key, Value, Effect string }

	registration struct {
		Name             string
		CRISocket        string `json:"criSocket"`
		KubeletExtraArgs []argument
		Taints           *[]taint
	}
	durations struct {
		ControlPlaneComponentHealthCheck, KubeletHealthCheck, KubernetesAPICall, EtcdAPICall, Discovery string
		TLSBootstrap                                                                                    string `json:"tlsBootstrap"`
	}
	localEndpoint struct{ BindPort int }
	initDocument  struct {
		typeMeta
		BootstrapTokens []struct {
			Token string
			TTL   string `json:"ttl"`
		}
		LocalAPIEndpoint localEndpoint `json:"localAPIEndpoint"`
		NodeRegistration registration
		SkipPhases       []string
		Timeouts         durations
	}
	clusterDocument struct {
		typeMeta
		APIServer struct {
			CertSANs []string `json:"certSANs"`
		} `json:"apiServer"`
		ClusterName, ControlPlaneEndpoint, KubernetesVersion, EncryptionAlgorithm string
		ControllerManager                                                         struct{ ExtraArgs []argument }
		Etcd                                                                      struct {
			Local struct {
				DataDir   string
				ExtraArgs []argument
			}
		}
		Networking struct {
			DNSDomain                string `json:"dnsDomain"`
			PodSubnet, ServiceSubnet string
		}
	}
	kubeletDocument struct {
		typeMeta
		CgroupDriver, ShutdownGracePeriod, ShutdownGracePeriodCriticalPods string
	}
	proxyDocument struct {
		typeMeta
		Mode string
	}
	joinDocument struct {
		typeMeta
		ControlPlane *struct {
			LocalAPIEndpoint localEndpoint `json:"localAPIEndpoint"`
		}
		Discovery struct {
			BootstrapToken struct {
				APIServerEndpoint string `json:"apiServerEndpoint"`
				CACertHashes      []string
				Token             string
			}
			TLSBootstrapToken string `json:"tlsBootstrapToken"`
		}
		NodeRegistration registration
		Timeouts         durations
	}
)

const kubeadmFile = "/etc/lazuli/kubeadm.yaml"

func documents(t *testing.T, text string, into ...any) {
	t.Helper()
	docs := strings.Split(text, "---\n")
	if len(docs) != len(into) {
		t.Fatalf("%d documents, want %d:\n%s", len(docs), len(into), text)
	}
	for i, d := range docs {
		if err := yaml.UnmarshalStrict([]byte(d), into[i]); err != nil {
			t.Fatalf("document %d: %v\n%s", i, err, d)
		}
	}
}

func value(args []argument, name string) string {
	i := slices.IndexFunc(args, func(a argument) bool { return a.Name == name })
	if i < 0 {
		return ""
	}
	return args[i].Value
}

func TestKubeadmInit(t *testing.T) {
	t.Parallel()
	joiners := []bootstrap.Token{"aaaaaa.0123456789abcdef", "bbbbbb.0123456789abcdef"}
	c := fixtureCluster()
	c.AllocateNodeCIDRs, c.TokenTTL = true, 45*time.Minute
	n := fixtureNode(bootstrap.Init)
	_, files := decode(t, mustRender(t, c, n, joiners...))
	var initial initDocument
	var cluster clusterDocument
	var kubelet kubeletDocument
	var proxy proxyDocument
	documents(t, files[kubeadmFile].Content, &initial, &cluster, &kubelet, &proxy)

	if initial.NodeRegistration.Name != n.Name {
		t.Errorf("node name %q", initial.NodeRegistration.Name)
	}
	args := initial.NodeRegistration.KubeletExtraArgs
	for name, want := range map[string]string{
		"cloud-provider": "external",
		"provider-id":    "azure:///subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/clusters/providers/Microsoft.Compute/virtualMachines/" + n.Name,
		"node-labels":    "pool=general,topology.kubernetes.io/region=westeurope,topology.kubernetes.io/zone=westeurope-2",
	} {
		if got := value(args, name); got != want {
			t.Errorf("kubelet --%s=%s, want %s", name, got, want)
		}
	}
	want := []taint{{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}}
	if diff := cmp.Diff(&want, initial.NodeRegistration.Taints); diff != "" {
		t.Errorf("taints: %s", diff)
	}
	if len(initial.BootstrapTokens) != 2 || initial.BootstrapTokens[1].Token != string(joiners[1]) || initial.BootstrapTokens[1].TTL != "45m0s" {
		t.Error("the joiners' tokens are not registered")
	}
	if got := value(cluster.ControllerManager.ExtraArgs, "allocate-node-cidrs"); got != "true" {
		t.Errorf("allocate-node-cidrs=%s", got)
	}
	if cluster.ControlPlaneEndpoint != c.Endpoint+":6443" || cluster.KubernetesVersion != "v1.36.3" || cluster.Networking.PodSubnet != c.PodCIDR {
		t.Errorf("cluster document is %+v", cluster)
	}
	if proxy.Mode != "nftables" || kubelet.CgroupDriver != "systemd" {
		t.Errorf("proxy %+v, kubelet %+v", proxy, kubelet)
	}
	c.Proxy = bootstrap.ProxyNone
	_, files = decode(t, mustRender(t, c, n))
	documents(t, files[kubeadmFile].Content, &initial, &cluster, &kubelet)
	if diff := cmp.Diff([]string{"addon/kube-proxy"}, initial.SkipPhases); diff != "" {
		t.Error(diff)
	}
}

func TestKubeadmJoin(t *testing.T) {
	t.Parallel()
	hash, err := fixturePKI(t).CACertHash()
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []bootstrap.Role{bootstrap.ControlPlane, bootstrap.Worker} {
		n := fixtureNode(role)
		n.Taints = []bootstrap.Taint{{Key: "gpu", Value: "yes", Effect: "NoExecute"}}
		c := fixtureCluster()
		_, files := decode(t, mustRender(t, c, n, "ignore.0123456789abcdef"))
		var join joinDocument
		documents(t, files[kubeadmFile].Content, &join)
		d := join.Discovery
		if d.BootstrapToken.Token != string(n.Token) || d.TLSBootstrapToken != string(n.Token) ||
			d.BootstrapToken.APIServerEndpoint != c.Endpoint+":6443" || !slices.Equal(d.BootstrapToken.CACertHashes, []string{hash}) {
			t.Errorf("%s: discovery is %+v", role, d)
		}
		if (join.ControlPlane != nil) != (role == bootstrap.ControlPlane) {
			t.Errorf("%s: controlPlane is %v", role, join.ControlPlane)
		}
		if join.Timeouts.Discovery != "30m0s" || join.Timeouts.EtcdAPICall != "10m0s" || join.Timeouts.TLSBootstrap != "10m0s" {
			t.Errorf("%s: timeouts %+v", role, join.Timeouts)
		}
		if got := (*join.NodeRegistration.Taints)[len(*join.NodeRegistration.Taints)-1]; got.Key != "gpu" {
			t.Errorf("%s: taints %+v", role, join.NodeRegistration.Taints)
		}
	}
}

func TestUseAsWorkerHasNoTaint(t *testing.T) {
	t.Parallel()
	n := fixtureNode(bootstrap.ControlPlane)
	n.UseAsWorker = true
	_, files := decode(t, mustRender(t, fixtureCluster(), n))
	var join joinDocument
	documents(t, files[kubeadmFile].Content, &join)
	if join.NodeRegistration.Taints == nil || len(*join.NodeRegistration.Taints) != 0 {
		t.Errorf("taints are %v; an absent list would be kubeadm's default taint", join.NodeRegistration.Taints)
	}
	if !strings.Contains(files["/etc/lazuli/bootstrap.env"].Content, "LAZULI_AS_WORKER='true'\n") {
		t.Error("the script is not told to take the load balancers' label away")
	}
}

func TestWhoGetsWhichSecret(t *testing.T) {
	t.Parallel()
	for _, role := range []bootstrap.Role{bootstrap.Init, bootstrap.ControlPlane, bootstrap.Worker} {
		data := mustRender(t, fixtureCluster(), fixtureNode(role))
		config, files := decode(t, data)
		if diff := cmp.Diff([]string{"/usr/local/lib/lazuli/bootstrap"}, config.RunCmd); diff != "" {
			t.Error(diff)
		}
		keys := strings.Count(string(data), "PRIVATE KEY-----\n")
		if want := map[bootstrap.Role]int{bootstrap.Init: 8, bootstrap.ControlPlane: 8}[role]; keys != want {
			t.Errorf("%s: %d ends of private keys, want %d", role, keys, want)
		}
		if role == bootstrap.Worker && strings.Contains(string(data), "BEGIN CERTIFICATE") {
			t.Error("kubeadm's preflight refuses a worker that has ca.crt already")
		}
		for path, f := range files {
			secret := strings.Contains(f.Content, "PRIVATE KEY") || strings.Contains(f.Content, string(fixtureNode(role).Token))
			if secret && f.Permissions != "0600" {
				t.Errorf("%s: %s is secret and has mode %s", role, path, f.Permissions)
			}
			if block, _ := pem.Decode([]byte(f.Content)); strings.HasPrefix(path, "/etc/kubernetes/pki/") && block == nil {
				t.Errorf("%s: %s is not PEM", role, path)
			}
		}
	}
	p := fixturePKI(t)
	p.EtcdCA.Key = ""
	if _, err := bootstrap.UserData(fixtureCluster(), p, fixtureNode(bootstrap.ControlPlane), nil); err == nil || !strings.Contains(err.Error(), "etcd/ca.key") {
		t.Errorf("a PKI without etcd's key: %v", err)
	}
	onlyCert := bootstrap.PKI{CA: bootstrap.KeyPair{Cert: p.CA.Cert}}
	if _, err := bootstrap.UserData(fixtureCluster(), onlyCert, fixtureNode(bootstrap.Worker), nil); err != nil {
		t.Errorf("a worker needs no more of the PKI than the CA's certificate: %v", err)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	random := seeded(9)
	tokens := func(n int) []bootstrap.Token {
		var all []bootstrap.Token
		for range n {
			token, err := bootstrap.NewToken(random)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, token)
		}
		return all
	}
	c := fixtureCluster()
	c.Image = bootstrap.Stock
	for i := range 20 {
		c.APIServerSANs = append(c.APIServerSANs, fmt.Sprintf("%s%d.example.com", strings.Repeat("a", 60), i))
	}
	n := fixtureNode(bootstrap.Init)
	for i := range 20 {
		n.Labels[fmt.Sprintf("example.com/%s%d", strings.Repeat("k", 50), i)] = strings.Repeat("v", 63)
	}
	data, err := bootstrap.UserData(c, fixturePKI(t), n, tokens(4+50))
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > bootstrap.MaxUserData || !bytes.HasPrefix(data, []byte("#cloud-config\n")) {
		t.Errorf("4 control planes and 50 workers to join: %d bytes, starting with %.10q", len(data), data)
	}
	data, err = bootstrap.UserData(c, fixturePKI(t), n, tokens(1000))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("1000 joiners: %d bytes that are not gzip: %v", len(data), err)
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	decode(t, text)
	if _, err := bootstrap.UserData(c, fixturePKI(t), n, tokens(5000)); err == nil {
		t.Error("5000 joiners fit")
	}
}

func TestScriptsParse(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	for _, image := range []bootstrap.ImageKind{bootstrap.Gallery, bootstrap.Stock} {
		for _, role := range []bootstrap.Role{bootstrap.Init, bootstrap.ControlPlane, bootstrap.Worker} {
			c := fixtureCluster()
			c.Image = image
			_, files := decode(t, mustRender(t, c, fixtureNode(role)))
			for _, name := range []string{"bootstrap", "wireserver"} {
				f := files["/usr/local/lib/lazuli/"+name]
				path := filepath.Join(t.TempDir(), name)
				if err := os.WriteFile(path, []byte(f.Content), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.CommandContext(t.Context(), bash, "-n", path).CombinedOutput(); err != nil {
					t.Errorf("%s %s %s: %v\n%s", image, role, name, err, out)
				}
				if f.Permissions != "0700" || !strings.HasPrefix(f.Content, "#!/bin/bash\n") {
					t.Errorf("%s is not a program: %s %.20q", name, f.Permissions, f.Content)
				}
			}
			script := files["/usr/local/lib/lazuli/bootstrap"].Content
			verb := map[bool]string{true: "kubeadm init", false: "kubeadm join"}[role == bootstrap.Init]
			other := map[bool]string{true: "kubeadm join", false: "kubeadm init"}[role == bootstrap.Init]
			if !strings.Contains(script, "\n  "+verb+" --config "+kubeadmFile) || strings.Contains(script, other+" ") {
				t.Errorf("%s: the script does not run exactly %s", role, verb)
			}
		}
	}
}
