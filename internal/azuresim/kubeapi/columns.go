// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const none = "<none>"

// builtinColumns are the columns after NAME that kubectl users know; nil means NAME and AGE.
func builtinColumns(gr schema.GroupResource) []column {
	switch gr {
	case Nodes:
		return nodeColumns()
	case Pods:
		return podColumns()
	case Namespaces:
		return []column{text("Status", "status", "phase"), ageColumn()}
	case DaemonSets:
		return daemonSetColumns()
	case Deployments:
		return append([]column{readyOf("Ready", "readyReplicas", "replicas"), number("Up-to-date", "status", "updatedReplicas"),
			number("Available", "status", "availableReplicas"), ageColumn()}, templateColumns()...)
	case ReplicaSets:
		return []column{number("Desired", "spec", "replicas"), number("Current", "status", "replicas"),
			number("Ready", "status", "readyReplicas"), ageColumn()}
	case StatefulSets:
		return []column{readyOf("Ready", "readyReplicas", "replicas"), ageColumn()}
	case Jobs:
		return []column{readyOf("Completions", "succeeded", "completions"), ageColumn()}
	case Services:
		return serviceColumns()
	case Secrets:
		return []column{text("Type", "type"), dataColumn("data"), ageColumn()}
	case ConfigMaps:
		return []column{dataColumn("data", "binaryData"), ageColumn()}
	case Events:
		return eventColumns()
	case CustomResourceDefinitions:
		return []column{text("Created At", "metadata", "creationTimestamp")}
	}
	return nil
}

func col(name string, cell func(u *unstructured.Unstructured) string) column {
	return column{name: name, kind: "string", cell: func(u *unstructured.Unstructured, _ time.Time) any { return cell(u) }}
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

func nodeColumns() []column {
	cs := []column{col("Status", nodeStatus), col("Roles", nodeRoles), ageColumn(), text("Version", "status", "nodeInfo", "kubeletVersion")}
	return append(cs, onlyWide(
		col("Internal-IP", func(u *unstructured.Unstructured) string { return nodeAddress(u, "InternalIP") }),
		col("External-IP", func(u *unstructured.Unstructured) string { return nodeAddress(u, "ExternalIP") }),
		text("OS-Image", "status", "nodeInfo", "osImage"),
		text("Kernel-Version", "status", "nodeInfo", "kernelVersion"),
		text("Container-Runtime", "status", "nodeInfo", "containerRuntimeVersion"),
	)...)
}

// conditionStatus returns the status of a condition, or "".
func conditionStatus(u *unstructured.Unstructured, kind string) string {
	for _, c := range objectsAt(u, "status", "conditions") {
		if nestedString(c, "type") == kind {
			return nestedString(c, "status")
		}
	}
	return ""
}

// objectsAt returns the objects of a list field.
func objectsAt(u *unstructured.Unstructured, path ...string) []*unstructured.Unstructured {
	raw, _, err := unstructured.NestedFieldNoCopy(u.Object, path...)
	list, ok := raw.([]any)
	if err != nil || !ok {
		return nil
	}
	out := make([]*unstructured.Unstructured, 0, len(list))
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, &unstructured.Unstructured{Object: m})
		}
	}
	return out
}

func nodeStatus(u *unstructured.Unstructured) string {
	status := "Unknown"
	switch conditionStatus(u, "Ready") {
	case "True":
		status = "Ready"
	case "False", "Unknown":
		status = "NotReady"
	}
	if off, _, err := unstructured.NestedBool(u.Object, "spec", "unschedulable"); err == nil && off {
		status += ",SchedulingDisabled"
	}
	return status
}

func nodeRoles(u *unstructured.Unstructured) string {
	const prefix = "node-role.kubernetes.io/"
	var roles []string
	labels := u.GetLabels()
	for _, k := range sortedKeys(labels) {
		if role, ok := strings.CutPrefix(k, prefix); ok && role != "" {
			roles = append(roles, role)
		}
	}
	return orNone(strings.Join(roles, ","))
}

func nodeAddress(u *unstructured.Unstructured, kind string) string {
	for _, a := range objectsAt(u, "status", "addresses") {
		if nestedString(a, "type") == kind {
			return nestedString(a, "address")
		}
	}
	return none
}

func podColumns() []column {
	cs := []column{col("Ready", podReady), col("Status", podStatus), col("Restarts", podRestarts), ageColumn()}
	return append(cs, onlyWide(
		col("IP", func(u *unstructured.Unstructured) string { return orNone(nestedString(u, "status", "podIP")) }),
		col("Node", func(u *unstructured.Unstructured) string { return orNone(nestedString(u, "spec", "nodeName")) }),
		col("Nominated Node", func(u *unstructured.Unstructured) string {
			return orNone(nestedString(u, "status", "nominatedNodeName"))
		}),
		col("Readiness Gates", func(*unstructured.Unstructured) string { return none }),
	)...)
}

func podReady(u *unstructured.Unstructured) string {
	ready := 0
	for _, c := range objectsAt(u, "status", "containerStatuses") {
		if ok, _, err := unstructured.NestedBool(c.Object, "ready"); err == nil && ok {
			ready++
		}
	}
	return fmt.Sprintf("%d/%d", ready, len(objectsAt(u, "spec", "containers")))
}

