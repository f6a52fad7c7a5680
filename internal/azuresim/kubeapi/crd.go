// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// customResources reads the resources that a CustomResourceDefinition defines, the storage version first.
func customResources(crd *unstructured.Unstructured) []*resource {
	group := nestedString(crd, "spec", "group")
	plural := nestedString(crd, "spec", "names", "plural")
	kind := nestedString(crd, "spec", "names", "kind")
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if group == "" || plural == "" || kind == "" || err != nil || crd.GetName() != plural+"."+group {
		return nil
	}
	var out []*resource
	for _, item := range versions {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		v := &unstructured.Unstructured{Object: m}
		served, _, serr := unstructured.NestedBool(m, "served")
		name := nestedString(v, "name")
		if serr != nil || !served || name == "" {
			continue
		}
		r := &resource{
			GroupVersionResource: schema.GroupVersionResource{Group: group, Version: name, Resource: plural},
			kind:                 kind,
			singular:             nestedString(crd, "spec", "names", "singular"),
			namespaced:           nestedString(crd, "spec", "scope") != "Cluster",
			generation:           true,
			custom:               true,
			columns:              printerColumns(m),
		}
		if r.singular == "" {
			r.singular = strings.ToLower(kind)
		}
		r.shortNames, _, _ = unstructured.NestedStringSlice(crd.Object, "spec", "names", "shortNames")
		r.categories, _, _ = unstructured.NestedStringSlice(crd.Object, "spec", "names", "categories")
		_, r.status, _ = unstructured.NestedMap(m, "subresources", "status")
		if storage, _, berr := unstructured.NestedBool(m, "storage"); berr == nil && storage {
			out = append([]*resource{r}, out...)
			continue
		}
		out = append(out, r)
	}
	return out
}

// establish serves what a definition defines and says so in its status.
func (s *Store) establish(r *resource, crd *unstructured.Unstructured) *unstructured.Unstructured {
	defined := customResources(crd)
	if len(defined) == 0 {
		return crd
	}
	gr := defined[0].GroupResource()
	if _, taken := s.reg.preferred[gr]; taken && !s.reg.preferred[gr].custom {
		return crd
	}
	s.reg.remove(gr)
	for _, d := range defined {
		s.reg.add(d)
	}
	if s.data[gr] == nil {
		s.data[gr] = newCollection(s.rev)
	}
	if conditions, _, err := unstructured.NestedSlice(crd.Object, "status", "conditions"); err == nil && len(conditions) > 0 {
		return crd
	}
	next := crd.DeepCopy()
	names, _, err := unstructured.NestedMap(crd.Object, "spec", "names")
	if err == nil {
		setNested(next, names, "status", "acceptedNames")
	}
	setNested(next, []any{defined[0].Version}, "status", "storedVersions")
	when := metav1.NewTime(s.now()).UTC().Format("2006-01-02T15:04:05Z")
	setNested(next, []any{
		map[string]any{"type": "NamesAccepted", "status": "True", "reason": "NoConflicts",
			"message": "no conflicts found", "lastTransitionTime": when},
		map[string]any{"type": "Established", "status": "True", "reason": "InitialNamesAccepted",
			"message": "the initial names have been accepted", "lastTransitionTime": when},
	}, "status", "conditions")
	return s.commit(Modified, r, next, crd)
}

// removeCustomResources deletes the objects of a definition that is being deleted.
func (s *Store) removeCustomResources(crd *unstructured.Unstructured) {
	for _, d := range customResources(crd) {
		c := s.data[d.GroupResource()]
		if c == nil || s.reg.preferred[d.GroupResource()] == nil || !s.reg.preferred[d.GroupResource()].custom {
			continue
		}
		for _, u := range sortedItems(c.items, "") {
			if current, err := s.find(d, u.GetNamespace(), u.GetName()); err == nil && current.GetDeletionTimestamp() == nil {
				// Without preconditions a removal cannot be refused.
				_, _, _ = s.remove(d, current, &metav1.DeleteOptions{}, &writeOptions{internal: true})
			}
		}
	}
}

// unregister stops serving the resources of a definition that is gone.
func (s *Store) unregister(crd *unstructured.Unstructured) {
	for _, d := range customResources(crd) {
		gr := d.GroupResource()
		if current := s.reg.preferred[gr]; current == nil || !current.custom {
			continue
		}
		s.reg.remove(gr)
		delete(s.data, gr)
	}
}
