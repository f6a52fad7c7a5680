// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

const searchPath = "/v1/dashboard/spectroclusters/search"

// tireless lifts the bound on the requests of a credential.
func tireless(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e6, 1e6 }

// fleet makes clusters that differ in all that they are searched by.
func fleet(w *world) []*lazuli.Cluster {
	names := []string{"alpha", "beta", "beta-2", "gamma", "prod-eu", "prod-us"}
	states := []lazuli.ClusterState{lazuli.StatePending, lazuli.StateRunning, lazuli.StateDeleted, lazuli.StateDeleting}
	var all []*lazuli.Cluster
	for i, name := range names {
		uid := w.create(name)
		w.change(uid, func(c *lazuli.Cluster) {
			c.Status.State = states[i%len(states)]
			c.Status.Healthy = i%3 == 1
			c.Status.KubeVersion = []string{"", "v1.35.2", "v1.36.0"}[i%3]
			c.Labels = map[string]string{"env": []string{"dev", "Prod"}[i%2], "É": "ÉÀ"}
			if i%2 == 0 {
				c.Labels["flag"] = palette.FlagTag
			}
			if i%4 == 1 {
				c.Behind = []string{w.profile}
			}
			c.Profiles = append(c.Profiles, lazuli.ProfileSnapshot{UID: fmt.Sprintf("%024x", i%2), Name: fmt.Sprint("Add-On-", i%2)})
		})
		var c lazuli.Cluster
		if err := w.store.Get(w.t.Context(), uid, &c); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, &c)
	}
	return all
}

// TestSearchFindsWhatAModelFinds compares random searches with the same filter
// applied in memory.
func TestSearchFindsWhatAModelFinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tireless)
	all := fleet(w)
	w.model = nil // it takes each search for a client's, which looks for one cluster
	rapid.Check(t, func(t *rapid.T) {
		in := palette.SearchFilterSummarySpec{Filter: drawFilter(t, all)}
		raw, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, c := range all {
			if modelFilter(in.Filter, c) && (c.Status.State != lazuli.StateDeleted || strings.Contains(string(raw), "isDeleted")) {
				want = append(want, c.Name)
			}
		}
		limit := rapid.SampledFrom([]int{0, 1, 2, 50}).Draw(t, "limit")
		if got := w.walk(t, string(raw), limit); !slices.Equal(got, want) {
			t.Fatalf("%s\ngot  %v\nwant %v", raw, got, want)
		}
	})
}

// walk reads all pages of a search, by turns by token and by offset.
func (w *world) walk(t interface {
	Fatalf(format string, args ...any)
}, body string, limit int) (names []string) {
	query := ""
	for page := 0; ; page++ {
		a := w.send("POST", fmt.Sprintf("%s?limit=%d%s", searchPath, limit, query), body)
		var got palette.List[palette.ClusterSummary]
		if err := json.Unmarshal(a.body, &got); err != nil || a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", body, a.status, a.body)
		}
		if got.ListMeta == nil || got.ListMeta.Offset != len(names) || got.ListMeta.Limit != limit {
			t.Fatalf("listmeta %+v after %d items", got.ListMeta, len(names))
		}
		for _, it := range got.Items {
			names = append(names, it.Metadata.Name)
		}
		if got.ListMeta.Continue == "" {
			if got.ListMeta.Count != len(names) {
				t.Fatalf("%s: count %d of %d", body, got.ListMeta.Count, len(names))
			}
			return names
		}
		// Clients send the answer's offset back along with the token.
		query = fmt.Sprintf("&continue=%s&offset=%d", got.ListMeta.Continue, got.ListMeta.Offset)
		if page%2 == 1 {
			query = fmt.Sprint("&offset=", len(names))
		}
	}
}

var textProperties = []string{
	"clusterName", "clusterState", "healthState", "environment", "cloudType", "region", "kubernetesVersion",
	"clusterProfileName", "clusterProfileUid", "cloudAccountUid", "projectUid", "uid", "tags",
}

// textsOf is what a cluster has of a property.
func textsOf(name string, c *lazuli.Cluster) (texts []string) {
	switch name {
	case "clusterName":
		return []string{c.Name}
	case "clusterState":
		return []string{string(c.Status.State)}
	case "healthState":
		return []string{palette.Health(c)}
	case "environment", "cloudType":
		return []string{palette.CloudType}
	case "region":
		return []string{"westeurope"}
	case "kubernetesVersion":
		if v := strings.TrimPrefix(c.Status.KubeVersion, "v"); v != "" {
			return []string{v}
		}
		return nil
	case "cloudAccountUid":
		return []string{c.AccountUID}
	case "projectUid":
		return []string{c.Project}
	case "uid":
		return []string{c.UID}
	case "tags":
		for k, v := range c.Labels {
			texts = append(texts, k+":"+v)
		}
		return texts
	}
	for _, p := range c.Profiles {
		texts = append(texts, map[string]string{"clusterProfileName": p.Name, "clusterProfileUid": p.UID}[name])
	}
	return texts
}

