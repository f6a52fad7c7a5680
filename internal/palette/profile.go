// SPDX-License-Identifier: Apache-2.0

package palette

import (
	"encoding/json"
	"maps"

	"github.com/lazuli-dev/lazuli"
)

// ClusterProfileEntity creates a profile.
type ClusterProfileEntity struct {
	Metadata *ObjectMeta               `json:"metadata"`
	Spec     *ClusterProfileEntitySpec `json:"spec"`
}

// ClusterProfileEntitySpec is the content of a profile to be. Variables come
// back as sent.
type ClusterProfileEntitySpec struct {
	Template  *ProfileTemplateDraft `json:"template"`
	Variables json.RawMessage       `json:"variables,omitempty"`
	Version   string                `json:"version,omitempty"`
}

// ProfileTemplateDraft is the layers of a profile, in order.
type ProfileTemplateDraft struct {
	CloudType string               `json:"cloudType,omitempty"`
	Packs     []PackManifestEntity `json:"packs"`
	Type      string               `json:"type,omitempty"`
}

// PackManifestEntity is one layer of a request. In updates a manifest's uid
// keeps the manifest; an empty one makes a new manifest.
type PackManifestEntity struct {
	Layer       string                    `json:"layer,omitempty"`
	Manifests   []ManifestRefUpdateEntity `json:"manifests"`
	Name        string                    `json:"name"`
	RegistryUID string                    `json:"registryUid,omitempty"`
	Tag         string                    `json:"tag,omitempty"`
	Type        string                    `json:"type,omitempty"`
	UID         string                    `json:"uid,omitempty"`
	Values      string                    `json:"values,omitempty"`
}

// ClusterProfileUpdateEntity replaces the draft of a profile.
type ClusterProfileUpdateEntity struct {
	Metadata *ObjectMeta               `json:"metadata"`
	Spec     *ClusterProfileUpdateSpec `json:"spec"`
}

// ClusterProfileUpdateSpec is the new content.
type ClusterProfileUpdateSpec struct {
	Template *ProfileTemplateDraft `json:"template"`
	Version  string                `json:"version,omitempty"`
}

// ProfileMetaEntity replaces name, description, tags and version of a profile.
type ProfileMetaEntity struct {
	Metadata *ObjectMeta      `json:"metadata"`
	Spec     *ProfileMetaSpec `json:"spec,omitempty"`
}

// ProfileMetaSpec is the version.
type ProfileMetaSpec struct {
	Version string `json:"version,omitempty"`
}

// Variable is a variable of a profile.
type Variable struct {
	DefaultValue string           `json:"defaultValue,omitempty"`
	Description  string           `json:"description,omitempty"`
	DisplayName  string           `json:"displayName,omitempty"`
	Format       string           `json:"format,omitempty"`
	Hidden       bool             `json:"hidden"`
	Immutable    bool             `json:"immutable"`
	InputType    string           `json:"inputType,omitempty"`
	IsSensitive  bool             `json:"isSensitive"`
	Name         string           `json:"name"`
	Options      []VariableOption `json:"options,omitempty"`
	Regex        string           `json:"regex,omitempty"`
	Required     bool             `json:"required"`
}

// VariableOption is a choice of a variable.
type VariableOption struct {
	Default     bool   `json:"default,omitempty"`
	Description string `json:"description,omitempty"`
	Label       string `json:"label,omitempty"`
	Value       string `json:"value"`
}

// Variables answers the variables of a profile, as sent.
type Variables struct {
	Variables json.RawMessage `json:"variables"`
}

// ClusterProfile is a profile in answers. Clients dereference Spec.Published
// without a look, so it is there from the start.
type ClusterProfile struct {
	Kind     string              `json:"kind,omitempty"`
	Metadata ObjectMeta          `json:"metadata"`
	Spec     *ClusterProfileSpec `json:"spec"`
	Status   ClusterProfileStat  `json:"status"`
}

// ClusterProfileSpec is the content of a profile.
type ClusterProfileSpec struct {
	Draft     *ClusterProfileTemplate `json:"draft,omitempty"`
	Published *ClusterProfileTemplate `json:"published"`
	Version   string                  `json:"version"`
	Versions  []ProfileVersion        `json:"versions"`
}

// ProfileVersion is one version of a profile, an object of its own.
type ProfileVersion struct {
	UID     string `json:"uid"`
	Version string `json:"version"`
}

// ClusterProfileStat says whether clusters can get a profile.
type ClusterProfileStat struct {
	IsPublished bool `json:"isPublished"`
}

