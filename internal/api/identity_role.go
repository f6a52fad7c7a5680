// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"slices"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

func roleRoutes() []route {
	const roles, role = "/v1/roles", "/v1/roles/{uid}"
	return []route{
		{Method: methodGet, Pattern: "/v1/permissions", Operation: "v1PermissionsList", Permission: auth.RoleList, Tenant: true, Status: ok, Handle: listPermissions},
		{Method: methodGet, Pattern: roles, Operation: "v1RolesList", Permission: auth.RoleList, Tenant: true, Status: ok, Handle: listRoles},
		{Method: methodPost, Pattern: roles, Operation: "v1RolesCreate", Permission: auth.RoleCreate, Tenant: true, Status: created, Body: maxBody, Mutates: true, Handle: createRole},
		{Method: methodGet, Pattern: role, Operation: "v1RolesUidGet", Permission: auth.RoleGet, Tenant: true, Status: ok, Handle: getRole},
		{Method: methodPut, Pattern: role, Operation: "v1RolesUidUpdate", Permission: auth.RoleUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: updateRole},
		{Method: methodDelete, Pattern: role, Operation: "v1RolesUidDelete", Permission: auth.RoleDelete, Tenant: true, Status: noContent, Mutates: true, Handle: deleteRole},
		{Method: methodPost, Pattern: role + "/clone", Operation: "v1RolesClone", Permission: auth.RoleCreate, Tenant: true, Status: created, Body: maxBody, Mutates: true, Handle: cloneRole},
	}
}

// Types of roles on the wire.
const (
	roleOfSystem = wire.RoleSpecType("system")
	roleOfUser   = wire.RoleSpecType("user")
)

// roleScopes are the scopes that roles can have here.
func roleScopes() []lazuli.RoleScope {
	return []lazuli.RoleScope{lazuli.ScopeTenant, lazuli.ScopeProject}
}

// listPermissions lists the permissions that roles can have, by scope.
func listPermissions(_ *API, c *call) (any, error) {
	want := lazuli.RoleScope(c.query("scope"))
	out := wire.Permissions{}
	for _, scope := range roleScopes() {
		if want != "" && want != scope {
			continue
		}
		for _, g := range auth.Catalogue() {
			if g.In(scope) {
				out = append(out, wire.Permission{Name: g.Name, Permissions: texts(g.Permissions), Scope: wire.Scope(scope)})
			}
		}
	}
	return out, nil
}

func texts(ps []auth.Permission) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = string(p)
	}
	return out
}

// roleOf renders a role; a built-in one has no stored head.
func roleOf(r auth.Role, m *lazuli.Meta) wire.Role {
	meta := &wire.ObjectMeta{Name: r.Name, UID: r.UID, Annotations: map[string]string{palette.AnnotationScope: "system"}}
	kind := roleOfSystem
	if m != nil {
		meta, kind = identityMeta(m), roleOfUser
	}
	return wire.Role{
		Metadata: meta,
		Spec:     &wire.RoleSpec{Permissions: texts(r.Permissions.Sorted()), Scope: wire.Scope(r.Scope), Type: kind},
		Status:   &wire.RoleStatus{IsEnabled: true},
	}
}

func listRoles(a *API, c *call) (any, error) {
	stored, err := storedByName[lazuli.Role](a, c)
	if err != nil {
		return nil, err
	}
	var all []wire.Role
	for _, r := range auth.BuiltinRoles() {
		all = append(all, roleOf(r, nil))
	}
	for i := range stored {
		all = append(all, roleOf(auth.RoleOf(&stored[i]), &stored[i].Meta))
	}
	page, meta, err := pageOf(c, all)
	if err != nil {
		return nil, err
	}
	return wire.Roles{Items: page, Listmeta: meta}, nil
}

// builtin finds a role that comes with the hub.
func builtin(match func(auth.Role) bool) (auth.Role, bool) {
	all := auth.BuiltinRoles()
	i := slices.IndexFunc(all, match)
	if i < 0 {
		return auth.Role{}, false
	}
	return all[i], true
}

func builtinRole(uid string) (auth.Role, bool) {
	return builtin(func(r auth.Role) bool { return r.UID == uid })
}

