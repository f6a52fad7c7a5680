// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lazuli-dev/lazuli/internal/api"
)

// What a client sends comes back as it was sent: nothing added, nothing lost,
// nothing in another order. Terraform shows every difference as a change to
// make, for ever.

// drawn makes the parts of valid bodies.
type drawn struct{ t *rapid.T }

func (d drawn) text(label string) string {
	return rapid.SampledFrom([]string{"", "plain", "two words", "ümläut ☃", `quote " and \ slash`, "line\nline\n", "  spaces  "}).Draw(d.t, label)
}

func (d drawn) flag(label string) bool { return rapid.Bool().Draw(d.t, label) }

// maybe puts a member in, or leaves it out.
func (d drawn) maybe(o object, name string, v func() any) {
	if d.flag("with " + name) {
		o[name] = v()
	}
}

func (d drawn) tags(label string) object {
	o := object{}
	for range rapid.IntRange(0, 3).Draw(d.t, label) {
		prefix := rapid.SampledFrom([]string{"", "", "app.kubernetes.io/"}).Draw(d.t, label+" prefix")
		o[prefix+rapid.StringMatching(`[a-z]{3,9}`).Draw(d.t, label+" key")] = rapid.SampledFrom([]string{"spectro__tag", "v", "a-b"}).Draw(d.t, label+" value")
	}
	for _, reserved := range []string{"azure", "microsoft", "windows"} {
		delete(o, reserved)
	}
	return o
}

func (d drawn) kubeLabels(label string) object {
	o := object{}
	for range rapid.IntRange(0, 3).Draw(d.t, label) {
		key := rapid.SampledFrom([]string{"", "example.com/", "team.io/", "node-role.kubernetes.io/", "app.kubernetes.io/"}).Draw(d.t, label+" prefix") + rapid.StringMatching(`[a-z]{1,8}`).Draw(d.t, label+" key")
		o[key] = rapid.SampledFrom([]string{"", "x", "a.b_c-d"}).Draw(d.t, label+" value")
	}
	return o
}

func (d drawn) pool(name string, controlPlane bool) object {
	zones := rapid.Permutation([]any{"1", "2", "3"}).Draw(d.t, "zones")[:rapid.IntRange(0, 3).Draw(d.t, "number of zones")]
	disk := object{
		"diskSizeGB":  rapid.IntRange(30, 2000).Draw(d.t, "disk"),
		"managedDisk": object{"storageAccountType": rapid.SampledFrom([]string{"Standard_LRS", "StandardSSD_LRS", "Premium_LRS"}).Draw(d.t, "disk type")},
		"osType":      "Linux",
	}
	cloud := object{"azs": zones, "instanceType": "Standard_D4s_v3", "osDisk": disk}
	d.maybe(cloud, "isSystemNodePool", func() any { return d.flag("system pool") })
	p := object{"name": name, "isControlPlane": controlPlane}
	if controlPlane {
		p["size"] = rapid.SampledFrom([]int{1, 3, 5}).Draw(d.t, "control planes")
		p["labels"] = []any{"control-plane"}
		p["useControlPlaneAsWorker"] = d.flag("control plane as worker")
	} else {
		p["size"] = rapid.IntRange(1, 7).Draw(d.t, "size")
		p["labels"] = []any{"worker"}
		d.maybe(p, "nodeRepaveInterval", func() any { return rapid.IntRange(0, 900).Draw(d.t, "interval") })
	}
	d.maybe(p, "additionalLabels", func() any { return d.kubeLabels("labels") })
	d.maybe(p, "additionalAnnotations", func() any { return d.kubeLabels("annotations") })
	d.maybe(p, "taints", func() any {
		taints := []any{}
		for i := range rapid.IntRange(0, 3).Draw(d.t, "taints") {
			taints = append(taints, object{
				"key": fmt.Sprintf("k%d", i), "value": rapid.SampledFrom([]string{"", "v"}).Draw(d.t, "taint"),
				"effect": rapid.SampledFrom([]string{"NoSchedule", "PreferNoSchedule", "NoExecute"}).Draw(d.t, "effect"),
			})
		}
		return taints
	})
	d.maybe(p, "updateStrategy", func() any {
		switch rapid.IntRange(0, 2).Draw(d.t, "strategy") {
		case 0:
			return object{"type": "RollingUpdateScaleOut"}
		case 1:
			return object{"type": "RollingUpdateScaleIn"}
		default:
			return object{"type": "OverrideScaling", "maxSurge": "1", "maxUnavailable": "25%"}
		}
	})
	d.maybe(p, "overrideKubeadmConfiguration", func() any { return "kubeletExtraArgs:\n  v: \"2\"\n" })
	return object{"cloudConfig": cloud, "managedPoolConfig": object{"isSystemNodePool": false}, "poolConfig": p}
}

