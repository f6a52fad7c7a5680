// SPDX-License-Identifier: Apache-2.0

package lazuli

import "time"

// The kinds of objects that say who may do what.
const (
	KindTenant  Kind = "tenant"
	KindProject Kind = "project"
	KindUser    Kind = "user"
	KindTeam    Kind = "team"
	KindRole    Kind = "role"
	KindAPIKey  Kind = "apikey"
)

// TenantUnique is the Index().Unique of the one tenant of a hub.
const TenantUnique = "tenant"

// Tenant is the organisation that a hub belongs to: there is one. Its Version
// rises with every change of a team, a role or an assignment, so that what was
// computed of them can be kept until then.
type Tenant struct {
	Meta
	// FirstAdmin is the uid of the user that the first start made. It may be
	// gone.
	FirstAdmin  string       `json:"firstAdmin,omitempty"`
	SigningKeys []SigningKey `json:"signingKeys,omitempty"` // of sessions, the newest last
}

// Kind implements Object.
func (*Tenant) Kind() Kind { return KindTenant }

// Index implements Object: there is one tenant.
func (*Tenant) Index() Index { return Index{Unique: TenantUnique} }

// SigningKey signs the tokens of sessions.
type SigningKey struct {
	ID        string    `json:"id"`
	Sealed    Sealed    `json:"sealed"` // sealed for SigningKeyAAD
	CreatedAt time.Time `json:"createdAt"`
}

// SigningKeyAAD binds a sealed signing key to its tenant and id.
func SigningKeyAAD(tenantUID, keyID string) string {
	return "tenant/" + tenantUID + "/signing/" + keyID
}

// Project groups objects and bounds what a credential may see.
type Project struct {
	Meta
	Description string `json:"description,omitempty"`
}

// Kind implements Object.
func (*Project) Kind() Kind { return KindProject }

// Index implements Object: project names are unique.
func (p *Project) Index() Index { return Index{Unique: Fold(p.Name)} }

// Assignment is which roles a user or team has. Roles are named by uid.
type Assignment struct {
	Roles        []string            `json:"roles,omitempty"`        // of tenant scope: in all projects
	ProjectRoles map[string][]string `json:"projectRoles,omitempty"` // of project scope, by the project's uid
}

// Held returns the assignment itself, so that users and teams can be handled
// alike.
func (a *Assignment) Held() *Assignment { return a }

// User is a person or program that may hold credentials.
type User struct {
	Meta // Name is what people are called, first and last name
	Assignment

	Email     string `json:"email"` // what they sign in with; compared without regard to case
	FirstName string `json:"firstName,omitempty"`
	LastName  string `json:"lastName,omitempty"`

	Disabled bool `json:"disabled,omitempty"`
	// PasswordHash is Argon2id in PHC form with its parameters; empty when the
	// user cannot sign in with a password.
	PasswordHash string `json:"passwordHash,omitempty"`
	// MustChangePassword is that somebody else knows the password.
	MustChangePassword bool `json:"mustChangePassword,omitempty"`
	// Generation is of the sessions that hold: one of another generation is over.
	Generation int64 `json:"generation,omitempty"`
	// Ended are the sessions that were ended before their time, until then.
	Ended      []EndedSession `json:"ended,omitempty"`
	LastSignIn time.Time      `json:"lastSignIn,omitzero"`
}

// EndedSession is a session that was ended before its time.
type EndedSession struct {
	ID    string    `json:"id"`
	Until time.Time `json:"until"` // when no token of it can be valid any more
}

// Kind implements Object.
func (*User) Kind() Kind { return KindUser }

// Index implements Object: no two users sign in with the same name.
func (u *User) Index() Index {
	if u.Email == "" {
		return Index{Unique: Fold(u.Name)}
	}
	return Index{Unique: Fold(u.Email)}
}

// Team is a group of users that have roles together.
type Team struct {
	Meta
	Assignment

	Users   []string `json:"users,omitempty"`   // uids
	Sources []string `json:"sources,omitempty"` // groups of an identity provider, as the user named them
}

// Kind implements Object.
func (*Team) Kind() Kind { return KindTeam }

// Index implements Object: team names are unique.
func (t *Team) Index() Index { return Index{Unique: Fold(t.Name)} }

// RoleScope says where a role can be given.
type RoleScope string

// The scopes of roles and permissions.
const (
	ScopeTenant  RoleScope = "tenant"
	ScopeProject RoleScope = "project"
)

// Role is a set of permissions that the tenant made; those that come with the
// hub are in internal/auth and not stored.
type Role struct {
	Meta
	Scope       RoleScope `json:"scope"`
	Permissions []string  `json:"permissions"` // sorted
}

// Kind implements Object.
func (*Role) Kind() Kind { return KindRole }

// Index implements Object: role names are unique.
func (r *Role) Index() Index { return Index{Unique: Fold(r.Name)} }

// APIKey lets a program act as a user. Only the SHA-256 of the key is stored. A
// key with a Project acts there alone.
type APIKey struct {
	Meta
	UserUID   string    `json:"userUid"`
	Hash      string    `json:"hash"` // hex SHA-256 of the key
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	Disabled  bool      `json:"disabled,omitempty"` // revoked; may be taken back
}

// Kind implements Object.
func (*APIKey) Kind() Kind { return KindAPIKey }

// Index implements Object: keys are found by their hash.
func (k *APIKey) Index() Index { return Index{Owner: k.UserUID, Unique: k.Hash} }
