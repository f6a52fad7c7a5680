// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxAnnotations is the API server's limit for all annotations of an object together, in bytes.
const maxAnnotations = 256 << 10

// maxData is the limit of a Secret's or ConfigMap's data, in bytes.
const maxData = 1 << 20

// invalid makes a 422 Status for one field.
func invalid(r *resource, name, fieldPath string, value any, detail string) *apierrors.StatusError {
	return apierrors.NewInvalid(r.gvk().GroupKind(), name, field.ErrorList{
		field.Invalid(field.NewPath(fieldPath), value, detail),
	})
}

// validate checks names, labels and the few rules of specs that clients trip over.
func validate(r *resource, u, old *unstructured.Unstructured) error {
	errs := validateMetadata(r, u)
	switch r.GroupResource() {
	case Pods:
		errs = append(errs, validatePodSpec(u, "spec")...)
	case DaemonSets, Deployments, ReplicaSets, StatefulSets:
		errs = append(errs, validateWorkload(u, old)...)
	case Jobs:
		errs = append(errs, validatePodSpec(u, "spec", "template", "spec")...)
	case Secrets, ConfigMaps:
		errs = append(errs, validateData(r, u, old)...)
	case Services:
		errs = append(errs, validateService(u)...)
	}
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(r.gvk().GroupKind(), u.GetName(), errs)
}

func validateMetadata(r *resource, u *unstructured.Unstructured) field.ErrorList {
	meta := field.NewPath("metadata")
	var errs field.ErrorList
	switch name := u.GetName(); {
	case name == "":
		errs = append(errs, field.Required(meta.Child("name"), "name or generateName is required"))
	case r.Group == "rbac.authorization.k8s.io":
		for _, msg := range content.IsPathSegmentName(name) {
			errs = append(errs, field.Invalid(meta.Child("name"), name, msg))
		}
	case r.GroupResource() == Namespaces:
		for _, msg := range validation.IsDNS1123Label(name) {
			errs = append(errs, field.Invalid(meta.Child("name"), name, msg))
		}
	case r.GroupResource() == Services:
		for _, msg := range validation.IsDNS1035Label(name) {
			errs = append(errs, field.Invalid(meta.Child("name"), name, msg))
		}
	default:
		for _, msg := range validation.IsDNS1123Subdomain(name) {
			errs = append(errs, field.Invalid(meta.Child("name"), name, msg))
		}
	}
	errs = append(errs, metavalidation.ValidateLabels(u.GetLabels(), meta.Child("labels"))...)
	size := 0
	annotations := u.GetAnnotations()
	for _, key := range sortedKeys(annotations) {
		size += len(key) + len(annotations[key])
		for _, msg := range validation.IsQualifiedName(strings.ToLower(key)) {
			errs = append(errs, field.Invalid(meta.Child("annotations"), key, msg))
		}
	}
	if size > maxAnnotations {
		errs = append(errs, field.TooLong(meta.Child("annotations"), "", maxAnnotations))
	}
	return errs
}

func validatePodSpec(u *unstructured.Unstructured, at ...string) field.ErrorList {
	fp := field.NewPath(at[0], at[1:]...).Child("containers")
	containers, _, err := unstructured.NestedSlice(u.Object, append(slices.Clone(at), "containers")...)
	if err != nil || len(containers) == 0 {
		return field.ErrorList{field.Required(fp, "")}
	}
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, item := range containers {
		m, ok := item.(map[string]any)
		if !ok {
			errs = append(errs, field.Invalid(fp.Index(i), item, "must be an object"))
			continue
		}
		name := nestedString(&unstructured.Unstructured{Object: m}, "name")
		for _, msg := range validation.IsDNS1123Label(name) {
			errs = append(errs, field.Invalid(fp.Index(i).Child("name"), name, msg))
		}
		if seen[name] {
			errs = append(errs, field.Duplicate(fp.Index(i).Child("name"), name))
		}
		seen[name] = true
		if nestedString(&unstructured.Unstructured{Object: m}, "image") == "" {
			errs = append(errs, field.Required(fp.Index(i).Child("image"), ""))
		}
	}
	return errs
}

