// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

const authorizationNamespace = "Microsoft.Authorization"

// builtInRoles are the roles of Azure that matter to an installer, with their published ids
// (learn.microsoft.com, Azure built-in roles).
func builtInRoles() []Role {
	list := []Role{
		{
			ID: "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", Name: "Owner", Actions: []string{"*"},
			Description: "Grants full access to manage all resources, including the ability to assign roles in Azure RBAC.",
		},
		{
			ID: "b24988ac-6180-42a0-ab88-20f7382dd24c", Name: "Contributor", Actions: []string{"*"},
			NotActions: []string{
				"Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write", "Microsoft.Authorization/elevateAccess/Action",
				"Microsoft.Blueprint/blueprintAssignments/write", "Microsoft.Blueprint/blueprintAssignments/delete",
				"Microsoft.Compute/galleries/share/action",
			},
			Description: "Grants full access to manage all resources, but does not allow you to assign roles in Azure RBAC.",
		},
		{
			ID: "acdd72a7-3385-48ef-bd42-f606fba81ae7", Name: "Reader", Actions: []string{"*/read"},
			Description: "View all resources, but does not allow you to make any changes.",
		},
		{
			ID: "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9", Name: "User Access Administrator",
			Actions:     []string{"*/read", "Microsoft.Authorization/*"},
			Description: "Lets you manage user access to Azure resources.",
		},
		{
			ID: "4d97b98b-1d4f-4787-a291-c67834d212e7", Name: "Network Contributor",
			Actions:     []string{"Microsoft.Authorization/*/read", "Microsoft.Network/*", "Microsoft.Resources/subscriptions/resourceGroups/read"},
			Description: "Lets you manage networks, but not access to them.",
		},
		{
			ID: "9980e02c-c2be-4d73-94e8-173b1dc7cf3c", Name: "Virtual Machine Contributor",
			Actions: []string{
				"Microsoft.Authorization/*/read", "Microsoft.Compute/availabilitySets/*", "Microsoft.Compute/locations/*",
				"Microsoft.Compute/virtualMachines/*", "Microsoft.Compute/disks/write", "Microsoft.Compute/disks/read", "Microsoft.Compute/disks/delete",
				"Microsoft.Network/networkInterfaces/*", "Microsoft.Network/*/join/action", "Microsoft.Network/*/read",
				"Microsoft.Resources/subscriptions/resourceGroups/read",
			},
			Description: "Lets you manage virtual machines, but not access to them.",
		},
		{
			ID: "f1a07417-d97a-45cb-824c-7a7467783830", Name: "Managed Identity Operator",
			Actions: []string{
				"Microsoft.ManagedIdentity/userAssignedIdentities/*/read", "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
				"Microsoft.Authorization/*/read", "Microsoft.Resources/subscriptions/resourceGroups/read",
			},
			Description: "Read and Assign User Assigned Identity.",
		},
	}
	for i := range list {
		list[i].builtIn = true
	}
	return list
}

// matchAction matches an action against a pattern in which * stands for any characters, without case.
func matchAction(pattern, action string) bool {
	parts := strings.Split(strings.ToLower(pattern), "*")
	rest := strings.ToLower(action)
	if !strings.HasPrefix(rest, parts[0]) {
		return false
	}
	rest = rest[len(parts[0]):]
	for i, p := range parts[1:] {
		if i == len(parts)-2 { // the last part is anchored at the end
			return strings.HasSuffix(rest, p)
		}
		j := strings.Index(rest, p)
		if j < 0 {
			return false
		}
		rest = rest[j+len(p):]
	}
	return rest == ""
}

func (r Role) allows(action string) bool {
	hit := func(p string) bool { return matchAction(p, action) }
	return slices.ContainsFunc(r.Actions, hit) && !slices.ContainsFunc(r.NotActions, hit)
}

// within says whether id is scope or lies below it.
func within(scope, id string) bool {
	scope, id = keyOf(scope), keyOf(id)
	return scope == "" || id == scope || strings.HasPrefix(id, scope+"/")
}

