// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	tokenPrefix = "bootstrap-token-"
	tokenType   = "bootstrap.kubernetes.io/token"
	// tokenGroup may do what a joining machine does (kubeadm binds it at init).
	tokenGroup = "system:bootstrappers:kubeadm:default-node-token"
)

var (
	tokenID     = regexp.MustCompile(`^[a-z0-9]{6}$`)
	tokenSecret = regexp.MustCompile(`^[a-z0-9]{16}$`)
)

// BootstrapToken lets one machine join until it expires. It prints as its id.
type BootstrapToken struct {
	ID      string    // six characters of [a-z0-9]
	Secret  string    // sixteen characters of [a-z0-9]
	Expires time.Time // the cluster's token cleaner removes it then
	Machine string    // that it is for
}

// Format implements fmt.Formatter, so that no verb prints the secret.
func (t BootstrapToken) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "token "+t.ID+" of "+t.Machine)
}

// LogValue implements slog.LogValuer.
func (t BootstrapToken) LogValue() slog.Value {
	return slog.StringValue("token " + t.ID + " of " + t.Machine)
}

// EnsureTokens makes the tokens known to the cluster, each as a Secret of
// kube-system, and gives those that are there already the new expiry. It
// stops at the first failure.
func (c *Clusters) EnsureTokens(ctx context.Context, a Access, tokens []BootstrapToken) error {
	k, err := c.client(a)
	if err != nil {
		return fmt.Errorf("ensure tokens: %w", err)
	}
	for _, t := range tokens {
		if err := c.ensureToken(ctx, k, t); err != nil {
			return fmt.Errorf("ensure token %s of %s: %w", t.ID, t.Machine, err)
		}
	}
	return nil
}

func (c *Clusters) ensureToken(ctx context.Context, k *client, t BootstrapToken) error {
	if !tokenID.MatchString(t.ID) || !tokenSecret.MatchString(t.Secret) || t.Expires.IsZero() {
		return errors.New("not a token, or without an expiry")
	}
	data := map[string]any{}
	for key, value := range map[string]string{
		"token-id": t.ID, "token-secret": t.Secret, "expiration": t.Expires.UTC().Format(time.RFC3339),
		"usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
		"auth-extra-groups": tokenGroup, "description": "for machine " + t.Machine,
	} {
		data[key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": tokenType,
		"metadata": map[string]any{"name": tokenPrefix + t.ID, "namespace": metav1.NamespaceSystem},
		"data":     data,
	}}
	ctx, cancel := c.call(ctx)
	defer cancel()
	_, err := k.dynamic.Resource(secrets()).Namespace(metav1.NamespaceSystem).Apply(ctx, tokenPrefix+t.ID, secret,
		metav1.ApplyOptions{FieldManager: FieldManager, Force: true})
	return classify(err)
}

// DeleteToken withdraws a token. One that is not there is no error.
func (c *Clusters) DeleteToken(ctx context.Context, a Access, id string) error {
	if !tokenID.MatchString(id) {
		return fmt.Errorf("delete token: %q is not the id of one", id)
	}
	k, err := c.client(a)
	if err != nil {
		return fmt.Errorf("delete token %s: %w", id, err)
	}
	ctx, cancel := c.call(ctx)
	defer cancel()
	err = k.dynamic.Resource(secrets()).Namespace(metav1.NamespaceSystem).Delete(ctx, tokenPrefix+id, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete token %s: %w", id, classify(err))
	}
	return nil
}

// DeleteLoadBalancerServices asks for the deletion of all Services of type
// LoadBalancer, whose load balancers in Azure the cluster's cloud controller then
// takes down, and returns how many are still there. Repeat it until none is.
func (c *Clusters) DeleteLoadBalancerServices(ctx context.Context, a Access) (remaining int, err error) {
	k, err := c.client(a)
	if err != nil {
		return 0, fmt.Errorf("delete load balancer services: %w", err)
	}
	ctx, cancel := c.call(ctx)
	defer cancel()
	found, err := k.loadBalancers(ctx)
	if err != nil {
		return 0, fmt.Errorf("delete load balancer services: %w", err)
	}
	asked := false
	for i := range found {
		s := &found[i]
		if s.GetDeletionTimestamp() != nil {
			continue
		}
		asked = true
		err := k.dynamic.Resource(services()).Namespace(s.GetNamespace()).Delete(ctx, s.GetName(), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return len(found), fmt.Errorf("delete service %s/%s: %w", s.GetNamespace(), s.GetName(), classify(err))
		}
	}
	if !asked {
		return len(found), nil
	}
	// Those without the cloud controller's finalizer are gone at once.
	if found, err = k.loadBalancers(ctx); err != nil {
		return 0, fmt.Errorf("count load balancer services: %w", err)
	}
	return len(found), nil
}

func (k *client) loadBalancers(ctx context.Context) ([]unstructured.Unstructured, error) {
	all, err := k.list(ctx, services(), "")
	if err != nil {
		return nil, err
	}
	var found []unstructured.Unstructured
	for i := range all {
		if kind, _, _ := unstructured.NestedString(all[i].Object, "spec", "type"); kind == "LoadBalancer" {
			found = append(found, all[i])
		}
	}
	return found, nil
}

func services() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "services"}
}

func secrets() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
}
