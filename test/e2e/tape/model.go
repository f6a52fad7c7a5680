// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/lazuli-dev/lazuli/internal/contract"
)

// Exchange is one request and its answer.
type Exchange struct {
	Method, Path, Query string
	Project             string // the header ProjectUid
	Sent                []byte
	Status              int
	Header              http.Header
	Got                 []byte
}

// Fault is one thing that an answer breaks.
type Fault struct {
	Operation string
	Message   string
}

func (f Fault) String() string { return f.Operation + ": " + f.Message }

// Model remembers what was written and judges what is read. It may be used
// concurrently as long as nobody reads what another is just writing.
type Model struct {
	mu        sync.Mutex
	patterns  []operation
	rules     map[string]rule
	accounts  map[string]any // as they were last written, by uid
	profiles  map[string]*profile
	clusters  map[string]*cluster
	configs   map[string]string // uid of a cloud config to its cluster's
	projects  map[string]any
	macros    map[string]list     // by project
	packTags  map[string][]string // what a pack's uid stands for
	packNames map[string]bool     // that a list showed
	manifests map[string]string   // uid by name, as last read
}

// rule is what the model knows of an operation; both parts are for successes.
type rule struct {
	read    func(*look) // judges the answer
	written func(*look) // remembers what was written
}

// look is a successful exchange on its way through the rules.
type look struct {
	*Model
	operation string
	vars      map[string]string
	query     url.Values
	project   string
	sent, got any
	header    http.Header
	raw       []byte
	faults    []Fault
}

// NewModel returns a model of a hub of which nothing is known yet. Objects that
// were made before, or behind its back, are held to what they need to have, not
// to what was written.
func NewModel() *Model {
	m := &Model{
		rules: map[string]rule{}, accounts: map[string]any{}, profiles: map[string]*profile{}, clusters: map[string]*cluster{},
		configs: map[string]string{}, projects: map[string]any{}, macros: map[string]list{}, packTags: map[string][]string{}, manifests: map[string]string{}, packNames: map[string]bool{},
	}
	for _, op := range contract.Operations() {
		m.patterns = append(m.patterns, operation{op.Method, strings.Split(op.Path, "/"), op.ID})
	}
	for _, table := range []map[string]rule{accountRules(), packRules(), profileRules(), clusterRules(), dayTwoRules(), configRules(), projectRules()} {
		maps.Copy(m.rules, table)
	}
	return m
}

// Operation names the operation of a path of Palette's API, "" for none.
func (m *Model) Operation(method, path string) string {
	op, _ := m.find(method, path)
	return op
}

type operation struct {
	method  string
	pattern []string
	id      string
}

func (m *Model) find(method, path string) (id string, vars map[string]string) {
	parts, best := strings.Split(path, "/"), -1
	for _, op := range m.patterns {
		if op.method != method || len(op.pattern) != len(parts) {
			continue
		}
		literal, got := 0, map[string]string{}
		for i, p := range op.pattern {
			switch {
			case strings.HasPrefix(p, "{"):
				got[strings.Trim(p, "{}")] = parts[i]
			case p == parts[i]:
				literal++
			default:
				literal = -len(parts)
			}
		}
		if literal > best {
			id, vars, best = op.id, got, literal
		}
	}
	return id, vars
}

// Observe judges an exchange and remembers what it wrote.
func (m *Model) Observe(e *Exchange) []Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, vars := m.find(e.Method, e.Path)
	l := &look{Model: m, operation: id, vars: vars, project: e.Project, header: e.Header, raw: e.Got}
	var err error
	if l.query, err = url.ParseQuery(e.Query); err != nil {
		l.fault("the query cannot be read: %v", err)
	}
	kind, _, _ := strings.Cut(e.Header.Get("Content-Type"), ";")
	if kind == "application/json" {
		if l.got, err = parse(e.Got); err != nil {
			l.fault("the answer says that it is JSON, and is not: %v", err)
		}
	}
	if l.sent, err = parse(e.Sent); err != nil {
		return l.faults // not what a model learns from
	}
	switch {
	case e.Status >= http.StatusBadRequest:
		l.refused(e.Status)
	case e.Status == http.StatusNoContent && len(e.Got) > 0:
		l.fault("204 has a body")
	default:
		r := m.rules[id]
		if r.read != nil {
			r.read(l)
		}
		switch {
		case r.written != nil:
			r.written(l)
		case r.read == nil && e.Method != http.MethodGet:
			l.forget()
		}
	}
	return l.faults
}

// refused judges an error, which the client reads by code: see wire rules 6 to
// 8. It repeats what is above 500, so that only an outage may be that.
func (l *look) refused(status int) {
	code := text(l.got, "code")
	if code == "" || text(l.got, "message") == "" {
		l.fault("an error has no code or no message: %s", show(l.got))
	}
	if status == http.StatusNotFound && code != "ResourceNotFound" && code != "BackupNotConfigured" && code != "RouteNotFound" {
		l.fault("404 with the code %q is not taken for absence", code)
	}
	if status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable {
		l.fault("status %d", status)
	}
}

