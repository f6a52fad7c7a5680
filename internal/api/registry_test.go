// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

const registryCanary = "CANARY-registry-77aa"

func registryBody(name, kind string) object {
	auth := object{"type": kind}
	switch kind {
	case "basic":
		auth["username"], auth["password"] = "me", registryCanary
	case "token":
		auth["token"] = registryCanary
	}
	return object{"metadata": object{"name": name}, "spec": object{"auth": auth, "endpoint": "https://charts.example.com", "isPrivate": kind != "noAuth", "name": name}}
}

func TestRegistries(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	reader := h.key("reader", h.project, false)
	for _, tt := range []struct{ reason, base, one, kind string }{
		{"helm", "/v1/registries/helm", "", "basic"}, {"helm with a token", "/v1/registries/helm", "", "token"},
		{"oci", "/v1/registries/oci/basic", "/basic", "basic"},
	} {
		body := registryBody("my "+tt.reason, tt.kind)
		h.want(http.StatusNoContent, "POST", tt.base+"/validate", body["spec"])
		uid := h.want(http.StatusCreated, "POST", tt.base, body, "ProjectUid", "").uid(t)
		if again := h.want(http.StatusCreated, "POST", tt.base, body, "ProjectUid", "").uid(t); again != uid {
			t.Errorf("%s: a repeated request made another", tt.reason)
		}
		path := strings.TrimSuffix(tt.base, "/basic") + "/" + uid + tt.one
		shown := func(key string) string { return string(h.want(http.StatusOK, "GET", path, nil, "ApiKey", key).body) }
		if s := shown(adminKey); !strings.Contains(s, registryCanary) {
			t.Errorf("%s: Terraform would see a change: %s", tt.reason, s)
		}
		if a := h.send("GET", path, nil, "ApiKey", reader); strings.Contains(string(a.body), registryCanary) {
			t.Errorf("%s: a reader sees the secret", tt.reason)
		}
		var stored lazuli.Registry
		if err := h.store.Get(t.Context(), uid, &stored); err != nil {
			t.Fatal(err)
		}
		if raw, err := json.Marshal(stored); err != nil || strings.Contains(string(raw), registryCanary) {
			t.Errorf("%s: stored in clear", tt.reason)
		}
		var sync wire.RegistrySyncStatus
		h.want(http.StatusOK, "GET", path+"/sync/status", nil).json(t, &sync)
		if sync.IsSyncSupported || sync.Message == "" {
			t.Errorf("%s: %+v", tt.reason, sync)
		}
		h.want(http.StatusAccepted, "POST", path+"/sync", nil)
		set(t, body, "metadata.name", "renamed "+tt.reason)
		h.want(http.StatusNoContent, "PUT", path, body)
		if s := shown(adminKey); !strings.Contains(s, "renamed") {
			t.Errorf("%s: %s", tt.reason, s)
		}
		var names palette.List[palette.RegistryMetadata]
		h.want(http.StatusOK, "GET", "/v1/registries/metadata", nil).json(t, &names)
		if names.Items[0].Name != "Public Repo" || !slices.ContainsFunc(names.Items, func(r palette.RegistryMetadata) bool { return r.UID == uid }) {
			t.Errorf("%s: %+v", tt.reason, names)
		}
		h.want(http.StatusNoContent, "DELETE", path, nil)
		h.want(http.StatusNotFound, "GET", path, nil)
	}
	for _, path := range []string{"/v1/registries/helm?limit=50&scope=all", "/v1/registries/helm/summary", "/v1/registries/oci/summary",
		"/v1/registries/pack?limit=50&scope=all", "/v1/registries/pack/summary", "/v1/registries/pack/" + h.packs.UID(),
		"/v1/registries/pack/" + h.packs.UID() + "/sync/status"} {
		h.want(http.StatusOK, "GET", path, nil)
	}
}

