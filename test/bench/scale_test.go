// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/server"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
	"github.com/lazuli-dev/lazuli/test/bench"
	"github.com/lazuli-dev/lazuli/test/lab"
)

// rate is how many requests a second the API gets.
const rate = 200

// benchScale stores clusters as the engine leaves them and asks the hub for
// them, everything on one processor, the clients included.
func benchScale(t *testing.T, table *bench.Table, n sizes) {
	template := oneCluster(t)
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.DataDir, cfg.Admin.APIKey = "127.0.0.1:0", filepath.Join(t.TempDir(), "data"), adminKey
	serve(t, cfg)() // makes the database with what a hub needs
	file := filepath.Join(cfg.DataDir, "lazuli.db")
	uids := fill(t, file, template, n.clusters)
	info, err := os.Stat(file)
	check(t, err)
	table.Figure(fmt.Sprintf("database, %d clusters of 3+3 stored", n.clusters), float64(info.Size())/float64(n.clusters)/1024, "KiB/cluster", bench.None)

	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	begin := time.Now()
	stop, url := start(t, cfg)
	c := newBrowser(t, cfg, url)
	for c.get("/readyz") != nil {
		time.Sleep(time.Millisecond) // real time: the hub is a server here
	}
	table.Figure(fmt.Sprintf("hub start to serving, embedded store, %d clusters", n.clusters), time.Since(begin).Seconds(), "s", 1)
	defer stop()
	get := load(n.load, func(i int) error { return c.get("/v1/spectroclusters/" + uids[i*7919%len(uids)]) })
	get.print(t, table, "API get of a cluster", n.clusters, 10)
	search := load(n.load, func(i int) error {
		return c.post("/v1/dashboard/spectroclusters/search?limit=50", searches[i%len(searches)])
	})
	search.print(t, table, "API search page of 50", n.clusters, 50)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	table.Figure("  heap in use then, clients included", float64(m.HeapInuse)/(1<<20), "MiB", bench.None)
}

const adminKey = "bench-bench-bench-bench-bench-bench-bench-01"

// searches are what consoles ask for: everything newest first, part of a name, a tag.
var searches = []string{
	`{"sort":[{"field":"creationTimestamp","order":"desc"}]}`,
	`{"filter":{"conjunction":"and","filterGroups":[{"conjunction":"and","filters":[{"property":"clusterName","type":"string",` +
		`"condition":{"string":{"operator":"contains","negation":false,"match":{"conjunction":"or","values":["9"]},"ignoreCase":true}}}]}]},` +
		`"sort":[{"field":"creationTimestamp","order":"desc"}]}`,
	`{"filter":{"conjunction":"and","filterGroups":[{"conjunction":"and","filters":[{"property":"clusterState","type":"string",` +
		`"condition":{"string":{"operator":"eq","negation":false,"match":{"conjunction":"or","values":["Running"]},"ignoreCase":true}}}]}]},` +
		`"sort":[{"field":"clusterName","order":"asc"}]}`,
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
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: file})
	check(t, err)
	page, err := s.Query(t.Context(), store.Query{Kind: lazuli.KindProject, Limit: 1})
	check(t, err)
	project := page.Rows[0].Meta.UID
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

// start runs a hub.
func start(t *testing.T, cfg server.Config) (stop func(), url string) {
	t.Helper()
	hub, err := server.New(t.Context(), cfg, "bench", io.Discard)
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- hub.Run(ctx) }()
	return func() {
		cancel()
		check(t, <-done)
	}, hub.URL()
}

func serve(t *testing.T, cfg server.Config) (stop func()) {
	t.Helper()
	stop, url := start(t, cfg)
	c := newBrowser(t, cfg, url)
	for c.get("/readyz") != nil {
		time.Sleep(time.Millisecond) // real time: the hub is a server here
	}
	return stop
}

// browser is a client that keeps its connections.
type browser struct {
	url  string
	http *http.Client
}

func newBrowser(t *testing.T, cfg server.Config, url string) *browser {
	t.Helper()
	pem, err := os.ReadFile(cfg.CAFile())
	check(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: rate}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{url: url, http: &http.Client{Transport: transport, Timeout: time.Minute}}
}

func (b *browser) get(path string) error { return b.do(http.MethodGet, path, "") }

func (b *browser) post(path, body string) error { return b.do(http.MethodPost, path, body) }

func (b *browser) do(method, path, body string) error {
	r, err := http.NewRequest(method, b.url+path, bytes.NewReader([]byte(body))) //nolint:noctx // the client has a time-out
	if err != nil {
		return err
	}
	r.Header.Set("ApiKey", adminKey)
	r.Header.Set("Content-Type", "application/json")
	resp, err := b.http.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return err
}

// latencies are what a load saw.
type latencies struct {
	took []time.Duration
	errs []error
	rate float64
}

// load sends requests at the rate whether the ones before were answered or not;
// the time of a request begins when it was due.
func load(d time.Duration, do func(i int) error) (out latencies) {
	n := int(d.Seconds() * rate)
	var mu sync.Mutex
	var group sync.WaitGroup
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
	out.rate = float64(n) / time.Since(begin).Seconds()
	return out
}

func (l latencies) print(t *testing.T, table *bench.Table, name string, clusters int, target float64) {
	t.Helper()
	if len(l.errs) > 0 {
		t.Errorf("%s: %d of %d requests failed, first: %v", name, len(l.errs), len(l.took), l.errs[0])
	}
	of := fmt.Sprintf(", %d clusters, one processor, %d/s", clusters, rate)
	table.Figure(name+of+", p99", milliseconds(percentile(l.took, 99)), "ms", target)
	table.Figure("  median", milliseconds(median(l.took)), "ms", bench.None)
}
