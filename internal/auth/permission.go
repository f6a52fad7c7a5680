// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"maps"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
)

// Permission is the right to an operation; the names are Palette's.
type Permission string

// The permissions of the routes that are served.
const (
	// None is for routes that any authenticated caller may use.
	None Permission = ""

	ClusterGet    Permission = "cluster.get"
	ClusterList   Permission = "cluster.list"
	ClusterCreate Permission = "cluster.create"
	ClusterUpdate Permission = "cluster.update"
	// ClusterDelete also opens the administrator's kubeconfig, as with Palette.
	ClusterDelete Permission = "cluster.delete"

	CloudAccountGet    Permission = "cloudaccount.get"
	CloudAccountList   Permission = "cloudaccount.list"
	CloudAccountCreate Permission = "cloudaccount.create"
	CloudAccountUpdate Permission = "cloudaccount.update"
	CloudAccountDelete Permission = "cloudaccount.delete"

	CloudConfigGet    Permission = "cloudconfig.get"
	CloudConfigUpdate Permission = "cloudconfig.update"
	MachineGet        Permission = "machine.get"
	MachineList       Permission = "machine.list"
	MachineCreate     Permission = "machine.create"
	MachineUpdate     Permission = "machine.update"
	MachineDelete     Permission = "machine.delete"

	ClusterProfileGet     Permission = "clusterProfile.get"
	ClusterProfileList    Permission = "clusterProfile.list"
	ClusterProfileCreate  Permission = "clusterProfile.create"
	ClusterProfileUpdate  Permission = "clusterProfile.update"
	ClusterProfileDelete  Permission = "clusterProfile.delete"
	ClusterProfilePublish Permission = "clusterProfile.publish"

	ClusterRbacGet    Permission = "clusterRbac.get"
	ClusterRbacUpdate Permission = "clusterRbac.update"

	PackRegistryGet    Permission = "packRegistry.get"
	PackRegistryList   Permission = "packRegistry.list"
	PackRegistryCreate Permission = "packRegistry.create"
	PackRegistryUpdate Permission = "packRegistry.update"
	PackRegistryDelete Permission = "packRegistry.delete"

	MacroGet    Permission = "macro.get"
	MacroList   Permission = "macro.list"
	MacroCreate Permission = "macro.create"
	MacroUpdate Permission = "macro.update"
	MacroDelete Permission = "macro.delete"

	SSHKeyGet    Permission = "sshKey.get"
	SSHKeyList   Permission = "sshKey.list"
	SSHKeyCreate Permission = "sshKey.create"
	SSHKeyUpdate Permission = "sshKey.update"
	SSHKeyDelete Permission = "sshKey.delete"

	LocationGet    Permission = "location.get"
	LocationList   Permission = "location.list"
	LocationCreate Permission = "location.create"
	LocationUpdate Permission = "location.update"
	LocationDelete Permission = "location.delete"

	ProjectGet    Permission = "project.get"
	ProjectList   Permission = "project.list"
	ProjectCreate Permission = "project.create"
	ProjectUpdate Permission = "project.update"
	ProjectDelete Permission = "project.delete"

	UserGet    Permission = "user.get"
	UserList   Permission = "user.list"
	UserCreate Permission = "user.create"
	UserUpdate Permission = "user.update"
	UserDelete Permission = "user.delete"

	TeamGet    Permission = "team.get"
	TeamList   Permission = "team.list"
	TeamCreate Permission = "team.create"
	TeamUpdate Permission = "team.update"
	TeamDelete Permission = "team.delete"

	RoleGet    Permission = "role.get"
	RoleList   Permission = "role.list"
	RoleCreate Permission = "role.create"
	RoleUpdate Permission = "role.update"
	RoleDelete Permission = "role.delete"

	APIKeyGet    Permission = "apiKey.get"
	APIKeyList   Permission = "apiKey.list"
	APIKeyCreate Permission = "apiKey.create"
	APIKeyUpdate Permission = "apiKey.update"
	APIKeyDelete Permission = "apiKey.delete"

	AuditGet  Permission = "audit.get"
	AuditList Permission = "audit.list"
	TagUpdate Permission = "tag.update"
)

// Resource is what a permission is about: the part before the point.
func (p Permission) Resource() string {
	r, _, _ := strings.Cut(string(p), ".")
	return r
}

// Group is the permissions on one resource, as GET /v1/permissions shows them.
type Group struct {
	Name        string // for people
	Permissions []Permission
	Tenant      bool // a role of tenant scope may have them
	Project     bool // a role of project scope may have them
}

// In reports whether roles of a scope may have the group's permissions.
func (g Group) In(scope lazuli.RoleScope) bool {
	return scope == lazuli.ScopeTenant && g.Tenant || scope == lazuli.ScopeProject && g.Project
}

