// SPDX-License-Identifier: Apache-2.0

package process

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
)

// golden is the configuration in a machine's user data as the product renders it.
func golden(t *testing.T, name, hostname string) (*model.Bootstrap, *config) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "bootstrap", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	user, err := model.ReadUserData(raw, hostname)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := parseConfig(user.Config)
	if err != nil {
		t.Fatal(err)
	}
	return user, cfg
}

func TestInitTexts(t *testing.T) {
	t.Parallel()
	user, cfg := golden(t, "gallery-init.golden", "golden-060708-init-x7k2p")
	if !user.Init || !user.Loops || user.Files[pkiDir+"ca.key"] == "" {
		t.Errorf("init %v, loops %v", user.Init, user.Loops)
	}
	told, local, err := cfg.initTexts("10.0.0.4", "golden-060708-init-x7k2p", "/var/tmp/pki", "127.200.1.2")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told, "advertiseAddress: 10.0.0.4") || strings.Contains(told, "127.200.1.2") || strings.Contains(told, "/var/tmp/pki") {
		t.Errorf("the cluster is told of this machine:\n%s", told)
	}
	again, err := parseConfig(local)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"certificatesDir": "/var/tmp/pki",
		"certSANs":        []any{"golden-060708-1a2b3c4d.westeurope.cloudapp.azure.com", "api.golden.example.com", "10.0.0.100", "127.200.1.2"},
		"serverCertSANs":  []any{"127.200.1.2"},
		"docs":            4,
	}
	got := map[string]any{
		"certificatesDir": again.cluster["certificatesDir"], "certSANs": within(again.cluster, "apiServer")["certSANs"],
		"serverCertSANs": within(again.cluster, "etcd", "local")["serverCertSANs"], "docs": len(again.docs),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	_, cfg := golden(t, "gallery-worker.golden", "golden-060708-worker-x7k2p")
	got, err := registrationOf(cfg.join, "golden-060708-worker-x7k2p", false)
	if err != nil {
		t.Fatal(err)
	}
	want := registration{
		name:       "golden-060708-worker-x7k2p",
		providerID: "azure:///subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/clusters/providers/Microsoft.Compute/virtualMachines/golden-060708-worker-x7k2p",
		labels:     map[string]string{"pool": "general", "topology.kubernetes.io/region": "westeurope", "topology.kubernetes.io/zone": "westeurope-2"},
		taints:     []taint{{Key: "gpu", Value: "yes", Effect: "NoSchedule"}}, external: true,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(registration{})); diff != "" {
		t.Error(diff)
	}
	j, err := joiningOf(cfg.join)
	if err != nil {
		t.Fatal(err)
	}
	wanted := joining{
		endpoint: "golden-060708-1a2b3c4d.westeurope.cloudapp.azure.com:6443", token: "abcdef.0123456789abcdef", tlsToken: "abcdef.0123456789abcdef",
		pins: []string{"sha256:a55eff984ba3b559940a69b63642e53439c829b3bfdad630536f98a204b054be"}, port: 6443,
		discovery: 30 * time.Minute, tls: 10 * time.Minute,
	}
	if diff := cmp.Diff(wanted, j, cmp.AllowUnexported(joining{})); diff != "" {
		t.Error(diff)
	}
}

func TestRegistrationDefaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, config string
		controlPlane   bool
		want           registration
	}{
		{
			"a control plane has kubeadm's taint", "kind: InitConfiguration", true,
			registration{name: "host", labels: map[string]string{}, controlPlane: true, taints: []taint{{Key: controlPlaneRole, Effect: "NoSchedule"}}},
		},
		{
			"an empty list is no taint", "kind: InitConfiguration\nnodeRegistration: {taints: []}", true,
			registration{name: "host", labels: map[string]string{}, controlPlane: true, taints: []taint{}},
		},
		{
			"v1beta3 has a map of arguments", "kind: JoinConfiguration\nnodeRegistration: {kubeletExtraArgs: {node-labels: 'a=b', cloud-provider: external}}", false,
			registration{name: "host", labels: map[string]string{"a": "b"}, external: true},
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			t.Parallel()
			cfg, err := parseConfig(c.config)
			if err != nil {
				t.Fatal(err)
			}
			got, err := registrationOf(cfg.docs[0], "host", c.controlPlane)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(registration{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := &cluster{dir: dir, ip: "127.200.1.2", port: 6443}
	for program, flags := range map[string]string{
		"etcd":                    "[etcd, --data-dir=/var/lib/etcd, --quota-backend-bytes=8]",
		"kube-apiserver":          "[kube-apiserver, --secure-port=6443, --etcd-servers=https://127.0.0.1:2379, --audit-policy-file=/etc/audit.yaml]",
		"kube-controller-manager": "[kube-controller-manager, --kubeconfig=/etc/kubernetes/controller-manager.conf, --allocate-node-cidrs=false]",
		"kube-scheduler":          "[kube-scheduler, --bind-address=127.0.0.1]",
	} {
		if err := os.WriteFile(c.path(program+".yaml"), []byte("spec: {containers: [{command: "+flags+"}]}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.readCommands(map[string]string{"/etc/audit.yaml": "kind: Policy"}); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{
		{"--quota-backend-bytes=8", "--data-dir=" + dir + "/etcd", "--listen-client-urls=https://127.200.1.2:2379"},
		{"--secure-port=6443", "--etcd-servers=https://127.200.1.2:2379", "--bind-address=127.200.1.2", "--audit-policy-file=" + dir + "/file-etc-audit.yaml"},
		{"--allocate-node-cidrs=false", "--kubeconfig=" + dir + "/controller-manager.conf"},
		{"--bind-address=127.200.1.2", "--kubeconfig=" + dir + "/scheduler.conf"},
	} {
		for _, flag := range want {
			if !slices.Contains(c.commands[i].args, flag) {
				t.Errorf("%s lacks %s: %v", c.commands[i].program, flag, c.commands[i].args)
			}
		}
	}
	if slices.Contains(c.commands[0].args, "--data-dir=/var/lib/etcd") {
		t.Error("etcd keeps a folder outside")
	}
}

// newCA is a CA certificate in PEM.
func newCA(t *testing.T) (pemCert []byte, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), cert
}

func TestIdentityAndPin(t *testing.T) {
	t.Parallel()
	raw, cert := newCA(t)
	whole, public := sha256.Sum256(cert.Raw), sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	if got, err := identity(raw); err != nil || got != hex.EncodeToString(whole[:]) {
		t.Errorf("identity %s, %v", got, err)
	}
	if got, err := pinOf(raw); err != nil || got != "sha256:"+hex.EncodeToString(public[:]) {
		t.Errorf("pin %s, %v", got, err)
	}
	for _, bad := range []string{"", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := pinOf([]byte(bad)); err == nil {
			t.Errorf("%q has a pin", bad)
		}
	}
}

func TestTokenKubeconfig(t *testing.T) {
	t.Parallel()
	ca, _ := newCA(t)
	raw, err := tokenKubeconfig("https://api.example.com:6443", ca, "abcdef.0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), "token: abcdef.0123456789abcdef") {
		t.Errorf("no token:\n%s", raw)
	}
	if _, err := parseKubeconfig(raw); err == nil {
		t.Error("a token is taken for a certificate")
	}
	got, err := parseKubeconfig([]byte("clusters: [{cluster: {server: 'https://x', certificate-authority-data: " + base64.StdEncoding.EncodeToString(ca) + "}}]"))
	if err != nil || got.server != "https://x" || string(got.ca) != string(ca) || got.cert != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestVouches(t *testing.T) {
	t.Parallel()
	sign := func(header, payload, secret string) string {
		enc := base64.RawURLEncoding
		h := enc.EncodeToString([]byte(header))
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(h + "." + enc.EncodeToString([]byte(payload))))
		return h + ".." + enc.EncodeToString(mac.Sum(nil))
	}
	const header = `{"alg":"HS256","kid":"abcdef"}`
	good := sign(header, "payload", "0123456789abcdef")
	for _, c := range []struct {
		reason, signature, payload, secret string
		want                               bool
	}{
		{"the token's own", good, "payload", "0123456789abcdef", true},
		{"another secret", good, "payload", "0123456789abcdeg", false},
		{"another payload", good, "payloae", "0123456789abcdef", false},
		{"no algorithm", sign(`{"alg":"none","kid":"abcdef"}`, "payload", "0123456789abcdef"), "payload", "0123456789abcdef", false},
		{"another token's name", sign(`{"alg":"HS256","kid":"aaaaaa"}`, "payload", "0123456789abcdef"), "payload", "0123456789abcdef", false},
		{"nothing", "", "payload", "0123456789abcdef", false},
	} {
		if got := vouches(c.signature, c.payload, "abcdef", c.secret); got != c.want {
			t.Errorf("%s: %v", c.reason, got)
		}
	}
}

func TestOneProcessPerFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "machines", "1")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a folder is shared: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what an earlier process left is still there: %v", err)
	}
	if missing := second.Missing(t.Context()); len(missing) == 0 || !strings.Contains(missing[0], "make simnode") {
		t.Errorf("an empty artefact lacks %q", missing)
	}
}