func (d drawn) pools() []any {
	pools := []any{d.pool("cp", true)}
	for i := range rapid.IntRange(1, 3).Draw(d.t, "worker pools") {
		pools = append(pools, d.pool(fmt.Sprintf("%s%d", rapid.StringMatching(`[a-z]{1,8}`).Draw(d.t, "pool"), i), false))
	}
	return rapid.Permutation(pools).Draw(d.t, "order of pools")
}

func (d drawn) cluster(w *world, name string) object {
	cloud := object{"location": "westeurope", "resourceGroup": "rg", "sshKey": sshKey, "subscriptionId": subs}
	if d.flag("own ranges") {
		cloud["vnetCidrBlock"] = "10.20.0.0/16"
		d.maybe(cloud, "controlPlaneSubnet", func() any { return object{"cidrBlock": "10.20.1.0/24"} })
		d.maybe(cloud, "workerSubnet", func() any { return object{"cidrBlock": "10.20.2.0/24"} })
	}
	d.maybe(cloud, "storageAccountName", func() any { return "" })
	config := object{"hostClusterConfig": object{"isHostCluster": false}, "machineManagementConfig": object{}}
	d.maybe(config, "clusterMetaAttribute", func() any { return d.text("attribute") })
	d.maybe(config, "timezone", func() any { return "Europe/Berlin" })
	d.maybe(config, "updateWorkerPoolsInParallel", func() any { return d.flag("parallel") })
	meta := object{"name": name, "labels": d.tags("tags")}
	d.maybe(meta, "annotations", func() any { return object{"description": d.text("description")} })
	profiles := []any{object{"uid": w.profile, "packValues": []any{}, "variables": []any{}}}
	if d.flag("with an add-on") {
		profiles = append(profiles, object{"uid": w.addon})
	}
	return object{"metadata": meta, "spec": object{
		"cloudAccountUid": w.account, "cloudConfig": cloud, "clusterConfig": config, "machinepoolconfig": d.pools(),
		"policies": object{}, "profiles": profiles,
	}}
}

// at walks to a member.
func at(v any, path ...string) any {
	for _, p := range path {
		o, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = o[p]
	}
	return v
}

// plainly is v as JSON reads it.
func plainly(t rapid.TB, v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t rapid.TB, what string, sent, got any) {
	t.Helper()
	if diff := cmp.Diff(plainly(t, sent), got); diff != "" {
		t.Errorf("%s is not what was sent (-sent +got):\n%s", what, diff)
	}
}

func (w *world) read(t rapid.TB, path string) any {
	a := w.send("GET", path, nil)
	if a.status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, a.status, a.body)
	}
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// flat is how a pool that was sent reads: one object of both parts.
func flat(pool any) object {
	p, cloud := maps.Clone(at(pool, "poolConfig").(object)), at(pool, "cloudConfig").(object)
	maps.Copy(p, cloud)
	p["osType"] = at(cloud, "osDisk", "osType")
	disk := maps.Clone(cloud["osDisk"].(object))
	p["osDisk"] = disk
	return p
}

// without drops members whose absence says the same to every client.
func without(v any, zero ...string) any {
	o := v.(map[string]any)
	for _, k := range zero {
		switch x := o[k].(type) {
		case nil, bool, float64, string:
			if x == nil || x == false || x == 0.0 || x == "" {
				delete(o, k)
			}
		case map[string]any:
			if len(x) == 0 {
				delete(o, k)
			}
		case []any:
			if len(x) == 0 && k != "azs" {
				delete(o, k)
			}
		}
	}
	return o
}

func TestClustersComeBackAsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e9, 1e9 })
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		d := drawn{rt}
		n++
		body := d.cluster(w, fmt.Sprintf("c%d", n))
		a := w.send("POST", "/v1/spectroclusters/azure", body)
		if a.status != http.StatusCreated {
			rt.Fatalf("a valid cluster: %d %s", a.status, a.body)
		}
		var created struct{ UID string }
		a.json(t, &created)
		cl := w.read(rt, "/v1/spectroclusters/"+created.UID)
		same(rt, "metadata.name", at(body, "metadata", "name"), at(cl, "metadata", "name"))
		labels := at(cl, "metadata", "labels")
		if labels == nil {
			labels = map[string]any{}
		}
		same(rt, "metadata.labels", at(body, "metadata", "labels"), labels)
		if want := at(body, "metadata", "annotations", "description"); want != nil && want != "" {
			same(rt, "the description", want, at(cl, "metadata", "annotations", "description"))
		}
		for k, v := range at(body, "spec", "clusterConfig").(object) {
			same(rt, "clusterConfig."+k, v, at(cl, "spec", "clusterConfig", k))
		}
		for k := range at(cl, "spec", "clusterConfig").(map[string]any) {
			if _, sent := at(body, "spec", "clusterConfig").(object)[k]; !sent {
				rt.Errorf("clusterConfig.%s was added", k)
			}
		}
		config := w.read(rt, "/v1/cloudconfigs/azure/"+at(cl, "spec", "cloudConfigRef", "uid").(string))
		same(rt, "cloudConfig", at(body, "spec", "cloudConfig"), at(config, "spec", "clusterConfig"))
		sent, got := at(body, "spec", "machinepoolconfig").([]any), at(config, "spec", "machinePoolConfig").([]any)
		if len(sent) != len(got) {
			rt.Fatalf("%d pools were sent, %d came back", len(sent), len(got))
		}
		for i := range sent {
			same(rt, fmt.Sprintf("pool %d", i), without(plainly(rt, flat(sent[i])), zeroOfPool()...), without(got[i], zeroOfPool()...))
		}
		w.want(http.StatusNoContent, "DELETE", "/v1/spectroclusters/"+created.UID, nil)
	})
}

// zeroOfPool are members of a pool whose absence says the same as their zero.
func zeroOfPool() []string {
	return []string{"additionalLabels", "additionalAnnotations", "taints", "nodeRepaveInterval", "isSystemNodePool", "useControlPlaneAsWorker",
		"minSize", "maxSize", "additionalTags", "overrideKubeadmConfiguration"}
}

func TestPoolsComeBackAsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e9, 1e9 })
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		d := drawn{rt}
		n++
		uid := w.create(fmt.Sprintf("p%d", n))
		config := "/v1/cloudconfigs/azure/" + at(w.read(rt, "/v1/spectroclusters/"+uid), "spec", "cloudConfigRef", "uid").(string)
		before := at(w.read(rt, config), "spec", "machinePoolConfig").([]any)
		name := "added"
		sent := d.pool(name, false)
		if a := w.send("POST", config+"/machinePools", sent); a.status != http.StatusCreated {
			rt.Fatalf("a valid pool: %d %s", a.status, a.body)
		}
		for range 2 { // as added, and as changed
			got := at(w.read(rt, config), "spec", "machinePoolConfig").([]any)
			if len(got) != len(before)+1 {
				rt.Fatalf("%d pools, there were %d and one was added", len(got), len(before))
			}
			for i := range before {
				if diff := cmp.Diff(before[i], got[i]); diff != "" {
					rt.Errorf("pool %d, which nobody touched:\n%s", i, diff)
				}
			}
			same(rt, "the pool", without(plainly(rt, flat(sent)), zeroOfPool()...), without(got[len(before)], zeroOfPool()...))
			sent = d.pool(name, false)
			if a := w.send("PUT", config+"/machinePools/"+name, sent); a.status != http.StatusNoContent {
				rt.Fatalf("a valid change: %d %s", a.status, a.body)
			}
		}
		w.want(http.StatusNoContent, "DELETE", config+"/machinePools/"+name, nil)
		w.want(http.StatusNoContent, "DELETE", "/v1/spectroclusters/"+uid, nil)
	})
}

