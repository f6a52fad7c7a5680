// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

const manifests = `# a comment alone is no document
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, creationTimestamp: null}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web:1}]}
status: {}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: one}
spec: {size: 3}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: settings, namespace: shop}
  data: {a: "1"}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: in-default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: shop-reader, namespace: ignored}
rules: []
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

func without(kind string) []byte {
	var kept []string
	for doc := range strings.SplitSeq(manifests, "---\n") {
		if !strings.Contains(doc, "kind: "+kind+"\n") {
			kept = append(kept, doc)
		}
	}
	return []byte(strings.Join(kept, "---\n"))
}

func mustApply(t *testing.T, clusters *workload.Clusters, a workload.Access, s workload.Set) workload.Result {
	t.Helper()
	r, err := clusters.Apply(t.Context(), a, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func actions(r workload.Result) []string {
	var all []string
	for _, c := range r.Changes {
		all = append(all, string(c.Action)+" "+c.Ref.String())
	}
	return all
}

func TestApply(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	set := workload.Set{Name: "shop", Documents: []byte(manifests), Prune: true}
	c.setFault(func(_ http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err != nil || bytes.Contains(body, []byte(`"status"`)) || bytes.Contains(body, []byte("creationTimestamp")) {
			t.Errorf("sent what only the server writes: %s %v", body, err)
		}
		return false
	})
	want := []string{
		"created Namespace shop", "created CustomResourceDefinition widgets.example.com", "created ClusterRole shop-reader",
		"created ConfigMap shop/settings", "created ConfigMap default/in-default", "created Deployment shop/web", "created Widget default/one",
	}
	if diff := cmp.Diff(want, actions(mustApply(t, clusters, access, set))); diff != "" {
		t.Error(diff)
	}
	u, ok := c.Store().Get(kubeapi.Deployments, "shop", "web")
	if !ok || u.GetLabels()[workload.SetLabel] != "shop" || u.GetManagedFields()[0].Manager != workload.FieldManager+"/shop" {
		t.Errorf("the deployment is %v", u)
	}
	c.counted("PATCH")
	before := c.Store().Revision()
	again := mustApply(t, clusters, access, set)
	if again.Count(workload.Unchanged) != len(want) || len(again.Changes) != len(want) || c.Store().Revision() != before {
		t.Errorf("a repetition: %s, revision %d after %d", again, c.Store().Revision(), before)
	}
	changed := set
	changed.Documents = []byte(strings.Replace(manifests, "replicas: 2", "replicas: 5", 1))
	if r := mustApply(t, clusters, access, changed); r.String() != "1 configured, 6 unchanged" {
		t.Errorf("one change: %s", r)
	}
	d, err := kubeapi.As[appsv1.Deployment](deployment(t, c))
	if err != nil || *d.Spec.Replicas != 5 {
		t.Errorf("the deployment has %v replicas (%v)", d.Spec.Replicas, err)
	}
}

func TestApplyTakesOverWhatOthersSet(t *testing.T) {
	t.Parallel()
	_, access, clusters := setup(t)
	doc := func(v string) []byte {
		return []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: " + v + "}")
	}
	mustApply(t, clusters, access, workload.Set{Name: "a", FieldManager: "somebody", Documents: doc("one")})
	r := mustApply(t, clusters, access, workload.Set{Name: "b", Documents: doc("two")})
	if diff := cmp.Diff([]string{"configured ConfigMap default/x"}, actions(r)); diff != "" {
		t.Error(diff)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	apply := func(documents []byte, prune bool) []string {
		t.Helper()
		r := mustApply(t, clusters, access, workload.Set{Name: "shop", Documents: documents, Prune: prune})
		var changed []string
		for _, a := range actions(r) {
			if !strings.HasPrefix(a, "unchanged") && !strings.HasPrefix(a, "created") {
				changed = append(changed, a)
			}
		}
		return changed
	}
	apply([]byte(manifests), true)
	for _, tt := range []struct {
		reason    string
		documents []byte
		prune     bool
		want      []string
	}{
		{"nothing vanished", []byte(manifests), true, nil},
		{"without pruning things stay", without("Deployment"), false, nil},
		{"and are still known to the next that prunes", without("Deployment"), true, []string{"pruned Deployment shop/web"}},
		{"back again", []byte(manifests), true, nil},
		{"an empty set takes everything out, last kinds first", nil, true, []string{
			"pruned Widget default/one", "pruned Deployment shop/web", "pruned ConfigMap shop/settings", "pruned ConfigMap default/in-default",
			"pruned ClusterRole shop-reader", "pruned CustomResourceDefinition widgets.example.com", "pruned Namespace shop",
		}},
		{"nothing is left to prune", nil, true, nil},
	} {
		got := apply(tt.documents, tt.prune)
		slices.SortStableFunc(got, func(a, b string) int {
			return boolInt(strings.Contains(a, "ConfigMap default")) - boolInt(strings.Contains(b, "ConfigMap default"))
		})
		slices.SortStableFunc(tt.want, func(a, b string) int {
			return boolInt(strings.Contains(a, "ConfigMap default")) - boolInt(strings.Contains(b, "ConfigMap default"))
		})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.reason, diff)
		}
	}
	if _, there := c.Store().Get(clusterRoles(), "", "shop-reader"); there {
		t.Error("the cluster role is still there")
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestPruneSparesWhatIsNotTheSets(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	var docs []string
	for _, name := range []string{"taken", "kept", "foreign", "plain"} {
		docs = append(docs, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "+name+"}\n")
	}
	docs[1] = strings.Replace(docs[1], "name: kept", `name: kept, annotations: {lazuli.io/keep: "true"}`, 1)
	all := strings.Join(docs, "---\n") + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system}\n"
	mustApply(t, clusters, access, workload.Set{Name: "one", Documents: []byte(all), Prune: true})
	mustApply(t, clusters, access, workload.Set{Name: "two", Documents: []byte(docs[0])})
	// Somebody made an object of the same name anew.
	if err := c.Store().Delete(kubeapi.ConfigMaps, "default", "foreign"); err != nil {
		t.Fatal(err)
	}
	fresh := &corev1.ConfigMap{}
	fresh.Name, fresh.Namespace = "foreign", "default"
	if _, err := c.Store().Create(kubeapi.ConfigMaps, fresh); err != nil {
		t.Fatal(err)
	}
	r := mustApply(t, clusters, access, workload.Set{Name: "one", Prune: true})
	got := actions(r)
	slices.Sort(got)
	want := []string{
		"kept ConfigMap default/foreign", "kept ConfigMap default/kept", "kept ConfigMap default/taken", "kept Namespace kube-system",
		"pruned ConfigMap default/plain",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Without the inventory nothing is known, so nothing is deleted.
func TestNothingIsPrunedWithoutKnowledge(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	mustApply(t, clusters, access, workload.Set{Name: "shop", Documents: []byte(manifests), Prune: true})
	c.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, workload.Namespace) {
			return false
		}
		http.Error(w, "broken", http.StatusInternalServerError)
		return true
	})
	c.counted("DELETE")
	if r, err := clusters.Apply(t.Context(), access, workload.Set{Name: "shop", Prune: true}); err == nil {
		t.Errorf("an inventory that cannot be read: %s", r)
	}
	c.setFault(nil)
	if err := c.Store().Delete(kubeapi.ConfigMaps, workload.Namespace, "set-shop"); err != nil {
		t.Fatal(err)
	}
	mustApply(t, clusters, access, workload.Set{Name: "shop", Prune: true})
	if n := c.counted("DELETE"); n != 0 {
		t.Errorf("%d deletions", n)
	}
}

// A crash in the middle leaves everything that was applied in the inventory.
func TestApplyRecordsItsIntent(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	c.setFault(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch || !strings.Contains(r.URL.Path, "deployments") {
			return false
		}
		panic(http.ErrAbortHandler)
	})
	r, err := clusters.Apply(t.Context(), access, workload.Set{Name: "shop", Documents: []byte(manifests), Prune: true})
	if workload.ProblemOf(err) != workload.Unreachable || !strings.Contains(err.Error(), "Deployment shop/web") || r.Count(workload.Created) != 5 {
		t.Errorf("%s, %v", r, err)
	}
	c.setFault(nil)
	r = mustApply(t, clusters, access, workload.Set{Name: "shop", Prune: true})
	if r.Count(workload.Pruned) != 5 {
		t.Errorf("taken out after a crash: %s", r)
	}
}

// Custom resources wait until their definition is served.
func TestApplyWaitsForDefinitions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		access, clusters, _ := inMemory(t, c)
		applied, asked := false, 0
		c.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			definition := strings.Contains(r.URL.Path, "customresourcedefinitions")
			if definition && r.Method == http.MethodPatch {
				applied = true
			}
			if strings.Contains(r.URL.Path, "widgets") && !definition && asked < 3 {
				t.Errorf("%s %s before the definition is established", r.Method, r.URL.Path)
			}
			if !definition || !applied || r.Method != http.MethodGet {
				return false
			}
			asked++
			if asked == 3 {
				return false
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.com"}}`)
			return true
		})
		started := time.Now()
		mustApply(t, clusters, access, workload.Set{Name: "shop", Documents: []byte(manifests)})
		if asked != 3 || time.Since(started) != 500*time.Millisecond {
			t.Errorf("asked %d times in %s", asked, time.Since(started))
		}
	})
}

