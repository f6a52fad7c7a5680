// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/wire"
	"github.com/lazuli-dev/lazuli/test/e2e/tape"
)

// running is a cluster with one control plane and two workers, and the path of
// its cloud config.
func (w *world) running() (uid, config string) {
	w.t.Helper()
	uid = w.create("prod")
	var c palette.Cluster
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid, nil).json(w.t, &c)
	w.change(uid, func(c *lazuli.Cluster) { c.Status.State = lazuli.StateRunning })
	return uid, "/v1/cloudconfigs/azure/" + c.Spec.CloudConfigRef.UID
}

// pools are the pools of a cloud config by name, as they are answered.
func (w *world) pools(config string) (names []string, pools map[string]object) {
	w.t.Helper()
	var got struct {
		Spec struct {
			Pools []object `json:"machinePoolConfig"`
		} `json:"spec"`
	}
	w.want(http.StatusOK, "GET", config, nil).json(w.t, &got)
	pools = map[string]object{}
	for _, p := range got.Spec.Pools {
		name, _ := p["name"].(string)
		names = append(names, name)
		pools[name] = p
	}
	return names, pools
}

func (w *world) stored(uid string) *lazuli.Cluster {
	w.t.Helper()
	var c lazuli.Cluster
	if err := w.store.Get(w.t.Context(), uid, &c); err != nil {
		w.t.Fatal(err)
	}
	return &c
}

func TestPoolLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid, config := w.running()
	woken := func() bool {
		leases, err := w.store.Claim(t.Context(), "test", []lazuli.Kind{lazuli.KindCluster}, 1, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Release(t.Context(), "test"); err != nil {
			t.Fatal(err)
		}
		return len(leases) == 1
	}
	woken()
	w2 := pool("w2", false, 1)
	set(t, w2, "cloudConfig.azs", []any{})
	set(t, w2, "poolConfig.taints", []any{object{"key": "a", "value": "b", "effect": "NoSchedule", "timeAdded": "0001-01-01T00:00:00.000Z"}})
	first := w.want(http.StatusCreated, "POST", config+"/machinePools", w2).uid(t)
	if again := w.want(http.StatusCreated, "POST", config+"/machinePools", w2).uid(t); again != first {
		t.Errorf("the same pool again is %s, and it was %s", again, first)
	}
	if !woken() {
		t.Error("the engine does not hear of the pool")
	}
	names, pools := w.pools(config)
	if diff := cmp.Diff([]string{"cp", "w1", "w2"}, names); diff != "" {
		t.Errorf("pools (-want +got):\n%s", diff)
	}
	if azs, ok := pools["w2"]["azs"].([]any); !ok || len(azs) != 0 {
		t.Errorf("azs are %v, and were sent as an empty list", pools["w2"]["azs"])
	}
	if _, there := pools["w2"]["minSize"]; there {
		t.Errorf("minSize is %v, and was not sent", pools["w2"]["minSize"])
	}
	set(t, w2, "poolConfig.size", 4)
	w.want(http.StatusNoContent, "PUT", config+"/machinePools/w2", w2)
	if _, pools = w.pools(config); pools["w2"]["size"] != 4.0 {
		t.Errorf("size is %v", pools["w2"]["size"])
	}
	if e := w.want(http.StatusConflict, "POST", config+"/machinePools", pool("w2", false, 2)).err(t); e.Code != "DuplicateName" {
		t.Errorf("another pool of the name: %s", e.Code)
	}
	w.want(http.StatusNoContent, "DELETE", config+"/machinePools/w2", nil)
	if e := w.want(http.StatusNotFound, "DELETE", config+"/machinePools/w2", nil).err(t); e.Code != "ResourceNotFound" {
		t.Errorf("a pool that is gone: %s", e.Code)
	}
	w.want(http.StatusConflict, "DELETE", config+"/machinePools/w1", nil)
	w.want(http.StatusConflict, "DELETE", config+"/machinePools/cp", nil)
	control := pool("cp", true, 3)
	w.want(http.StatusNoContent, "PUT", config+"/machinePools/cp", control)
	set(t, control, "poolConfig.useControlPlaneAsWorker", true)
	w.want(http.StatusNoContent, "PUT", config+"/machinePools/cp", control)
	w.want(http.StatusNoContent, "DELETE", config+"/machinePools/w1", nil)

	// Of a cluster that is being deleted, nothing changes any more.
	w.want(http.StatusNoContent, "DELETE", "/v1/spectroclusters/"+uid, nil)
	for _, r := range []struct {
		method, path string
		body         object
	}{
		{"POST", config + "/machinePools", pool("w3", false, 1)}, {"PUT", config + "/machinePools/cp", pool("cp", true, 5)},
		{"DELETE", config + "/machinePools/cp", nil}, {"PUT", config + "/clusterConfig", object{"clusterConfig": w.cloudConfig()}},
	} {
		var body any
		if r.body != nil {
			body = r.body
		}
		if e := w.want(http.StatusConflict, r.method, r.path, body).err(t); e.Code != "Conflict" {
			t.Errorf("%s %s while Deleting: %s", r.method, r.path, e.Code)
		}
	}
}

