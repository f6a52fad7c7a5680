// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxWaiting bounds what Status tells.
const maxWaiting = 20

// Status tells whether all objects of set are there and have settled, and else
// what it waits for, an object a line, in the order in which kinds are applied. It
// reads each kind once, and by name what does not carry the set's label, for
// another set may declare it too: its cost is the number of kinds and of such
// objects. A kind that the cluster
// does not know yet is something to wait for.
//
// Settled is: a Deployment, DaemonSet, StatefulSet or ReplicaSet whose controller
// has seen the newest generation and has all replicas updated and available; a
// Job that is complete; a Pod that is ready or has succeeded; a definition that is
// established; an APIService that is available; a claim that is not lost; a namespace
// that is not being deleted; any other object that does not say Ready=False.
func (c *Clusters) Status(ctx context.Context, a Access, set Set) (ready bool, waiting []string, err error) {
	refs, err := c.known.refs(set)
	if err != nil {
		return false, nil, fmt.Errorf("read status: %w", err)
	}
	k, err := c.client(a)
	if err != nil {
		return false, nil, fmt.Errorf("read status of set %s: %w", set.Name, err)
	}
	ctx, cancel := c.call(ctx)
	defer cancel()
	found, err := k.members(ctx, set.Name, refs)
	if err != nil {
		return false, nil, fmt.Errorf("read status of set %s: %w", set.Name, err)
	}
	for _, r := range refs {
		why := "its kind is not served yet"
		if _, ref, err := k.locate(ctx, r); err == nil {
			why = "missing"
			u := found[ref.same()]
			if u == nil {
				if u, err = k.shared(ctx, r); err != nil {
					return false, nil, fmt.Errorf("read status of set %s: %w", set.Name, err)
				}
			}
			if u != nil {
				_, why = readiness(u)
			}
		} else if !meta.IsNoMatchError(err) {
			return false, nil, fmt.Errorf("read status of set %s: %w", set.Name, err)
		}
		if why != "" {
			waiting = append(waiting, r.String()+": "+why)
		}
	}
	ready = len(waiting) == 0
	if more := len(waiting) - maxWaiting; more > 0 {
		waiting = append(waiting[:maxWaiting], fmt.Sprintf("and %d more", more))
	}
	return ready, waiting, nil
}

// members lists the objects that carry the set's label, kind by kind.
func (k *client) members(ctx context.Context, set string, refs []Ref) (map[Ref]*unstructured.Unstructured, error) {
	var kinds []schema.GroupVersionKind
	for _, r := range refs {
		if gvk := r.gvk(); !slices.Contains(kinds, gvk) {
			kinds = append(kinds, gvk)
		}
	}
	lists, errs := make([][]unstructured.Unstructured, len(kinds)), make([]error, len(kinds))
	each(len(kinds), func(i int) {
		m, err := k.mapping(ctx, kinds[i])
		if err != nil {
			errs[i] = err
			return
		}
		lists[i], errs[i] = k.list(ctx, m.Resource, SetLabel+"="+set)
	})
	found := map[Ref]*unstructured.Unstructured{}
	for i, list := range lists {
		if errs[i] != nil && !meta.IsNoMatchError(errs[i]) {
			return nil, errs[i]
		}
		for n := range list {
			u := &list[n]
			ref := Ref{APIVersion: kinds[i].GroupVersion().String(), Kind: kinds[i].Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
			found[ref.same()] = u
		}
	}
	return found, nil
}

// shared reads an object that carries the label of another set, which declares it
// too; nil when there is none, or one that no set brought.
func (k *client) shared(ctx context.Context, ref Ref) (*unstructured.Unstructured, error) {
	r, ref, err := k.locate(ctx, ref)
	if err != nil {
		return nil, err
	}
	u, err := r.Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, classify(err)
	}
	if u.GetLabels()[SetLabel] == "" {
		return nil, nil //nolint:nilnil // it is somebody else's
	}
	return u, nil
}

// readiness tells whether an object has settled, and why not.
func readiness(u *unstructured.Unstructured) (ready bool, why string) {
	o := view{u.Object}
	if u.GetDeletionTimestamp() != nil {
		return false, "is being deleted"
	}
	gk := u.GroupVersionKind().GroupKind()
	switch gk {
	case schema.GroupKind{Group: "apps", Kind: "Deployment"}:
		why = o.deployment(u.GetGeneration())
	case schema.GroupKind{Group: "apps", Kind: "DaemonSet"}:
		why = o.daemonSet(u.GetGeneration())
	case schema.GroupKind{Group: "apps", Kind: "StatefulSet"}:
		why = o.statefulSet(u.GetGeneration())
	case schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}:
		why = o.replicaSet(u.GetGeneration())
	case schema.GroupKind{Group: "batch", Kind: "Job"}:
		why = o.job()
	case schema.GroupKind{Kind: "Pod"}:
		why = o.pod()
	case schema.GroupKind{Kind: "PersistentVolumeClaim"}:
		if o.text("status", "phase") == "Lost" {
			why = "its volume is lost"
		}
	case schema.GroupKind{Kind: kindNamespace}:
		if o.text("status", "phase") == "Terminating" {
			why = "is being deleted"
		}
	case schema.GroupKind{Group: groupDefinitions, Kind: kindDefinition}:
		why = o.needs("Established", "not established")
	case schema.GroupKind{Group: "apiregistration.k8s.io", Kind: "APIService"}:
		why = o.needs("Available", "not available")
	default:
		why = o.other(u.GetGeneration())
	}
	return why == "", why
}

