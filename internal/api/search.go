// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"fmt"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Listings make the short forms of objects that lists show: the store keeps
// them with the objects, so that a page is read and passed on, not decoded and
// rendered. A list without them shows the same at a higher price.
func Listings() store.Listings {
	return store.Listings{
		lazuli.KindCluster: {
			Version: palette.SummaryVersion,
			Head:    headFrom(palette.SummaryHead),
			New:     func() lazuli.Object { return &lazuli.Cluster{} },
		},
		lazuli.KindProfile: {
			Version: palette.ProfileMetadataVersion,
			Head: headFrom(func(p *lazuli.Profile) ([]byte, error) {
				raw, err := json.Marshal(palette.ProfileMetadata(p))
				if err != nil {
					return nil, fmt.Errorf("render profile %s: %w", p.UID, err)
				}
				return raw, nil
			}),
			New: func() lazuli.Object { return &lazuli.Profile{} },
		},
	}
}

// headFrom makes the Head of a listing of one type.
func headFrom[T lazuli.Object](render func(T) ([]byte, error)) func(lazuli.Object) ([]byte, error) {
	return func(o lazuli.Object) ([]byte, error) {
		typed, ok := o.(T)
		if !ok {
			return nil, fmt.Errorf("render a short form: %T is not of kind %s", o, o.Kind())
		}
		return render(typed)
	}
}

// headOf is the short form of a row; where it has none, one is made of the
// object, which dst is for.
func (a *API) headOf(c *call, row *store.Row, dst lazuli.Object) ([]byte, error) {
	if row.Head != nil {
		return row.Head, nil
	}
	if err := a.Store.Get(c.ctx(), row.Meta.UID, dst); err != nil {
		return nil, fmt.Errorf("read %s %s: %w", dst.Kind(), row.Meta.UID, err)
	}
	head, err := Listings()[dst.Kind()].Head(dst)
	if err != nil {
		return nil, fmt.Errorf("render the answer: %w", err)
	}
	return head, nil
}

// listClusters lists the clusters that are not Deleted, newest last.
func listClusters(a *API, c *call) (any, error) {
	page, meta, err := a.clusterPage(c, store.Query{}, nil)
	if err != nil {
		return nil, err
	}
	items := make([]palette.Cluster, 0, len(page.Rows))
	for i := range page.Rows {
		var cl lazuli.Cluster
		if err := json.Unmarshal(page.Rows[i].Data, &cl); err != nil {
			return nil, fmt.Errorf("decode cluster %s: %w", page.Rows[i].Meta.UID, err)
		}
		*cl.Head() = page.Rows[i].Meta
		item, err := palette.ClusterOf(&cl)
		if err != nil {
			return nil, fmt.Errorf("render the answer: %w", err)
		}
		items = append(items, item)
	}
	return palette.NewList(items, meta), nil
}

// searchClusters lists the clusters that match a filter. The answer is put
// together of heads.
func searchClusters(a *API, c *call) (any, error) {
	var in palette.SearchFilterSummarySpec
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	q := store.Query{Heads: true}
	sortBy(&f, in.Sort, &q)
	checkFilter(&f, in.Filter)
	if err := f.Err(); err != nil {
		return nil, err
	}
	page, meta, err := a.clusterPage(c, q, in.Filter)
	if err != nil {
		return nil, err
	}
	projects := map[string]*lazuli.Project{}
	size := 256
	for i := range page.Rows {
		size += len(page.Rows[i].Head) + 128 // of the project
	}
	body := append(make([]byte, 0, size), `{"items":[`...)
	for i := range page.Rows {
		if i > 0 {
			body = append(body, ',')
		}
		if body, err = a.appendSummary(c, body, &page.Rows[i], projects); err != nil {
			return nil, err
		}
	}
	tail, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("render the answer: %w", err)
	}
	body = append(append(append(body, `],"listmeta":`...), tail...), "}\n"...)
	return rendition(body), nil
}

// appendSummary renders a cluster of a list; projects are those read so far.
func (a *API) appendSummary(c *call, body []byte, row *store.Row, projects map[string]*lazuli.Project) ([]byte, error) {
	uid := row.Meta.Project
	project, known := projects[uid]
	if !known && uid != "" {
		project = &lazuli.Project{}
		if err := a.Store.Get(c.ctx(), uid, project); err != nil && lazuli.CodeOf(err) != lazuli.CodeNotFound {
			return nil, fmt.Errorf("read project %s: %w", uid, err)
		}
		projects[uid] = project
	}
	head, err := a.headOf(c, row, &lazuli.Cluster{})
	if err != nil {
		return nil, err
	}
	out, err := palette.SummaryOf(body, head, project)
	if err != nil {
		return nil, fmt.Errorf("render the answer: %w", err)
	}
	return out, nil
}

// searchSchema answers what clusters can be searched by.
func searchSchema(*API, *call) (any, error) {
	var out palette.SearchSchema
	for _, p := range properties() {
		out.Schema.Properties = append(out.Schema.Properties, palette.SearchProperty{
			Name: p.name, DisplayName: p.title, Type: p.kind, Enum: p.enum,
		})
	}
	return out, nil
}

// clusterPage reads one page of the clusters that the caller sees. Clusters
// that read Deleted are left out unless the filter speaks of them.
func (a *API) clusterPage(c *call, q store.Query, filter *palette.SearchFilter) (store.Page, *palette.ListMeta, error) {
	w, err := c.window()
	if err != nil {
		return store.Page{}, nil, err
	}
	project, err := a.scope(c)
	if err != nil {
		return store.Page{}, nil, err
	}
	q.Where = append(q.Where, c.within(project)...)
	if !mentions(filter, propertyDeleted) {
		q.Where = append(q.Where, store.Where{Field: store.FieldState, Op: store.NotEq, Value: string(lazuli.StateDeleted)})
	}
	if filter != nil {
		expr := filterOf(filter)
		q.Filter = &expr
	}
	q.Kind = lazuli.KindCluster
	w.of(&q)
	page, err := a.Store.Query(c.ctx(), q)
	if err != nil {
		return store.Page{}, nil, fmt.Errorf("list clusters: %w", err)
	}
	return page, w.meta(page), nil
}

const maxSorts = 10

// sortBy turns the sorts of a search into the store's. All clusters are of one
// environment: to sort by that changes nothing.
func sortBy(f *lazuli.Fields, sort []palette.SearchSort, q *store.Query) {
	if len(sort) > maxSorts {
		f.Add("sort", "has more than %d entries", maxSorts)
		return
	}
	for i, s := range sort {
		at := fmt.Sprintf("sort[%d]", i)
		by := store.Order{Desc: s.Order == orderDescending}
		switch s.Order {
		case "", orderAscending, orderDescending:
		default:
			f.Add(at+".order", "%q is neither asc nor desc", shorten(s.Order))
		}
		switch s.Field {
		case "clusterName":
			by.Field = store.FieldName
		case "clusterState":
			by.Field = store.FieldState
		case "healthState":
			by.Field = store.FieldHealth
		case "creationTimestamp":
			by.Field = store.FieldCreated
		case "lastModifiedTimestamp":
			by.Field = store.FieldUpdated
		case "environment", "":
			if len(sort) > 1 {
				continue
			}
			by.Field = store.FieldCreated
		default:
			f.Add(at+".field", "%q cannot be sorted by", shorten(s.Field))
			continue
		}
		if q.Sort == "" {
			q.Sort, q.Desc = by.Field, by.Desc
			continue
		}
		q.Then = append(q.Then, by)
	}
}

const (
	orderAscending  = "asc"
	orderDescending = "desc"
)
