// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

const varCanary = "CANARY-variable-5d1e"

func variable(name string, more object) object {
	v := object{"name": name, "displayName": name}
	maps.Copy(v, more)
	return v
}

// secretProfile is an add-on with a sensitive variable.
func secretProfile(name string) object {
	b := addonBody(name)
	b["spec"].(object)["variables"] = []any{
		variable("token", object{"isSensitive": true, "defaultValue": varCanary}), variable("port", object{"format": "number", "defaultValue": "80"}),
	}
	return b
}

func TestSensitiveVariables(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	uid := h.want(http.StatusCreated, "POST", "/v1/clusterprofiles", secretProfile("s")).uid(t)
	path := "/v1/clusterprofiles/" + uid
	vars := path + "/variables"
	reader := h.key("reader", h.project, false)
	holds := func(a answer, want bool) {
		t.Helper()
		if strings.Contains(string(a.body), varCanary) != want {
			t.Errorf("the secret is told: %t, want %t: %s", !want, want, a.body)
		}
	}
	holds(h.want(http.StatusOK, "GET", vars, nil), true)
	if a := h.send("GET", vars, nil, "ApiKey", reader); a.status == http.StatusOK {
		holds(a, false)
	}
	for _, other := range []string{path, path + "/export", path + "/packs", "/v1/dashboard/clusterprofiles/" + uid} {
		holds(h.want(http.StatusOK, "GET", other, nil), false)
	}
	var p lazuli.Profile
	if err := h.store.Get(t.Context(), uid, &p); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(p)
	if err != nil || strings.Contains(string(raw), varCanary) {
		t.Errorf("stored in clear: %s, %v", raw, err)
	}
	// Another variable changes: the secret stays.
	h.want(http.StatusNoContent, "PATCH", vars, object{"variables": []any{variable("port", object{"format": "number", "defaultValue": "81"}), variable("new", nil)}})
	a := h.want(http.StatusOK, "GET", vars, nil)
	holds(a, true)
	var got wire.Variables
	a.json(t, &got)
	if len(got.Variables) != 3 || got.Variables[1].DefaultValue != "81" || got.Variables[2].Name != "new" {
		t.Errorf("%+v", got)
	}
	// So it does when a client sends the mask back.
	h.want(http.StatusNoContent, "PUT", vars, object{"variables": []any{variable("token", object{"isSensitive": true, "defaultValue": "********"})}})
	holds(h.want(http.StatusOK, "GET", vars, nil), true)
	clone := h.want(http.StatusCreated, "POST", path+"/clone", object{"metadata": object{"name": "s", "version": "2.0.0"}}).uid(t)
	holds(h.want(http.StatusOK, "GET", "/v1/clusterprofiles/"+clone+"/variables", nil), true)
	h.want(http.StatusNoContent, "DELETE", vars, object{"variables": []any{"token", "none"}})
	holds(h.want(http.StatusOK, "GET", vars, nil), false)
	h.want(http.StatusBadRequest, "PUT", vars, object{"variables": []any{variable("x", object{"format": "ipv4", "defaultValue": "x"})}})
}

func TestUndefinedVariable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := secretProfile("s")
	set(t, b, "spec.template.packs[0].manifests[0].content", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: '{{.spectro.var.name}}'")
	e := w.want(http.StatusBadRequest, "POST", "/v1/clusterprofiles", b).err(t)
	if e.Code != "PackVariablesUndefined" || !strings.Contains(e.Message, `"name"`) || !strings.Contains(e.Message, `"extra"`) {
		t.Errorf("%+v", e)
	}
	set(t, b, "spec.variables[1]", variable("name", object{"required": true}))
	uid := w.want(http.StatusCreated, "POST", "/v1/clusterprofiles?publish=true", b).uid(t)
	// Terraform changes the variables first, so this is let through until the
	// profile is used.
	path := "/v1/clusterprofiles/" + uid
	body := w.body()
	profiles := []any{object{"uid": w.profile}, object{"uid": uid, "variables": []any{object{"name": "token", "value": varCanary}}}}
	set(t, body, "spec.profiles", profiles)
	if e := w.want(http.StatusBadRequest, "POST", "/v1/spectroclusters/azure", body).err(t); !strings.Contains(e.Message, "required") {
		t.Errorf("%+v", e)
	}
	profiles[1].(object)["variables"] = []any{object{"name": "token", "value": varCanary}, object{"name": "name", "value": "shop"}}
	cluster := w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", body).uid(t)
	var c lazuli.Cluster
	if err := w.store.Get(t.Context(), cluster, &c); err != nil {
		t.Fatal(err)
	}
	if raw, err := json.Marshal(c.Profiles); err != nil || strings.Contains(string(raw), varCanary) || !strings.Contains(string(raw), "spectro.var.name") {
		t.Errorf("a value is stored in clear, or an expression resolved: %s", raw)
	}
	w.want(http.StatusNoContent, "PUT", path+"/variables", object{"variables": []any{}})
	if e := w.want(http.StatusBadRequest, "PATCH", path+"/publish", nil).err(t); e.Code != "PackVariablesUndefined" {
		t.Errorf("%+v", e)
	}
}

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	uid := h.want(http.StatusCreated, "POST", "/v1/clusterprofiles", h.profileBody("infra")).uid(t)
	path := "/v1/clusterprofiles/" + uid
	export := h.want(http.StatusOK, "GET", path+"/export", nil).body
	h.want(http.StatusOK, "GET", path+"/export?format=yaml", nil)
	h.want(http.StatusBadRequest, "GET", path+"/export?format=xml", nil)
	h.want(http.StatusConflict, "POST", "/v1/clusterprofiles/import", export)
	h.want(http.StatusConflict, "GET", "/v1/clusterprofiles/validate/name?name=infra&version=1.0.0", nil)
	h.want(http.StatusNoContent, "GET", "/v1/clusterprofiles/validate/name?name=infra&version=1.1.0", nil)
	other := strings.Replace(string(export), `"version": "1.0.0"`, `"version": "1.1.0"`, 1)
	h.want(http.StatusOK, "POST", "/v1/clusterprofiles/import/validate", other)
	copied := h.want(http.StatusCreated, "POST", "/v1/clusterprofiles/import?publish=true", other).uid(t)
	var was, is palette.ClusterProfile
	h.want(http.StatusOK, "GET", path, nil).json(t, &was)
	h.want(http.StatusOK, "GET", "/v1/clusterprofiles/"+copied, nil).json(t, &is)
	if len(is.Spec.Versions) != 2 || !is.Status.IsPublished {
		t.Errorf("%+v", is)
	}
	for i, p := range was.Spec.Published.Packs {
		if q := is.Spec.Published.Packs[i]; p.Name != q.Name || p.Tag != q.Tag || p.Values != q.Values || p.PackUID != q.PackUID {
			t.Errorf("%+v became %+v", p, q)
		}
	}
	var found palette.List[wire.ClusterProfileSummary]
	h.want(http.StatusOK, "POST", "/v1/dashboard/clusterprofiles", object{"filter": object{"profileName": object{"eq": "infra"}}, "sort": nil}).json(t, &found)
	if len(found.Items) != 2 {
		t.Errorf("%d found", len(found.Items))
	}
	var bulk wire.BulkDeleteResponse
	h.want(http.StatusOK, "DELETE", "/v1/clusterprofiles/bulk", object{"uids": []any{uid, copied, "none"}}).json(t, &bulk)
	if bulk.DeletedCount != 2 || len(bulk.Failures) != 1 || bulk.IsSucceeded {
		t.Errorf("%+v", bulk)
	}
}