// validateWorkload checks the selector of a set of pods against its template and against its former self.
func validateWorkload(u, old *unstructured.Unstructured) field.ErrorList {
	fp := field.NewPath("spec", "selector")
	errs := validatePodSpec(u, "spec", "template", "spec")
	raw, _, err := unstructured.NestedMap(u.Object, "spec", "selector")
	if err != nil || len(raw) == 0 {
		return append(errs, field.Required(fp, ""))
	}
	selector, err := labelSelector(raw)
	if err != nil {
		return append(errs, field.Invalid(fp, raw, err.Error()))
	}
	labels, _, err := unstructured.NestedStringMap(u.Object, "spec", "template", "metadata", "labels")
	if err != nil || !selector.Matches(labelSet(labels)) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "template", "metadata", "labels"), labels,
			"`selector` does not match template `labels`"))
	}
	if old != nil {
		before, _, err := unstructured.NestedMap(old.Object, "spec", "selector")
		if err != nil || !equality.Semantic.DeepEqual(before, raw) {
			errs = append(errs, field.Invalid(fp, raw, "field is immutable"))
		}
	}
	return errs
}

func validateData(r *resource, u, old *unstructured.Unstructured) field.ErrorList {
	var errs field.ErrorList
	size := 0
	for _, part := range []string{"data", "binaryData"} {
		data, _, err := unstructured.NestedStringMap(u.Object, part)
		if err != nil {
			errs = append(errs, field.Invalid(field.NewPath(part), "", "must be a map of strings"))
		}
		for _, key := range sortedKeys(data) {
			size += len(data[key])
			for _, msg := range validation.IsConfigMapKey(key) {
				errs = append(errs, field.Invalid(field.NewPath(part).Key(key), key, msg))
			}
		}
	}
	if size > maxData {
		errs = append(errs, field.TooLong(field.NewPath("data"), "", maxData))
	}
	if old == nil {
		return errs
	}
	if frozen, _, err := unstructured.NestedBool(old.Object, "immutable"); err == nil && frozen &&
		!equality.Semantic.DeepEqual(old.Object["data"], u.Object["data"]) {
		errs = append(errs, field.Forbidden(field.NewPath("data"), "field is immutable when `immutable` is set"))
	}
	if r.GroupResource() == Secrets && nestedString(old, "type") != nestedString(u, "type") {
		errs = append(errs, field.Invalid(field.NewPath("type"), nestedString(u, "type"), "field is immutable"))
	}
	return errs
}

func validateService(u *unstructured.Unstructured) field.ErrorList {
	fp := field.NewPath("spec", "ports")
	ports, _, err := unstructured.NestedSlice(u.Object, "spec", "ports")
	switch kind := nestedString(u, "spec", "type"); {
	case err != nil:
		return field.ErrorList{field.Invalid(fp, "", "must be a list")}
	case kind == "ExternalName" || nestedString(u, "spec", "clusterIP") == "None":
		return nil
	case !slices.Contains([]string{"ClusterIP", "NodePort", "LoadBalancer"}, kind):
		return field.ErrorList{field.NotSupported(field.NewPath("spec", "type"), kind,
			[]string{"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"})}
	case len(ports) == 0:
		return field.ErrorList{field.Required(fp, "")}
	}
	return nil
}

// labelSelector reads a metav1.LabelSelector out of an object.
func labelSelector(raw map[string]any) (selector interface{ Matches(labels labelsView) bool }, err error) {
	var ls metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &ls); err != nil {
		return nil, fmt.Errorf("read selector: %w", err)
	}
	out, err := metav1.LabelSelectorAsSelector(&ls)
	if err != nil {
		return nil, fmt.Errorf("read selector: %w", err)
	}
	return out, nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
