// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/test/lab"
)

func controlPlane(size int) lab.PoolWish {
	return lab.PoolWish{Name: "cp", Size: size, ControlPlane: true, InstanceType: "Standard_D2s_v3"}
}

// settled waits until the pools are as they shall be and nothing is on its way.
func settled(t *testing.T, l *lab.Lab, uid string, want map[string]int) {
	t.Helper()
	l.When(uid, "the pools", time.Hour, func() bool { return cmp.Diff(want, l.Live(uid)) == "" && l.Quiet(uid) })
	total := 0
	for _, n := range want {
		total += n
	}
	for kind, want := range map[string]int{"virtualMachines": total, "networkInterfaces": total} {
		if have := l.OfType(kind); len(have) != want {
			t.Errorf("%d %s in Azure, want %d: %v", len(have), kind, want, have)
		}
	}
	disks := 0
	for _, m := range l.Machines(uid) {
		if m.Going() {
			continue
		}
		disks++
		if m.EtcdDisk {
			disks++
		}
	}
	if have := l.OfType("disks"); len(have) != disks {
		t.Errorf("%d disks in Azure, want %d: %v", len(have), disks, have)
	}
	var nodes struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		} `json:"items"`
	}
	l.Kube(uid, http.MethodGet, "/api/v1/nodes", nil, &nodes)
	if len(nodes.Items) != total {
		t.Errorf("%d nodes in the cluster, want %d", len(nodes.Items), total)
	}
	time.Sleep(2 * time.Minute)
	c := l.Cluster(uid)
	if c.Status.State != lazuli.StateRunning || !c.Status.Healthy {
		t.Errorf("the cluster is %s, healthy %t: %s", c.Status.State, c.Status.Healthy, c.Status.Message)
	}
	for _, cond := range c.Status.Conditions {
		if cond.Status != "True" {
			t.Errorf("condition %s is %s at rest: %s", cond.Type, cond.Status, cond.Message)
		}
	}
	l.Sim.Reset()
	time.Sleep(20 * time.Minute)
	if all, _, _ := l.Calls(); all > 0 {
		t.Errorf("%d calls to Azure for a cluster at rest", all)
	}
}

// Pools come, grow, shrink and go in a cluster that runs, and nothing of what
// went is left in Azure or in the cluster.
func TestPools(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 21)
		l.Start()
		defer l.Stop()
		uid := l.Create("pools", 1, 1)
		l.Until(uid, lazuli.StateRunning, 30*time.Minute)
		workers := lab.PoolWish{Name: "workers", Size: 3, Zones: []string{"1", "2", "3"}}

		l.SetPools(uid, workers, controlPlane(1))
		settled(t, l, uid, map[string]int{"cp": 1, "workers": 3})

		const gpu = "node-role.kubernetes.io/gpu" // no kubelet may say it of itself
		extra := lab.PoolWish{Name: "extra", Size: 2, Labels: map[string]string{"role": "w", gpu: "a"}, Taints: []lazuli.Taint{{Key: "a", Value: "b", Effect: "NoSchedule"}}}
		l.SetPools(uid, workers, extra, controlPlane(1))
		settled(t, l, uid, map[string]int{"cp": 1, "workers": 3, "extra": 2})
		for _, m := range l.Machines(uid) {
			var n node
			if l.Kube(uid, http.MethodGet, "/api/v1/nodes/"+m.Name, nil, &n); (n.Metadata.Labels[gpu] == "a") != (m.Pool == "extra") {
				t.Errorf("node %s has the labels %v", m.Name, n.Metadata.Labels)
			}
		}

		workers.Size = 1
		l.SetPools(uid, workers, extra, controlPlane(1))
		settled(t, l, uid, map[string]int{"cp": 1, "workers": 1, "extra": 2})

		l.SetPools(uid, workers, controlPlane(1))
		settled(t, l, uid, map[string]int{"cp": 1, "workers": 1})

		l.SetPools(uid, workers, controlPlane(3))
		settled(t, l, uid, map[string]int{"cp": 3, "workers": 1})

		l.Delete(uid)
		l.Until(uid, lazuli.StateDeleted, 30*time.Minute)
		if left := l.Left(); len(left) > 0 {
			t.Errorf("left in Azure: %v", left)
		}
	})
}

type node struct {
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Unschedulable bool `json:"unschedulable"`
		Taints        []struct {
			Key, Value, Effect string
		} `json:"taints"`
	} `json:"spec"`
}

func (n node) taint(key string) string {
	for _, t := range n.Spec.Taints {
		if t.Key == key {
			return t.Value + ":" + t.Effect
		}
	}
	return ""
}

