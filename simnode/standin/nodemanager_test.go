// SPDX-License-Identifier: Apache-2.0

package standin_test

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/lazuli-dev/lazuli/simnode/standin"
)

func TestInitialised(t *testing.T) {
	t.Parallel()
	var m standin.Metadata
	if err := json.Unmarshal([]byte(`{"compute":{"location":"WestEurope","zone":"2","vmSize":"Standard_D4s_v3","resourceId":"/subscriptions/1/vm"},
		"network":{"interface":[{"ipv4":{"ipAddress":[{"privateIpAddress":"10.0.1.4"}]}}]}}`), &m); err != nil {
		t.Fatal(err)
	}
	node := &corev1.Node{}
	node.Spec.Taints = []corev1.Taint{
		{Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: corev1.TaintEffectNoSchedule},
		{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule},
	}
	if !standin.Initialised(node, m) {
		t.Error("a new node was not changed")
	}
	if len(node.Spec.Taints) != 1 || node.Spec.Taints[0].Key != "node-role.kubernetes.io/control-plane" {
		t.Errorf("taints %v: only the cloud provider's may go", node.Spec.Taints)
	}
	for name, want := range map[string]string{
		"node.kubernetes.io/instance-type": "Standard_D4s_v3",
		"topology.kubernetes.io/region":    "westeurope",
		"topology.kubernetes.io/zone":      "westeurope-2",
	} {
		if got := node.Labels[name]; got != want {
			t.Errorf("label %s is %q, want %q", name, got, want)
		}
	}
	if node.Spec.ProviderID != "azure:///subscriptions/1/vm" || m.Address() != "10.0.1.4" {
		t.Errorf("provider id %q, address %q", node.Spec.ProviderID, m.Address())
	}
	if standin.Initialised(node, m) {
		t.Error("the second time changes nothing")
	}
	if standin.Initialised(node, standin.Metadata{}) {
		t.Error("no metadata changes nothing")
	}
}
