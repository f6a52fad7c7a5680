// SPDX-License-Identifier: Apache-2.0

package palette

import (
	"maps"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// Values that have a meaning on the wire.
const (
	CloudType        = "azure"        // the only cloud served
	CloudTypeAll     = "all"          // of add-on profiles
	ScopeProject     = "project"      // annotation scope
	ScopeTenant      = "tenant"       // annotation scope
	FlagTag          = "spectro__tag" // value of a label that stands for a tag without value
	KindCluster      = "spectrocluster"
	PackManifestUID  = "spectro-manifest-pack" // packUid of layers that are plain manifests
	TypeInfra        = "infra"                 // profile type
	TypeFull         = "cluster"               // profile type: infrastructure and add-ons
	TypeAddOn        = "add-on"                // profile type
	TypeSystem       = "system"                // profile type
	PackTypeSpectro  = "spectro"
	PackTypeManifest = "manifest"
	PackTypeHelm     = "helm"
	PackTypeOCI      = "oci"
)

// Keys of metadata.annotations.
const (
	AnnotationScope       = "scope"
	AnnotationProject     = "projectUid"
	AnnotationDescription = "description"
	AnnotationGateway     = "overlordUid"
)

// Time is a time on the wire. Its zero value is left out of answers by
// omitzero.
type Time = wire.Time

// At wraps a time.
func At(t time.Time) Time { return wire.At(t) }

// ObjectMeta heads most objects. In requests only name, labels and annotations
// count.
type ObjectMeta struct {
	Annotations           map[string]string `json:"annotations,omitempty"`
	CreationTimestamp     Time              `json:"creationTimestamp,omitzero"`
	DeletionTimestamp     Time              `json:"deletionTimestamp,omitzero"`
	Labels                map[string]string `json:"labels,omitempty"`
	LastModifiedTimestamp Time              `json:"lastModifiedTimestamp,omitzero"`
	Name                  string            `json:"name,omitempty"`
	UID                   string            `json:"uid,omitempty"`
}

// ObjectReference points at an object.
type ObjectReference struct {
	Kind string `json:"kind,omitempty"`
	Name string `json:"name,omitempty"`
	UID  string `json:"uid,omitempty"`
}

// ObjectEntity names an object.
type ObjectEntity struct {
	Name string `json:"name,omitempty"`
	UID  string `json:"uid,omitempty"`
}

// UID answers a creation.
type UID struct {
	UID string `json:"uid"`
}

// Error is the body of every answer of status 400 and above.
type Error struct {
	Code    string        `json:"code"`
	Message string        `json:"message"`
	Details *ErrorDetails `json:"details,omitempty"`
	Ref     string        `json:"ref,omitempty"` // id of the request, for the logs
}

// ErrorDetails says where the fault is and what helps.
type ErrorDetails struct {
	Fields []lazuli.FieldError `json:"fields,omitempty"`
	Remedy string              `json:"remedy,omitempty"`
}

// ListMeta tells how to continue a list; Continue is "" at its end.
type ListMeta struct {
	Continue string `json:"continue"`
	Count    int    `json:"count"`
	Limit    int    `json:"limit"`
	Offset   int    `json:"offset"`
}

// List is the shape of all lists.
type List[T any] struct {
	Items    []T       `json:"items"`
	ListMeta *ListMeta `json:"listmeta,omitempty"`
}

// NewList makes a list whose items are never null.
func NewList[T any](items []T, meta *ListMeta) List[T] {
	if items == nil {
		items = []T{}
	}
	return List[T]{Items: items, ListMeta: meta}
}

// Meta renders the head of an object. Labels are exactly the user's.
func Meta(m *lazuli.Meta) ObjectMeta {
	ann := maps.Clone(m.Annotations)
	if ann == nil {
		ann = make(map[string]string, 2)
	}
	ann[AnnotationScope] = ScopeTenant
	if m.Project != "" {
		ann[AnnotationScope] = ScopeProject
		ann[AnnotationProject] = m.Project
	}
	return ObjectMeta{
		Annotations:           ann,
		CreationTimestamp:     At(m.CreatedAt),
		LastModifiedTimestamp: At(m.UpdatedAt),
		Labels:                m.Labels,
		Name:                  m.Name,
		UID:                   m.UID,
	}
}

// ProjectMetadata names a project.
type ProjectMetadata struct {
	Metadata ObjectEntity `json:"metadata"`
}
