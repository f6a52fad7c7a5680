// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// managers makes and keeps the field managers: apimachinery's own server-side apply, with client-go's schemas for the
// built-in kinds and deduced types (every list atomic) for custom resources.
type managers struct {
	typed, deduced managedfields.TypeConverter
	made           map[managerKey]*managedfields.FieldManager
}

type managerKey struct {
	gvk         schema.GroupVersionKind
	subresource string
}

func newManagers() *managers {
	return &managers{
		deduced: managedfields.NewDeducedTypeConverter(),
		made:    map[managerKey]*managedfields.FieldManager{},
	}
}

// of returns the field manager of a kind and subresource. The caller holds the store's lock.
func (m *managers) of(r *resource, subresource string) (*managedfields.FieldManager, error) {
	key := managerKey{gvk: r.gvk(), subresource: subresource}
	if fm, ok := m.made[key]; ok {
		return fm, nil
	}
	if m.typed == nil {
		// Parsing the schemas takes a while, once per process; a cluster that is never applied to does not pay.
		m.typed = applyconfigurations.NewTypeConverter(scheme.Scheme)
	}
	gv := r.GroupVersion()
	reset := fieldpath.NewExcludeFilterSetMap(resetFields(r, subresource))
	var fm *managedfields.FieldManager
	var err error
	if r.typed {
		fm, err = managedfields.NewDefaultFieldManager(m.typed, plainObjects{}, plainObjects{}, plainObjects{}, r.gvk(), gv, subresource, reset)
	} else {
		fm, err = managedfields.NewDefaultCRDFieldManager(m.deduced, plainObjects{}, plainObjects{}, plainObjects{}, r.gvk(), gv, subresource, reset)
	}
	if err != nil {
		return nil, fmt.Errorf("make field manager: %w", err)
	}
	m.made[key] = fm
	return fm, nil
}

// resetFields are the fields that an endpoint ignores, so that a writer does not come to own them.
func resetFields(r *resource, subresource string) map[fieldpath.APIVersion]*fieldpath.Set {
	var set *fieldpath.Set
	switch {
	case subresource == subStatus && r.custom:
		set = fieldpath.NewSet(fieldpath.MakePathOrDie("spec"))
	case subresource == subStatus:
		set = fieldpath.NewSet(fieldpath.MakePathOrDie("spec"), fieldpath.MakePathOrDie("metadata"))
	case subresource == "" && r.status && r.GroupResource() != Nodes:
		set = fieldpath.NewSet(fieldpath.MakePathOrDie("status"))
	default:
		return nil
	}
	return map[fieldpath.APIVersion]*fieldpath.Set{fieldpath.APIVersion(r.GroupVersion().String()): set}
}

// trackCreate gives the writer the fields of a new object.
func (s *Store) trackCreate(r *resource, u *unstructured.Unstructured, o *writeOptions) error {
	if o.applied {
		s.stampFields(u, nil)
		return nil
	}
	empty := &unstructured.Unstructured{}
	empty.SetGroupVersionKind(r.gvk())
	return s.track(r, empty, u, o)
}

// trackUpdate gives the writer the fields that it changed.
func (s *Store) trackUpdate(r *resource, old, u *unstructured.Unstructured, o *writeOptions) error {
	if o.applied {
		s.stampFields(u, old)
		return nil
	}
	return s.track(r, old, u, o)
}

func (s *Store) track(r *resource, old, u *unstructured.Unstructured, o *writeOptions) error {
	if !r.typed && r.GroupResource() == CustomResourceDefinitions && u.GetManagedFields() == nil && len(old.GetManagedFields()) == 0 && old.GetUID() != "" {
		return nil
	}
	fm, err := s.managers.of(r, o.subresource)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	out := fm.UpdateNoErrors(asVersion(old, r), u, o.manager)
	got, ok := out.(*unstructured.Unstructured)
	if !ok {
		return apierrors.NewInternalError(fmt.Errorf("field manager returned %T", out))
	}
	u.Object = got.Object
	s.stampFields(u, old)
	return nil
}

// stampFields puts the cluster's time into the entries that the field manager has just stamped with the process's.
func (s *Store) stampFields(u, old *unstructured.Unstructured) {
	entries := u.GetManagedFields()
	if len(entries) == 0 {
		return
	}
	var before []metav1.ManagedFieldsEntry
	if old != nil {
		before = old.GetManagedFields()
	}
	now := metav1.NewTime(s.now()).Rfc3339Copy()
	for i := range entries {
		if prior := findEntry(before, &entries[i]); prior == nil || !prior.Time.Equal(entries[i].Time) {
			entries[i].Time = &now
		}
	}
	u.SetManagedFields(entries)
}

func findEntry(list []metav1.ManagedFieldsEntry, want *metav1.ManagedFieldsEntry) *metav1.ManagedFieldsEntry {
	for i := range list {
		e := &list[i]
		if e.Manager == want.Manager && e.Operation == want.Operation && e.Subresource == want.Subresource && e.APIVersion == want.APIVersion {
			return e
		}
	}
	return nil
}

// apply merges an applied configuration into live (nil for a new object) and returns the merged object.
func (s *Store) apply(r *resource, live, patch *unstructured.Unstructured, o *writeOptions, force bool) (*unstructured.Unstructured, error) {
	fm, err := s.managers.of(r, o.subresource)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if live == nil {
		live = &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{}}}
		live.SetGroupVersionKind(r.gvk())
		live.SetName(patch.GetName())
		live.SetNamespace(patch.GetNamespace())
	}
	out, err := fm.Apply(asVersion(live, r), patch, o.manager, force)
	if err != nil {
		return nil, err
	}
	u, ok := out.(*unstructured.Unstructured)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("field manager returned %T", out))
	}
	return u.DeepCopy(), nil
}

// asVersion presents a stored object in the version of a request; versions of a custom resource differ in name only.
func asVersion(u *unstructured.Unstructured, r *resource) *unstructured.Unstructured {
	if u.GetAPIVersion() == r.GroupVersion().String() {
		return u
	}
	out := &unstructured.Unstructured{Object: make(map[string]any, len(u.Object))}
	maps.Copy(out.Object, u.Object)
	out.SetAPIVersion(r.GroupVersion().String())
	return out
}

// plainObjects is converter, defaulter and creator for unstructured objects.
type plainObjects struct{}

// Convert is not used by the field managers.
func (plainObjects) Convert(in, _, _ any) error {
	return fmt.Errorf("convert %T: not supported", in)
}

// ConvertToVersion changes apiVersion only.
func (plainObjects) ConvertToVersion(in runtime.Object, gv runtime.GroupVersioner) (runtime.Object, error) {
	u, ok := in.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("convert %T: not supported", in)
	}
	gvk, ok := gv.KindForGroupVersionKinds([]schema.GroupVersionKind{u.GroupVersionKind()})
	if !ok {
		return u, nil
	}
	if gvk == u.GroupVersionKind() {
		return u, nil
	}
	out := u.DeepCopy()
	out.SetGroupVersionKind(gvk)
	return out, nil
}

// ConvertFieldLabel leaves labels as they are.
func (plainObjects) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

// Default does nothing: the store sets defaults when it writes.
func (plainObjects) Default(runtime.Object) {}

// New makes an empty object of a kind.
func (plainObjects) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	return u, nil
}
