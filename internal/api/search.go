// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

const (
	maxSearchGroups = 20
	maxSearchItems  = 20 // of a group
	maxSearchValues = 100
)

// listClusters lists the clusters that are not Deleted, newest last.
func listClusters(a *API, c *call) (any, error) {
	clusters, meta, err := a.clusterPage(c, store.Query{}, nil, nil)
	if err != nil {
		return nil, err
	}
	items := make([]palette.Cluster, 0, len(clusters))
	for i := range clusters {
		item, err := palette.ClusterOf(&clusters[i])
		if err != nil {
			return nil, fmt.Errorf("render the answer: %w", err)
		}
		items = append(items, item)
	}
	return palette.NewList(items, meta), nil
}

// searchClusters lists the clusters that match a filter.
func searchClusters(a *API, c *call) (any, error) {
	var in palette.SearchFilterSummarySpec
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	q, less, err := sortOf(in.Sort)
	if err != nil {
		return nil, err
	}
	if err := checkFilter(in.Filter); err != nil {
		return nil, err
	}
	clusters, meta, err := a.clusterPage(c, q, in.Filter, less)
	if err != nil {
		return nil, err
	}
	names, err := a.projectNames(c, clusters)
	if err != nil {
		return nil, err
	}
	items := make([]palette.ClusterSummary, 0, len(clusters))
	for i := range clusters {
		item, err := palette.Summary(&clusters[i], names[clusters[i].Project])
		if err != nil {
			return nil, fmt.Errorf("render the answer: %w", err)
		}
		items = append(items, item)
	}
	return palette.NewList(items, meta), nil
}

func (a *API) projectNames(c *call, clusters []lazuli.Cluster) (map[string]*lazuli.Project, error) {
	out := map[string]*lazuli.Project{}
	for i := range clusters {
		uid := clusters[i].Project
		if uid == "" || out[uid] != nil {
			continue
		}
		p := &lazuli.Project{}
		if err := a.Store.Get(c.ctx(), uid, p); err != nil && lazuli.CodeOf(err) != lazuli.CodeNotFound {
			return nil, fmt.Errorf("read project %s: %w", uid, err)
		}
		out[uid] = p
	}
	return out, nil
}

// clusterPage answers one page of the clusters that the caller sees. Without a
// filter that only memory can apply, the store pages.
func (a *API) clusterPage(
	c *call, q store.Query, filter *palette.SearchFilter, less func(a, b *lazuli.Cluster) int,
) ([]lazuli.Cluster, *palette.ListMeta, error) {
	w, err := c.window()
	if err != nil {
		return nil, nil, err
	}
	project, err := a.scope(c)
	if err != nil {
		return nil, nil, err
	}
	where, exact, deleted := pushDown(filter)
	only, all := c.within(project)
	q.Where = append(q.Where, only...)
	exact = exact && all
	q.Where = append(q.Where, where...)
	if !deleted {
		q.Where = append(q.Where, store.Where{Field: store.FieldState, Op: store.NotEq, Value: string(lazuli.StateDeleted)})
	}
	if exact && less == nil && w.offset == 0 {
		q.Limit, q.After = w.limit, w.after
		clusters, page, err := query[lazuli.Cluster](c.ctx(), a.Store, q)
		if err != nil {
			return nil, nil, err
		}
		return clusters, &palette.ListMeta{Continue: page.Next, Count: page.Total, Limit: w.limit}, nil
	}
	clusters, _, err := query[lazuli.Cluster](c.ctx(), a.Store, q)
	if err != nil {
		return nil, nil, err
	}
	clusters = slices.DeleteFunc(clusters, func(cl lazuli.Cluster) bool { return !c.sees(&cl) || !matches(filter, &cl) })
	if less != nil {
		slices.SortStableFunc(clusters, func(x, y lazuli.Cluster) int { return less(&x, &y) })
	}
	return cut(w, clusters)
}

// sortOf turns the first sort of a search into the store's; health is not a
// column and is compared in memory.
func sortOf(sort []palette.SearchSort) (store.Query, func(x, y *lazuli.Cluster) int, error) {
	var q store.Query
	if len(sort) == 0 {
		return q, nil, nil
	}
	q.Desc = sort[0].Order == "desc"
	switch sort[0].Field {
	case "clusterName":
		q.Sort = store.FieldName
	case "clusterState":
		q.Sort = store.FieldState
	case "creationTimestamp", "environment", "":
		q.Sort = store.FieldCreated
	case "lastModifiedTimestamp":
		q.Sort = store.FieldUpdated
	case "healthState":
		desc := q.Desc
		return store.Query{}, func(x, y *lazuli.Cluster) int {
			n := strings.Compare(palette.Health(x), palette.Health(y))
			if desc {
				return -n
			}
			return n
		}, nil
	default:
		var f lazuli.Fields
		f.Add("sort[0].field", "%q cannot be sorted by", shorten(sort[0].Field))
		return q, nil, f.Err()
	}
	return q, nil, nil
}

