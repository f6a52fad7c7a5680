// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// identityRoutes are users, teams, roles, API keys, sessions and projects.
func identityRoutes() []route {
	return slices.Concat(sessionRoutes(), userRoutes(), teamRoutes(), roleRoutes(), keyRoutes(), projectRoutes())
}

// Methods, for the tables of routes.
const (
	methodGet    = http.MethodGet
	methodPost   = http.MethodPost
	methodPut    = http.MethodPut
	methodPatch  = http.MethodPatch
	methodDelete = http.MethodDelete
)

// Bounds of what people write about identities.
const (
	maxPersonName  = 128
	maxEmail       = 254
	maxAssignments = 1000 // roles, members or projects in one request
)

// authority is who may do what, read in the transaction that changes it. A look
// before has no transaction.
type authority struct {
	a      *API
	c      *call
	r      store.Reader
	tx     store.Tx
	tenant lazuli.Tenant
	roles  auth.Roles
	teams  []lazuli.Team
}

// withAuthority runs a change of users, teams, roles or assignments in a
// transaction. It raises the tenant's version, so that nobody goes on with what
// was computed before, and refuses a change after which nobody administers the
// tenant.
func (a *API) withAuthority(c *call, tx store.Tx, change func(*authority) error) error {
	w, err := a.authority(c, tx)
	if err != nil {
		return err
	}
	w.tx = tx
	if err := change(w); err != nil {
		return err
	}
	if err := w.adminIsLeft(); err != nil {
		return err
	}
	if err := tx.Update(c.ctx(), &w.tenant); err != nil {
		return fmt.Errorf("raise the version of the tenant: %w", err)
	}
	return nil
}

func (a *API) authority(c *call, r store.Reader) (*authority, error) {
	w := &authority{a: a, c: c, r: r}
	err := r.ByUnique(c.ctx(), lazuli.TenantUnique, &w.tenant)
	if err != nil {
		return nil, fmt.Errorf("read the tenant: %w", err)
	}
	if w.roles, err = auth.LoadRoles(c.ctx(), r); err != nil {
		return nil, err
	}
	w.teams, err = auth.LoadTeams(c.ctx(), r)
	return w, err
}

// changeAuthority is withAuthority in a transaction of its own.
func (a *API) changeAuthority(c *call, change func(*authority) error) error {
	return a.Store.Update(c.ctx(), func(tx store.Tx) error { return a.withAuthority(c, tx, change) })
}

// adminIsLeft refuses when no user that is active has the role Tenant Admin.
func (w *authority) adminIsLeft() error {
	teams, err := auth.LoadTeams(w.c.ctx(), w.tx)
	if err != nil {
		return err
	}
	admin := auth.BuiltinUID(auth.RoleTenantAdmin)
	byTeam := map[string]bool{}
	for i := range teams {
		if slices.Contains(teams[i].Roles, admin) {
			for _, uid := range teams[i].Users {
				byTeam[uid] = true
			}
		}
	}
	users, _, err := query[lazuli.User](w.c.ctx(), w.tx, store.Query{})
	if err != nil {
		return err
	}
	for i := range users {
		if u := &users[i]; !u.Disabled && (byTeam[u.UID] || slices.Contains(u.Roles, admin)) {
			return nil
		}
	}
	return &lazuli.Error{
		Code:    lazuli.CodeConflict,
		Message: "nobody would be left who has the role " + auth.RoleTenantAdmin,
		Remedy:  "give the role to another active user first",
	}
}

// grantsOf is what a user may do now.
func (w *authority) grantsOf(u *lazuli.User) *auth.Grants {
	active := *u
	active.Disabled = false // the rights are only at rest
	return auth.GrantsOf(w.roles, w.teams, &active)
}

// mayGive refuses to give or take away what the caller has not.
func (w *authority) mayGive(g *auth.Grants) error { return w.c.covers(g) }

// mayManage refuses to act on a user who has rights that the caller lacks.
func (w *authority) mayManage(u *lazuli.User) error { return w.c.covers(w.grantsOf(u)) }

