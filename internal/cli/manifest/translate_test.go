// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli/examples"
	"github.com/lazuli-dev/lazuli/internal/cli/manifest"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

// TestRequests shows what the wire gets of the example and of a cluster that
// uses every field.
func TestRequests(t *testing.T) {
	t.Parallel()
	full := clusterHead + `  description: all fields
  tags: {team: platform, flag: ""}
  controlPlane: {size: 3, instanceType: Standard_D4s_v3, diskSizeGB: 100, diskType: Premium_LRS, allowWorkloads: true}
  workers:
    - name: gpu
      size: 2
      instanceType: Standard_NC12s_v3
      diskSizeGB: 200
      diskType: StandardSSD_LRS
      zones: ["1", "3"]
      labels: {gpu: "true"}
      taints: [{key: gpu, value: "yes", effect: NoSchedule}]
---
apiVersion: lazuli.io/v1alpha1
kind: ClusterProfile
metadata: {name: hello}
spec:
  type: add-on
  version: 2.0.0
  description: something to look at
  packs:
    - name: hello-lazuli
      tag: 1.0.0
      values: |
        replicas: 2
---
` + clusterHead
	for name, source := range map[string][]byte{"example": examples.Cluster, "full": []byte(full)} {
		docs, err := manifest.Parse("f.yaml", source, environment)
		if err != nil {
			t.Fatal(err)
		}
		var bodies []any
		for _, d := range docs {
			switch d.Kind {
			case manifest.KindCloudAccount:
				bodies = append(bodies, d.AccountRequest())
			case manifest.KindClusterProfile:
				bodies = append(bodies, d.ProfileRequest())
			default:
				body := d.ClusterRequest(manifest.ClusterRefs{AccountUID: "account-uid", ProfileUIDs: []string{"profile-uid"}})
				bodies = append(bodies, body)
			}
		}
		got, err := json.MarshalIndent(bodies, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", append(got, '\n'))
	}
}

// TestRequestIsUnderstood reads a request as the hub does.
func TestRequestIsUnderstood(t *testing.T) {
	t.Parallel()
	docs, err := manifest.Parse("f.yaml", examples.Cluster, environment)
	if err != nil {
		t.Fatal(err)
	}
	body := docs[2].ClusterRequest(manifest.ClusterRefs{AccountUID: "a"})
	raw, err := json.Marshal(body.Spec)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := palette.ClusterSpec(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(spec.Pools) != 2 || !spec.Pools[0].ControlPlane || spec.Pools[0].Size != 1 || spec.Pools[1].Size != 1 ||
		spec.ResourceGroup != "group" || spec.Location != "westeurope" {
		t.Errorf("understood as %+v", spec)
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	docs, err := manifest.Parse("f.yaml", []byte(clusterHead+`  controlPlane:
    instanceType: X
  workers:
    - name: a
    - name: b
      diskType: Y
      taints:
        - {key: k, effect: NoSchedule}
`), environment)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ wire, want string }{
		{"spec.cloudConfig.location", "f.yaml:9: spec.location"},
		{"spec.cloudAccountUid", "f.yaml:5: spec.account"},
		{"spec.profiles[0].uid", "f.yaml:6: spec.profiles[0].uid"},
		{"metadata.name", "f.yaml:3: metadata.name"},
		{"spec.machinepoolconfig[0].cloudConfig.instanceType", "f.yaml:12: spec.controlPlane.instanceType"},
		{"spec.machinepoolconfig[2].cloudConfig.osDisk.managedDisk.storageAccountType", "f.yaml:16: spec.workers[1].diskType"},
		{"spec.machinepoolconfig[2].poolConfig.taints[0].key", "f.yaml:18: spec.workers[1].taints[0].key"},
		{"spec.machinepoolconfig[1].poolConfig.size", "f.yaml:14: spec.workers[0].size"},
		{"spec.machinepoolconfig[1]", "f.yaml:14: spec.workers[0]"},
		{"somewhere.else", "f.yaml:1: somewhere.else"},
	} {
		if got := docs[0].Locate(tt.wire); got != tt.want {
			t.Errorf("%s is at %q, want %q", tt.wire, got, tt.want)
		}
	}
}
