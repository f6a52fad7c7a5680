// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

// Phases are what the seed drew for one machine that joined: how long each part of its way to a Ready node takes,
// whenever it begins. Parts that its role does not have are drawn all the same.
type Phases struct {
	Final       time.Duration // provisioning report to the final stage of cloud-init
	Install     time.Duration // 0 where the image has Kubernetes in it
	Prepare     time.Duration // init: until the static pods start
	APIHealthy  time.Duration // init: until kube-apiserver is healthy
	Upload      time.Duration // init: from the Node to cluster-info
	JoinPrepare time.Duration // join as control plane: until it asks etcd
	Learner     time.Duration // join as control plane: one machine at a time
	JoinHealthy time.Duration // join as control plane: until its kube-apiserver is healthy
	Join        time.Duration // join as worker, after discovery
	Register    time.Duration // kubelet start to its Node
	NodeManager time.Duration // start of the cloud node manager's pod
	Initialise  time.Duration // the cloud node manager's work
	Network     time.Duration // start of the container network's pod, after which the node is Ready
}

// PhasesOf is false for a machine that no cluster has as a node.
func (ms *Machines) PhasesOf(env azuresim.Env, id string) (Phases, bool) {
	ms.mu.Lock()
	m, ok := ms.machines[strings.ToLower(id)]
	if !ok || m.cluster == nil || m.node == "" {
		ms.mu.Unlock()
		return Phases{}, false
	}
	c, node, image := m.cluster, m.node, m.Image
	ms.mu.Unlock()
	t := drawTiming(env, strings.ToLower(id))
	p := Phases{
		Final: t.final, Prepare: t.prepare, APIHealthy: t.apiHealthy, Upload: t.upload, JoinPrepare: t.joinPrepare, Learner: t.learner,
		JoinHealthy: t.joinHealthy, Join: t.join, Register: t.register, Initialise: c.draw("initialise|"+node, initialiseSpan),
	}
	if stock(image) {
		p.Install = t.install
	}
	for _, u := range c.store.List(kubeapi.Pods, "") {
		pod, err := kubeapi.As[corev1.Pod](u)
		if err != nil || pod.Spec.NodeName != node {
			continue
		}
		switch {
		case hasContainer(pod, nodeManagerName):
			p.NodeManager = max(p.NodeManager, c.startTime(pod, node, nil))
		case installsNetwork(pod):
			p.Network = max(p.Network, c.startTime(pod, node, nil))
		}
	}
	return p, true
}

// startTime draws how long a pod takes to start on a node: the pull of its slowest image that is not there yet.
func (c *cluster) startTime(p *corev1.Pod, node string, pulled map[string]bool) time.Duration {
	longest := c.draw("start|"+node+"|"+cmp.Or(p.GenerateName, p.Name), pullCached)
	for _, ctr := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		key := node + "|" + ctr.Image
		if pulled[key] || strings.HasPrefix(ctr.Image, "registry.k8s.io/kube-") || strings.HasPrefix(ctr.Image, "registry.k8s.io/etcd:") ||
			strings.HasPrefix(ctr.Image, "registry.k8s.io/coredns/") {
			continue
		}
		pull := pullAny
		if installsNetwork(p) {
			pull = pullNetwork
		}
		longest = max(longest, c.draw("pull|"+key, pull))
	}
	return longest
}
