// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	discoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// verbsOf a resource that is stored.
func storedVerbs() metav1.Verbs {
	return metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
}

func subVerbs(sub string) metav1.Verbs {
	switch sub {
	case subEviction:
		return metav1.Verbs{"create"}
	case subFinalize:
		return metav1.Verbs{"update"}
	}
	return metav1.Verbs{"get", "patch", "update"}
}

// servePath answers everything that is not a resource.
func (s *Server) servePath(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimRight(r.URL.Path, "/")
	segments := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		s.fail(w, errPathNotFound)
	case path == "/version":
		writeJSON(w, http.StatusOK, s.versionInfo())
	case publicPath(path):
		s.serveHealth(w, r)
	case path == "/api" || path == "/apis":
		s.serveRoot(w, r, path)
	case segments[0] == "api" && len(segments) == 2:
		s.serveGroupVersion(w, schema.GroupVersion{Version: segments[1]})
	case segments[0] == "apis" && len(segments) == 2:
		s.serveGroup(w, segments[1])
	case segments[0] == "apis" && len(segments) == 3:
		s.serveGroupVersion(w, schema.GroupVersion{Group: segments[1], Version: segments[2]})
	case segments[0] == "openapi":
		s.serveOpenAPI(w, r, path)
	default:
		s.fail(w, errPathNotFound)
	}
}

func (s *Server) versionInfo() version.Info {
	major, rest, _ := strings.Cut(strings.TrimPrefix(s.version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	return version.Info{
		Major: major, Minor: minor, GitVersion: s.version, GitTreeState: "clean",
		BuildDate: "1970-01-01T00:00:00Z", Compiler: "gc", Platform: "linux/amd64",
	}
}

func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	name := strings.Trim(r.URL.Path, "/")
	body := "ok"
	if _, verbose := r.URL.Query()["verbose"]; verbose {
		body = fmt.Sprintf("[+]ping ok\n[+]etcd ok\n%s check passed\n", name)
	}
	// A client that went away is nothing to report.
	_, _ = fmt.Fprint(w, body) //nolint:gosec // plain text, so that no browser takes the path for markup
}

// resources returns a snapshot of what is served.
func (s *Server) resources() []*resource {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return s.store.reg.sorted()
}

// serveRoot answers /api and /apis, aggregated for clients that ask for it.
func (s *Server) serveRoot(w http.ResponseWriter, r *http.Request, path string) {
	if strings.Contains(r.Header.Get("Accept"), "as=APIGroupDiscoveryList") &&
		strings.Contains(r.Header.Get("Accept"), "v=v2;") {
		s.serveAggregated(w, path == "/api")
		return
	}
	if path == "/api" {
		writeJSON(w, http.StatusOK, metav1.APIVersions{
			TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"},
			ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{},
		})
		return
	}
	list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, g := range groupVersions(s.resources()) {
		if g[0].Group != "" {
			list.Groups = append(list.Groups, apiGroup(g))
		}
	}
	writeJSON(w, http.StatusOK, list)
}

// groupVersions returns the versions of each group, groups ordered by name, the best version first.
func groupVersions(resources []*resource) [][]schema.GroupVersion {
	var out [][]schema.GroupVersion
	for _, r := range resources {
		gv := r.GroupVersion()
		if n := len(out); n > 0 && out[n-1][0].Group == gv.Group {
			if !slices.Contains(out[n-1], gv) {
				out[n-1] = append(out[n-1], gv)
			}
			continue
		}
		out = append(out, []schema.GroupVersion{gv})
	}
	for _, g := range out {
		slices.SortFunc(g, func(a, b schema.GroupVersion) int { return -compareVersions(a.Version, b.Version) })
	}
	return out
}

// compareVersions orders stable over beta over alpha, then by number; it is enough for what clients prefer.
func compareVersions(a, b string) int {
	rank := func(v string) int {
		switch {
		case strings.Contains(v, "alpha"):
			return 0
		case strings.Contains(v, "beta"):
			return 1
		}
		return 2
	}
	if ra, rb := rank(a), rank(b); ra != rb {
		return ra - rb
	}
	return strings.Compare(a, b)
}

func apiGroup(gvs []schema.GroupVersion) metav1.APIGroup {
	g := metav1.APIGroup{Name: gvs[0].Group}
	for _, gv := range gvs {
		g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version})
	}
	g.PreferredVersion = g.Versions[0]
	return g
}

