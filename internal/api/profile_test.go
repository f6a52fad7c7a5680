// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

func TestProfileLife(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	body := h.profileBody("infra")
	uid := h.want(http.StatusCreated, "POST", "/v1/clusterprofiles", body).uid(t)
	addon := h.want(http.StatusCreated, "POST", "/v1/clusterprofiles", addonBody("extra")).uid(t)
	path, addonPath := "/v1/clusterprofiles/"+uid, "/v1/clusterprofiles/"+addon
	var p palette.ClusterProfile
	h.want(http.StatusOK, "GET", path, nil).json(t, &p)
	if p.Status.IsPublished || len(p.Spec.Published.Packs) != 4 {
		t.Errorf("before it is published: %+v", p)
	}
	h.want(http.StatusNoContent, "PATCH", path+"/publish", nil)
	h.want(http.StatusNoContent, "PATCH", path+"/publish", nil)
	h.want(http.StatusNoContent, "PATCH", addonPath+"/publish", nil)
	h.want(http.StatusOK, "GET", addonPath, nil).json(t, &p)
	manifest := p.Spec.Published.Packs[0].Manifests[0].UID
	names := map[string]string{uid: "<profile>", addon: "<addon>", h.project: "<project>", manifest: "<manifest>"}
	for _, part := range []struct{ file, path string }{
		{"profile.json", path}, {"profile-variables.json", path + "/variables"}, {"addon.json", addonPath},
		{"addon-variables.json", addonPath + "/variables"}, {"addon-manifests.json", addonPath + "/packs/extra/manifests"},
		{"profiles.json", "/v1/dashboard/clusterprofiles/metadata"},
	} {
		golden(t, part.file, h.want(http.StatusOK, "GET", part.path, nil).body, names)
	}
	h.want(http.StatusNotFound, "GET", addonPath+"/packs/none/manifests", nil)

	// A PUT is a draft until it is published.
	set(t, body, "spec.template.packs[1].values", "pack:\n  podCIDR: 10.1.0.0/16")
	h.want(http.StatusNoContent, "PUT", path, body)
	h.want(http.StatusOK, "GET", path, nil).json(t, &p)
	if v := p.Spec.Published.Packs[1].Values; strings.Contains(v, "10.1.0.0") {
		t.Errorf("a draft is published: %s", v)
	}
	if p.Spec.Draft == nil || !strings.Contains(p.Spec.Draft.Packs[1].Values, "10.1.0.0") {
		t.Errorf("no draft: %+v", p.Spec.Draft)
	}
	h.want(http.StatusNoContent, "PATCH", path+"/metadata", object{
		"metadata": object{"name": "infra2", "labels": object{"a": "b"}, "annotations": object{"description": "new"}},
		"spec":     object{"version": "1.2.0"},
	})
	h.want(http.StatusNoContent, "PATCH", path+"/publish", nil)
	p = palette.ClusterProfile{}
	h.want(http.StatusOK, "GET", path, nil).json(t, &p)
	if p.Metadata.Name != "infra2" || p.Spec.Version != "1.2.0" || !strings.Contains(p.Spec.Published.Packs[1].Values, "10.1.0.0") ||
		cmp.Diff(map[string]string{"a": "b"}, p.Metadata.Labels) != "" {
		t.Errorf("%+v", p)
	}

	// A manifest keeps its uid, and its content when none is sent.
	change := addonBody("extra")
	set(t, change, "spec.template.packs[0].manifests[0].uid", manifest)
	set(t, change, "spec.template.packs[0].manifests[0].content", "")
	h.want(http.StatusNoContent, "PUT", addonPath, change)
	h.want(http.StatusNoContent, "PATCH", addonPath+"/publish", nil)
	var list palette.List[palette.ManifestEntity]
	h.want(http.StatusOK, "GET", addonPath+"/packs/extra/manifests", nil).json(t, &list)
	if list.Items[0].Metadata.UID != manifest || !strings.Contains(list.Items[0].Spec.Published.Content, "Namespace") {
		t.Errorf("%+v", list)
	}
	h.want(http.StatusNoContent, "DELETE", addonPath, nil)
	h.want(http.StatusNotFound, "GET", addonPath, nil)
	h.want(http.StatusNotFound, "DELETE", addonPath, nil)
}

