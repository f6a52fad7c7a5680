// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/lazuli-dev/lazuli/internal/workload"
)

// Two packs declare one namespace, and either goes first.
func TestAnObjectOfTwoSets(t *testing.T) {
	t.Parallel()
	app := workload.Set{Name: "app", Prune: true, Documents: []byte(`apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {of-app: x}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {app: "1"}
`)}
	plain := workload.Set{Name: "plain", Prune: true, Documents: []byte(`apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {of-plain: x}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: default}
data: {plain: "1"}
`)}
	for name, order := range map[string][2]workload.Set{"the owner goes first": {app, plain}, "the owner goes last": {plain, app}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, access, clusters := setup(t)
			labels := func(reason string, want map[string]string) {
				t.Helper()
				u, ok := c.Store().Get(schema.GroupResource{Resource: "namespaces"}, "", "shop")
				if !ok {
					if want != nil {
						t.Fatalf("%s: the namespace is gone", reason)
					}
					return
				}
				got := maps.Clone(u.GetLabels())
				delete(got, "kubernetes.io/metadata.name")
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: labels (-want +got):\n%s", reason, diff)
				}
			}
			ready := func(sets ...workload.Set) {
				t.Helper()
				for _, s := range sets {
					if ok, waiting, err := clusters.Status(t.Context(), access, s); !ok || err != nil {
						t.Errorf("set %s waits for %v, %v", s.Name, waiting, err)
					}
				}
			}
			mustApply(t, clusters, access, app)
			mustApply(t, clusters, access, plain)
			labels("both are applied", map[string]string{workload.SetLabel: "app", "of-app": "x", "of-plain": "x"})
			ready(app, plain)
			before := c.Store().Revision()
			for range 2 {
				mustApply(t, clusters, access, app)
				mustApply(t, clusters, access, plain)
			}
			if c.Store().Revision() != before {
				t.Error("the sets fight for what both declare")
			}
			first, last := order[0], order[1]
			r := mustApply(t, clusters, access, workload.Set{Name: first.Name, Prune: true})
			if diff := cmp.Diff([]string{"kept ConfigMap default/settings", "kept Namespace shop"}, actions(r)); diff != "" {
				t.Error(diff)
			}
			labels("one goes", map[string]string{workload.SetLabel: last.Name, "of-" + last.Name: "x"})
			ready(last)
			before = c.Store().Revision()
			mustApply(t, clusters, access, workload.Set{Name: first.Name, Prune: true})
			if c.Store().Revision() != before {
				t.Error("taking out again what is out changes something")
			}
			mustApply(t, clusters, access, last)
			labels("the heir is applied", map[string]string{workload.SetLabel: last.Name, "of-" + last.Name: "x"})
			r = mustApply(t, clusters, access, workload.Set{Name: last.Name, Prune: true})
			if diff := cmp.Diff([]string{"pruned ConfigMap default/settings", "pruned Namespace shop"}, actions(r)); diff != "" {
				t.Error(diff)
			}
			labels("the last goes", nil)
		})
	}
}

// A set that comes to declare an object while another deletes it does not lose it.
func TestAnObjectThatAnotherSetDeclaresMeanwhileStays(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	doc := func(v string) []byte {
		return []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {" + v + ": v}")
	}
	mustApply(t, clusters, access, workload.Set{Name: "one", Documents: doc("a"), Prune: true})
	came := false
	c.setFault(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/x") && !came {
			came = true
			mustApply(t, clusters, access, workload.Set{Name: "two", Documents: doc("b")})
		}
		return false
	})
	r := mustApply(t, clusters, access, workload.Set{Name: "one", Prune: true})
	if diff := cmp.Diff([]string{"kept ConfigMap default/x"}, actions(r)); diff != "" || !came {
		t.Errorf("another came meanwhile: %t\n%s", came, diff)
	}
}
