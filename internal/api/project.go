// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

func projectRoutes() []route {
	const projects, project = "/v1/projects", "/v1/projects/{uid}"
	return []route{
		{Method: methodPost, Pattern: projects, Operation: "v1ProjectsCreate", Permission: auth.ProjectCreate, Tenant: true, Status: created, Body: maxBody, Mutates: true, Handle: createProject},
		{Method: methodGet, Pattern: project, Operation: "v1ProjectsUidGet", Permission: auth.ProjectGet, Status: ok, Handle: getProject},
		{Method: methodPut, Pattern: project, Operation: "v1ProjectsUidUpdate", Permission: auth.ProjectUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: updateProject},
		{Method: methodDelete, Pattern: project, Operation: "v1ProjectsUidDelete", Permission: auth.ProjectDelete, Status: noContent, Mutates: true, Handle: deleteProject},
		{Method: methodPut, Pattern: project + "/meta", Operation: "v1ProjectsUidMetaUpdate", Permission: auth.ProjectUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: updateProjectMeta},
		{Method: methodPut, Pattern: project + "/users", Operation: "v1ProjectsUidUsersUpdate", Permission: auth.ProjectUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: setProjectUsers},
		{Method: methodPut, Pattern: project + "/teams", Operation: "v1ProjectsUidTeamsUpdate", Permission: auth.ProjectUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: setProjectTeams},
		{Method: methodDelete, Pattern: project + "/validate", Operation: "v1ProjectsUidValidate", Permission: auth.ProjectDelete, Status: ok, Handle: validateProject},
	}
}

// members are the roles that users or teams are to have in a project, by uid;
// nil leaves them.
type members map[string][]string

func userMembers(in []wire.UserRoleMap) members {
	if in == nil {
		return nil
	}
	out := members{}
	for _, m := range in {
		out[m.UserID] = unique(append(out[m.UserID], m.Roles...))
	}
	return out
}

func teamMembers(in []wire.TeamRoleMap) members {
	if in == nil {
		return nil
	}
	out := members{}
	for _, m := range in {
		out[m.TeamID] = unique(append(out[m.TeamID], m.Roles...))
	}
	return out
}

// projectWish is a project as a request describes it.
type projectWish struct {
	meta         lazuli.Meta
	users, teams members
}

func readProject(body []byte) (projectWish, error) {
	var in wire.ProjectEntity
	if err := decode(body, &in); err != nil {
		return projectWish{}, err
	}
	var f lazuli.Fields
	spec := orZero(in.Spec)
	w := projectWish{meta: metaOf(&f, in.Metadata, true), users: userMembers(spec.Users), teams: teamMembers(spec.Teams)}
	checkUserLabels(&f, w.meta.Labels)
	if spec.LogoUID != "" {
		f.Add("spec.logoUid", "logos are not served: leave it empty")
	}
	if len(w.users)+len(w.teams) > maxAssignments {
		f.Add("spec", "has more than %d users and teams", maxAssignments)
	}
	return w, f.Err()
}

// checkUserLabels bounds what is stored of labels; what they say is the user's.
func checkUserLabels(f *lazuli.Fields, labels map[string]string) {
	if len(labels) > maxAnnotations {
		f.Add("metadata.labels", "has more than %d entries", maxAnnotations)
	}
	for _, k := range sortedKeys(labels) {
		checkText(f, "metadata.labels", k, maxAnnotationKey)
		checkText(f, "metadata.labels."+shorten(k), labels[k], maxAnnotationValue)
	}
}

func createProject(a *API, c *call) (any, error) {
	in, err := readProject(c.body)
	if err != nil {
		return nil, err
	}
	p := &lazuli.Project{Meta: in.meta, Description: in.meta.Annotations[palette.AnnotationDescription]}
	return createIdentity(a, c, p,
		func(*authority) error { return nil },
		func(w *authority) error { return w.setMembers(p, in.users, in.teams) })
}

// projectOf renders a project.
func (n *names) projectOf(p *lazuli.Project, users []lazuli.User) wire.Project {
	meta := identityMeta(&p.Meta)
	if _, there := meta.Annotations[palette.AnnotationDescription]; !there && p.Description != "" {
		meta.Annotations[palette.AnnotationDescription] = p.Description
	}
	spec := &wire.ProjectSpec{Users: []wire.UserRoleMap{}, Teams: []wire.TeamRoleMap{}}
	for i := range users {
		if roles := users[i].ProjectRoles[p.UID]; len(roles) > 0 {
			spec.Users = append(spec.Users, wire.UserRoleMap{UserID: users[i].UID, Roles: roles})
		}
	}
	for i := range n.teams {
		if roles := n.teams[i].ProjectRoles[p.UID]; len(roles) > 0 {
			spec.Teams = append(spec.Teams, wire.TeamRoleMap{TeamID: n.teams[i].UID, Roles: roles})
		}
	}
	return wire.Project{Metadata: meta, Spec: spec, Status: &wire.ProjectStatus{}}
}

