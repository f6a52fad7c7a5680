// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// bad is one change of a good body that makes it bad.
type bad struct {
	reason string
	path   string // that is changed
	value  any
	field  string // that must be named; "" is path
}

const (
	cp = "spec.machinepoolconfig[0]."
	w1 = "spec.machinepoolconfig[1]."
	cc = "spec.cloudConfig."
)

func badClusters(t *testing.T) []bad {
	t.Helper()
	many := object{}
	for i := range 41 {
		many["t"+strings.Repeat("x", i)] = "v"
	}
	twoPools := []any{pool("cp", true, 1), pool("cp2", true, 1), pool("w1", false, 1)}
	return []bad{
		{"a region that does not exist", cc + "location", "atlantis", ""},
		{"a region by its display name", cc + "location", "West Europe", ""},
		{"a region that is a path", cc + "location", "../../x", ""},
		{"no region", cc + "location", remove{}, ""},
		{"a size that does not exist", w1 + "cloudConfig.instanceType", "Standard_Z99", ""},
		{"a size in another case", w1 + "cloudConfig.instanceType", "standard_d4s_v3", ""},
		{"a size that is restricted", w1 + "cloudConfig.instanceType", "Standard_NC12s_v3", ""},
		{"a size that is no name", w1 + "cloudConfig.instanceType", "a b", ""},
		{"no size", w1 + "cloudConfig.instanceType", remove{}, ""},
		{"a control plane without premium disks", cp + "cloudConfig.instanceType", "Standard_D2_v2", ""},
		{"a control plane of one CPU", cp + "cloudConfig.instanceType", "Standard_B1s", ""},
		{"a disk type that is none", w1 + "cloudConfig.osDisk.managedDisk.storageAccountType", "Floppy", ""},
		{"a disk type that the region lacks", w1 + "cloudConfig.osDisk.managedDisk.storageAccountType", "Premium_ZRS", ""},
		{"a disk type that OS disks cannot have", w1 + "cloudConfig.osDisk.managedDisk.storageAccountType", "UltraSSD_LRS", ""},
		{"a disk too small", w1 + "cloudConfig.osDisk.diskSizeGB", 29, ""},
		{"a disk too large", w1 + "cloudConfig.osDisk.diskSizeGB", 4096, ""},
		{"a negative disk", w1 + "cloudConfig.osDisk.diskSizeGB", -1, ""},
		{"a disk beyond all numbers", w1 + "cloudConfig.osDisk.diskSizeGB", 1e30, ""},
		{"a disk in words", w1 + "cloudConfig.osDisk.diskSizeGB", "60", ""},
		{"Windows", w1 + "cloudConfig.osDisk.osType", "Windows", ""},
		{"zones that the region lacks", w1 + "cloudConfig.azs", []any{"6", "7"}, w1 + "cloudConfig.azs[1]"},
		{"a zone that is no zone", w1 + "cloudConfig.azs", []any{"one"}, w1 + "cloudConfig.azs[0]"},
		{"a zone twice", w1 + "cloudConfig.azs", []any{"1", "1"}, w1 + "cloudConfig.azs[1]"},
		{"a number for a zone", w1 + "cloudConfig.azs", []any{"1", 2}, w1 + "cloudConfig.azs[1]"},
		{"a control plane of 2", cp + "poolConfig.size", 2, ""},
		{"a control plane of 7", cp + "poolConfig.size", 7, ""},
		{"a control plane of 0", cp + "poolConfig.size", 0, ""},
		{"a negative pool", w1 + "poolConfig.size", -1, ""},
		{"a pool of none", w1 + "poolConfig.size", 0, ""},
		{"a huge pool", w1 + "poolConfig.size", 1001, ""},
		{"a pool beyond 32 bits", w1 + "poolConfig.size", 1 << 40, ""},
		{"half a machine", w1 + "poolConfig.size", 1.5, ""},
		{"a pool without a size", w1 + "poolConfig.size", remove{}, ""},
		{"a null size", w1 + "poolConfig.size", nil, ""},
		{"no control plane", cp + "poolConfig.isControlPlane", false, "spec.machinepoolconfig"},
		{"two control planes", "spec.machinepoolconfig", twoPools, "spec.machinepoolconfig[1].poolConfig.isControlPlane"},
		{"no pools", "spec.machinepoolconfig", []any{}, ""},
		{"null pools", "spec.machinepoolconfig", nil, ""},
		{"no workers", "spec.machinepoolconfig", []any{pool("cp", true, 1)}, ""},
		{"an empty pool", "spec.machinepoolconfig[1]", object{}, w1 + "cloudConfig"},
		{"pools that are no list", "spec.machinepoolconfig", object{}, ""},
		{"a pool's name with capitals", w1 + "poolConfig.name", "W1", ""},
		{"a pool's name that starts with a digit", w1 + "poolConfig.name", "1w", ""},
		{"a pool's name that is long", w1 + "poolConfig.name", strings.Repeat("a", 32), ""},
		{"a pool's name that ends in a hyphen", w1 + "poolConfig.name", "w-", ""},
		{"a pool's name that is a path", w1 + "poolConfig.name", "../w", ""},
		{"a pool without a name", w1 + "poolConfig.name", "", ""},
		{"two pools of one name", w1 + "poolConfig.name", "cp", ""},
		{"an autoscaler the wrong way round", w1 + "poolConfig.minSize", 1001, ""},
		{"a label that is none", w1 + "poolConfig.additionalLabels", object{"a b": "c"}, w1 + "poolConfig.additionalLabels.a b"},
		{"a label's value that is none", w1 + "poolConfig.additionalLabels", object{"a": "-c"}, w1 + "poolConfig.additionalLabels.a"},
		{"a label of the kubelet's", w1 + "poolConfig.additionalLabels",
			object{"kubernetes.io/hostname": "x"}, w1 + "poolConfig.additionalLabels.kubernetes.io/hostname"},
		{"a label of the cloud controller's", w1 + "poolConfig.additionalLabels",
			object{"topology.kubernetes.io/zone": "x"}, w1 + "poolConfig.additionalLabels.topology.kubernetes.io/zone"},
		{"an old label of the cloud controller's", w1 + "poolConfig.additionalLabels",
			object{"failure-domain.beta.kubernetes.io/zone": "x"}, w1 + "poolConfig.additionalLabels.failure-domain.beta.kubernetes.io/zone"},
		{"a machine's size as a label", w1 + "poolConfig.additionalLabels",
			object{"node.kubernetes.io/instance-type": "x"}, w1 + "poolConfig.additionalLabels.node.kubernetes.io/instance-type"},
		{"a worker that says it is a control plane", w1 + "poolConfig.additionalLabels",
			object{"node-role.kubernetes.io/control-plane": ""}, w1 + "poolConfig.additionalLabels.node-role.kubernetes.io/control-plane"},
		{"a label of the hub's", w1 + "poolConfig.additionalLabels",
			object{"lazuli.io/pool": "x"}, w1 + "poolConfig.additionalLabels.lazuli.io/pool"},
		{"an annotation that is none", w1 + "poolConfig.additionalAnnotations", object{"/": "c"}, w1 + "poolConfig.additionalAnnotations./"},
		{"a taint without a key", w1 + "poolConfig.taints", []any{object{"effect": "NoSchedule"}}, w1 + "poolConfig.taints[0].key"},
		{"a taint's effect that is none", w1 + "poolConfig.taints", []any{object{"key": "a", "effect": "Never"}}, w1 + "poolConfig.taints[0].effect"},
		{"a taint's value that is none", w1 + "poolConfig.taints",
			[]any{object{"key": "a", "value": "a b", "effect": "NoSchedule"}}, w1 + "poolConfig.taints[0].value"},
		{"a taint twice", w1 + "poolConfig.taints", []any{object{"key": "a", "effect": "NoSchedule"},
			object{"key": "a", "effect": "NoSchedule"}}, w1 + "poolConfig.taints[1].key"},
		{"a pool's tag that Azure keeps", w1 + "poolConfig.additionalTags", object{"Windows": "x"}, w1 + "poolConfig.additionalTags.Windows"},
		{"an update strategy that is none", w1 + "poolConfig.updateStrategy", object{"type": "Fast"}, w1 + "poolConfig.updateStrategy.type"},
		{"a strategy without figures", w1 + "poolConfig.updateStrategy", object{"type": "OverrideScaling", "maxSurge": "0"}, w1 + "poolConfig.updateStrategy.maxSurge"},
		{"a surge in words", w1 + "poolConfig.updateStrategy", object{"type": "OverrideScaling", "maxSurge": "some"}, w1 + "poolConfig.updateStrategy.maxSurge"},
		{"another architecture", w1 + "poolConfig.machinePoolProperties", object{"archType": "arm64"},
			w1 + "poolConfig.machinePoolProperties.archType"},
		{"a group that cannot be", cc + "resourceGroup", "a/b", ""},
		{"a group that ends in a point", cc + "resourceGroup", "rg.", ""},
		{"no group", cc + "resourceGroup", remove{}, ""},
		{"a subscription that is no GUID", cc + "subscriptionId", "s", ""},
		{"the key of the recorded client", cc + "sshKey", "ssh-rsa AAAA", ""},
		{"a DSA key", cc + "sshKey", "ssh-dss AAAAB3NzaC1kc3MAAACBAP", ""},
		{"two keys", cc + "sshKey", sshKey + "\n" + sshKey, ""},
		{"a key with options", cc + "sshKey", `command="sh" ` + sshKey, ""},
		{"an RSA key of 1024 bits", cc + "sshKey", rsaKey(t, 1024), ""},
		{"a private key", cc + "sshKey", "-----BEGIN OPENSSH PRIVATE KEY-----", ""},
		{"no key", cc + "sshKey", "", ""},
		{"a network that exists, whose subnets have no names", cc + "vnetName", "vn", cc + "workerSubnet.name"},
		{"a network that cannot be", cc + "vnetName", "v/n", ""},
		{"the group of no network", cc + "vnetResourceGroup", "rg2", ""},
		{"a subnet of no network", cc + "workerSubnet", object{"name": "wk"}, cc + "workerSubnet.name"},
		{"a security group of no network", cc + "controlPlaneSubnet", object{"securityGroupName": "nsg"}, cc + "controlPlaneSubnet.securityGroupName"},
		{"a fixed address without an address", cc + "infraLBConfig", object{"apiServerLB": object{"type": "Internal", "ipAllocationMethod": "Static"}},
			cc + "infraLBConfig.apiServerLB.apiServerLBStaticIP"},
		{"a fixed address of a public API server", cc + "infraLBConfig", object{"apiServerLB": object{"apiServerLBStaticIP": "10.0.0.4"}},
			cc + "infraLBConfig.apiServerLB.apiServerLBStaticIP"},
		{"a fixed address that is none", cc + "infraLBConfig", object{"apiServerLB": object{"type": "Internal", "apiServerLBStaticIP": "10.0.0.400"}},
			cc + "infraLBConfig.apiServerLB.apiServerLBStaticIP"},
		{"a private zone that is none", cc + "infraLBConfig", object{"apiServerLB": object{"type": "Internal", "privateDNSName": "no zone"}},
			cc + "infraLBConfig.apiServerLB.privateDNSName"},
		{"a load balancer of no type", cc + "infraLBConfig", object{"apiServerLB": object{"type": "Both"}}, cc + "infraLBConfig.apiServerLB.type"},
		{"a network's range that is none", cc + "vnetCidrBlock", "10.0.0.0/33", ""},
		{"a network's range with host bits", cc + "vnetCidrBlock", "10.0.0.1/16", ""},
		{"a network's range of IPv6", cc + "vnetCidrBlock", "fd00::/48", ""},
		{"a network that Azure does not route", cc + "vnetCidrBlock", "169.254.0.0/16", ""},
		{"a network in the pods' range", cc + "vnetCidrBlock", "192.168.0.0/16", ""},
		{"a network in the Services' range", cc + "vnetCidrBlock", "10.96.0.0/16", ""},
		{"a subnet without a network", cc + "workerSubnet", object{"cidrBlock": "10.0.0.0/24"}, cc + "vnetCidrBlock"},
		{"an allowed range that is none", cc + "apiServerAccessProfile", object{"authorizedIPRanges": []any{"1.2.3.4"}},
			cc + "apiServerAccessProfile.authorizedIPRanges[0]"},
		{"a name with capitals", "metadata.name", "Prod", ""},
		{"a name that is long", "metadata.name", strings.Repeat("a", 64), ""},
		{"a name that is a path", "metadata.name", "../etc", ""},
		{"a name with a script", "metadata.name", "<script>", ""},
		{"no name", "metadata.name", remove{}, ""},
		{"no metadata", "metadata", remove{}, ""},
		{"no spec", "spec", remove{}, ""},
		{"a null spec", "spec", nil, ""},
		{"a spec that is a list", "spec", []any{}, ""},
		{"no cloud config", "spec.cloudConfig", nil, ""},
		{"a tag that Azure keeps", "metadata.labels", object{"azure": "x"}, "metadata.labels.azure"},
		{"a tag that Azure keeps, in capitals", "metadata.labels", object{"Microsoft": "x"}, "metadata.labels.Microsoft"},
		{"a tag of ours", "metadata.labels", object{"lazuli.io-cluster": "x"}, "metadata.labels.lazuli.io-cluster"},
		{"a pool's tag with a slash", w1 + "poolConfig.additionalTags", object{"a/b": "x"}, w1 + "poolConfig.additionalTags.a/b"},
		{"a label of ours with a slash", "metadata.labels", object{"lazuli.io/set": "x"}, "metadata.labels.lazuli.io/set"},
		{"a long value of a label with a slash", "metadata.labels", object{"a/b": strings.Repeat("x", 257)}, "metadata.labels.a/b"},
		{"a tag's value that is long", "metadata.labels", object{"a": strings.Repeat("x", 257)}, "metadata.labels.a"},
		{"two tags that differ in case", "metadata.labels", object{"Env": "x", "env": "y"}, "metadata.labels.env"},
		{"too many tags", "metadata.labels", many, ""},
		{"tags that are no texts", "metadata.labels", object{"a": 1}, "metadata.labels.a"},
		{"no account", "spec.cloudAccountUid", remove{}, ""},
		{"an account that is not there", "spec.cloudAccountUid", strings.Repeat("0", 24), ""},
		{"an account that is no uid", "spec.cloudAccountUid", "../x", ""},
		{"no profiles", "spec.profiles", nil, ""},
		{"a profile that is not there", "spec.profiles[0].uid", strings.Repeat("0", 24), ""},
		{"values of a pack that the profile lacks", "spec.profiles[0].packValues",
			[]any{object{"name": "other", "values": "a: b"}}, "spec.profiles[0].packValues[0].name"},
		{"values that are no map", "spec.profiles[0].packValues",
			[]any{object{"name": "kubernetes", "values": "- a"}}, "spec.profiles[0].packValues[0].values"},
		{"values that are no YAML", "spec.profiles[0].packValues",
			[]any{object{"name": "kubernetes", "values": "a: [b"}}, "spec.profiles[0].packValues[0].values"},
		{"values that no cluster can have", "spec.profiles[0].packValues", []any{object{"name": "kubernetes",
			"values": "pack:\n  podCIDR: 10.96.0.0/12"}}, "spec.profiles"},
		{"another version than the profile's", "spec.profiles[0].packValues",
			[]any{object{"name": "kubernetes", "tag": "1.2.3"}}, "spec.profiles[0].packValues[0].tag"},
		{"a manifest that the pack lacks", "spec.profiles[0].packValues",
			[]any{object{"name": "kubernetes", "manifests": []any{object{"name": "x", "content": "y"}}}},
			"spec.profiles[0].packValues[0].manifests[0].name"},
		{"a variable that the profile lacks", "spec.profiles[0].variables",
			[]any{object{"name": "x", "value": "y"}}, "spec.profiles[0].variables[0].name"},
		{"a namespace without a name", "spec.clusterConfig.resources.namespaces", []any{object{}}, "spec.clusterConfig.resources.namespaces[0].metadata.name"},
		{"a role binding without a role", "spec.clusterConfig.resources.rbacs", []any{object{"spec": object{"bindings": []any{
			object{"type": "ClusterRoleBinding"},
		}}}}, "spec.clusterConfig.resources.rbacs[0].spec.bindings[0].role.name"},
		{"a schedule in words", "spec.clusterConfig.machineManagementConfig.osPatchConfig", object{"schedule": "on Sundays, please"},
			"spec.clusterConfig.machineManagementConfig.osPatchConfig.schedule"},
		{"a time zone with blanks", "spec.clusterConfig.timezone", "of my heart", ""},
		{"a location that is a text", "spec.clusterConfig.location", "here", ""},
		{"an annotation that is long", "metadata.annotations.description", strings.Repeat("x", 5000), ""},
	}
}

