// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"encoding/base64"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// Values of the fieldValidation parameter.
const (
	validationStrict = "Strict"
	validationIgnore = "Ignore"
)

// normalise brings a body of a built-in kind into the shape of its Go type: wrong types are 400, unknown fields are
// refused, warned about or dropped, as fieldValidation says.
func (s *Store) normalise(r *resource, u *unstructured.Unstructured, o *writeOptions) error {
	if !r.typed {
		return checkMetadata(u)
	}
	if o.typed {
		return nil
	}
	obj, err := scheme.Scheme.New(r.gvk())
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	strict := o.validation != validationIgnore && !o.internal
	err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, obj, strict)
	switch {
	case err == nil:
	case runtime.IsStrictDecodingError(err) && o.validation == validationStrict:
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v",
			r.kind, r.GroupVersion().Version, r.kind, err))
	case runtime.IsStrictDecodingError(err):
		o.warnings = append(o.warnings, strings.TrimPrefix(err.Error(), "strict decoding error: "))
	default:
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v",
			r.kind, r.GroupVersion().Version, r.kind, err))
	}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	u.Object = m
	u.SetGroupVersionKind(r.gvk())
	return nil
}

// checkMetadata refuses metadata that is not metadata, which the accessors of unstructured objects would overlook.
func checkMetadata(u *unstructured.Unstructured) error {
	meta, ok := u.Object["metadata"].(map[string]any)
	if !ok {
		return apierrors.NewBadRequest("metadata must be an object")
	}
	for _, field := range []string{"labels", "annotations"} {
		if _, _, err := unstructured.NestedStringMap(meta, field); err != nil {
			return apierrors.NewBadRequest("metadata." + field + " must be a map of strings")
		}
	}
	if _, _, err := unstructured.NestedStringSlice(meta, "finalizers"); err != nil {
		return apierrors.NewBadRequest("metadata.finalizers must be a list of strings")
	}
	if list, ok := meta["ownerReferences"]; ok && list != nil {
		if _, ok := list.([]any); !ok {
			return apierrors.NewBadRequest("metadata.ownerReferences must be a list")
		}
	}
	return nil
}

// setDefaults fills in what the API server's defaulting would and what callers of this server rely on.
func (s *Store) setDefaults(r *resource, u, old *unstructured.Unstructured) {
	switch r.GroupResource() {
	case Namespaces:
		defaultTo(u, "Active", "status", "phase")
		defaultTo(u, []any{"kubernetes"}, "spec", "finalizers")
		labels := u.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels["kubernetes.io/metadata.name"] = u.GetName()
		u.SetLabels(labels)
	case Secrets:
		defaultTo(u, "Opaque", "type")
		foldStringData(u)
	case Pods:
		defaultPodSpec(u, "spec")
		defaultTo(u, "Pending", "status", "phase")
		defaultTo(u, "BestEffort", "status", "qosClass")
	case DaemonSets:
		defaultPodSpec(u, "spec", "template", "spec")
		defaultTo(u, "RollingUpdate", "spec", "updateStrategy", "type")
	case Deployments:
		defaultPodSpec(u, "spec", "template", "spec")
		defaultTo(u, int64(1), "spec", "replicas")
		defaultTo(u, "RollingUpdate", "spec", "strategy", "type")
		defaultTo(u, int64(600), "spec", "progressDeadlineSeconds")
		defaultTo(u, int64(10), "spec", "revisionHistoryLimit")
	case ReplicaSets, StatefulSets:
		defaultPodSpec(u, "spec", "template", "spec")
		defaultTo(u, int64(1), "spec", "replicas")
	case Jobs:
		defaultPodSpec(u, "spec", "template", "spec")
		defaultTo(u, int64(1), "spec", "completions")
		defaultTo(u, int64(1), "spec", "parallelism")
		defaultTo(u, int64(6), "spec", "backoffLimit")
		s.defaultJobLabels(u, old)
	case Services:
		defaultService(u)
	}
}

// defaultJobLabels gives a job the selector by its uid that the server generates.
func (s *Store) defaultJobLabels(u, old *unstructured.Unstructured) {
	const label = "batch.kubernetes.io/controller-uid"
	uid := string(u.GetUID())
	if old != nil {
		uid = string(old.GetUID())
	}
	defaultTo(u, map[string]any{label: uid}, "spec", "selector", "matchLabels")
	defaultTo(u, uid, "spec", "template", "metadata", "labels", label)
	defaultTo(u, u.GetName(), "spec", "template", "metadata", "labels", "batch.kubernetes.io/job-name")
}