// Properties of a search.
const (
	propertyName        = "clusterName"
	propertyState       = "clusterState"
	propertyHealth      = "healthState"
	propertyEnvironment = "environment"
	propertyDeleted     = "isDeleted"
	propertyUID         = "uid"
	propertyProject     = "projectUid"
	propertyAccount     = "cloudAccountUid"
	propertyTags        = "tags"
)

func checkFilter(filter *palette.SearchFilter) error {
	if filter == nil {
		return nil
	}
	var f lazuli.Fields
	if len(filter.FilterGroups) > maxSearchGroups {
		f.Add("filter.filterGroups", "has more than %d entries", maxSearchGroups)
		return f.Err()
	}
	conjunction(&f, "filter.conjunction", filter.Conjunction)
	for i, g := range filter.FilterGroups {
		at := fmt.Sprintf("filter.filterGroups[%d]", i)
		conjunction(&f, at+".conjunction", g.Conjunction)
		if len(g.Filters) > maxSearchItems {
			f.Add(at+".filters", "has more than %d entries", maxSearchItems)
			continue
		}
		for j := range g.Filters {
			checkSearchItem(&f, fmt.Sprintf("%s.filters[%d]", at, j), &g.Filters[j])
		}
	}
	return f.Err()
}

func conjunction(f *lazuli.Fields, path, s string) {
	if s != "" && s != palette.ConjunctionAnd && s != palette.ConjunctionOr {
		f.Add(path, "%q is neither and nor or", shorten(s))
	}
}

func checkSearchItem(f *lazuli.Fields, at string, item *palette.SearchFilterItem) {
	c := item.Condition
	if c == nil {
		f.Add(at+".condition", "is required")
		return
	}
	var (
		match    *palette.SearchMatch
		operator string
	)
	switch item.Property {
	case propertyName, propertyState, propertyHealth, propertyEnvironment, propertyUID, propertyProject, propertyAccount:
		if c.String == nil {
			f.Add(at+".condition.string", "is required for the property %s", item.Property)
			return
		}
		match, operator = c.String.Match, c.String.Operator
	case propertyDeleted:
		if c.Bool == nil {
			f.Add(at+".condition.bool", "is required for the property %s", item.Property)
		}
		return
	case propertyTags:
		if c.KeyValue == nil {
			f.Add(at+".condition.keyValue", "is required for the property %s", item.Property)
			return
		}
		match, operator = c.KeyValue.Match, c.KeyValue.Operator
	default:
		f.Add(at+".property", "%q cannot be searched by", shorten(item.Property))
		return
	}
	if match != nil {
		conjunction(f, at+".condition.match.conjunction", match.Conjunction)
		if len(match.Values) > maxSearchValues {
			f.Add(at+".condition.match.values", "has more than %d entries", maxSearchValues)
		}
	}
	switch operator {
	case "", palette.OperatorEq, palette.OperatorContains, palette.OperatorBeginsWith:
	default:
		f.Add(at+".condition.operator", "%q is none of eq, contains, beginsWith", shorten(operator))
	}
}

// pushDown finds the conditions that the store can apply. exact says that they
// are the whole filter, deleted that the filter itself speaks of Deleted
// clusters, which are left out otherwise.
func pushDown(filter *palette.SearchFilter) (where []store.Where, exact, deleted bool) {
	if filter == nil {
		return nil, true, false
	}
	exact = true
	or := filter.Conjunction == palette.ConjunctionOr && len(filter.FilterGroups) > 1
	for _, g := range filter.FilterGroups {
		orHere := or || g.Conjunction == palette.ConjunctionOr && len(g.Filters) > 1
		for _, item := range g.Filters {
			if item.Property == propertyDeleted {
				deleted = true
			}
			w, ok := column(&item)
			if !ok || orHere {
				exact = false
				continue
			}
			where = append(where, w...)
		}
	}
	return where, exact, deleted
}

