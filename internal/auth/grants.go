// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Grants are what a user may do: in the tenant, which is in all its projects
// too, and in single projects. They are not changed once they were computed.
type Grants struct {
	tenant   Set
	projects map[string]Set
}

// NewGrants makes the grants of roles: the tenant's, and those of projects by
// their uid. A role counts only where its scope allows it to be given.
func NewGrants(tenant []Role, projects map[string][]Role) *Grants {
	g := &Grants{tenant: Set{}, projects: map[string]Set{}}
	for _, r := range tenant {
		if r.Scope == lazuli.ScopeTenant {
			maps.Copy(g.tenant, r.Permissions)
		}
	}
	for uid, roles := range projects {
		set := Set{}
		for _, r := range roles {
			if r.Scope == lazuli.ScopeProject {
				maps.Copy(set, r.Permissions)
			}
		}
		if len(set) > 0 {
			g.projects[uid] = set
		}
	}
	return g
}

// Has reports whether p is granted in a project, or for objects of the tenant
// when project is "".
func (g *Grants) Has(p Permission, project string) bool {
	return g != nil && (g.tenant.Has(p) || project != "" && g.projects[project].Has(p))
}

// touches reports whether anything is granted in a project.
func (g *Grants) touches(project string) bool {
	return g != nil && (len(g.tenant) > 0 || len(g.projects[project]) > 0)
}

// Excess is a permission of other that g has not, and the project where; ok is
// false when g covers all of other.
func (g *Grants) Excess(other *Grants) (p Permission, project string, ok bool) {
	if other == nil {
		return "", "", false
	}
	for _, p := range other.tenant.Sorted() {
		if !g.Has(p, "") {
			return p, "", true
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(other.projects)) {
		for _, p := range other.projects[uid].Sorted() {
			if !g.Has(p, uid) {
				return p, uid, true
			}
		}
	}
	return "", "", false
}

// within is what is left of g for a key that is bound to a project: nothing
// outside of it.
func (g *Grants) within(project string) *Grants {
	set := maps.Clone(g.tenant)
	maps.Copy(set, g.projects[project])
	return &Grants{tenant: Set{}, projects: map[string]Set{project: set}}
}

// Roles finds roles by uid: those that come with the hub and those of the
// tenant.
type Roles struct{ byUID map[string]Role }

// LoadRoles reads the tenant's roles and adds the built-in ones.
func LoadRoles(ctx context.Context, r store.Reader) (Roles, error) {
	out := Roles{byUID: map[string]Role{}}
	for _, b := range builtinRoles() {
		out.byUID[b.UID] = b
	}
	page, err := r.Query(ctx, store.Query{Kind: lazuli.KindRole})
	if err != nil {
		return out, fmt.Errorf("read the roles: %w", err)
	}
	for _, row := range page.Rows {
		var role lazuli.Role
		if err := json.Unmarshal(row.Data, &role); err != nil {
			return out, fmt.Errorf("decode role %s: %w", row.Meta.UID, err)
		}
		out.byUID[row.Meta.UID] = RoleOf(&role)
	}
	return out, nil
}

// Get returns the role with a uid.
func (r Roles) Get(uid string) (Role, bool) {
	role, ok := r.byUID[uid]
	return role, ok
}

// All lists the roles, those of the hub first, by name.
func (r Roles) All() []Role {
	return slices.SortedFunc(maps.Values(r.byUID), func(a, b Role) int {
		if a.System != b.System {
			if a.System {
				return -1
			}
			return 1
		}
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

// pick returns the roles that there are among uids: one that is gone grants
// nothing.
func (r Roles) pick(uids []string) []Role {
	var out []Role
	for _, uid := range uids {
		if role, ok := r.byUID[uid]; ok {
			out = append(out, role)
		}
	}
	return out
}

// Grants is what assignments give together.
func (r Roles) Grants(as ...lazuli.Assignment) *Grants {
	var tenant []Role
	projects := map[string][]Role{}
	for _, a := range as {
		tenant = append(tenant, r.pick(a.Roles)...)
		for uid, roles := range a.ProjectRoles {
			projects[uid] = append(projects[uid], r.pick(roles)...)
		}
	}
	return NewGrants(tenant, projects)
}

// LoadTeams reads all teams, by name.
func LoadTeams(ctx context.Context, r store.Reader) ([]lazuli.Team, error) {
	page, err := r.Query(ctx, store.Query{Kind: lazuli.KindTeam, Sort: store.FieldName})
	if err != nil {
		return nil, fmt.Errorf("read the teams: %w", err)
	}
	out := make([]lazuli.Team, len(page.Rows))
	for i, row := range page.Rows {
		if err := json.Unmarshal(row.Data, &out[i]); err != nil {
			return nil, fmt.Errorf("decode team %s: %w", row.Meta.UID, err)
		}
		out[i].Meta = row.Meta
	}
	return out, nil
}

// GrantsOf is what a user may do, by their own roles and their teams'. A
// disabled user may do nothing.
func GrantsOf(roles Roles, teams []lazuli.Team, u *lazuli.User) *Grants {
	if u.Disabled {
		return NewGrants(nil, nil)
	}
	as := []lazuli.Assignment{u.Assignment}
	for i := range teams {
		if slices.Contains(teams[i].Users, u.UID) {
			as = append(as, teams[i].Assignment)
		}
	}
	return roles.Grants(as...)
}

// maxCached bounds the users whose grants are kept; beyond it all are computed
// again.
const maxCached = 4096

// grantCache keeps what was computed for users until their own object or the
// tenant's changes.
type grantCache struct {
	mu    sync.Mutex
	users map[string]cachedGrants
}

type cachedGrants struct {
	user, tenant int64 // versions
	grants       *Grants
}

// of returns the grants of a user. The tenant's version must have been read
// before: what is read here can then only be newer than it, and is computed
// again at the next request.
func (c *grantCache) of(ctx context.Context, r store.Reader, tenant int64, u *lazuli.User) (*Grants, error) {
	c.mu.Lock()
	kept, ok := c.users[u.UID]
	c.mu.Unlock()
	if ok && kept.user == u.Version && kept.tenant == tenant {
		return kept.grants, nil
	}
	roles, err := LoadRoles(ctx, r)
	if err != nil {
		return nil, err
	}
	teams, err := LoadTeams(ctx, r)
	if err != nil {
		return nil, err
	}
	g := GrantsOf(roles, teams, u)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users == nil || len(c.users) >= maxCached {
		c.users = map[string]cachedGrants{}
	}
	c.users[u.UID] = cachedGrants{user: u.Version, tenant: tenant, grants: g}
	return g, nil
}
