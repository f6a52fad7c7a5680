// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/test/lab"
)

// Variables, macros and pack references are resolved in what the cluster gets,
// and nowhere else; a macro that changes reaches it.
func TestExpressions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 31)
		l.Start()
		defer l.Stop()
		macro := &lazuli.Macros{
			Meta: lazuli.Meta{UID: strings.Repeat("c", 24), Name: "macros", Project: lab.Project}, Macros: []lazuli.Macro{{Name: "greeting", Value: "hello"}},
		}
		put := func(write func(store.Tx) error) {
			t.Helper()
			if err := l.Store.Update(t.Context(), write); err != nil {
				t.Fatal(err)
			}
		}
		put(func(tx store.Tx) error { return tx.Create(t.Context(), macro) })
		uid := l.Create("words", 1, 1)
		const manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words, namespace: default}\ndata:\n" +
			"  macro: '{{ .spectro.macro.greeting }}'\n  variable: \"{{.spectro.var.port}}\"\n  cluster: '{{ .spectro.system.cluster.name }}'\n" +
			"  version: '{{ .spectro.system.kubernetes.version }}'\n  cidr: '{{ .spectro.pack.kubernetes.pack.podCIDR }}'\n"
		l.Change(uid, func(c *lazuli.Cluster) {
			c.Profiles = append(c.Profiles, lazuli.ProfileSnapshot{
				UID: strings.Repeat("d", 24), Name: "words", Type: "add-on", CloudType: "all", ProfileVersion: "1.0.0",
				Layers:    []lazuli.Layer{{Name: "words", Type: "manifest", Layer: "addon", Manifests: []lazuli.Manifest{{Name: "m", Content: manifest}}}},
				Variables: json.RawMessage(`[{"name":"port","format":"number","defaultValue":"80"}]`),
				Values:    []lazuli.VariableValue{{Name: "port", Value: "8080"}},
			})
		})
		l.Until(uid, lazuli.StateRunning, 30*time.Minute)
		var got struct {
			Data map[string]string `json:"data"`
		}
		read := func() map[string]string {
			got.Data = nil
			l.Kube(uid, http.MethodGet, "/api/v1/namespaces/default/configmaps/words", nil, &got)
			return got.Data
		}
		l.When(uid, "the words", time.Hour, func() bool { return read()["macro"] == "hello" })
		if d := read(); d["variable"] != "8080" || d["cluster"] != "words" || !strings.HasPrefix(d["version"], "1.") || !strings.Contains(d["cidr"], "/") {
			t.Errorf("%v", d)
		}
		put(func(tx store.Tx) error {
			macro.Macros[0].Value = "good day"
			if err := tx.Update(t.Context(), macro); err != nil {
				return err
			}
			return tx.Touch(t.Context(), store.WorkKey{Kind: lazuli.KindCluster, ID: uid}, time.Time{})
		})
		l.When(uid, "the other word", time.Hour, func() bool { return read()["macro"] == "good day" })
		if raw, err := json.Marshal(l.Cluster(uid)); err != nil || !strings.Contains(string(raw), ".spectro.macro.greeting") || strings.Contains(string(raw), "good day") {
			t.Errorf("what is deployed was stored: %v %s", err, raw)
		}
	})
}
