// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"encoding/json"
	"net/http"
	"strings"

	openapiv2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The OpenAPI documents say which paths exist and which parameters they take, which is what kubectl reads before an
// apply (server-side field validation, dry run). They hold no schemas: kubectl falls back to its compiled-in types.

const protoOpenAPI = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

type openAPIObject = map[string]any

func (s *Server) serveOpenAPI(w http.ResponseWriter, r *http.Request, path string) {
	switch {
	case path == "/openapi/v2":
		s.serveOpenAPIv2(w, r)
	case path == "/openapi/v3":
		paths := openAPIObject{}
		for _, res := range s.resources() {
			p := groupVersionPath(res.GroupVersion())
			paths[p] = openAPIObject{"serverRelativeURL": "/openapi/v3/" + p}
		}
		writeJSON(w, http.StatusOK, openAPIObject{"paths": paths})
	case strings.HasPrefix(path, "/openapi/v3/"):
		s.serveOpenAPIv3(w, strings.TrimPrefix(path, "/openapi/v3/"))
	default:
		s.fail(w, errPathNotFound)
	}
}

func groupVersionPath(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "api/" + gv.Version
	}
	return "apis/" + gv.String()
}

// itemPath is the path template of one object of a resource.
func itemPath(r *resource) string {
	p := "/" + groupVersionPath(r.GroupVersion())
	if r.namespaced {
		p += "/namespaces/{namespace}"
	}
	return p + "/" + r.Resource + "/{name}"
}

func gvkExtension(r *resource) openAPIObject {
	gvk := r.gvk()
	return openAPIObject{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}
}

// patchParameters are those that kubectl looks for.
func patchParameters() []string {
	return []string{"dryRun", "fieldManager", "fieldValidation", "force"}
}

func (s *Server) serveOpenAPIv3(w http.ResponseWriter, gvPath string) {
	paths := openAPIObject{}
	for _, r := range s.resources() {
		if groupVersionPath(r.GroupVersion()) != gvPath {
			continue
		}
		var params []any
		for _, name := range patchParameters() {
			params = append(params, openAPIObject{"name": name, "in": "query", "schema": openAPIObject{"type": "string", "uniqueItems": true}})
		}
		paths[itemPath(r)] = openAPIObject{"patch": openAPIObject{
			"operationId":                     "patch" + r.kind,
			"x-kubernetes-action":             "patch",
			"x-kubernetes-group-version-kind": gvkExtension(r),
			"parameters":                      params,
			"responses":                       openAPIObject{"200": openAPIObject{"description": "OK"}},
		}}
	}
	if len(paths) == 0 {
		s.fail(w, errPathNotFound)
		return
	}
	writeJSON(w, http.StatusOK, openAPIObject{
		"openapi": "3.0.0", "info": openAPIObject{"title": "Kubernetes", "version": s.version},
		"paths": paths, "components": openAPIObject{"schemas": openAPIObject{}},
	})
}

func (s *Server) serveOpenAPIv2(w http.ResponseWriter, r *http.Request) {
	paths := openAPIObject{}
	for _, res := range s.resources() {
		var params []any
		for _, name := range patchParameters() {
			params = append(params, openAPIObject{"name": name, "in": "query", "type": "string", "uniqueItems": true})
		}
		paths[itemPath(res)] = openAPIObject{"patch": openAPIObject{
			"operationId":                     "patch" + res.kind,
			"x-kubernetes-action":             "patch",
			"x-kubernetes-group-version-kind": gvkExtension(res),
			"parameters":                      params,
			"responses":                       openAPIObject{"200": openAPIObject{"description": "OK"}},
		}}
	}
	doc := openAPIObject{
		"swagger": "2.0", "info": openAPIObject{"title": "Kubernetes", "version": s.version},
		"paths": paths, "definitions": openAPIObject{},
	}
	if !strings.Contains(r.Header.Get("Accept"), "proto") {
		writeJSON(w, http.StatusOK, doc)
		return
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		s.fail(w, err)
		return
	}
	parsed, err := openapiv2.ParseDocument(raw)
	if err != nil {
		s.fail(w, err)
		return
	}
	out, err := proto.MarshalOptions{Deterministic: true}.Marshal(parsed)
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", protoOpenAPI)
	// A client that went away is nothing to report.
	_, _ = w.Write(out)
}

// writeTyped answers 200 with JSON under a media type of its own.
func writeTyped(w http.ResponseWriter, mediaType string, body any) {
	out, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	// A client that went away is nothing to report.
	_, _ = w.Write(out)
}
