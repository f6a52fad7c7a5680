// SPDX-License-Identifier: Apache-2.0

package kubeapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Data: map[string]string{"k": "v"},
	}
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func next(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	select {
	case e, ok := <-w.ResultChan():
		if !ok {
			t.Fatal("watch ended")
		}
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event in 10 s")
	}
	return watch.Event{}
}

func TestWatchResumes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cms := s.clientset(t).CoreV1().ConfigMaps("default")
	ctx := t.Context()
	first := must[*corev1.ConfigMap](t)(cms.Create(ctx, configMap("a"), metav1.CreateOptions{}))
	second := must[*corev1.ConfigMap](t)(cms.Create(ctx, configMap("b"), metav1.CreateOptions{}))
	if err := cms.Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}

	w := must[watch.Interface](t)(cms.Watch(ctx, metav1.ListOptions{ResourceVersion: first.ResourceVersion}))
	var got []string
	for range 2 {
		e := next(t, w)
		got = append(got, string(e.Type)+" "+e.Object.(*corev1.ConfigMap).Name)
	}
	w.Stop()
	if diff := cmp.Diff([]string{"ADDED b", "DELETED a"}, got); diff != "" {
		t.Errorf("events after the first revision (-want +got):\n%s", diff)
	}

	w = must[watch.Interface](t)(cms.Watch(ctx, metav1.ListOptions{ResourceVersion: second.ResourceVersion, LabelSelector: "x=y"}))
	defer w.Stop()
	label := func(patch string) {
		must[*corev1.ConfigMap](t)(cms.Patch(ctx, "b", types.MergePatchType, []byte(patch), metav1.PatchOptions{}))
	}
	label(`{"metadata":{"labels":{"x":"y"}}}`)
	label(`{"data":{"k":"w"}}`)
	label(`{"metadata":{"labels":{"x":null}}}`)
	for _, want := range []watch.EventType{watch.Added, watch.Modified, watch.Deleted} {
		if e := next(t, w); e.Type != want {
			t.Errorf("a watch with a selector saw %s, want %s", e.Type, want)
		}
	}
}

func TestWatchTooOld(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cms := s.clientset(t).CoreV1().ConfigMaps("default")
	cm := configMap("a")
	for i := range 3000 {
		cm.Data["k"] = fmt.Sprint(i)
		if _, err := s.Store().Put(kubeapi.ConfigMaps, cm); err != nil {
			t.Fatal(err)
		}
	}
	w := must[watch.Interface](t)(cms.Watch(t.Context(), metav1.ListOptions{ResourceVersion: "2"}))
	defer w.Stop()
	e := next(t, w)
	if err := apierrors.FromObject(e.Object); e.Type != watch.Error || !apierrors.IsResourceExpired(err) {
		t.Errorf("got %s %v, want 410 Expired", e.Type, err)
	}
	ahead := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/nodes?resourceVersion=999999", http.NoBody))
	ahead = ahead.WithContext(kubeapi.WithUser(t.Context(), kubeapi.User{Groups: []string{"system:masters"}}))
	if code := serve(s, ahead).StatusCode; code != http.StatusGatewayTimeout {
		t.Errorf("a revision of the future: %d, want 504", code)
	}
}

