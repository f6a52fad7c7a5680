// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

type labelsView = labels.Labels

func labelSet(m map[string]string) labels.Labels { return labels.Set(m) }

// selectableFields are the field selectors of the built-in resources besides metadata.name and metadata.namespace.
func selectableFields(gr schema.GroupResource) []string {
	switch gr {
	case Pods:
		return []string{"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
			"spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"}
	case Events:
		return []string{"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
			"involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
			"reason", "reportingComponent", "source", "type"}
	case Nodes:
		return []string{"spec.unschedulable"}
	case Secrets:
		return []string{"type"}
	case Namespaces:
		return []string{"status.phase"}
	case Services:
		return []string{"spec.clusterIP", "spec.type"}
	case Jobs:
		return []string{"status.successful"}
	case ReplicaSets:
		return []string{"status.replicas"}
	case schema.GroupResource{Group: "certificates.k8s.io", Resource: "certificatesigningrequests"}:
		return []string{"spec.signerName"}
	}
	return nil
}

// filter is what a list or watch is restricted to.
type filter struct {
	ns     string
	labels labels.Selector
	fields fields.Selector
	res    *resource
}

// newFilter parses labelSelector and fieldSelector; bad ones are 400.
func newFilter(r *resource, ns, labelText, fieldText string) (*filter, error) {
	f := &filter{ns: ns, res: r}
	var err error
	if f.labels, err = labels.Parse(labelText); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("unable to parse labelSelector: %v", err))
	}
	if f.fields, err = fields.ParseSelector(fieldText); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("unable to parse fieldSelector: %v", err))
	}
	known := append([]string{"metadata.name", "metadata.namespace"}, selectableFields(r.GroupResource())...)
	for _, req := range f.fields.Requirements() {
		ok := false
		for _, k := range known {
			ok = ok || k == req.Field
		}
		if !ok {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %s", req.Field))
		}
	}
	return f, nil
}

func (f *filter) matches(u *unstructured.Unstructured) bool {
	if f.ns != "" && u.GetNamespace() != f.ns {
		return false
	}
	if !f.labels.Empty() && !f.labels.Matches(labels.Set(u.GetLabels())) {
		return false
	}
	return f.fields.Empty() || f.fields.Matches(fieldsOf{u})
}

// fieldsOf presents an object to a field selector.
type fieldsOf struct{ u *unstructured.Unstructured }

// Has is true: the known fields are always selectable, absent means empty.
func (f fieldsOf) Has(string) bool { return true }

// Get returns the text of a field.
func (f fieldsOf) Get(name string) string {
	if name == "source" {
		if c := nestedString(f.u, "source", "component"); c != "" {
			return c
		}
		return nestedString(f.u, "reportingComponent")
	}
	value, ok, err := unstructured.NestedFieldNoCopy(f.u.Object, strings.Split(name, ".")...)
	if err != nil || !ok || value == nil {
		if name == "spec.unschedulable" || name == "spec.hostNetwork" {
			return "false"
		}
		return ""
	}
	return fmt.Sprint(value)
}