func TestBadRegistries(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, tt := range []bad{
		{"no endpoint", "spec.endpoint", "", ""},
		{"a path", "spec.endpoint", "/srv/charts", ""},
		{"a password in the endpoint", "spec.endpoint", "https://me:" + registryCanary + "@charts.example.com", ""},
		{"no user", "spec.auth.username", "", ""},
		{"no name", "metadata.name", "", ""},
	} {
		b := registryBody("r", "basic")
		set(t, b, tt.path, tt.value)
		a := h.want(http.StatusBadRequest, "POST", "/v1/registries/helm", b)
		if e := a.err(t); !slices.Contains(paths(e), tt.path) || strings.Contains(string(a.body), registryCanary) {
			t.Errorf("%s: %s", tt.reason, a.body)
		}
	}
	h.want(http.StatusConflict, "POST", "/v1/registries/helm", registryBody("public REPO", "noAuth"))
	h.want(http.StatusCreated, "POST", "/v1/registries/helm", registryBody("mine", "noAuth"))
	h.want(http.StatusConflict, "POST", "/v1/registries/oci/basic", registryBody("Mine", "noAuth"))
}

// A chart is stored and not installed: whoever uses it is told.
func TestHelmPacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	registry := w.want(http.StatusCreated, "POST", "/v1/registries/helm", registryBody("charts", "noAuth")).uid(t)
	for uid, want := range map[string]string{
		registry: `registry "charts" has no pack "kubernetes"`, strings.Repeat("a", 24): "there is no registry",
	} {
		if e := w.want(http.StatusNotFound, "GET", "/v1/packs/kubernetes/registries/"+uid, nil).err(t); !strings.Contains(e.Message, want) {
			t.Errorf("a pack of the registry %s: %s", uid, e.Message)
		}
	}
	b := addonBody("chart")
	set(t, b, "spec.template.packs[0]", object{"name": "nginx", "type": "helm", "tag": "1.2.3", "registryUid": registry, "values": "replicas: 1 # mine"})
	uid := w.want(http.StatusCreated, "POST", "/v1/clusterprofiles?publish=true", b).uid(t)
	var p palette.ClusterProfile
	w.want(http.StatusOK, "GET", "/v1/clusterprofiles/"+uid, nil).json(t, &p)
	if l := p.Spec.Published.Packs[0]; l.Layer != "addon" || l.Tag != "1.2.3" || l.Values != "replicas: 1 # mine" || l.RegistryUID != registry || l.PackUID != "" {
		t.Errorf("%+v", l)
	}
	w.want(http.StatusConflict, "DELETE", "/v1/registries/helm/"+registry, nil)
	body := w.body()
	set(t, body, "spec.profiles", []any{object{"uid": w.profile}, object{"uid": uid}})
	cluster := w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", body).uid(t)
	if a := w.want(http.StatusOK, "GET", "/lazuli/v1/clusters/"+cluster+"/events", nil); !strings.Contains(string(a.body), "nginx") {
		t.Errorf("nobody is told that the chart is not installed: %s", a.body)
	}
	set(t, b, "spec.template.packs[0].registryUid", strings.Repeat("a", 24))
	set(t, b, "metadata.name", "other")
	if e := w.want(http.StatusBadRequest, "POST", "/v1/clusterprofiles", b).err(t); !slices.Contains(paths(e), "spec.template.packs[0].registryUid") {
		t.Errorf("%+v", e)
	}
}

// A profile of Kubernetes alone is valid on the wire, and so is a cluster of it.
func TestIncompleteProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.profileBody("k8s")
	set(t, b, "spec.template.type", "cluster")
	set(t, b, "spec.template.packs", []any{w.layer("kubernetes", "1.36.x")})
	uid := w.want(http.StatusCreated, "POST", "/v1/clusterprofiles?publish=true", b).uid(t)
	body := w.body()
	set(t, body, "spec.profiles", []any{object{"uid": uid}})
	cluster := w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", body).uid(t)
	var c palette.Cluster
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+cluster, nil).json(t, &c)
	if packs := c.Spec.ClusterProfileTemplates[0].Packs; len(packs) != 1 {
		t.Errorf("what nobody wrote is shown: %+v", packs)
	}
	if a := w.want(http.StatusOK, "GET", "/lazuli/v1/clusters/"+cluster+"/events", nil); !strings.Contains(string(a.body), "cni-calico-azure") {
		t.Errorf("%s", a.body)
	}
}
