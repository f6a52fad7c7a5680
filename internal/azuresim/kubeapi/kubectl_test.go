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
	for _, want := range []string{"NAME", "STATUS", "ROLES", "cp-1", "Ready", "control-plane", "v1.36.2", "10.0.0.4", "Ubuntu 24.04.3 LTS"} {
		if !strings.Contains(out, want) {
			t.Errorf("get nodes does not show %q:\n%s", want, out)
		}
	}
	out = k.run(t, true, "", "describe", "node", "cp-1")
	if !strings.Contains(out, "Roles:              control-plane") || !strings.Contains(out, "Events:") {
		t.Errorf("describe node:\n%s", out)
	}
	k.run(t, true, "", "label", "node", "cp-1", "pool=a")
	k.run(t, true, "", "taint", "node", "cp-1", "a=b:NoSchedule")
	k.run(t, true, "", "cordon", "cp-1")
	if out = k.run(t, true, "", "get", "nodes", "-l", "pool=a"); !strings.Contains(out, "Ready,SchedulingDisabled") {
		t.Errorf("get nodes after cordon:\n%s", out)
	}
}

const stack = `
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: agent, namespace: demo}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: demo}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers:
      - name: agent
        image: example.org/agent:1
        ports: [{containerPort: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: agent, namespace: demo}
spec:
  selector: {app: agent}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Secret
metadata: {name: word, namespace: demo}
stringData: {word: test}
`

func TestKubectlApply(t *testing.T) {
	t.Parallel()
	k := newKubectl(t, newServer(t))
	out := k.run(t, true, stack, "apply", "--server-side", "--field-manager=first", "-f", "-")
	if n := strings.Count(out, "serverside-applied"); n != 5 {
		t.Fatalf("applied %d objects, want 5:\n%s", n, out)
	}
	before := k.run(t, true, "", "get", "-n", "demo", "ds,svc,secret,sa", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
	k.run(t, true, stack, "apply", "--server-side", "--field-manager=first", "-f", "-")
	after := k.run(t, true, "", "get", "-n", "demo", "ds,svc,secret,sa", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
	if before != after {
		t.Errorf("an apply of the same text changed revisions: %s, then %s", before, after)
	}

	changed := strings.Replace(stack, "agent:1", "agent:2", 1)
	out = k.run(t, false, changed, "apply", "--server-side", "--field-manager=second", "-f", "-")
	if !strings.Contains(out, `conflict with "first"`) || !strings.Contains(out, `.spec.template.spec.containers[name="agent"].image`) {
		t.Errorf("the conflict names neither owner nor field:\n%s", out)
	}
	k.run(t, true, changed, "apply", "--server-side", "--force-conflicts", "--field-manager=second", "-f", "-")
	if out = k.run(t, true, "", "get", "ds", "-n", "demo", "-o", "wide"); !strings.Contains(out, "example.org/agent:2") {
		t.Errorf("forced apply did not win:\n%s", out)
	}
	if out = k.run(t, false, strings.Replace(stack, "image:", "imaje:", 1), "apply", "--server-side", "-f", "-"); !strings.Contains(out, "imaje") {
		t.Errorf("an unknown field is not named:\n%s", out)
	}

	k.run(t, true, strings.ReplaceAll(stack, "demo", "other"), "apply", "-f", "-")
	k.run(t, true, strings.ReplaceAll(changed, "demo", "other"), "apply", "-f", "-")
	if out = k.run(t, true, "", "get", "ds", "-n", "other", "-o", "wide"); !strings.Contains(out, "example.org/agent:2") {
		t.Errorf("client-side apply:\n%s", out)
	}
	k.run(t, true, changed, "diff", "--server-side", "--field-manager=second", "-f", "-")
	k.run(t, true, "", "delete", "namespace", "demo", "other", "--timeout=10s")
	if out = k.run(t, true, "", "get", "ds", "-A"); !strings.Contains(out, "No resources found") {
		t.Errorf("deleted namespaces left daemon sets:\n%s", out)
	}
}

const widgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  names: {kind: Widget, plural: widgets, singular: widget, shortNames: [wd]}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

const widget = `
apiVersion: example.org/v1
kind: Widget
metadata: {name: w, namespace: default}
spec: {size: 3}
`

func TestKubectlCustomResources(t *testing.T) {
	t.Parallel()
	k := newKubectl(t, newServer(t))
	k.run(t, false, widget, "apply", "-f", "-")
	k.run(t, true, widgets, "apply", "--server-side", "-f", "-")
	k.run(t, true, widgets, "apply", "--server-side", "-f", "-")
	k.run(t, true, "", "wait", "--for=condition=Established", "--timeout=5s", "crd/widgets.example.org")
	k.run(t, true, widget, "apply", "--server-side", "-f", "-")
	if out := k.run(t, true, "", "get", "wd"); !strings.Contains(out, "SIZE") || !strings.Contains(out, "3") {
		t.Errorf("get wd:\n%s", out)
	}
	k.run(t, true, strings.Replace(widget, "3", "4", 1), "apply", "--server-side", "-f", "-")
	k.run(t, true, "", "patch", "wd", "w", "--type=merge", "-p", `{"spec":{"colour":"red"}}`)
	if out := k.run(t, true, "", "get", "wd", "w", "-o", "jsonpath={.metadata.generation} {.spec}"); out != `3 {"colour":"red","size":4}` {
		t.Errorf("widget is %s", out)
	}
	k.run(t, true, "", "delete", "crd", "widgets.example.org", "--timeout=10s")
	if out := k.run(t, false, "", "get", "wd"); !strings.Contains(out, "could not find the requested resource") {
		t.Errorf("the definition is gone, its resource is not:\n%s", out)
	}
}
