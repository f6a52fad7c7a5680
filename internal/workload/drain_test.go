// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

func podOn(node, name string, change ...func(*corev1.Pod)) *corev1.Pod {
	now := int64(0)
	p := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: node, TerminationGracePeriodSeconds: &now, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func put(t *testing.T, c *cluster, kind schema.GroupResource, o runtime.Object) {
	t.Helper()
	if _, err := c.Store().Put(kind, o); err != nil {
		t.Fatal(err)
	}
}

// A drain moves what can live elsewhere, asks budgets, and leaves the rest.
func TestDrain(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	c.addNode(t, readyNode("n"))
	budgets := schema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}
	yes := true
	for _, p := range []*corev1.Pod{
		podOn("n", "moves"),
		podOn("other", "elsewhere"),
		podOn("n", "daemon", func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "d", UID: "u", Controller: &yes}}
		}),
		podOn("n", "static", func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }),
		podOn("n", "ended", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
		podOn("n", "stays", func(p *corev1.Pod) {
			p.Spec.Tolerations = []corev1.Toleration{{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}
		}),
		podOn("n", "undaunted", func(p *corev1.Pod) {
			p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
		}),
		podOn("n", "kept"),
	} {
		put(t, c, kubeapi.Pods, p)
	}
	one := intstr.FromInt32(1)
	put(t, c, budgets, &policyv1.PodDisruptionBudget{
		TypeMeta: metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"}, ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: "default"},
		Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "kept"}}},
	})
	d, err := clusters.Drain(t.Context(), access, "n")
	if err != nil {
		t.Fatal(err)
	}
	if d.Done() || !strings.Contains(strings.Join(d.Waiting, ";"), "default/kept: The disruption budget b") {
		t.Errorf("first look: %+v", d)
	}
	nodes, err := clusters.Nodes(t.Context(), access)
	if err != nil || !nodes[0].Cordoned {
		t.Errorf("the node takes pods still: %+v, %v", nodes, err)
	}
	if err := c.Store().Delete(budgets, "default", "b"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if d, err = clusters.Drain(t.Context(), access, "n"); err != nil || d.Done() {
			break
		}
	}
	if err != nil || !d.Done() {
		t.Fatalf("without the budget: %+v, %v", d, err)
	}
	want := []string{"daemon", "elsewhere", "ended", "static", "stays", "undaunted"}
	var left []string
	for _, u := range c.Store().List(kubeapi.Pods, "default") {
		left = append(left, u.GetName())
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
	if err := clusters.Uncordon(t.Context(), access, "n"); err != nil {
		t.Fatal(err)
	}
	if nodes, err = clusters.Nodes(t.Context(), access); err != nil || nodes[0].Cordoned {
		t.Errorf("the node takes no pods: %+v, %v", nodes, err)
	}
	c.counted(http.MethodPatch)
	if err := clusters.Uncordon(t.Context(), access, "n"); err != nil || c.counted(http.MethodPatch) != 0 {
		t.Errorf("a repetition writes, %v", err)
	}
	if d, err = clusters.Drain(t.Context(), access, "nobody"); err != nil || !d.Gone || !d.Done() {
		t.Errorf("a node that is not there: %+v, %v", d, err)
	}
}
