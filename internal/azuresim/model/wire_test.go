// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

// realTime is an Env on the real clock, or on a synctest bubble's: events run one after the other in a goroutine.
type realTime struct {
	*timeline
	queue chan func()
	stop  chan struct{}
}

func newRealTime(tl *timeline) *realTime {
	e := &realTime{timeline: tl, queue: make(chan func()), stop: make(chan struct{})}
	go func() {
		for {
			select {
			case fn := <-e.queue:
				fn()
			case <-e.stop:
				return
			}
		}
	}()
	return e
}

func (e *realTime) Now() time.Time { return time.Now() }

func (e *realTime) After(d time.Duration, fn func()) {
	time.AfterFunc(d, func() {
		select {
		case e.queue <- fn:
		case <-e.stop:
		}
	})
}

// adminConfig is a client of the cluster's administrators that connects in memory.
func adminConfig(t *testing.T, l *lab, name string, now time.Time) *rest.Config {
	t.Helper()
	caKey, err := x509.ParsePKCS8PrivateKey(decode(t, l.pki["ca.key"]))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(decode(t, l.pki["ca.crt"]))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{
		Host: "https://api.example.com:6443", QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: []byte(l.pki["ca.crt"]), CertData: []byte(encode("CERTIFICATE", der)), KeyData: []byte(encodeKey(t, key)),
		},
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return l.machines.Dial(ctx, l.id(name), 6443)
		},
	}
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("not PEM")
	}
	return block.Bytes
}

// TestClientGoInABubble boots a cluster in virtual time and talks to it as the product does: TLS, a watch, an apply.
func TestClientGoInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLabAt(t, time.Now())
		env := newRealTime(l.timeline)
		for _, name := range []string{"cp-0", "worker-0"} {
			file := map[string]string{"cp-0": "init.yaml", "worker-0": "worker.yaml"}[name]
			l.ids = append(l.ids, l.id(name))
			l.machines.Start(env, l.machine(name, l.data(file, name)))
		}
		if _, err := l.machines.Dial(t.Context(), l.id("cp-0"), 6443); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial before the API server runs: %v", err)
		}
		if _, err := l.machines.Dial(t.Context(), l.id("nobody"), 6443); !errors.Is(err, azuresim.ErrUnreachable) {
			t.Errorf("dial a machine that is not there: %v", err)
		}
		for !l.machines.Probe(l.id("cp-0"), 6443, "/readyz") {
			time.Sleep(time.Second) // the bubble's clock
		}
		cfg := adminConfig(t, l, "cp-0", time.Now())
		transport, err := rest.HTTPClientFor(cfg)
		if err != nil {
			t.Fatal(err)
		}
		client, err := kubernetes.NewForConfigAndClient(cfg, transport)
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		w, err := client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ready := map[string]bool{}
		for i, name := range []string{"cp-0", "worker-0"} {
			if i == 0 {
				l.install(name, nodeManager)
				l.install(name, network)
			}
		}
		for e := range w.ResultChan() {
			n, ok := e.Object.(*corev1.Node)
			if !ok {
				t.Fatalf("event %s with a %T", e.Type, e.Object)
			}
			for _, c := range n.Status.Conditions {
				ready[n.Name] = ready[n.Name] || c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
			}
			if ready["cp-0"] && ready["worker-0"] {
				break
			}
		}
		w.Stop()
		l.machines.Stop(l.id("cp-0"))
		if _, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err == nil {
			t.Error("a stopped control plane answers")
		}
		l.machines.Stop(l.id("worker-0"))
		if tr, ok := transport.Transport.(interface{ CloseIdleConnections() }); ok {
			tr.CloseIdleConnections()
		}
		transport.CloseIdleConnections()
		close(env.stop)
	})
}

func TestServingCertificate(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.up()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(l.pki["ca.crt"]))
	for _, name := range []string{"cp-0", "api.example.com", "10.96.0.1", "203.0.113.7", "kubernetes.default.svc.cluster.local"} {
		conn, err := l.machines.Dial(t.Context(), l.id("cp-0"), 6443)
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: name, Time: l.Now, MinVersion: tls.VersionTLS12})
		if err := c.HandshakeContext(t.Context()); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
		_ = conn.Close()
	}
}

func TestClusterInfoIsPublic(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.up()
	l.advance(time.Second, nil)
	h, _ := l.machines.Handler(l.id("cp-0"))
	get := func(path, token string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := newRecorder()
		h.ServeHTTP(w, r)
		return w.code, w.body.String()
	}
	const info = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
	if code, body := get(info, ""); code != http.StatusOK || !strings.Contains(body, "jws-kubeconfig-aaaaaa") || !strings.Contains(body, "jws-kubeconfig-cccccc") {
		t.Errorf("cluster-info: %d %s", code, body)
	}
	if code, _ := get("/api/v1/namespaces/kube-system/configmaps/kubeadm-config", "cccccc.0123456789abcdef"); code != http.StatusOK {
		t.Errorf("a token reads kubeadm-config: %d", code)
	}
	l.advance(3*time.Minute, nil)
	if _, body := get(info, ""); strings.Contains(body, "jws-kubeconfig-cccccc") {
		t.Error("an expired token is still in cluster-info")
	}
	if _, ok := l.store("cp-0").Get(kubeapi.Secrets, "kube-system", "bootstrap-token-cccccc"); ok {
		t.Error("the token cleaner left an expired token")
	}
}

