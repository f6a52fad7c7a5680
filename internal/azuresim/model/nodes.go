// SPDX-License-Identifier: Apache-2.0

package model

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

// podNetBits is the size of a node's share of the pod subnet (kube-controller-manager's default).
const podNetBits = 24

// nodeManagerName marks the Azure cloud node manager.
const nodeManagerName = "cloud-node-manager"

// initialiseSpan is how long the cloud node manager needs for a node, in seconds.
var initialiseSpan = span{1, 3}

func nodeCondition(n *corev1.Node, kind corev1.NodeConditionType) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

func hasTaint(n *corev1.Node, key string) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == key })
}

// flags are the parts of a machine that controllers look at.
type flags struct{ kubelet, lost, cni bool }

func (m *machine) flags() flags {
	m.owner.mu.Lock()
	defer m.owner.mu.Unlock()
	return flags{kubelet: m.kubelet, lost: m.lost, cni: m.cni}
}

// syncNodes keeps conditions, condition taints and pod networks, and lets the cloud node manager work.
func (w *world) syncNodes() {
	for _, shared := range w.nodes {
		m, ok := w.members[shared.Name]
		if !ok {
			continue
		}
		f := m.flags()
		n := shared.DeepCopy()
		switch {
		case f.kubelet:
			w.kubeletStatus(n, f)
		case f.lost:
			w.silentStatus(n)
		}
		setConditionTaints(n)
		w.allocatePodNet(n)
		w.write(kubeapi.Nodes, n)
		if f.kubelet && hasTaint(shared, taintUninitialized) && w.runsNodeManager(shared.Name) {
			name := shared.Name
			w.once("initialise/"+name, w.draw("initialise|"+name, initialiseSpan), func() { w.initialise(name, m) })
		}
	}
}

// kubeletStatus is what a living kubelet reports: Ready as soon as the container network is there.
func (w *world) kubeletStatus(n *corev1.Node, f flags) {
	for _, c := range []struct {
		kind            corev1.NodeConditionType
		reason, message string
	}{
		{corev1.NodeMemoryPressure, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"},
		{corev1.NodeDiskPressure, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
		{corev1.NodePIDPressure, "KubeletHasSufficientPID", "kubelet has sufficient PID available"},
	} {
		w.setCondition(n, c.kind, corev1.ConditionFalse, c.reason, c.message)
	}
	if f.cni {
		w.setCondition(n, corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status")
		return
	}
	w.setCondition(n, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady",
		"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized")
}

// silentStatus is what the node controller writes about a kubelet that it has not heard of for a while.
func (w *world) silentStatus(n *corev1.Node) {
	for i := range n.Status.Conditions {
		w.setCondition(n, n.Status.Conditions[i].Type, corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status.")
	}
}

func (w *world) setCondition(n *corev1.Node, kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) {
	for i := range n.Status.Conditions {
		c := &n.Status.Conditions[i]
		if c.Type != kind {
			continue
		}
		if c.Status != status {
			c.LastTransitionTime, c.LastHeartbeatTime = w.now(), w.now()
		}
		c.Status, c.Reason, c.Message = status, reason, message
		return
	}
	n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{
		Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: w.now(), LastHeartbeatTime: w.now(),
	})
}

// setConditionTaints makes the not-ready and unreachable taints follow the Ready condition.
func setConditionTaints(n *corev1.Node) {
	want := ""
	switch nodeCondition(n, corev1.NodeReady) {
	case corev1.ConditionTrue:
	case corev1.ConditionUnknown:
		want = corev1.TaintNodeUnreachable
	default:
		want = corev1.TaintNodeNotReady
	}
	kept := slices.DeleteFunc(slices.Clone(n.Spec.Taints), func(t corev1.Taint) bool {
		return (t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable) && t.Key != want
	})
	if want != "" {
		for _, effect := range []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute} {
			have := slices.ContainsFunc(kept, func(t corev1.Taint) bool { return t.Key == want && t.Effect == effect })
			if !have {
				kept = append(kept, corev1.Taint{Key: want, Effect: effect})
			}
		}
	}
	n.Spec.Taints = kept
}

// allocatePodNet gives a node its part of the pod subnet when the controller manager is told to: kubeadm does that
// when there is a podSubnet, unless the extra arguments say otherwise.
func (w *world) allocatePodNet(n *corev1.Node) {
	on, set := w.config.ControllerManager.ExtraArgs.value("allocate-node-cidrs")
	p, err := netip.ParsePrefix(firstSubnet(w.config.Networking.PodSubnet))
	if n.Spec.PodCIDR != "" || set && on != "true" || err != nil || !p.Addr().Is4() || p.Bits() > podNetBits {
		return
	}
	raw := p.Masked().Addr().As4()
	third := w.podNets + int(raw[2])
	w.podNets++
	raw[2] = byte(third)
	raw[1] += byte(third >> 8)
	share := netip.PrefixFrom(netip.AddrFrom4(raw), podNetBits)
	if p.Contains(share.Addr()) {
		n.Spec.PodCIDR, n.Spec.PodCIDRs = share.String(), []string{share.String()}
	}
}

// runsNodeManager says whether a pod of the Azure cloud node manager runs on a node.
func (w *world) runsNodeManager(node string) bool {
	return slices.ContainsFunc(w.byNode[node], func(p *corev1.Pod) bool {
		return podReady(p) && hasContainer(p, nodeManagerName)
	})
}

func hasContainer(p *corev1.Pod, what string) bool {
	return slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool {
		return strings.Contains(c.Image, what) || strings.Contains(c.Name, what)
	})
}

// cloudControllerRuns says whether the Azure cloud controller manager is ready.
func (c *cluster) cloudControllerRuns() bool {
	for _, u := range c.store.List(kubeapi.Pods, "") {
		if p, err := kubeapi.As[corev1.Pod](u); err == nil && podReady(p) && hasContainer(p, "cloud-controller-manager") {
			return true
		}
	}
	return false
}

// initialise is the cloud node manager's work on one node (cloud-provider-azure, pkg/nodemanager).
func (w *world) initialise(name string, m *machine) {
	u, ok := w.store.Get(kubeapi.Nodes, "", name)
	if !ok {
		return
	}
	n, err := kubeapi.As[corev1.Node](u)
	if err != nil {
		return
	}
	if n.Spec.ProviderID == "" {
		n.Spec.ProviderID = "azure://" + m.ID
	}
	n.Spec.Taints = slices.DeleteFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == taintUninitialized })
	n.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: m.PrivateIP}, {Type: corev1.NodeHostName, Address: n.Name},
	}
	zone := "0" // the fault domain of a machine outside zones
	if m.Zone != "" {
		zone = strings.ToLower(m.Location) + "-" + m.Zone
	}
	maps.Copy(n.Labels, map[string]string{
		corev1.LabelTopologyZone: zone, corev1.LabelTopologyRegion: strings.ToLower(m.Location), corev1.LabelInstanceTypeStable: m.Size,
		corev1.LabelFailureDomainBetaZone: zone, corev1.LabelFailureDomainBetaRegion: strings.ToLower(m.Location), corev1.LabelInstanceType: m.Size,
	})
	w.write(kubeapi.Nodes, n)
}
