// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

func queryCases() map[string]func(*suite) {
	return map[string]func(*suite){
		"refusals":                 queryRefusals,
		"finds what a model finds": queryModel,
		"labels follow":            labelsFollow,
		"times":                    queryTimes,
		"rows":                     queryRows,
		"paging while writing":     pagingWhileWriting,
		"expressions":              expressions,
		"heads":                    heads,
		"listings follow":          listingsFollow,
		"common labels":            commonLabels,
		"counts follow":            countsFollow,
	}
}

func queryRefusals(s *suite) {
	s.create(s.thing("a", ""), s.thing("b", ""))
	page, err := s.store.Query(s.ctx, store.Query{Kind: thingKind, Limit: 1})
	if err != nil || page.Next == "" {
		s.Fatalf("first page: %+v, %v", page, err)
	}
	tests := map[string]store.Query{
		"unknown field":          {Where: []store.Where{{Field: "data", Op: store.Eq}}},
		"no field":               {Where: []store.Where{{Op: store.Eq}}},
		"injected field":         {Where: []store.Where{{Field: "uid=uid or name", Op: store.Eq}}},
		"unknown op":             {Where: []store.Where{{Field: store.FieldName, Op: "like"}}},
		"no op":                  {Where: []store.Where{{Field: store.FieldName}}},
		"unknown op of label":    {Where: []store.Where{{Label: "k", Op: "like"}}},
		"unknown sort":           {Sort: "data"},
		"injected sort":          {Sort: "name; drop table object"},
		"negative limit":         {Limit: -1},
		"no time":                {Where: []store.Where{{Field: store.FieldCreated, Op: store.Eq, Value: "yesterday"}}},
		"part of a time":         {Where: []store.Where{{Field: store.FieldUpdated, Op: store.Prefix, Value: "2026-01-01T00:00:00Z"}}},
		"negative offset":        {Offset: -1},
		"unknown then":           {Then: []store.Order{{Field: "data"}}},
		"unknown case":           {Where: []store.Where{{Field: store.FieldName, Op: store.Eq, Case: "upper"}}},
		"unknown join":           {Filter: &store.Expr{Join: "xor"}},
		"too deep":               {Filter: deep(20)},
		"too many values":        {Where: []store.Where{{Field: store.FieldName, Op: store.In, Values: make([]string, 11_000)}}},
		"bad in the depth":       {Filter: &store.Expr{Join: store.And, Of: []store.Expr{{Where: store.Where{Field: "data", Op: store.Eq}}}}},
		"order of texts":         {Where: []store.Where{{Field: store.FieldName, Op: store.Less, Value: "a"}}},
		"has of a column":        {Where: []store.Where{{Field: store.FieldName, Op: store.Has}}},
		"facet of unlisted kind": {Where: []store.Where{{Facet: "f", Op: store.Has}}},
		"health of unlisted":     {Sort: store.FieldHealth},
		"heads of unlisted":      {Heads: true},
		"place that is none":     {After: "nonsense"},
		"place with no values":   {After: "eyJzIjoiY3JlYXRlZCJ9"},
		"place of another order": {After: page.Next, Sort: store.FieldName},
	}
	for name, q := range tests {
		q.Kind = thingKind
		_, err := s.store.Query(s.ctx, q)
		s.code(err, lazuli.CodeInvalidField, name)
	}
}

func deep(n int) *store.Expr {
	e := store.That(store.Where{Field: store.FieldName, Op: store.Eq})
	for range n {
		e = store.Joined(store.Nor, e)
	}
	return &e
}

func queryTimes(s *suite) {
	a, b := s.thing("a", ""), s.thing("b", "")
	s.create(a)
	s.create(b)
	at := a.CreatedAt.In(time.FixedZone("far", 3600)).Format(time.RFC3339Nano)
	for op, want := range map[store.Op][]string{
		store.Eq: {a.UID}, store.NotEq: {b.UID}, store.Less: nil, store.LessEq: {a.UID},
		store.Greater: {b.UID}, store.GreaterEq: {a.UID, b.UID},
	} {
		page, err := s.store.Query(s.ctx, store.Query{Kind: thingKind, Where: []store.Where{{Field: store.FieldCreated, Op: op, Value: at}}})
		if err != nil {
			s.Fatal(err)
		}
		if a.CreatedAt.Equal(b.CreatedAt) { // a coarse clock
			continue
		}
		s.same(want, uids(page), string(op))
	}
}

