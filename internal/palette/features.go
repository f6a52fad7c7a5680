// SPDX-License-Identifier: Apache-2.0

package palette

import (
	"encoding/json"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// Types of a role binding.
const (
	BindingNamespaced = "RoleBinding"
	BindingCluster    = "ClusterRoleBinding"
)

// NamespaceEntity is a namespace that a cluster shall have.
type NamespaceEntity struct {
	Metadata *ObjectMeta    `json:"metadata,omitempty"`
	Spec     *NamespaceSpec `json:"spec,omitempty"`
}

// NamespaceSpec is what a namespace shall have. With IsRegex the name is a
// pattern of namespaces that exist.
type NamespaceSpec struct {
	IsRegex            bool                 `json:"isRegex,omitempty"`
	ResourceAllocation *NamespaceAllocation `json:"resourceAllocation,omitempty"`
}

// NamespaceAllocation bounds what the pods of a namespace may ask for; 0 is no
// bound.
type NamespaceAllocation struct {
	CPUCores  float64 `json:"cpuCores,omitempty"`
	MemoryMiB float64 `json:"memoryMiB,omitempty"`
}

// RBACEntity is a set of role bindings that a cluster shall have.
type RBACEntity struct {
	Metadata *ObjectMeta `json:"metadata,omitempty"`
	Spec     *RBACSpec   `json:"spec,omitempty"`
}

// RBACSpec is the bindings.
type RBACSpec struct {
	Bindings []RBACBinding `json:"bindings,omitempty"`
}

// RBACBinding gives a role to subjects.
type RBACBinding struct {
	Namespace string        `json:"namespace,omitempty"`
	Role      *RBACRole     `json:"role,omitempty"`
	Subjects  []RBACSubject `json:"subjects,omitempty"`
	Type      string        `json:"type,omitempty"`
}

// RBACRole names a role.
type RBACRole struct {
	Kind string `json:"kind,omitempty"`
	Name string `json:"name,omitempty"`
}

// RBACSubject is who gets it.
type RBACSubject struct {
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Type      string `json:"type,omitempty"`
}

// ClusterProfiles renders the profiles of a cluster with the cluster's own
// values.
func ClusterProfiles(c *lazuli.Cluster) wire.SpectroClusterProfileList {
	out := wire.SpectroClusterProfileList{Profiles: []wire.SpectroClusterProfile{}}
	for i := range c.Profiles {
		s := &c.Profiles[i]
		spec := &wire.SpectroClusterProfileSpec{CloudType: s.CloudType, Type: s.Type, Version: 1}
		for _, l := range s.Layers {
			spec.Packs = append(spec.Packs, wire.ClusterProfilePacksEntity{
				Metadata: &wire.ObjectMeta{Name: l.Name, UID: l.PackUID},
				Spec: &wire.PackSummarySpec{
					Name: l.Name, Layer: wire.PackLayer(l.Layer), RegistryUID: l.RegistryUID, Type: wire.PackType(l.Type),
					Values: l.Values, Version: l.Tag,
				},
			})
		}
		out.Profiles = append(out.Profiles, wire.SpectroClusterProfile{
			Metadata: &wire.ObjectMeta{Name: s.Name, UID: s.UID}, Spec: spec,
		})
	}
	return out
}

// view reads the namespaces and role bindings that can be made. Entries that
// cannot be read were refused when they were sent.
func (r *ClusterResourcesEntity) view() (namespaces []lazuli.Namespace, bindings []lazuli.Binding) {
	for _, raw := range r.Namespaces {
		var n NamespaceEntity
		if json.Unmarshal(raw, &n) != nil || n.Metadata == nil || n.Spec != nil && n.Spec.IsRegex {
			continue
		}
		out := lazuli.Namespace{Name: n.Metadata.Name}
		if n.Spec != nil && n.Spec.ResourceAllocation != nil {
			out.CPUCores, out.MemoryMiB = n.Spec.ResourceAllocation.CPUCores, n.Spec.ResourceAllocation.MemoryMiB
		}
		namespaces = append(namespaces, out)
	}
	for _, raw := range r.RBACs {
		var e RBACEntity
		if json.Unmarshal(raw, &e) != nil || e.Spec == nil {
			continue
		}
		for _, b := range e.Spec.Bindings {
			if b.Role == nil {
				continue
			}
			out := lazuli.Binding{RoleKind: b.Role.Kind, RoleName: b.Role.Name}
			if b.Type == BindingNamespaced {
				out.Namespace = b.Namespace
			}
			for _, s := range b.Subjects {
				out.Subjects = append(out.Subjects, lazuli.Subject{Kind: s.Type, Name: s.Name, Namespace: s.Namespace})
			}
			bindings = append(bindings, out)
		}
	}
	return namespaces, bindings
}
