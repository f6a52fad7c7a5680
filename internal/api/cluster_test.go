// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

func TestClusterLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.body()
	set(t, b, "spec.profiles[0].packValues", []any{object{
		"name": "kubernetes", "tag": "", "type": "spectro", "manifests": nil, "values": "pack:\n  podCIDR: 10.244.0.0/16\n",
	}})
	uid := w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", b).uid(t)
	names := map[string]string{uid: "<cluster>", w.account: "<account>", w.profile: "<profile>", w.project: "<project>"}
	var c palette.Cluster
	got := w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid+"?includeNonSpectroLabels=false&resolvePackValues=false", nil)
	got.json(t, &c)
	names[c.Spec.CloudConfigRef.UID] = "<cloudconfig>"
	golden(t, "cluster-pending.json", got.body, names)

	var stored lazuli.Cluster
	if err := w.store.Get(t.Context(), uid, &stored); err != nil {
		t.Fatal(err)
	}
	values := stored.Profiles[0].Layers[1].Values
	if !strings.Contains(values, "10.244.0.0/16") {
		t.Errorf("the cluster's own values are not in the snapshot: %s", values)
	}
	leases, err := w.store.Claim(t.Context(), "test", []lazuli.Kind{lazuli.KindCluster}, 10, time.Minute)
	if err != nil || len(leases) != 1 || leases[0].ID != uid {
		t.Errorf("the engine was not woken: %v, %v", leases, err)
	}

	for _, part := range []struct{ file, path string }{
		{"overview-pending.json", "/v1/dashboard/spectroclusters/" + uid + "/overview"},
		{"cloudconfig.json", "/v1/cloudconfigs/azure/" + c.Spec.CloudConfigRef.UID},
		{"machines-none.json", "/v1/cloudconfigs/azure/" + c.Spec.CloudConfigRef.UID + "/machinePools/w1/machines?limit=50"},
		{"rbacs.json", "/v1/spectroclusters/" + uid + "/config/rbacs"},
		{"namespaces.json", "/v1/spectroclusters/" + uid + "/config/namespaces"},
		{"events.json", "/v1/events/components/spectrocluster/" + uid},
		{"own-events.json", "/lazuli/v1/clusters/" + uid + "/events"},
		{"tasks-none.json", "/lazuli/v1/clusters/" + uid + "/tasks"},
		{"list.json", "/v1/spectroclusters?limit=50"},
	} {
		body := w.want(http.StatusOK, "GET", part.path, nil).body
		golden(t, part.file, anonymousEvents(body), names)
	}
	for _, path := range []string{"features/backup", "features/complianceScan", "assets/kubeconfigclient", "assets/adminKubeconfig", "assets/kubeconfig"} {
		if e := w.want(http.StatusNotFound, "GET", "/v1/spectroclusters/"+uid+"/"+path, nil).err(t); e.Code != "ResourceNotFound" {
			t.Errorf("%s: code %s, and Terraform knows ResourceNotFound only", path, e.Code)
		}
	}

	// An account and a profile are in use until the cluster reads Deleted.
	w.want(http.StatusConflict, "DELETE", "/v1/cloudaccounts/azure/"+w.account, nil)
	w.want(http.StatusConflict, "DELETE", "/v1/clusterprofiles/"+w.profile, nil)
	for range 2 {
		w.want(http.StatusNoContent, "DELETE", "/v1/spectroclusters/"+uid, nil)
		w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid, nil).json(t, &c)
		if c.Status.State != "Deleting" {
			t.Fatalf("state %s right after DELETE", c.Status.State)
		}
	}
	w.want(http.StatusConflict, "DELETE", "/v1/cloudaccounts/azure/"+w.account, nil)
	w.change(uid, func(c *lazuli.Cluster) { c.Status.State = lazuli.StateDeleted })
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid, nil).json(t, &c)
	if c.Status.State != "Deleted" {
		t.Errorf("state %s", c.Status.State)
	}
	w.want(http.StatusNoContent, "DELETE", "/v1/spectroclusters/"+uid, nil)
	w.want(http.StatusOK, "GET", "/v1/cloudconfigs/azure/"+c.Spec.CloudConfigRef.UID, nil)
	w.create("prod") // the name is free at once
	w.change(uid, func(c *lazuli.Cluster) { c.Status.State = lazuli.StateDeleted })
}