// What a pool's nodes shall carry changes on those that are there; a shape that
// only new machines can have is told in a notice.
func TestPoolChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 22)
		l.Start()
		defer l.Stop()
		uid := l.Create("marks", 1, 1)
		l.Until(uid, lazuli.StateRunning, 30*time.Minute)
		var name string
		for _, m := range l.Machines(uid) {
			if !m.ControlPlane {
				name = m.Name
			}
		}
		look := func() (n node) {
			l.Kube(uid, http.MethodGet, "/api/v1/nodes/"+name, nil, &n)
			return n
		}
		workers := lab.PoolWish{Name: "workers", Size: 1, Labels: map[string]string{"role": "w"}, Taints: []lazuli.Taint{{Key: "a", Value: "b", Effect: "NoSchedule"}}}
		l.SetPools(uid, workers, controlPlane(1))
		l.When(uid, "the marks", 10*time.Minute, func() bool { return look().Metadata.Labels["role"] == "w" && look().taint("a") == "b:NoSchedule" })

		workers.Labels, workers.Taints = map[string]string{"other": "x"}, nil
		workers.InstanceType, workers.DiskGB = "Standard_D2s_v3", 80
		l.SetPools(uid, workers, controlPlane(1))
		l.When(uid, "other marks", 10*time.Minute, func() bool {
			n := look()
			_, still := n.Metadata.Labels["role"]
			return n.Metadata.Labels["other"] == "x" && !still && n.taint("a") == ""
		})
		var fields []string
		for _, n := range l.Cluster(uid).Status.Notices {
			fields = append(fields, strings.TrimPrefix(n.Field, "spec.machinepoolconfig[0].cloudConfig."))
		}
		if want := []string{"instanceType", "osDisk.diskSizeGB", "osDisk.managedDisk.storageAccountType"}; !slices.Equal(fields, want) {
			t.Errorf("notices about %v, want %v", fields, want)
		}
		l.Change(uid, func(c *lazuli.Cluster) { c.Labels = map[string]string{"env": "other"} })
		l.When(uid, "a notice about the tags", 10*time.Minute, func() bool {
			return slices.ContainsFunc(l.Cluster(uid).Status.Notices, func(n lazuli.Notice) bool { return n.Field == "metadata.labels" })
		})
		workers.Size = 2
		l.SetPools(uid, workers, controlPlane(1))
		l.When(uid, "a machine of the new shape", 30*time.Minute, func() bool { return l.Live(uid)["workers"] == 2 })
		sizes := map[string]int{}
		for _, m := range l.Machines(uid) {
			if !m.ControlPlane {
				sizes[m.InstanceType]++
			}
		}
		if diff := cmp.Diff(map[string]int{"Standard_D4s_v3": 1, "Standard_D2s_v3": 1}, sizes); diff != "" {
			t.Errorf("sizes (-want +got):\n%s", diff)
		}
	})
}

// A machine that leaves is emptied first: a budget that does not give way holds
// it up, for a bounded time. Deletion of the cluster waits for nothing of it.
func TestDrainBeforeRemoval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 23)
		l.Start()
		defer l.Stop()
		uid := l.Create("drains", 1, 2)
		l.Until(uid, lazuli.StateRunning, 30*time.Minute)
		labels := map[string]any{"app": "kept"}
		l.Kube(uid, http.MethodPost, "/apis/apps/v1/namespaces/default/deployments", map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "kept", "namespace": "default"},
			"spec": map[string]any{"replicas": 4, "selector": map[string]any{"matchLabels": labels}, "template": map[string]any{
				"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": "i"}}},
			}},
		}, nil)
		l.Kube(uid, http.MethodPost, "/apis/policy/v1/namespaces/default/poddisruptionbudgets", map[string]any{
			"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": map[string]any{"name": "kept", "namespace": "default"},
			"spec": map[string]any{"minAvailable": 4, "selector": map[string]any{"matchLabels": labels}},
		}, nil)
		time.Sleep(2 * time.Minute) // the pods are up
		workers := lab.PoolWish{Name: "workers", Size: 1, Zones: []string{"2"}}
		l.SetPools(uid, workers, controlPlane(1))
		time.Sleep(10 * time.Minute)
		if vms := l.OfType("virtualMachines"); len(vms) != 3 {
			t.Errorf("virtual machines while a budget is in the way: %v", vms)
		}
		begin := time.Now()
		l.When(uid, "the machine leaves all the same", 20*time.Minute, func() bool { return len(l.OfType("virtualMachines")) == 2 })
		t.Logf("gone after another %s", time.Since(begin).Round(time.Second))

		workers.Size = 3
		l.SetPools(uid, workers, controlPlane(1))
		l.When(uid, "three workers", 30*time.Minute, func() bool { return l.Live(uid)["workers"] == 3 })
		workers.Size = 1
		l.SetPools(uid, workers, controlPlane(1))
		time.Sleep(30 * time.Second) // in the middle of the drains
		l.Delete(uid)
		l.Until(uid, lazuli.StateDeleted, 30*time.Minute)
		if left := l.Left(); len(left) > 0 {
			t.Errorf("left in Azure: %v", left)
		}
	})
}