// foldStringData moves stringData into data, which is what the API server stores.
func foldStringData(u *unstructured.Unstructured) {
	plain, ok, err := unstructured.NestedStringMap(u.Object, "stringData")
	if !ok || err != nil {
		return
	}
	for _, key := range sortedKeys(plain) {
		setNested(u, base64.StdEncoding.EncodeToString([]byte(plain[key])), "data", key)
	}
	unstructured.RemoveNestedField(u.Object, "stringData")
}

// defaultPodSpec sets the defaults of a pod spec that are visible in every pod.
func defaultPodSpec(u *unstructured.Unstructured, path ...string) {
	spec, ok, err := unstructured.NestedMap(u.Object, path...)
	if !ok || err != nil {
		return
	}
	pod := &unstructured.Unstructured{Object: spec}
	defaultTo(pod, "Always", "restartPolicy")
	defaultTo(pod, "ClusterFirst", "dnsPolicy")
	defaultTo(pod, "default-scheduler", "schedulerName")
	defaultTo(pod, defaultPodGrace, "terminationGracePeriodSeconds")
	for _, list := range []string{"containers", "initContainers"} {
		items, ok := spec[list].([]any)
		if !ok {
			continue
		}
		for _, item := range items {
			if m, ok := item.(map[string]any); ok {
				defaultContainer(&unstructured.Unstructured{Object: m})
			}
		}
	}
	setNested(u, spec, path...)
}

func defaultContainer(c *unstructured.Unstructured) {
	policy := "IfNotPresent"
	image := nestedString(c, "image")
	if name := image[strings.LastIndex(image, "/")+1:]; strings.HasSuffix(name, ":latest") || !strings.ContainsAny(name, ":@") {
		policy = "Always"
	}
	defaultTo(c, policy, "imagePullPolicy")
	defaultTo(c, "/dev/termination-log", "terminationMessagePath")
	defaultTo(c, "File", "terminationMessagePolicy")
	ports, ok := c.Object["ports"].([]any)
	if !ok {
		return
	}
	for _, p := range ports {
		if m, ok := p.(map[string]any); ok {
			defaultTo(&unstructured.Unstructured{Object: m}, "TCP", "protocol")
		}
	}
}

func defaultService(u *unstructured.Unstructured) {
	defaultTo(u, "ClusterIP", "spec", "type")
	defaultTo(u, "None", "spec", "sessionAffinity")
	if nestedString(u, "spec", "type") != "ExternalName" {
		defaultTo(u, "Cluster", "spec", "internalTrafficPolicy")
	}
	if t := nestedString(u, "spec", "type"); t == "LoadBalancer" || t == "NodePort" {
		defaultTo(u, "Cluster", "spec", "externalTrafficPolicy")
	}
	ports, ok, err := unstructured.NestedSlice(u.Object, "spec", "ports")
	if !ok || err != nil {
		return
	}
	for _, p := range ports {
		m, ok := p.(map[string]any)
		if !ok {
			continue
		}
		port := &unstructured.Unstructured{Object: m}
		defaultTo(port, "TCP", "protocol")
		if t, ok := m["targetPort"]; !ok || t == int64(0) {
			m["targetPort"] = m["port"]
		}
	}
	setNested(u, ports, "spec", "ports")
}

// defaultTo sets a field that is absent or empty. A path through something that is not an object is left alone: the
// validation has refused or will refuse it.
func defaultTo(u *unstructured.Unstructured, value any, path ...string) {
	current, ok, err := unstructured.NestedFieldNoCopy(u.Object, path...)
	if err != nil || ok && current != nil && current != "" {
		if list, isList := current.([]any); !isList || len(list) > 0 {
			return
		}
	}
	setNested(u, value, path...)
}

// setNested sets a field, and leaves a path through something that is not an object alone.
func setNested(u *unstructured.Unstructured, value any, path ...string) {
	if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
		return
	}
}

func nestedString(u *unstructured.Unstructured, path ...string) string {
	value, _, err := unstructured.NestedString(u.Object, path...)
	if err != nil {
		return ""
	}
	return value
}
