// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

func TestTime(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`"2026-11-22T12:00:00Z"`:             `"2026-11-22T12:00:00.000Z"`,
		`"2026-11-22T14:00:00.123456+02:00"`: `"2026-11-22T12:00:00.123Z"`,
		`""`:                                 `null`,
		`null`:                               `null`,
		`"0001-01-01T00:00:00.000Z"`:         `null`,
	} {
		var v palette.Time
		if err := json.Unmarshal([]byte(in), &v); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		got, err := json.Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{`"yesterday"`, `5`, `{}`} {
		var v palette.Time
		if json.Unmarshal([]byte(in), &v) == nil {
			t.Errorf("%s was taken", in)
		}
	}
	b, err := json.Marshal(palette.ObjectMeta{Name: "a", CreationTimestamp: palette.At(time.Time{})})
	if err != nil || string(b) != `{"name":"a"}` {
		t.Errorf("a zero time is not left out: %s, %v", b, err)
	}
}

func TestClusterSpec(t *testing.T) {
	t.Parallel()
	raw := json.RawMessage(`{"cloudAccountUid":"acc","cloudConfig":{"subscriptionId":"s","resourceGroup":"rg","location":"westeurope",
	  "sshKey":"k","vnetCidrBlock":"10.0.0.0/16","workerSubnet":{"cidrBlock":"10.0.1.0/24"},"controlPlaneSubnet":null,
	  "apiServerAccessProfile":{"authorizedIPRanges":["203.0.113.0/24"]},
	  "infraLBConfig":{"apiServerLB":{"type":"Internal"}},"unknown":1},
	 "machinepoolconfig":[
	  {"cloudConfig":{"azs":["1"],"instanceType":"Standard_D4s_v3","osDisk":{"diskSizeGB":128,"managedDisk":{"storageAccountType":"Premium_LRS"}}},
	   "poolConfig":{"name":"cp","isControlPlane":true,"size":3,"useControlPlaneAsWorker":true,"taints":null,
	    "additionalLabels":{"a":"b"},"additionalTags":{"c":"d"},"additionalAnnotations":{"e":"f"}}},
	  {"cloudConfig":{"instanceType":"Standard_D2s_v3"},
	   "poolConfig":{"name":"w","size":2,"taints":[{"key":"k","value":"v","effect":"NoSchedule","timeAdded":"0001-01-01T00:00:00.000Z"}]}}]}`)
	got, err := palette.ClusterSpec(raw)
	if err != nil {
		t.Fatal(err)
	}
	want := lazuli.ClusterSpec{
		AccountUID: "acc", SubscriptionID: "s", ResourceGroup: "rg", Location: "westeurope", SSHKey: "k",
		VNetCIDR: "10.0.0.0/16", WorkerSubnet: lazuli.Subnet{CIDR: "10.0.1.0/24"},
		AllowedCIDRs: []string{"203.0.113.0/24"}, PrivateAPIServer: true,
		Pools: []lazuli.Pool{
			{Name: "cp", ControlPlane: true, Size: 3, UseAsWorker: true, InstanceType: "Standard_D4s_v3", DiskType: "Premium_LRS",
				DiskSizeGB: 128, Zones: []string{"1"}, Labels: map[string]string{"a": "b"}, Tags: map[string]string{"c": "d"},
				Annotations: map[string]string{"e": "f"}},
			{Name: "w", Size: 2, InstanceType: "Standard_D2s_v3", DiskType: "Standard_LRS", DiskSizeGB: 60,
				Taints: []lazuli.Taint{{Key: "k", Value: "v", Effect: "NoSchedule"}}},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, bad := range []string{`{}`, `null`, `[]`, `{"cloudConfig":{},"machinepoolconfig":[{}]}`, `{"cloudConfig":5}`} {
		if _, err := palette.ClusterSpec(json.RawMessage(bad)); lazuli.CodeOf(err) != lazuli.CodeInvalidField {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	got := palette.Tags(map[string]string{"env": "dev", "flag": palette.FlagTag, "empty": ""})
	if d := cmp.Diff(map[string]string{"env": "dev", "flag": "", "empty": ""}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Pools come back as they were sent: absent and empty stay different, and null,
// which no answer may have, is absent.
func TestPoolsAreEchoed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ reason, in, want string }{
		{"empty zones stay empty", `{"cloudConfig":{"azs":[]},"poolConfig":{"isControlPlane":true}}`, `{"azs":[],"isControlPlane":true}`},
		{"null is as good as absent", `{"cloudConfig":{"azs":null},"poolConfig":{"isControlPlane":true}}`, `{"isControlPlane":true}`},
		{"absent zones stay absent", `{"cloudConfig":{},"poolConfig":{"isControlPlane":true}}`, `{"isControlPlane":true}`},
		{"isControlPlane is required in answers", `{"cloudConfig":{},"poolConfig":{}}`, `{"isControlPlane":false}`},
		{"the type of the system moves out of the disk", `{"cloudConfig":{"osDisk":{"osType":"Linux"}},"poolConfig":{}}`,
			`{"isControlPlane":false,"osDisk":{"osType":"Linux"},"osType":"Linux"}`},
		{"what answers do not have is dropped", `{"cloudConfig":{},"poolConfig":{"skipK8sUpgrade":"enabled"},"managedPoolConfig":{"a":1}}`,
			`{"isControlPlane":false}`},
	} {
		c := &lazuli.Cluster{Spec: json.RawMessage(`{"cloudConfig":{"location":"x"},"machinepoolconfig":[` + tt.in + `]}`)}
		got, err := palette.CloudConfigOf(c, "")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, string(got.Spec.MachinePoolConfig[0])); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.reason, d)
		}
	}
}

func TestLocationIsAlwaysThere(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"cloudConfig":{"location":"westeurope"}}`:                                                   `{"regionCode":"westeurope","regionName":"westeurope"}`,
		`{"cloudConfig":{"location":"westeurope"},"clusterConfig":null}`:                              `{"regionCode":"westeurope","regionName":"westeurope"}`,
		`{"cloudConfig":{"location":"westeurope"},"clusterConfig":{"location":null}}`:                 `{"regionCode":"westeurope","regionName":"westeurope"}`,
		`{"cloudConfig":{"location":"westeurope"},"clusterConfig":{"location":{"countryCode":"NL"}}}`: `{"countryCode":"NL"}`,
		`{"cloudConfig":{}}`: `{"regionCode":"","regionName":""}`,
	} {
		got, err := palette.ClusterOf(&lazuli.Cluster{Spec: json.RawMessage(in)})
		if err != nil || string(got.Status.Location) != want {
			t.Errorf("%s: %s, %v", in, got.Status.Location, err)
		}
	}
}
