// SPDX-License-Identifier: Apache-2.0

package lazuli

import "encoding/json"

// Profile is one version of a cluster profile: an ordered list of layers.
// Versions of a profile share its name and have a uid each.
type Profile struct {
	Meta
	ProfileVersion string            `json:"profileVersion"` // semantic version, default 1.0.0
	Type           string            `json:"type"`           // cluster, infra, add-on, system
	CloudType      string            `json:"cloudType"`      // azure, or all for add-ons
	Draft          []Layer           `json:"draft,omitempty"`
	Published      []Layer           `json:"published,omitempty"`
	IsPublished    bool              `json:"isPublished"`
	Variables      json.RawMessage   `json:"variables,omitempty"` // as sent
	Manifests      map[string]string `json:"manifests,omitempty"` // manifest uid to content
}

// Kind implements Object.
func (*Profile) Kind() Kind { return KindProfile }

// Index implements Object: name and version are unique in a project.
func (p *Profile) Index() Index {
	return Index{Unique: p.Project + "/" + Fold(p.Name) + "@" + p.ProfileVersion}
}

// Layer is a pack in a profile, as the user wrote it.
type Layer struct {
	Name        string     `json:"name"` // also prefix--pack
	Tag         string     `json:"tag"`
	PackUID     string     `json:"packUid"` // "" where the user sent none
	RegistryUID string     `json:"registryUid,omitempty"`
	Type        string     `json:"type"`  // spectro, helm, manifest, oci
	Layer       string     `json:"layer"` // kernel, os, k8s, cni, csi, addon: derived from the pack
	Version     string     `json:"version,omitempty"`
	Values      string     `json:"values"` // verbatim
	Manifests   []Manifest `json:"manifests,omitempty"`
}

// Manifest is a Kubernetes manifest inside a layer.
type Manifest struct {
	UID     string `json:"uid"`
	Name    string `json:"name"`
	Content string `json:"content"`
}

// ProfileSnapshot is a profile as a cluster took it over: later edits of the
// profile do not reach the cluster by themselves.
type ProfileSnapshot struct {
	UID            string  `json:"uid"`
	Name           string  `json:"name"`
	Type           string  `json:"type"`
	CloudType      string  `json:"cloudType"`
	ProfileVersion string  `json:"profileVersion"`
	Layers         []Layer `json:"layers"` // values are the profile's with the cluster's overrides in their place
}
