// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// readInventories reads what all sets consist of.
func (p *application) readInventories(ctx context.Context) (map[string][]Ref, error) {
	list, err := p.dynamic.Resource(configMaps()).Namespace(Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("read inventories: %w", classify(err))
	}
	all := map[string][]Ref{}
	for i := range list.Items {
		name, is := strings.CutPrefix(list.Items[i].GetName(), inventoryPrefix)
		if !is {
			continue
		}
		if all[name], err = inventory(&list.Items[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// anothers tells whether an object that is there is the object of another set,
// which declares it still. It then stays with that one.
func (p *application) anothers(ctx context.Context, u *unstructured.Unstructured, ref Ref) (bool, error) {
	if u == nil {
		return false, nil
	}
	owner := u.GetLabels()[SetLabel]
	if owner == "" || owner == p.set {
		return false, nil
	}
	p.read.Do(func() { p.read.all, p.read.err = p.readInventories(ctx) })
	return p.read.err == nil && declares(p.read.all[owner], ref), p.read.err
}

// declares tells whether an inventory names an object; a namespace that was not
// written there is the default one.
func declares(inventory []Ref, ref Ref) bool {
	if containsRef(inventory, ref) {
		return true
	}
	if ref.Namespace != defaultNamespace {
		return slices.ContainsFunc(inventory, func(r Ref) bool {
			r.Namespace = "" // kinds without one may still be written with one
			return ref.Namespace == "" && r.same() == ref.same()
		})
	}
	ref.Namespace = ""
	return containsRef(inventory, ref)
}

// heir is the first of the other sets that declare an object, or "".
func (p *application) heir(inventories map[string][]Ref, ref Ref) string {
	for _, set := range slices.Sorted(maps.Keys(inventories)) {
		if set != p.set && declares(inventories[set], ref) {
			return set
		}
	}
	return ""
}

// leave takes this set off an object that another declares: the object changes
// hands, and what this set alone said of it goes.
func (p *application) leave(ctx context.Context, r dynamic.ResourceInterface, u *unstructured.Unstructured, heir string) error {
	if u.GetLabels()[SetLabel] == p.set {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"resourceVersion": u.GetResourceVersion(), "labels": map[string]string{SetLabel: heir},
		}})
		if err != nil {
			return fmt.Errorf("encode the label: %w", err)
		}
		if u, err = r.Patch(ctx, u.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager}); err != nil {
			return classify(err)
		}
	}
	if !slices.ContainsFunc(u.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == p.manager && e.Operation == metav1.ManagedFieldsOperationApply
	}) {
		return nil
	}
	nothing := &unstructured.Unstructured{}
	nothing.SetGroupVersionKind(u.GroupVersionKind())
	nothing.SetName(u.GetName())
	nothing.SetNamespace(u.GetNamespace())
	nothing.SetUID(u.GetUID()) // so that none is made if it is gone by now
	_, err := r.Apply(ctx, u.GetName(), nothing, metav1.ApplyOptions{FieldManager: p.manager, Force: true})
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		return nil // gone, or the other set says too little without this one's
	}
	return classify(err)
}