// assignmentsOf lists a principal's effective role assignments at or above scope, in order.
func (s *Simulator) assignmentsOf(objectID, scope string) []*assignment {
	now := s.now()
	var out []*assignment
	for _, k := range sortedKeys(s.world.assignments) {
		a := s.world.assignments[k]
		if strings.EqualFold(a.PrincipalID, objectID) && within(a.Scope, scope) && !now.Before(a.from) {
			out = append(out, a)
		}
	}
	return out
}

func (c *call) may(action, scope string) bool {
	return slices.ContainsFunc(c.sim.assignmentsOf(c.principal.ObjectID, scope), func(a *assignment) bool { return a.role.allows(action) })
}

func (c *call) authorize(action, scope string) *apiError {
	if c.may(action, scope) {
		return nil
	}
	return fail(http.StatusForbidden, "AuthorizationFailed",
		"The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. "+
			"If access was recently granted, please refresh your credentials.", c.principal.ClientID, c.principal.ObjectID, action, scope)
}

// authorizeLinked checks the right to use another resource, as in a subnet's join/action.
func (c *call) authorizeLinked(action, linked string) *apiError {
	if c.may(action, linked) {
		return nil
	}
	return fail(http.StatusForbidden, "LinkedAuthorizationFailed",
		"The client '%s' with object id '%s' has permission to perform action '%s' on scope '%s'; however, it does not have permission to "+
			"perform action(s) '%s' on the linked scope(s) '%s' (respectively) or the linked scope(s) are invalid.",
		c.principal.ClientID, c.principal.ObjectID, c.target.typeName()+"/write", c.target.path, action, linked)
}

// lock is a management lock.
type lock struct {
	id, name, scope, level, notes string
}

// checkLocks refuses a write below a ReadOnly lock and a delete below any lock. Deleting a group is also refused by a
// lock inside it (learn.microsoft.com, lock resources).
func (c *call) checkLocks(id string, deleting bool) *apiError {
	var hits []string
	for _, k := range sortedKeys(c.sim.locks) {
		l := c.sim.locks[k]
		if !deleting && l.level != "ReadOnly" {
			continue
		}
		if within(l.scope, id) || deleting && within(id, l.scope) {
			hits = append(hits, l.scope)
		}
	}
	if len(hits) == 0 {
		return nil
	}
	verb := "write"
	if deleting {
		verb = "delete"
	}
	return conflict("ScopeLocked",
		"The scope '%s' cannot perform %s operation because following scope(s) are locked: '%s'. Please remove the lock and try again.",
		id, verb, strings.Join(slices.Compact(hits), ","))
}

var guidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func (c *call) routeAuthorization() (*reply, *apiError) {
	t := c.target
	scope := t.scope
	if scope == "" {
		scope = "/"
	}
	if len(t.types) != 1 {
		return nil, unknownType(t)
	}
	verb := "read"
	switch c.class {
	case classWrite:
		verb = "write"
	case classDelete:
		verb = "delete"
	}
	kind := strings.ToLower(t.types[0])
	if kind != "permissions" { // Everybody may ask for their own rights.
		if err := c.authorize(authorizationNamespace+"/"+t.types[0]+"/"+verb, scope); err != nil {
			return nil, err
		}
	}
	if err := c.scopeExists(); err != nil {
		return nil, err
	}
	switch kind {
	case "permissions":
		return c.permissions(scope)
	case "locks":
		return c.lockCall(scope)
	case "roledefinitions":
		return c.roleDefinitions(scope)
	case "roleassignments":
		return c.roleAssignmentCall(scope)
	}
	return nil, unknownType(t)
}

// scopeExists refuses a scope in a group that is not there.
func (c *call) scopeExists() *apiError {
	if c.target.group != "" && c.sim.store.get(c.target.groupID()) == nil {
		return groupNotFound(c.target.group)
	}
	return nil
}

