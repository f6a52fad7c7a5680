// SPDX-License-Identifier: Apache-2.0

package lazuli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Profile is one version of a cluster profile: an ordered list of layers.
// Versions of a profile share its name and have a uid each.
type Profile struct {
	Meta
	ProfileVersion string  `json:"profileVersion"` // semantic version, default 1.0.0
	Type           string  `json:"type"`           // cluster, infra, add-on, system
	CloudType      string  `json:"cloudType"`      // azure, or all for add-ons
	Draft          []Layer `json:"draft,omitempty"`
	Published      []Layer `json:"published,omitempty"`
	IsPublished    bool    `json:"isPublished"`
	// Variables are as sent, but for the defaults of sensitive ones, which are
	// empty here and sealed in VariableSecrets.
	Variables json.RawMessage `json:"variables,omitempty"`
	// VariableSecrets are the defaults of the sensitive variables: a JSON object by
	// name, sealed for ProfileAAD.
	VariableSecrets Sealed            `json:"variableSecrets,omitempty"`
	Manifests       map[string]string `json:"manifests,omitempty"` // manifest uid to content
}

// ProfileAAD binds the sealed defaults of variables to their profile.
func ProfileAAD(profileUID string) string { return "profile/" + profileUID }

// Kind implements Object.
func (*Profile) Kind() Kind { return KindProfile }

// Index implements Object: name and version are unique in a project.
func (p *Profile) Index() Index {
	return Index{Unique: p.Project + "/" + Fold(p.Name) + "@" + p.ProfileVersion}
}

// Content identifies what clusters get from the profile now: its published
// layers and its variables, but for the defaults of sensitive ones. Equal
// contents are the same text, 32 hexadecimal digits; that of a profile which
// was never published is "".
func (p *Profile) Content() string {
	if !p.IsPublished {
		return ""
	}
	sum := sha256.New()
	for _, l := range p.Published {
		parts := []string{"layer", l.Name, l.Tag, l.RegistryUID, l.Type, l.Version, l.Values}
		for _, m := range l.Manifests {
			parts = append(parts, "manifest", m.Name, m.Content)
		}
		for _, part := range parts {
			fmt.Fprintf(sum, "%d:%s", len(part), part)
		}
	}
	fmt.Fprintf(sum, "%s", p.Variables)
	const enough = 16
	return hex.EncodeToString(sum.Sum(nil)[:enough])
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
	// Implied says that no profile has the layer: the cluster got it because it
	// cannot be without. It is deployed like the others and shown to nobody as part
	// of a profile.
	Implied bool `json:"implied,omitempty"`
}

// Release is the version of the layer's pack, or the tag that stands for one.
func (l *Layer) Release() string {
	if l.Version != "" {
		return l.Version
	}
	return l.Tag
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
	Content        string  `json:"content,omitempty"` // Profile.Content when it was taken
	Layers         []Layer `json:"layers"`            // values are the profile's with the cluster's overrides in their place
	// Variables and VariableSecrets are the profile's when the snapshot was taken.
	Variables       json.RawMessage `json:"variables,omitempty"`
	VariableSecrets Sealed          `json:"variableSecrets,omitempty"` // for ProfileAAD of UID
	// Values are what the cluster gives to the variables, in the order sent.
	Values []VariableValue `json:"values,omitempty"`
}

// VariableValue is a value that a cluster gives to a variable of a profile.
type VariableValue struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`  // "" for a sensitive variable
	Sealed Sealed `json:"sealed,omitempty"` // of a sensitive variable, for ClusterVariableAAD
}

// ClusterVariableAAD binds the sealed values of variables to their cluster.
func ClusterVariableAAD(clusterUID string) string { return "variables/" + clusterUID }

// Macros are the texts that {{.spectro.macro.NAME}} stands for in a project, or
// in the whole tenant, whose Project is "". There is at most one object for each.
type Macros struct {
	Meta
	Macros []Macro `json:"macros"` // in the order sent; names are unique
}

// Macro is one named text.
type Macro struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Kind implements Object.
func (*Macros) Kind() Kind { return KindMacros }

// Index implements Object: one object for each scope.
func (m *Macros) Index() Index { return Index{Unique: MacrosUnique(m.Project)} }

// MacrosUnique is the Index().Unique of the macros of a project, or of the
// tenant.
func MacrosUnique(project string) string { return "macros/" + project }
