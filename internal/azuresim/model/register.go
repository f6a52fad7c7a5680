// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"maps"
	"regexp"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

const (
	labelControlPlane  = "node-role.kubernetes.io/control-plane"
	labelExcludeFromLB = "node.kubernetes.io/exclude-from-external-load-balancers"
	taintUninitialized = "node.cloudprovider.kubernetes.io/uninitialized"
	// maxPods is the kubelet's default.
	maxPods = 110
)

// armSize matches the sizes with an arm64 processor: a "p" among the letters after the number of cores.
var armSize = regexp.MustCompile(`^(?i:standard)_[A-Z]+\d+(?:-\d+)?[a-z]*p[a-z]*_`)

func arch(size string) string {
	if armSize.MatchString(size) {
		return "arm64"
	}
	return "amd64"
}

// register starts the kubelet and creates the Node with what the kubelet and kubeadm give it.
func (m *machine) register(n *nodeRegistration, extra map[string]string) error {
	c := m.cluster
	a := arch(m.Size)
	labels := map[string]string{
		corev1.LabelOSStable: "linux", corev1.LabelArchStable: a, corev1.LabelHostname: n.Name,
		"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": a,
	}
	maps.Copy(labels, extra)
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: labels, Annotations: map[string]string{
			"volumes.kubernetes.io/controller-managed-attach-detach": "true",
		}},
		Spec: corev1.NodeSpec{Taints: m.initialTaints(n)},
		Status: corev1.NodeStatus{
			Capacity:    m.resources(0),
			Allocatable: m.resources(reservedMemoryGB),
			Addresses:   []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: n.Name}},
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion: c.config.KubernetesVersion, OSImage: "Ubuntu 24.04.3 LTS", OperatingSystem: "linux", Architecture: a,
				KernelVersion: "6.14.0-1017-azure", ContainerRuntimeVersion: "containerd://2.2.1", MachineID: m.key[max(0, len(m.key)-32):],
			},
		},
	}
	if m.controlPlane {
		node.Labels[labelControlPlane] = ""
		node.Labels[labelExcludeFromLB] = ""
	}
	node.Spec.ProviderID, _ = n.KubeletExtraArgs.value("provider-id")
	if !external(n) {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: m.PrivateIP})
	}
	if u, ok := c.store.Get(kubeapi.Nodes, "", n.Name); ok {
		// A node that joins again finds its old object and keeps it.
		m.update(func() { m.node = u.GetName() })
	} else {
		if _, err := c.store.Create(kubeapi.Nodes, node); err != nil {
			return fmt.Errorf("register node: %w", err)
		}
		m.update(func() { m.node = n.Name })
	}
	m.startKubelet()
	if m.controlPlane {
		if err := c.installKubernetesService(); err != nil {
			return err
		}
		if err := m.mirrorPods(); err != nil {
			return err
		}
	}
	return m.createLease()
}

// createLease makes the node's lease. It is not renewed: heartbeats would be most of what a watcher sees.
func (m *machine) createLease() error {
	now := metav1.NewMicroTime(m.env.Now())
	seconds := int32(silence.Seconds())
	holder := m.node
	return m.cluster.put(kubeapi.Leases, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: m.node},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now},
	})
}

func external(n *nodeRegistration) bool {
	v, _ := n.KubeletExtraArgs.value("cloud-provider")
	return v == "external"
}

// initialTaints are those of kubeadm, of the kubelet with an external cloud provider, and of admission, since a new
// node is not ready.
func (m *machine) initialTaints(n *nodeRegistration) []corev1.Taint {
	var out []corev1.Taint
	switch {
	case n.Taints != nil:
		for _, t := range *n.Taints {
			out = append(out, corev1.Taint{Key: t.Key, Value: t.Value, Effect: corev1.TaintEffect(t.Effect)})
		}
	case m.controlPlane:
		out = append(out, corev1.Taint{Key: labelControlPlane, Effect: corev1.TaintEffectNoSchedule})
	}
	if external(n) {
		out = append(out, corev1.Taint{Key: taintUninitialized, Value: "true", Effect: corev1.TaintEffectNoSchedule})
	}
	return append(out, corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule})
}

// reservedMemoryGB is what the kubelet's defaults keep from pods, rounded.
const reservedMemoryGB = 0.1

func (m *machine) resources(reservedGB float64) corev1.ResourceList {
	const bytesPerGB = 1 << 30
	return corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(m.VCPUs), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(int64(max(0, m.MemoryGB-reservedGB)*bytesPerGB), resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(maxPods, resource.DecimalSI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(29*bytesPerGB, resource.BinarySI),
	}
}

// mirrorPods shows the static pods of a control plane.
func (m *machine) mirrorPods() error {
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: systemNamespace, Name: name + "-" + m.node,
				Labels:      map[string]string{"component": name, "tier": "control-plane"},
				Annotations: map[string]string{corev1.MirrorPodAnnotationKey: name, "kubernetes.io/config.source": "file"},
			},
			Spec: corev1.PodSpec{
				NodeName: m.node, HostNetwork: true, PriorityClassName: "system-node-critical",
				Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
				Containers:  []corev1.Container{{Name: name, Image: "registry.k8s.io/" + name + ":" + m.cluster.config.KubernetesVersion}},
			},
		}
		if name == "etcd" {
			pod.Annotations["kubeadm.kubernetes.io/etcd.advertise-client-urls"] = "https://" + m.PrivateIP + ":2379"
			pod.Spec.Containers[0].Image = "registry.k8s.io/etcd:3.6.8-0"
		}
		if err := m.cluster.put(kubeapi.Pods, pod); err != nil {
			return err
		}
	}
	return nil
}
