// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// projectParam names the project, as a header or as a query parameter.
const projectParam = "ProjectUid"

// scope is the project that a request names, "" for the tenant. A key that is
// bound to a project means that project when it names none. A project that the
// caller does not see is none; one where it lacks the route's permission is
// forbidden.
func (a *API) scope(c *call) (string, error) {
	uid := orElse(c.r.Header.Get(projectParam), c.query(projectParam))
	if uid == "" {
		return c.actor.Project, nil
	}
	var p lazuli.Project
	err := a.Store.Get(c.ctx(), uid, &p)
	switch {
	case lazuli.CodeOf(err) == lazuli.CodeNotFound, err == nil && !c.actor.Sees(uid):
		var f lazuli.Fields
		f.Add(projectParam, "no project has the uid %q; GET /v1/dashboard/projects/metadata lists them", shorten(uid))
		return "", f.Err()
	case err != nil:
		return "", fmt.Errorf("read project %s: %w", uid, err)
	}
	return uid, c.mayChange(uid)
}

// mayCreate is scope for a new object.
func (a *API) mayCreate(c *call) (string, error) {
	project, err := a.scope(c)
	if err != nil {
		return "", err
	}
	return project, c.mayChange(project)
}

// mayChange refuses an act on an object of a project, or of the tenant, without
// the route's permission there.
func (c *call) mayChange(project string) error { return c.may(c.permission, project) }

// may refuses without a permission in a project, or in the tenant.
func (c *call) may(p auth.Permission, project string) error {
	if c.actor.May(p, project) {
		return nil
	}
	return forbidden(c.op, p, project)
}

func forbidden(operation string, p auth.Permission, project string) error {
	where := ""
	if project != "" {
		where = " in the project " + project
	}
	return lazuli.Errorf(lazuli.CodeForbidden, "%s needs the permission %s%s", operation, p, where)
}

// object is a pointer to a stored object.
type object[T any] interface {
	*T
	lazuli.Object
}

// get reads an object that the caller may see. One that it may not see does not
// exist for it.
func get[T any, P object[T]](ctx context.Context, r store.Reader, c *call, uid string) (P, error) {
	o := P(new(T))
	if !lazuli.ValidUID(uid) {
		return nil, notFound(o.Kind(), uid)
	}
	err := r.Get(ctx, uid, o)
	switch {
	case lazuli.CodeOf(err) == lazuli.CodeNotFound, err == nil && !c.sees(o):
		return nil, notFound(o.Kind(), uid)
	case err != nil:
		return nil, fmt.Errorf("read %s %s: %w", o.Kind(), uid, err)
	}
	if c.isAbout(o.Kind()) && !c.reads(c.permission, o) {
		return nil, forbidden(c.op, c.permission, o.Head().Project)
	}
	return o, nil
}

// readOf is the permission to read objects of a kind. Kinds that have none of
// their own are read with the resource of the route's.
func readOf(kind lazuli.Kind, route auth.Permission) auth.Permission {
	switch kind {
	case lazuli.KindCluster:
		return auth.ClusterGet
	case lazuli.KindAccount:
		return auth.CloudAccountGet
	case lazuli.KindProfile:
		return auth.ClusterProfileGet
	case lazuli.KindProject:
		return auth.ProjectGet
	case lazuli.KindUser:
		return auth.UserGet
	case lazuli.KindTeam:
		return auth.TeamGet
	case lazuli.KindRole:
		return auth.RoleGet
	case lazuli.KindAPIKey:
		return auth.APIKeyGet
	default:
		if route == auth.None {
			return auth.None
		}
		return auth.Permission(route.Resource() + ".get")
	}
}

// partsOfCluster are the resources whose permissions are about clusters.
var partsOfCluster = []string{"cluster", "cloudconfig", "machine", "clusterRbac"}

// isAbout reports whether the route's permission is one on objects of a kind,
// and not on something that only refers to them.
func (c *call) isAbout(kind lazuli.Kind) bool {
	if c.permission == auth.None {
		return false
	}
	resource := c.permission.Resource()
	return resource == readOf(kind, c.permission).Resource() ||
		kind == lazuli.KindCluster && slices.Contains(partsOfCluster, resource)
}

// sees reports whether an object exists for the caller: whether it may read it,
// or do with it what the route does. A project is there for who may do anything
// in it.
func (c *call) sees(o lazuli.Object) bool {
	if o.Kind() == lazuli.KindProject {
		return c.actor.Sees(o.Head().UID)
	}
	return c.reads(readOf(o.Kind(), c.permission), o) || c.isAbout(o.Kind()) && c.reads(c.permission, o)
}

// reads reports whether the caller has a permission for an object. What belongs
// to the tenant is there to be used by all projects: accounts, profiles,
// registries. A cluster of the tenant is nobody's but the tenant's, as its
// kubeconfig goes with it; so are those who may do something, and a project is
// its own.
func (c *call) reads(p auth.Permission, o lazuli.Object) bool {
	switch project := o.Head().Project; o.Kind() {
	case lazuli.KindProject:
		return c.actor.May(p, o.Head().UID)
	case lazuli.KindCluster, lazuli.KindUser, lazuli.KindTeam, lazuli.KindRole, lazuli.KindAPIKey:
		return c.actor.May(p, project)
	default:
		return c.actor.May(p, project) || project == "" && c.actor.Anywhere(p)
	}
}