// anonymousEvents removes the uids that the store gave to events.
func anonymousEvents(b []byte) []byte {
	var v any
	if json.Unmarshal(b, &v) != nil {
		return b
	}
	m, ok := v.(map[string]any)
	if !ok {
		return b
	}
	items, _ := m["items"].([]any) // nil is fine
	touched := false
	for _, it := range items {
		e, ok := it.(map[string]any)
		if !ok || e["severity"] == nil {
			continue
		}
		touched = true
		if meta, ok := e["metadata"].(map[string]any); ok {
			meta["uid"] = "EVENT"
		}
		if e["uid"] != nil {
			e["uid"] = "EVENT"
		}
	}
	if !touched {
		return b
	}
	out, err := json.Marshal(v)
	if err != nil {
		return b
	}
	return out
}

func TestClusterRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid := w.create("prod")
	w.change(uid, func(c *lazuli.Cluster) {
		c.Status = lazuli.ClusterStatus{
			State: lazuli.StateRunning, Healthy: true, Endpoint: "prod-1.westeurope.cloudapp.azure.com", KubeVersion: "1.36.6",
			StartedAt: noon, RunningAt: noon.Add(3 * time.Minute), SeenAt: noon.Add(4 * time.Minute),
			Conditions: []lazuli.Condition{{Type: "BootstrappingDone", Status: "True", Reason: "Bootstrapped", Since: noon}},
			Packs: []lazuli.PackStatus{{Name: "csi-azure", ProfileUID: w.profile, Version: "1.34.5", Type: "spectro", Ready: true,
				StartedAt: noon, EndedAt: noon.Add(time.Second)}},
		}
	})
	sealed, err := w.seal.Seal([]byte(`{"adminKubeconfig":"a2luZDogQ29uZmlnCnNlcnZlcjogeAo="}`), lazuli.KeysAAD(uid))
	if err != nil {
		t.Fatal(err)
	}
	m := &lazuli.Machine{
		Meta: lazuli.Meta{UID: "0123456789abcdef01234567", Name: "prod-abcdef-w1-x7k2p"}, ClusterUID: uid, Pool: "w1",
		Zone: "2", InstanceType: "Standard_D4s_v3", State: lazuli.MachineRunning, Ready: true, PrivateIP: "10.0.1.4",
		SeenAt: noon, StateSince: noon,
	}
	w.add(&lazuli.Keys{Meta: lazuli.Meta{UID: uid}, Sealed: sealed}, m,
		&lazuli.Node{Meta: lazuli.Meta{UID: "aaaaaaaaaaaaaaaaaaaaaaaa", Name: "nsg/workers"}, ClusterUID: uid,
			Title: "Security group workers", State: lazuli.NodeDone, StartedAt: noon, EndedAt: noon.Add(1500 * time.Millisecond), Attempts: 1},
		&lazuli.Node{Meta: lazuli.Meta{UID: "bbbbbbbbbbbbbbbbbbbbbbbb", Name: "vnet"}, ClusterUID: uid, Title: `Network "a"<b>`,
			State: lazuli.NodeFailed, Deps: []string{"nsg/workers"}, Message: "quota", Remedy: "ask for more", Code: lazuli.CodeAzureQuota})
	for _, asset := range []string{"adminKubeconfig", "kubeconfigclient", "kubeconfig"} {
		a := w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid+"/assets/"+asset, nil)
		if string(a.body) != "kind: Config\nserver: x\n" || a.header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s: %q as %s", asset, a.body, a.header.Get("Content-Type"))
		}
	}
	var c palette.Cluster
	got := w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid, nil)
	got.json(t, &c)
	config := "/v1/cloudconfigs/azure/" + c.Spec.CloudConfigRef.UID
	names := map[string]string{uid: "<cluster>", w.account: "<account>", w.profile: "<profile>", w.project: "<project>",
		c.Spec.CloudConfigRef.UID: "<cloudconfig>"}
	golden(t, "cluster-running.json", got.body, names)
	for _, part := range []struct{ file, path string }{
		{"overview-running.json", "/v1/dashboard/spectroclusters/" + uid + "/overview"},
		{"machines.json", config + "/machinePools/w1/machines"},
		{"machine.json", config + "/machinePools/w1/machines/" + m.UID},
		{"tasks.json", "/lazuli/v1/clusters/" + uid + "/tasks"},
		{"graph.json", "/lazuli/v1/clusters/" + uid + "/graph"},
		{"graph.mermaid", "/lazuli/v1/clusters/" + uid + "/graph?format=mermaid"},
	} {
		golden(t, part.file, w.want(http.StatusOK, "GET", part.path, nil).body, names)
	}
	w.want(http.StatusNotFound, "GET", config+"/machinePools/cp/machines/"+m.UID, nil)
	w.want(http.StatusNotFound, "GET", config+"/machinePools/none/machines", nil)
	w.want(http.StatusBadRequest, "GET", "/lazuli/v1/clusters/"+uid+"/graph?format=png", nil)
	golden(t, "search.json", w.want(http.StatusOK, "POST", "/v1/dashboard/spectroclusters/search", searchByName("prod")).body, names)
}

