// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

// cniDir is where a container network's configuration is installed.
const cniDir = "/etc/cni/net.d"

// Times of a kubelet, in seconds.
var (
	pullNetwork = span{10, 40} // image and start of a container network's pod
	pullAny     = span{4, 15}  // another image
	pullCached  = span{0.5, 2} // an image that is there
	finishJob   = span{2, 8}   // a job's work
	killPod     = span{0.5, 2} // a pod that is told to end
)

// evictAfter is the default tolerationSeconds for nodes that are not ready or unreachable.
const evictAfter = 300 * time.Second

// orphanAfter is how long the pod garbage collector leaves pods of a node that is gone.
const orphanAfter = 20 * time.Second

// deletePod deletes as a controller would: with the pod's grace when its kubelet has to end it.
func (c *cluster) deletePod(p *corev1.Pod) {
	if p.Spec.NodeName == "" {
		c.killPod(p)
		return
	}
	if err := c.store.DeleteGracefully(kubeapi.Pods, p.Namespace, p.Name); err != nil {
		c.owner.log.Debug("delete pod", "pod", p.Namespace+"/"+p.Name, "error", err)
	}
}

// killPod takes a pod out at once.
func (c *cluster) killPod(p *corev1.Pod) {
	u, ok := c.store.Get(kubeapi.Pods, p.Namespace, p.Name)
	if !ok || u.GetUID() != p.UID {
		return
	}
	if err := c.store.Delete(kubeapi.Pods, p.Namespace, p.Name); err != nil {
		c.owner.log.Debug("kill pod", "pod", p.Namespace+"/"+p.Name, "error", err)
	}
}

// schedule puts pods without a node on the admitting node that has the fewest.
func (w *world) schedule() {
	load := map[string]int{}
	for name, pods := range w.byNode {
		load[name] = len(pods)
	}
	for _, shared := range w.pods {
		if shared.Spec.NodeName != "" || shared.DeletionTimestamp != nil || len(shared.Spec.SchedulingGates) > 0 {
			continue
		}
		var best *corev1.Node
		for _, n := range w.nodes {
			if n.DeletionTimestamp == nil && admits(n, &shared.Spec, nil) && load[n.Name] < maxPods &&
				(best == nil || load[n.Name] < load[best.Name]) {
				best = n
			}
		}
		why := fmt.Sprintf("0/%d nodes are available: none admits the pod (taints, node selector, node affinity).", len(w.nodes))
		if best == nil && unscheduled(shared, why) {
			continue
		}
		p := shared.DeepCopy()
		if best == nil {
			w.podCondition(p, corev1.PodScheduled, corev1.ConditionFalse, corev1.PodReasonUnschedulable, why)
		} else {
			p.Spec.NodeName = best.Name
			load[best.Name]++
			w.podCondition(p, corev1.PodScheduled, corev1.ConditionTrue, "", "")
		}
		w.replace(kubeapi.Pods, p)
	}
}

// unscheduled says whether a pod says already why it has no node.
func unscheduled(p *corev1.Pod, why string) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable && c.Message == why
	})
}

func (w *world) podCondition(p *corev1.Pod, kind corev1.PodConditionType, status corev1.ConditionStatus, reason, message string) {
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		if c.Type == kind {
			if c.Status != status {
				c.LastTransitionTime = w.now()
			}
			c.Status, c.Reason, c.Message = status, reason, message
			return
		}
	}
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
		Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: w.now(),
	})
}

// syncKubelets does every kubelet's work, and the node controller's for kubelets that are silent.
func (w *world) syncKubelets() {
	nodes := map[string]*corev1.Node{}
	for _, n := range w.nodes {
		nodes[n.Name] = n
	}
	for _, p := range w.pods {
		node, m := nodes[p.Spec.NodeName], w.members[p.Spec.NodeName]
		switch {
		case p.Spec.NodeName == "":
		case node == nil:
			w.once("orphan/"+string(p.UID), orphanAfter, func() {
				if _, ok := w.store.Get(kubeapi.Nodes, "", p.Spec.NodeName); !ok {
					w.killPod(p)
				}
			})
		case m == nil:
		case m.flags().kubelet:
			w.runPod(p, node, m)
		case m.flags().lost:
			w.silentPod(p)
		}
	}
}

// silentPod is the node controller's treatment of a pod whose kubelet is silent: not ready now, evicted later.
func (w *world) silentPod(p *corev1.Pod) {
	if podReady(p) {
		next := p.DeepCopy()
		w.podCondition(next, corev1.PodReady, corev1.ConditionFalse, "NodeNotReady", "")
		w.replace(kubeapi.Pods, next)
	}
	unreachable := corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute}
	if p.DeletionTimestamp != nil || untolerated([]corev1.Taint{unreachable}, p.Spec.Tolerations, corev1.TaintEffectNoExecute) == nil {
		return
	}
	w.once("evict/"+string(p.UID), evictAfter, func() {
		if m := w.members[p.Spec.NodeName]; m.flags().lost {
			w.deletePod(p)
		}
	})
}

