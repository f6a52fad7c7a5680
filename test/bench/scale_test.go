// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
	"github.com/lazuli-dev/lazuli/test/bench"
	"github.com/lazuli-dev/lazuli/test/lab"
)

// rate is how many requests a second the API gets.
const rate = 200

// benchScale stores clusters as the engine leaves them and asks a hub that has
// one processor to itself for them.
func benchScale(t *testing.T, table *bench.Table, n sizes) {
	dir := filepath.Join(t.TempDir(), "data")
	startOnce(t, dir) // makes the database with what a hub needs
	file := filepath.Join(dir, "lazuli.db")
	uids := fill(t, file, oneCluster(t), n.clusters)
	info, err := os.Stat(file)
	check(t, err)
	table.Figure(fmt.Sprintf("database, %d clusters of 3+3 stored", n.clusters), float64(info.Size())/float64(n.clusters)/1024, "KiB/cluster", bench.None)

	begin := time.Now()
	hub := startHub(t, dir)
	defer hub.end()
	c := newBrowser(t, dir, hub.url)
	c.ready()
	table.Figure(fmt.Sprintf("hub start to serving, embedded store, %d clusters", n.clusters), time.Since(begin).Seconds(), "s", 1)
	of := fmt.Sprintf(", %d clusters, one processor, %d/s", n.clusters, rate)
	get := func(i int) error {
		_, err := c.do(i, http.MethodGet, "/v1/spectroclusters/"+uids[i*7919%len(uids)], "")
		return err
	}
	hub.load(time.Second, get) // connections and caches
	hub.load(n.load, get).print(t, table, "API get of a cluster"+of, 10)
	pages := searches(c, n.clusters)
	all := func(i int) error { return pages[i%len(pages)].ask(i / len(pages)) }
	hub.load(n.load, all).print(t, table, "API search page of 50, all sorts below in turn"+of, 50)
	for _, p := range pages {
		hub.load(n.load/3, p.ask).print(t, table, "  "+p.name, 50)
	}
	if mib, ok := hub.memory(); ok {
		table.Figure("  memory of the hub then", mib, "MiB", bench.None)
	}
}

// startOnce runs a hub until it serves.
func startOnce(t *testing.T, dir string) {
	t.Helper()
	hub := startHub(t, dir)
	newBrowser(t, dir, hub.url).ready()
	hub.end()
}

// page is a sort of search.
type page struct {
	name string
	ask  func(i int) error
}

// searches are what consoles and programs ask for. Where it can, each request
// is one that was not asked before.
func searches(c *browser, clusters int) []page {
	search := func(i int, query, body string) ([]byte, error) {
		return c.do(i, http.MethodPost, "/v1/dashboard/spectroclusters/search?limit=50"+query, body)
	}
	plain := func(query, body string) func(int) error {
		return func(i int) error {
			_, err := search(i, query, body)
			return err
		}
	}
	deep := func(i int) int { return i * 7919 % max(1, clusters-50) }
	var place string // of the walk through all pages
	var turn sync.Mutex
	return []page{
		{"newest first, first page", plain("", sorted("creationTimestamp", "desc"))},
		{"oldest first, any page by its offset", func(i int) error {
			_, err := search(i, fmt.Sprint("&offset=", deep(i)), sorted("creationTimestamp", "asc"))
			return err
		}},
		{"by name backwards, any page by its offset", func(i int) error {
			_, err := search(i, fmt.Sprint("&offset=", deep(i)), sorted("clusterName", "desc"))
			return err
		}},
		{"by name, page after page", func(i int) error {
			turn.Lock()
			after := place
			turn.Unlock()
			text, err := search(i, "&continue="+after, sorted("clusterName", "asc"))
			if err != nil {
				return err
			}
			var answer struct {
				ListMeta struct{ Continue string }
			}
			tail := append([]byte("{"), text[bytes.LastIndex(text, []byte(`"listmeta"`)):]...)
			if err := json.Unmarshal(tail, &answer); err != nil {
				return err
			}
			turn.Lock()
			place = answer.ListMeta.Continue
			turn.Unlock()
			return nil
		}},
		{"last modified first", plain("", sorted("lastModifiedTimestamp", "desc"))},
		{"by health", plain("", sorted("healthState", "asc"))},
		{"by state, those that run", plain("", filtered("clusterState", "asc", text("clusterState", "eq", "Running")))},
		{"any part of a name", func(i int) error {
			_, err := search(i, "", filtered("creationTimestamp", "desc", text("clusterName", "contains", fmt.Sprintf("%d", i%997))))
			return err
		}},
		{"those with an update, one in 200", plain("", filtered("clusterName", "asc",
			`{"property":"pendingUpdates","type":"bool","condition":{"bool":{"value":true}}}`))},
		{"a tag that a third have", func(i int) error {
			_, err := search(i, "", filtered("creationTimestamp", "desc", tag("env", fmt.Sprint(i%3))))
			return err
		}},
		{"a tag that one in 40 has, and not a name, healthy", func(i int) error {
			_, err := search(i, "", filtered("clusterName", "asc", tag("team", fmt.Sprint("t", i%40)),
				text("healthState", "eq", "Healthy"), strings.Replace(text("clusterName", "contains", fmt.Sprint(i%97)), `"match"`, `"negation":true,"match"`, 1)))
			return err
		}},
	}
}