func (d drawn) account(name string) object {
	spec := object{
		"tenantId": tenant, "clientId": client, "clientSecret": canary,
		"settings": object{"disablePropertiesRequest": d.flag("disablePropertiesRequest")},
	}
	d.maybe(spec, "azureEnvironment", func() any {
		return rapid.SampledFrom([]string{"AzurePublicCloud", "AzureUSGovernmentCloud"}).Draw(d.t, "environment")
	})
	d.maybe(spec, "tenantName", func() any { return "contoso.onmicrosoft.com" })
	return object{"metadata": object{
		"name": name, "annotations": object{"scope": rapid.SampledFrom([]string{"project", "tenant"}).Draw(d.t, "scope"), "overlordUid": ""},
	}, "spec": spec}
}

func TestAccountsComeBackAsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e9, 1e9 })
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		d := drawn{rt}
		n++
		body := d.account(fmt.Sprintf("account-%d", n))
		a := w.send("POST", "/v1/cloudaccounts/azure", body)
		if a.status != http.StatusCreated {
			rt.Fatalf("a valid account: %d %s", a.status, a.body)
		}
		var created struct{ UID string }
		a.json(t, &created)
		for range 2 { // as created, and as replaced with the secret left out
			got := w.read(rt, "/v1/cloudaccounts/azure/"+created.UID)
			want := maps.Clone(body["spec"].(object))
			want["clientSecret"] = ""
			if want["azureEnvironment"] == nil {
				delete(at(got, "spec").(map[string]any), "azureEnvironment") // a default that every client has
			}
			same(rt, "spec", want, at(got, "spec"))
			same(rt, "the scope", at(body, "metadata", "annotations", "scope"), at(got, "metadata", "annotations", "scope"))
			same(rt, "the gateway", "", at(got, "metadata", "annotations", "overlordUid"))
			env := body["spec"].(object)["azureEnvironment"]
			body = d.account(body["metadata"].(object)["name"].(string))
			body["metadata"].(object)["annotations"] = object{"scope": at(got, "metadata", "annotations", "scope"), "overlordUid": ""}
			body["spec"].(object)["clientSecret"] = ""
			if env != nil {
				body["spec"].(object)["azureEnvironment"] = env
			} else {
				delete(body["spec"].(object), "azureEnvironment")
			}
			if a := w.send("PUT", "/v1/cloudaccounts/azure/"+created.UID, body); a.status != http.StatusNoContent {
				rt.Fatalf("a valid update: %d %s", a.status, a.body)
			}
		}
	})
}