func getProject(a *API, c *call) (any, error) {
	p, err := get[lazuli.Project](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	n, err := a.names(c.ctx(), a.Store)
	if err != nil {
		return nil, err
	}
	users, err := storedByName[lazuli.User](a, c)
	if err != nil {
		return nil, err
	}
	return n.projectOf(p, users), nil
}

// changeProject changes a project and those who have roles in it.
func (a *API) changeProject(c *call, change func(*authority, *lazuli.Project) error) error {
	return a.changeAuthority(c, func(w *authority) error {
		p, err := getToChange[lazuli.Project](c.ctx(), w.tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		if err := change(w, p); err != nil {
			return err
		}
		return w.store(p)
	})
}

func (in projectWish) into(p *lazuli.Project) {
	p.Name, p.Labels, p.Annotations = in.meta.Name, in.meta.Labels, in.meta.Annotations
	p.Description = in.meta.Annotations[palette.AnnotationDescription]
}

func updateProject(a *API, c *call) (any, error) {
	in, err := readProject(c.body)
	if err != nil {
		return nil, err
	}
	err = a.changeProject(c, func(w *authority, p *lazuli.Project) error {
		in.into(p)
		return w.setMembers(p, in.users, in.teams)
	})
	return nil, nameTaken(err, in.meta.Name)
}

func updateProjectMeta(a *API, c *call) (any, error) {
	var meta wire.ObjectMeta
	if err := decode(c.body, &meta); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	in := projectWish{meta: metaOf(&f, &meta, true)}
	checkUserLabels(&f, in.meta.Labels)
	if err := f.Err(); err != nil {
		return nil, err
	}
	err := a.changeProject(c, func(_ *authority, p *lazuli.Project) error {
		in.into(p)
		return nil
	})
	return nil, nameTaken(err, in.meta.Name)
}

func setProjectUsers(a *API, c *call) (any, error) {
	var in wire.ProjectUsersEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	users := userMembers(in.Users)
	if users == nil {
		users = members{}
	}
	return nil, a.changeProject(c, func(w *authority, p *lazuli.Project) error { return w.setMembers(p, users, nil) })
}

func setProjectTeams(a *API, c *call) (any, error) {
	var in wire.ProjectTeamsEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	teams := teamMembers(in.Teams)
	if teams == nil {
		teams = members{}
	}
	return nil, a.changeProject(c, func(w *authority, p *lazuli.Project) error { return w.setMembers(p, nil, teams) })
}

// setMembers gives the users and teams of two lists their roles in a project,
// and takes them from all others.
func (w *authority) setMembers(p *lazuli.Project, users, teams members) error {
	var f lazuli.Fields
	if users != nil {
		all, err := storedIn[lazuli.User](w)
		if err != nil {
			return err
		}
		for i := range all {
			if err := w.setMember(&f, "spec.users", p, users, &all[i], &all[i].Assignment); err != nil {
				return err
			}
		}
		unknownMembers(&f, "spec.users", users, uidsOf(all))
	}
	if teams != nil {
		for i := range w.teams {
			if err := w.setMember(&f, "spec.teams", p, teams, &w.teams[i], &w.teams[i].Assignment); err != nil {
				return err
			}
		}
		unknownMembers(&f, "spec.teams", teams, uidsOf(w.teams))
	}
	return f.Err()
}

func uidsOf[T any, P object[T]](objects []T) []string {
	out := make([]string, len(objects))
	for i := range objects {
		out[i] = P(&objects[i]).Head().UID
	}
	return out
}

func unknownMembers(f *lazuli.Fields, path string, m members, known []string) {
	for _, uid := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, uid) {
			f.Add(path, "nobody has the uid %q", shorten(uid))
		}
	}
}

