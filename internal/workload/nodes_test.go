// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
	"github.com/lazuli-dev/lazuli/internal/bootstrap"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

func TestNodes(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	young := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "b-young", Annotations: map[string]string{
			bootstrap.PhaseAnnotation: "kubeadm-join", bootstrap.StateAnnotation: "failed", bootstrap.LogAnnotation: "no route",
		}},
		Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{
			{Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: corev1.TaintEffectNoSchedule},
		}},
	}
	c.addNode(t, young)
	c.addNode(t, readyNode("a-ready"))
	got, err := clusters.Nodes(t.Context(), access)
	if err != nil {
		t.Fatal(err)
	}
	want := []workload.Node{
		{
			Name: "a-ready", ProviderID: "azure:///subscriptions/s/x/a-ready", Ready: true, Reason: "KubeletReady", Version: "v1.36.3",
			Zone: "westeurope-2", InternalIP: "10.0.0.4", Initialised: true,
		},
		{
			Name: "b-young", Reason: "NodeStatusUnknown", Message: "the kubelet has not told anything", Cordoned: true,
			Taints:         []workload.Taint{{Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: "NoSchedule"}},
			BootstrapPhase: "kubeadm-join", BootstrapState: "failed", BootstrapLog: "no route",
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(workload.Node{}, "CreatedAt", "Labels", "Annotations")); diff != "" {
		t.Error(diff)
	}
	if time.Since(got[0].CreatedAt) > time.Minute {
		t.Errorf("created at %s", got[0].CreatedAt)
	}
}

func TestMarkNode(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	n := readyNode("n")
	n.Labels["keep"] = "me"
	n.Spec.Taints = []corev1.Taint{{Key: "theirs", Effect: corev1.TaintEffectNoExecute}, {Key: "gpu", Value: "old", Effect: corev1.TaintEffectNoSchedule}}
	c.addNode(t, n)
	label := func() {
		t.Helper()
		err := clusters.MarkNode(t.Context(), access, "n", workload.Marks{
			Labels:      map[string]string{"node-role.kubernetes.io/worker": ""},
			Taints:      []workload.Taint{{Key: "gpu", Value: "new", Effect: "NoSchedule"}, {Key: "more", Effect: "NoSchedule"}},
			Annotations: map[string]string{"a": "b"},
		}, workload.Marks{})
		if err != nil {
			t.Fatal(err)
		}
	}
	// The first write meets a Node that somebody gives a taint meanwhile.
	meanwhile := false
	c.setFault(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch && !meanwhile {
			meanwhile = true
			changed := n.DeepCopy()
			changed.Spec.Taints = append(changed.Spec.Taints, corev1.Taint{Key: "late", Effect: corev1.TaintEffectNoExecute})
			c.addNode(t, changed)
		}
		return false
	})
	label()
	nodes, err := clusters.Nodes(t.Context(), access)
	if err != nil {
		t.Fatal(err)
	}
	want := []workload.Taint{{Key: "theirs", Effect: "NoExecute"}, {Key: "gpu", Value: "new", Effect: "NoSchedule"}, {Key: "late", Effect: "NoExecute"}, {Key: "more", Effect: "NoSchedule"}}
	if diff := cmp.Diff(want, nodes[0].Taints); diff != "" {
		t.Error(diff)
	}
	if _, ok := nodes[0].Labels["node-role.kubernetes.io/worker"]; !ok || nodes[0].Labels["keep"] != "me" || nodes[0].Annotations["a"] != "b" {
		t.Errorf("node is %+v", nodes[0])
	}
	c.counted("PATCH")
	label()
	if n := c.counted("PATCH"); n != 0 {
		t.Errorf("a repetition writes %d times", n)
	}
	// What the pool no longer has goes; what others put there stays.
	old := workload.Marks{
		Labels: map[string]string{"node-role.kubernetes.io/worker": "", "absent": "x"}, Annotations: map[string]string{"a": "b"},
		Taints: []workload.Taint{{Key: "gpu", Value: "new", Effect: "NoSchedule"}, {Key: "more", Effect: "NoSchedule"}},
	}
	now := workload.Marks{Taints: []workload.Taint{{Key: "more", Effect: "NoSchedule"}}}
	if err := clusters.MarkNode(t.Context(), access, "n", now, old); err != nil {
		t.Fatal(err)
	}
	if nodes, err = clusters.Nodes(t.Context(), access); err != nil {
		t.Fatal(err)
	}
	want = []workload.Taint{{Key: "theirs", Effect: "NoExecute"}, {Key: "late", Effect: "NoExecute"}, {Key: "more", Effect: "NoSchedule"}}
	if diff := cmp.Diff(want, nodes[0].Taints); diff != "" {
		t.Error(diff)
	}
	if _, ok := nodes[0].Labels["node-role.kubernetes.io/worker"]; ok || nodes[0].Labels["keep"] != "me" || nodes[0].Annotations["a"] != "" {
		t.Errorf("node is %+v", nodes[0])
	}
	err = clusters.MarkNode(t.Context(), access, "nobody", workload.Marks{Labels: map[string]string{"a": "b"}}, workload.Marks{})
	if !apierrors.IsNotFound(err) || workload.ProblemOf(err) != "" {
		t.Errorf("a node that is not there: %v", err)
	}
}