func (d drawn) manifests(prefix string) []any {
	out := []any{}
	for i := range rapid.IntRange(1, 3).Draw(d.t, "manifests") {
		out = append(out, object{"name": fmt.Sprintf("%s%d", prefix, i), "content": fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s%d", prefix, i)})
	}
	return out
}

func (d drawn) addOn(name string) object {
	packs := []any{}
	for i := range rapid.IntRange(1, 3).Draw(d.t, "packs") {
		packs = append(packs, object{
			"name": fmt.Sprintf("%s-%d", rapid.StringMatching(`[a-z]{1,6}`).Draw(d.t, "pack"), i), "type": "manifest", "uid": "spectro-manifest-pack",
			"tag":       rapid.SampledFrom([]string{"", "1.0.0"}).Draw(d.t, "tag"),
			"values":    rapid.SampledFrom([]string{"", "pack:\n  # a comment\n  namespace: \"x\"", "b: 1\na: 2"}).Draw(d.t, "values"),
			"manifests": d.manifests(fmt.Sprintf("m%d", i)),
		})
	}
	meta := object{"name": name, "labels": d.tags("tags")}
	d.maybe(meta, "annotations", func() any { return object{"description": d.text("description")} })
	return object{"metadata": meta, "spec": object{
		"version":   rapid.SampledFrom([]string{"1.0.0", "2.1.0", "1.2.3-rc.1"}).Draw(d.t, "version"),
		"variables": nil,
		"template":  object{"cloudType": "all", "type": "add-on", "packs": packs},
	}}
}

func TestProfilesComeBackAsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e9, 1e9 })
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		d := drawn{rt}
		n++
		body := d.addOn(fmt.Sprintf("profile-%d", n))
		a := w.send("POST", "/v1/clusterprofiles", body)
		if a.status != http.StatusCreated {
			rt.Fatalf("a valid profile: %d %s", a.status, a.body)
		}
		var created struct{ UID string }
		a.json(t, &created)
		w.want(http.StatusNoContent, "PATCH", "/v1/clusterprofiles/"+created.UID+"/publish", nil)
		got := w.read(rt, "/v1/clusterprofiles/"+created.UID)
		labels := at(got, "metadata", "labels")
		if labels == nil {
			labels = map[string]any{}
		}
		same(rt, "metadata.labels", at(body, "metadata", "labels"), labels)
		same(rt, "the version", at(body, "spec", "version"), at(got, "spec", "published", "profileVersion"))
		sent, packs := at(body, "spec", "template", "packs").([]any), at(got, "spec", "published", "packs").([]any)
		if len(sent) != len(packs) {
			rt.Fatalf("%d packs were sent, %d came back", len(sent), len(packs))
		}
		for i := range sent {
			for wire, member := range map[string]string{"name": "name", "type": "type", "tag": "tag", "uid": "packUid"} {
				same(rt, fmt.Sprintf("pack %d's %s", i, wire), at(sent[i], wire), at(packs[i], member))
			}
			same(rt, "the values", strings.TrimSpace(at(sent[i], "values").(string)), strings.TrimSpace(at(packs[i], "values").(string)))
			names := []any{}
			for _, m := range at(packs[i], "manifests").([]any) {
				names = append(names, at(m, "name"))
			}
			want := []any{}
			for _, m := range at(sent[i], "manifests").([]any) {
				want = append(want, at(m, "name"))
			}
			if !slices.Equal(want, names) {
				rt.Errorf("manifests %v came back as %v", want, names)
			}
			contents := w.read(rt, "/v1/clusterprofiles/"+created.UID+"/packs/"+at(sent[i], "name").(string)+"/manifests")
			for k, m := range at(contents, "items").([]any) {
				same(rt, "a manifest's text", at(at(sent[i], "manifests").([]any)[k], "content"), at(m, "spec", "published", "content"))
			}
		}
	})
}