// Letters of the tables below.
const (
	crud        = "cdglu"
	atTenant    = "t"
	atProject   = "p"
	atBoth      = "tp"
	customStart = "+" // what follows is a full name
)

// operation is what a letter of the tables stands for.
func operation(letter rune) string {
	switch letter {
	case 'b':
		return "backup"
	case 'c':
		return "create"
	case 'd':
		return "delete"
	case 'g':
		return "get"
	case 'i':
		return "import"
	case 'l':
		return "list"
	case 'p':
		return "publish"
	case 'r':
		return "restore"
	default:
		return "update"
	}
}

// resources are all resources with their operations. Names, operations and
// scopes are Palette's ("Permissions" in its documentation of roles), also those
// that this hub has no routes for: roles that were written for Palette are
// accepted here.
var resources = []struct{ key, name, operations, scopes string }{
	{"apiKey", "API Key", crud, atTenant},
	{"appDeployment", "App Deployment", crud, atBoth},
	{"appProfile", "App Profile", crud, atProject},
	{"audit", "Audit", "gl", atBoth},
	{"cloudaccount", "Cloud Account", crud, atBoth},
	{"cloudconfig", "Cloud Config", crud, atBoth},
	{"cluster", "Cluster", crud + "i", atBoth},
	{"clusterGroup", "Cluster Group", crud, atBoth},
	{"clusterPair", "Cluster Pair", "dglu", atBoth},
	{"clusterProfile", "Cluster Profile", crud + "p", atBoth},
	{"clusterRbac", "Cluster RBAC", crud, atBoth},
	{"dnsMapping", "DNS Mapping", crud, atBoth},
	{"edgeToken", "Edge Host Token", crud, atTenant},
	{"edgehost", "Edge Host", crud + "+sshUpdate+sshUserUpdate", atBoth},
	{"filter", "Filter", crud, atTenant},
	{"location", "Location", crud, atBoth},
	{"machine", "Machine", crud, atBoth},
	{"macro", "Macro", crud, atBoth},
	{"packRegistry", "Registry", crud, atBoth},
	{"privateGateway", "Private Gateway", crud, atBoth},
	{"project", "Project", crud, atBoth},
	{"role", "Role", crud, atTenant},
	{"sshKey", "SSH Key", crud, atBoth},
	{"tag", "Tag", "gu", atBoth},
	{"team", "Team", crud, atTenant},
	{"user", "User", crud, atTenant},
	{"virtualCloudconfig", "Virtual Cloud Config", crud, atProject},
	{"virtualCluster", "Virtual Cluster", crud, atProject},
	{"virtualMachine", "Virtual Machine", crud +
		"+clone+migrate+pause+restart+resume+snapshotCreate+snapshotDelete+snapshotGet+snapshotList+snapshotUpdate+start+stop", atProject},
	{"workspace", "Workspace", crud + "br", atBoth},
}

// permissionsOf spells out a resource's letters.
func permissionsOf(key, operations string) []Permission {
	letters, names, _ := strings.Cut(operations, customStart)
	var out []Permission
	for _, l := range letters {
		out = append(out, Permission(key+"."+operation(l)))
	}
	for name := range strings.SplitSeq(names, customStart) {
		if name != "" {
			out = append(out, Permission(key+"."+name))
		}
	}
	slices.Sort(out)
	return out
}

// Catalogue is all permissions that there are, by resource.
func Catalogue() []Group {
	out := make([]Group, 0, len(resources))
	for _, r := range resources {
		out = append(out, Group{
			Name: r.name, Permissions: permissionsOf(r.key, r.operations),
			Tenant: strings.Contains(r.scopes, atTenant), Project: strings.Contains(r.scopes, atProject),
		})
	}
	return out
}

// Grantable is the permissions that a role of a scope may have.
func Grantable(scope lazuli.RoleScope) Set {
	out := Set{}
	for _, g := range Catalogue() {
		if g.In(scope) {
			out.Add(g.Permissions...)
		}
	}
	return out
}

// Set is a set of permissions.
type Set map[Permission]struct{}

// NewSet makes a Set.
func NewSet(ps ...Permission) Set {
	s := make(Set, len(ps))
	s.Add(ps...)
	return s
}

// Add puts permissions into the set.
func (s Set) Add(ps ...Permission) {
	for _, p := range ps {
		s[p] = struct{}{}
	}
}

// Has reports whether p is in the set.
func (s Set) Has(p Permission) bool {
	_, ok := s[p]
	return ok
}

// Sorted lists the set in order.
func (s Set) Sorted() []Permission { return slices.Sorted(maps.Keys(s)) }