func uids(page store.Page) (all []string) {
	for _, r := range page.Rows {
		all = append(all, r.Meta.UID)
	}
	return all
}

func queryRows(s *suite) {
	o := s.thing("Name", "")
	o.Project, o.Labels, o.Annotations, o.Text = "p", map[string]string{"k": "v"}, map[string]string{"n": "o"}, "in the data"
	s.create(o)
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, o) })
	page, err := s.store.Query(s.ctx, store.Query{Kind: thingKind})
	if err != nil || len(page.Rows) != 1 {
		s.Fatalf("query: %+v, %v", page, err)
	}
	row := page.Rows[0]
	s.same(o.Meta, row.Meta, "all of Meta is told, version and times too")
	bare, err := s.store.Query(s.ctx, store.Query{Kind: thingKind, Bare: true})
	if err != nil || len(bare.Rows) != 1 {
		s.Fatalf("query bare: %+v, %v", bare, err)
	}
	s.same(lazuli.Meta{UID: o.UID, Version: o.Version, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt}, bare.Rows[0].Meta, "what the columns know")
	s.same(string(row.Data), string(bare.Rows[0].Data), "the same data")
	got := Thing{}
	if err := store.Decode(thingKind, o.UID, row.Data, &got); err != nil || got.Text != o.Text {
		s.Errorf("decoded %+v, %v", got, err)
	}
	if page, err := s.store.Query(s.ctx, store.Query{Kind: "other"}); err != nil || page.Total != 0 || len(page.Rows) != 0 {
		s.Errorf("another kind: %+v, %v", page, err)
	}
}

func labelsFollow(s *suite) {
	o, p := s.thing("a", ""), s.thing("b", "")
	p.KindName, p.UID, p.Labels = "other", o.UID, map[string]string{"env": "prod"}
	s.create(o, p)
	check := func(want int, value, reason string) {
		s.Helper()
		page, err := s.store.Query(s.ctx, store.Query{Kind: thingKind, Where: []store.Where{{Label: "env", Op: store.Eq, Value: value}}})
		if err != nil || page.Total != want {
			s.Errorf("%s: %d, %v", reason, page.Total, err)
		}
	}
	check(0, "prod", "labels of another kind's object with that uid")
	o.Labels = map[string]string{"env": "prod", "x": ""}
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, o) })
	check(1, "prod", "label added")
	o.Labels = map[string]string{"env": "dev"}
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, o) })
	check(0, "prod", "label changed")
	check(1, "dev", "label changed")
	s.update(func(tx store.Tx) error { return tx.Delete(s.ctx, thingKind, o.UID) })
	o.Labels = nil
	s.create(o)
	check(0, "dev", "labels of an object that was deleted and made again")
}

// pagingWhileWriting shows that key-set pages neither repeat nor skip rows
// that stay, whatever comes and goes between the pages.
func pagingWhileWriting(s *suite) {
	var all []*Thing
	for i := range 10 {
		all = append(all, s.thing(fmt.Sprintf("n%d", i), ""))
	}
	s.create(all...)
	q := store.Query{Kind: thingKind, Sort: store.FieldName, Limit: 3}
	var got []string
	for i := 0; ; i++ {
		page, err := s.store.Query(s.ctx, q)
		if err != nil {
			s.Fatal(err)
		}
		for _, r := range page.Rows {
			got = append(got, r.Meta.Name)
		}
		if page.Next == "" {
			break
		}
		q.After = page.Next
		s.update(func(tx store.Tx) error { return tx.Delete(s.ctx, thingKind, all[3*i+2].UID) }) // the page's last
		s.create(s.thing("a", ""))                                                               // sorts before all pages
	}
	s.same("n0 n1 n2 n3 n4 n5 n6 n7 n8 n9", strings.Join(got, " "), "rows of all pages")
}
