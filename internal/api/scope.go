// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// projectParam names the project, as a header or as a query parameter.
const projectParam = "ProjectUid"

// scope is the project that a request names, "" for the tenant. A key that is
// bound to a project means that project when it names none.
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
	return uid, nil
}

// mayCreate is scope for a new object.
func (a *API) mayCreate(c *call) (string, error) {
	project, err := a.scope(c)
	if err != nil {
		return "", err
	}
	return project, c.mayChange(project)
}

// mayChange refuses a change of an object of a project.
func (c *call) mayChange(project string) error {
	if c.actor.Changes(project) {
		return nil
	}
	return lazuli.Errorf(lazuli.CodeForbidden, "the API key is bound to one project and may not change objects of the tenant")
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
	return o, nil
}

// sees reports whether an object exists for the caller. Accounts and profiles of
// the tenant are there to be used by all projects; a cluster of the tenant is
// nobody's but the tenant's, as its kubeconfig goes with it.
func (c *call) sees(o lazuli.Object) bool {
	if o.Kind() == lazuli.KindCluster {
		return c.actor.Changes(o.Head().Project)
	}
	return c.actor.Sees(o.Head().Project)
}

// getToChange is get for an object that the caller is going to change.
func getToChange[T any, P object[T]](ctx context.Context, r store.Reader, c *call, uid string) (P, error) {
	o, err := get[T, P](ctx, r, c, uid)
	if err != nil {
		return nil, err
	}
	return o, c.mayChange(o.Head().Project)
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
		if c.actor.Sees(p) && (project == "" || p == "" || p == project) {
			out = append(out, all[i])
		}
	}
	return out, nil
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