// Terraform sends the new tag with the old uid when a user bumps a tag.
func TestTagOverrulesStaleUID(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	body := h.profileBody("infra")
	old := h.layer("kubernetes", "1.36.6")
	newer := h.layer("kubernetes", "1.37.2")
	set(t, body, "spec.template.packs[1].uid", old["uid"])
	set(t, body, "spec.template.packs[1].tag", "1.37.2")
	uid := h.want(http.StatusCreated, "POST", "/v1/clusterprofiles", body).uid(t)
	var p palette.ClusterProfile
	h.want(http.StatusOK, "GET", "/v1/clusterprofiles/"+uid, nil).json(t, &p)
	if got := p.Spec.Published.Packs[1]; got.PackUID != newer["uid"] || got.Tag != "1.37.2" {
		t.Errorf("%+v", got)
	}
}

func TestBadProfiles(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	packs := "spec.template.packs"
	for _, tt := range []bad{
		{"no name", "metadata.name", "", ""},
		{"no metadata", "metadata", nil, ""},
		{"no template", "spec.template", nil, ""},
		{"no spec", "spec", remove{}, "spec.template"},
		{"a version with a v", "spec.version", "v1.2.0", ""},
		{"a version of two parts", "spec.version", "1.2", ""},
		{"another cloud", "spec.template.cloudType", "aws", ""},
		{"an infrastructure for all clouds", "spec.template.cloudType", "all", ""},
		{"a type that is none", "spec.template.type", "magic", ""},
		{"no packs", packs, []any{}, ""},
		{"null packs", packs, nil, ""},
		{"a pack that is not there", packs + "[0].name", "windows", ""},
		{"a version that is not there", packs + "[1].tag", "9.9.9", ""},
		{"a registry that is not there", packs + "[1].registryUid", "x", ""},
		{"a pack of Helm without a registry", packs + "[3].type", "helm", packs + "[3].registryUid"},
		{"values that are no YAML", packs + "[1].values", "a: [", ""},
		{"an expression that is none", packs + "[1].values", "pack:\n  podCIDR: '{{.spectro.macro}}'", ""},
		{"values of the wrong kind", packs + "[1].values", "pack:\n  podCIDR: 5", packs + "[1].values.pack.podCIDR"},
		{"a layer twice", packs + "[3].name", "kubernetes", ""},
		{"variables that are no list", "spec.variables", object{}, ""},
		{"a variable without a name", "spec.variables", []any{object{}}, "spec.variables[0].name"},
		{"a variable twice", "spec.variables", []any{object{"name": "a"}, object{"name": "a"}}, "spec.variables[1].name"},
		{"a variable's format that is none", "spec.variables", []any{object{"name": "a", "format": "date"}}, "spec.variables[0].format"},
		{"a variable's expression that is none", "spec.variables", []any{object{"name": "a", "regex": "("}}, "spec.variables[0].regex"},
		{"an immutable variable without a value", "spec.variables", []any{object{"name": "a", "immutable": true}}, "spec.variables[0].defaultValue"},
	} {
		b := h.profileBody("infra")
		set(t, b, tt.path, tt.value)
		field := tt.field
		if field == "" {
			field = tt.path
		}
		a := h.send("POST", "/v1/clusterprofiles", b)
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: status %d: %s", tt.reason, a.status, a.body)
			continue
		}
		if e := a.err(t); e.Code != "InvalidField" || !slices.ContainsFunc(paths(e), func(p string) bool { return strings.HasPrefix(p, field) }) {
			t.Errorf("%s: names %v: %s", tt.reason, paths(e), e.Message)
		}
	}
	manifest := addonBody("x")
	set(t, manifest, packs+"[0].manifests[0].content", "not: [yaml")
	if e := h.want(400, "POST", "/v1/clusterprofiles", manifest).err(t); !slices.Contains(paths(e), packs+"[0].manifests[0].content") {
		t.Errorf("%+v", e)
	}
	if n := h.counts()[lazuli.KindProfile]; n != 0 {
		t.Errorf("%d profiles were stored", n)
	}
	uid := h.want(201, "POST", "/v1/clusterprofiles", addonBody("x")).uid(t)
	b := addonBody("x")
	set(t, b, "spec.template.type", "infra")
	h.want(400, "PUT", "/v1/clusterprofiles/"+uid, b)
	b = addonBody("x")
	set(t, b, packs+"[0].manifests[0].uid", "unknown")
	h.want(400, "PUT", "/v1/clusterprofiles/"+uid, b)
	h.want(400, "PATCH", "/v1/clusterprofiles/"+uid+"/metadata", object{})
}