// What is invalid is refused, and refused by name.
func TestSpoiltClustersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e9, 1e9 })
	spoil := []struct {
		reason string
		do     func(body, pool object)
	}{
		{"two control planes in a pool", func(_, p object) {
			p["poolConfig"].(object)["isControlPlane"] = true
			p["poolConfig"].(object)["size"] = 2
		}},
		{"a size below nothing", func(_, p object) { p["poolConfig"].(object)["size"] = -1 }},
		{"a size without a number", func(_, p object) { p["poolConfig"].(object)["size"] = "three" }},
		{"no name", func(_, p object) { p["poolConfig"].(object)["name"] = "" }},
		{"a machine size that nobody sells", func(_, p object) { p["cloudConfig"].(object)["instanceType"] = "Standard_None" }},
		{"a zone that is none", func(_, p object) { p["cloudConfig"].(object)["azs"] = []any{"x"} }},
		{"a disk type that is none", func(_, p object) {
			at(p, "cloudConfig", "osDisk").(object)["managedDisk"] = object{"storageAccountType": "Floppy"}
		}},
		{"an effect that is none", func(_, p object) { p["poolConfig"].(object)["taints"] = []any{object{"key": "k", "effect": "Maybe"}} }},
		{"a strategy that is none", func(_, p object) { p["poolConfig"].(object)["updateStrategy"] = object{"type": "Sideways"} }},
		{"no account", func(b, _ object) { at(b, "spec").(object)["cloudAccountUid"] = "000000000000000000000000" }},
		{"no profile", func(b, _ object) { at(b, "spec").(object)["profiles"] = []any{} }},
		{"no SSH key", func(b, _ object) { at(b, "spec", "cloudConfig").(object)["sshKey"] = "" }},
		{"a subscription that is none", func(b, _ object) { at(b, "spec", "cloudConfig").(object)["subscriptionId"] = "x" }},
		{"a reserved tag", func(b, _ object) { at(b, "metadata").(object)["labels"] = object{"microsoft": "x"} }},
		{"a name that is none", func(b, _ object) { at(b, "metadata").(object)["name"] = "No Name" }},
	}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		d := drawn{rt}
		n++
		body := d.cluster(w, fmt.Sprintf("bad%d", n))
		pools := at(body, "spec", "machinepoolconfig").([]any)
		s := rapid.SampledFrom(spoil).Draw(rt, "spoil")
		s.do(body, pools[rapid.IntRange(0, len(pools)-1).Draw(rt, "pool")].(object))
		a := w.send("POST", "/v1/spectroclusters/azure", body)
		if a.status < 400 || a.status >= 500 {
			rt.Fatalf("%s: status %d: %s", s.reason, a.status, a.body)
		}
		if e := a.err(t); e.Details == nil || len(e.Details.Fields) == 0 {
			rt.Errorf("%s: no field is named: %s", s.reason, a.body)
		}
	})
}

// The same for what clusters are made from.
func TestSpoiltAccountsAndProfilesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e9, 1e9 })
	spoil := []struct {
		reason, path string
		do           func(body object)
	}{
		{"no tenant", "/v1/cloudaccounts/azure", func(b object) { delete(at(b, "spec").(object), "tenantId") }},
		{"a client that is none", "/v1/cloudaccounts/azure", func(b object) { at(b, "spec").(object)["clientId"] = "me" }},
		{"no secret", "/v1/cloudaccounts/azure", func(b object) { at(b, "spec").(object)["clientSecret"] = "" }},
		{"a cloud that is none", "/v1/cloudaccounts/azure", func(b object) { at(b, "spec").(object)["azureEnvironment"] = "Sky" }},
		{"no name", "/v1/cloudaccounts/azure", func(b object) { at(b, "metadata").(object)["name"] = "" }},
		{"a version that is none", "/v1/clusterprofiles", func(b object) { at(b, "spec").(object)["version"] = "v1.2" }},
		{"a type that is none", "/v1/clusterprofiles", func(b object) { at(b, "spec", "template").(object)["type"] = "outfra" }},
		{"no packs", "/v1/clusterprofiles", func(b object) { at(b, "spec", "template").(object)["packs"] = []any{} }},
		{"packs of one name", "/v1/clusterprofiles", func(b object) {
			t := at(b, "spec", "template").(object)
			t["packs"] = append(t["packs"].([]any), t["packs"].([]any)[0])
		}},
		{"a pack that is not there", "/v1/clusterprofiles", func(b object) {
			at(b, "spec", "template").(object)["packs"] = []any{object{"name": "nope", "type": "spectro", "tag": "9.9.9"}}
		}},
	}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		d := drawn{rt}
		n++
		s := rapid.SampledFrom(spoil).Draw(rt, "spoil")
		body := d.account(fmt.Sprintf("bad-%d", n))
		if s.path == "/v1/clusterprofiles" {
			body = d.addOn(fmt.Sprintf("bad-%d", n))
		}
		s.do(body)
		a := w.send("POST", s.path, body)
		if a.status < 400 || a.status >= 500 {
			rt.Fatalf("%s: status %d: %s", s.reason, a.status, a.body)
		}
		if e := a.err(t); e.Details == nil || len(e.Details.Fields) == 0 {
			rt.Errorf("%s: no field is named: %s", s.reason, a.body)
		}
	})
}
