// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// maxBlocked bounds how many pods a Drained names.
const maxBlocked = 5

// Drained is how far a Node is emptied.
type Drained struct {
	Gone      bool     // there is no such Node
	Remaining int      // pods that are still on it and shall not be
	Waiting   []string // some of them, each with what it waits for
}

// Done reports whether nothing is left that a drain moves.
func (d Drained) Done() bool { return d.Gone || d.Remaining == 0 }

func podsResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "pods"}
}

// Drain cordons a Node and asks for the eviction of the pods on it, which
// PodDisruptionBudgets may refuse, and returns what is left. Repeat it until
// nothing is: it never waits. Pods of a DaemonSet, of the kubelet's own manifests,
// those that have ended, and those that tolerate a cordoned Node stay, as with
// kubectl drain. A Node that does not exist is drained.
func (c *Clusters) Drain(ctx context.Context, a Access, name string) (Drained, error) {
	k, err := c.client(a)
	if err != nil {
		return Drained{}, fmt.Errorf("drain node %s: %w", name, err)
	}
	ctx, cancel := c.call(ctx)
	defer cancel()
	d, err := k.drain(ctx, name)
	if err != nil {
		return d, fmt.Errorf("drain node %s: %w", name, classify(err))
	}
	return d, nil
}

func (k *client) drain(ctx context.Context, name string) (Drained, error) {
	if err := k.cordon(ctx, name, true); err != nil {
		if apierrors.IsNotFound(err) {
			return Drained{Gone: true}, nil
		}
		return Drained{}, err
	}
	list, err := k.dynamic.Resource(podsResource()).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + name})
	if err != nil {
		return Drained{}, err
	}
	var leave []corev1.Pod
	for i := range list.Items {
		var p corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &p); err != nil {
			return Drained{}, fmt.Errorf("read pod %s: %w", list.Items[i].GetName(), err)
		}
		if evictable(&p) {
			leave = append(leave, p)
		}
	}
	whys, errs := make([]string, len(leave)), make([]error, len(leave))
	each(len(leave), func(i int) { whys[i], errs[i] = k.evict(ctx, &leave[i]) })
	d := Drained{}
	for i, why := range whys {
		if errs[i] != nil {
			return d, errs[i]
		}
		if why == "" {
			continue
		}
		d.Remaining++
		if len(d.Waiting) < maxBlocked {
			d.Waiting = append(d.Waiting, leave[i].Namespace+"/"+leave[i].Name+": "+why)
		}
	}
	return d, nil
}

// evictable reports whether a drain moves a pod.
func evictable(p *corev1.Pod) bool {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return false
	}
	if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return false
	}
	if slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.Kind == "DaemonSet" && o.Controller != nil && *o.Controller
	}) {
		return false
	}
	return !slices.ContainsFunc(p.Spec.Tolerations, func(t corev1.Toleration) bool {
		every := t.Key == "" && t.Operator == corev1.TolerationOpExists
		return (every || t.Key == corev1.TaintNodeUnschedulable) && (t.Effect == "" || t.Effect == corev1.TaintEffectNoSchedule)
	})
}

// evict asks for one pod to go and returns why it is still there, "" when it is
// not.
func (k *client) evict(ctx context.Context, p *corev1.Pod) (string, error) {
	if p.DeletionTimestamp != nil {
		return "is ending", nil
	}
	eviction := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy/v1", "kind": "Eviction",
		"metadata": map[string]any{"name": p.Name, "namespace": p.Namespace},
		// Of this very pod, not of a successor with its name.
		"deleteOptions": map[string]any{"preconditions": map[string]any{"uid": string(p.UID)}},
	}}
	_, err := k.dynamic.Resource(podsResource()).Namespace(p.Namespace).Create(ctx, eviction, metav1.CreateOptions{}, "eviction")
	switch {
	case err == nil:
		return "is ending", nil
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return "", nil
	case apierrors.IsTooManyRequests(err):
		return blockedBy(err), nil
	}
	return "", fmt.Errorf("evict %s/%s: %w", p.Namespace, p.Name, err)
}

// blockedBy names what refuses an eviction.
func blockedBy(err error) string {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok && status.Status().Details != nil {
		for _, cause := range status.Status().Details.Causes {
			if cause.Message != "" {
				return cause.Message
			}
		}
	}
	return strings.TrimSpace(err.Error())
}

// Uncordon lets pods onto a Node again.
func (c *Clusters) Uncordon(ctx context.Context, a Access, name string) error {
	k, err := c.client(a)
	if err != nil {
		return fmt.Errorf("uncordon node %s: %w", name, err)
	}
	ctx, cancel := c.call(ctx)
	defer cancel()
	if err := k.cordon(ctx, name, false); err != nil {
		return fmt.Errorf("uncordon node %s: %w", name, classify(err))
	}
	return nil
}

// cordon writes nothing when the Node is so already.
func (k *client) cordon(ctx context.Context, name string, on bool) error {
	nodes := k.dynamic.Resource(nodesResource())
	u, err := nodes.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if now, _, _ := unstructured.NestedBool(u.Object, "spec", "unschedulable"); now == on {
		return nil
	}
	var value any
	if on {
		value = true
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"unschedulable": value}})
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	_, err = nodes.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
	return err
}