// cloudConfig is the Azure side that a cluster of a good body has.
func (w *world) cloudConfig() object {
	w.t.Helper()
	spec, _ := w.body()["spec"].(object)
	c, _ := spec["cloudConfig"].(object)
	return c
}

func TestBadPools(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, config := w.running()
	before, _ := w.pools(config)
	for _, tt := range []struct {
		reason, method, path string
		change               string
		value                any
		field                string
	}{
		{"no size", "POST", "", "poolConfig.size", remove{}, "poolConfig.size"},
		{"a name that is none", "POST", "", "poolConfig.name", "W 2", "poolConfig.name"},
		{"a second control plane", "POST", "", "poolConfig.isControlPlane", true, ""},
		{"a size that is not sold", "POST", "", "cloudConfig.instanceType", "Standard_Z99", "cloudConfig.instanceType"},
		{"a zone that is not there", "POST", "", "cloudConfig.azs", []any{"7"}, "cloudConfig.azs[0]"},
		{"another name", "PUT", "/w1", "poolConfig.name", "w9", "poolConfig.name"},
		{"a worker pool becomes the control plane", "PUT", "/w1", "poolConfig", object{"name": "w1", "size": 3, "isControlPlane": true, "labels": []any{}}, "poolConfig.isControlPlane"},
		{"a size in words", "PUT", "/w1", "poolConfig.size", "three", "poolConfig.size"},
		{"a pool of none", "PUT", "/w1", "poolConfig.size", 0, "poolConfig.size"},
		{"a taint without effect", "PUT", "/w1", "poolConfig.taints", []any{object{"key": "a"}}, "poolConfig.taints[0].effect"},
		{"a size that became restricted", "PUT", "/w1", "cloudConfig.instanceType", "Standard_NC12s_v3", "cloudConfig.instanceType"},
	} {
		b := pool("w1", false, 2)
		if tt.method == "POST" {
			b = pool("w2", false, 1)
		}
		set(t, b, tt.change, tt.value)
		e := w.want(http.StatusBadRequest, tt.method, config+"/machinePools"+tt.path, b).err(t)
		if tt.field != "" && !slices.Contains(paths(e), tt.field) {
			t.Errorf("%s: names %v, not %s", tt.reason, paths(e), tt.field)
		}
	}
	w.want(http.StatusNoContent, "PUT", config+"/machinePools/cp", pool("cp", true, 3))
	if e := w.want(http.StatusBadRequest, "PUT", config+"/machinePools/cp", pool("cp", true, 1)).err(t); !slices.Contains(paths(e), "poolConfig.size") {
		t.Errorf("a control plane that shrinks: %v", paths(e))
	}
	if after, _ := w.pools(config); !slices.Equal(before, after) {
		t.Errorf("pools are %v", after)
	}
	p := goodPlacement()
	p.Quotas = map[string]api.Quota{"cores": {Used: 10, Limit: 20}}
	w.prober.placement = p
	if e := w.want(http.StatusBadRequest, "POST", config+"/machinePools", pool("w2", false, 9)).err(t); !slices.Contains(paths(e), "cloudConfig.instanceType") {
		t.Errorf("beyond the quota: %v", paths(e))
	}
	w.want(http.StatusCreated, "POST", config+"/machinePools", pool("w2", false, 2))
}

func TestCloudConfigChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid, config := w.running()
	same := w.cloudConfig()
	w.want(http.StatusNoContent, "PUT", config+"/clusterConfig", object{"clusterConfig": same})
	for path, value := range map[string]any{
		"subscriptionId": tenant, "resourceGroup": "other", "location": "eastus", "vnetCidrBlock": "10.9.0.0/16",
		"vnetName": "theirs", "controlPlaneSubnet": object{"name": "x"}, "enablePrivateCluster": true, "vnetResourceGroup": "rg",
		"infraLBConfig": object{"apiServerLB": object{"type": "Internal"}},
	} {
		c := w.cloudConfig()
		c[path] = value
		e := w.want(http.StatusBadRequest, "PUT", config+"/clusterConfig", object{"clusterConfig": c}).err(t)
		if e.Code != "InvalidField" || !slices.Contains(paths(e), "clusterConfig."+path) {
			t.Errorf("%s: %s names %v", path, e.Code, paths(e))
		}
	}
	c := w.cloudConfig()
	c["sshKey"] = "no key"
	if e := w.want(http.StatusBadRequest, "PUT", config+"/clusterConfig", object{"clusterConfig": c}).err(t); !slices.Contains(paths(e), "clusterConfig.sshKey") {
		t.Errorf("a key that is none: %v", paths(e))
	}
	c["sshKey"], c["storageAccountName"] = sshKey+"2", "sa"
	w.want(http.StatusNoContent, "PUT", config+"/clusterConfig", object{"clusterConfig": c})
	var got struct {
		Spec struct {
			ClusterConfig json.RawMessage `json:"clusterConfig"`
		} `json:"spec"`
	}
	w.want(http.StatusOK, "GET", config, nil).json(t, &got)
	want, err := json.Marshal(c)
	if err != nil || !palette.Equal(want, got.Spec.ClusterConfig) {
		t.Errorf("the cloud config is %s, and %s was sent (%v)", got.Spec.ClusterConfig, want, err)
	}
	var notices wire.Notices
	w.want(http.StatusOK, "GET", "/lazuli/v1/clusters/"+uid+"/notices", nil).json(t, &notices)
	if len(notices.Items) != 1 || notices.Items[0].Field != "spec.cloudConfig.storageAccountName" || notices.Items[0].Since.IsZero() {
		t.Errorf("notices: %+v", notices.Items)
	}
}

// Of two changes at once none is lost.
func TestChangesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inFile)
	_, config := w.running()
	const many = 8
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			body, err := json.Marshal(pool(fmt.Sprintf("p%d", i), false, 1))
			if err != nil {
				t.Error(err)
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, config+"/machinePools", bytes.NewReader(body))
			r.Header.Set("ApiKey", adminKey)
			rec := httptest.NewRecorder()
			w.handler().ServeHTTP(rec, r)
			if rec.Code != http.StatusCreated {
				t.Errorf("pool %d: %d %s", i, rec.Code, rec.Body)
			}
		})
	}
	all.Wait()
	w.model = tape.NewModel() // which saw nothing of that
	if names, _ := w.pools(config); len(names) != 2+many {
		t.Errorf("pools are %v", names)
	}
}

func TestMaintenance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid, config := w.running()
	m := &lazuli.Machine{Meta: lazuli.Meta{UID: testUID("machine", "a"), Name: "prod-w1-abcde", Project: w.project}, ClusterUID: uid, Pool: "w1", State: lazuli.MachineRunning, Ready: true}
	w.add(m)
	path := config + "/machinePools/w1/machines/" + m.UID
	status := func() (got palette.MachineMaintenanceStatus) {
		var out palette.Machine
		w.want(http.StatusOK, "GET", path, nil).json(t, &out)
		return out.Status.MaintenanceStatus
	}
	if got := status(); got != (palette.MachineMaintenanceStatus{}) {
		t.Errorf("before: %+v", got)
	}
	w.want(http.StatusNoContent, "PUT", path+"/maintenance", object{"action": "cordon"})
	if got := status(); got.Action != "cordon" || got.State != "Initiated" {
		t.Errorf("after the request: %+v", got)
	}
	wish := w.stored(uid).Maintenance[m.UID]
	w.want(http.StatusNoContent, "PUT", path+"/maintenance", object{"action": "cordon"})
	if again := w.stored(uid).Maintenance[m.UID]; again != wish {
		t.Errorf("a repetition is another wish: %+v", again)
	}
	m.Maintenance = &lazuli.Maintenance{MaintenanceWish: wish, State: lazuli.MaintenanceCompleted}
	w.remove(lazuli.KindMachine, m.UID)
	m.Version = 0
	w.add(m)
	if got := status(); got.State != "Completed" {
		t.Errorf("after the drain: %+v", got)
	}
	w.want(http.StatusNoContent, "PUT", path+"/maintenance", object{"action": "uncordon"})
	if got := status(); got.Action != "uncordon" || got.State != "Initiated" {
		t.Errorf("after the second request: %+v", got)
	}
	w.want(http.StatusBadRequest, "PUT", path+"/maintenance", object{"action": "explode"})
	w.want(http.StatusNotFound, "PUT", config+"/machinePools/w1/machines/"+uid+"/maintenance", object{"action": "cordon"})
}
