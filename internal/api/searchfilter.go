// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

const (
	maxSearchGroups = 20
	maxSearchItems  = 20 // of a group
	maxSearchValues = 100
)

// Types of the properties of a search; each is also the name of the member of
// the condition that says what they compare with.
const (
	typeString   = "string"
	typeBool     = "bool"
	typeDate     = "date"
	typeKeyValue = "keyValue"
)

// property is what clusters can be searched by.
type property struct {
	name, title, kind string
	enum              []string // all values that there are, where they are few
	field             store.Field
	facet             string
	uid               bool // values are uids, which are lower-case
}

// Properties that are more than a column, a facet or a list of values.
const (
	propertyDeleted = "isDeleted"
	propertyPending = "pendingUpdates"
	propertyTags    = "tags"
)

// properties are those that searches may name. Palette's own list is what its
// server answers at search/schema; of it clients in the open use clusterName,
// environment, isDeleted and tags.
func properties() []property {
	return []property{
		{name: "clusterName", title: "Cluster name", kind: typeString, field: store.FieldName},
		{name: "clusterState", title: "Cluster state", kind: typeString, field: store.FieldState, enum: []string{
			string(lazuli.StatePending), string(lazuli.StateProvisioning), string(lazuli.StateRunning),
			string(lazuli.StateDeleting), string(lazuli.StateDeleted),
		}},
		{name: "healthState", title: "Health", kind: typeString, field: store.FieldHealth, enum: []string{
			string(lazuli.Healthy), string(lazuli.Unhealthy), string(lazuli.HealthUnknown),
		}},
		{name: "environment", title: "Environment", kind: typeString, enum: []string{palette.CloudType}},
		{name: "cloudType", title: "Cloud", kind: typeString, enum: []string{palette.CloudType}},
		{name: "region", title: "Region", kind: typeString, facet: lazuli.FacetRegion},
		{name: "kubernetesVersion", title: "Kubernetes version", kind: typeString, facet: lazuli.FacetVersion},
		{name: "clusterProfileName", title: "Cluster profile", kind: typeString, facet: lazuli.FacetProfileName},
		{name: "clusterProfileUid", title: "Cluster profile uid", kind: typeString, facet: lazuli.FacetProfileUID, uid: true},
		{name: "cloudAccountUid", title: "Cloud account uid", kind: typeString, field: store.FieldOwner, uid: true},
		{name: "projectUid", title: "Project uid", kind: typeString, field: store.FieldProject, uid: true},
		{name: "uid", title: "Uid", kind: typeString, field: store.FieldUID, uid: true},
		{name: propertyTags, title: "Tags", kind: typeKeyValue},
		{name: propertyPending, title: "Has pending updates", kind: typeBool},
		{name: propertyDeleted, title: "Is deleted", kind: typeBool},
		{name: "creationTimestamp", title: "Created", kind: typeDate, field: store.FieldCreated},
		{name: "lastModifiedTimestamp", title: "Last modified", kind: typeDate, field: store.FieldUpdated},
	}
}

func propertyOf(name string) (property, bool) {
	all := properties()
	i := slices.IndexFunc(all, func(p property) bool { return p.name == name })
	if i < 0 {
		return property{}, false
	}
	return all[i], true
}

// mentions reports whether a filter has a condition on a property.
func mentions(filter *palette.SearchFilter, name string) bool {
	if filter == nil {
		return false
	}
	return slices.ContainsFunc(filter.FilterGroups, func(g palette.SearchFilterGroup) bool {
		return slices.ContainsFunc(g.Filters, func(item palette.SearchFilterItem) bool { return item.Property == name })
	})
}

func checkFilter(f *lazuli.Fields, filter *palette.SearchFilter) {
	if filter == nil {
		return
	}
	if len(filter.FilterGroups) > maxSearchGroups {
		f.Add("filter.filterGroups", "has more than %d entries", maxSearchGroups)
		return
	}
	checkConjunction(f, "filter.conjunction", filter.Conjunction)
	for i, g := range filter.FilterGroups {
		at := fmt.Sprintf("filter.filterGroups[%d]", i)
		checkConjunction(f, at+".conjunction", g.Conjunction)
		if len(g.Filters) > maxSearchItems {
			f.Add(at+".filters", "has more than %d entries", maxSearchItems)
			continue
		}
		for j := range g.Filters {
			checkSearchItem(f, fmt.Sprintf("%s.filters[%d]", at, j), &g.Filters[j])
		}
	}
}

func checkConjunction(f *lazuli.Fields, path, s string) {
	if s != "" && s != palette.ConjunctionAnd && s != palette.ConjunctionOr {
		f.Add(path, "%q is neither and nor or", shorten(s))
	}
}