func rsaKey(t *testing.T, bits int) string {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ssh.NewPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(pub))
}

func ecdsaKey(t *testing.T) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ssh.NewPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(pub))
}

func paths(e palette.Error) []string {
	var out []string
	if e.Details != nil {
		for _, f := range e.Details.Fields {
			out = append(out, f.Path)
		}
	}
	return out
}

// TestBadClusters is not parallel: it sets GODEBUG for a short key.
func TestBadClusters(t *testing.T) {
	w := newWorld(t)
	before := w.counts()
	for _, tt := range badClusters(t) {
		b := w.body()
		set(t, b, tt.path, tt.value)
		field := tt.field
		if field == "" {
			field = tt.path
		}
		a := w.send("POST", "/v1/spectroclusters/azure", b)
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: status %d: %s", tt.reason, a.status, a.body)
			continue
		}
		e := a.err(t)
		if e.Code != "InvalidField" || !slices.Contains(paths(e), field) {
			t.Errorf("%s: %s names %v and not %s: %s", tt.reason, e.Code, paths(e), field, e.Message)
		}
		var p struct {
			OK       bool `json:"ok"`
			Findings []struct{ Level, Field string }
		}
		if a := w.send("POST", "/lazuli/v1/clusters/plan", b); a.status == http.StatusOK {
			a.json(t, &p)
			named := slices.ContainsFunc(p.Findings, func(f struct{ Level, Field string }) bool {
				return f.Level == "error" && f.Field == field
			})
			if p.OK || !named {
				t.Errorf("%s: the plan does not say so: %s", tt.reason, a.body)
			}
		} else if a.status != http.StatusBadRequest {
			t.Errorf("%s: the plan has status %d", tt.reason, a.status)
		}
	}
	if d := cmp.Diff(before, w.counts()); d != "" {
		t.Errorf("bad requests changed something:\n%s", d)
	}
	w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", w.body()) // and the good one is good
}