func sorted(field, order string) string { return filtered(field, order) }

// filtered is the body of a search whose conditions must all hold.
func filtered(field, order string, items ...string) string {
	return `{"filter":{"conjunction":"and","filterGroups":[{"conjunction":"and","filters":[` + strings.Join(items, ",") +
		`]}]},"sort":[{"field":"` + field + `","order":"` + order + `"}]}`
}

func text(property, operator, value string) string {
	return `{"property":"` + property + `","type":"string","condition":{"string":{"operator":"` + operator +
		`","match":{"conjunction":"or","values":["` + value + `"]},"ignoreCase":true}}}`
}

func tag(key, value string) string {
	return `{"property":"tags","type":"keyValue","condition":{"keyValue":{"operator":"eq","key":"` + key +
		`","match":{"conjunction":"or","values":["` + value + `"]},"ignoreCase":true}}}`
}

// The hub takes 100 requests a second of one key: the load comes from several
// users' programs.
const callers = 8

func keyOf(i int) string { return fmt.Sprintf("%s%02d", adminKey[:len(adminKey)-2], i%callers) }

// moreKeys are further keys of the first user.
func moreKeys(ctx context.Context, tx store.Tx) error {
	page, err := tx.Query(ctx, store.Query{Kind: lazuli.KindUser, Limit: 1})
	if err != nil {
		return err
	}
	for i := 1; i < callers; i++ {
		sum := sha256.Sum256([]byte(keyOf(i)))
		if err := tx.Create(ctx, &lazuli.APIKey{
			Meta:    lazuli.Meta{UID: fmt.Sprintf("%024x", i), Name: fmt.Sprint("bench-", i)},
			UserUID: page.Rows[0].Meta.UID, Hash: hex.EncodeToString(sum[:]),
		}); err != nil {
			return err
		}
	}
	return nil
}

// record is a stored object of the template.
type record struct {
	kind lazuli.Kind
	uid  string
	data []byte
}

type pattern struct {
	uid     string
	records []record
	events  []lazuli.Event
}

// oneCluster is what the store holds of one cluster that the engine made.
func oneCluster(t *testing.T) (p pattern) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 1)
		l.Start()
		defer l.Stop()
		p.uid = l.CreateWish(lab.Wish{Name: "stored", ControlPlanes: 3, Workers: []int{3}, Preinstalled: true})
		l.Until(p.uid, lazuli.StateRunning, patience)
		time.Sleep(10 * time.Minute)
		for _, q := range []store.Query{
			{Kind: lazuli.KindCluster},
			{Kind: lazuli.KindNode, Where: []store.Where{{Field: store.FieldOwner, Op: store.Eq, Value: p.uid}}},
			{Kind: lazuli.KindMachine, Where: []store.Where{{Field: store.FieldOwner, Op: store.Eq, Value: p.uid}}},
			{Kind: lazuli.KindKeys, Where: []store.Where{{Field: store.FieldUID, Op: store.Eq, Value: p.uid}}},
		} {
			page, err := l.Store.Query(t.Context(), q)
			check(t, err)
			for _, row := range page.Rows {
				p.records = append(p.records, record{q.Kind, row.Meta.UID, row.Data})
			}
		}
		var err error
		p.events, err = l.Store.Events(t.Context(), store.EventQuery{Kind: lazuli.KindCluster, Object: p.uid})
		check(t, err)
	})
	return p
}