// ClusterProfileMetadata is a profile in the list of names.
type ClusterProfileMetadata struct {
	Metadata ObjectEntity           `json:"metadata"`
	Spec     ClusterProfileMetaSpec `json:"spec"`
}

// ClusterProfileMetaSpec tells versions of one name apart.
type ClusterProfileMetaSpec struct {
	CloudType string `json:"cloudType"`
	Version   string `json:"version"`
}

// ManifestEntity is a manifest with its content.
type ManifestEntity struct {
	Metadata ObjectMeta   `json:"metadata"`
	Spec     ManifestSpec `json:"spec"`
}

// ManifestSpec holds both states of a manifest. Clients dereference
// Published.Content without a look.
type ManifestSpec struct {
	Draft     ManifestData `json:"draft"`
	Published ManifestData `json:"published"`
}

// ManifestData is the text.
type ManifestData struct {
	Content string `json:"content"`
	Digest  string `json:"digest,omitempty"`
}

// Profile renders a profile; versions are all of its name.
func Profile(p *lazuli.Profile, versions []ProfileVersion) ClusterProfile {
	out := ClusterProfile{
		Kind:     "clusterprofile",
		Metadata: Meta(&p.Meta),
		Spec: &ClusterProfileSpec{
			Published: template(p, p.Published), Version: p.ProfileVersion, Versions: versions,
		},
		Status: ClusterProfileStat{IsPublished: p.IsPublished},
	}
	if len(p.Draft) > 0 {
		out.Spec.Draft = template(p, p.Draft)
	}
	if !p.IsPublished {
		// Never published: show what would be, as clients read nothing else.
		out.Spec.Published = template(p, p.Draft)
	}
	return out
}

// ProfileMetadataVersion is that of what ProfileMetadata makes; it is raised
// with every change of it, so that what is stored of it is made anew.
const ProfileMetadataVersion = 1

// ProfileMetadata renders a profile for the list of names.
func ProfileMetadata(p *lazuli.Profile) ClusterProfileMetadata {
	return ClusterProfileMetadata{
		Metadata: ObjectEntity{Name: p.Name, UID: p.UID},
		Spec:     ClusterProfileMetaSpec{CloudType: p.CloudType, Version: p.ProfileVersion},
	}
}

// Manifests renders the manifests of one layer.
func Manifests(l *lazuli.Layer) []ManifestEntity {
	out := make([]ManifestEntity, 0, len(l.Manifests))
	for _, m := range l.Manifests {
		data := ManifestData{Content: m.Content}
		out = append(out, ManifestEntity{
			Metadata: ObjectMeta{Name: m.Name, UID: m.UID}, Spec: ManifestSpec{Draft: data, Published: data},
		})
	}
	return out
}

// VariablesOf renders the variables of a profile as they were sent; none is an
// empty list.
func VariablesOf(p *lazuli.Profile) Variables {
	if len(p.Variables) == 0 || string(p.Variables) == "null" {
		return Variables{Variables: json.RawMessage("[]")}
	}
	var vars []map[string]json.RawMessage
	if json.Unmarshal(p.Variables, &vars) != nil { // stored only after it could be read
		return Variables{Variables: json.RawMessage("[]")}
	}
	for _, v := range vars {
		maps.DeleteFunc(v, func(_ string, m json.RawMessage) bool { return string(m) == "null" })
	}
	b, err := json.Marshal(vars)
	if err != nil { // it was JSON a moment ago
		return Variables{Variables: json.RawMessage("[]")}
	}
	return Variables{Variables: b}
}

func template(p *lazuli.Profile, layers []lazuli.Layer) *ClusterProfileTemplate {
	return &ClusterProfileTemplate{
		CloudType: p.CloudType, Name: p.Name, Packs: packRefs(layers), ProfileVersion: p.ProfileVersion,
		Type: p.Type, UID: p.UID, Version: 1,
	}
}

func packRefs(layers []lazuli.Layer) []PackRef {
	out := make([]PackRef, 0, len(layers))
	for _, l := range layers {
		if l.Implied { // of the cluster, not of its profile
			continue
		}
		ref := PackRef{
			Layer: l.Layer, Manifests: make([]ObjectReference, 0, len(l.Manifests)), Name: l.Name, PackUID: l.PackUID,
			RegistryUID: l.RegistryUID, Tag: l.Tag, Type: l.Type, Values: l.Values, Version: l.Version,
		}
		for _, m := range l.Manifests {
			ref.Manifests = append(ref.Manifests, ObjectReference{Kind: "manifest", Name: m.Name, UID: m.UID})
		}
		out = append(out, ref)
	}
	return out
}