func TestGoodVariants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, tt := range []bad{
		{"an unknown field", "spec.newField", object{"a": 1}, ""},
		{"zero time stamps", "metadata.creationTimestamp", "0001-01-01T00:00:00.000Z", ""},
		{"null lists", w1 + "poolConfig.taints", nil, ""},
		{"null zones", w1 + "cloudConfig.azs", nil, ""},
		{"null overrides", "spec.profiles[0].packValues", nil, ""},
		{"no disk", w1 + "cloudConfig.osDisk", remove{}, ""},
		{"a disk without a size", w1 + "cloudConfig.osDisk.diskSizeGB", remove{}, ""},
		{"a disk of size 0", w1 + "cloudConfig.osDisk.diskSizeGB", 0, ""},
		{"zones that sell the size", w1 + "cloudConfig.azs", []any{"2", "3"}, ""},
		{"zones of the control plane", cp + "cloudConfig.azs", []any{"1"}, ""},
		{"a network of its own", cc + "vnetCidrBlock", "10.0.0.0/16", ""},
		{"allowed ranges", cc + "apiServerAccessProfile", object{"authorizedIPRanges": []any{"203.0.113.0/24", "2001:db8::/32"}}, ""},
		{"a public load balancer", cc + "infraLBConfig", object{"apiServerLB": object{"type": "Public", "ipAllocationMethod": "Dynamic"}}, ""},
		{"a storage account, which has no effect", cc + "storageAccountName", "sa", ""},
		{"a time zone, which has no effect", "spec.clusterConfig.timezone", "UTC", ""},
		{"no cluster configuration", "spec.clusterConfig", remove{}, ""},
		{"null policies", "spec.policies", nil, ""},
		{"a key that ends in a line break", cc + "sshKey", sshKey + "\n", ""},
		{"a key without a comment", cc + "sshKey", strings.Join(strings.Fields(sshKey)[:2], " "), ""},
		{"an ECDSA key", cc + "sshKey", ecdsaKey(t), ""},
		{"an autoscaler that may not move", w1 + "poolConfig.maxSize", 2, ""},
		{"roles of nodes", w1 + "poolConfig.additionalLabels",
			object{"node-role.kubernetes.io/worker": "true", "node-role.kubernetes.io/gpu": ""}, ""},
		{"labels that a kubelet may not give itself", w1 + "poolConfig.additionalLabels",
			object{"node-restriction.kubernetes.io/x": "y", "app.kubernetes.io/part-of": "z", "example.k8s.io/a": ""}, ""},
		{"a label under a domain of nodes", w1 + "poolConfig.additionalLabels", object{"node.kubernetes.io/x": "y", "example.com/a": ""}, ""},
		{"a flag as a tag", "metadata.labels", object{"flag": "spectro__tag"}, ""},
		{"null labels", "metadata.labels", nil, ""},
	} {
		b := w.body()
		set(t, b, "metadata.name", "good-"+string(rune('a'+i)))
		set(t, b, tt.path, tt.value)
		if a := w.send("POST", "/v1/spectroclusters/azure", b); a.status != http.StatusCreated {
			t.Errorf("%s: status %d: %s", tt.reason, a.status, a.body)
		}
	}
	b := w.body()
	set(t, b, "spec.machinepoolconfig", []any{pool("cp", true, 1)})
	set(t, b, cp+"poolConfig.useControlPlaneAsWorker", true)
	w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", b)
}

