// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"slices"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

func teamRoutes() []route {
	const teams, team = "/v1/teams", "/v1/teams/{uid}"
	return []route{
		{Method: methodGet, Pattern: teams, Operation: "v1TeamsList", Permission: auth.TeamList, Tenant: true, Status: ok, Handle: listTeams},
		{Method: methodPost, Pattern: teams, Operation: "v1TeamsCreate", Permission: auth.TeamCreate, Tenant: true, Status: created, Body: maxBody, Mutates: true, Handle: createTeam},
		{Method: methodPost, Pattern: teams + "/summary", Operation: "v1TeamsSummaryGet", Permission: auth.TeamList, Tenant: true, Status: ok, Body: maxBody, Handle: summarizeTeams},
		{Method: methodGet, Pattern: team, Operation: "v1TeamsUidGet", Permission: auth.TeamGet, Tenant: true, Status: ok, Handle: getTeam},
		{Method: methodPut, Pattern: team, Operation: "v1TeamsUidUpdate", Permission: auth.TeamUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: updateTeam},
		{Method: methodPatch, Pattern: team, Operation: "v1TeamsUidPatch", Permission: auth.TeamUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: patchTeam},
		{Method: methodDelete, Pattern: team, Operation: "v1TeamsUidDelete", Permission: auth.TeamDelete, Tenant: true, Status: noContent, Mutates: true, Handle: deleteTeam},
		{Method: methodGet, Pattern: team + "/roles", Operation: "V1TeamsUidTenantRolesGet", Permission: auth.TeamGet, Tenant: true, Status: ok, Handle: getTeamRoles},
		{Method: methodPut, Pattern: team + "/roles", Operation: "V1TeamsUidTenantRolesUpdate", Permission: auth.TeamUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: setTeamRoles},
		{Method: methodGet, Pattern: team + "/projects", Operation: "v1TeamsProjectRoles", Permission: auth.TeamGet, Tenant: true, Status: ok, Handle: getTeamProjects},
		{Method: methodPut, Pattern: team + "/projects", Operation: "v1TeamsProjectRolesPut", Permission: auth.TeamUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: setProjects[lazuli.Team]},
		{Method: methodGet, Pattern: team + "/resourceRoles", Operation: "v1TeamsUidResourceRoles", Permission: auth.TeamGet, Tenant: true, Status: ok, Handle: getResourceRoles[lazuli.Team]},
		{Method: methodPost, Pattern: team + "/resourceRoles", Operation: "v1TeamsUidResourceRolesCreate", Permission: auth.TeamUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: setResourceRoles[lazuli.Team]},
		{Method: methodPatch, Pattern: team + "/resourceRoles/{resourceRoleUid}", Operation: "v1TeamsResourceRolesUidUpdate", Permission: auth.TeamUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: noResourceRole[lazuli.Team]},
		{Method: methodDelete, Pattern: team + "/resourceRoles/{resourceRoleUid}", Operation: "v1TeamsUidResourceRolesUidDelete", Permission: auth.TeamUpdate, Tenant: true, Status: noContent, Mutates: true, Handle: noResourceRole[lazuli.Team]},
		{Method: methodGet, Pattern: "/v1/workspaces/teams/{teamUid}/roles", Operation: "v1TeamsWorkspaceGetRoles", Permission: auth.TeamGet, Tenant: true, Status: ok, Handle: getWorkspaceRoles[lazuli.Team]},
		{Method: methodPut, Pattern: "/v1/workspaces/teams/{teamUid}/roles", Operation: "v1TeamsWorkspaceRolesPut", Permission: auth.TeamUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: setWorkspaceRoles[lazuli.Team]},
	}
}

// teamWish is a team as a request describes it.
type teamWish struct {
	meta    lazuli.Meta
	users   []string
	sources []string
	roles   []string // nil leaves them
}

func readTeam(body []byte) (teamWish, error) {
	var in wire.Team
	if err := decode(body, &in); err != nil {
		return teamWish{}, err
	}
	var f lazuli.Fields
	w := teamWish{meta: metaOf(&f, in.Metadata, true)}
	if in.Spec != nil {
		w.users, w.sources, w.roles = unique(in.Spec.Users), in.Spec.Sources, in.Spec.Roles
		if len(w.users) > maxAssignments || len(w.sources) > maxAssignments {
			f.Add("spec", "has more than %d users or sources", maxAssignments)
		}
		for i, s := range w.sources {
			checkText(&f, fmt.Sprintf("spec.sources[%d]", i), s, maxTextLength)
		}
	}
	return w, f.Err()
}