// searchByName is what Terraform's data source sends.
func searchByName(name string) string {
	return `{"filter":{"conjunction":"and","filterGroups":[{"conjunction":"and","filters":[
	 {"condition":{"string":{"match":{"conjunction":"or","values":["nested"]},"negation":true,"operator":"eq"}},"property":"environment","type":"string"},
	 {"condition":{"bool":{}},"property":"isDeleted","type":"bool"}]},
	 {"conjunction":"and","filters":[{"condition":{"string":{"match":{"conjunction":"or","values":["` + name + `"]},"operator":"eq"}},"property":"clusterName","type":"string"}]}]},"sort":null}`
}

func TestEchoIsWhatWasSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.body()
	set(t, b, "spec.cloudConfig.storageAccountName", "")
	set(t, b, "spec.machinepoolconfig[1].cloudConfig.azs", remove{})
	set(t, b, "spec.machinepoolconfig[1].poolConfig.taints", []any{object{
		"key": "b", "value": "", "effect": "NoSchedule", "timeAdded": "0001-01-01T00:00:00.000Z"}, object{
		"key": "a", "value": "1", "effect": "NoExecute"}})
	set(t, b, "spec.machinepoolconfig[1].poolConfig.nodeRepaveInterval", 0)
	uid := w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", b).uid(t)
	var c palette.Cluster
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid, nil).json(t, &c)
	var cc palette.CloudConfig
	w.want(http.StatusOK, "GET", "/v1/cloudconfigs/azure/"+c.Spec.CloudConfigRef.UID, nil).json(t, &cc)

	spec := b["spec"].(object)
	sameJSON(t, "clusterConfig", spec["cloudConfig"], cc.Spec.ClusterConfig)
	pools := spec["machinepoolconfig"].([]any)
	for i, p := range pools {
		in := p.(object)
		want := object{"osType": "Linux"}
		for _, part := range []string{"poolConfig", "cloudConfig"} {
			maps.Copy(want, in[part].(object))
		}
		sameJSON(t, "pool", want, cc.Spec.MachinePoolConfig[i])
	}
	if d := cmp.Diff(map[string]string{"env": "dev", "flag": "spectro__tag"}, c.Metadata.Labels); d != "" {
		t.Errorf("labels are the user's and nothing else (-want +got):\n%s", d)
	}
}