func TestSubnets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, tt := range []struct{ reason, vnet, cp, workers, field string }{
		{"two that lie side by side", "10.0.0.0/16", "10.0.0.0/24", "10.0.1.0/24", ""},
		{"two that overlap", "10.0.0.0/16", "10.0.0.0/23", "10.0.1.0/24", cc + "workerSubnet.cidrBlock"},
		{"one outside the network", "10.0.0.0/16", "10.1.0.0/24", "10.0.1.0/24", cc + "controlPlaneSubnet.cidrBlock"},
		{"one larger than the network", "10.0.0.0/16", "10.0.0.0/15", "", cc + "controlPlaneSubnet.cidrBlock"},
		{"one smaller than Azure's smallest", "10.0.0.0/16", "10.0.0.0/30", "10.0.1.0/24", cc + "controlPlaneSubnet.cidrBlock"},
		{"one that is no range", "10.0.0.0/16", "ten", "10.0.1.0/24", cc + "controlPlaneSubnet.cidrBlock"},
	} {
		b := w.body()
		set(t, b, "metadata.name", "subnets-"+string(rune('a'+i)))
		set(t, b, cc+"vnetCidrBlock", tt.vnet)
		set(t, b, cc+"controlPlaneSubnet", object{"cidrBlock": tt.cp})
		set(t, b, cc+"workerSubnet", object{"cidrBlock": tt.workers})
		a := w.send("POST", "/v1/spectroclusters/azure", b)
		if tt.field == "" {
			if a.status != http.StatusCreated {
				t.Errorf("%s: status %d: %s", tt.reason, a.status, a.body)
			}
			continue
		}
		if a.status != http.StatusBadRequest || !slices.Contains(paths(a.err(t)), tt.field) {
			t.Errorf("%s: status %d: %s", tt.reason, a.status, a.body)
		}
	}
}