func (c *call) permissions(scope string) (*reply, *apiError) {
	if c.method != http.MethodGet {
		return nil, methodNotAllowed(c)
	}
	list := []any{}
	for _, a := range c.sim.assignmentsOf(c.principal.ObjectID, scope) {
		list = append(list, object{
			"actions": anys(a.role.Actions), "notActions": anys(a.role.NotActions), "dataActions": []any{}, "notDataActions": []any{},
		})
	}
	return c.page(list)
}

func (l *lock) render() object {
	p := object{"level": l.level}
	if l.notes != "" {
		p["notes"] = l.notes
	}
	return object{"id": l.id, "name": l.name, "type": "Microsoft.Authorization/locks", "properties": p}
}

func (c *call) lockCall(scope string) (*reply, *apiError) {
	t := c.target
	if t.collection() {
		list := []any{}
		for _, k := range sortedKeys(c.sim.locks) {
			if l := c.sim.locks[k]; within(scope, l.scope) || within(l.scope, scope) {
				list = append(list, l.render())
			}
		}
		return c.page(list)
	}
	old := c.sim.locks[t.key()]
	switch c.method {
	case http.MethodGet:
		if old == nil {
			return nil, fail(http.StatusNotFound, "LockNotFound", "The lock '%s' could not be found.", t.name())
		}
		return ok(old.render()), nil
	case http.MethodPut:
		level := str(c.body, "properties", "level")
		if level != "CanNotDelete" && level != "ReadOnly" {
			return nil, badRequest("InvalidLockLevel", "The lock level '%s' is invalid.", level)
		}
		l := &lock{id: t.path, name: t.name(), scope: scope, level: level, notes: str(c.body, "properties", "notes")}
		c.sim.locks[t.key()] = l
		rep := ok(l.render())
		if old == nil {
			rep.status = http.StatusCreated
		}
		return rep, nil
	case http.MethodDelete:
		if old == nil {
			return status(http.StatusNoContent), nil
		}
		delete(c.sim.locks, t.key())
		return status(http.StatusOK), nil
	}
	return nil, methodNotAllowed(c)
}

func (r Role) render(subscription string) object {
	kind := "CustomRole"
	scopes := []any{"/subscriptions/" + subscription}
	if r.builtIn {
		kind, scopes = "BuiltInRole", []any{"/"}
	}
	return object{
		"id":   "/subscriptions/" + subscription + "/providers/Microsoft.Authorization/roleDefinitions/" + r.ID,
		"name": r.ID, "type": "Microsoft.Authorization/roleDefinitions",
		"properties": object{
			"roleName": r.Name, "type": kind, "description": r.Description, "assignableScopes": scopes,
			"permissions": []any{object{
				"actions": anys(r.Actions), "notActions": anys(r.NotActions), "dataActions": []any{}, "notDataActions": []any{},
			}},
		},
	}
}

func (c *call) roleDefinitions(string) (*reply, *apiError) {
	if c.method != http.MethodGet {
		return nil, methodNotAllowed(c)
	}
	if !c.target.collection() {
		r, known := c.sim.world.role(c.target.name())
		if !known {
			return nil, fail(http.StatusNotFound, "RoleDefinitionDoesNotExist", "The specified role definition with ID '%s' does not exist.", c.target.name())
		}
		return ok(r.render(c.target.subscription)), nil
	}
	want := filterValue(c.query.Get("$filter"), "roleName")
	list := []any{}
	for _, r := range c.sim.world.roles {
		if want == "" || strings.EqualFold(want, r.Name) {
			list = append(list, r.render(c.target.subscription))
		}
	}
	return c.page(list)
}

