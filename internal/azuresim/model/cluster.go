// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

// syncDelay is how long the controllers take to notice a change.
const syncDelay = 50 * time.Millisecond

// silence is how long a kubelet may be silent before its node is Unknown.
const silence = 40 * time.Second

// cluster is one Kubernetes cluster: its API and its controllers. Its fields are used by event functions only, which
// never overlap, except where noted.
type cluster struct {
	id     string
	owner  *Machines
	env    azuresim.Env
	ca     *authority
	config *clusterConfiguration
	minor  uint64
	api    *kubeapi.Server
	store  *kubeapi.Store

	queued atomic.Bool
	// gone is guarded by Machines.mu.
	gone bool
	// learner is the machine that etcd is taking in. Guarded by Machines.mu.
	learner *machine
	// former are machines that are gone and whose nodes may be left. Guarded by Machines.mu.
	former  map[string]*machine
	timers  map[string]bool
	pulled  map[string]bool
	views   map[*unstructured.Unstructured]any
	used    map[*unstructured.Unstructured]bool
	hashes  map[types.UID]hashed
	nextPod map[string]int
	podNets int
}

func newCluster(m *machine, cfg *kubeadmConfig, ca *authority) (*cluster, error) {
	minor, err := supportedMinor(cfg.cluster.KubernetesVersion)
	if err != nil {
		return nil, err
	}
	c := &cluster{
		id: ca.fingerprint(), owner: m.owner, env: m.env, ca: ca, config: cfg.cluster, minor: minor,
		former: map[string]*machine{}, timers: map[string]bool{}, pulled: map[string]bool{}, nextPod: map[string]int{},
		views: map[*unstructured.Unstructured]any{}, used: map[*unstructured.Unstructured]bool{}, hashes: map[types.UID]hashed{},
	}
	c.api, err = kubeapi.New(kubeapi.Options{
		Now: m.env.Now, Outside: m.env.Outside, Random: m.env.Rand("kubeapi|" + m.key).Uint64, ClientCA: ca.cert,
		Version: cfg.cluster.KubernetesVersion, ServiceCIDR: c.serviceCIDR(), Logger: m.owner.log,
	})
	if err != nil {
		return nil, fmt.Errorf("start API server: %w", err)
	}
	c.store = c.api.Store()
	c.store.OnChange(func(kubeapi.Change) { c.kick() })
	return c, nil
}

func (c *cluster) serviceCIDR() string {
	if s := firstSubnet(c.config.Networking.ServiceSubnet); s != "" {
		return s
	}
	return kubeapi.DefaultServiceCIDR
}

func (c *cluster) dnsDomain() string {
	return cmp.Or(c.config.Networking.DNSDomain, "cluster.local")
}

// addCluster makes a cluster findable by its CA.
func (ms *Machines) addCluster(c *cluster) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.clusters[c.id] = c
}

// clusterOf finds the cluster of a CA, or nil.
func (ms *Machines) clusterOf(ca *authority) *cluster {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.clusters[ca.fingerprint()]
}

// clusterAt finds the cluster whose API server answers on a machine, or nil.
func (ms *Machines) clusterAt(id string) *cluster {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m, ok := ms.machines[strings.ToLower(id)]
	if !ok || !m.running || !m.apiUp {
		return nil
	}
	return m.cluster
}

// members returns the machines that registered a node, by node name.
func (c *cluster) members() map[string]*machine {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	out := maps.Clone(c.former)
	for _, m := range c.owner.machines {
		if m.cluster == c && m.node != "" {
			out[m.node] = m
		}
	}
	return out
}

// up says whether any control plane serves the API.
func (c *cluster) up() bool {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	if c.gone {
		return false
	}
	for _, m := range c.owner.machines {
		if m.cluster == c && m.running && m.apiUp {
			return true
		}
	}
	return false
}

// takeLearner makes a machine the one etcd learner, unless there is another.
func (c *cluster) takeLearner(m *machine) bool {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	if c.learner != nil && c.learner != m {
		return false
	}
	c.learner = m
	return true
}

func (c *cluster) releaseLearner(m *machine) {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	if c.learner == m {
		c.learner = nil
	}
}

// machineStopped lets the control plane notice in its own time.
func (c *cluster) machineStopped(m *machine) {
	c.releaseLearner(m)
	c.env.After(silence, func() {
		m.update(func() { m.lost = !m.running })
		c.kick()
	})
}

