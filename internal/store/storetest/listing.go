// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// listedKind is a kind that the suite stores Things of.
const listedKind = lazuli.KindCluster

// Listings are those that the stores of the suite have.
func Listings() store.Listings {
	return store.Listings{listedKind: {
		Version: 1,
		Head: func(o lazuli.Object) ([]byte, error) {
			return fmt.Appendf(nil, `{"head of":%q}`, o.Head().Name), nil
		},
		New: func() lazuli.Object { return &Thing{KindName: listedKind} },
	}}
}

func (s *suite) listedThing(name string) *Thing {
	o := s.thing(name, "")
	o.KindName = listedKind
	return o
}

func heads(s *suite) {
	o := s.listedThing("Name")
	o.Project, o.Labels = "p", map[string]string{"k": "v"}
	s.create(o)
	o.Name = "Other"
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, o) })
	page, err := s.store.Query(s.ctx, store.Query{Kind: listedKind, Heads: true})
	if err != nil || len(page.Rows) != 1 {
		s.Fatalf("query: %+v, %v", page, err)
	}
	want := store.Row{Head: []byte(`{"head of":"Other"}`), Meta: o.Meta}
	want.Meta.Labels = nil
	s.same(want, page.Rows[0], "a head and what the columns tell")
	if page, err = s.store.Query(s.ctx, store.Query{Kind: listedKind}); err != nil || len(page.Rows) != 1 {
		s.Fatalf("query: %+v, %v", page, err)
	}
	s.same(o.Meta, page.Rows[0].Meta, "all of Meta is told of a whole object")
}

// listingsFollow shows that a listed object is found by what it was written
// with last.
func listingsFollow(s *suite) {
	o := s.listedThing("a")
	o.IndexIs = lazuli.Index{Health: "Good", Facets: map[string][]string{"f": {"x", "Y", "x"}}}
	s.create(o)
	check := func(want int, w store.Where, reason string) {
		s.Helper()
		q := store.Query{Kind: listedKind, Where: []store.Where{w}, Limit: 1}
		page, err := s.store.Query(s.ctx, q)
		if err != nil || page.Total != want || len(page.Rows) != want {
			s.Errorf("%s: %+v, %v, want %d", reason, page, err, want)
		}
	}
	x, y := store.Where{Facet: "f", Op: store.Eq, Value: "x"}, store.Where{Facet: "f", Op: store.Eq, Value: "y", Case: store.CaseFolded}
	check(1, x, "a value that came twice")
	check(1, y, "another value")
	check(1, store.Where{Field: store.FieldHealth, Op: store.Eq, Value: "Good"}, "health")
	o.IndexIs = lazuli.Index{Health: "Bad", Facets: map[string][]string{"f": {"y"}}}
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, o) })
	check(0, x, "a value that went")
	check(1, y, "a value that stays, in another case")
	check(1, store.Where{Field: store.FieldHealth, Op: store.Eq, Value: "Bad"}, "health that changed")
	o.IndexIs.Facets = map[string][]string{"f": {"z"}}
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, o) })
	check(0, y, "a facet that changed alone")
	o.IndexIs.Facets = map[string][]string{"f": {"y"}}
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, o) })
	check(1, y, "and back")
	if err := s.store.Update(s.ctx, func(tx store.Tx) error {
		o.IndexIs = lazuli.Index{}
		if err := tx.Update(s.ctx, o); err != nil {
			return err
		}
		return errRollback
	}); err == nil {
		s.Error("the transaction was to fail")
	}
	check(1, y, "a change that was taken back")
	s.update(func(tx store.Tx) error { return tx.Delete(s.ctx, listedKind, o.UID) })
	check(0, y, "an object that is gone")
	o.IndexIs = lazuli.Index{}
	s.create(o)
	check(0, y, "facets of an object that was deleted and made again")
}

// expressions are the joins of nothing and one of each, told in words.
func expressions(s *suite) {
	a, b := s.thing("a", ""), s.thing("b", "")
	s.create(a, b)
	is := func(name string) store.Expr {
		return store.That(store.Where{Field: store.FieldName, Op: store.Eq, Value: name})
	}
	for name, test := range map[string]struct {
		filter store.Expr
		want   []string
	}{
		"and of nothing": {store.Joined(store.And), []string{a.UID, b.UID}},
		"or of nothing":  {store.Joined(store.Or), nil},
		"nor of nothing": {store.Joined(store.Nor), []string{a.UID, b.UID}},
		"and":            {store.Joined(store.And, is("a"), is("b")), nil},
		"or":             {store.Joined(store.Or, is("a"), is("b")), []string{a.UID, b.UID}},
		"nor":            {store.Joined(store.Nor, is("a"), is("c")), []string{b.UID}},
		"in nothing":     {store.That(store.Where{Field: store.FieldName, Op: store.In}), nil},
	} {
		page, err := s.store.Query(s.ctx, store.Query{Kind: thingKind, Filter: &test.filter, Sort: store.FieldName})
		if err != nil {
			s.Fatal(err)
		}
		s.same(test.want, uids(page), name)
	}
}

