// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
	"github.com/lazuli-dev/lazuli/internal/bootstrap"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// world is the simulator's surroundings of a machine, with time that passes when
// the test says so.
type world struct {
	azuresim.Env // what machines of this level do not ask for

	mu       sync.Mutex
	now      time.Time
	events   []worldEvent
	console  map[string][]string
	machines *model.Machines
	ids      []string
}

type worldEvent struct {
	at time.Time
	fn func()
}

func newWorld(now time.Time) *world {
	return &world{now: now, console: map[string][]string{}, machines: model.New(model.Options{})}
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) Outside() time.Time { return w.Now() }

func (w *world) Until(t time.Time) time.Duration { return t.Sub(w.Now()) }

func (w *world) After(d time.Duration, fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, worldEvent{w.now.Add(max(0, d)), fn})
	slices.SortStableFunc(w.events, func(a, b worldEvent) int { return a.at.Compare(b.at) })
}

func (*world) Rand(name string) *mathrand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return mathrand.New(mathrand.NewPCG(1, h.Sum64()))
}

func (w *world) Reach(_, host string, port int) (string, error) {
	if host != fixtureEndpoint {
		return "", nil // the Internet
	}
	for _, id := range w.ids {
		if w.machines.Probe(id, port, "/readyz") {
			return id, nil
		}
	}
	return "", errors.New("no backend is healthy")
}

func (*world) Provisioned(string, error) {}

func (w *world) Console(id, line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.console[id] = append(w.console[id], line)
}

// pass lets time go by until done, at most d. It asks every few seconds of that time.
func (w *world) pass(d time.Duration, done func() bool) bool {
	const step = 5 * time.Second
	end := w.Now().Add(d)
	for !done() {
		if w.Now().After(end) {
			return false
		}
		w.run(w.Now().Add(step))
	}
	return true
}

// run lets everything happen that is due before the time, which it then is.
func (w *world) run(until time.Time) {
	for {
		w.mu.Lock()
		if len(w.events) == 0 || w.events[0].at.After(until) {
			w.now = until
			w.mu.Unlock()
			return
		}
		e := w.events[0]
		w.events, w.now = w.events[1:], e.at
		w.mu.Unlock()
		e.fn()
	}
}

// DialContext leads to a healthy API server, as the load balancer does.
func (w *world) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	id, err := w.Reach("", fixtureEndpoint, bootstrap.DefaultPort)
	if err != nil {
		return nil, err
	}
	return w.machines.Dial(ctx, id, bootstrap.DefaultPort)
}

const (
	fixtureEndpoint = "real-060708-1a2b3c4d.westeurope.cloudapp.azure.com"

	// addons are the least that makes nodes ready at the model level, and a
	// workload on top.
	addons = `apiVersion: apps/v1
kind: DaemonSet
metadata: {name: cloud-node-manager, namespace: kube-system}
spec:
  selector: {matchLabels: {app: cnm}}
  template:
    metadata: {labels: {app: cnm}}
    spec:
      hostNetwork: true
      tolerations: [{operator: Exists}]
      containers: [{name: cloud-node-manager, image: "mcr.microsoft.com/oss/v2/kubernetes/azure-cloud-node-manager:v1.36.0"}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: network, namespace: kube-system}
spec:
  selector: {matchLabels: {app: network}}
  template:
    metadata: {labels: {app: network}}
    spec:
      hostNetwork: true
      tolerations: [{operator: Exists}]
      containers: [{name: agent, image: "example.com/network:1"}]
      volumes: [{name: cni, hostPath: {path: /etc/cni/net.d}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.com/web:1"}]}
`
)