// Maintenance empties a machine and leaves it where it is.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 24)
		l.Start()
		defer l.Stop()
		uid := l.Create("mends", 1, 2)
		l.Until(uid, lazuli.StateRunning, 30*time.Minute)
		var m lazuli.Machine
		find := func() lazuli.Machine {
			for _, x := range l.Machines(uid) {
				if !x.ControlPlane {
					return x
				}
			}
			t.Fatal("no worker")
			return m
		}
		m = find()
		wish := func(action lazuli.MaintenanceAction) {
			l.Change(uid, func(c *lazuli.Cluster) {
				c.Maintenance = map[string]lazuli.MaintenanceWish{m.UID: {Action: action, At: time.Now().UTC(), Actor: "tester"}}
			})
			l.When(uid, string(action), 10*time.Minute, func() bool {
				have := find().Maintenance
				return have != nil && have.Action == action && have.State == lazuli.MaintenanceCompleted
			})
		}
		cordoned := func() bool {
			var n node
			l.Kube(uid, http.MethodGet, "/api/v1/nodes/"+m.Name, nil, &n)
			return n.Spec.Unschedulable
		}
		wish(lazuli.MaintenanceCordon)
		if !cordoned() {
			t.Error("the node takes pods")
		}
		wish(lazuli.MaintenanceUncordon)
		if cordoned() {
			t.Error("the node takes no pods")
		}
		l.Sim.Reset()
		time.Sleep(10 * time.Minute)
		if all, _, _ := l.Calls(); all > 0 {
			t.Errorf("%d calls to Azure for a cluster at rest", all)
		}
	})
}

// What a profile brought into the cluster changes and goes with it.
func TestProfiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 25)
		l.Start()
		defer l.Stop()
		uid := l.Create("packs", 1, 1)
		l.Until(uid, lazuli.StateRunning, 30*time.Minute)
		manifest := func(name, value string) string {
			return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n  namespace: default\ndata:\n  k: \"" + value + "\"\n"
		}
		attach := func(content ...string) {
			l.Change(uid, func(c *lazuli.Cluster) {
				c.Profiles = c.Profiles[:1]
				if len(content) == 0 {
					return
				}
				layer := lazuli.Layer{Name: "own", Type: "manifest", Layer: "addon"}
				for i, text := range content {
					layer.Manifests = append(layer.Manifests, lazuli.Manifest{UID: string(rune('a' + i)), Name: string(rune('a' + i)), Content: text})
				}
				c.Profiles = append(c.Profiles, lazuli.ProfileSnapshot{UID: "addon", Name: "addon", Type: "add-on", CloudType: "all", Layers: []lazuli.Layer{layer}})
			})
		}
		value := func(name string) string {
			var cm struct {
				Data map[string]string `json:"data"`
			}
			if code := l.Kube(uid, http.MethodGet, "/api/v1/namespaces/default/configmaps/"+name, nil, &cm); code == http.StatusNotFound {
				return "absent"
			}
			return cm.Data["k"]
		}
		ready := func() bool {
			for _, c := range l.Cluster(uid).Status.Conditions {
				if c.Status != "True" {
					return false
				}
			}
			return true
		}
		attach(manifest("one", "1"), manifest("two", "1"))
		l.When(uid, "both are there", 10*time.Minute, func() bool { return value("one") == "1" && value("two") == "1" && ready() })
		attach(manifest("one", "2"))
		l.When(uid, "one changed and the other gone", 10*time.Minute, func() bool { return value("one") == "2" && value("two") == "absent" && ready() })
		attach()
		l.When(uid, "nothing is left", 10*time.Minute, func() bool { return value("one") == "absent" && ready() })
		attach(manifest("one", "3"))
		l.When(uid, "it is back", 10*time.Minute, func() bool { return value("one") == "3" && ready() })

		// Another version of Kubernetes needs other machines: it is kept, told of,
		// and nothing is done about it.
		l.Change(uid, func(c *lazuli.Cluster) {
			for i, layer := range c.Profiles[0].Layers {
				if layer.Name == "kubernetes" {
					c.Profiles[0].Layers[i].Values = "pack:\n  podCIDR: 172.20.0.0/16\n"
				}
			}
		})
		l.When(uid, "a notice", 10*time.Minute, func() bool {
			return slices.ContainsFunc(l.Cluster(uid).Status.Notices, func(n lazuli.Notice) bool { return strings.Contains(n.Message, "the range of the pods") })
		})
		time.Sleep(5 * time.Minute)
		if !ready() {
			t.Error("a wish that is not met shows in the conditions")
		}
	})
}

