// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"fmt"
)

// policy changes what hollow kubelets report of their Nodes before it is stored.
type policy struct {
	name       string
	conditions []string // CEL; all must hold
	patches    []string // CEL, each a list of JSON patches
}

// policies are what hollow kubelets need.
//
//   - They would report addresses, a size and versions of their own: these stay as the Node was registered.
//   - They would be Ready without a network: on Azure no node is before the cloud has initialised it, since the network's
//     pods come after that.
func policies() []policy {
	kept := policy{name: "azuresim-hollow-kubelet"}
	for _, field := range []string{"addresses", "capacity", "allocatable", "nodeInfo"} {
		kept.conditions = append(kept.conditions, fmt.Sprintf("has(oldObject.status.%s)", field))
		kept.patches = append(kept.patches, fmt.Sprintf(`[JSONPatch{op: "add", path: "/status/%s", value: oldObject.status.%[1]s}]`, field))
	}
	early := policy{name: "azuresim-not-initialised", conditions: []string{
		fmt.Sprintf("has(object.spec.taints) && object.spec.taints.exists(t, t.key == %q)", uninitialized), "has(object.status.conditions)",
	}}
	for _, set := range []struct{ field, value string }{
		{"status", "False"}, {"reason", "KubeletNotReady"},
		{"message", "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"},
	} {
		early.patches = append(early.patches, fmt.Sprintf(
			`[0, 1, 2, 3, 4, 5, 6, 7].filter(i, i < size(object.status.conditions) && object.status.conditions[i].type == "Ready")`+
				`.map(i, JSONPatch{op: "add", path: "/status/conditions/" + string(i) + "/%s", value: %q})`, set.field, set.value))
	}
	return []policy{kept, early}
}

// createPolicy makes a MutatingAdmissionPolicy for the status of Nodes as their kubelets write it, and binds it.
func (c *cluster) createPolicy(ctx context.Context, p policy) error {
	const version = "admissionregistration.k8s.io/v1"
	conditions := []object{{"name": "kubelet", "expression": "request.userInfo.username.startsWith('system:node:')"}}
	for i, expression := range p.conditions {
		conditions = append(conditions, object{"name": fmt.Sprintf("condition-%d", i), "expression": expression})
	}
	var mutations []object
	for _, expression := range p.patches {
		mutations = append(mutations, object{"patchType": "JSONPatch", "jsonPatch": object{"expression": expression}})
	}
	if err := c.create(ctx, "/apis/"+version+"/mutatingadmissionpolicies", object{
		"apiVersion": version, "kind": "MutatingAdmissionPolicy", "metadata": object{"name": p.name},
		"spec": object{
			"failurePolicy": "Ignore", "reinvocationPolicy": "Never", "matchConditions": conditions, "mutations": mutations,
			"matchConstraints": object{"resourceRules": []object{{
				"apiGroups": []string{""}, "apiVersions": []string{"v1"}, "operations": []string{"UPDATE"}, "resources": []string{"nodes/status"},
			}}},
		},
	}); err != nil {
		return err
	}
	return c.create(ctx, "/apis/"+version+"/mutatingadmissionpolicybindings", object{
		"apiVersion": version, "kind": "MutatingAdmissionPolicyBinding", "metadata": object{"name": p.name}, "spec": object{"policyName": p.name},
	})
}