// A member that the contract does not know is not kept: it would come back in
// answers, which the test server refuses.
func TestWhatTheContractDoesNotKnowIsNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.model = nil // the client's model expects all that was sent
	b := w.body()
	for _, path := range []string{
		"unknown", "metadata.unknown", "spec.clusterConfig.hostClusterConfig.clusterGroup.unknown", "spec.cloudConfig.unknown",
		"spec.cloudConfig.SubscriptionId", "spec.machinepoolconfig[1].poolConfig.unknown", "spec.machinepoolconfig[1].cloudConfig.osDisk.unknown",
	} {
		set(t, b, path, object{"unknown": "x"})
	}
	uid := w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", b).uid(t)
	cluster := w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid, nil)
	var c palette.Cluster
	cluster.json(t, &c)
	config := w.want(http.StatusOK, "GET", "/v1/cloudconfigs/azure/"+c.Spec.CloudConfigRef.UID, nil)
	for _, answer := range []string{string(cluster.body), string(config.body)} {
		if strings.Contains(answer, "unknown") || strings.Contains(answer, "SubscriptionId") {
			t.Errorf("kept: %s", answer)
		}
	}
}

func sameJSON(t *testing.T, what string, want any, got json.RawMessage) {
	t.Helper()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var x, y any
	if err := json.Unmarshal(b, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &y); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(x, y); d != "" {
		t.Errorf("%s (-sent +echoed):\n%s", what, d)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.create("alpha"), w.create("beta"), w.create("betamax")
	w.change(c, func(c *lazuli.Cluster) { c.Status.State = lazuli.StateDeleted })
	one := func(property, condition string) string {
		return `{"filter":{"filterGroups":[{"filters":[{"property":"` + property + `","condition":` + condition + `}]}]}}`
	}
	tests := []struct {
		reason, body string
		want         []string
	}{
		{"nothing asked: all that are not Deleted", `{}`, []string{a, b}},
		{"nulls", `{"filter":null,"sort":null}`, []string{a, b}},
		{"by name, as Terraform does", searchByName("beta"), []string{b}},
		{"a name in another case", searchByName("BETA"), []string{b}},
		{"a Deleted cluster is found when asked for", one("isDeleted", `{"bool":{"value":true}}`), []string{c}},
		{"contains", one("clusterName", `{"string":{"operator":"contains","match":{"values":["et"]}}}`), []string{b}},
		{"begins with", one("clusterName", `{"string":{"operator":"beginsWith","match":{"values":["al"]}}}`), []string{a}},
		{"not", one("clusterName", `{"string":{"negation":true,"match":{"values":["alpha"]}}}`), []string{b}},
		{"any of two", one("clusterName", `{"string":{"match":{"conjunction":"or","values":["alpha","beta"]}}}`), []string{a, b}},
		{"case counts when asked to", one("clusterName", `{"string":{"ignoreCase":false,"match":{"values":["Alpha"]}}}`), nil},
		{"by state", one("clusterState", `{"string":{"match":{"values":["Pending"]}}}`), []string{a, b}},
		{"by health", one("healthState", `{"string":{"match":{"values":["Healthy"]}}}`), nil},
		{"nested clusters: there are none", one("environment", `{"string":{"match":{"values":["nested"]}}}`), nil},
		{"by tag", one("tags", `{"keyValue":{"key":"env","match":{"values":["dev"]}}}`), []string{a, b}},
		{"by a tag that is not there", one("tags", `{"keyValue":{"key":"none"}}`), nil},
		{"sorted by name, last first", `{"sort":[{"field":"clusterName","order":"desc"}]}`, []string{b, a}},
		{"sorted by health", `{"sort":[{"field":"healthState","order":"desc"}]}`, []string{b, a}},
		{"either of two groups", `{"filter":{"conjunction":"or","filterGroups":[
		  {"filters":[{"property":"clusterName","condition":{"string":{"match":{"values":["alpha"]}}}}]},
		  {"filters":[{"property":"clusterName","condition":{"string":{"match":{"values":["beta"]}}}}]}]}}`, []string{a, b}},
	}
	for _, tt := range tests {
		var got palette.List[palette.ClusterSummary]
		w.want(http.StatusOK, "POST", "/v1/dashboard/spectroclusters/search", tt.body).json(t, &got)
		var uids []string
		for _, it := range got.Items {
			uids = append(uids, it.Metadata.UID)
		}
		if d := cmp.Diff(tt.want, uids); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.reason, d)
		}
		if got.ListMeta == nil {
			t.Errorf("%s: no listmeta, on which Terraform stops", tt.reason)
		}
	}
	for reason, body := range map[string]string{
		"a property that is none": one("secret", `{"string":{}}`),
		"no condition":            one("clusterName", `null`),
		"the wrong condition":     one("clusterName", `{"bool":{}}`),
		"an unknown operator":     one("clusterName", `{"string":{"operator":"like","match":{"values":["a"]}}}`),
		"an unknown conjunction":  `{"filter":{"conjunction":"xor","filterGroups":[]}}`,
		"an unknown sort":         `{"sort":[{"field":"secret"}]}`,
	} {
		if a := w.send("POST", "/v1/dashboard/spectroclusters/search", body); a.status != http.StatusBadRequest {
			t.Errorf("%s: status %d: %s", reason, a.status, a.body)
		}
	}
	t.Run("pages", func(t *testing.T) {
		t.Parallel()
		for _, q := range []string{"", `{"sort":[{"field":"healthState"}]}`} {
			var seen []string
			next := ""
			for range 5 {
				var got palette.List[palette.ClusterSummary]
				w.want(http.StatusOK, "POST", "/v1/dashboard/spectroclusters/search?limit=1&continue="+next, orBody(q)).json(t, &got)
				for _, it := range got.Items {
					seen = append(seen, it.Metadata.UID)
				}
				if next = got.ListMeta.Continue; next == "" {
					break
				}
			}
			if d := cmp.Diff([]string{a, b}, seen); d != "" {
				t.Errorf("%s (-want +got):\n%s", q, d)
			}
		}
	})
}

