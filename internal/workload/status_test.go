// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

func deployment(t *testing.T, c *cluster) *unstructured.Unstructured {
	t.Helper()
	u, ok := c.Store().Get(kubeapi.Deployments, "shop", "web")
	if !ok {
		t.Fatal("no deployment")
	}
	return u
}

func TestStatus(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	set := workload.Set{Name: "shop", Documents: []byte(manifests)}
	expect := func(reason string, want ...string) {
		t.Helper()
		ready, waiting, err := clusters.Status(t.Context(), access, set)
		if err != nil || ready != (len(want) == 0) {
			t.Errorf("%s: ready %t, %v", reason, ready, err)
		}
		if diff := cmp.Diff(want, waiting); diff != "" {
			t.Errorf("%s: %s", reason, diff)
		}
	}
	expect("before the set is applied", "Namespace shop: missing", "CustomResourceDefinition widgets.example.com: missing",
		"ClusterRole ignored/shop-reader: missing", "ConfigMap shop/settings: missing", "ConfigMap in-default: missing",
		"Deployment shop/web: missing", "Widget one: its kind is not served yet")
	mustApply(t, clusters, access, set)
	expect("nobody runs the deployment yet", "Deployment shop/web: its controller has not seen it yet")
	u := deployment(t, c).DeepCopy()
	u.Object["status"] = map[string]any{"observedGeneration": u.GetGeneration(), "replicas": int64(2), "updatedReplicas": int64(2), "availableReplicas": int64(2)}
	if _, err := c.Store().Update(kubeapi.Deployments, u); err != nil {
		t.Fatal(err)
	}
	expect("all is there")
	mustApply(t, clusters, access, workload.Set{Name: "other", Documents: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: in-default}")})
	expect("another set declares an object too")
	// An object of the same name without any set's label is somebody else's.
	u, ok := c.Store().Get(kubeapi.ConfigMaps, "default", "in-default")
	if !ok {
		t.Fatal("no ConfigMap")
	}
	u = u.DeepCopy()
	u.SetLabels(nil)
	if _, err := c.Store().Update(kubeapi.ConfigMaps, u); err != nil {
		t.Fatal(err)
	}
	expect("somebody made an object of the name anew", "ConfigMap in-default: missing")
}

// TestReadiness holds the rules against the statuses that controllers write.
func TestReadiness(t *testing.T) {
	t.Parallel()
	const (
		deploy    = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"generation":2},"spec":{"replicas":3},"status":%s}`
		daemon    = `{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"generation":2},"spec":{},"status":%s}`
		stateful  = `{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"generation":2},"spec":{"replicas":3},"status":%s}`
		job       = `{"apiVersion":"batch/v1","kind":"Job","status":%s}`
		pod       = `{"apiVersion":"v1","kind":"Pod","status":%s}`
		custom    = `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"generation":2},"status":%s}`
		crd       = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","status":%s}`
		service   = `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","status":%s}`
		claim     = `{"apiVersion":"v1","kind":"PersistentVolumeClaim","status":%s}`
		namespace = `{"apiVersion":"v1","kind":"Namespace","status":%s}`
	)
	for _, tt := range []struct {
		object, status string
		why            string // "" is ready
	}{
		{deploy, `{}`, "not seen"},
		{deploy, `{"observedGeneration":1,"replicas":3,"updatedReplicas":3,"availableReplicas":3}`, "not seen"},
		{deploy, `{"observedGeneration":2,"replicas":3,"updatedReplicas":2,"availableReplicas":3}`, "2 of 3 replicas are updated"},
		{deploy, `{"observedGeneration":2,"replicas":4,"updatedReplicas":3,"availableReplicas":3}`, "old replicas"},
		{deploy, `{"observedGeneration":2,"replicas":3,"updatedReplicas":3,"availableReplicas":1}`, "1 of 3 replicas are available"},
		{deploy, `{"observedGeneration":2,"replicas":3,"updatedReplicas":3,"availableReplicas":3}`, ""},
		{deploy, `{"observedGeneration":2,"conditions":[{"type":"Progressing","status":"False","reason":"ProgressDeadlineExceeded","message":"m"}]}`, "stuck, ProgressDeadlineExceeded: m"},
		{strings.Replace(deploy, `{"replicas":3}`, `{"replicas":0}`, 1), `{"observedGeneration":2}`, ""},
		{strings.Replace(deploy, `{"replicas":3}`, `{}`, 1), `{"observedGeneration":2}`, "0 of 1"},
		{daemon, `{}`, "not seen"},
		{daemon, `{"observedGeneration":2,"desiredNumberScheduled":0}`, ""},
		{daemon, `{"observedGeneration":2,"desiredNumberScheduled":3,"updatedNumberScheduled":2,"numberAvailable":3}`, "2 of 3 nodes are updated"},
		{daemon, `{"observedGeneration":2,"desiredNumberScheduled":3,"updatedNumberScheduled":3,"numberAvailable":2}`, "2 of 3 nodes are available"},
		{daemon, `{"observedGeneration":2,"desiredNumberScheduled":3,"updatedNumberScheduled":3,"numberAvailable":3}`, ""},
		{strings.Replace(daemon, `"spec":{}`, `"spec":{"updateStrategy":{"type":"OnDelete"}}`, 1), `{"observedGeneration":2,"desiredNumberScheduled":3,"numberAvailable":3}`, ""},
		{stateful, `{"observedGeneration":2,"readyReplicas":2,"updatedReplicas":3}`, "2 of 3 replicas are ready"},
		{stateful, `{"observedGeneration":2,"readyReplicas":3,"updatedReplicas":1}`, "1 of 3 replicas are updated"},
		{stateful, `{"observedGeneration":2,"readyReplicas":3,"updatedReplicas":3}`, ""},
		{strings.Replace(stateful, `{"replicas":3}`, `{"replicas":3,"updateStrategy":{"rollingUpdate":{"partition":2}}}`, 1), `{"observedGeneration":2,"readyReplicas":3,"updatedReplicas":1}`, ""},
		{job, `{}`, "not complete"},
		{job, `{"conditions":[{"type":"Complete","status":"True"}]}`, ""},
		{job, `{"conditions":[{"type":"Failed","status":"True","reason":"BackoffLimitExceeded"}]}`, "failed, BackoffLimitExceeded"},
		{pod, `{"phase":"Pending"}`, "not ready"},
		{pod, `{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}`, ""},
		{pod, `{"phase":"Succeeded"}`, ""},
		{pod, `{"phase":"Failed","reason":"Evicted"}`, "failed, Evicted"},
		{custom, `{}`, ""},
		{custom, `{"observedGeneration":1}`, "not seen"},
		{custom, `{"observedGeneration":2,"conditions":[{"type":"Ready","status":"False","reason":"Wait"}]}`, "not ready, Wait"},
		{custom, `{"conditions":[{"type":"Ready","status":"True"}]}`, ""},
		{custom, `"odd"`, ""},
		{crd, `{}`, "not established"},
		{crd, `{"conditions":[{"type":"Established","status":"True"}]}`, ""},
		{service, `{"conditions":[{"type":"Available","status":"False","reason":"MissingEndpoints"}]}`, "not available, MissingEndpoints"},
		{service, `{"conditions":[{"type":"Available","status":"True"}]}`, ""},
		{claim, `{"phase":"Pending"}`, ""},
		{claim, `{"phase":"Lost"}`, "lost"},
		{namespace, `{"phase":"Active"}`, ""},
		{namespace, `{"phase":"Terminating"}`, "being deleted"},
		{strings.Replace(pod, `"kind"`, `"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"},"kind"`, 1), `{"phase":"Succeeded"}`, "being deleted"},
	} {
		text := fmt.Sprintf(tt.object, tt.status)
		var u unstructured.Unstructured
		if err := json.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		// Numbers as the API's decoder gives them.
		raw, err := u.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := u.UnmarshalJSON(raw); err != nil {
			t.Fatal(err)
		}
		ready, why := workload.Readiness(&u)
		if ready != (tt.why == "") || !strings.Contains(why, tt.why) {
			t.Errorf("%s: ready %t, %q, want %q", text, ready, why, tt.why)
		}
	}
}