// runPod brings one pod a step further.
func (w *world) runPod(p *corev1.Pod, node *corev1.Node, m *machine) {
	id := string(p.UID)
	switch {
	case p.DeletionTimestamp != nil:
		w.once("kill/"+id, w.draw("kill|"+node.Name+"|"+p.Name, killPod), func() { w.killPod(p) })
	case p.Status.Phase == corev1.PodPending:
		if w.blocked(p, node, m) {
			return
		}
		w.once("start/"+id, w.startTime(p, node.Name, w.pulled), func() { w.started(p, m) })
	case p.Status.Phase == corev1.PodRunning && !podReady(p):
		next := p.DeepCopy()
		w.setReady(next)
		w.replace(kubeapi.Pods, next)
	case p.Status.Phase == corev1.PodRunning && ownerKind(p) == "Job":
		w.once("finish/"+id, w.draw("finish|"+node.Name+"|"+p.Labels["batch.kubernetes.io/job-name"], finishJob), func() { w.finished(p) })
	}
}

func ownerKind(p *corev1.Pod) string {
	if o := metav1.GetControllerOf(p); o != nil {
		return o.Kind
	}
	return ""
}

// installsNetwork says whether a pod installs a container network.
func installsNetwork(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
		return v.HostPath != nil && strings.TrimRight(v.HostPath.Path, "/") == cniDir
	})
}

// blocked says whether a pod has to wait for something: the node's initialisation (a container network), the
// container network (every pod that is not on the host's), or a Secret or ConfigMap that it mounts.
func (w *world) blocked(p *corev1.Pod, node *corev1.Node, m *machine) bool {
	if installsNetwork(p) && hasTaint(node, taintUninitialized) {
		return true
	}
	if !p.Spec.HostNetwork && !m.flags().cni {
		return true
	}
	for _, v := range p.Spec.Volumes {
		switch {
		case v.Secret != nil && (v.Secret.Optional == nil || !*v.Secret.Optional):
			if _, ok := w.store.Get(kubeapi.Secrets, p.Namespace, v.Secret.SecretName); !ok {
				return true
			}
		case v.ConfigMap != nil && (v.ConfigMap.Optional == nil || !*v.ConfigMap.Optional):
			if _, ok := w.store.Get(kubeapi.ConfigMaps, p.Namespace, v.ConfigMap.Name); !ok {
				return true
			}
		}
	}
	return false
}

// started makes a pod run, unless it has gone or its kubelet has.
func (w *world) started(p *corev1.Pod, m *machine) {
	u, ok := w.store.Get(kubeapi.Pods, p.Namespace, p.Name)
	if !ok || u.GetUID() != p.UID || u.GetDeletionTimestamp() != nil || !m.flags().kubelet {
		return
	}
	next, err := kubeapi.As[corev1.Pod](u)
	if err != nil || next.Status.Phase != corev1.PodPending {
		return
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		w.pulled[m.node+"|"+c.Image] = true
	}
	now := w.now()
	next.Status.Phase = corev1.PodRunning
	next.Status.StartTime = &now
	next.Status.HostIP = m.PrivateIP
	next.Status.PodIP = m.PrivateIP
	if !next.Spec.HostNetwork {
		next.Status.PodIP = w.podIP(m)
	}
	next.Status.PodIPs = []corev1.PodIP{{IP: next.Status.PodIP}}
	for _, c := range next.Spec.InitContainers {
		next.Status.InitContainerStatuses = append(next.Status.InitContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: c.Image, Ready: true,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: now, FinishedAt: now}},
		})
	}
	started := true
	for _, c := range next.Spec.Containers {
		next.Status.ContainerStatuses = append(next.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: c.Image, Ready: true, Started: &started,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	w.setReady(next)
	w.replace(kubeapi.Pods, next)
	if installsNetwork(p) {
		m.update(func() { m.cni = true })
		w.kick()
	}
}

func (w *world) setReady(p *corev1.Pod) {
	for _, kind := range []corev1.PodConditionType{
		corev1.PodScheduled, corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady,
	} {
		w.podCondition(p, kind, corev1.ConditionTrue, "", "")
	}
}

// podIP takes the next address of a node's share of the pod subnet; container networks with an address management of
// their own take it from the whole subnet, which is told apart by nobody here.
func (w *world) podIP(m *machine) string {
	cidr := firstSubnet(w.config.Networking.PodSubnet)
	if u, ok := w.store.Get(kubeapi.Nodes, "", m.node); ok {
		if n, err := kubeapi.As[corev1.Node](u); err == nil && n.Spec.PodCIDR != "" {
			cidr = n.Spec.PodCIDR
		}
	}
	if cidr == "" {
		cidr = "10.244.0.0/16"
	}
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return ""
	}
	w.nextPod[cidr]++
	a := p.Masked().Addr()
	for range w.nextPod[cidr] + 1 {
		a = a.Next()
	}
	return a.String()
}

// finished ends a job's pod well.
func (w *world) finished(p *corev1.Pod) {
	u, ok := w.store.Get(kubeapi.Pods, p.Namespace, p.Name)
	if !ok || u.GetUID() != p.UID {
		return
	}
	next, err := kubeapi.As[corev1.Pod](u)
	if err != nil {
		return
	}
	now := w.now()
	next.Status.Phase = corev1.PodSucceeded
	w.podCondition(next, corev1.PodReady, corev1.ConditionFalse, "PodCompleted", "")
	w.podCondition(next, corev1.ContainersReady, corev1.ConditionFalse, "PodCompleted", "")
	for i := range next.Status.ContainerStatuses {
		s := &next.Status.ContainerStatuses[i]
		s.Ready = false
		s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", FinishedAt: now}}
	}
	w.replace(kubeapi.Pods, next)
}
