// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// defaultPodGrace is terminationGracePeriodSeconds' default.
const defaultPodGrace = int64(30)

// remove deletes an object as far as its finalizers, its grace period and its namespace allow. gone says whether it
// is really away.
func (s *Store) remove(r *resource, old *unstructured.Unstructured, d *metav1.DeleteOptions, o *writeOptions) (u *unstructured.Unstructured, gone bool, err error) {
	if err := checkPreconditions(r, old, d); err != nil {
		return nil, false, err
	}
	if o.dryRun {
		return old, true, nil
	}
	grace := gracePeriod(r, old, d)
	u = old.DeepCopy()
	finalizers := u.GetFinalizers()
	switch policy := propagation(d); {
	case policy == metav1.DeletePropagationOrphan:
		s.orphan(old.GetUID())
	case policy == metav1.DeletePropagationForeground && len(s.owned[old.GetUID()]) > 0:
		if !slices.Contains(finalizers, metav1.FinalizerDeleteDependents) {
			finalizers = append(slices.Clone(finalizers), metav1.FinalizerDeleteDependents)
		}
	}
	u.SetFinalizers(finalizers)
	if at := old.GetDeletionTimestamp(); at == nil {
		when := metav1.NewTime(s.now().Add(time.Duration(grace) * time.Second)).Rfc3339Copy()
		u.SetDeletionTimestamp(&when)
		u.SetDeletionGracePeriodSeconds(&grace)
		if r.generation {
			u.SetGeneration(old.GetGeneration() + 1)
		}
	} else if held := old.GetDeletionGracePeriodSeconds(); held != nil && grace < *held {
		u.SetDeletionGracePeriodSeconds(&grace)
	} else if grace > 0 {
		return old, false, nil
	}
	if r.GroupResource() == Namespaces {
		return s.terminateNamespace(r, old, u)
	}
	if r.GroupResource() == CustomResourceDefinitions {
		s.removeCustomResources(u)
	}
	if grace == 0 && len(finalizers) == 0 {
		return s.purge(r, old, u), true, nil
	}
	u = s.commit(Modified, r, u, old)
	if slices.Contains(finalizers, metav1.FinalizerDeleteDependents) {
		return s.deleteDependentsFirst(r, u)
	}
	return u, false, nil
}

func checkPreconditions(r *resource, old *unstructured.Unstructured, d *metav1.DeleteOptions) error {
	if d.Preconditions == nil {
		return nil
	}
	if want := d.Preconditions.UID; want != nil && *want != old.GetUID() {
		return apierrors.NewConflict(r.GroupResource(), old.GetName(), fmt.Errorf(
			"Precondition failed: UID in precondition: %v, UID in object meta: %v", *want, old.GetUID()))
	}
	if want := d.Preconditions.ResourceVersion; want != nil && *want != old.GetResourceVersion() {
		return apierrors.NewConflict(r.GroupResource(), old.GetName(), fmt.Errorf(
			"Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v",
			*want, old.GetResourceVersion()))
	}
	return nil
}

// gracePeriod is zero for all but pods that run on a node: their kubelet must end them first.
func gracePeriod(r *resource, old *unstructured.Unstructured, d *metav1.DeleteOptions) int64 {
	if r.GroupResource() != Pods || nestedString(old, "spec", "nodeName") == "" {
		return 0
	}
	if phase := nestedString(old, "status", "phase"); phase == "Succeeded" || phase == "Failed" {
		return 0
	}
	if d.GracePeriodSeconds != nil {
		return max(0, *d.GracePeriodSeconds)
	}
	if g, ok, err := unstructured.NestedInt64(old.Object, "spec", "terminationGracePeriodSeconds"); ok && err == nil {
		return max(0, g)
	}
	return defaultPodGrace
}

func propagation(d *metav1.DeleteOptions) metav1.DeletionPropagation {
	switch {
	case d.PropagationPolicy != nil:
		return *d.PropagationPolicy
	case d.OrphanDependents != nil && *d.OrphanDependents: //nolint:staticcheck // old clients still send it
		return metav1.DeletePropagationOrphan
	}
	return metav1.DeletePropagationBackground
}

// released says whether a deleted object has nothing left that holds it.
func (s *Store) released(r *resource, u *unstructured.Unstructured) bool {
	if len(u.GetFinalizers()) > 0 {
		return false
	}
	if r.GroupResource() == Namespaces {
		return !s.namespaceInUse(u.GetName())
	}
	if g := u.GetDeletionGracePeriodSeconds(); r.GroupResource() == Pods && g != nil && *g > 0 {
		return false
	}
	return true
}

// purge takes an object out, then its dependents, and ends what waited for it.
func (s *Store) purge(r *resource, old, u *unstructured.Unstructured) *unstructured.Unstructured {
	if u == old {
		u = old.DeepCopy()
	}
	owners := old.GetOwnerReferences()
	out := s.commit(Deleted, r, u, old)
	s.collectDependents(old.GetUID())
	if r.GroupResource() == CustomResourceDefinitions {
		s.unregister(old)
	}
	if ns := old.GetNamespace(); ns != "" {
		s.finishNamespace(ns)
	}
	for _, owner := range owners {
		s.finishForeground(owner.UID)
	}
	return out
}

