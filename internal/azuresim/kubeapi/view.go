// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

type viewKind int

const (
	viewObject viewKind = iota
	viewTable
	viewMetadata
)

// view is how a client wants to see objects.
type view struct {
	kind viewKind
	yaml bool
	// include is the includeObject parameter of a Table: None, Metadata (default) or Object.
	include string
}

// negotiate picks the first form of the Accept header that the server has.
func negotiate(r *http.Request) (view, error) {
	accept := r.Header.Get("Accept")
	if accept == "" {
		return view{}, nil
	}
	for part := range strings.SplitSeq(accept, ",") {
		mediaType, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		v := view{include: r.URL.Query().Get("includeObject")}
		switch mediaType {
		case "application/json", "*/*", "application/*":
		case "application/yaml":
			v.yaml = true
		default:
			continue
		}
		switch as := params["as"]; {
		case as == "":
			return v, nil
		case params["g"] != "meta.k8s.io" || params["v"] != "v1":
		case as == "Table":
			v.kind = viewTable
			return v, nil
		case as == "PartialObjectMetadata" || as == "PartialObjectMetadataList":
			v.kind = viewMetadata
			return v, nil
		}
	}
	return view{}, &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable,
		Message: "only the following media types are accepted: application/json, application/yaml",
	}}
}

// present turns an object into what the client asked for.
func (v view) present(r *resource, u *unstructured.Unstructured, now time.Time) any {
	switch v.kind {
	case viewTable:
		return tableOf(r, []*unstructured.Unstructured{u}, v.include, now, metav1.ListMeta{ResourceVersion: u.GetResourceVersion()})
	case viewMetadata:
		return partial(u)
	case viewObject:
	}
	return asVersion(u, r).Object
}

// partial keeps only the metadata.
func partial(u *unstructured.Unstructured) map[string]any {
	return map[string]any{
		"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": u.Object["metadata"],
	}
}

// write answers with one object.
func (s *Server) write(w http.ResponseWriter, code int, r *resource, u *unstructured.Unstructured, v view) {
	writeAs(w, code, v.present(r, u, s.now()), v.yaml)
}

// writeList answers with a list.
func (s *Server) writeList(w http.ResponseWriter, r *resource, page *listPage, v view) {
	meta := metav1.ListMeta{ResourceVersion: strconv.FormatUint(page.revision, 10), Continue: page.next}
	if page.remaining > 0 {
		meta.RemainingItemCount = &page.remaining
	}
	if v.kind == viewTable {
		writeAs(w, http.StatusOK, tableOf(r, page.items, v.include, s.now(), meta), v.yaml)
		return
	}
	kind, apiVersion := r.kind+"List", r.GroupVersion().String()
	if v.kind == viewMetadata {
		kind, apiVersion = "PartialObjectMetadataList", "meta.k8s.io/v1"
	}
	items := make([]any, 0, len(page.items))
	for _, u := range page.items {
		items = append(items, v.present(r, u, s.now()))
	}
	writeAs(w, http.StatusOK, map[string]any{
		"kind": kind, "apiVersion": apiVersion, "metadata": meta, "items": items,
	}, v.yaml)
}

func writeAs(w http.ResponseWriter, code int, body any, asYAML bool) {
	if !asYAML {
		writeJSON(w, code, body)
		return
	}
	out, err := yaml.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.WriteHeader(code)
	// A client that went away is nothing to report.
	_, _ = w.Write(out)
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	out, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A client that went away is nothing to report.
	_, _ = w.Write(append(out, '\n'))
}

// convert reads a part of an object into a Go type.
func convert(raw map[string]any, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(raw, into)
}