func (c *call) covers(g *auth.Grants) error {
	p, project, exceeds := c.actor.Excess(g)
	if !exceeds {
		return nil
	}
	where := "in the tenant"
	if project != "" {
		where = "in the project " + project
	}
	return &lazuli.Error{
		Code: lazuli.CodeForbidden,
		Message: fmt.Sprintf("%s would deal with the permission %s %s, which the caller has not",
			c.op, p, where),
		Remedy: "ask somebody who has the permission",
	}
}

// assign replaces the assignment of a user or team. Roles have to exist, for the
// scope where they are given, and the caller must have all that is added or
// taken away.
func (w *authority) assign(f *lazuli.Fields, path string, now *lazuli.Assignment, next lazuli.Assignment) error {
	w.checkRoles(f, path+"roles", next.Roles, lazuli.ScopeTenant)
	for _, uid := range slices.Sorted(maps.Keys(next.ProjectRoles)) {
		w.checkRoles(f, path+"projects["+shorten(uid)+"].roles", next.ProjectRoles[uid], lazuli.ScopeProject)
		if slices.Equal(next.ProjectRoles[uid], now.ProjectRoles[uid]) {
			continue
		}
		if _, err := get[lazuli.Project](w.c.ctx(), w.r, w.c.asking(auth.ProjectGet), uid); err != nil {
			if lazuli.CodeOf(err) != lazuli.CodeNotFound {
				return err
			}
			f.Add(path+"projects", "no project has the uid %q", shorten(uid))
		}
	}
	if err := f.Err(); err != nil {
		return err
	}
	if err := w.mayGive(w.roles.Grants(difference(*now, next))); err != nil {
		return err
	}
	*now = next
	return nil
}

// checkRoles checks roles that a request names by uid.
func (w *authority) checkRoles(f *lazuli.Fields, path string, uids []string, scope lazuli.RoleScope) {
	if len(uids) > maxAssignments {
		f.Add(path, "has more than %d entries", maxAssignments)
		return
	}
	for i, uid := range uids {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch r, ok := w.roles.Get(uid); {
		case !ok:
			f.Add(at, "no role has the uid %q; GET /v1/roles lists them", shorten(uid))
		case r.Scope != scope:
			f.Add(at, "the role %q is of %s scope and is given there, not in the %s", r.Name, r.Scope, scope)
		}
	}
}

// difference is what one of two assignments has and the other has not.
func difference(a, b lazuli.Assignment) lazuli.Assignment {
	apart := func(x, y []string) []string {
		var out []string
		for _, uid := range x {
			if !slices.Contains(y, uid) {
				out = append(out, uid)
			}
		}
		for _, uid := range y {
			if !slices.Contains(x, uid) {
				out = append(out, uid)
			}
		}
		return out
	}
	out := lazuli.Assignment{Roles: apart(a.Roles, b.Roles), ProjectRoles: map[string][]string{}}
	for _, m := range []map[string][]string{a.ProjectRoles, b.ProjectRoles} {
		for uid := range m {
			out.ProjectRoles[uid] = apart(a.ProjectRoles[uid], b.ProjectRoles[uid])
		}
	}
	return out
}

// asking is the call as if its route needed another permission.
func (c *call) asking(p auth.Permission) *call {
	other := *c
	other.permission = p
	return &other
}

// noted writes a change of an identity into the audit.
func (w *authority) noted(o lazuli.Object) error {
	project := o.Head().Project
	if o.Kind() == lazuli.KindProject {
		project = o.Head().UID
	}
	return w.tx.AppendAudit(w.c.ctx(), w.c.audit(o.Kind(), o.Head().UID, project))
}

// store writes a changed object and its audit.
func (w *authority) store(o lazuli.Object) error {
	if err := w.tx.Update(w.c.ctx(), o); err != nil {
		return fmt.Errorf("update %s %s: %w", o.Kind(), o.Head().UID, err)
	}
	return w.noted(o)
}

// drop deletes an object and notes it.
func (w *authority) drop(o lazuli.Object) error {
	if err := w.tx.Delete(w.c.ctx(), o.Kind(), o.Head().UID); err != nil {
		return fmt.Errorf("delete %s %s: %w", o.Kind(), o.Head().UID, err)
	}
	return w.noted(o)
}

