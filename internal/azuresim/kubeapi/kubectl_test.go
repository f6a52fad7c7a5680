// SPDX-License-Identifier: Apache-2.0

package kubeapi_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

func node(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}},
		Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.4"}},
			NodeInfo:   corev1.NodeSystemInfo{KubeletVersion: "v1.36.2", OSImage: "Ubuntu 24.04.3 LTS"},
		},
	}
}

func TestKubectl(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	k := newKubectl(t, s)
	if _, err := s.Store().Create(kubeapi.Nodes, node("cp-1")); err != nil {
		t.Fatal(err)
	}
	out := k.run(t, true, "", "get", "nodes", "-o", "wide")
	t.Log(out)
	for _, want := range []string{"NAME", "STATUS", "ROLES", "cp-1", "Ready", "control-plane", "v1.36.2", "10.0.0.4", "Ubuntu 24.04.3 LTS"} {
		if !strings.Contains(out, want) {
			t.Errorf("get nodes does not show %q:\n%s", want, out)
		}
	}
	t.Log(k.run(t, true, "", "describe", "node", "cp-1"))
	t.Log(k.run(t, true, "", "api-resources"))
	t.Log(k.run(t, true, "", "version"))
}