func TestStaleUIDAndManifestsByName(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	b := addonBody("hello")
	l := h.layer("hello-universe", "1.2.0")
	packs := []any{l, b["spec"].(object)["template"].(object)["packs"].([]any)[0]}
	set(t, b, "spec.template.packs", packs)
	uid := h.want(http.StatusCreated, "POST", "/v1/clusterprofiles?publish=true", b).uid(t)
	path := "/v1/clusterprofiles/" + uid
	var was, is palette.ClusterProfile
	h.want(http.StatusOK, "GET", path, nil).json(t, &was)
	l["tag"] = "1.1.0"
	set(t, b, "metadata.uid", uid)
	h.want(http.StatusNoContent, "PUT", path, b)
	h.want(http.StatusNoContent, "PATCH", path+"/publish", nil)
	h.want(http.StatusOK, "GET", path, nil).json(t, &is)
	p, q := was.Spec.Published.Packs, is.Spec.Published.Packs
	if q[0].Tag != "1.1.0" || q[0].PackUID == p[0].PackUID {
		t.Errorf("the old uid won: %+v", q[0])
	}
	if p[1].Manifests[0].UID != q[1].Manifests[0].UID {
		t.Error("a manifest of the same name got another uid")
	}
}

func TestMacros(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	list := func(pairs ...string) object {
		out := []any{}
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, object{"name": pairs[i], "value": pairs[i+1]})
		}
		return object{"macros": out}
	}
	var tenant lazuli.Tenant
	if err := h.store.ByUnique(t.Context(), lazuli.TenantUnique, &tenant); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/projects/" + h.project + "/macros", "/v1/tenants/" + tenant.UID + "/macros"} {
		text := func() (out string) {
			var m wire.Macros
			h.want(http.StatusOK, "GET", path, nil).json(t, &m)
			for _, x := range m.Macros {
				out += x.Name + "=" + x.Value + " "
			}
			return out
		}
		for _, step := range []struct {
			method string
			body   object
			status int
			want   string
		}{
			{"POST", list("b", "1", "a", "2"), 204, "b=1 a=2 "},
			{"POST", list("c", "3", "a", "4"), 422, "b=1 a=2 "},
			{"PATCH", list("a", "5"), 204, "b=1 a=5 "},
			{"PATCH", list("x", "5"), 404, "b=1 a=5 "},
			{"PUT", list("d", "6", "a", "7"), 204, "d=6 a=7 "},
			{"PUT", list("d", "6", "d", "7"), 400, "d=6 a=7 "},
			{"PUT", list("d", "{{.spectro.macro.a}}"), 400, "d=6 a=7 "},
			{"PUT", list("a b", "1"), 400, "d=6 a=7 "},
			{"DELETE", list("d", "whatever", "none", ""), 204, "a=7 "},
			{"DELETE", list("a", ""), 204, ""},
		} {
			h.want(step.status, step.method, path, step.body)
			if got := text(); got != step.want {
				t.Errorf("%s %v: %q, want %q", step.method, step.body, got, step.want)
			}
		}
	}
	h.want(http.StatusNotFound, "GET", "/v1/tenants/"+h.project+"/macros", nil)
	h.want(http.StatusNotFound, "GET", "/v1/projects/"+tenant.UID+"/macros", nil)
}