func TestPagesShowOneRevision(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cms := s.clientset(t).CoreV1().ConfigMaps("default")
	ctx := t.Context()
	for _, n := range []string{"a", "b", "c", "d", "e"} {
		must[*corev1.ConfigMap](t)(cms.Create(ctx, configMap(n), metav1.CreateOptions{}))
	}
	page := must[*corev1.ConfigMapList](t)(cms.List(ctx, metav1.ListOptions{Limit: 2}))
	if page.RemainingItemCount == nil || *page.RemainingItemCount != 3 {
		t.Errorf("remaining %v, want 3", page.RemainingItemCount)
	}
	if err := cms.Delete(ctx, "d", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	must[*corev1.ConfigMap](t)(cms.Create(ctx, configMap("cc"), metav1.CreateOptions{}))
	names := []string{page.Items[0].Name, page.Items[1].Name}
	revision := page.ResourceVersion
	for page.Continue != "" {
		page = must[*corev1.ConfigMapList](t)(cms.List(ctx, metav1.ListOptions{Limit: 2, Continue: page.Continue}))
		if page.ResourceVersion != revision {
			t.Errorf("page at revision %s, want %s", page.ResourceVersion, revision)
		}
		for _, item := range page.Items {
			names = append(names, item.Name)
		}
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d", "e"}, names); diff != "" {
		t.Errorf("pages do not show the first revision (-want +got):\n%s", diff)
	}
}

func TestInformer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.clientset(t)
	must[*unstructured.Unstructured](t)(s.Store().Create(kubeapi.Nodes, node("n1")))
	factory := informers.NewSharedInformerFactory(c, 0)
	nodes := factory.Core().V1().Nodes()
	seen := make(chan string, 10)
	must[cache.ResourceEventHandlerRegistration](t)(nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { seen <- "add " + obj.(*corev1.Node).Name },
		DeleteFunc: func(obj any) {
			if n, ok := obj.(*corev1.Node); ok {
				seen <- "delete " + n.Name
			}
		},
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), nodes.Informer().HasSynced) {
		t.Fatal("the informer does not sync")
	}
	must[*unstructured.Unstructured](t)(s.Store().Create(kubeapi.Nodes, node("n2")))
	if err := s.Store().Delete(kubeapi.Nodes, "", "n1"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"add n1", "add n2", "delete n1"} {
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("informer says %q, want %q", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("informer never says %q", want)
		}
	}
}

func TestWriteRules(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	cms := s.clientset(t).CoreV1().ConfigMaps("default")
	cm := configMap("")
	cm.GenerateName = "made-"
	cm.Finalizers = []string{"example.org/hold"}
	cm = must[*corev1.ConfigMap](t)(cms.Create(ctx, cm, metav1.CreateOptions{}))
	if len(cm.Name) != len("made-")+5 || cm.UID == "" || cm.CreationTimestamp.IsZero() || len(cm.ManagedFields) != 1 {
		t.Errorf("created %+v", cm.ObjectMeta)
	}
	same := must[*corev1.ConfigMap](t)(cms.Update(ctx, cm, metav1.UpdateOptions{}))
	if same.ResourceVersion != cm.ResourceVersion {
		t.Error("an update without a change made a revision")
	}
	stale := cm.DeepCopy()
	cm.Data["k"] = "w"
	cm = must[*corev1.ConfigMap](t)(cms.Update(ctx, cm, metav1.UpdateOptions{}))
	if _, err := cms.Update(ctx, stale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("a stale update: %v, want a conflict", err)
	}
	dry := configMap("dry")
	must[*corev1.ConfigMap](t)(cms.Create(ctx, dry, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}))
	if _, err := cms.Get(ctx, "dry", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a dry run left an object: %v", err)
	}
	if err := cms.Delete(ctx, cm.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	held := must[*corev1.ConfigMap](t)(cms.Get(ctx, cm.Name, metav1.GetOptions{}))
	if held.DeletionTimestamp == nil {
		t.Error("a held object has no deletionTimestamp")
	}
	must[*corev1.ConfigMap](t)(cms.Patch(ctx, cm.Name, types.JSONPatchType, []byte(`[{"op":"remove","path":"/metadata/finalizers"}]`), metav1.PatchOptions{}))
	if _, err := cms.Get(ctx, cm.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("without its finalizer the object is still there: %v", err)
	}
	stray := configMap("stray")
	stray.Namespace = "nowhere"
	if _, err := s.clientset(t).CoreV1().ConfigMaps("nowhere").Create(ctx, stray, metav1.CreateOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("an object in a namespace that is not there: %v", err)
	}
	if _, err := cms.Create(ctx, configMap("Bad_Name"), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a bad name: %v, want 422", err)
	}
}