func TestPacks(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	count := func(filters string) int {
		t.Helper()
		var l palette.List[palette.PackSummary]
		h.want(200, "GET", "/v1/packs?limit=0&filters="+url.QueryEscape(filters), nil).json(t, &l)
		return len(l.Items)
	}
	k8s := h.layer("kubernetes", "1.37.2")
	uid := k8s["uid"].(string)
	for filter, want := range map[string]int{
		"spec.name=kubernetesANDspec.version=1.37.2":                                1,
		"spec.name=kubernetesANDspec.version=1.37.2ANDspec.cloudTypes_in_azure,all": 1,
		"metadata.uid=" + uid: 1,
		"spec.name=kubernetesANDspec.registryUid=" + h.packs.UID() + "ANDspec.version=1.37.2": 1,
		"spec.name=none": 0,
		"spec.name=kubernetesANDspec.cloudTypes_in_aws": 0,
		"": len(h.packs.Packs()),
	} {
		if got := count(filter); got != want {
			t.Errorf("%q: %d packs, want %d", filter, got, want)
		}
	}
	var found palette.List[palette.PackMetadata]
	h.want(200, "POST", "/v1/packs/search?limit=50", terraformPackSearch("csi-azure")).json(t, &found)
	if len(found.Items) != 1 || len(found.Items[0].Spec.Registries) != 1 || found.Items[0].Spec.Registries[0].LatestVersion == "" {
		t.Errorf("%+v", found)
	}
	for name, filter := range map[string]string{
		"begins": `{"filter":{"name":{"beginsWith":"KUBE"}}}`, "contains": `{"filter":{"name":{"contains":"bernet"}}}`,
		"layer": `{"filter":{"layer":["k8s"]}}`,
	} {
		h.want(200, "POST", "/v1/packs/search", filter).json(t, &found)
		if len(found.Items) != 1 || found.Items[0].Spec.Name != "kubernetes" || found.Items[0].Spec.Registries[0].LatestVersion != "1.37.2" {
			t.Errorf("%s: %+v", name, found)
		}
	}
	h.want(200, "POST", "/v1/packs/search", `{"filter":{"name":{"eq":"Kubernetes","ignoreCase":false}}}`).json(t, &found)
	if len(found.Items) != 0 {
		t.Errorf("case was ignored: %+v", found)
	}
	var one palette.PackTagEntity
	h.want(200, "GET", "/v1/packs/"+uid, nil).json(t, &one)
	if one.Name != "kubernetes" || one.RegistryUID != h.packs.UID() || len(one.PackValues) != 1 || one.PackValues[0].Values == "" {
		t.Errorf("%+v", one)
	}
	var tags palette.PackTagEntity
	h.want(200, "GET", "/v1/packs/kubernetes/registries/"+h.packs.UID()+"?cloudType=all", nil).json(t, &tags)
	if !slices.ContainsFunc(tags.Tags, func(x palette.PackTag) bool { return x.Version == "1.37.2" && x.PackUID == uid }) {
		t.Errorf("%+v", tags.Tags)
	}
}

func terraformPackSearch(name string) string {
	return `{"filter":{"addOnSubType":null,"addOnType":["load balancer","ingress","csi","cni",""],"environment":["all"],
	 "layer":["kernel","os","k8s","cni","csi","addon"],"name":{"eq":"` + name + `"},"registryUid":null,"source":null,"state":null,
	 "type":["spectro","helm","manifest","oci"]},"sort":null}`
}
