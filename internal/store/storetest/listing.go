// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"

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
