// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

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
		"place that is none":     {After: "nonsense"},
		"place of another order": {After: page.Next, Sort: store.FieldName},
	}
	for name, q := range tests {
		q.Kind = thingKind
		_, err := s.store.Query(s.ctx, q)
		s.code(err, lazuli.CodeInvalidField, name)
	}
}

func queryTimes(s *suite) {
	a, b := s.thing("a", ""), s.thing("b", "")
	s.create(a)
	s.create(b)
	at := a.CreatedAt.In(time.FixedZone("far", 3600)).Format(time.RFC3339Nano)
	for op, want := range map[store.Op][]string{store.Eq: {a.UID}, store.NotEq: {b.UID}} {
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

// queryModel compares random queries over random objects with a filter, a sort
// and a slice in memory. Each round has a kind of its own.
func queryModel(s *suite) {
	round := 0
	rapid.Check(s.T, func(t *rapid.T) {
		round++
		kind := lazuli.Kind(fmt.Sprintf("round%d", round))
		objects := s.drawObjects(t, kind)
		for range 5 {
			q := drawQuery(t, kind)
			want := modelQuery(objects, q)
			var got []string
			for {
				page, err := s.store.Query(s.ctx, q)
				if err != nil {
					t.Fatalf("%+v: %v", q, err)
				}
				if page.Total != len(want) {
					t.Fatalf("%+v: total %d, want %d", q, page.Total, len(want))
				}
				if q.Limit > 0 && len(page.Rows) > q.Limit || page.Next != "" && len(page.Rows) != q.Limit {
					t.Fatalf("%+v: a page of %d rows", q, len(page.Rows))
				}
				got = append(got, uids(page)...)
				if page.Next == "" {
					break
				}
				q.After = page.Next
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%+v:\ngot  %v\nwant %v", q, got, want)
			}
		}
	})
}

var (
	texts  = rapid.StringOfN(rapid.SampledFrom([]rune(`aAbBéÉ%_\'"-0`)), 0, 4, -1)
	values = rapid.SampledFrom([]string{"", "a", "b", "A"})
)

func (s *suite) drawObjects(t *rapid.T, kind lazuli.Kind) (all []*Thing) {
	for range rapid.IntRange(0, 2).Draw(t, "transactions") {
		var batch []*Thing
		for range rapid.IntRange(0, 6).Draw(t, "objects") {
			o := s.thing(texts.Draw(t, "name"), "")
			o.KindName = kind
			o.Project = values.Draw(t, "project")
			o.IndexIs.Owner = values.Draw(t, "owner")
			o.IndexIs.State = values.Draw(t, "state")
			o.Labels = rapid.MapOfN(rapid.SampledFrom([]string{"k", "l"}), texts, 0, 2).Draw(t, "labels")
			batch = append(batch, o)
		}
		s.create(batch...)
		all = append(all, batch...)
		if len(all) > 0 {
			again := rapid.SampledFrom(all).Draw(t, "updated")
			s.update(func(tx store.Tx) error { return tx.Update(s.ctx, again) })
		}
	}
	return all
}

func drawQuery(t *rapid.T, kind lazuli.Kind) store.Query {
	q := store.Query{
		Kind: kind,
		Sort: rapid.SampledFrom([]store.Field{"", store.FieldUID, store.FieldName, store.FieldProject, store.FieldOwner,
			store.FieldState, store.FieldCreated, store.FieldUpdated}).Draw(t, "sort"),
		Desc:  rapid.Bool().Draw(t, "desc"),
		Limit: rapid.SampledFrom([]int{0, 1, 2, 3, 100}).Draw(t, "limit"),
	}
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		q.Where = append(q.Where, store.Where{
			Field: rapid.SampledFrom([]store.Field{store.FieldName, store.FieldProject, store.FieldOwner, store.FieldState}).Draw(t, "field"),
			Label: rapid.SampledFrom([]string{"", "", "k", "absent"}).Draw(t, "label"),
			Op:    rapid.SampledFrom([]store.Op{store.Eq, store.NotEq, store.Contains, store.Prefix}).Draw(t, "op"),
			Value: texts.Draw(t, "value"),
		})
	}
	return q
}

func modelQuery(objects []*Thing, q store.Query) []string {
	var found []*Thing
	for _, o := range objects {
		if !slices.ContainsFunc(q.Where, func(w store.Where) bool { return !modelMatch(o, w) }) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b *Thing) int {
		order := cmp.Or(modelCompare(a, b, q.Sort), strings.Compare(a.UID, b.UID))
		if q.Desc {
			return -order
		}
		return order
	})
	var all []string
	for _, o := range found {
		all = append(all, o.UID)
	}
	return all
}

func modelColumn(o *Thing, f store.Field) string {
	switch f {
	case store.FieldUID:
		return o.UID
	case store.FieldName:
		return lazuli.Fold(o.Name)
	case store.FieldProject:
		return o.Project
	case store.FieldOwner:
		return o.IndexIs.Owner
	case store.FieldState:
		return o.IndexIs.State
	default:
		return ""
	}
}

func modelCompare(a, b *Thing, f store.Field) int {
	switch f {
	case "", store.FieldCreated:
		return a.CreatedAt.Compare(b.CreatedAt)
	case store.FieldUpdated:
		return a.UpdatedAt.Compare(b.UpdatedAt)
	default:
		return strings.Compare(modelColumn(a, f), modelColumn(b, f))
	}
}

func modelMatch(o *Thing, w store.Where) bool {
	have, there := modelColumn(o, w.Field), true
	if w.Label != "" {
		have, there = o.Labels[w.Label]
	} else if w.Field == store.FieldName {
		w.Value = lazuli.Fold(w.Value)
	}
	switch w.Op {
	case store.Eq:
		return there && have == w.Value
	case store.NotEq:
		return !there || have != w.Value
	case store.Contains:
		return there && strings.Contains(asciiLower(have), asciiLower(w.Value))
	default:
		return there && strings.HasPrefix(asciiLower(have), asciiLower(w.Value))
	}
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
