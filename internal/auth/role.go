// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/lazuli-dev/lazuli"
)

// Role is a set of permissions that can be given to users and teams.
type Role struct {
	UID         string
	Name        string
	Scope       lazuli.RoleScope
	Permissions Set
	System      bool // comes with the hub and cannot be changed
}

// Names of built-in roles that the hub itself needs.
const (
	RoleTenantAdmin  = "Tenant Admin"
	RoleTenantViewer = "Tenant Viewer"
)

// everything stands for all permissions of a scope.
const everything = "*"

// builtin are the roles that come with the hub: Palette's names, scopes and
// permissions ("Tenant Scope Roles and Permissions", "Project Scope Roles and
// Permissions" in its documentation), for what there is on Azure. Where those
// pages show a viewer that creates and updates, columns have slipped: a viewer
// here gets and lists. Letters as in operation.
var builtin = []struct {
	name    string
	scope   lazuli.RoleScope
	content string
}{
	{RoleTenantAdmin, lazuli.ScopeTenant, everything},
	{RoleTenantViewer, lazuli.ScopeTenant, "apiKey:gl audit:gl cloudaccount:gl cloudconfig:gl cluster:gl clusterGroup:gl clusterProfile:gl " +
		"clusterRbac:gl dnsMapping:gl edgehost:gl filter:gl location:gl machine:gl macro:gl packRegistry:gl privateGateway:gl project:gl " +
		"role:gl sshKey:gl team:gl user:gl workspace:gl"},
	{"Tenant Project Admin", lazuli.ScopeTenant, "apiKey:gl audit:gl cloudaccount:cdglu cloudconfig:cdglu cluster:cdglui clusterProfile:cdglup " +
		"clusterRbac:cdglu dnsMapping:cdglu edgehost:cdglu location:cdglu machine:cdglu macro:cdglu packRegistry:cdglu " +
		"privateGateway:cdglu project:cdglu sshKey:cdglu tag:u workspace:cdglubr"},
	{"Tenant Cluster Profile Admin", lazuli.ScopeTenant, "clusterProfile:cdglup macro:cdglu packRegistry:gl tag:u"},
	{"Tenant Role Admin", lazuli.ScopeTenant, "role:cdglu"},
	{"Tenant Team Admin", lazuli.ScopeTenant, "apiKey:gl audit:gl team:cdglu user:gl"},
	{"Tenant User Admin", lazuli.ScopeTenant, "apiKey:cdglu audit:gl user:cdglu"},

	{"Project Admin", lazuli.ScopeProject, "audit:gl cloudaccount:cdglu cloudconfig:cdglu cluster:cdglui clusterProfile:cdglup clusterRbac:cdglu " +
		"dnsMapping:cdglu edgehost:cdglu location:cdglu machine:cdglu macro:cdglu packRegistry:gl privateGateway:cdglu project:glu " +
		"sshKey:cdglu tag:u workspace:cdglubr"},
	{"Project Editor", lazuli.ScopeProject, "audit:gl cloudaccount:glu cloudconfig:cglu cluster:glu clusterProfile:glup clusterRbac:glu " +
		"dnsMapping:glu edgehost:glu location:glu machine:dglu macro:glu packRegistry:gl privateGateway:glu project:glu " +
		"sshKey:glu tag:u workspace:glubr"},
	{"Project Viewer", lazuli.ScopeProject, "audit:gl cloudaccount:gl cloudconfig:gl cluster:gl clusterProfile:gl clusterRbac:gl dnsMapping:gl edgehost:gl " +
		"location:gl machine:gl macro:gl packRegistry:gl privateGateway:gl project:gl sshKey:gl workspace:gl"},

	{"Cluster Profile Admin", lazuli.ScopeProject, "clusterProfile:cdglup macro:cdglu packRegistry:gl tag:u"},
	{"Cluster Profile Editor", lazuli.ScopeProject, "clusterProfile:glup macro:glu packRegistry:gl tag:u"},
	{"Cluster Profile Viewer", lazuli.ScopeProject, "clusterProfile:gl macro:gl packRegistry:gl"},

	{"Cluster Admin", lazuli.ScopeProject, "cloudaccount:gl cloudconfig:cdglu cluster:cdglui clusterProfile:gl clusterRbac:cdglu dnsMapping:cdglu edgehost:cdglu " +
		"location:cdglu machine:cdglu macro:cdglu packRegistry:gl privateGateway:gl sshKey:cdglu tag:u"},
	{"Cluster Editor", lazuli.ScopeProject, "cloudaccount:gl cloudconfig:glu cluster:glu clusterProfile:gl clusterRbac:glu dnsMapping:glu edgehost:glu " +
		"location:glu machine:dglu macro:glu packRegistry:gl privateGateway:gl sshKey:glu tag:u"},
	{"Cluster Viewer", lazuli.ScopeProject, "cloudaccount:gl cloudconfig:gl cluster:gl clusterProfile:gl clusterRbac:gl dnsMapping:gl edgehost:gl " +
		"location:gl machine:gl macro:gl packRegistry:gl privateGateway:gl sshKey:gl"},

	{"Cluster Account Admin", lazuli.ScopeProject, "cloudaccount:cdglu"},
	{"Cluster Account Editor", lazuli.ScopeProject, "cloudaccount:glu"},
	{"Cluster Account Viewer", lazuli.ScopeProject, "cloudaccount:gl"},

	{"Workspace Admin", lazuli.ScopeProject, "workspace:cdglubr"},
	{"Workspace Operator", lazuli.ScopeProject, "workspace:glbr"},
}

// BuiltinUID is the uid of the built-in role of that name. It follows from the
// name, so that it is the same in every hub and release.
func BuiltinUID(name string) string {
	sum := sha256.Sum256([]byte("role/" + name))
	return hex.EncodeToString(sum[:lazuli.UIDLength/2])
}

// BuiltinRoles lists the roles that come with the hub, tenant scope first.
func BuiltinRoles() []Role {
	out := make([]Role, 0, len(builtin))
	for _, b := range builtin {
		r := Role{UID: BuiltinUID(b.name), Name: b.name, Scope: b.scope, System: true, Permissions: Set{}}
		if b.content == everything {
			r.Permissions = Grantable(lazuli.ScopeTenant)
			r.Permissions.Add(Grantable(lazuli.ScopeProject).Sorted()...)
		} else {
			for word := range strings.FieldsSeq(b.content) {
				key, letters, _ := strings.Cut(word, ":")
				r.Permissions.Add(permissionsOf(key, letters)...)
			}
		}
		out = append(out, r)
	}
	return out
}

// RoleOf turns a stored role into a Role.
func RoleOf(r *lazuli.Role) Role {
	out := Role{UID: r.UID, Name: r.Name, Scope: r.Scope, Permissions: Set{}}
	for _, p := range r.Permissions {
		out.Permissions.Add(Permission(p))
	}
	return out
}

// builtinRoles keeps what BuiltinRoles returns; nobody changes its sets.
var builtinRoles = sync.OnceValue(BuiltinRoles)