// forget drops what is known of an object that an operation may have changed,
// of which the model knows nothing.
func (l *look) forget() {
	for _, uid := range l.vars {
		if c := l.configs[uid]; c != "" {
			uid = c
		}
		delete(l.accounts, uid)
		delete(l.profiles, uid)
		delete(l.clusters, uid)
		delete(l.projects, uid)
		delete(l.macros, uid)
	}
}

// remember keeps what a creation made. One that is repeated after a lost answer
// makes nothing: what is there may have moved on.
func remember[T any](all map[string]T, uid string, v T) {
	if _, there := all[uid]; !there {
		all[uid] = v
	}
}

func (l *look) fault(format string, args ...any) {
	l.faults = append(l.faults, Fault{l.operation, fmt.Sprintf(format, args...)})
}

// need names what is absent, without which the client panics or gives up.
func (l *look) need(paths ...string) { l.needIn("", l.got, paths...) }

func (l *look) needIn(where string, v any, paths ...string) {
	for _, p := range paths {
		if at(v, p) == nil {
			l.fault("%s is absent", strings.TrimPrefix(where+"."+p, "."))
		}
	}
}

// want names a value that is another.
func (l *look) want(v any, path string, want any) {
	if got := at(v, path); got != want {
		l.fault("%s is %s, not %s", path, show(got), show(want))
	}
}

func (l *look) differences(d []string) {
	for _, s := range d {
		l.fault("%s", s)
	}
}

// created is the uid of a creation's answer.
func (l *look) created() string {
	l.need("uid")
	return text(l.got, "uid")
}

// labels compares the user's labels, to which a hub adds nothing, and the
// description.
func (l *look) metadata(sent any, description bool) {
	l.want(l.got, "metadata.name", at(sent, "metadata.name"))
	l.differences(echo{}.compare("metadata.labels", at(sent, "metadata.labels"), at(l.got, "metadata.labels")))
	if description {
		const path = "metadata.annotations.description"
		if text(l.got, path) != text(sent, path) {
			l.fault("%s is %q, written was %q", path, text(l.got, path), text(sent, path))
		}
	}
}

// distinct names values at a path that two members of a list share.
func (l *look) distinct(all list, path string) {
	seen := map[string]bool{}
	for _, v := range all {
		name := text(v, path)
		if seen[name] {
			l.fault("two entries have the %s %q", path, name)
		}
		seen[name] = true
	}
}

// Alive lists the uids of the clusters, profiles, accounts and projects that
// were made and not deleted, each sorted.
func (m *Model) Alive() (clusters, profiles, accounts, projects []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, uid := range slices.Sorted(maps.Keys(m.clusters)) {
		if !m.clusters[uid].deleted {
			clusters = append(clusters, uid)
		}
	}
	return clusters, slices.Sorted(maps.Keys(m.profiles)), slices.Sorted(maps.Keys(m.accounts)), slices.Sorted(maps.Keys(m.projects))
}

// manifestUID is the uid that the hub gave to a manifest of a name, as it was
// last read; "" for none.
func (m *Model) manifestUID(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.manifests[name]
}

// networked reports whether a cluster has a network layer, as far as is known.
func (m *Model) networked(uid string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.clusters[uid]
	if c == nil {
		return false
	}
	for _, a := range c.attached {
		for _, p := range a.packs {
			if strings.HasPrefix(text(p, "name"), "cni-") {
				return true
			}
		}
	}
	return false
}

// macrosOf are the macros of a project as they were last written.
func (m *Model) macrosOf(project string) []any {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.macros[project]
}

// roomy reports whether a cluster has a pool that takes any pod.
func (m *Model) roomy(uid string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.clusters[uid]
	if c == nil {
		return true
	}
	for _, p := range c.pools {
		control, _ := at(p, "isControlPlane").(bool)
		works, _ := at(p, "useControlPlaneAsWorker").(bool)
		if (!control || works) && len(items(p, "taints")) == 0 {
			return true
		}
	}
	return false
}

// poolsOf is a cluster's cloud config and the size of each pool, none of a
// cluster that is to go.
func (m *Model) poolsOf(uid string) (config string, sizes map[string]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, c := range m.configs {
		if c == uid {
			config = k
		}
	}
	sizes = map[string]int{}
	if c := m.clusters[uid]; c != nil && !c.deleted {
		for _, p := range c.pools {
			if n, is := at(p, "size").(json.Number); is {
				sizes[text(p, "name")], _ = strconv.Atoi(n.String())
			}
		}
	}
	return config, sizes
}