func TestDeleteNode(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	c.addNode(t, readyNode("n"))
	for _, reason := range []string{"there", "not there"} {
		if err := clusters.DeleteNode(t.Context(), access, "n"); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		if _, there := c.Store().Get(kubeapi.Nodes, "", "n"); there {
			t.Errorf("%s: still there", reason)
		}
	}
}

// inMemory serves the cluster over pipes; it belongs in a synctest bubble.
func inMemory(t *testing.T, c *cluster) (workload.Access, *workload.Clusters, *pipe) {
	t.Helper()
	p := newPipe()
	server := &http.Server{Handler: c, TLSConfig: c.tls, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)} // in memory
	go func() { _ = server.ServeTLS(p, "", "") }()
	clusters := workload.New(p, slog.New(slog.DiscardHandler), workload.Options{})
	t.Cleanup(func() {
		clusters.Close()
		_ = server.Close()
		synctest.Wait()
	})
	return c.access(t, "https://10.0.0.1:6443"), clusters, p
}

// watching starts WatchNodes and returns how often it called, and its end.
func watching(ctx context.Context, clusters *workload.Clusters, a workload.Access) (*atomic.Int32, <-chan error) {
	var calls atomic.Int32
	end := make(chan error, 1)
	go func() { end <- clusters.WatchNodes(ctx, a, func() { calls.Add(1) }) }()
	return &calls, end
}

func TestWatchNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		access, clusters, _ := inMemory(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		calls, end := watching(ctx, clusters, access)
		synctest.Wait()
		expect := func(reason string, want int32) {
			t.Helper()
			synctest.Wait()
			if got := calls.Swap(0); got != want {
				t.Errorf("%s: called %d times, want %d", reason, got, want)
			}
		}
		expect("at the start", 1)
		c.addNode(t, readyNode("n"))
		expect("a node comes", 1)
		n := readyNode("n")
		n.Status.Conditions[0].Status = corev1.ConditionFalse
		c.addNode(t, n)
		expect("a node changes", 1)
		if err := c.Store().Delete(kubeapi.Nodes, "", "n"); err != nil {
			t.Fatal(err)
		}
		expect("a node goes", 1)
		time.Sleep(50 * time.Minute) // the certificate lives for an hour
		calls.Store(0)
		c.addNode(t, readyNode("m"))
		expect("a node comes much later", 1)
		cancel()
		if err := <-end; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestWatchNodesStartsOverWhenTheServerForgot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		access, clusters, _ := inMemory(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		var lists, watches int
		c.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("watch") == "" {
				lists++
				return false
			}
			watches++
			switch watches {
			case 1: // the stream tells that the version is too old
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}}`)
				return true
			case 2: // the request is refused for the same reason
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusGone)
				_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`)
				return true
			}
			return false
		})
		calls, end := watching(ctx, clusters, access)
		time.Sleep(time.Minute)
		synctest.Wait()
		if lists != 3 || watches != 3 || calls.Load() != 3 {
			t.Errorf("%d lists, %d watches, %d calls, want 3 of each", lists, watches, calls.Load())
		}
		cancel()
		<-end
	})
}

func TestWatchNodesEndsWhenTheAccessIsLost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		status int
		want   workload.Problem
		after  time.Duration
	}{
		{"refused at once", http.StatusUnauthorized, workload.Unauthorised, 0},
		{"not answering: 1+2+4+8 s", 0, workload.Unreachable, 15 * time.Second},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				access, clusters, p := inMemory(t, c)
				_, end := watching(t.Context(), clusters, access)
				synctest.Wait()
				c.setFault(func(w http.ResponseWriter, _ *http.Request) bool {
					w.WriteHeader(tt.status)
					return true
				})
				if tt.status == 0 {
					_ = p.Close()
				}
				started := time.Now()
				clusters.Forget(uid) // closes idle connections only; the watch goes on
				_, end2 := watching(t.Context(), clusters, access)
				err := <-end2
				if workload.ProblemOf(err) != tt.want || time.Since(started) < tt.after || time.Since(started) > tt.after+time.Minute {
					t.Errorf("%v after %s, want %s after %s", err, time.Since(started), tt.want, tt.after)
				}
				select {
				case err := <-end:
					t.Errorf("the watch that is under way ended: %v", err)
				default:
				}
			})
		})
	}
}

func TestAnnotationsAreBootstrapsOwn(t *testing.T) {
	t.Parallel()
	ours := []string{workload.BootstrapPhaseAnnotation, workload.BootstrapStateAnnotation, workload.BootstrapLogAnnotation}
	theirs := []string{bootstrap.PhaseAnnotation, bootstrap.StateAnnotation, bootstrap.LogAnnotation}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Error(diff)
	}
	if strings.Join(ours, "") == "" {
		t.Error("empty names")
	}
}
