// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/internal/api"
)

// fuzzed are the routes that read a body; {x} is a uid that is there.
func fuzzed(w *world, cluster string) []struct{ method, path string } {
	return []struct{ method, path string }{
		{"POST", "/v1/clouds/azure/account/validate"},
		{"POST", "/v1/cloudaccounts/azure"},
		{"PUT", "/v1/cloudaccounts/azure/" + w.account},
		{"POST", "/v1/clusterprofiles"},
		{"PUT", "/v1/clusterprofiles/" + w.profile},
		{"PATCH", "/v1/clusterprofiles/" + w.profile + "/metadata"},
		{"POST", "/v1/spectroclusters/azure"},
		{"POST", "/lazuli/v1/clusters/plan"},
		{"POST", "/v1/dashboard/spectroclusters/search"},
		{"POST", "/v1/packs/search"},
		{"GET", "/v1/spectroclusters/" + cluster},
	}
}

// FuzzBodies sends a body to every route that reads one: none may fail on our
// side, and every refusal must be one that clients can read.
func FuzzBodies(f *testing.F) {
	w := newWorld(f, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e9, 1e9 })
	cluster := w.create("prod")
	for _, seed := range []any{
		w.body(), accountBody("fuzz", "project"), accountBody("fuzz", "tenant")["spec"], w.profileBody("fuzz"), addonBody("fuzz"),
		json.RawMessage(searchByName("x")), json.RawMessage(terraformPackSearch("x")),
	} {
		b, err := json.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		for _, junk := range []string{`null`, `{}`, `[]`, `""`, `-1`, `1e400`, `true`, `[null]`, `{"a":null}`} {
			f.Add([]byte(strings.Replace(string(b), `{"`, `{"zz":`+junk+`,"`, 1)))
			if i := bytes.LastIndexByte(b, ':'); i > 0 {
				f.Add([]byte(string(b)[:i+1] + junk + strings.TrimLeft(string(b)[i+1:], `"abcdefghijklmnopqrstuvwxyz0123456789.{}[]:,`)))
			}
		}
		// Every member in turn as null: nothing may be dereferenced unseen.
		for _, variant := range nulls(seed) {
			f.Add(variant)
		}
	}
	f.Add([]byte(`{"spec":{"machinepoolconfig":[null,{}],"profiles":[null],"cloudConfig":{}}}`))
	f.Add([]byte(`{"filter":{"filterGroups":[null,{"filters":[null,{"property":"isDeleted","condition":{}}]}]},"sort":[null]}`))
	f.Add([]byte("{\"a\":\"\\ud800\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		w.t = t
		w.answers.Reset()
		for _, r := range fuzzed(w, cluster) {
			a := w.send(r.method, r.path, body)
			if a.status >= http.StatusInternalServerError {
				t.Fatalf("%s %s: status %d: %s", r.method, r.path, a.status, a.body)
			}
			if a.status >= http.StatusBadRequest {
				a.err(t)
			}
		}
	})
}

// nulls returns seed with each of its members, one at a time, as null.
func nulls(seed any) [][]byte {
	b, err := json.Marshal(seed)
	if err != nil {
		return nil
	}
	var root any
	if json.Unmarshal(b, &root) != nil {
		return nil
	}
	var out [][]byte
	var walk func(v any)
	emit := func() {
		if b, err := json.Marshal(root); err == nil {
			out = append(out, b)
		}
	}
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, old := range v {
				v[k] = nil
				emit()
				v[k] = old
				walk(old)
			}
		case []any:
			for i, old := range v {
				v[i] = nil
				emit()
				v[i] = old
				walk(old)
			}
		}
	}
	walk(root)
	return out
}

// FuzzPaths sends paths and queries.
func FuzzPaths(f *testing.F) {
	w := newWorld(f, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e9, 1e9 })
	cluster := w.create("prod")
	for _, p := range []string{
		"/v1/spectroclusters/" + cluster + "/assets/kubeconfig?frp=true", "/v1/packs?filters=ANDANDspec.name=&limit=50",
		"/v1/packs?filters=spec.name_in_", "/v1/spectroclusters?limit=99999999999", "/v1/spectroclusters?continue=%00",
		"/v1/cloudconfigs/azure/%ff/machinePools/%00/machines", "/lazuli/v1/clusters/" + cluster + "/graph?format=",
		"/v1/events/components/spectrocluster/" + cluster + "?continue=zz&offset=7&limit=0", "/v1/cloudaccounts/azure?offset=2147483647",
		"/v1/dashboard/spectroclusters//overview", "/v1/spectroclusters/" + cluster + "?forceDelete=%F0%28%8C%28",
		"/lazuli/v1/clusters/" + cluster + "/events?limit=1",
	} {
		for _, m := range []string{"GET", "DELETE", "PATCH"} {
			f.Add(m, p)
		}
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		if strings.HasSuffix(path, "/watch") || !strings.HasPrefix(path, "/") {
			return
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://hub"+path, http.NoBody)
		if err != nil || strings.ContainsFunc(req.URL.RequestURI(), func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return // no client could send it
		}
		w.t = t
		w.answers.Reset()
		if a := w.send(req.Method, req.URL.RequestURI(), nil); a.status >= http.StatusInternalServerError {
			t.Fatalf("%s %s: status %d: %s", method, path, a.status, a.body)
		}
	})
}

// TestLongLists bounds what a huge but well-formed body costs.
func TestLongLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	many := func(one string, n int) string { return "[" + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + "]" }
	for reason, body := range map[string]string{
		"pools":    `{"metadata":{"name":"a"},"spec":{"cloudConfig":{},"machinepoolconfig":` + many("{}", 200000) + `}}`,
		"profiles": `{"metadata":{"name":"a"},"spec":{"cloudConfig":{},"profiles":` + many("{}", 200000) + `}}`,
		"zones": `{"metadata":{"name":"a"},"spec":{"machinepoolconfig":[{"cloudConfig":{"azs":` + many(`"1"`, 200000) +
			`}}]}}`,
	} {
		a := w.want(http.StatusBadRequest, "POST", "/v1/spectroclusters/azure", body)
		if len(a.body) > 64<<10 {
			t.Errorf("%s: the answer has %d bytes", reason, len(a.body))
		}
	}
	var b strings.Builder
	for i := range 60000 {
		b.WriteString(`"key` + strconv.Itoa(i) + `":1,`)
	}
	w.want(http.StatusBadRequest, "POST", "/v1/spectroclusters/azure", "{"+strings.TrimSuffix(b.String(), ",")+"}")
}