func TestApplyOfAnUnknownKind(t *testing.T) {
	t.Parallel()
	_, access, clusters := setup(t)
	docs := []byte("apiVersion: late.example.com/v1\nkind: Late\nmetadata: {name: x}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n")
	set := workload.Set{Name: "late", Documents: docs}
	r, err := clusters.Apply(t.Context(), access, set)
	if !meta.IsNoMatchError(err) || r.Count(workload.Created) != 1 {
		t.Errorf("%s, %v", r, err)
	}
	ready, waiting, err := clusters.Status(t.Context(), access, set)
	if err != nil || ready {
		t.Errorf("ready %t, %v", ready, err)
	}
	if diff := cmp.Diff([]string{"Late x: its kind is not served yet"}, waiting); diff != "" {
		t.Error(diff)
	}
}

func TestApplyRefusesBadDocuments(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	for reason, s := range map[string]workload.Set{
		"no name of the set":    {Documents: []byte(manifests)},
		"odd name of the set":   {Name: "A b", Documents: []byte(manifests)},
		"text":                  {Name: "x", Documents: []byte("topsecret")},
		"a list":                {Name: "x", Documents: []byte("- topsecret")},
		"broken":                {Name: "x", Documents: []byte("a: {topsecret")},
		"no kind":               {Name: "x", Documents: []byte("apiVersion: v1\nmetadata: {name: topsecret}")},
		"no version":            {Name: "x", Documents: []byte("kind: Secret\nmetadata: {name: topsecret}")},
		"no name":               {Name: "x", Documents: []byte("apiVersion: v1\nkind: Secret\nstringData: {a: topsecret}")},
		"generated name":        {Name: "x", Documents: []byte("apiVersion: v1\nkind: Secret\nmetadata: {generateName: topsecret-}")},
		"twice the same object": {Name: "x", Documents: []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: a}")},
	} {
		c.counted("PATCH")
		_, err := clusters.Apply(t.Context(), access, s)
		if err == nil || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: %v", reason, err)
		}
		if n := c.counted("PATCH"); n != 0 {
			t.Errorf("%s: %d writes", reason, n)
		}
	}
}