func (s *Server) serveGroup(w http.ResponseWriter, name string) {
	for _, gvs := range groupVersions(s.resources()) {
		if gvs[0].Group == name {
			g := apiGroup(gvs)
			g.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
			writeJSON(w, http.StatusOK, g)
			return
		}
	}
	s.fail(w, errPathNotFound)
}

func (s *Server) serveGroupVersion(w http.ResponseWriter, gv schema.GroupVersion) {
	list := metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: gv.String(),
	}
	for _, r := range s.resources() {
		if r.GroupVersion() != gv {
			continue
		}
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: r.Resource, SingularName: r.singular, Namespaced: r.namespaced, Kind: r.kind,
			Verbs: storedVerbs(), ShortNames: r.shortNames, Categories: r.categories,
		})
		for _, sub := range r.subresources() {
			kind := subKind(r, sub)
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: r.Resource + "/" + sub, Namespaced: r.namespaced, Verbs: subVerbs(sub),
				Group: kind.Group, Version: kind.Version, Kind: kind.Kind,
			})
		}
	}
	list.APIResources = append(list.APIResources, reviewResources(gv)...)
	if len(list.APIResources) == 0 {
		s.fail(w, errPathNotFound)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

// subKind is the kind that a subresource speaks.
func subKind(r *resource, sub string) schema.GroupVersionKind {
	switch sub {
	case subScale:
		return schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}
	case subEviction:
		return schema.GroupVersionKind{Group: "policy", Version: "v1", Kind: "Eviction"}
	}
	return r.gvk()
}

// serveAggregated answers with all groups of /api or /apis in one document (apidiscovery.k8s.io/v2).
func (s *Server) serveAggregated(w http.ResponseWriter, core bool) {
	list := discoveryv2.APIGroupDiscoveryList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"},
	}
	resources := s.resources()
	for _, gvs := range groupVersions(resources) {
		if (gvs[0].Group == "") != core {
			continue
		}
		group := discoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: gvs[0].Group}}
		for _, gv := range gvs {
			v := discoveryv2.APIVersionDiscovery{Version: gv.Version, Freshness: discoveryv2.DiscoveryFreshnessCurrent}
			for _, r := range resources {
				if r.GroupVersion() == gv {
					v.Resources = append(v.Resources, aggregatedResource(r))
				}
			}
			group.Versions = append(group.Versions, v)
		}
		list.Items = append(list.Items, group)
	}
	w.Header().Set("Vary", "Accept")
	writeTyped(w, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", list)
}

func aggregatedResource(r *resource) discoveryv2.APIResourceDiscovery {
	scope := discoveryv2.ScopeCluster
	if r.namespaced {
		scope = discoveryv2.ScopeNamespace
	}
	gvk := r.gvk()
	out := discoveryv2.APIResourceDiscovery{
		Resource: r.Resource, SingularResource: r.singular, Scope: scope, Verbs: storedVerbs(),
		ShortNames: r.shortNames, Categories: r.categories,
		ResponseKind: &metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind},
	}
	for _, sub := range r.subresources() {
		kind := subKind(r, sub)
		out.Subresources = append(out.Subresources, discoveryv2.APISubresourceDiscovery{
			Subresource: sub, Verbs: subVerbs(sub),
			ResponseKind: &metav1.GroupVersionKind{Group: kind.Group, Version: kind.Version, Kind: kind.Kind},
		})
	}
	return out
}