func drawFilter(t *rapid.T, all []*lazuli.Cluster) *palette.SearchFilter {
	conjunctions := rapid.SampledFrom([]string{"", "and", "or"})
	f := &palette.SearchFilter{Conjunction: conjunctions.Draw(t, "conjunction")}
	for range rapid.IntRange(0, 2).Draw(t, "groups") {
		g := palette.SearchFilterGroup{Conjunction: conjunctions.Draw(t, "of a group")}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			g.Filters = append(g.Filters, drawItem(t, all))
		}
		f.FilterGroups = append(f.FilterGroups, g)
	}
	return f
}

func drawItem(t *rapid.T, all []*lazuli.Cluster) palette.SearchFilterItem {
	negation := rapid.Bool().Draw(t, "negation")
	ignore := rapid.SampledFrom([]*bool{nil, new(false), new(true)}).Draw(t, "ignore case")
	match := &palette.SearchMatch{Conjunction: rapid.SampledFrom([]string{"", "and", "or"}).Draw(t, "values' conjunction")}
	operator := rapid.SampledFrom([]string{"", "eq", "contains", "beginsWith"}).Draw(t, "operator")
	what := rapid.SampledFrom(append([]string{"isDeleted", "pendingUpdates", "keyValue", "created"}, textProperties...)).Draw(t, "property")
	draw := func(texts []string) {
		for range rapid.IntRange(0, 2).Draw(t, "values") {
			v := rapid.SampledFrom(append(texts, "", "x")).Draw(t, "value")
			if r := []rune(v); rapid.Bool().Draw(t, "part") && len(r) > 2 {
				v = string(r[:2])
			}
			if rapid.Bool().Draw(t, "upper") {
				v = strings.ToUpper(v)
			}
			match.Values = append(match.Values, v)
		}
	}
	c := rapid.SampledFrom(all).Draw(t, "like")
	switch what {
	case "isDeleted", "pendingUpdates":
		value := rapid.Bool().Draw(t, "is")
		return palette.SearchFilterItem{Property: what, Condition: &palette.SearchCondition{Bool: &palette.SearchBool{Value: value}}}
	case "keyValue":
		key := rapid.SampledFrom([]string{"env", "É", "flag", "none"}).Draw(t, "key")
		draw([]string{"dev", "Prod", "ÉÀ"})
		return palette.SearchFilterItem{Property: "tags", Condition: &palette.SearchCondition{KeyValue: &palette.SearchKeyValue{
			Key: key, IgnoreCase: ignore, Match: match, Negation: negation, Operator: operator,
		}}}
	case "created":
		d := &palette.SearchDate{Negation: negation, Match: &palette.SearchDateMatch{Values: []palette.Time{palette.At(c.CreatedAt)}}}
		d.Operator = rapid.SampledFrom([]string{"", "eq", "gt", "gte", "lt", "lte"}).Draw(t, "of times")
		return palette.SearchFilterItem{Property: "creationTimestamp", Condition: &palette.SearchCondition{Date: d}}
	}
	draw(append(textsOf(what, c), "flag"))
	return palette.SearchFilterItem{Property: what, Condition: &palette.SearchCondition{String: &palette.SearchString{
		IgnoreCase: ignore, Match: match, Negation: negation, Operator: operator,
	}}}
}

func modelFilter(f *palette.SearchFilter, c *lazuli.Cluster) bool {
	return modelJoin(f.Conjunction, f.FilterGroups, func(g palette.SearchFilterGroup) bool {
		return modelJoin(g.Conjunction, g.Filters, func(item palette.SearchFilterItem) bool { return modelItem(&item, c) })
	})
}

// modelJoin is true of nothing; the usual conjunction is and.
func modelJoin[T any](conjunction string, of []T, holds func(T) bool) bool {
	if conjunction == "or" && len(of) > 0 {
		return slices.ContainsFunc(of, holds)
	}
	return !slices.ContainsFunc(of, func(v T) bool { return !holds(v) })
}

func modelItem(item *palette.SearchFilterItem, c *lazuli.Cluster) bool {
	switch cond := item.Condition; {
	case cond.Bool != nil && item.Property == "pendingUpdates":
		return cond.Bool.Value == (len(c.Behind) > 0)
	case cond.Bool != nil:
		return cond.Bool.Value == (c.Status.State == lazuli.StateDeleted)
	case cond.Date != nil:
		n := c.CreatedAt.Truncate(time.Millisecond).Compare(cond.Date.Match.Values[0].Truncate(time.Millisecond))
		return map[string]bool{"": n == 0, "eq": n == 0, "gt": n > 0, "gte": n >= 0, "lt": n < 0, "lte": n <= 0}[cond.Date.Operator] != cond.Date.Negation
	case cond.KeyValue != nil:
		kv := cond.KeyValue
		v, ok := c.Labels[kv.Key]
		if ok && len(kv.Match.Values) > 0 {
			ok = modelText(kv.Match, kv.Operator, kv.IgnoreCase, func(as func(string) bool) bool { return as(v) }, nil)
		}
		return ok != kv.Negation
	default:
		s := cond.String
		if len(s.Match.Values) == 0 {
			return true
		}
		have := textsOf(item.Property, c)
		flag := func(v string) string {
			if item.Property == "tags" && !strings.Contains(v, ":") {
				return v + ":" + palette.FlagTag
			}
			return v
		}
		return modelText(s.Match, s.Operator, s.IgnoreCase, func(as func(string) bool) bool { return slices.ContainsFunc(have, as) }, flag) != s.Negation
	}
}