type recorder struct {
	header http.Header
	code   int
	body   strings.Builder
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, code: http.StatusOK} }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

var _ io.Writer = (*recorder)(nil)

func template(app string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: app, Image: "example.com/" + app + ":1"}}},
	}
}

func TestWorkloads(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.boot("worker-0", l.data("worker.yaml", "worker-0"))
	l.boot("worker-1", l.data("worker.yaml", "worker-1"))
	l.up()
	l.install("cp-0", nodeManager)
	l.install("cp-0", network)
	l.advance(5*time.Minute, nil)
	s := l.store("cp-0")
	three := int32(3)
	create := func(gr func() (*unstructured.Unstructured, error)) {
		t.Helper()
		if _, err := gr(); err != nil {
			t.Fatal(err)
		}
	}
	web := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       appsv1.DeploymentSpec{Replicas: &three, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template("web")},
	}
	create(func() (*unstructured.Unstructured, error) { return s.Create(kubeapi.Deployments, web) })
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "once"}, Spec: batchv1.JobSpec{Template: template("once")}}
	job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	create(func() (*unstructured.Unstructured, error) { return s.Create(kubeapi.Jobs, job) })
	gated := template("gated")
	gated.Spec.Volumes = []corev1.Volume{{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "later"}}}}
	create(func() (*unstructured.Unstructured, error) {
		return s.Create(kubeapi.StatefulSets, &appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "gated"},
			Spec:       appsv1.StatefulSetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "gated"}}, Template: gated},
		})
	})
	l.advance(3*time.Minute, nil)
	if d := get[appsv1.Deployment](t, s, "deployments", "web"); d.Status.AvailableReplicas != 3 || d.Status.ObservedGeneration != 1 {
		t.Errorf("deployment: %+v", d.Status)
	}
	if j := get[batchv1.Job](t, s, "jobs", "once"); j.Status.Succeeded != 1 || len(j.Status.Conditions) != 2 {
		t.Errorf("job: %+v", j.Status)
	}
	if g := get[appsv1.StatefulSet](t, s, "statefulsets", "gated"); g.Status.ReadyReplicas != 0 {
		t.Error("a pod runs without the secret that it mounts")
	}
	create(func() (*unstructured.Unstructured, error) {
		return s.Create(kubeapi.Secrets, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "later"}})
	})
	web = get[appsv1.Deployment](t, s, "deployments", "web")
	web.Spec.Template.Spec.Containers[0].Image = "example.com/web:2"
	create(func() (*unstructured.Unstructured, error) { return s.Update(kubeapi.Deployments, web) })
	l.machines.Stop(l.id("worker-1"))
	l.advance(12*time.Minute, nil)
	if g := get[appsv1.StatefulSet](t, s, "statefulsets", "gated"); g.Status.ReadyReplicas != 1 {
		t.Errorf("the secret is there, stateful set: %+v", g.Status)
	}
	d := get[appsv1.Deployment](t, s, "deployments", "web")
	if d.Status.UpdatedReplicas != 3 || d.Status.AvailableReplicas != 3 || d.Status.ObservedGeneration != 2 {
		t.Errorf("after a new image and the loss of a node: %+v", d.Status)
	}
	for _, u := range s.List(kubeapi.Pods, "default") {
		p, err := kubeapi.As[corev1.Pod](u)
		if err != nil {
			t.Fatal(err)
		}
		if p.Labels["app"] == "web" && p.DeletionTimestamp == nil && (p.Spec.NodeName != "worker-0" || p.Spec.Containers[0].Image != "example.com/web:2") {
			t.Errorf("pod %s runs %s on %s", p.Name, p.Spec.Containers[0].Image, p.Spec.NodeName)
		}
	}
	if err := s.Delete(kubeapi.Deployments, "default", "web"); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Get(kubeapi.Deployments, "default", "web"); ok {
		t.Error("the deployment is still there")
	}
	l.advance(time.Minute, nil)
	for _, u := range s.List(kubeapi.Pods, "default") {
		if u.GetLabels()["app"] == "web" && nodeOf(u) == "worker-0" {
			t.Errorf("pod %s outlives its deployment", u.GetName())
		}
	}
}

func nodeOf(u *unstructured.Unstructured) string {
	name, _, err := unstructured.NestedString(u.Object, "spec", "nodeName")
	if err != nil {
		return ""
	}
	return name
}

func get[T any](t *testing.T, s *kubeapi.Store, resource, name string) *T {
	t.Helper()
	gr := kubeapi.Deployments
	switch resource {
	case "jobs":
		gr = kubeapi.Jobs
	case "statefulsets":
		gr = kubeapi.StatefulSets
	}
	u, ok := s.Get(gr, "default", name)
	if !ok {
		t.Fatal(apierrors.NewNotFound(gr, name))
	}
	out, err := kubeapi.As[T](u)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