func objectOf(kind lazuli.Kind) lazuli.Object {
	switch kind {
	case lazuli.KindCluster:
		return &lazuli.Cluster{}
	case lazuli.KindNode:
		return &lazuli.Node{}
	case lazuli.KindMachine:
		return &lazuli.Machine{}
	default:
		return &lazuli.Keys{}
	}
}

// fill stores n copies of a cluster, each with uids and a name of its own.
func fill(t *testing.T, file string, p pattern, n int) []string {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: file, Listings: api.Listings()})
	check(t, err)
	page, err := s.Query(t.Context(), store.Query{Kind: lazuli.KindProject, Limit: 1})
	check(t, err)
	project := page.Rows[0].Meta.UID
	check(t, s.Update(t.Context(), func(tx store.Tx) error { return moreKeys(t.Context(), tx) }))
	var uids []string
	const batch = 100
	for len(uids) < n {
		check(t, s.Update(t.Context(), func(tx store.Tx) error {
			for range min(batch, n-len(uids)) {
				uid, err := p.copyTo(t.Context(), tx, project, len(uids))
				if err != nil {
					return err
				}
				uids = append(uids, uid)
			}
			return nil
		}))
	}
	check(t, s.Close())
	return uids
}

func (p pattern) copyTo(ctx context.Context, tx store.Tx, project string, i int) (string, error) {
	var pairs []string
	for j, r := range p.records {
		pairs = append(pairs, r.uid, fmt.Sprintf("%012x%04x%08x", 0x65f0a1b2c3d4, j, i))
	}
	uid := strings.NewReplacer(pairs...).Replace(p.uid)
	// Names of machines and resources end in the last digits of the uid and more: they stay as long as they are.
	replace := strings.NewReplacer(append(pairs, p.uid[18:], uid[18:], lab.Project, project)...)
	for _, r := range p.records {
		o := objectOf(r.kind)
		if err := json.Unmarshal([]byte(replace.Replace(string(r.data))), o); err != nil {
			return "", err
		}
		if c, ok := o.(*lazuli.Cluster); ok {
			c.Name = fmt.Sprintf("cluster-%05d", i)
			c.Labels = map[string]string{"env": fmt.Sprint(i % 3), "team": fmt.Sprint("t", i%40)}
			if i%200 == 0 {
				c.Behind = []string{c.Profiles[0].UID}
			}
		}
		if err := tx.Create(ctx, o); err != nil {
			return "", err
		}
	}
	for _, e := range p.events {
		e.UID, e.Object = "", uid
		if err := tx.AppendEvent(ctx, e); err != nil {
			return "", err
		}
	}
	return uid, tx.Touch(ctx, store.WorkKey{Kind: lazuli.KindCluster, ID: uid}, time.Now().Add(24*time.Hour))
}

// latencies are what a load saw.
type latencies struct {
	took []time.Duration
	errs []error
	cpu  time.Duration // of the hub
	told bool          // cpu is known
}

// load sends requests at the rate, whether the ones before were answered or
// not; the time of a request begins when it was due.
func (p served) load(d time.Duration, do func(i int) error) (out latencies) {
	n := int(d.Seconds() * rate)
	var mu sync.Mutex
	var group sync.WaitGroup
	busy, _ := p.cpu()
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(i) * time.Second / rate)
		time.Sleep(time.Until(due)) // real time: this is the load
		group.Go(func() {
			err := do(i)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			out.took = append(out.took, took)
			if err != nil {
				out.errs = append(out.errs, err)
			}
		})
	}
	group.Wait()
	out.cpu, out.told = p.cpu()
	out.cpu -= busy
	return out
}

func (l latencies) print(t *testing.T, table *bench.Table, name string, target float64) {
	t.Helper()
	if len(l.errs) > 0 {
		t.Errorf("%s: %d of %d requests failed, first: %v", name, len(l.errs), len(l.took), l.errs[0])
	}
	table.Figure(name+", p99", milliseconds(percentile(l.took, 99)), "ms", target)
	if l.told {
		table.Figure("    the hub's processor time of one", milliseconds(l.cpu)/float64(len(l.took)), "ms", bench.None)
	}
}
