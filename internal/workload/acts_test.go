// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// TestNoWriteAfterTheLease: a write is refused before it leaves, reads are made.
func TestNoWriteAfterTheLease(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	ctx := lazuli.WithGuard(t.Context(), func() error { return lazuli.Errorf(lazuli.CodeFenced, "the lease is over") })
	err := clusters.EnsureTokens(ctx, access, []workload.BootstrapToken{{
		ID: "abcdef", Secret: "0123456789abcdef", Expires: time.Date(2099, 1, 2, 3, 4, 5, 0, time.UTC),
	}})
	if lazuli.CodeOf(err) != lazuli.CodeFenced || workload.ProblemOf(err) != "" {
		t.Errorf("a write after the lease: %v", err)
	}
	if _, there := c.Store().Get(kubeapi.Secrets, "kube-system", "bootstrap-token-abcdef"); there {
		t.Error("it was made all the same")
	}
	if _, err := clusters.Nodes(ctx, access); err != nil {
		t.Errorf("a read after the lease: %v", err)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	token := workload.BootstrapToken{ID: "abcdef", Secret: "0123456789abcdef", Expires: time.Date(2099, 1, 2, 3, 4, 5, 0, time.UTC), Machine: "m-1"}
	for range 2 {
		if err := clusters.EnsureTokens(t.Context(), access, []workload.BootstrapToken{token}); err != nil {
			t.Fatal(err)
		}
	}
	u, ok := c.Store().Get(kubeapi.Secrets, "kube-system", "bootstrap-token-abcdef")
	if !ok {
		t.Fatal("no secret")
	}
	s, err := kubeapi.As[corev1.Secret](u)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"type": string(s.Type)}
	for k, v := range s.Data {
		got[k] = string(v)
	}
	want := map[string]string{
		"type": "bootstrap.kubernetes.io/token", "token-id": "abcdef", "token-secret": "0123456789abcdef", "expiration": "2099-01-02T03:04:05Z",
		"usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
		"auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token", "description": "for machine m-1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, reason := range []string{"there", "not there"} {
		if err := clusters.DeleteToken(t.Context(), access, "abcdef"); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
	}
	if _, there := c.Store().Get(kubeapi.Secrets, "kube-system", "bootstrap-token-abcdef"); there {
		t.Error("the token is still there")
	}
	for reason, bad := range map[string]workload.BootstrapToken{
		"no expiry":  {ID: "abcdef", Secret: "0123456789abcdef"},
		"bad id":     {ID: "../etc", Secret: "0123456789abcdef", Expires: token.Expires},
		"bad secret": {ID: "abcdef", Secret: "0123456789ABCDEF", Expires: token.Expires},
	} {
		err := clusters.EnsureTokens(t.Context(), access, []workload.BootstrapToken{bad})
		if err == nil || strings.Contains(strings.ToLower(err.Error()), "0123456789") {
			t.Errorf("%s: %v", reason, err)
		}
	}
	if err := clusters.DeleteToken(t.Context(), access, "../../nodes"); err == nil {
		t.Error("an id that is a path is taken")
	}
	if out := fmt.Sprintf("%v %+v %#v %s", token, token, token, []workload.BootstrapToken{token}); strings.Contains(out, "0123456789") {
		t.Errorf("a token prints as %s", out)
	}
}

func TestDeleteLoadBalancerServices(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	add := func(name string, kind corev1.ServiceType, finalizers ...string) {
		t.Helper()
		s := &corev1.Service{Spec: corev1.ServiceSpec{Type: kind, Ports: []corev1.ServicePort{{Port: 80}}}}
		s.Name, s.Namespace, s.Finalizers = name, "default", finalizers
		if _, err := c.Store().Create(kubeapi.Services, s); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(reason string, want int) {
		t.Helper()
		got, err := clusters.DeleteLoadBalancerServices(t.Context(), access)
		if err != nil || got != want {
			t.Errorf("%s: %d remain, want %d (%v)", reason, got, want, err)
		}
	}
	expect("none", 0)
	add("internal", corev1.ServiceTypeClusterIP)
	add("quick", corev1.ServiceTypeLoadBalancer)
	add("held", corev1.ServiceTypeLoadBalancer, "service.kubernetes.io/load-balancer-cleanup")
	expect("one is held by the cloud controller", 1)
	c.counted("DELETE")
	expect("it still is", 1)
	if n := c.counted("DELETE"); n != 0 {
		t.Errorf("asked %d times again", n)
	}
	u, _ := c.Store().Get(kubeapi.Services, "default", "held")
	u = u.DeepCopy()
	u.SetFinalizers(nil)
	if _, err := c.Store().Update(kubeapi.Services, u); err != nil {
		t.Fatal(err)
	}
	expect("its load balancer is gone", 0)
	if _, there := c.Store().Get(kubeapi.Services, "default", "internal"); !there {
		t.Error("a service without a load balancer was deleted")
	}
}
