// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// subresources with rules of their own.
const (
	subStatus   = "status"
	subFinalize = "finalize"
	subApproval = "approval"
	subScale    = "scale"
	subEviction = "eviction"
)

// writeOptions say how a write is to be done.
type writeOptions struct {
	dryRun bool
	// internal writes come from the cluster's own components: they write status on the main endpoint and are not
	// tracked in managedFields.
	internal bool
	// typed objects came from the Go type of their kind, and are in its shape.
	typed       bool
	subresource string
	// manager owns the fields; applied says that managedFields are already those of an apply.
	manager string
	applied bool
	// validation of unknown fields: Strict, Warn (default) or Ignore.
	validation string
	warnings   []string
}

// create checks and stores a new object. u is owned by the store afterwards.
func (s *Store) create(r *resource, u *unstructured.Unstructured, o *writeOptions) (*unstructured.Unstructured, error) {
	if u.GetName() == "" && u.GetGenerateName() != "" {
		u.SetName(trimGenerateName(u.GetGenerateName()) + s.suffix())
	}
	if u.GetResourceVersion() != "" {
		return nil, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	if err := s.checkNamespace(r, u.GetNamespace()); err != nil {
		return nil, err
	}
	if _, err := s.find(r, u.GetNamespace(), u.GetName()); err == nil {
		return nil, apierrors.NewAlreadyExists(r.GroupResource(), u.GetName())
	}
	u.SetUID(s.newUID())
	u.SetCreationTimestamp(metav1.NewTime(s.now()).Rfc3339Copy())
	u.SetDeletionTimestamp(nil)
	u.SetDeletionGracePeriodSeconds(nil)
	u.SetSelfLink("")
	unstructured.RemoveNestedField(u.Object, "metadata", "generation")
	if r.generation {
		u.SetGeneration(1)
	}
	if r.status && !o.internal && r.GroupResource() != Nodes {
		unstructured.RemoveNestedField(u.Object, "status")
	}
	if err := s.normalise(r, u, o); err != nil {
		return nil, err
	}
	s.setDefaults(r, u, nil)
	if err := validate(r, u, nil); err != nil {
		return nil, err
	}
	if err := s.allocate(r, u, nil); err != nil {
		return nil, err
	}
	if !o.internal {
		if err := s.trackCreate(r, u, o); err != nil {
			return nil, err
		}
	}
	if o.dryRun {
		return u, nil
	}
	u = s.commit(Added, r, u, nil)
	return s.afterWrite(r, u), nil
}

// update checks and stores a new state of old. u is owned by the store afterwards.
func (s *Store) update(r *resource, old, u *unstructured.Unstructured, o *writeOptions) (*unstructured.Unstructured, error) {
	if err := checkIdentity(r, old, u, o); err != nil {
		return nil, err
	}
	u = keepForeignParts(r, old, u, o)
	copySystemFields(old, u)
	if err := s.normalise(r, u, o); err != nil {
		return nil, err
	}
	s.setDefaults(r, u, old)
	if err := validate(r, u, old); err != nil {
		return nil, err
	}
	if err := s.allocate(r, u, old); err != nil {
		return nil, err
	}
	if r.generation && specChanged(r, old, u) {
		u.SetGeneration(old.GetGeneration() + 1)
	}
	if o.internal {
		u.SetManagedFields(old.GetManagedFields())
	} else if err := s.trackUpdate(r, old, u, o); err != nil {
		return nil, err
	}
	u.SetResourceVersion(old.GetResourceVersion())
	if sameButTimes(old, u) {
		return old, nil
	}
	if o.dryRun {
		return u, nil
	}
	if u.GetDeletionTimestamp() != nil && s.released(r, u) {
		return s.purge(r, old, u), nil
	}
	u = s.commit(Modified, r, u, old)
	return s.afterWrite(r, u), nil
}

// sameButTimes says whether nothing has changed but the times of managedFields, which alone are no reason to write.
func sameButTimes(old, u *unstructured.Unstructured) bool {
	return sameTree(timeless(old.Object), timeless(u.Object))
}

// timeless is an object without the times of managedFields. It shares what it can with the object.
func timeless(object map[string]any) map[string]any {
	meta, ok := object["metadata"].(map[string]any)
	if !ok {
		return object
	}
	entries, ok := meta["managedFields"].([]any)
	if !ok {
		return object
	}
	kept := make([]any, len(entries))
	for i, e := range entries {
		kept[i] = e
		if m, ok := e.(map[string]any); ok {
			m = maps.Clone(m)
			delete(m, "time")
			kept[i] = m
		}
	}
	meta = maps.Clone(meta)
	meta["managedFields"] = kept
	object = maps.Clone(object)
	object["metadata"] = meta
	return object
}

// sameTree compares what JSON decodes to.
func sameTree(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if w, ok := b[k]; !ok || !sameTree(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameTree)
	default:
		return a == b
	}
}

