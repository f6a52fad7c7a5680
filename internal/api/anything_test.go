// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/contract"
)

// form is what the contract document says of a value.
type form struct {
	Ref                  string          `json:"$ref"`
	Type                 string          `json:"type"`
	Format               string          `json:"format"`
	Enum                 []string        `json:"enum"`
	Properties           map[string]form `json:"properties"`
	Required             []string        `json:"required"`
	Items                *form           `json:"items"`
	AdditionalProperties *form           `json:"additionalProperties"`
}

type routeForm struct {
	ID         string `json:"operationId"`
	Parameters []struct {
		Ref, Name, In string
		Schema        form
	} `json:"parameters"`
	RequestBody *struct {
		Content map[string]struct {
			Schema form `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

// forms is the contract document, as far as requests can be made from it.
type forms struct {
	Paths      map[string]map[string]routeForm `json:"paths"`
	Components struct {
		Schemas map[string]form `json:"schemas"`
	} `json:"components"`
}

func readForms(t testing.TB) *forms {
	t.Helper()
	var f forms
	if err := yaml.Unmarshal(contract.Document(), &f); err != nil {
		t.Fatal(err)
	}
	return &f
}

// maker makes requests that look like the document's, and are wrong somewhere.
type maker struct {
	*forms
	r     *rand.Rand
	known []string // uids and names that are there
	fits  []fit
	// samples are bodies that would be accepted, by operation.
	samples map[string][]any
	evil    float64 // share of the values that are of another kind
}

// fit is a value for a parameter of paths that start so; no name is for all.
type fit struct{ prefix, name, value string }

const deepest = 9

func (m *maker) value(f form, depth int) any {
	for f.Ref != "" {
		f = m.Components.Schemas[f.Ref[strings.LastIndexByte(f.Ref, '/')+1:]]
	}
	if m.r.Float64() < m.evil {
		return m.junk()
	}
	if depth > deepest {
		return nil
	}
	switch {
	case len(f.Properties) > 0:
		o := object{}
		for _, name := range slices.Sorted(maps.Keys(f.Properties)) {
			if slices.Contains(f.Required, name) || m.r.IntN(3) > 0 {
				o[name] = m.value(f.Properties[name], depth+1)
			}
		}
		return o
	case f.Type == "array" && f.Items != nil:
		list := make([]any, m.r.IntN(4))
		for i := range list {
			list[i] = m.value(*f.Items, depth+1)
		}
		return list
	case f.AdditionalProperties != nil:
		return object{m.text(): m.value(*f.AdditionalProperties, depth+1)}
	case f.Type == "integer":
		return []any{0, 1, 3, -1, 60, 1 << 40}[m.r.IntN(6)]
	case f.Type == "number":
		return []any{0, 0.5, -1, 1e300}[m.r.IntN(4)]
	case f.Type == "boolean":
		return m.r.IntN(2) == 0
	case len(f.Enum) > 0:
		return f.Enum[m.r.IntN(len(f.Enum))]
	case f.Format == "date-time":
		return []any{"0001-01-01T00:00:00.000Z", "2026-11-22T12:00:00Z", "yesterday", ""}[m.r.IntN(4)]
	default:
		return m.text()
	}
}

func (m *maker) text() string {
	switch m.r.IntN(9) {
	case 0:
		return ""
	case 1:
		return strings.Repeat("ü", 5000)
	case 2:
		return "\u202e\U0001f4a9\u0000"[:m.r.IntN(2)*3] + "x"
	case 3:
		return "a: [b\n  - {{.spectro.var.x}} {{"
	default:
		return m.known[m.r.IntN(len(m.known))]
	}
}

func (m *maker) junk() any {
	deep := any("bottom")
	for range 70 {
		deep = []any{deep}
	}
	return []any{
		nil, true, -1, 1.5, "text", []any{}, object{}, []any{nil}, object{"a": nil}, strings.Repeat("x", 70000),
		json.Number("1e400"), json.Number("123456789012345678901234567890"), deep, object{"metadata": []any{object{}}},
	}[m.r.IntN(14)]
}

var pathParameter = regexp.MustCompile(`\{[^}]+\}`)

// fitting is a value for a parameter of a path with which the request finds
// something.
func (m *maker) fitting(path, name string) string {
	for _, f := range m.fits {
		if strings.HasPrefix(path, f.prefix) && (f.name == "" || f.name == name) {
			return f.value
		}
	}
	return m.known[m.r.IntN(len(m.known))]
}

// spoil copies a good body and puts something else into it, mostly at one place.
func (m *maker) spoil(good any) any {
	b, err := json.Marshal(good)
	if err != nil {
		return nil
	}
	var root any
	if json.Unmarshal(b, &root) != nil {
		return nil
	}
	holder := object{"": root}
	for range m.r.IntN(3) {
		m.replaceOne(holder)
	}
	return holder[""]
}

func (m *maker) replaceOne(v any) {
	switch v := v.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		if len(keys) == 0 {
			return
		}
		k := keys[m.r.IntN(len(keys))]
		if nested(v[k]) && m.r.IntN(6) > 0 {
			m.replaceOne(v[k])
			return
		}
		v[k] = m.junk()
	case []any:
		if len(v) == 0 {
			return
		}
		i := m.r.IntN(len(v))
		if nested(v[i]) && m.r.IntN(6) > 0 {
			m.replaceOne(v[i])
			return
		}
		v[i] = m.junk()
	}
}

func nested(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) > 0
	case []any:
		return len(v) > 0
	default:
		return false
	}
}

// request fills the parameters of a path and makes a query and a body.
func (m *maker) request(path string, op routeForm) (target string, body any) {
	target = pathParameter.ReplaceAllStringFunc(path, func(name string) string {
		switch m.r.IntN(12) {
		case 0:
			return url.PathEscape(m.text() + "x")
		case 1, 2:
			return url.PathEscape(m.known[m.r.IntN(len(m.known))])
		default:
			return url.PathEscape(m.fitting(path, name))
		}
	})
	query := url.Values{}
	for _, p := range op.Parameters {
		if p.In == "query" && m.r.IntN(2) == 0 {
			query.Set(p.Name, fmt.Sprint(m.value(p.Schema, 0)))
		}
	}
	for _, name := range []string{"limit", "offset", "continue", "filters"} {
		if m.r.IntN(8) == 0 {
			query.Set(name, []string{"0", "1", "-1", "50", "x", "99999999999999999999", "\x00", "spec.name=xANDspec.y_in_"}[m.r.IntN(8)])
		}
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	if good := m.samples[op.ID]; len(good) > 0 && m.r.IntN(4) > 0 {
		body = m.spoil(good[m.r.IntN(len(good))])
	} else if op.RequestBody != nil {
		body = m.value(op.RequestBody.Content["application/json"].Schema, 0)
	}
	return target, body
}

// survivor is a hub with a cluster and a maker of requests to it.
func survivor(t *testing.T, seed uint64) (*world, *maker) {
	t.Helper()
	w := newWorld(t, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e9, 1e9 })
	uid := w.create("prod")
	var cl struct {
		Spec struct {
			CloudConfigRef struct{ UID string } `json:"cloudConfigRef"`
		} `json:"spec"`
	}
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid, nil).json(t, &cl)
	config := cl.Spec.CloudConfigRef.UID
	w.model = nil // what is sent now no client sends: the contract alone judges the answers
	m := &maker{forms: readForms(t), r: rand.New(rand.NewPCG(seed, 1)), evil: []float64{0, 0.02, 0.2}[seed%3]}
	m.known = []string{
		w.account, w.profile, w.addon, uid, config, w.project, w.user, "w1", "cp", "azure", "spectrocluster", "kubernetes", "prod",
		"infra", "Standard_D4s_v3", "westeurope", subs, "1.0.0", "no-such-thing", "000000000000000000000000", w.packs.UID(),
	}
	m.fits = []fit{
		{"/v1/spectroclusters/", "{uid}", uid}, {"/lazuli/v1/clusters/", "{uid}", uid}, {"/v1/dashboard/spectroclusters/", "{uid}", uid},
		{"/v1/cloudconfigs/", "{configUid}", config}, {"/v1/cloudconfigs/", "{machinePoolName}", "w1"}, {"/v1/cloudconfigs/", "{cloudType}", "azure"},
		{"/v1/clusterprofiles/", "{uid}", w.profile}, {"/v1/clusterprofiles/", "{packName}", "kubernetes"},
		{"/v1/cloudaccounts/azure/", "{uid}", w.account}, {"/v1/projects/", "{uid}", w.project}, {"/v1/users/", "{uid}", w.user},
		{"/v1/registries/", "{uid}", w.packs.UID()}, {"/v1/packs/", "{packName}", "kubernetes"}, {"/v1/packs/", "{registryUid}", w.packs.UID()},
		{"/v1/events/", "{objectKind}", "spectrocluster"}, {"/v1/notifications/", "{objectKind}", "spectrocluster"},
		{"/v1/events/", "{objectUid}", uid}, {"/v1/notifications/", "{objectUid}", uid},
	}
	body := w.body()
	set(t, body, "metadata.name", "another")
	m.samples = map[string][]any{
		"v1SpectroClustersAzureCreate":               {body},
		"planCluster":                                {body},
		"v1CloudAccountsAzureCreate":                 {accountBody("more", "project"), accountBody("more", "tenant")},
		"v1CloudAccountsAzureUpdate":                 {accountBody("az", "project")},
		"V1AzureAccountValidate":                     {accountBody("more", "project")["spec"]},
		"v1ClusterProfilesCreate":                    {w.profileBody("more"), addonBody("even-more")},
		"v1ClusterProfilesUpdate":                    {w.profileBody("infra"), addonBody("extra")},
		"v1CloudConfigsAzureMachinePoolCreate":       {pool("w2", false, 1), pool("w1", false, 2)},
		"v1CloudConfigsAzureMachinePoolUpdate":       {pool("w1", false, 4), pool("cp", true, 5)},
		"v1SpectroClustersPatchProfiles":             {object{"profiles": []any{object{"uid": w.addon}}, "spcApplySettings": object{"actionType": "DownloadAndInstall"}}},
		"v1SpectroClustersUpdateProfiles":            {object{"profiles": []any{object{"uid": w.profile}, object{"uid": w.addon}}}},
		"v1SpectroClustersDeleteProfiles":            {object{"profileUids": []any{w.addon}}},
		"v1SpectroClustersSearchFilterSummary":       {json.RawMessage(searchByName("prod"))},
		"v1PacksSearch":                              {json.RawMessage(terraformPackSearch("kubernetes"))},
		"v1SpectroClustersUidMetadataUpdate":         {object{"metadata": object{"name": "prod", "labels": object{"a": "b"}, "annotations": object{"description": "x"}}}},
		"v1SpectroClustersUidConfigNamespacesUpdate": {object{"namespaces": []any{object{"metadata": object{"name": "n"}, "spec": object{"resourceAllocation": object{"cpuCores": 2, "memoryMiB": 512}}}}}},
		"v1ProjectsCreate":                           {object{"metadata": object{"name": "p2", "labels": object{"a": "b"}}}},
		"v1UsersCreate":                              {object{"metadata": object{"name": "x"}, "spec": object{"emailId": "x@example.com", "firstName": "X", "lastName": "Y"}}},
		"v1TeamsCreate":                              {object{"metadata": object{"name": "t"}, "spec": object{"users": []any{w.user}}}},
		"v1RolesCreate":                              {object{"metadata": object{"name": "r"}, "spec": object{"scope": "project", "permissions": []any{"cluster.get"}}}},
		"v1ApiKeysCreate":                            {object{"metadata": object{"name": "k"}, "spec": object{"expiry": "2027-01-01T00:00:00Z"}}},
		"v1Authenticate":                             {object{"emailId": "x@example.com", "password": "no"}},
		"v1ProjectsUidMacrosCreate":                  {object{"macros": []any{object{"name": "m", "value": "v"}}}},
	}
	return w, m
}

// survive sends one made-up request to each operation of the document, in an
// order that the seed gives.
func survive(t *testing.T, w *world, m *maker, seed uint64) map[int]int {
	t.Helper()
	doc, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	statuses := map[int]int{}
	ops := doc.Served()
	m.r.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
	for _, op := range ops {
		if op.ID == "watchCluster" {
			continue // a stream without an end
		}
		path, body := m.request(op.Path, m.Paths[op.Path][strings.ToLower(op.Method)])
		header := []string{"ProjectUid", w.project}
		if m.r.IntN(4) == 0 {
			header[1] = []string{"", w.account, "\x7f", "000000000000000000000000"}[m.r.IntN(4)]
		}
		if m.r.IntN(20) == 0 {
			header = append(header, "Content-Type", []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", ";"}[m.r.IntN(4)])
		}
		a := w.send(op.Method, path, body, header...)
		statuses[a.status]++
		if a.status >= http.StatusInternalServerError {
			t.Errorf("seed %d: %s %s: status %d: %s\nbody %.2000v", seed, op.Method, path, a.status, a.body, body)
		}
		if a.status >= http.StatusBadRequest {
			a.err(t)
		}
	}
	return statuses
}

// Whatever is sent to whatever is served, no answer is a failure of ours, and
// each is one that the contract allows.
func TestAnythingSurvives(t *testing.T) {
	t.Parallel()
	total := map[int]int{}
	for seed := range uint64(9) {
		w, m := survivor(t, seed)
		for status, n := range survive(t, w, m, seed) {
			total[status] += n
		}
	}
	t.Logf("answers by status: %v", total)
	if total[http.StatusOK]+total[http.StatusCreated]+total[http.StatusNoContent] < total[http.StatusBadRequest]/20 {
		t.Errorf("hardly anything was accepted: %v", total)
	}
}

// FuzzAnything is TestAnythingSurvives for as long as one likes.
func FuzzAnything(f *testing.F) {
	for seed := range uint64(3) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		w, m := survivor(t, seed)
		survive(t, w, m, seed)
	})
}
