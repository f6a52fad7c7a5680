// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"encoding/json"
	"net/http"
	"os"
	"path"
	"regexp"
	"strings"
	"time"
)

// imageName is the annotation of an image layout that has an image's full reference.
const imageName = "io.containerd.image.name"

var (
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	namePattern   = regexp.MustCompile(`^[a-z0-9]+([._/-]+[a-z0-9]+)*$`) // of a repository, loosely
)

// mirrorHandler serves a directory's files, and the images of its folder oci through the read part of the OCI
// distribution API. Nothing outside the directory is read.
func mirrorHandler(root *os.Root) http.Handler {
	files := http.FileServerFS(root.FS())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, registry := strings.CutPrefix(r.URL.Path, "/v2/")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.Error(w, "the mirror is for reading", http.StatusMethodNotAllowed)
		case registry:
			serveRegistry(root, w, r, rest)
		default:
			files.ServeHTTP(w, r)
		}
	})
}

// serveRegistry answers below /v2/ (github.com/opencontainers/distribution-spec). The query's ns is the registry that
// the mirror stands for, as containerd sends it.
func serveRegistry(root *os.Root, w http.ResponseWriter, r *http.Request, rest string) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if rest == "" {
		writeJSON(w, http.StatusOK, object{})
		return
	}
	for _, kind := range []string{"/manifests/", "/blobs/"} {
		i := strings.LastIndex(rest, kind)
		if i < 0 {
			continue
		}
		name, ref := rest[:i], rest[i+len(kind):]
		if !namePattern.MatchString(name) {
			registryError(w, http.StatusBadRequest, "NAME_INVALID", "repository name is not valid")
			return
		}
		if kind == "/blobs/" {
			serveBlob(root, w, r, ref, "application/octet-stream")
			return
		}
		digest, media := ref, ""
		if !digestPattern.MatchString(ref) {
			digest, media = imageOf(root, r.URL.Query().Get("ns"), name+":"+ref)
		}
		if media == "" {
			media = mediaOf(root, digest)
		}
		if media == "" {
			registryError(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
			return
		}
		serveBlob(root, w, r, digest, media)
		return
	}
	registryError(w, http.StatusNotFound, "UNSUPPORTED", "there are manifests and blobs only")
}

func serveBlob(root *os.Root, w http.ResponseWriter, r *http.Request, digest, media string) {
	if !digestPattern.MatchString(digest) {
		registryError(w, http.StatusBadRequest, "DIGEST_INVALID", "digest is not sha256")
		return
	}
	f, err := root.Open(blobPath(digest))
	if err != nil {
		registryError(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown")
		return
	}
	defer f.Close() //nolint:errcheck // read only
	w.Header().Set("Content-Type", media)
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Etag", `"`+digest+`"`)
	http.ServeContent(w, r, "", time.Time{}, f)
}

func blobPath(digest string) string {
	return path.Join("oci/blobs/sha256", strings.TrimPrefix(digest, "sha256:"))
}

// imageOf finds an image by its full reference; without a registry, the first one of that name.
func imageOf(root *os.Root, registry, name string) (digest, media string) {
	var index struct {
		Manifests []struct {
			MediaType   string            `json:"mediaType"`
			Digest      string            `json:"digest"`
			Annotations map[string]string `json:"annotations"`
		} `json:"manifests"`
	}
	text, err := root.ReadFile("oci/index.json")
	if err != nil || json.Unmarshal(text, &index) != nil {
		return "", ""
	}
	for _, m := range index.Manifests {
		full := m.Annotations[imageName]
		if registry != "" && full == registry+"/"+name || registry == "" && (full == name || strings.HasSuffix(full, "/"+name)) {
			return m.Digest, m.MediaType
		}
	}
	return "", ""
}

// mediaOf is the media type of a manifest; empty for a blob that is none.
func mediaOf(root *os.Root, digest string) string {
	const largest = 4 << 20 // the distribution API's bound for manifests
	if !digestPattern.MatchString(digest) {
		return ""
	}
	info, err := root.Stat(blobPath(digest))
	if err != nil || info.Size() > largest {
		return ""
	}
	var manifest struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []json.RawMessage `json:"manifests"`
		Layers        []json.RawMessage `json:"layers"`
	}
	text, err := root.ReadFile(blobPath(digest))
	if err != nil || json.Unmarshal(text, &manifest) != nil || manifest.SchemaVersion != 2 {
		return ""
	}
	switch {
	case manifest.MediaType != "":
		return manifest.MediaType
	case manifest.Manifests != nil:
		return "application/vnd.oci.image.index.v1+json"
	}
	return "application/vnd.oci.image.manifest.v1+json"
}

func registryError(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, object{"errors": []any{object{"code": code, "message": message}}})
}
