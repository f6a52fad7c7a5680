// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

const (
	resourcesSet = "cluster-resources"
	ownName      = "lazuli"
	rbacGroup    = "rbac.authorization.k8s.io"
	serviceAcct  = "ServiceAccount"
)

// resources is the release of the namespaces and role bindings that the user
// wants in the cluster; none when there are none. A namespace that the user no
// longer names stays, with what is in it; its quota and the bindings go.
func (w *World) resources() ([]staged, error) {
	var docs [][]byte
	add := func(o map[string]any) error {
		b, err := json.Marshal(o)
		if err != nil {
			return fmt.Errorf("render the resources of cluster %s: %w", w.Cluster.UID, err)
		}
		docs = append(docs, b)
		return nil
	}
	for _, n := range w.Spec.Namespaces {
		objects := []map[string]any{{
			"apiVersion": "v1", "kind": "Namespace",
			"metadata": map[string]any{"name": n.Name, "annotations": map[string]string{workload.KeepAnnotation: "true"}},
		}}
		if hard := bounds(n); len(hard) > 0 {
			objects = append(objects, map[string]any{
				"apiVersion": "v1", "kind": "ResourceQuota", "metadata": map[string]any{"name": ownName, "namespace": n.Name},
				"spec": map[string]any{"hard": hard},
			})
		}
		for _, o := range objects {
			if err := add(o); err != nil {
				return nil, err
			}
		}
	}
	seen := map[string]bool{}
	for _, b := range w.Spec.Bindings {
		o := binding(b)
		name := fmt.Sprint(o["metadata"])
		if seen[name] {
			continue
		}
		seen[name] = true
		if err := add(o); err != nil {
			return nil, err
		}
	}
	if len(docs) == 0 {
		return nil, nil
	}
	return []staged{{
		release: release{Set: workload.Set{
			Name: resourcesSet, FieldManager: fieldManager, Documents: bytes.Join(docs, []byte("\n---\n")), Prune: true,
		}},
		stage: pack.StageAddon,
		title: "Apply namespaces and role bindings",
	}}, nil
}

// bounds are what the pods of a namespace may ask for together.
func bounds(n lazuli.Namespace) map[string]string {
	hard := map[string]string{}
	if n.CPUCores > 0 {
		hard["requests.cpu"] = strconv.FormatFloat(n.CPUCores, 'f', -1, 64)
	}
	if n.MemoryMiB > 0 {
		hard["requests.memory"] = strconv.FormatFloat(n.MemoryMiB, 'f', -1, 64) + "Mi"
	}
	return hard
}

// binding renders a role binding. Its name follows from its content: what a
// binding binds cannot change (Kubernetes, roleRef is immutable).
func binding(b lazuli.Binding) map[string]any {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", b))
	meta := map[string]any{"name": ownName + "-" + hex.EncodeToString(sum[:5])}
	kind := "ClusterRoleBinding"
	if b.Namespace != "" {
		kind = "RoleBinding"
		meta["namespace"] = b.Namespace
	}
	subjects := make([]map[string]string, 0, len(b.Subjects))
	for _, s := range b.Subjects {
		subject := map[string]string{"kind": s.Kind, "name": s.Name}
		if s.Kind == serviceAcct {
			subject["namespace"] = s.Namespace
		} else {
			subject["apiGroup"] = rbacGroup
		}
		subjects = append(subjects, subject)
	}
	return map[string]any{
		"apiVersion": rbacGroup + "/v1", "kind": kind, "metadata": meta, "subjects": subjects,
		"roleRef": map[string]string{"apiGroup": rbacGroup, "kind": b.RoleKind, "name": b.RoleName},
	}
}
