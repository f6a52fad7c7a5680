// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli/internal/bootstrap"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func seeded(seed uint64) *rand.ChaCha8 {
	var s [32]byte
	s[0] = byte(seed)
	return rand.NewChaCha8(s)
}

func epoch() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func pkiFile() string { return filepath.Join("testdata", "pki-of-tests-only.json") }

// fixturePKI is the PKI in testdata, made from a fixed seed: keys that guard
// nothing.
func fixturePKI(t *testing.T) bootstrap.PKI {
	t.Helper()
	raw, err := os.ReadFile(pkiFile())
	if err != nil {
		t.Fatal(err)
	}
	var p bootstrap.PKI
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func fixtureCluster() bootstrap.Cluster {
	return bootstrap.Cluster{
		Name:              "golden",
		UID:               "6741f1a00102030405060708",
		KubernetesVersion: "1.36.3",
		Endpoint:          "golden-060708-1a2b3c4d.westeurope.cloudapp.azure.com",
		PodCIDR:           "192.168.0.0/16",
		ServiceCIDR:       "10.96.0.0/12",
		Location:          "westeurope",
		SubscriptionID:    "00000000-0000-0000-0000-000000000001",
		ResourceGroup:     "clusters",
		APIServerSANs:     []string{"api.golden.example.com", "10.0.0.100"},
	}
}

func fixtureNode(role bootstrap.Role) bootstrap.Node {
	return bootstrap.Node{
		Name:  "golden-060708-" + string(role) + "-x7k2p",
		Role:  role,
		Token: "abcdef.0123456789abcdef",
		Labels: map[string]string{
			"pool":                           "general",
			"topology.kubernetes.io/zone":    "westeurope-2",
			"node-role.kubernetes.io/worker": "",
		},
	}
}

// decodedFile is an entry of write_files.
type decodedFile struct {
	Path, Owner, Permissions, Content string
}

type decodedConfig struct {
	WriteFiles []decodedFile `json:"write_files"`
	RunCmd     []string      `json:"runcmd"`
	Hosts      *bool         `json:"manage_etc_hosts"`
	APT        any           `json:"apt"`
}

func decode(t *testing.T, data []byte) (decodedConfig, map[string]decodedFile) {
	t.Helper()
	if !bytes.HasPrefix(data, []byte("#cloud-config\n")) {
		t.Fatalf("user data starts with %.20q", data)
	}
	var c decodedConfig
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		t.Fatalf("decode cloud-config: %v", err)
	}
	files := map[string]decodedFile{}
	for _, f := range c.WriteFiles {
		if _, twice := files[f.Path]; twice {
			t.Errorf("%s is written twice", f.Path)
		}
		files[f.Path] = f
	}
	return c, files
}

func mustRender(t *testing.T, c bootstrap.Cluster, n bootstrap.Node, joiners ...bootstrap.Token) []byte {
	t.Helper()
	data, err := bootstrap.UserData(c, fixturePKI(t), n, joiners)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestGolden is not parallel: with -update it writes what the others read.
func TestGolden(t *testing.T) {
	if *update {
		made, err := bootstrap.NewPKI(seeded(1), epoch(), "golden")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.MarshalIndent(made, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(pkiFile(), append(raw, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	joiners := []bootstrap.Token{"abcdef.0123456789abcdef", "bcdefg.123456789abcdefg"}
	mirrored := fixtureCluster()
	mirrored.Image = bootstrap.Stock
	mirrored.Mirror = bootstrap.Mirror{
		UbuntuArchive: "https://mirror.example.com/ubuntu", AptKubernetes: "https://mirror.example.com/k8s",
		Binaries: "https://mirror.example.com/bin", Registry: "https://mirror.example.com:5000",
	}
	initial, joining, worker := fixtureNode(bootstrap.Init), fixtureNode(bootstrap.ControlPlane), fixtureNode(bootstrap.Worker)
	joining.EtcdDiskLUN, worker.EtcdDiskLUN = 3, bootstrap.NoEtcdDisk
	worker.Taints = []bootstrap.Taint{{Key: "gpu", Value: "yes", Effect: "NoSchedule"}}
	single := fixtureNode(bootstrap.Init)
	single.UseAsWorker, single.EtcdDiskLUN = true, bootstrap.NoEtcdDisk
	single.Files = []bootstrap.File{{Path: "/etc/kubernetes/azure.json", Content: "{\"cloud\":\"AzurePublicCloud\"}\n"}}
	for _, tt := range []struct {
		name    string
		cluster bootstrap.Cluster
		node    bootstrap.Node
		joiners []bootstrap.Token
	}{
		{"gallery-init", fixtureCluster(), initial, joiners},
		{"gallery-controlplane", fixtureCluster(), joining, nil},
		{"gallery-worker", fixtureCluster(), worker, nil},
		{"gallery-single-as-worker", fixtureCluster(), single, nil},
		{"stock-init", mirrored, initial, joiners},
		{"stock-worker", mirrored, worker, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := mustRender(t, tt.cluster, tt.node, tt.joiners...)
			golden(t, tt.name+".golden", got)
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (run with -update and review):\n%s", path, diff)
	}
	if strings.Contains(string(got), "\\n") && strings.Contains(string(got), "content: \"") {
		t.Errorf("%s has a file as one quoted line, which nobody can review", path)
	}
}