// createIdentity stores a new object of the tenant, once however often its
// request comes. fill checks and completes the object, before and in the
// transaction; after writes what comes with it.
func createIdentity[T any, P object[T]](a *API, c *call, o P, fill, after func(*authority) error) (any, error) {
	uid, err := repeated(a, c, o)
	if uid != "" || err != nil {
		return wire.UID{UID: uid}, err
	}
	if o.Head().UID, err = a.newUID(); err != nil {
		return nil, err
	}
	w, err := a.authority(c, a.Store)
	if err != nil {
		return nil, err
	}
	if err := fill(w); err != nil {
		return nil, err
	}
	uid, err = createOnce(a, c, o, func(tx store.Tx) error {
		return a.withAuthority(c, tx, func(w *authority) error {
			if err := fill(w); err != nil {
				return err
			}
			if err := w.noted(o); err != nil {
				return err
			}
			return after(w)
		})
	})
	return wire.UID{UID: uid}, err
}

// names finds the names that identities are shown with.
type names struct {
	roles    auth.Roles
	projects map[string]string
	users    map[string]string
	teams    []lazuli.Team
}

func (a *API) names(ctx context.Context, r store.Reader) (*names, error) {
	n := &names{projects: map[string]string{}, users: map[string]string{}}
	var err error
	if n.roles, err = auth.LoadRoles(ctx, r); err != nil {
		return nil, err
	}
	if n.teams, err = auth.LoadTeams(ctx, r); err != nil {
		return nil, err
	}
	for kind, into := range map[lazuli.Kind]map[string]string{lazuli.KindProject: n.projects, lazuli.KindUser: n.users} {
		page, err := r.Query(ctx, store.Query{Kind: kind})
		if err != nil {
			return nil, fmt.Errorf("list objects of kind %s: %w", kind, err)
		}
		for _, row := range page.Rows {
			into[row.Meta.UID] = row.Meta.Name
		}
	}
	return n, nil
}

// roleList names roles; those that are gone are left out.
func (n *names) roleList(uids []string) []wire.UIDSummary {
	out := make([]wire.UIDSummary, 0, len(uids))
	for _, uid := range uids {
		if r, ok := n.roles.Get(uid); ok {
			out = append(out, wire.UIDSummary{Name: r.Name, UID: uid})
		}
	}
	return out
}

// projectRoles lists the projects in which there are roles, their own and those
// inherited from teams, by the project's name.
func (n *names) projectRoles(own lazuli.Assignment, inherited []lazuli.Assignment) []wire.UIDRoleSummary {
	in := map[string][]string{}
	for _, a := range inherited {
		for uid, roles := range a.ProjectRoles {
			in[uid] = append(in[uid], roles...)
		}
	}
	uids := map[string]bool{}
	for _, m := range []map[string][]string{own.ProjectRoles, in} {
		for uid := range m {
			uids[uid] = true
		}
	}
	out := make([]wire.UIDRoleSummary, 0, len(uids))
	for uid := range uids {
		out = append(out, wire.UIDRoleSummary{
			UID: uid, Name: n.projects[uid], Roles: n.roleList(own.ProjectRoles[uid]), InheritedRoles: n.roleList(unique(in[uid])),
		})
	}
	slices.SortFunc(out, func(a, b wire.UIDRoleSummary) int {
		if d := strings.Compare(a.Name, b.Name); d != 0 {
			return d
		}
		return strings.Compare(a.UID, b.UID)
	})
	return out
}

// teamsOf are the teams that a user is in.
func (n *names) teamsOf(user string) []lazuli.Team {
	var out []lazuli.Team
	for i := range n.teams {
		if slices.Contains(n.teams[i].Users, user) {
			out = append(out, n.teams[i])
		}
	}
	return out
}

func assignments(teams []lazuli.Team) []lazuli.Assignment {
	out := make([]lazuli.Assignment, len(teams))
	for i := range teams {
		out[i] = teams[i].Assignment
	}
	return out
}