func TestStatusIsSeparate(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	pods := s.clientset(t).CoreV1().Pods("default")
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	pod = must[*corev1.Pod](t)(pods.Create(ctx, pod, metav1.CreateOptions{}))
	if pod.Status.Phase != corev1.PodPending || pod.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		t.Errorf("created with phase %q and restart policy %q", pod.Status.Phase, pod.Spec.RestartPolicy)
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Labels = map[string]string{"a": "b"}
	got := must[*corev1.Pod](t)(pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}))
	if got.Status.Phase != corev1.PodRunning || got.Labels != nil {
		t.Errorf("status update: phase %q, labels %v", got.Status.Phase, got.Labels)
	}
	got = must[*corev1.Pod](t)(pods.Patch(ctx, "p", types.StrategicMergePatchType,
		[]byte(`{"spec":{"containers":[{"name":"c","image":"j"}]},"status":{"phase":"Failed"}}`), metav1.PatchOptions{}))
	if got.Spec.Containers[0].Image != "j" || got.Status.Phase != corev1.PodRunning {
		t.Errorf("strategic patch: image %q, phase %q", got.Spec.Containers[0].Image, got.Status.Phase)
	}
}

func TestOwnersTakeDependentsAlong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		policy metav1.DeletionPropagation
		kept   bool
		reason string
	}{
		{metav1.DeletePropagationBackground, false, "the collector removes what has no owner left"},
		{metav1.DeletePropagationForeground, false, "dependents go first, then the owner"},
		{metav1.DeletePropagationOrphan, true, "orphans lose the reference and stay"},
	} {
		t.Run(string(tc.policy), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			ctx := t.Context()
			cms := s.clientset(t).CoreV1().ConfigMaps("default")
			owner := must[*corev1.ConfigMap](t)(cms.Create(ctx, configMap("owner"), metav1.CreateOptions{}))
			child := configMap("child")
			child.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: owner.UID}}
			must[*corev1.ConfigMap](t)(cms.Create(ctx, child, metav1.CreateOptions{}))
			if err := cms.Delete(ctx, "owner", metav1.DeleteOptions{PropagationPolicy: &tc.policy}); err != nil {
				t.Fatal(err)
			}
			if _, err := cms.Get(ctx, "owner", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("the owner is still there: %v", err)
			}
			got, err := cms.Get(ctx, "child", metav1.GetOptions{})
			if kept := err == nil && len(got.OwnerReferences) == 0; kept != tc.kept {
				t.Errorf("%s: kept %v (%v)", tc.reason, kept, err)
			}
		})
	}
}

func TestServerSideApplyOwnsFields(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	cms := s.clientset(t).CoreV1().ConfigMaps("default")
	apply := func(manager string, data map[string]string) (*corev1.ConfigMap, error) {
		return cms.Apply(ctx, applycorev1.ConfigMap("x", "default").WithData(data), metav1.ApplyOptions{FieldManager: manager})
	}
	must[*corev1.ConfigMap](t)(apply("one", map[string]string{"a": "1", "b": "1"}))
	must[*corev1.ConfigMap](t)(apply("two", map[string]string{"a": "1", "c": "1"}))
	if _, err := apply("two", map[string]string{"b": "2"}); !apierrors.IsConflict(err) {
		t.Errorf("writing another's field: %v, want a conflict", err)
	}
	got := must[*corev1.ConfigMap](t)(apply("one", map[string]string{"a": "1"}))
	if diff := cmp.Diff(map[string]string{"a": "1", "c": "1"}, got.Data); diff != "" {
		t.Errorf("a field that its only owner leaves out goes (-want +got):\n%s", diff)
	}
}

func TestApplyOfTheSameWritesNothing(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)
	random := uint64(0)
	s := must[*kubeapi.Server](t)(kubeapi.New(kubeapi.Options{
		Now: func() time.Time { return now }, Random: func() uint64 { random++; return random },
	}))
	apply := func(data string) string {
		body := `{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: default}, stringData: {k: ` + data + `}}`
		r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPatch,
			"/api/v1/namespaces/default/secrets/s?fieldManager=m", strings.NewReader(body)))
		r.Header.Set("Content-Type", string(types.ApplyYAMLPatchType))
		serve(s, r.WithContext(kubeapi.WithUser(t.Context(), kubeapi.User{Groups: []string{"system:masters"}})))
		u, ok := s.Store().Get(kubeapi.Secrets, "default", "s")
		if !ok {
			t.Fatal("nothing was applied")
		}
		return u.GetResourceVersion()
	}
	first := apply("a")
	now = now.Add(time.Hour)
	if again := apply("a"); again != first {
		t.Errorf("an hour later the same apply made revision %s of %s", again, first)
	}
	if other := apply("b"); other == first {
		t.Error("another value made no revision")
	}
}