// view reads fields of an object; what is absent or of another type is zero.
type view struct{ object map[string]any }

func (v view) text(path ...string) string {
	s, _, _ := unstructured.NestedString(v.object, path...)
	return s
}

func (v view) number(path ...string) int64 {
	n, _, _ := unstructured.NestedInt64(v.object, path...)
	return n
}

// replicas is the wanted number, which is 1 when it is not written.
func (v view) replicas() int64 {
	n, found, err := unstructured.NestedInt64(v.object, "spec", "replicas")
	if err != nil || !found {
		return 1
	}
	return n
}

// condition returns status, reason and message of a condition, or "".
func (v view) condition(kind string) (status, reason, message string) {
	all, _, _ := unstructured.NestedSlice(v.object, "status", "conditions")
	for _, c := range all {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			c := view{m}
			return c.text("status"), c.text("reason"), c.text("message")
		}
	}
	return "", "", ""
}

func (v view) needs(kind, otherwise string) string {
	status, reason, message := v.condition(kind)
	if status == "True" {
		return ""
	}
	return join(otherwise, reason, message)
}

func join(text, reason, message string) string {
	if reason != "" {
		text += ", " + reason
	}
	if message != "" {
		text += ": " + message
	}
	return text
}

const unseen = "its controller has not seen it yet"

func (v view) observed(generation int64) bool {
	return v.number("status", "observedGeneration") >= generation
}

func (v view) deployment(generation int64) string {
	if !v.observed(generation) {
		return unseen
	}
	want := v.replicas()
	updated, available := v.number("status", "updatedReplicas"), v.number("status", "availableReplicas")
	if _, reason, message := v.condition("Progressing"); reason == "ProgressDeadlineExceeded" {
		return join("stuck", reason, message)
	}
	switch {
	case updated < want:
		return fmt.Sprintf("%d of %d replicas are updated", updated, want)
	case v.number("status", "replicas") > updated:
		return "old replicas are still there"
	case available < want:
		return fmt.Sprintf("%d of %d replicas are available", available, want)
	}
	return ""
}

func (v view) daemonSet(generation int64) string {
	if !v.observed(generation) {
		return unseen
	}
	want := v.number("status", "desiredNumberScheduled")
	updated, available := v.number("status", "updatedNumberScheduled"), v.number("status", "numberAvailable")
	switch {
	case updated < want && v.text("spec", "updateStrategy", "type") != "OnDelete":
		return fmt.Sprintf("%d of %d nodes are updated", updated, want)
	case available < want:
		return fmt.Sprintf("%d of %d nodes are available", available, want)
	}
	return ""
}

func (v view) statefulSet(generation int64) string {
	if !v.observed(generation) {
		return unseen
	}
	want, ready := v.replicas(), v.number("status", "readyReplicas")
	if ready < want {
		return fmt.Sprintf("%d of %d replicas are ready", ready, want)
	}
	if v.text("spec", "updateStrategy", "type") == "OnDelete" {
		return ""
	}
	want -= v.number("spec", "updateStrategy", "rollingUpdate", "partition")
	if updated := v.number("status", "updatedReplicas"); updated < want {
		return fmt.Sprintf("%d of %d replicas are updated", updated, want)
	}
	return ""
}

func (v view) replicaSet(generation int64) string {
	if !v.observed(generation) {
		return unseen
	}
	if want, available := v.replicas(), v.number("status", "availableReplicas"); available < want {
		return fmt.Sprintf("%d of %d replicas are available", available, want)
	}
	return ""
}

func (v view) job() string {
	if status, reason, message := v.condition("Failed"); status == "True" {
		return join("failed", reason, message)
	}
	return v.needs("Complete", "not complete")
}

func (v view) pod() string {
	switch v.text("status", "phase") {
	case "Succeeded":
		return ""
	case "Failed":
		return join("failed", v.text("status", "reason"), v.text("status", "message"))
	}
	return v.needs("Ready", "not ready")
}

// other is for every kind without rules of its own: nothing to wait for, unless
// it says so in the way that most controllers do.
func (v view) other(generation int64) string {
	if seen := v.number("status", "observedGeneration"); seen > 0 && seen < generation {
		return unseen
	}
	if status, reason, message := v.condition("Ready"); status == "False" {
		return join("not ready", reason, message)
	}
	return ""
}