func podStatus(u *unstructured.Unstructured) string {
	if u.GetDeletionTimestamp() != nil {
		return "Terminating"
	}
	for _, c := range objectsAt(u, "status", "containerStatuses") {
		if reason := nestedString(c, "state", "waiting", "reason"); reason != "" {
			return reason
		}
	}
	if phase := nestedString(u, "status", "phase"); phase != "Succeeded" {
		return phase
	}
	return "Completed"
}

func podRestarts(u *unstructured.Unstructured) string {
	var n int64
	for _, c := range objectsAt(u, "status", "containerStatuses") {
		n += nestedInt(c, "restartCount")
	}
	return fmt.Sprint(n)
}

func daemonSetColumns() []column {
	cs := []column{
		number("Desired", "status", "desiredNumberScheduled"), number("Current", "status", "currentNumberScheduled"),
		number("Ready", "status", "numberReady"), number("Up-to-date", "status", "updatedNumberScheduled"),
		number("Available", "status", "numberAvailable"),
		col("Node Selector", func(u *unstructured.Unstructured) string {
			m, _, err := unstructured.NestedStringMap(u.Object, "spec", "template", "spec", "nodeSelector")
			if err != nil {
				return none
			}
			return pairs(m)
		}),
		ageColumn(),
	}
	return append(cs, templateColumns()...)
}

// templateColumns are the wide columns of a set of pods.
func templateColumns() []column {
	list := func(field string) func(u *unstructured.Unstructured) string {
		return func(u *unstructured.Unstructured) string {
			var out []string
			for _, c := range objectsAt(u, "spec", "template", "spec", "containers") {
				out = append(out, nestedString(c, field))
			}
			return strings.Join(out, ",")
		}
	}
	return onlyWide(col("Containers", list("name")), col("Images", list("image")),
		col("Selector", func(u *unstructured.Unstructured) string {
			m, _, err := unstructured.NestedStringMap(u.Object, "spec", "selector", "matchLabels")
			if err != nil {
				return none
			}
			return pairs(m)
		}))
}

func pairs(m map[string]string) string {
	var out []string
	for _, k := range sortedKeys(m) {
		out = append(out, k+"="+m[k])
	}
	return orNone(strings.Join(out, ","))
}

// readyOf prints "status/spec".
func readyOf(name, statusField, specField string) column {
	return col(name, func(u *unstructured.Unstructured) string {
		return fmt.Sprintf("%d/%d", nestedInt(u, "status", statusField), nestedInt(u, "spec", specField))
	})
}

func serviceColumns() []column {
	cs := []column{
		text("Type", "spec", "type"),
		col("Cluster-IP", func(u *unstructured.Unstructured) string { return orNone(nestedString(u, "spec", "clusterIP")) }),
		col("External-IP", externalIP), col("Port(s)", portList), ageColumn(),
	}
	return append(cs, onlyWide(col("Selector", func(u *unstructured.Unstructured) string {
		m, _, err := unstructured.NestedStringMap(u.Object, "spec", "selector")
		if err != nil {
			return none
		}
		return pairs(m)
	}))...)
}

func externalIP(u *unstructured.Unstructured) string {
	switch nestedString(u, "spec", "type") {
	case "ExternalName":
		return nestedString(u, "spec", "externalName")
	case "LoadBalancer":
		var out []string
		for _, i := range objectsAt(u, "status", "loadBalancer", "ingress") {
			out = append(out, nestedString(i, "ip")+nestedString(i, "hostname"))
		}
		if len(out) == 0 {
			return "<pending>"
		}
		return strings.Join(out, ",")
	}
	return none
}

func portList(u *unstructured.Unstructured) string {
	var out []string
	for _, p := range objectsAt(u, "spec", "ports") {
		number := fmt.Sprint(nestedInt(p, "port"))
		if n := nestedInt(p, "nodePort"); n > 0 {
			number += fmt.Sprintf(":%d", n)
		}
		out = append(out, number+"/"+nestedString(p, "protocol"))
	}
	return orNone(strings.Join(out, ","))
}

func dataColumn(fields ...string) column {
	return column{name: "Data", kind: "string", cell: func(u *unstructured.Unstructured, _ time.Time) any {
		n := 0
		for _, f := range fields {
			if m, ok := u.Object[f].(map[string]any); ok {
				n += len(m)
			}
		}
		return int64(n)
	}}
}

func eventColumns() []column {
	return []column{
		{name: "Last Seen", kind: "string", cell: func(u *unstructured.Unstructured, now time.Time) any {
			for _, f := range []string{"lastTimestamp", "eventTime"} {
				if t, err := time.Parse(time.RFC3339, nestedString(u, f)); err == nil {
					return age(t, now)
				}
			}
			return age(u.GetCreationTimestamp().Time, now)
		}},
		text("Type", "type"), text("Reason", "reason"),
		col("Object", func(u *unstructured.Unstructured) string {
			return strings.ToLower(nestedString(u, "involvedObject", "kind")) + "/" + nestedString(u, "involvedObject", "name")
		}),
		text("Message", "message"),
	}
}
