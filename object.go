// SPDX-License-Identifier: Apache-2.0

package lazuli

import (
	"log/slog"
	"time"
)

// Kind names a kind of stored object.
type Kind string

// The kinds of objects that the store holds; who may use them is in identity.go.
const (
	KindAccount Kind = "account"
	KindProfile Kind = "profile"
	KindCluster Kind = "cluster"
	KindMachine Kind = "machine"
	KindNode    Kind = "node"
	KindKeys    Kind = "keys"
	KindMacros  Kind = "macros"

	KindRegistry Kind = "registry"
)

// Listed reports whether users search the objects of a kind in long lists. The
// store keeps what such objects are found and shown by apart from them.
func (k Kind) Listed() bool { return k == KindCluster || k == KindProfile }

// Meta is what all objects have in common.
type Meta struct {
	UID         string            `json:"uid"`
	Name        string            `json:"name"`
	Project     string            `json:"project,omitempty"` // uid of the project; "" is tenant scope
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	CreatedAt   time.Time         `json:"createdAt"` // set by the store
	UpdatedAt   time.Time         `json:"updatedAt"` // set by the store
	Version     int64             `json:"-"`         // optimistic lock, set by the store
	Creation    *Creation         `json:"creation,omitempty"`
}

// Creation is what tells a request that is sent again, because its answer was
// lost, from one that happens to want the same name.
type Creation struct {
	By     string `json:"by"`     // uid of the user that created the object
	Digest Sealed `json:"digest"` // of the request, which may hold secrets; for CreationAAD
	Wish   string `json:"wish,omitempty"`
}

// CreationAAD binds the digest of a request to the object that it made.
func CreationAAD(uid string) string { return "creation/" + uid }

// Head returns the object's Meta.
func (m *Meta) Head() *Meta { return m }

// Index is what the store projects into columns to find an object by.
type Index struct {
	Owner  string // uid of the object that this one belongs to: the cluster of a machine
	State  string // the object's state, where it has one
	Unique string // no two objects of a kind share a non-empty value
	// Of listed kinds alone:
	Health string              // a second state, where it has one
	Facets map[string][]string // more to find it by: values by name
}

// Object is anything the store can hold. Its JSON form is what is stored.
type Object interface {
	Kind() Kind
	Head() *Meta
	Index() Index
}

// Account is an Azure application registration that clusters are made with.
type Account struct {
	Meta
	Environment              string `json:"environment"` // AzurePublicCloud, AzureUSGovernmentCloud, ...
	TenantID                 string `json:"tenantId"`
	TenantName               string `json:"tenantName,omitempty"`
	ClientID                 string `json:"clientId"`
	ClientSecret             Sealed `json:"clientSecret"` // sealed for AAD "account/<uid>"
	DisablePropertiesRequest bool   `json:"disablePropertiesRequest,omitempty"`
	TLSCert                  string `json:"tlsCert,omitempty"`
}

// Kind implements Object.
func (*Account) Kind() Kind { return KindAccount }

// Index implements Object: account names are unique in a project.
func (a *Account) Index() Index { return Index{Unique: a.Project + "/" + Fold(a.Name)} }

// Keys holds what a cluster's bootstrap needs to keep secret: its PKI, its
// administrator's kubeconfig and its machines' tokens, sealed for AAD
// "keys/<cluster uid>". Its uid is the cluster's.
type Keys struct {
	Meta
	Sealed Sealed `json:"sealed"`
}

// Kind implements Object.
func (*Keys) Kind() Kind { return KindKeys }

// Index implements Object.
func (k *Keys) Index() Index { return Index{Owner: k.UID} }

// ClusterSecrets is the clear content of Keys.Sealed, as JSON. It is never
// logged and never stored but sealed.
type ClusterSecrets struct {
	PKI             []byte            `json:"pki"`             // internal/bootstrap's PKI as JSON
	AdminKubeconfig []byte            `json:"adminKubeconfig"` // YAML; empty until it was made
	Tokens          map[string]string `json:"tokens"`          // bootstrap token by machine name
}

// LogValue implements slog.LogValuer.
func (ClusterSecrets) LogValue() slog.Value { return slog.StringValue(redacted) }

// String implements fmt.Stringer.
func (ClusterSecrets) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (ClusterSecrets) GoString() string { return redacted }

// KeysAAD binds sealed keys to their cluster.
func KeysAAD(clusterUID string) string { return "keys/" + clusterUID }

// AccountAAD binds a sealed client secret to its account.
func AccountAAD(accountUID string) string { return "account/" + accountUID }