func TestCustomResourceNeedsRevision(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	crds := s.dynamic(t).Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "things.example.org"},
		"spec": map[string]any{"group": "example.org", "scope": "Cluster",
			"names": map[string]any{"kind": "Thing", "plural": "things"},
			"versions": []any{
				map[string]any{"name": "v1", "served": true, "storage": true},
				map[string]any{"name": "v1beta1", "served": true, "storage": false},
			}},
	}}
	must[*unstructured.Unstructured](t)(crds.Create(ctx, crd, metav1.CreateOptions{}))
	things := func(version string) interface {
		Create(ctx context.Context, o *unstructured.Unstructured, c metav1.CreateOptions, sub ...string) (*unstructured.Unstructured, error)
		Update(ctx context.Context, o *unstructured.Unstructured, c metav1.UpdateOptions, sub ...string) (*unstructured.Unstructured, error)
		Get(ctx context.Context, name string, c metav1.GetOptions, sub ...string) (*unstructured.Unstructured, error)
	} {
		return s.dynamic(t).Resource(schema.GroupVersionResource{Group: "example.org", Version: version, Resource: "things"})
	}
	thing := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.org/v1", "kind": "Thing", "metadata": map[string]any{"name": "t"}, "spec": map[string]any{"n": int64(1)},
	}}
	made := must[*unstructured.Unstructured](t)(things("v1").Create(ctx, thing, metav1.CreateOptions{}))
	thing.Object["spec"] = map[string]any{"n": int64(2)}
	if _, err := things("v1").Update(ctx, thing, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("an update without resourceVersion: %v, want 422", err)
	}
	thing.SetResourceVersion(made.GetResourceVersion())
	must[*unstructured.Unstructured](t)(things("v1").Update(ctx, thing, metav1.UpdateOptions{}))
	other := must[*unstructured.Unstructured](t)(things("v1beta1").Get(ctx, "t", metav1.GetOptions{}))
	if other.GetAPIVersion() != "example.org/v1beta1" || other.GetGeneration() != 2 {
		t.Errorf("read as v1beta1: %s, generation %d", other.GetAPIVersion(), other.GetGeneration())
	}
}

func tokenSecret(id string, expires time.Time) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id, Namespace: "kube-system"},
		Type:       corev1.SecretTypeBootstrapToken,
		Data: map[string][]byte{
			"token-id": []byte(id), "token-secret": []byte("0123456789abcdef"), "usage-bootstrap-authentication": []byte("true"),
			"auth-extra-groups": []byte("system:bootstrappers:kubeadm:default-node-token"), "expiration": []byte(expires.Format(time.RFC3339)),
		},
	}
}

