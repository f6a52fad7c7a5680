// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// queryModel compares random queries over random objects with a filter, a sort
// and a slice in memory. Each round of an unlisted kind has a kind of its own;
// there is one listed kind, whose objects go with the round.
func queryModel(s *suite) {
	round := 0
	rapid.Check(s.T, func(t *rapid.T) {
		round++
		kind := lazuli.Kind(fmt.Sprintf("round%d", round))
		if rapid.Bool().Draw(t, "listed") {
			kind = lazuli.KindCluster
		}
		objects := s.drawObjects(t, kind)
		for range 5 {
			q := drawQuery(t, kind)
			s.checkQuery(t, q, modelQuery(objects, q))
		}
		s.update(func(tx store.Tx) error {
			for _, o := range objects {
				if err := tx.Delete(s.ctx, kind, o.UID); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// checkQuery walks the pages of a query. By turns it follows the places that
// the pages name and counts rows itself.
func (s *suite) checkQuery(t *rapid.T, q store.Query, want []string) {
	asked, offset := q, q.Offset
	rest := want[min(offset, len(want)):]
	var got []string
	for i := 0; ; i++ {
		page, err := s.store.Query(s.ctx, q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		if page.Total != len(want) {
			t.Fatalf("%+v: total %d, want %d", q, page.Total, len(want))
		}
		if page.Offset != offset+len(got) {
			t.Fatalf("%+v: offset %d, want %d", q, page.Offset, offset+len(got))
		}
		if q.Limit > 0 && len(page.Rows) > q.Limit || page.Next != "" && len(page.Rows) != q.Limit {
			t.Fatalf("%+v: a page of %d rows", q, len(page.Rows))
		}
		got = append(got, uids(page)...)
		if page.Next == "" {
			break
		}
		q.After, q.Offset = page.Next, 0
		if i%2 == 1 {
			q.After, q.Offset = "", offset+len(got)
		}
	}
	if !slices.Equal(got, rest) {
		t.Fatalf("%+v:\ngot  %v\nwant %v", asked, got, rest)
	}
}

var (
	texts  = rapid.StringOfN(rapid.SampledFrom([]rune(`aAbBéÉ%_\'"-0`)), 0, 4, -1)
	values = rapid.SampledFrom([]string{"", "a", "b", "A"})
	fields = []store.Field{store.FieldUID, store.FieldName, store.FieldProject, store.FieldOwner, store.FieldState}
	cases  = []store.Case{store.CaseUsual, store.CaseExact, store.CaseFolded}
)

func (s *suite) drawObjects(t *rapid.T, kind lazuli.Kind) (all []*Thing) {
	for range rapid.IntRange(0, 2).Draw(t, "transactions") {
		var batch []*Thing
		for range rapid.IntRange(0, 6).Draw(t, "objects") {
			o := s.thing("", "")
			o.KindName = kind
			drawContent(t, o)
			batch = append(batch, o)
		}
		s.create(batch...)
		all = append(all, batch...)
		for range min(len(all), 2) {
			again := rapid.SampledFrom(all).Draw(t, "updated")
			if rapid.Bool().Draw(t, "changed") {
				drawContent(t, again)
			}
			s.update(func(tx store.Tx) error { return tx.Update(s.ctx, again) })
		}
	}
	return all
}

// drawContent sets all that a thing is found by.
func drawContent(t *rapid.T, o *Thing) {
	o.Name = texts.Draw(t, "name")
	o.Project = values.Draw(t, "project")
	o.Labels = rapid.MapOfN(rapid.SampledFrom([]string{"k", "l"}), texts, 0, 2).Draw(t, "labels")
	o.IndexIs = lazuli.Index{Owner: values.Draw(t, "owner"), State: values.Draw(t, "state")}
	if o.KindName.Listed() {
		o.IndexIs.Health = values.Draw(t, "health")
		o.IndexIs.Facets = rapid.MapOfN(rapid.SampledFrom([]string{"f", "g"}), rapid.SliceOfN(texts, 0, 3), 0, 2).Draw(t, "facets")
	}
}

func drawQuery(t *rapid.T, kind lazuli.Kind) store.Query {
	sorts := append([]store.Field{store.FieldCreated, store.FieldUpdated}, fields...)
	if kind.Listed() {
		sorts = append(sorts, store.FieldHealth)
	}
	q := store.Query{
		Kind:   kind,
		Sort:   rapid.SampledFrom(append(sorts, "")).Draw(t, "sort"),
		Desc:   rapid.Bool().Draw(t, "desc"),
		Limit:  rapid.SampledFrom([]int{0, 1, 2, 3, 100}).Draw(t, "limit"),
		Offset: rapid.SampledFrom([]int{0, 0, 1, 3, 100}).Draw(t, "offset"),
		Heads:  kind.Listed() && rapid.Bool().Draw(t, "heads"),
	}
	for range rapid.IntRange(0, 2).Draw(t, "further orders") {
		q.Then = append(q.Then, store.Order{Field: rapid.SampledFrom(sorts).Draw(t, "then"), Desc: rapid.Bool().Draw(t, "then desc")})
	}
	for range rapid.IntRange(0, 1).Draw(t, "conditions") {
		q.Where = append(q.Where, drawWhere(t, kind))
	}
	if rapid.Bool().Draw(t, "filter") {
		e := drawExpr(t, kind, 3)
		q.Filter = &e
	}
	return q
}

func drawExpr(t *rapid.T, kind lazuli.Kind, depth int) store.Expr {
	how := rapid.SampledFrom([]store.Join{"", store.And, store.Or, store.Nor}).Draw(t, "join")
	if how == "" || depth == 0 {
		return store.That(drawWhere(t, kind))
	}
	var of []store.Expr
	for range rapid.IntRange(0, 3).Draw(t, "members") {
		of = append(of, drawExpr(t, kind, depth-1))
	}
	return store.Joined(how, of...)
}

func drawWhere(t *rapid.T, kind lazuli.Kind) store.Where {
	w := store.Where{
		Op:     rapid.SampledFrom([]store.Op{store.Eq, store.NotEq, store.In, store.Contains, store.Prefix}).Draw(t, "op"),
		Case:   rapid.SampledFrom(cases).Draw(t, "case"),
		Value:  texts.Draw(t, "value"),
		Values: rapid.SliceOfN(texts, 0, 3).Draw(t, "values"),
	}
	what := "column"
	if kind.Listed() {
		what = rapid.SampledFrom([]string{"column", "label", "facet"}).Draw(t, "what")
	} else if rapid.Bool().Draw(t, "label") {
		what = "label"
	}
	switch what {
	case "label":
		w.Label = rapid.SampledFrom([]string{"k", "absent"}).Draw(t, "key")
	case "facet":
		w.Facet = rapid.SampledFrom([]string{"f", "absent"}).Draw(t, "key")
	default:
		w.Field = rapid.SampledFrom(fields).Draw(t, "field")
		if kind.Listed() && rapid.Bool().Draw(t, "of health") {
			w.Field = store.FieldHealth
		}
	}
	if what != "column" && rapid.Bool().Draw(t, "has") {
		w.Op = store.Has
	}
	return w
}

func modelQuery(objects []*Thing, q store.Query) []string {
	var found []*Thing
	for _, o := range objects {
		miss := slices.ContainsFunc(q.Where, func(w store.Where) bool { return !modelMatch(o, w) })
		if !miss && (q.Filter == nil || modelExpr(o, *q.Filter)) {
			found = append(found, o)
		}
	}
	orders := append([]store.Order{{Field: q.Sort, Desc: q.Desc}}, q.Then...)
	slices.SortFunc(found, func(a, b *Thing) int {
		seen, desc := map[store.Field]bool{}, false
		for _, by := range orders {
			by.Field = cmp.Or(by.Field, store.FieldCreated)
			if seen[by.Field] {
				continue
			}
			seen[by.Field], desc = true, by.Desc
			if n := modelCompare(a, b, by.Field); n != 0 {
				return turned(n, by.Desc)
			}
		}
		return turned(strings.Compare(a.UID, b.UID), desc)
	})
	var all []string
	for _, o := range found {
		all = append(all, o.UID)
	}
	return all
}

func turned(n int, desc bool) int {
	if desc {
		return -n
	}
	return n
}

func modelExpr(o *Thing, e store.Expr) bool {
	holds := func(of store.Expr) bool { return modelExpr(o, of) }
	switch e.Join {
	case "":
		return modelMatch(o, e.Where)
	case store.And:
		return !slices.ContainsFunc(e.Of, func(of store.Expr) bool { return !holds(of) })
	case store.Or:
		return slices.ContainsFunc(e.Of, holds)
	default:
		return !slices.ContainsFunc(e.Of, holds)
	}
}

func modelColumn(o *Thing, f store.Field) string {
	return map[store.Field]string{
		store.FieldUID: o.UID, store.FieldName: o.Name, store.FieldProject: o.Project, store.FieldOwner: o.IndexIs.Owner,
		store.FieldState: o.IndexIs.State, store.FieldHealth: o.IndexIs.Health,
	}[f]
}

func modelCompare(a, b *Thing, f store.Field) int {
	switch f {
	case store.FieldCreated:
		return a.CreatedAt.Compare(b.CreatedAt)
	case store.FieldUpdated:
		return a.UpdatedAt.Compare(b.UpdatedAt)
	case store.FieldName:
		return strings.Compare(lazuli.Fold(a.Name), lazuli.Fold(b.Name))
	default:
		return strings.Compare(modelColumn(a, f), modelColumn(b, f))
	}
}

// modelMatch reports whether any of the texts that a condition looks at is as
// it says, or, for NotEq, none.
func modelMatch(o *Thing, w store.Where) bool {
	have := []string{modelColumn(o, w.Field)}
	switch {
	case w.Facet != "":
		have = o.IndexIs.Facets[w.Facet]
	case w.Label != "":
		have = nil
		if v, ok := o.Labels[w.Label]; ok {
			have = []string{v}
		}
	}
	if w.Op == store.Has {
		return len(have) > 0
	}
	how := modelFold(w)
	as := func(v string) bool { return modelAs(how(v), w, how) }
	if w.Op == store.NotEq {
		w.Op = store.Eq
		return !slices.ContainsFunc(have, as)
	}
	return slices.ContainsFunc(have, as)
}

func modelAs(v string, w store.Where, how func(string) string) bool {
	switch w.Op {
	case store.Eq:
		return v == how(w.Value)
	case store.In:
		return slices.ContainsFunc(w.Values, func(x string) bool { return v == how(x) })
	case store.Contains:
		return strings.Contains(v, how(w.Value))
	default:
		return strings.HasPrefix(v, how(w.Value))
	}
}

// modelFold is what a condition makes of texts before it compares them.
func modelFold(w store.Where) func(string) string {
	part := w.Op == store.Contains || w.Op == store.Prefix
	name := w.Field == store.FieldName && w.Label == "" && w.Facet == ""
	keyed := w.Label != "" || w.Facet != ""
	switch {
	case w.Case == store.CaseExact, w.Case == store.CaseUsual && !name && !part:
		return func(s string) string { return s }
	case name, keyed && w.Case == store.CaseFolded:
		return lazuli.Fold
	default:
		return asciiLower
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
