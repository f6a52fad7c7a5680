// SPDX-License-Identifier: Apache-2.0

package palette

// PackSummary is one version of a pack.
type PackSummary struct {
	Kind     string          `json:"kind,omitempty"`
	Metadata ObjectMeta      `json:"metadata"`
	Spec     PackSummarySpec `json:"spec"`
}

// PackSummarySpec is what a pack is.
type PackSummarySpec struct {
	AddonSubType string            `json:"addonSubType,omitempty"`
	AddonType    string            `json:"addonType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	CloudTypes   []string          `json:"cloudTypes"`
	Digest       string            `json:"digest,omitempty"`
	DisplayName  string            `json:"displayName"`
	EOL          string            `json:"eol,omitempty"`
	Group        string            `json:"group,omitempty"`
	Layer        string            `json:"layer"`
	LogoURL      string            `json:"logoUrl,omitempty"`
	Name         string            `json:"name"`
	RegistryUID  string            `json:"registryUid"`
	Type         string            `json:"type"`
	Values       string            `json:"values"`
	Version      string            `json:"version"`
}

// PackMetadata is a pack over all its versions, the answer of a search.
type PackMetadata struct {
	Metadata ObjectMeta       `json:"metadata"`
	Spec     PackMetadataSpec `json:"spec"`
}

// PackMetadataSpec is what the versions of a pack share.
type PackMetadataSpec struct {
	AddonSubType string                 `json:"addonSubType,omitempty"`
	AddonType    string                 `json:"addonType,omitempty"`
	CloudTypes   []string               `json:"cloudTypes"`
	DisplayName  string                 `json:"displayName"`
	Layer        string                 `json:"layer"`
	Name         string                 `json:"name"`
	Registries   []RegistryPackMetadata `json:"registries"`
	Type         string                 `json:"type"`
}

// RegistryPackMetadata is the newest version in a registry.
type RegistryPackMetadata struct {
	LatestPackUID string `json:"latestPackUid"`
	LatestVersion string `json:"latestVersion"`
	Name          string `json:"name"`
	Scope         string `json:"scope"`
	UID           string `json:"uid"`
}

// PacksFilterSpec searches packs.
type PacksFilterSpec struct {
	Filter *PackFilter    `json:"filter"`
	Sort   []PackSortSpec `json:"sort"`
}

// PackFilter narrows a search; null and empty lists do not. Environment "all"
// is no restriction.
type PackFilter struct {
	AddOnSubType []string      `json:"addOnSubType"`
	AddOnType    []string      `json:"addOnType"`
	DisplayName  *FilterString `json:"displayName"`
	Environment  []string      `json:"environment"`
	Layer        []string      `json:"layer"`
	Name         *FilterString `json:"name"`
	RegistryUID  []string      `json:"registryUid"`
	Type         []string      `json:"type"`
}

// FilterString compares a text; IgnoreCase absent is true.
type FilterString struct {
	BeginsWith *string `json:"beginsWith"`
	Contains   *string `json:"contains"`
	Eq         *string `json:"eq"`
	IgnoreCase *bool   `json:"ignoreCase"`
	Ne         *string `json:"ne"`
}

// PackSortSpec orders a search.
type PackSortSpec struct {
	Field string `json:"field"`
	Order string `json:"order"`
}

// RegistryMetadata names a registry.
type RegistryMetadata struct {
	IsDefault bool   `json:"isDefault"`
	IsPrivate bool   `json:"isPrivate"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Scope     string `json:"scope"`
	UID       string `json:"uid"`
}

// RegistrySyncStatus says whether a registry is searched or typed by hand.
type RegistrySyncStatus struct {
	IsSyncSupported bool   `json:"isSyncSupported"`
	LastRunTime     Time   `json:"lastRunTime,omitzero"`
	LastSyncedTime  Time   `json:"lastSyncedTime,omitzero"`
	Message         string `json:"message,omitempty"`
	Status          string `json:"status"`
}

// PackTagEntity is a pack of a registry with all its versions.
type PackTagEntity struct {
	AddonSubType string          `json:"addonSubType,omitempty"`
	AddonType    string          `json:"addonType,omitempty"`
	CloudTypes   []string        `json:"cloudTypes"`
	DisplayName  string          `json:"displayName"`
	Layer        string          `json:"layer"`
	LogoURL      string          `json:"logoUrl,omitempty"`
	Name         string          `json:"name"`
	PackValues   []PackUIDValues `json:"packValues"`
	RegistryUID  string          `json:"registryUid"`
	Tags         []PackTag       `json:"tags"`
}

// PackTag is one version; ParentTags are further tags that select it.
type PackTag struct {
	Group      string   `json:"group,omitempty"`
	PackUID    string   `json:"packUid"`
	ParentTags []string `json:"parentTags"`
	Tag        string   `json:"tag"`
	Version    string   `json:"version"`
}

// PackUIDValues are the texts of one version.
type PackUIDValues struct {
	Annotations map[string]string `json:"annotations,omitempty"`
	PackUID     string            `json:"packUid"`
	Readme      string            `json:"readme,omitempty"`
	Values      string            `json:"values"`
}