func TestAuthorisation(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	must[*unstructured.Unstructured](t)(s.Store().Create(kubeapi.Secrets, tokenSecret("aaaaaa", time.Now().Add(time.Hour))))
	must[*unstructured.Unstructured](t)(s.Store().Create(kubeapi.Secrets, tokenSecret("bbbbbb", time.Now().Add(-time.Second))))
	for _, n := range []string{"kube-public/cluster-info", "kube-system/kubeadm-config", "kube-system/secret-plan"} {
		ns, name, _ := strings.Cut(n, "/")
		cm := configMap(name)
		cm.Namespace = ns
		must[*unstructured.Unstructured](t)(s.Store().Create(kubeapi.ConfigMaps, cm))
	}
	client := s.httpClient()
	for _, tc := range []struct {
		reason, token, path string
		want                int
	}{
		{"health is public", "", "/readyz", 200},
		{"the version is public", "", "/version", 200},
		{"cluster-info is public", "", "/api/v1/namespaces/kube-public/configmaps/cluster-info", 200},
		{"the rest of kube-public is not", "", "/api/v1/namespaces/kube-public/configmaps", 403},
		{"anonymous may not list nodes", "", "/api/v1/nodes", 403},
		{"anonymous may not discover", "", "/apis", 403},
		{"a token may discover", "aaaaaa.0123456789abcdef", "/apis", 200},
		{"a token reads what kubeadm join needs", "aaaaaa.0123456789abcdef", "/api/v1/namespaces/kube-system/configmaps/kubeadm-config", 200},
		{"a token reads no other ConfigMap", "aaaaaa.0123456789abcdef", "/api/v1/namespaces/kube-system/configmaps/secret-plan", 403},
		{"a token reads no secrets", "aaaaaa.0123456789abcdef", "/api/v1/namespaces/kube-system/secrets", 403},
		{"a wrong secret is no identity", "aaaaaa.ffffffffffffffff", "/apis", 401},
		{"an unknown token is no identity", "cccccc.0123456789abcdef", "/apis", 401},
		{"an expired token is no identity", "bbbbbb.0123456789abcdef", "/apis", 401},
		{"a bad token is refused even for public paths", "x", "/readyz", 401},
	} {
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+tc.path, http.NoBody))
		if tc.token != "" {
			req.Header.Set("Authorization", "Bearer "+tc.token)
		}
		resp := must[*http.Response](t)(client.Do(req))
		body := must[[]byte](t)(io.ReadAll(resp.Body))
		_ = resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%s: %d, want %d: %s", tc.reason, resp.StatusCode, tc.want, body)
		}
		if tc.want >= 400 && !strings.Contains(string(body), `"kind":"Status"`) {
			t.Errorf("%s: the answer is no Status: %s", tc.reason, body)
		}
	}
	client.CloseIdleConnections()
}

func TestCertificatesOfOthers(t *testing.T) {
	t.Parallel()
	s, other := newServer(t), newServer(t)
	ctx := t.Context()
	user := must[*kubernetes.Clientset](t)(kubernetes.NewForConfig(s.config(t, "alice")))
	if _, err := user.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a user without rights: %v, want 403", err)
	}
	cfg := s.admin(t)
	foreign := other.admin(t)
	cfg.CertData, cfg.KeyData = foreign.CertData, foreign.KeyData
	stranger := must[*kubernetes.Clientset](t)(kubernetes.NewForConfig(cfg))
	if _, err := stranger.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("a certificate of another CA: %v, want 401", err)
	}
	inProcess := rest.CopyConfig(s.admin(t))
	inProcess.TLSClientConfig = rest.TLSClientConfig{}
	inProcess.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		return serve(s, r.WithContext(kubeapi.WithUser(r.Context(), kubeapi.User{Name: "a", Groups: []string{"system:masters"}}))), nil
	})
	direct := must[*kubernetes.Clientset](t)(kubernetes.NewForConfig(inProcess))
	if _, err := direct.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err != nil {
		t.Errorf("an in-process master: %v", err)
	}
}

func TestEvictionHonoursBudgets(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	for _, name := range []string{"a", "b"} {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": "x"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		}
		must[*unstructured.Unstructured](t)(s.Store().Create(kubeapi.Pods, pod))
	}
	c := s.clientset(t)
	budget := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": map[string]any{"name": "x"},
		"spec": map[string]any{"maxUnavailable": int64(1), "selector": map[string]any{"matchLabels": map[string]any{"app": "x"}}},
	}}
	pdbs := s.dynamic(t).Resource(schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}).Namespace("default")
	must[*unstructured.Unstructured](t)(pdbs.Create(ctx, budget, metav1.CreateOptions{}))
	evict := func(name string) error {
		return c.PolicyV1().Evictions("default").Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}})
	}
	budget.Object["spec"].(map[string]any)["maxUnavailable"] = int64(0)
	must[*unstructured.Unstructured](t)(pdbs.Patch(ctx, "x", types.MergePatchType, []byte(`{"spec":{"maxUnavailable":0}}`), metav1.PatchOptions{}))
	if err := evict("a"); !apierrors.IsTooManyRequests(err) {
		t.Errorf("an eviction that no budget allows: %v, want 429", err)
	}
	must[*unstructured.Unstructured](t)(pdbs.Patch(ctx, "x", types.MergePatchType, []byte(`{"spec":{"maxUnavailable":1}}`), metav1.PatchOptions{}))
	if err := evict("a"); err != nil {
		t.Errorf("an eviction that the budget allows: %v", err)
	}
}