// commonLabels are had by more objects than are listed before rows are looked
// at: a driver may ask another way then.
func commonLabels(s *suite) {
	const many, every = 1200, 2
	var all []*Thing
	for i := range many {
		o := s.listedThing(fmt.Sprintf("n%04d", i))
		o.Labels = map[string]string{"k": fmt.Sprint(i % every)}
		o.IndexIs.Facets = map[string][]string{"f": {"A", fmt.Sprint(i % every)}}
		all = append(all, o)
	}
	s.create(all...)
	half := store.Where{Label: "k", Op: store.Eq, Value: "1"}
	for name, test := range map[string]struct {
		where []store.Where
		total int
		first string
	}{
		"a label":             {[]store.Where{half}, many / every, "n0001"},
		"not a label":         {[]store.Where{{Label: "k", Op: store.NotEq, Value: "1"}}, many / every, "n0000"},
		"a facet folded":      {[]store.Where{{Facet: "f", Op: store.Eq, Case: store.CaseFolded, Value: "a"}}, many, "n0000"},
		"a label and a facet": {[]store.Where{half, {Facet: "f", Op: store.In, Values: []string{"0", "1"}}}, many / every, "n0001"},
		"neither of two":      {[]store.Where{half, {Facet: "f", Op: store.NotEq, Value: "1"}}, 0, ""},
	} {
		page, err := s.store.Query(s.ctx, store.Query{Kind: listedKind, Where: test.where, Sort: store.FieldName, Limit: 3})
		if err != nil || page.Total != test.total {
			s.Errorf("%s: total %d, %v, want %d", name, page.Total, err, test.total)
			continue
		}
		if test.total > 0 && page.Rows[0].Meta.Name != test.first {
			s.Errorf("%s: first %s, want %s", name, page.Rows[0].Meta.Name, test.first)
		}
	}
}

// countsFollow shows that a total is of the same moment as the rows, also when
// it was told before.
func countsFollow(s *suite) {
	q := store.Query{Kind: listedKind, Limit: 1, Where: []store.Where{{Field: store.FieldState, Op: store.Eq, Value: "On"}}}
	var all []*Thing
	check := func(want int, reason string) {
		s.Helper()
		for range 2 {
			if page, err := s.store.Query(s.ctx, q); err != nil || page.Total != want {
				s.Errorf("%s: total %d, %v, want %d", reason, page.Total, err, want)
			}
		}
	}
	for i := range 4 {
		o := s.listedThing(fmt.Sprint(i))
		o.IndexIs.State = "On"
		all = append(all, o)
		s.create(o)
		check(i+1, "one more")
	}
	all[0].Text = "nothing to be found by"
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, all[0]) })
	check(4, "an update beside it")
	all[0].IndexIs.State = "Off"
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, all[0]) })
	check(3, "one that changed")
	if err := s.store.Update(s.ctx, func(tx store.Tx) error {
		if err := tx.Delete(s.ctx, listedKind, all[1].UID); err != nil {
			return err
		}
		if page, err := tx.Query(s.ctx, q); err != nil || page.Total != 2 {
			s.Errorf("within a transaction: %d, %v", page.Total, err)
		}
		return errRollback
	}); err == nil {
		s.Error("the transaction was to fail")
	}
	check(3, "one that was deleted and is back")
	s.update(func(tx store.Tx) error { return tx.Delete(s.ctx, listedKind, all[1].UID) })
	check(2, "one that is gone")
	q.Where = append(q.Where, store.Where{Field: store.FieldUpdated, Op: store.Eq, Value: all[2].UpdatedAt.Format(time.RFC3339Nano)})
	q.Limit, q.Offset = 1, 10
	check(1, "one by the time of its update")
	s.update(func(tx store.Tx) error { return tx.Update(s.ctx, all[2]) })
	check(0, "its update moved on")
}
