// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
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
	for c.get(0, "/readyz") != nil {
		time.Sleep(time.Millisecond) // real time: the hub is a server here
	}
	table.Figure(fmt.Sprintf("hub start to serving, embedded store, %d clusters", n.clusters), time.Since(begin).Seconds(), "s", 1)
	defer stop()
	of := fmt.Sprintf(", %d clusters, one processor, %d/s", n.clusters, rate)
	get := func(i int) error { return c.get(i, "/v1/spectroclusters/"+uids[i*7919%len(uids)]) }
	page := func(i int) error {
		return c.post(i, "/v1/dashboard/spectroclusters/search?limit=50", searches[i%len(searches)])
	}
	load(time.Second, get) // connections and caches
	alone := load(n.load, get)
	alone.print(t, table, "API get of a cluster"+of, 10)
	table.Figure("    processor time of a get, client included", milliseconds(alone.cpu)/float64(len(alone.took)), "ms", bench.None)
	mix := split(n.load, func(i int) (kind int, err error) {
		if i%10 == 0 {
			return 1, page(i / 10)
		}
		return 0, get(i)
	})
	mix[0].print(t, table, "  with one page in ten requests: API get of a cluster"+of, 10)
	mix[1].print(t, table, "  with one page in ten requests: API search page of 50"+of, 50)
	flood := load(n.load/3, page)
	flood.printFlood(table, "  nothing but pages: API search page of 50"+of, 50)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	table.Figure("  heap in use then, clients included", float64(m.HeapInuse)/(1<<20), "MiB", bench.None)
}

// The hub takes 100 requests a second of one key: the load comes from several
// users' programs.
const (
	adminKey = "bench-bench-bench-bench-bench-bench-bench-00"
	callers  = 8
)

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
	for c.get(0, "/readyz") != nil {
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

func (b *browser) get(caller int, path string) error { return b.do(caller, http.MethodGet, path, "") }

func (b *browser) post(caller int, path, body string) error {
	return b.do(caller, http.MethodPost, path, body)
}

func (b *browser) do(caller int, method, path, body string) error {
	r, err := http.NewRequest(method, b.url+path, bytes.NewReader([]byte(body))) // the client has a time-out
	if err != nil {
		return err
	}
	r.Header.Set("ApiKey", keyOf(caller))
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

// latencies are what a load saw of one sort of request.
type latencies struct {
	took []time.Duration
	errs []error
	over time.Duration
	cpu  time.Duration // of the whole process, both sorts
}

// load sends one sort of request.
func load(d time.Duration, do func(i int) error) latencies {
	return split(d, func(i int) (int, error) { return 0, do(i) })[0]
}

// split sends two sorts of requests at the rate, whether the ones before were
// answered or not; the time of a request begins when it was due.
func split(d time.Duration, do func(i int) (kind int, err error)) (out [2]latencies) {
	n := int(d.Seconds() * rate)
	var mu sync.Mutex
	var group sync.WaitGroup
	begin, busy := time.Now(), processor()
	for i := range n {
		due := begin.Add(time.Duration(i) * time.Second / rate)
		time.Sleep(time.Until(due)) // real time: this is the load
		group.Go(func() {
			kind, err := do(i)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			out[kind].took = append(out[kind].took, took)
			if err != nil {
				out[kind].errs = append(out[kind].errs, err)
			}
		})
	}
	group.Wait()
	for i := range out {
		out[i].over, out[i].cpu = time.Since(begin), processor()-busy
	}
	return out
}

// processor is the processor time of this process so far.
func processor() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func (l latencies) print(t *testing.T, table *bench.Table, name string, target float64) {
	t.Helper()
	if len(l.errs) > 0 {
		t.Errorf("%s: %d of %d requests failed, first: %v", name, len(l.errs), len(l.took), l.errs[0])
	}
	table.Figure(name+", p99", milliseconds(percentile(l.took, 99)), "ms", target)
}

// printFlood prints a load that may be more than the hub takes.
func (l latencies) printFlood(table *bench.Table, name string, target float64) {
	table.Figure(name+", p99", milliseconds(percentile(l.took, 99)), "ms", target)
	table.Figure("    processor time of a page, client included", milliseconds(l.cpu)/float64(max(1, len(l.took)-len(l.errs))), "ms", bench.None)
	table.Figure("    answered, the others were sent away with 429", float64(len(l.took)-len(l.errs))/l.over.Seconds(), "1/s", bench.None)
}