func TestPlacementFindings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		change func(*api.Placement)
		body   func(object)
		code   lazuli.Code
		field  string
	}{
		{"the subscription is not there", func(p *api.Placement) { p.SubscriptionFound = false }, nil,
			lazuli.CodeInvalidField, cc + "subscriptionId"},
		{"the group is not there", func(p *api.Placement) { p.GroupFound = false }, nil, lazuli.CodeInvalidField, cc + "resourceGroup"},
		{"permissions are missing", func(p *api.Placement) { p.Missing = []string{"Microsoft.Compute/virtualMachines/write"} }, nil,
			lazuli.CodeAzurePermission, "spec.cloudAccountUid"},
		{"only a zone that does not sell the size", func(*api.Placement) {}, func(b object) {
			set(t, b, w1+"cloudConfig.azs", []any{"3"})
			set(t, b, w1+"cloudConfig.instanceType", "Standard_D2s_v3")
		}, lazuli.CodeInvalidField, w1 + "cloudConfig.azs[0]"},
		{"a premium disk on a size that takes none", func(*api.Placement) {}, func(b object) {
			set(t, b, w1+"cloudConfig.instanceType", "Standard_D2_v2")
			set(t, b, w1+"cloudConfig.osDisk.managedDisk.storageAccountType", "Premium_LRS")
		}, lazuli.CodeInvalidField, w1 + "cloudConfig.osDisk.managedDisk.storageAccountType"},
	} {
		w := newWorld(t)
		tt.change(&w.prober.placement)
		b := w.body()
		if tt.body != nil {
			tt.body(b)
		}
		e := w.want(http.StatusBadRequest, "POST", "/v1/spectroclusters/azure", b).err(t)
		if e.Code != string(tt.code) || !slices.Contains(paths(e), tt.field) || e.Details.Remedy == "" {
			t.Errorf("%s: %+v", tt.reason, e)
		}
		if n := w.counts()[lazuli.KindCluster]; n != 0 {
			t.Errorf("%s: %d clusters", tt.reason, n)
		}
	}
}