func (a *assignment) render(subscription string) object {
	return object{
		"id": a.id, "name": a.name, "type": "Microsoft.Authorization/roleAssignments",
		"properties": object{
			"principalId": a.PrincipalID, "principalType": a.principalType, "scope": a.Scope,
			"roleDefinitionId": "/subscriptions/" + subscription + "/providers/Microsoft.Authorization/roleDefinitions/" + a.role.ID,
			"createdOn":        a.created.Format(time.RFC3339Nano), "updatedOn": a.created.Format(time.RFC3339Nano),
		},
	}
}

func (c *call) roleAssignmentCall(scope string) (*reply, *apiError) {
	t := c.target
	all := c.sim.world.assignments
	if t.collection() {
		filter := c.query.Get("$filter")
		who := filterValue(filter, "principalId")
		if _, after, found := strings.Cut(filter, "assignedTo('"); found {
			who, _, _ = strings.Cut(after, "'")
		}
		exact := strings.Contains(filter, "atScope()")
		list := []any{}
		for _, k := range sortedKeys(all) {
			a := all[k]
			if who != "" && !strings.EqualFold(who, a.PrincipalID) {
				continue
			}
			if within(a.Scope, scope) || !exact && within(scope, a.Scope) {
				list = append(list, a.render(t.subscription))
			}
		}
		return c.page(list)
	}
	old := all[t.key()]
	switch c.method {
	case http.MethodGet:
		if old == nil {
			return nil, fail(http.StatusNotFound, "RoleAssignmentNotFound", "The role assignment '%s' is not found.", t.name())
		}
		return ok(old.render(t.subscription)), nil
	case http.MethodDelete:
		if old == nil {
			return status(http.StatusNoContent), nil
		}
		delete(all, t.key())
		return ok(old.render(t.subscription)), nil
	case http.MethodPut:
		return c.assignRole(scope, old)
	}
	return nil, methodNotAllowed(c)
}

func (c *call) assignRole(scope string, old *assignment) (*reply, *apiError) {
	t := c.target
	if !guidPattern.MatchString(t.name()) {
		return nil, badRequest("InvalidRoleAssignmentId", "The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", t.name())
	}
	roleID := str(c.body, "properties", "roleDefinitionId")
	role, known := c.sim.world.role(roleID[strings.LastIndexByte(roleID, '/')+1:])
	if !known {
		return nil, fail(http.StatusNotFound, "RoleDefinitionDoesNotExist", "The specified role definition with ID '%s' does not exist.", roleID)
	}
	who := str(c.body, "properties", "principalId")
	kind, exists := c.sim.world.objects[strings.ToLower(who)]
	if !exists {
		return nil, badRequest("PrincipalNotFound", "Principal %s does not exist in the directory %s. Check that you have the correct principal ID. "+
			"If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay.",
			who, c.principal.TenantID)
	}
	for _, k := range sortedKeys(c.sim.world.assignments) {
		a := c.sim.world.assignments[k]
		if a != old && strings.EqualFold(a.PrincipalID, who) && a.role.ID == role.ID && keyOf(a.Scope) == keyOf(scope) {
			return nil, conflict("RoleAssignmentExists", "The role assignment already exists. The ID of the conflicting role assignment is %s.",
				strings.ReplaceAll(a.name, "-", ""))
		}
	}
	a := &assignment{
		RoleAssignment: RoleAssignment{PrincipalID: who, Role: role.Name, Scope: scope},
		id:             t.path, name: t.name(), role: role, principalType: kind, from: c.now, created: c.now,
	}
	if c.sim.cfg.RoleDelay {
		a.from = c.now.Add(c.sim.draw("role.effective", t.key()))
	}
	c.sim.world.assignments[t.key()] = a
	rep := ok(a.render(t.subscription))
	if old == nil {
		rep.status = http.StatusCreated
	}
	return rep, nil
}

// filterValue finds the value in "field eq 'value'".
func filterValue(filter, field string) string {
	m := regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(field) + `\s+eq\s+'((?:[^']|'')*)'`).FindStringSubmatch(filter)
	if m == nil {
		return ""
	}
	return strings.ReplaceAll(m[1], "''", "'")
}