func getRole(a *API, c *call) (any, error) {
	if r, ok := builtinRole(c.param("uid")); ok {
		return roleOf(r, nil), nil
	}
	r, err := get[lazuli.Role](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	return roleOf(auth.RoleOf(r), &r.Meta), nil
}

// readRole reads a role as a request describes it.
func readRole(body []byte) (*lazuli.Role, error) {
	var in wire.Role
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	spec := orZero(in.Spec)
	r := &lazuli.Role{Meta: metaOf(&f, in.Metadata, true), Scope: lazuli.RoleScope(spec.Scope)}
	checkRoleName(&f, r.Name)
	if !slices.Contains(roleScopes(), r.Scope) {
		f.Add("spec.scope", "%q is neither tenant nor project", shorten(string(r.Scope)))
		return nil, f.Err()
	}
	if spec.Type == roleOfSystem {
		f.Add("spec.type", "is system, which is for roles that come with the hub; user is right")
	}
	grantable := auth.Grantable(r.Scope)
	for i, p := range spec.Permissions {
		if !grantable.Has(auth.Permission(p)) {
			f.Add(fmt.Sprintf("spec.permissions[%d]", i), "%q is no permission that a role of %s scope can have; GET /v1/permissions lists them",
				shorten(p), r.Scope)
		}
	}
	r.Permissions = unique(spec.Permissions)
	slices.Sort(r.Permissions)
	return r, f.Err()
}

func checkRoleName(f *lazuli.Fields, name string) {
	if _, taken := builtin(func(r auth.Role) bool { return lazuli.Fold(r.Name) == lazuli.Fold(name) }); taken {
		f.Add(titlePath, "%q is the name of a role that comes with the hub", shorten(name))
	}
}

// mayDefine refuses to put permissions into a role that the caller has not in
// the whole tenant: a role can be given anywhere, and be the caller's own.
func (c *call) mayDefine(permissions []string) error {
	role := auth.Role{Scope: lazuli.ScopeTenant, Permissions: auth.Set{}}
	for _, p := range permissions {
		role.Permissions.Add(auth.Permission(p))
	}
	return c.covers(auth.NewGrants([]auth.Role{role}, nil))
}

func createRole(a *API, c *call) (any, error) {
	r, err := readRole(c.body)
	if err != nil {
		return nil, err
	}
	return a.addRole(c, r)
}

func (a *API) addRole(c *call, r *lazuli.Role) (any, error) {
	return createIdentity(a, c, r,
		func(*authority) error { return c.mayDefine(r.Permissions) },
		func(*authority) error { return nil })
}

func cloneRole(a *API, c *call) (any, error) {
	var in wire.RoleClone
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	of, known := builtinRole(c.param("uid"))
	if !known {
		r, err := get[lazuli.Role](c.ctx(), a.Store, c, c.param("uid"))
		if err != nil {
			return nil, err
		}
		of = auth.RoleOf(r)
	}
	var f lazuli.Fields
	name := orZero(in.Metadata).Name
	checkTitle(&f, name)
	checkRoleName(&f, name)
	if err := f.Err(); err != nil {
		return nil, err
	}
	grantable := auth.Grantable(of.Scope)
	var ps []string
	for _, p := range of.Permissions.Sorted() {
		if grantable.Has(p) { // Tenant Admin has some that no other role of its scope can
			ps = append(ps, string(p))
		}
	}
	return a.addRole(c, &lazuli.Role{Meta: lazuli.Meta{Name: name}, Scope: of.Scope, Permissions: ps})
}

// systemRole refuses to change what comes with the hub.
func systemRole(uid string) error {
	r, ok := builtinRole(uid)
	if !ok {
		return nil
	}
	return &lazuli.Error{
		Code:    lazuli.CodeForbidden,
		Message: fmt.Sprintf("the role %q comes with the hub and cannot be changed", r.Name),
		Remedy:  "clone it with POST /v1/roles/" + uid + "/clone and change the copy",
	}
}

func updateRole(a *API, c *call) (any, error) {
	if err := systemRole(c.param("uid")); err != nil {
		return nil, err
	}
	in, err := readRole(c.body)
	if err != nil {
		return nil, err
	}
	err = a.changeAuthority(c, func(w *authority) error {
		r, err := getToChange[lazuli.Role](c.ctx(), w.tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		if in.Scope != r.Scope {
			return reject("spec.scope", "cannot be changed: the role may have been given")
		}
		differing := difference(lazuli.Assignment{Roles: r.Permissions}, lazuli.Assignment{Roles: in.Permissions}).Roles
		if err := c.mayDefine(differing); err != nil {
			return err
		}
		r.Name, r.Labels, r.Annotations, r.Permissions = in.Name, in.Labels, in.Annotations, in.Permissions
		return w.store(r)
	})
	return nil, nameTaken(err, in.Name)
}

func deleteRole(a *API, c *call) (any, error) {
	if err := systemRole(c.param("uid")); err != nil {
		return nil, err
	}
	return nil, a.changeAuthority(c, func(w *authority) error {
		r, err := getToChange[lazuli.Role](c.ctx(), w.tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		holder, err := w.holder(r.UID)
		if err != nil {
			return err
		}
		if holder != "" {
			return lazuli.Errorf(lazuli.CodeInUse, "the role %q is given to %s", r.Name, holder)
		}
		return w.drop(r)
	})
}

// holder names somebody who has a role.
func (w *authority) holder(role string) (string, error) {
	has := func(a lazuli.Assignment) bool {
		if slices.Contains(a.Roles, role) {
			return true
		}
		for _, roles := range a.ProjectRoles {
			if slices.Contains(roles, role) {
				return true
			}
		}
		return false
	}
	for i := range w.teams {
		if has(w.teams[i].Assignment) {
			return fmt.Sprintf("the team %q", w.teams[i].Name), nil
		}
	}
	users, err := storedIn[lazuli.User](w)
	if err != nil {
		return "", err
	}
	for i := range users {
		if has(users[i].Assignment) {
			return fmt.Sprintf("the user %q", users[i].Name), nil
		}
	}
	return "", nil
}