// A list of zones is what is allowed: where not all of them can be had, the plan
// says so and the cluster is made.
func TestZonesAreAllowedNotDemanded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		change func(*api.Placement)
		pool   string
		azs    []any
		field  string
		say    string
	}{
		{"a region without zones", withoutZones, w1, []any{"1", "2"}, "cloudConfig.azs", "has no availability zones"},
		{"a control plane in a region without zones", withoutZones, cp, []any{"1", "2", "3"}, "cloudConfig.azs", "has no availability zones"},
		{"a zone that does not sell the size", func(*api.Placement) {}, w1, []any{"1", "3"}, "cloudConfig.azs[1]", "does not sell Standard_D2s_v3; zones 1, 2 do"},
		{"one of the control plane's", func(*api.Placement) {}, cp, []any{"3", "2", "1"}, "cloudConfig.azs[0]", "does not sell Standard_D2s_v3"},
		{"a zone that the region lacks", func(*api.Placement) {}, w1, []any{"1", "7"}, "cloudConfig.azs[1]", "has no zone"},
	} {
		w := newWorld(t)
		tt.change(&w.prober.placement)
		b := w.body()
		set(t, b, tt.pool+"cloudConfig.azs", tt.azs)
		set(t, b, tt.pool+"cloudConfig.instanceType", "Standard_D2s_v3")
		var plan struct {
			Findings []struct{ Level, Field, Message string }
		}
		w.want(http.StatusOK, "POST", "/lazuli/v1/clusters/plan", b).json(t, &plan)
		if len(plan.Findings) != 1 || plan.Findings[0].Level != "warning" || plan.Findings[0].Field != tt.pool+tt.field ||
			!strings.Contains(plan.Findings[0].Message, tt.say) {
			t.Errorf("%s: the plan finds %+v", tt.reason, plan.Findings)
		}
		w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", b)
	}
}