func checkSearchItem(f *lazuli.Fields, at string, item *palette.SearchFilterItem) {
	p, ok := propertyOf(item.Property)
	if !ok {
		f.Add(at+".property", "%q cannot be searched by; GET /v1/dashboard/spectroclusters/search/schema lists what can",
			shorten(item.Property))
		return
	}
	c := item.Condition
	if c == nil {
		f.Add(at+".condition", "is required")
		return
	}
	at += ".condition." + p.kind
	texts := []string{"", palette.OperatorEq, palette.OperatorContains, palette.OperatorBeginsWith}
	times := []string{
		"", palette.OperatorEq, palette.OperatorGreater, palette.OperatorGreaterEqual, palette.OperatorLess,
		palette.OperatorLessEqual, palette.OperatorRange,
	}
	switch {
	case p.kind == typeBool && c.Bool != nil:
	case (p.kind == typeString || p.name == propertyTags) && c.String != nil:
		checkMatch(f, at, c.String.Match, c.String.Operator, texts)
	case p.kind == typeKeyValue && c.KeyValue != nil:
		checkMatch(f, at, c.KeyValue.Match, c.KeyValue.Operator, texts)
	case p.kind == typeDate && c.Date != nil:
		checkMatch(f, at, (*palette.SearchMatch)(nil), c.Date.Operator, times)
		checkDates(f, at, c.Date)
	default:
		f.Add(at, "is required for the property %s", item.Property)
	}
}

func checkMatch(f *lazuli.Fields, at string, match *palette.SearchMatch, operator string, operators []string) {
	if match != nil {
		checkConjunction(f, at+".match.conjunction", match.Conjunction)
		if len(match.Values) > maxSearchValues {
			f.Add(at+".match.values", "has more than %d entries", maxSearchValues)
		}
	}
	if !slices.Contains(operators, operator) {
		f.Add(at+".operator", "%q is none of %s", shorten(operator), strings.Join(operators[1:], ", "))
	}
}

func checkDates(f *lazuli.Fields, at string, d *palette.SearchDate) {
	if d.Match == nil {
		return
	}
	checkConjunction(f, at+".match.conjunction", d.Match.Conjunction)
	const ends = 2
	switch n := len(d.Match.Values); {
	case n > maxSearchValues:
		f.Add(at+".match.values", "has more than %d entries", maxSearchValues)
	case d.Operator == palette.OperatorRange && n != ends:
		f.Add(at+".match.values", "a range has %d values", ends)
	}
}

// filterOf turns a filter that was checked into the store's. Nothing of it is
// left to memory.
func filterOf(filter *palette.SearchFilter) store.Expr {
	groups := make([]store.Expr, 0, len(filter.FilterGroups))
	for _, g := range filter.FilterGroups {
		items := make([]store.Expr, 0, len(g.Filters))
		for i := range g.Filters {
			items = append(items, conditionOf(&g.Filters[i]))
		}
		groups = append(groups, joined(g.Conjunction, items))
	}
	return joined(filter.Conjunction, groups)
}

// joined joins as a conjunction says; what has no members asks for nothing.
func joined(conjunction string, of []store.Expr) store.Expr {
	if conjunction == palette.ConjunctionOr && len(of) > 0 {
		return store.Joined(store.Or, of...)
	}
	return store.Joined(store.And, of...)
}

func allClusters() store.Expr { return store.Joined(store.And) }
func noCluster() store.Expr   { return store.Joined(store.Or) }

func negated(e store.Expr, negation bool) store.Expr {
	if negation {
		return store.Joined(store.Nor, e)
	}
	return e
}

func conditionOf(item *palette.SearchFilterItem) store.Expr {
	p, _ := propertyOf(item.Property) // it was checked
	c := item.Condition
	switch {
	case p.name == propertyDeleted:
		deleted := store.That(store.Where{Field: store.FieldState, Op: store.Eq, Value: string(lazuli.StateDeleted)})
		return negated(deleted, !c.Bool.Value)
	case p.name == propertyPending:
		pending := store.That(store.Where{Facet: lazuli.FacetUpdate, Op: store.Eq, Value: lazuli.UpdatePending})
		return negated(pending, !c.Bool.Value)
	case p.name == propertyTags && c.String != nil:
		return tagText(c.String)
	case p.name == propertyTags:
		return tagValue(c.KeyValue)
	case p.kind == typeDate:
		return dates(p, c.Date)
	default:
		return text(p, c.String)
	}
}

// text is a condition on a property of text. It holds for all where it
// compares with nothing.
func text(p property, s *palette.SearchString) store.Expr {
	if s.Match == nil || len(s.Match.Values) == 0 {
		return allClusters()
	}
	fold := s.IgnoreCase == nil || *s.IgnoreCase
	if len(p.enum) > 0 {
		return negated(oneOf(p, s, fold), s.Negation)
	}
	w := store.Where{Field: p.field, Facet: p.facet, Op: opOf(s.Operator), Case: store.CaseExact}
	values := s.Match.Values
	switch {
	case fold && p.uid:
		values = make([]string, len(s.Match.Values))
		for i, v := range s.Match.Values {
			values[i] = lazuli.Fold(v)
		}
	case fold:
		w.Case = store.CaseFolded
	}
	return negated(compared(w, s.Match.Conjunction, values), s.Negation)
}

func opOf(operator string) store.Op {
	switch operator {
	case palette.OperatorContains:
		return store.Contains
	case palette.OperatorBeginsWith:
		return store.Prefix
	default:
		return store.Eq
	}
}