// setMember gives one user or team their roles in a project.
func (w *authority) setMember(
	f *lazuli.Fields, path string, p *lazuli.Project, m members, o lazuli.Object, now *lazuli.Assignment,
) error {
	roles := m[o.Head().UID]
	if slices.Equal(roles, now.ProjectRoles[p.UID]) {
		return nil
	}
	w.checkRoles(f, path+".roles", roles, lazuli.ScopeProject)
	if err := f.Err(); err != nil {
		return err
	}
	next := lazuli.Assignment{Roles: now.Roles, ProjectRoles: maps.Clone(now.ProjectRoles)}
	if next.ProjectRoles == nil {
		next.ProjectRoles = map[string][]string{}
	}
	if next.ProjectRoles[p.UID] = roles; len(roles) == 0 {
		delete(next.ProjectRoles, p.UID)
	}
	if err := w.mayGive(w.roles.Grants(difference(*now, next))); err != nil {
		return err
	}
	*now = next
	return w.store(o)
}

// projectContent says what a project holds that keeps it from being deleted.
func projectContent(c *call, r store.Reader, project string) ([]string, error) {
	var out []string
	for _, kind := range []lazuli.Kind{lazuli.KindCluster, lazuli.KindProfile, lazuli.KindAccount} {
		where := []store.Where{{Field: store.FieldProject, Op: store.Eq, Value: project}}
		if kind == lazuli.KindCluster {
			where = append(where, store.Where{Field: store.FieldState, Op: store.NotEq, Value: string(lazuli.StateDeleted)})
		}
		page, err := r.Query(c.ctx(), store.Query{Kind: kind, Where: where, Sort: store.FieldName, Limit: 1})
		if err != nil {
			return nil, fmt.Errorf("look for objects of project %s: %w", project, err)
		}
		switch page.Total {
		case 0:
		case 1:
			out = append(out, fmt.Sprintf("the %s %q", kind, page.Rows[0].Meta.Name))
		default:
			out = append(out, fmt.Sprintf("%d of kind %s, %q among them", page.Total, kind, page.Rows[0].Meta.Name))
		}
	}
	return out, nil
}

func deleteProject(a *API, c *call) (any, error) {
	return nil, a.changeAuthority(c, func(w *authority) error {
		p, err := getToChange[lazuli.Project](c.ctx(), w.tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		content, err := projectContent(c, w.tx, p.UID)
		if err != nil {
			return err
		}
		if len(content) > 0 {
			return &lazuli.Error{
				Code:    lazuli.CodeInUse,
				Message: fmt.Sprintf("project %q holds %s", p.Name, strings.Join(content, ", ")),
				Remedy:  "delete these first; a cluster lets go when it is Deleted",
			}
		}
		if err := w.setMembersAway(p); err != nil {
			return err
		}
		return w.drop(p)
	})
}

// setMembersAway takes what refers to a project that goes: roles in it, and keys
// that are bound to it.
func (w *authority) setMembersAway(p *lazuli.Project) error {
	users, err := storedIn[lazuli.User](w)
	if err != nil {
		return err
	}
	for i := range users {
		if _, there := users[i].ProjectRoles[p.UID]; there {
			delete(users[i].ProjectRoles, p.UID)
			if err := w.store(&users[i]); err != nil {
				return err
			}
		}
	}
	for i := range w.teams {
		if _, there := w.teams[i].ProjectRoles[p.UID]; there {
			delete(w.teams[i].ProjectRoles, p.UID)
			if err := w.store(&w.teams[i]); err != nil {
				return err
			}
		}
	}
	keys, _, err := query[lazuli.APIKey](w.c.ctx(), w.tx, store.Query{
		Where: []store.Where{{Field: store.FieldProject, Op: store.Eq, Value: p.UID}},
	})
	if err != nil {
		return err
	}
	for i := range keys {
		if err := w.drop(&keys[i]); err != nil {
			return err
		}
	}
	return nil
}

// validateProject lists the clusters that keep a project from being deleted.
func validateProject(a *API, c *call) (any, error) {
	p, err := getToChange[lazuli.Project](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	clusters, _, err := query[lazuli.Cluster](c.ctx(), a.Store, store.Query{Sort: store.FieldName, Where: []store.Where{
		{Field: store.FieldProject, Op: store.Eq, Value: p.UID},
		{Field: store.FieldState, Op: store.NotEq, Value: string(lazuli.StateDeleted)},
	}})
	if err != nil {
		return nil, err
	}
	out := &wire.ProjectActiveClusters{Count: int32(len(clusters)), Clusters: []wire.ProjectActiveCluster{}}
	for i := range clusters {
		out.Clusters = append(out.Clusters, wire.ProjectActiveCluster{
			ClusterRef: &wire.ObjectEntity{Name: clusters[i].Name, UID: clusters[i].UID}, State: string(clusters[i].Status.State),
		})
	}
	return wire.ProjectActiveResources{Clusters: out}, nil
}