// An invalid object is told as one, names it, and does not hold up its peers.
func TestApplyNamesTheCulprit(t *testing.T) {
	t.Parallel()
	_, access, clusters := setup(t)
	docs := []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad, namespace: nowhere}\n")
	r, err := clusters.Apply(t.Context(), access, workload.Set{Name: "x", Documents: docs})
	if err == nil || !strings.Contains(err.Error(), "ConfigMap nowhere/bad") || workload.ProblemOf(err) != "" {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff([]string{"created ConfigMap default/good"}, actions(r)); diff != "" {
		t.Error(diff)
	}
}

func TestApplyManyObjects(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	var docs strings.Builder
	const objects = 120
	for i := range objects {
		fmt.Fprintf(&docs, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\n", i)
	}
	set := workload.Set{Name: "many", Documents: []byte(docs.String())}
	if r := mustApply(t, clusters, access, set); r.Count(workload.Created) != objects {
		t.Errorf("%s", r)
	}
	c.counted("GET")
	if ready, waiting, err := clusters.Status(t.Context(), access, set); !ready || err != nil {
		t.Errorf("waiting for %v, %v", waiting, err)
	}
	if n := c.counted("GET"); n > 3 {
		t.Errorf("a status of one kind costs %d requests", n)
	}
}

func clusterRoles() schema.GroupResource {
	return schema.GroupResource{Group: "rbac.authorization.k8s.io", Resource: "clusterroles"}
}