// cloudNoticed is how long the cloud controller manager takes to see that a machine is gone.
const cloudNoticed = 20 * time.Second

// machineForgotten lets the cloud controller manager, if there is one, remove the node of a machine that is gone.
func (c *cluster) machineForgotten(m *machine) {
	node := ""
	m.update(func() {
		if node = m.node; node != "" {
			c.former[node] = m
		}
	})
	if node == "" {
		return
	}
	c.env.After(cloudNoticed, func() {
		if !c.up() || !c.cloudControllerRuns() {
			return
		}
		// A node that is gone already is no concern.
		_ = c.store.Delete(kubeapi.Nodes, "", node)
	})
}

// kick runs the controllers soon. It may be called from any goroutine.
func (c *cluster) kick() {
	if c.queued.CompareAndSwap(false, true) {
		c.env.After(syncDelay, c.sync)
	}
}

// sync is one round of all controllers. Every controller is level-triggered: it looks at the state, and what it writes
// leads to the next round.
func (c *cluster) sync() {
	c.queued.Store(false)
	if !c.up() {
		return
	}
	w := &world{cluster: c, members: c.members()}
	w.read()
	w.syncNamespaces()
	w.syncTokens()
	w.syncNodes()
	w.syncDaemonSets()
	w.syncDeployments()
	w.syncReplicaSets()
	w.syncStatefulSets()
	w.syncJobs()
	w.schedule()
	w.syncKubelets()
	for u := range c.views {
		if !c.used[u] {
			delete(c.views, u)
		}
	}
	clear(c.used)
}

// once runs fn after d, unless the same thing is under way already. A cluster without an API server forgets its
// timers: the round after its return sets them again.
func (c *cluster) once(key string, d time.Duration, fn func()) {
	if c.timers[key] {
		return
	}
	c.timers[key] = true
	c.env.After(d, func() {
		delete(c.timers, key)
		if c.up() {
			fn()
		}
	})
}

// draw takes a time from a stream of its own.
func (c *cluster) draw(name string, s span) time.Duration {
	return s.draw(c.env.Rand("model|" + name))
}

// write stores an object. A conflict or a refusal is left to the next round, which sees the new state. An object that is
// as it was read, at the revision that is stored, is not written: most of a round changes nothing.
func (c *cluster) write(gr schema.GroupResource, obj client) {
	if u, ok := c.store.Get(gr, obj.GetNamespace(), obj.GetName()); ok {
		if was, ok := c.views[u]; ok && equality.Semantic.DeepEqual(was, obj) {
			return
		}
	}
	c.replace(gr, obj)
}

// replace stores an object that has changed, as write does.
func (c *cluster) replace(gr schema.GroupResource, obj client) {
	_, _ = c.store.Update(gr, obj)
}

// same compares what a controller is about to write with what is there.
func same[T any](have, want T) bool { return equality.Semantic.DeepEqual(have, want) }

// client is an object as a controller's client has it.
type client interface {
	runtime.Object
	metav1.Object
}

// checkToken is the bootstrap token authenticator.
func (c *cluster) checkToken(token string) error {
	id, secret, _ := strings.Cut(token, ".")
	u, ok := c.store.Get(kubeapi.Secrets, "kube-system", tokenSecretPrefix+id)
	if !ok {
		return errors.New("Unauthorized: the token does not exist")
	}
	t, err := readToken(u)
	switch {
	case err != nil:
		return err
	case t.secret != secret || !t.authentication:
		return errors.New("Unauthorized: the token is not valid for authentication")
	case kubeapi.TokenExpired(u, c.env.Outside()):
		return errors.New("Unauthorized: the token has expired")
	case !slices.Contains(t.groups, defaultTokenGroup):
		return errors.New("the token's groups may not request a kubelet's certificate")
	}
	return nil
}

// view reads a stored object as a Go type, once per revision. The result is shared and must not be modified.
func view[T any](c *cluster, u *unstructured.Unstructured) (*T, bool) {
	c.used[u] = true
	if v, ok := c.views[u]; ok {
		t, ok := v.(*T)
		return t, ok
	}
	t, err := kubeapi.As[T](u)
	if err != nil {
		return nil, false
	}
	c.views[u] = t
	return t, true
}

// list reads all objects of a group-resource.
func list[T any](c *cluster, gr schema.GroupResource) []*T {
	var out []*T
	for _, u := range c.store.List(gr, "") {
		if t, ok := view[T](c, u); ok {
			out = append(out, t)
		}
	}
	return out
}