// getToChange is get for an object that the caller is going to change: it needs
// the route's permission where the object is.
func getToChange[T any, P object[T]](ctx context.Context, r store.Reader, c *call, uid string) (P, error) {
	o, err := get[T, P](ctx, r, c, uid)
	if err != nil {
		return nil, err
	}
	where := o.Head().Project
	if o.Kind() == lazuli.KindProject {
		where = o.Head().UID
	}
	return o, c.mayChange(where)
}

// within narrows a query to a project, or, when it is none, to those whose
// objects the caller may list.
func (c *call) within(project string) []store.Where {
	everywhere, uids := c.actor.Projects(c.permission)
	switch {
	case project != "":
		return []store.Where{{Field: store.FieldProject, Op: store.Eq, Value: project}}
	case everywhere:
		return nil
	default:
		return []store.Where{{Field: store.FieldProject, Op: store.In, Values: uids}}
	}
}

func notFound(kind lazuli.Kind, uid string) error {
	return lazuli.Errorf(lazuli.CodeNotFound, "there is no %s with the uid %q", kind, shorten(uid))
}

// query decodes the rows of a query.
func query[T any, P object[T]](ctx context.Context, r store.Reader, q store.Query) ([]T, store.Page, error) {
	q.Kind = P(new(T)).Kind()
	page, err := r.Query(ctx, q)
	if err != nil {
		return nil, page, fmt.Errorf("list objects of kind %s: %w", q.Kind, err)
	}
	out := make([]T, len(page.Rows))
	for i, row := range page.Rows {
		if err := json.Unmarshal(row.Data, &out[i]); err != nil {
			return nil, page, fmt.Errorf("decode %s %s: %w", q.Kind, row.Meta.UID, err)
		}
		*P(&out[i]).Head() = row.Meta
	}
	return out, page, nil
}

// visible lists the objects of a kind that a caller sees in a scope: those of
// the project and those of the tenant, or all that it may see when it names no
// project.
func visible[T any, P object[T]](a *API, c *call, q store.Query) ([]T, error) {
	project, err := a.scope(c)
	if err != nil {
		return nil, err
	}
	all, _, err := query[T, P](c.ctx(), a.Store, q)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(all))
	for i := range all {
		p := P(&all[i]).Head().Project
		if c.sees(P(&all[i])) && (project == "" || p == "" || p == project) {
			out = append(out, all[i])
		}
	}
	return out, nil
}

// usable narrows a query to the objects of a kind that the caller may use in a
// scope: those of the project and those of the tenant, or, when it names no
// project, all that it sees. Projects themselves are none of these.
func (a *API) usable(c *call, q *store.Query) error {
	project, err := a.scope(c)
	if err != nil {
		return err
	}
	uids := []string{""}
	for _, p := range []auth.Permission{readOf(q.Kind, c.permission), c.permission} {
		everywhere, some := c.actor.Projects(p)
		if everywhere && project == "" {
			return nil
		}
		uids = append(uids, some...)
	}
	if project != "" {
		uids = []string{"", project}
	}
	q.Where = append(q.Where, store.Where{Field: store.FieldProject, Op: store.In, Values: uids})
	return nil
}

// usablePage reads one page of what is usable.
func usablePage[T any, P object[T]](a *API, c *call, q store.Query) ([]T, *palette.ListMeta, error) {
	w, err := c.window()
	if err != nil {
		return nil, nil, err
	}
	q.Kind = P(new(T)).Kind()
	if err := a.usable(c, &q); err != nil {
		return nil, nil, err
	}
	w.of(&q)
	all, page, err := query[T, P](c.ctx(), a.Store, q)
	if err != nil {
		return nil, nil, err
	}
	return all, w.meta(page), nil
}

// Paging, as Palette has it: 50 unless asked, 0 is everything.
const (
	defaultLimit = 50
	maxLimit     = 1000
)

// window is the page that a request asks for.
type window struct {
	limit, offset int
	after         string
}

func (c *call) window() (window, error) {
	var f lazuli.Fields
	w := window{limit: defaultLimit, after: c.query("continue")}
	number := func(name string, dst *int) {
		s := c.query(name)
		if s == "" {
			return
		}
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			f.Add(name, "%q is not a number from 0 on", shorten(s))
			return
		}
		*dst = int(n)
	}
	number("limit", &w.limit)
	number("offset", &w.offset)
	if w.limit > maxLimit {
		w.limit = maxLimit
	}
	return w, f.Err()
}

// of has a query begin and end with the page. A token tells where to begin by
// itself: clients send the offset of the page before along with it.
func (w window) of(q *store.Query) {
	q.Limit, q.After = w.limit, w.after
	if w.after == "" {
		q.Offset = w.offset
	}
}

// meta tells of a page that the store cut.
func (w window) meta(page store.Page) *palette.ListMeta {
	return &palette.ListMeta{Continue: page.Next, Count: page.Total, Limit: w.limit, Offset: page.Offset}
}

// cut pages a list that is in memory; the token is the offset.
func cut[T any](w window, items []T) ([]T, *palette.ListMeta, error) {
	if w.after != "" {
		n, err := strconv.ParseUint(w.after, 10, 31)
		if err != nil {
			var f lazuli.Fields
			f.Add("continue", "%q is no token of this list", shorten(w.after))
			return nil, nil, f.Err()
		}
		w.offset = int(n) // 31 bits
	}
	meta := &palette.ListMeta{Count: len(items), Limit: w.limit, Offset: w.offset}
	items = items[min(w.offset, len(items)):]
	if w.limit > 0 && len(items) > w.limit {
		items = items[:w.limit]
		meta.Continue = strconv.Itoa(w.offset + w.limit)
	}
	return items, meta, nil
}