// checkUsers checks that members are users.
func (w *authority) checkUsers(f *lazuli.Fields, path string, uids []string) error {
	for i, uid := range uids {
		_, err := get[lazuli.User](w.c.ctx(), w.r, w.c.asking(auth.UserGet), uid)
		switch {
		case lazuli.CodeOf(err) == lazuli.CodeNotFound:
			f.Add(fmt.Sprintf("%s[%d]", path, i), "no user has the uid %q", shorten(uid))
		case err != nil:
			return err
		}
	}
	return f.Err()
}

func createTeam(a *API, c *call) (any, error) {
	in, err := readTeam(c.body)
	if err != nil {
		return nil, err
	}
	t := &lazuli.Team{Meta: in.meta, Users: in.users, Sources: in.sources}
	return createIdentity(a, c, t, func(w *authority) error {
		var f lazuli.Fields
		if err := w.checkUsers(&f, "spec.users", t.Users); err != nil {
			return err
		}
		t.Assignment = lazuli.Assignment{}
		return w.assign(&f, "spec.", &t.Assignment, lazuli.Assignment{Roles: unique(in.roles)})
	}, func(*authority) error { return nil })
}

// changeTeam changes a team of which the caller has all rights, before and
// after: a team's members have them, and may be the caller.
func (a *API) changeTeam(c *call, change func(*authority, *lazuli.Team) error) error {
	return a.changeAuthority(c, func(w *authority) error {
		t, err := getToChange[lazuli.Team](c.ctx(), w.tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		if err := w.mayGive(w.roles.Grants(t.Assignment)); err != nil {
			return err
		}
		if err := change(w, t); err != nil {
			return err
		}
		return w.store(t)
	})
}

func updateTeam(a *API, c *call) (any, error) {
	in, err := readTeam(c.body)
	if err != nil {
		return nil, err
	}
	err = a.changeTeam(c, func(w *authority, t *lazuli.Team) error {
		var f lazuli.Fields
		if err := w.checkUsers(&f, "spec.users", added(t.Users, in.users)); err != nil {
			return err
		}
		t.Name, t.Labels, t.Annotations = in.meta.Name, in.meta.Labels, in.meta.Annotations
		t.Users, t.Sources = in.users, in.sources
		if in.roles == nil {
			return nil
		}
		next := t.Assignment
		next.Roles = unique(in.roles)
		return w.assign(&f, "spec.", &t.Assignment, next)
	})
	return nil, nameTaken(err, in.meta.Name)
}

// added is what a list has that another had not.
func added(before, after []string) []string {
	var out []string
	for _, s := range after {
		if !slices.Contains(before, s) {
			out = append(out, s)
		}
	}
	return out
}

// patchTeam replaces the members or sources of a team.
func patchTeam(a *API, c *call) (any, error) {
	var p struct {
		Users   *[]string `json:"users"`
		Sources *[]string `json:"sources"`
	}
	if err := decodePatch(c.body, &p, "/spec"); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	return nil, a.changeTeam(c, func(w *authority, t *lazuli.Team) error {
		if p.Sources != nil {
			t.Sources = *p.Sources
		}
		if p.Users == nil {
			return nil
		}
		users := unique(*p.Users)
		if err := w.checkUsers(&f, "spec.users", added(t.Users, users)); err != nil {
			return err
		}
		t.Users = users
		return nil
	})
}

func deleteTeam(a *API, c *call) (any, error) {
	return nil, a.changeAuthority(c, func(w *authority) error {
		t, err := getToChange[lazuli.Team](c.ctx(), w.tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		if err := w.mayGive(w.roles.Grants(t.Assignment)); err != nil {
			return err
		}
		return w.drop(t)
	})
}

func teamOf(t *lazuli.Team) wire.Team {
	return wire.Team{
		Metadata: identityMeta(&t.Meta),
		Spec:     &wire.TeamSpec{Roles: t.Roles, Sources: t.Sources, Users: t.Users},
	}
}

func listTeams(a *API, c *call) (any, error) {
	teams, err := auth.LoadTeams(c.ctx(), a.Store)
	if err != nil {
		return nil, err
	}
	page, meta, err := pageOf(c, teams)
	if err != nil {
		return nil, err
	}
	items := make([]wire.Team, 0, len(page))
	for i := range page {
		items = append(items, teamOf(&page[i]))
	}
	return wire.Teams{Items: items, Listmeta: meta}, nil
}

func summarizeTeams(a *API, c *call) (any, error) {
	var in wire.TeamsSummarySpec
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	filter := orZero(in.Filter)
	n, err := a.names(c.ctx(), a.Store)
	if err != nil {
		return nil, err
	}
	items := []wire.TeamSummary{}
	for i := range n.teams {
		if t := &n.teams[i]; matchesText(filter.Name, t.Name) {
			items = append(items, n.teamSummary(t))
		}
	}
	if len(in.Sort) > 0 {
		byTime := in.Sort[0].Field == wire.TeamSummarySortFieldsCreationTimestamp
		sortSummaries(items, byTime, in.Sort[0].Order, func(s wire.TeamSummary) *wire.ObjectMeta { return s.Metadata })
	}
	return wire.TeamsSummaryList{Items: items}, nil
}

func (n *names) teamSummary(t *lazuli.Team) wire.TeamSummary {
	spec := &wire.TeamSpecSummary{Roles: n.roleList(t.Roles), Projects: []wire.UIDSummary{}, Users: []wire.UIDSummary{}}
	for _, uid := range t.Users {
		spec.Users = append(spec.Users, wire.UIDSummary{Name: n.users[uid], UID: uid})
	}
	for _, p := range n.projectRoles(t.Assignment, nil) {
		spec.Projects = append(spec.Projects, wire.UIDSummary{Name: p.Name, UID: p.UID})
	}
	return wire.TeamSummary{Metadata: identityMeta(&t.Meta), Spec: spec}
}

func getTeam(a *API, c *call) (any, error) {
	t, err := get[lazuli.Team](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	return teamOf(t), nil
}

func (a *API) shownTeam(c *call) (*lazuli.Team, *names, error) {
	t, err := get[lazuli.Team](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, nil, err
	}
	n, err := a.names(c.ctx(), a.Store)
	return t, n, err
}

func getTeamRoles(a *API, c *call) (any, error) {
	t, n, err := a.shownTeam(c)
	if err != nil {
		return nil, err
	}
	return wire.TeamTenantRolesEntity{Roles: n.roleList(t.Roles)}, nil
}

func getTeamProjects(a *API, c *call) (any, error) {
	t, n, err := a.shownTeam(c)
	if err != nil {
		return nil, err
	}
	return wire.ProjectRolesEntity{Projects: n.projectRoles(t.Assignment, nil)}, nil
}

func setTeamRoles(a *API, c *call) (any, error) {
	var in wire.TeamTenantRolesUpdate
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, assign[lazuli.Team](a, c, func(as *lazuli.Assignment) { as.Roles = unique(in.Roles) })
}

// holderUID is the uid of the user or team of a path.
func (c *call) holderUID() string {
	return orElse(orElse(c.param("uid"), c.param("userUid")), c.param("teamUid"))
}

// Roles on single resources, by filters, and roles in workspaces have nothing to
// be given for: there are neither. Their lists are empty, which clients read
// with every user and team, and giving one is refused.

func getResourceRoles[T any, P object[T]](a *API, c *call) (any, error) {
	if _, err := get[T, P](c.ctx(), a.Store, c, c.holderUID()); err != nil {
		return nil, err
	}
	return wire.ResourceRoles{ResourceRoles: []wire.ResourceRolesEntity{}}, nil
}

func setResourceRoles[T any, P object[T]](a *API, c *call) (any, error) {
	var in wire.ResourceRolesUpdateEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	if _, err := getToChange[T, P](c.ctx(), a.Store, c, c.holderUID()); err != nil {
		return nil, err
	}
	if len(in.Roles)+len(in.FilterRefs)+len(in.ProjectUids) == 0 {
		return nil, nil //nolint:nilnil // 204
	}
	return nil, reject("roles", "roles on single resources are not served: give roles in projects")
}

func noResourceRole[T any, P object[T]](a *API, c *call) (any, error) {
	if _, err := getToChange[T, P](c.ctx(), a.Store, c, c.holderUID()); err != nil {
		return nil, err
	}
	return nil, lazuli.Errorf(lazuli.CodeNotFound, "there is no role on resources with the uid %q", shorten(c.param("resourceRoleUid")))
}

func getWorkspaceRoles[T any, P object[T]](a *API, c *call) (any, error) {
	if _, err := get[T, P](c.ctx(), a.Store, c, c.holderUID()); err != nil {
		return nil, err
	}
	return wire.WorkspaceScopeRoles{Projects: []wire.ProjectsWorkspaces{}}, nil
}

func setWorkspaceRoles[T any, P object[T]](a *API, c *call) (any, error) {
	var in wire.WorkspacesRolesPatch
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	if _, err := getToChange[T, P](c.ctx(), a.Store, c, c.holderUID()); err != nil {
		return nil, err
	}
	for i, w := range in.Workspaces {
		if len(w.Roles) > 0 {
			return nil, reject(fmt.Sprintf("workspaces[%d].uid", i), "no workspace has this uid: workspaces are not served")
		}
	}
	return nil, nil //nolint:nilnil // 204
}