// Two profiles declare one namespace: both are deployed, and it goes with the last
// of them.
func TestNamespaceOfTwoProfiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 27)
		l.Start()
		defer l.Stop()
		uid := l.Create("shared", 1, 1)
		l.Until(uid, lazuli.StateRunning, 30*time.Minute)
		attach := func(names ...string) {
			l.Change(uid, func(c *lazuli.Cluster) {
				c.Profiles = c.Profiles[:1]
				for _, name := range names {
					c.Profiles = append(c.Profiles, lazuli.ProfileSnapshot{UID: name, Name: name, Type: "add-on", CloudType: "all", Layers: []lazuli.Layer{{
						Name: name, Type: "manifest", Layer: "addon", Manifests: []lazuli.Manifest{
							{UID: name, Name: "ns", Content: "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"},
							{UID: name + "1", Name: "own", Content: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: shop}\n"},
						},
					}}})
				}
			})
		}
		there := func(path string) bool { return l.Kube(uid, http.MethodGet, path, nil, nil) == http.StatusOK }
		shows := func(one, two, namespace bool) func() bool {
			return func() bool {
				const shop = "/api/v1/namespaces/shop"
				for _, c := range l.Cluster(uid).Status.Conditions {
					if c.Status != "True" {
						return false
					}
				}
				return there(shop+"/configmaps/one") == one && there(shop+"/configmaps/two") == two && there(shop) == namespace && l.Quiet(uid)
			}
		}
		attach("one", "two")
		l.When(uid, "both are there", 10*time.Minute, shows(true, true, true))
		attach("two")
		l.When(uid, "the first is gone", 10*time.Minute, shows(false, true, true))
		attach("two", "one")
		l.When(uid, "it is back", 10*time.Minute, shows(true, true, true))
		attach("two")
		l.When(uid, "it is gone again", 10*time.Minute, shows(false, true, true))
		attach()
		l.When(uid, "nothing is left", 10*time.Minute, shows(false, false, false))
	})
}

// Namespaces and role bindings of a cluster's configuration are made in it. A
// namespace that is no longer named stays; its quota and the bindings go.
func TestResources(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 26)
		l.Start()
		defer l.Stop()
		uid := l.Create("inside", 1, 1)
		l.Until(uid, lazuli.StateRunning, 30*time.Minute)
		wish := func(resources string) {
			l.Change(uid, func(c *lazuli.Cluster) {
				var spec map[string]json.RawMessage
				if err := json.Unmarshal(c.Spec, &spec); err != nil {
					t.Fatal(err)
				}
				spec["clusterConfig"] = json.RawMessage(`{"resources":` + resources + `}`)
				raw, err := json.Marshal(spec)
				if err != nil {
					t.Fatal(err)
				}
				c.Spec = raw
			})
		}
		there := func(path string) bool { return l.Kube(uid, http.MethodGet, path, nil, nil) == http.StatusOK }
		bindings := func() (n int) {
			var list struct {
				Items []struct {
					Metadata struct {
						Name string `json:"name"`
					} `json:"metadata"`
				} `json:"items"`
			}
			l.Kube(uid, http.MethodGet, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", nil, &list)
			for _, b := range list.Items {
				if strings.HasPrefix(b.Metadata.Name, "lazuli-") {
					n++
				}
			}
			return n
		}
		wish(`{"namespaces":[{"metadata":{"name":"ns1"},"spec":{"resourceAllocation":{"cpuCores":2,"memoryMiB":2048}}}],
			"rbacs":[{"spec":{"bindings":[{"type":"ClusterRoleBinding","role":{"kind":"ClusterRole","name":"view"},"subjects":[{"type":"User","name":"u1"}]}]}}]}`)
		l.When(uid, "they are there", 10*time.Minute, func() bool {
			return there("/api/v1/namespaces/ns1/resourcequotas/lazuli") && bindings() == 1
		})
		wish(`{"namespaces":[],"rbacs":[]}`)
		l.When(uid, "quota and binding are gone", 10*time.Minute, func() bool {
			return !there("/api/v1/namespaces/ns1/resourcequotas/lazuli") && bindings() == 0
		})
		if !there("/api/v1/namespaces/ns1") {
			t.Error("the namespace went, with what is in it")
		}
	})
}