func modelText(m *palette.SearchMatch, operator string, ignore *bool, anyOf func(func(string) bool) bool, flag func(string) string) bool {
	fold := lazuli.Fold
	if ignore != nil && !*ignore {
		fold = func(s string) string { return s }
	}
	holds := func(want string) bool {
		return anyOf(func(have string) bool {
			switch operator {
			case "contains":
				return strings.Contains(fold(have), fold(want))
			case "beginsWith":
				return strings.HasPrefix(fold(have), fold(want))
			}
			return fold(have) == fold(want) || flag != nil && fold(have) == fold(flag(want))
		})
	}
	if m.Conjunction == "and" {
		return !slices.ContainsFunc(m.Values, func(v string) bool { return !holds(v) })
	}
	return slices.ContainsFunc(m.Values, holds)
}

// TestSearchOrders walks each order both ways.
func TestSearchOrders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := slices.DeleteFunc(fleet(w), func(c *lazuli.Cluster) bool { return c.Status.State == lazuli.StateDeleted })
	keys := map[string]func(*lazuli.Cluster) string{
		"clusterName":           func(c *lazuli.Cluster) string { return c.Name },
		"clusterState":          func(c *lazuli.Cluster) string { return string(c.Status.State) },
		"healthState":           palette.Health,
		"creationTimestamp":     func(c *lazuli.Cluster) string { return fmt.Sprint(c.CreatedAt.UnixMicro()) },
		"lastModifiedTimestamp": func(c *lazuli.Cluster) string { return fmt.Sprint(c.UpdatedAt.UnixMicro()) },
		"environment":           func(c *lazuli.Cluster) string { return fmt.Sprint(c.CreatedAt.UnixMicro()) },
	}
	for field, key := range keys {
		for _, order := range []string{"asc", "desc"} {
			body := fmt.Sprintf(`{"sort":[{"field":%q,"order":%q}]}`, field, order)
			slices.SortFunc(all, func(a, b *lazuli.Cluster) int {
				n := strings.Compare(key(a), key(b))
				if n == 0 {
					n = strings.Compare(a.UID, b.UID)
				}
				if order == "desc" {
					return -n
				}
				return n
			})
			var want []string
			for _, c := range all {
				want = append(want, c.Name)
			}
			if d := cmp.Diff(want, w.walk(t, body, 2)); d != "" {
				t.Errorf("%s %s (-want +got):\n%s", field, order, d)
			}
		}
	}
}

// TestHeadsShowTheSame compares pages of heads with those of a store that has
// none, before and after what the clusters are shown with changes.
func TestHeadsShowTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet(w)
	w.change(w.create("last"), func(c *lazuli.Cluster) { c.Status.Message = "<&>\u2028" })
	with := w.want(http.StatusOK, "POST", searchPath, "{}")
	var got palette.List[palette.ClusterSummary]
	with.json(t, &got)
	for _, it := range got.Items {
		var c lazuli.Cluster
		if err := w.store.Get(t.Context(), it.Metadata.UID, &c); err != nil {
			t.Fatal(err)
		}
		var p lazuli.Project
		if err := w.store.Get(t.Context(), c.Project, &p); err != nil {
			t.Fatal(err)
		}
		want, err := palette.Summary(&c, &p)
		if err != nil {
			t.Fatal(err)
		}
		asItem, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(with.body, asItem) {
			t.Errorf("cluster %s is not shown as it would be rendered now:\n%s\nin\n%s", c.Name, asItem, with.body)
		}
	}
	listing := api.Listings()[lazuli.KindCluster]
	if _, err := listing.Head(&lazuli.Project{}); err == nil {
		t.Error("a head was made of what is no cluster")
	}
}

// TestSearchWithoutHeads asks a hub whose listings another release made.
func TestSearchWithoutHeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inFile)
	fleet(w)
	with := w.want(http.StatusOK, "POST", searchPath, "{}").body
	db, err := sql.Open("sqlite", "file:"+w.dbPath)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "update listing set head_version=0, head=''")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(with), string(w.want(http.StatusOK, "POST", searchPath, "{}").body)); d != "" {
		t.Errorf("without heads the answer is another (-with +without):\n%s", d)
	}
}

func TestSearchSchema(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var got palette.SearchSchema
	w.want(http.StatusOK, "GET", searchPath+"/schema", nil).json(t, &got)
	for _, p := range got.Schema.Properties {
		body := fmt.Sprintf(`{"filter":{"filterGroups":[{"filters":[{"property":%q,"condition":{%q:{"key":"k"}}}]}]}}`, p.Name, p.Type)
		w.want(http.StatusOK, "POST", searchPath, body)
	}
	if len(got.Schema.Properties) < 10 {
		t.Errorf("few properties: %+v", got)
	}
}