// collectDependents is the garbage collector: an object goes with its last owner.
func (s *Store) collectDependents(uid types.UID) {
	for _, ref := range s.dependents(uid) {
		r, ok := s.reg.preferred[ref.gr]
		if !ok {
			continue
		}
		u, err := s.find(r, ref.ns, ref.name)
		if err != nil {
			continue
		}
		rest := withoutOwner(u.GetOwnerReferences(), uid)
		if len(rest) > 0 {
			next := u.DeepCopy()
			next.SetOwnerReferences(rest)
			s.commit(Modified, r, next, u)
			continue
		}
		if u.GetDeletionTimestamp() == nil {
			// An error cannot happen without preconditions, and a held dependent is simply left held.
			_, _, _ = s.remove(r, u, &metav1.DeleteOptions{}, &writeOptions{internal: true})
		}
	}
}

// orphan takes the owner out of its dependents' references.
func (s *Store) orphan(uid types.UID) {
	for _, ref := range s.dependents(uid) {
		r, ok := s.reg.preferred[ref.gr]
		if !ok {
			continue
		}
		u, err := s.find(r, ref.ns, ref.name)
		if err != nil {
			continue
		}
		next := u.DeepCopy()
		next.SetOwnerReferences(withoutOwner(u.GetOwnerReferences(), uid))
		s.commit(Modified, r, next, u)
	}
}

func withoutOwner(refs []metav1.OwnerReference, uid types.UID) []metav1.OwnerReference {
	return slices.DeleteFunc(slices.Clone(refs), func(o metav1.OwnerReference) bool { return o.UID == uid })
}

// deleteDependentsFirst serves propagation Foreground; the owner goes with its last blocking dependent.
func (s *Store) deleteDependentsFirst(r *resource, u *unstructured.Unstructured) (*unstructured.Unstructured, bool, error) {
	for _, ref := range s.dependents(u.GetUID()) {
		dr, ok := s.reg.preferred[ref.gr]
		if !ok {
			continue
		}
		dep, err := s.find(dr, ref.ns, ref.name)
		if err != nil || dep.GetDeletionTimestamp() != nil {
			continue
		}
		foreground := metav1.DeletePropagationForeground
		_, _, err = s.remove(dr, dep, &metav1.DeleteOptions{PropagationPolicy: &foreground}, &writeOptions{internal: true})
		if err != nil {
			return nil, false, err
		}
	}
	s.finishForeground(u.GetUID())
	if left, err := s.find(r, u.GetNamespace(), u.GetName()); err == nil && left.GetUID() == u.GetUID() {
		return left, false, nil
	}
	return u, true, nil
}

// finishForeground ends the foreground deletion of an owner that has no dependents left.
func (s *Store) finishForeground(uid types.UID) {
	if len(s.owned[uid]) > 0 {
		return
	}
	for _, gr := range s.groupResources() {
		for _, u := range sortedItems(s.data[gr].items, "") {
			if u.GetUID() != uid || u.GetDeletionTimestamp() == nil {
				continue
			}
			rest := slices.DeleteFunc(slices.Clone(u.GetFinalizers()), func(f string) bool {
				return f == metav1.FinalizerDeleteDependents
			})
			if len(rest) == len(u.GetFinalizers()) {
				return
			}
			next := u.DeepCopy()
			next.SetFinalizers(rest)
			r := s.reg.preferred[gr]
			if s.released(r, next) {
				s.purge(r, u, next)
				return
			}
			s.commit(Modified, r, next, u)
			return
		}
	}
}

func (s *Store) groupResources() []schema.GroupResource {
	out := make([]schema.GroupResource, 0, len(s.data))
	for gr := range s.data {
		out = append(out, gr)
	}
	slices.SortFunc(out, func(a, b schema.GroupResource) int {
		return compareRefs(objectRef{gr: a}, objectRef{gr: b})
	})
	return out
}

// terminateNamespace marks a namespace and empties it.
func (s *Store) terminateNamespace(r *resource, old, u *unstructured.Unstructured) (*unstructured.Unstructured, bool, error) {
	if slices.Contains([]string{"default", "kube-system", "kube-public"}, u.GetName()) {
		return nil, false, apierrors.NewForbidden(r.GroupResource(), u.GetName(), fmt.Errorf("this namespace may not be deleted"))
	}
	setNested(u, "Terminating", "status", "phase")
	u = s.commit(Modified, r, u, old)
	for _, gr := range s.groupResources() {
		cr, c := s.reg.preferred[gr], s.data[gr]
		if cr == nil || c == nil || !cr.namespaced {
			continue
		}
		for _, item := range sortedItems(c.items, u.GetName()) {
			if item.GetDeletionTimestamp() != nil {
				continue
			}
			if current, err := s.find(cr, item.GetNamespace(), item.GetName()); err == nil {
				_, _, err = s.remove(cr, current, &metav1.DeleteOptions{}, &writeOptions{internal: true})
				if err != nil {
					return nil, false, err
				}
			}
		}
	}
	s.finishNamespace(u.GetName())
	_, err := s.find(r, "", u.GetName())
	return u, err != nil, nil
}

func (s *Store) namespaceInUse(name string) bool {
	for gr, c := range s.data {
		if r := s.reg.preferred[gr]; r != nil && r.namespaced && len(sortedItems(c.items, name)) > 0 {
			return true
		}
	}
	return false
}

// finishNamespace takes a terminating namespace out once it is empty. The finalizer "kubernetes" of its spec is the
// namespace controller's, whose part this is.
func (s *Store) finishNamespace(name string) {
	u, ok := s.data[Namespaces].items[name]
	if !ok || u.GetDeletionTimestamp() == nil || len(u.GetFinalizers()) > 0 || s.namespaceInUse(name) {
		return
	}
	r := s.reg.preferred[Namespaces]
	next := u.DeepCopy()
	s.commit(Deleted, r, next, u)
}