func withoutZones(p *api.Placement) {
	p.Zones = nil
	sizes := maps.Clone(p.Sizes)
	for name, s := range sizes {
		s.Zones = nil
		sizes[name] = s
	}
	p.Sizes = sizes
}

func TestDuplicateNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("prod")
	asked := len(w.prober.asked)
	other := w.body()
	set(t, other, "metadata.annotations.description", "another")
	for _, r := range []struct {
		path string
		body object
	}{
		{"/v1/spectroclusters/azure", other},
		{"/v1/cloudaccounts/azure", accountBody("AZ", "project")},
		{"/v1/clusterprofiles", w.profileBody("Infra")},
	} {
		e := w.want(http.StatusConflict, "POST", r.path, r.body).err(t)
		if e.Code != "DuplicateName" || !slices.Contains(paths(e), "metadata.name") {
			t.Errorf("%s: %+v", r.path, e)
		}
	}
	if len(w.prober.asked) != asked {
		t.Error("Azure was asked about a name that is taken")
	}
	second := w.profileBody("infra")
	set(t, second, "spec.version", "1.0.1")
	w.want(http.StatusCreated, "POST", "/v1/clusterprofiles", second)
	// Another project has its own names.
	w.add(&lazuli.Project{Meta: lazuli.Meta{UID: strings.Repeat("c", 24), Name: "Other"}})
	w.want(http.StatusCreated, "POST", "/v1/cloudaccounts/azure", accountBody("az", "project"), "ProjectUid", strings.Repeat("c", 24))
}

func TestProfilesOfACluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	draft := w.want(http.StatusCreated, "POST", "/v1/clusterprofiles", w.profileBody("draft")).uid(t)
	second := w.want(http.StatusCreated, "POST", "/v1/clusterprofiles", w.profileBody("second")).uid(t)
	w.want(http.StatusNoContent, "PATCH", "/v1/clusterprofiles/"+second+"/publish", nil)
	for _, tt := range []struct {
		reason   string
		profiles []string
		field    string
	}{
		{"a draft", []string{draft}, "spec.profiles[0].uid"},
		{"an add-on alone", []string{w.addon}, "spec.profiles"},
		{"two infrastructures", []string{w.profile, second}, "spec.profiles[1].uid"},
		{"a profile twice", []string{w.profile, w.profile}, "spec.profiles[1].uid"},
		{"an add-on beside", []string{w.addon, w.profile}, ""},
	} {
		b := clusterBody("p", w.account, tt.profiles...)
		a := w.send("POST", "/v1/spectroclusters/azure", b)
		if tt.field == "" {
			if a.status != http.StatusCreated {
				t.Errorf("%s: status %d: %s", tt.reason, a.status, a.body)
			}
			continue
		}
		if a.status != http.StatusBadRequest || !slices.Contains(paths(a.err(t)), tt.field) {
			t.Errorf("%s: status %d: %s", tt.reason, a.status, a.body)
		}
	}
}