// TestFromUserDataToReadyNodes boots a cluster of five machines at the model
// level from the user data that Azure would get, and brings it to Ready.
func TestFromUserDataToReadyNodes(t *testing.T) {
	t.Parallel()
	for _, image := range []struct {
		kind      bootstrap.ImageKind
		reference string
	}{
		{bootstrap.Gallery, "/CommunityGalleries/ClusterAPI-f72ceb4f-5159-4c26-a0fe-2ea738f0d019/Images/capi-ubun2-2404/Versions/1.36.3"},
		{bootstrap.Stock, "Canonical:ubuntu-24_04-lts:server:latest"},
	} {
		t.Run(string(image.kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(time.Now())
			access := bootMachines(t, w, image.kind, image.reference)
			clusters := workload.New(w, slog.New(slog.DiscardHandler), workload.Options{})
			t.Cleanup(clusters.Close)
			if !w.pass(time.Hour, func() bool { return clusters.Ready(t.Context(), access) == nil }) {
				t.Fatalf("no API server: %q", w.console)
			}
			set := workload.Set{Name: "infra", Documents: []byte(addons), Prune: true}
			if r := mustApply(t, clusters, access, set); r.Count(workload.Created) != 3 {
				t.Fatalf("applied %s", r)
			}
			var nodes []workload.Node
			if !w.pass(time.Hour, func() bool { nodes = readyNodes(t, clusters, access); return len(nodes) == 5 }) {
				t.Fatalf("%d nodes are ready; consoles: %q", len(nodes), w.console)
			}
			for _, n := range nodes {
				if !n.Initialised || n.Version != "v1.36.3" || n.InternalIP == "" || !strings.HasSuffix(n.ProviderID, "/virtualMachines/"+n.Name) {
					t.Errorf("node %+v", n)
				}
				tainted := slices.ContainsFunc(n.Taints, func(t workload.Taint) bool { return t.Key == "node-role.kubernetes.io/control-plane" })
				if tainted != strings.Contains(n.Name, "-cp-") {
					t.Errorf("%s has the taints %v", n.Name, n.Taints)
				}
			}
			var waiting []string
			if !w.pass(time.Hour, func() bool {
				ready, still, err := clusters.Status(t.Context(), access, set)
				waiting = still
				return ready && err == nil
			}) {
				t.Errorf("waiting for %q", waiting)
			}
		})
	}
}

func readyNodes(t *testing.T, clusters *workload.Clusters, a workload.Access) []workload.Node {
	t.Helper()
	nodes, err := clusters.Nodes(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(nodes, func(n workload.Node) bool { return !n.Ready })
}

// bootMachines starts three control planes and two workers, all at once.
func bootMachines(t *testing.T, w *world, kind bootstrap.ImageKind, reference string) workload.Access {
	t.Helper()
	random := mathrand.NewChaCha8([32]byte{1})
	pki, err := bootstrap.NewPKI(random, w.Now(), "real")
	if err != nil {
		t.Fatal(err)
	}
	c := bootstrap.Cluster{
		Name: "real", UID: uid, KubernetesVersion: "1.36.3", Endpoint: fixtureEndpoint, PodCIDR: "192.168.0.0/16",
		ServiceCIDR: "10.96.0.0/12", Location: "westeurope", SubscriptionID: "s", ResourceGroup: "rg", Image: kind,
	}
	roles := map[string]bootstrap.Role{
		"real-060708-cp-aaaaa": bootstrap.Init, "real-060708-cp-bbbbb": bootstrap.ControlPlane, "real-060708-cp-ccccc": bootstrap.ControlPlane,
		"real-060708-w-ddddd": bootstrap.Worker, "real-060708-w-eeeee": bootstrap.Worker,
	}
	var nodes []bootstrap.Node
	var tokens []bootstrap.Token
	for name, role := range roles {
		token, err := bootstrap.NewToken(random)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
		nodes = append(nodes, bootstrap.Node{Name: name, Role: role, Token: token, EtcdDiskLUN: bootstrap.NoEtcdDisk})
	}
	slices.SortFunc(nodes, func(a, b bootstrap.Node) int { return cmp.Compare(a.Name, b.Name) })
	for i, n := range nodes {
		data, err := bootstrap.UserData(c, pki, n, tokens)
		if err != nil {
			t.Fatal(err)
		}
		id := "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/" + n.Name
		w.ids = append(w.ids, id)
		w.machines.Start(w, azuresim.Machine{
			ID: id, Name: n.Name, ComputerName: n.Name, SubscriptionID: "s", ResourceGroup: "rg", Location: "westeurope", Zone: "1",
			Size: "Standard_D2s_v3", VCPUs: 2, MemoryGB: 8, CustomData: data, PrivateIP: net.IPv4(10, 0, 0, byte(4+i)).String(), Image: reference,
		})
	}
	t.Cleanup(func() {
		for _, id := range w.ids {
			w.machines.Stop(id)
		}
	})
	raw, err := bootstrap.AdminKubeconfig(pki, random, w.Now(), "https://"+fixtureEndpoint+":6443", "", "real", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return workload.Access{Kubeconfig: raw, UID: uid}
}