// unique drops repetitions and empty texts, and keeps the order.
func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// rolesByProject reads the assignments of PUT /v1/users/{uid}/projects; a
// project without roles is one that nothing is given in.
func rolesByProject(in []wire.ProjectRolesPatch_Projects) (map[string][]string, error) {
	var f lazuli.Fields
	if len(in) > maxAssignments {
		f.Add("projects", "has more than %d entries", maxAssignments)
		return nil, f.Err()
	}
	out := map[string][]string{}
	for i, p := range in {
		if !lazuli.ValidUID(p.ProjectUID) {
			f.Add(fmt.Sprintf("projects[%d].projectUid", i), "no project has the uid %q", shorten(p.ProjectUID))
			continue
		}
		if roles := unique(append(out[p.ProjectUID], p.Roles...)); len(roles) > 0 {
			out[p.ProjectUID] = roles
		}
	}
	return out, f.Err()
}

// identityMeta renders the head of an object of the tenant.
func identityMeta(m *lazuli.Meta) *wire.ObjectMeta {
	ann := maps.Clone(m.Annotations)
	if ann == nil {
		ann = map[string]string{}
	}
	ann[palette.AnnotationScope] = palette.ScopeTenant
	return &wire.ObjectMeta{
		Name: m.Name, UID: m.UID, Labels: m.Labels, Annotations: ann,
		CreationTimestamp: wire.At(m.CreatedAt), LastModifiedTimestamp: wire.At(m.UpdatedAt),
	}
}

// metaOf reads the head of a request's object; title is that it needs a name.
func metaOf(f *lazuli.Fields, in *wire.ObjectMeta, title bool) lazuli.Meta {
	if in == nil {
		in = &wire.ObjectMeta{}
	}
	if title {
		checkTitle(f, in.Name)
	}
	ann := annotations(f, &palette.ObjectMeta{Annotations: in.Annotations})
	return lazuli.Meta{Name: in.Name, Labels: in.Labels, Annotations: ann}
}

// pageOf cuts the page that a request asks for out of a whole list.
func pageOf[T any](c *call, items []T) ([]T, *wire.ListMetaData, error) {
	w, err := c.window()
	if err != nil {
		return nil, nil, err
	}
	page, meta, err := cut(w, items)
	if err != nil {
		return nil, nil, err
	}
	m := wire.ListMetaData(*meta)
	return page, &m, nil
}

// matchesText applies a filter of a summary. Palette compares without regard to
// case unless it is told otherwise, and the flag's absence cannot be told from
// false here.
func matchesText(f *wire.FilterString, s string) bool {
	if f == nil {
		return true
	}
	s = lazuli.Fold(s)
	return (f.Eq == "" || s == lazuli.Fold(f.Eq)) && (f.Ne == "" || s != lazuli.Fold(f.Ne)) &&
		strings.Contains(s, lazuli.Fold(f.Contains)) && strings.HasPrefix(s, lazuli.Fold(f.BeginsWith))
}

// storedByName is query for all objects of a kind by name.
func storedByName[T any, P object[T]](a *API, c *call) ([]T, error) {
	all, _, err := query[T, P](c.ctx(), a.Store, store.Query{Sort: store.FieldName})
	return all, err
}

// reject says that a part of Palette's model has no meaning here.
func reject(path, message string) error {
	var f lazuli.Fields
	f.Add(path, "%s", message)
	return f.Err()
}

// storedIn reads all objects of a kind in the transaction.
func storedIn[T any, P object[T]](w *authority) ([]T, error) {
	all, _, err := query[T, P](w.c.ctx(), w.r, store.Query{Sort: store.FieldName})
	return all, err
}

// holder is a user or a team.
type holder[T any] interface {
	object[T]
	Held() *lazuli.Assignment
}

// assign changes the roles of a user or team. Who gives and takes only what they
// have need not have all that the holder has.
func assign[T any, P holder[T]](a *API, c *call, change func(*lazuli.Assignment)) error {
	return a.changeAuthority(c, func(w *authority) error {
		h, err := getToChange[T, P](c.ctx(), w.tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		next := *h.Held()
		change(&next)
		var f lazuli.Fields
		if err := w.assign(&f, "", h.Held(), next); err != nil {
			return err
		}
		return w.store(h)
	})
}

// setProjects replaces the project roles of a user or team.
func setProjects[T any, P holder[T]](a *API, c *call) (any, error) {
	var in wire.ProjectRolesPatch
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	roles, err := rolesByProject(in.Projects)
	if err != nil {
		return nil, err
	}
	return nil, assign[T, P](a, c, func(as *lazuli.Assignment) { as.ProjectRoles = roles })
}