// column turns a condition into one on a column, if it is one.
func column(item *palette.SearchFilterItem) ([]store.Where, bool) {
	switch item.Property {
	case propertyDeleted:
		op := store.NotEq
		if item.Condition.Bool.Value {
			op = store.Eq
		}
		return []store.Where{{Field: store.FieldState, Op: op, Value: string(lazuli.StateDeleted)}}, true
	case propertyEnvironment:
		// All clusters are of one environment: the condition holds for all, or
		// is left to memory.
		return nil, stringMatches(item.Condition.String, palette.CloudType)
	case propertyState, propertyUID, propertyProject, propertyAccount:
		return exactColumn(item)
	case propertyName:
		s := item.Condition.String
		if !oneFolded(s) {
			return nil, false
		}
		op := store.Eq
		switch s.Operator {
		case palette.OperatorContains:
			op = store.Contains
		case palette.OperatorBeginsWith:
			op = store.Prefix
		}
		return []store.Where{{Field: store.FieldName, Op: op, Value: s.Match.Values[0]}}, true
	default:
		return nil, false
	}
}

// oneFolded reports whether a condition asks for one text in any case.
func oneFolded(s *palette.SearchString) bool {
	return !s.Negation && s.Match != nil && len(s.Match.Values) == 1 && (s.IgnoreCase == nil || *s.IgnoreCase)
}

// exactColumn turns a comparison in any case into one with the only form that
// a column can hold: states are few, uids are lower-case.
func exactColumn(item *palette.SearchFilterItem) ([]store.Where, bool) {
	s := item.Condition.String
	if !oneFolded(s) || s.Operator != "" && s.Operator != palette.OperatorEq {
		return nil, false
	}
	value := lazuli.Fold(s.Match.Values[0])
	field := map[string]store.Field{
		propertyUID: store.FieldUID, propertyProject: store.FieldProject, propertyAccount: store.FieldOwner,
	}[item.Property]
	if item.Property == propertyState {
		field = store.FieldState
		states := []lazuli.ClusterState{
			lazuli.StatePending, lazuli.StateProvisioning, lazuli.StateRunning, lazuli.StateDeleting, lazuli.StateDeleted,
		}
		i := slices.IndexFunc(states, func(st lazuli.ClusterState) bool { return lazuli.Fold(string(st)) == value })
		if i < 0 {
			return nil, false
		}
		value = string(states[i])
	}
	return []store.Where{{Field: field, Op: store.Eq, Value: value}}, true
}

// matches applies a whole filter to a cluster.
func matches(filter *palette.SearchFilter, cl *lazuli.Cluster) bool {
	if filter == nil {
		return true
	}
	return combine(filter.Conjunction, len(filter.FilterGroups), func(i int) bool {
		g := &filter.FilterGroups[i]
		return combine(g.Conjunction, len(g.Filters), func(j int) bool { return itemMatches(&g.Filters[j], cl) })
	})
}

// combine joins n conditions; none is true.
func combine(conj string, n int, holds func(int) bool) bool {
	or := conj == palette.ConjunctionOr
	for i := range n {
		if holds(i) == or {
			return or
		}
	}
	return !or || n == 0
}

func itemMatches(item *palette.SearchFilterItem, cl *lazuli.Cluster) bool {
	c := item.Condition
	switch item.Property {
	case propertyDeleted:
		return c.Bool.Value == (cl.Status.State == lazuli.StateDeleted)
	case propertyTags:
		return tagMatches(c.KeyValue, cl.Labels)
	case propertyName:
		return stringMatches(c.String, cl.Name)
	case propertyState:
		return stringMatches(c.String, string(cl.Status.State))
	case propertyHealth:
		return stringMatches(c.String, palette.Health(cl))
	case propertyEnvironment:
		return stringMatches(c.String, palette.CloudType)
	case propertyUID:
		return stringMatches(c.String, cl.UID)
	case propertyProject:
		return stringMatches(c.String, cl.Project)
	case propertyAccount:
		return stringMatches(c.String, cl.AccountUID)
	default:
		return false
	}
}

func stringMatches(s *palette.SearchString, value string) bool {
	if s == nil || s.Match == nil || len(s.Match.Values) == 0 {
		return true
	}
	fold := s.IgnoreCase == nil || *s.IgnoreCase
	got := combine(orElse(s.Match.Conjunction, palette.ConjunctionOr), len(s.Match.Values), func(i int) bool {
		return textMatches(s.Operator, s.Match.Values[i], value, fold)
	})
	return got != s.Negation
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

func tagMatches(kv *palette.SearchKeyValue, labels map[string]string) bool {
	value, ok := labels[kv.Key]
	got := ok
	if ok && kv.Match != nil && len(kv.Match.Values) > 0 {
		s := palette.SearchString{IgnoreCase: kv.IgnoreCase, Match: kv.Match, Operator: kv.Operator}
		got = stringMatches(&s, value)
	}
	return got != kv.Negation
}
