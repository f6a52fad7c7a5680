// SPDX-License-Identifier: Apache-2.0

package lazuli

import "encoding/json"

// RegistryType says what a registry holds and how it is read.
type RegistryType string

// The types of registries that users add; the built-in one is none of them.
const (
	RegistryHelm RegistryType = "helm" // charts by an index file
	RegistryOCI  RegistryType = "oci"  // charts or packs as OCI artifacts, with a user and a password
)

// Registry is a place that packs and charts come from. It belongs to the tenant.
type Registry struct {
	Meta
	Type RegistryType `json:"type"`
	// Spec is as sent, in the wire's form, but for its secrets, which are empty
	// here and sealed in Secrets.
	Spec json.RawMessage `json:"spec"`
	// Secrets are the RegistrySecrets as JSON, sealed for RegistryAAD.
	Secrets Sealed `json:"secrets,omitempty"`
}

// RegistrySecrets is the clear content of Registry.Secrets. It is never logged
// and never stored but sealed.
type RegistrySecrets struct {
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"`
	TLSKey   string `json:"tlsKey,omitempty"`
}

// String implements fmt.Stringer.
func (RegistrySecrets) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (RegistrySecrets) GoString() string { return redacted }

// Kind implements Object.
func (*Registry) Kind() Kind { return KindRegistry }

// Index implements Object: clients find registries of all types by their name.
func (r *Registry) Index() Index { return Index{State: string(r.Type), Unique: Fold(r.Name)} }

// RegistryAAD binds the sealed secrets to their registry.
func RegistryAAD(registryUID string) string { return "registry/" + registryUID }