// checkIdentity refuses an update of another object or of an older state.
func checkIdentity(r *resource, old, u *unstructured.Unstructured, o *writeOptions) error {
	if uid := u.GetUID(); uid != "" && uid != old.GetUID() {
		return apierrors.NewConflict(r.GroupResource(), old.GetName(), fmt.Errorf(
			"Precondition failed: UID in precondition: %v, UID in object meta: %v", uid, old.GetUID()))
	}
	switch rv := u.GetResourceVersion(); {
	case rv == "" && r.custom && !o.applied && !o.internal:
		return invalid(r, old.GetName(), "metadata.resourceVersion", rv, "must be specified for an update")
	case rv != "" && rv != "0" && rv != old.GetResourceVersion():
		return apierrors.NewConflict(r.GroupResource(), old.GetName(), errConflict)
	}
	return nil
}

var errConflict = fmt.Errorf("the object has been modified; please apply your changes to the latest version and try again")

// keepForeignParts limits a write to the part of the object that its endpoint owns.
func keepForeignParts(r *resource, old, u *unstructured.Unstructured, o *writeOptions) *unstructured.Unstructured {
	switch {
	case o.internal:
		return u
	case o.subresource == subStatus || o.subresource == subApproval:
		out := old.DeepCopy()
		replaceField(out, u, "status")
		out.SetManagedFields(u.GetManagedFields())
		return out
	case o.subresource == subFinalize:
		out := old.DeepCopy()
		replaceField(out, u, "spec")
		return out
	case r.status:
		replaceField(u, old, "status")
	}
	return u
}

// replaceField sets a top-level field of dst to that of src.
func replaceField(dst, src *unstructured.Unstructured, field string) {
	value, ok := src.DeepCopy().Object[field]
	if !ok {
		delete(dst.Object, field)
		return
	}
	dst.Object[field] = value
}

// copySystemFields keeps what only the server writes.
func copySystemFields(old, u *unstructured.Unstructured) {
	u.SetName(old.GetName())
	if ns := old.GetNamespace(); ns != "" {
		u.SetNamespace(ns)
	}
	u.SetUID(old.GetUID())
	u.SetCreationTimestamp(old.GetCreationTimestamp())
	u.SetDeletionTimestamp(old.GetDeletionTimestamp())
	u.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	u.SetSelfLink("")
	if g := old.GetGeneration(); g != 0 {
		u.SetGeneration(g)
	} else {
		unstructured.RemoveNestedField(u.Object, "metadata", "generation")
	}
}

// specChanged compares everything but metadata and, where it has an endpoint of its own, status.
func specChanged(r *resource, old, u *unstructured.Unstructured) bool {
	strip := func(in *unstructured.Unstructured) map[string]any {
		out := make(map[string]any, len(in.Object))
		for k, v := range in.Object {
			if k != "metadata" && k != "apiVersion" && (k != "status" || !r.status) {
				out[k] = v
			}
		}
		return out
	}
	return !sameTree(strip(old), strip(u))
}

// checkNamespace refuses new objects in a namespace that is missing or going.
func (s *Store) checkNamespace(r *resource, ns string) error {
	if !r.namespaced {
		return nil
	}
	u, ok := s.data[Namespaces].items[ns]
	if !ok {
		return apierrors.NewNotFound(Namespaces, ns)
	}
	if u.GetDeletionTimestamp() != nil {
		err := apierrors.NewForbidden(r.GroupResource(), "", fmt.Errorf(
			"unable to create new content in namespace %s because it is being terminated", ns))
		err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
			Type:    "NamespaceTerminating",
			Message: fmt.Sprintf("namespace %s is being terminated", ns),
			Field:   "metadata.namespace",
		})
		return err
	}
	return nil
}

// afterWrite lets some resources act on their own commits.
func (s *Store) afterWrite(r *resource, u *unstructured.Unstructured) *unstructured.Unstructured {
	if r.GroupResource() == CustomResourceDefinitions {
		return s.establish(r, u)
	}
	return u
}

// trimGenerateName keeps room for the suffix in a name of 63 characters, as the API server does.
func trimGenerateName(base string) string {
	const maxBase = 58
	if len(base) > maxBase {
		return base[:maxBase]
	}
	return base
}