// compared is a condition with each value, joined; the usual conjunction of
// values is or.
func compared(w store.Where, conjunction string, values []string) store.Expr {
	all := conjunction == palette.ConjunctionAnd
	if w.Op == store.Eq && !all && len(values) > 1 {
		w.Op, w.Values = store.In, values
		return store.That(w)
	}
	each := make([]store.Expr, len(values))
	for i, v := range values {
		w.Value = v
		each[i] = store.That(w)
	}
	switch {
	case len(each) == 1:
		return each[0]
	case all:
		return store.Joined(store.And, each...)
	default:
		return store.Joined(store.Or, each...)
	}
}

// oneOf is a condition on a property of few values: those for which it holds
// are told here, and the store compares exactly.
func oneOf(p property, s *palette.SearchString, fold bool) store.Expr {
	var in []string
	for _, have := range p.enum {
		as := func(want string) bool { return textMatches(s.Operator, want, have, fold) }
		holds := slices.ContainsFunc(s.Match.Values, as)
		if s.Match.Conjunction == palette.ConjunctionAnd {
			holds = !slices.ContainsFunc(s.Match.Values, func(want string) bool { return !as(want) })
		}
		if holds {
			in = append(in, have)
		}
	}
	switch {
	case len(in) == 0:
		return noCluster()
	case len(in) == len(p.enum):
		return allClusters()
	case len(in) == 1:
		return store.That(store.Where{Field: p.field, Op: store.Eq, Value: in[0]})
	default:
		return store.That(store.Where{Field: p.field, Op: store.In, Values: in})
	}
}

func textMatches(operator, want, value string, fold bool) bool {
	if fold {
		want, value = lazuli.Fold(want), lazuli.Fold(value)
	}
	switch operator {
	case palette.OperatorContains:
		return strings.Contains(value, want)
	case palette.OperatorBeginsWith:
		return strings.HasPrefix(value, want)
	default:
		return value == want
	}
}

// tagText compares tags as key:value; a tag that is a flag also as its key.
func tagText(s *palette.SearchString) store.Expr {
	p := property{facet: lazuli.FacetTag}
	if s.Match == nil || opOf(s.Operator) != store.Eq {
		return text(p, s)
	}
	each := make([]store.Expr, 0, len(s.Match.Values))
	for _, v := range s.Match.Values {
		one := palette.SearchString{IgnoreCase: s.IgnoreCase, Match: &palette.SearchMatch{Values: []string{v}}}
		if !strings.Contains(v, ":") {
			one.Match.Values = append(one.Match.Values, v+":"+palette.FlagTag)
		}
		each = append(each, text(p, &one))
	}
	if len(each) == 0 {
		return allClusters()
	}
	how := store.Or
	if s.Match.Conjunction == palette.ConjunctionAnd {
		how = store.And
	}
	return negated(store.Joined(how, each...), s.Negation)
}

// tagValue is a condition on the value of a tag, or on that it is there.
func tagValue(kv *palette.SearchKeyValue) store.Expr {
	w := store.Where{Label: kv.Key, Op: store.Has}
	if kv.Key == "" {
		return negated(noCluster(), kv.Negation)
	}
	if kv.Match == nil || len(kv.Match.Values) == 0 {
		return negated(store.That(w), kv.Negation)
	}
	w.Op, w.Case = opOf(kv.Operator), store.CaseFolded
	if kv.IgnoreCase != nil && !*kv.IgnoreCase {
		w.Case = store.CaseExact
	}
	return negated(compared(w, kv.Match.Conjunction, kv.Match.Values), kv.Negation)
}

// dates is a condition on a time. The wire shows milliseconds: a time stands
// for all of its millisecond.
func dates(p property, d *palette.SearchDate) store.Expr {
	if d.Match == nil || len(d.Match.Values) == 0 {
		return allClusters()
	}
	at := func(op store.Op, t time.Time) store.Expr {
		return store.That(store.Where{Field: p.field, Op: op, Value: t.UTC().Format(time.RFC3339Nano)})
	}
	span := func(from, to time.Time) store.Expr {
		return store.Joined(store.And, at(store.GreaterEq, from), at(store.Less, to.Add(time.Millisecond)))
	}
	values := make([]time.Time, len(d.Match.Values))
	for i, v := range d.Match.Values {
		values[i] = v.Truncate(time.Millisecond)
	}
	if d.Operator == palette.OperatorRange {
		return negated(span(values[0], values[1]), d.Negation)
	}
	each := make([]store.Expr, len(values))
	for i, t := range values {
		switch d.Operator {
		case palette.OperatorGreater:
			each[i] = at(store.GreaterEq, t.Add(time.Millisecond))
		case palette.OperatorGreaterEqual:
			each[i] = at(store.GreaterEq, t)
		case palette.OperatorLess:
			each[i] = at(store.Less, t)
		case palette.OperatorLessEqual:
			each[i] = at(store.Less, t.Add(time.Millisecond))
		default:
			each[i] = span(t, t)
		}
	}
	how := store.Or
	if d.Match.Conjunction == palette.ConjunctionAnd {
		how = store.And
	}
	return negated(store.Joined(how, each...), d.Negation)
}