func orBody(s string) string {
	if s == "" {
		return "{}"
	}
	return s
}

func TestDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid := w.create("prod")
	w.want(http.StatusBadRequest, "DELETE", "/v1/spectroclusters/"+uid+"?forceDelete=perhaps", nil)
	intent := func() *lazuli.DeleteIntent {
		var c lazuli.Cluster
		if err := w.store.Get(t.Context(), uid, &c); err != nil {
			t.Fatal(err)
		}
		return c.Delete
	}
	if intent() != nil {
		t.Fatal("a bad request left an intent to delete")
	}
	w.want(http.StatusNoContent, "DELETE", "/v1/spectroclusters/"+uid+"?forceDelete=false", nil)
	if got := intent(); got == nil || got.Force || got.Actor != "admin" || !got.At.Equal(w.now()) {
		t.Errorf("intent %+v", got)
	}
	w.want(http.StatusNoContent, "DELETE", "/v1/spectroclusters/"+uid+"?forceDelete=true", nil)
	if got := intent(); !got.Force {
		t.Error("force that came later is not recorded")
	}
	w.want(http.StatusNoContent, "DELETE", "/v1/spectroclusters/"+uid, nil)
	if got := intent(); !got.Force {
		t.Error("force was taken back")
	}
	events, err := w.store.Events(t.Context(), store.EventQuery{Kind: lazuli.KindCluster, Object: uid})
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, e := range events {
		reasons = append(reasons, e.Reason)
	}
	if d := cmp.Diff([]string{"ClusterForceDeleteRequested", "ClusterDeleteRequested", "ClusterCreated"}, reasons); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
}
