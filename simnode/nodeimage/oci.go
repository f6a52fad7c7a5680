// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// An entry is one file of a layer: a regular file of the machine, a link, or a folder when both are empty.
type entry struct {
	name   string // without a leading slash
	source string // file on this machine
	link   string // target of a symbolic link
	mode   int64  // 0: 0755
}

// A container is what an image starts.
type container struct {
	reference  string // full, with registry and tag
	entrypoint []string
	layer      string // name of the layer
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    map[string]string `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Media types and the annotation by which containerd names what it imports.
const (
	mediaIndex     = "application/vnd.oci.image.index.v1+json"
	mediaManifest  = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig    = "application/vnd.oci.image.config.v1+json"
	mediaLayer     = "application/vnd.oci.image.layer.v1.tar"
	annotationName = "io.containerd.image.name"
)

// writeLayout writes an OCI image layout: the layers by name, and the images, each of one layer. Layers are not compressed:
// they are read on this machine, and time is dearer than space.
func writeLayout(folder string, layers map[string][]entry, images []container) error {
	blobs := filepath.Join(folder, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return fmt.Errorf("make the image layout: %w", err)
	}
	written := map[string]descriptor{}
	for name, entries := range layers {
		d, err := writeLayer(blobs, entries)
		if err != nil {
			return fmt.Errorf("layer %s: %w", name, err)
		}
		written[name] = d
	}
	index := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{SchemaVersion: 2, MediaType: mediaIndex}
	for _, c := range images {
		d, err := writeImage(blobs, c, written[c.layer])
		if err != nil {
			return fmt.Errorf("image %s: %w", c.reference, err)
		}
		index.Manifests = append(index.Manifests, d)
	}
	text, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the index: %w", err)
	}
	if err := writeFile(filepath.Join(folder, "index.json"), text, 0o644); err != nil {
		return err
	}
	return writeFile(filepath.Join(folder, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

func writeImage(blobs string, c container, layer descriptor) (descriptor, error) {
	platform := map[string]string{"architecture": "amd64", "os": "linux"}
	config, err := writeJSON(blobs, mediaConfig, map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{
			"Entrypoint": c.entrypoint, "WorkingDir": "/",
			"Env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layer.Digest}},
	})
	if err != nil {
		return descriptor{}, err
	}
	d, err := writeJSON(blobs, mediaManifest, map[string]any{
		"schemaVersion": 2, "mediaType": mediaManifest, "config": config, "layers": []descriptor{layer},
	})
	d.Platform, d.Annotations = platform, map[string]string{annotationName: c.reference}
	return d, err
}

func writeJSON(blobs, mediaType string, value any) (descriptor, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return descriptor{}, fmt.Errorf("encode: %w", err)
	}
	sum := sha256.Sum256(text)
	name := hex.EncodeToString(sum[:])
	return descriptor{MediaType: mediaType, Digest: "sha256:" + name, Size: int64(len(text))}, writeFile(filepath.Join(blobs, name), text, 0o644)
}

// writeLayer writes the tar of the entries, sorted and without times, so that equal contents are equal layers.
func writeLayer(blobs string, entries []entry) (descriptor, error) {
	file, err := os.CreateTemp(blobs, "layer-")
	if err != nil {
		return descriptor{}, fmt.Errorf("make a file: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	if err := writeTar(io.MultiWriter(file, hash), entries); err != nil {
		return descriptor{}, err
	}
	size, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return descriptor{}, fmt.Errorf("size: %w", err)
	}
	name := hex.EncodeToString(hash.Sum(nil))
	if err := file.Chmod(0o644); err != nil {
		return descriptor{}, fmt.Errorf("chmod: %w", err)
	}
	if err := os.Rename(file.Name(), filepath.Join(blobs, name)); err != nil {
		return descriptor{}, fmt.Errorf("name: %w", err)
	}
	return descriptor{MediaType: mediaLayer, Digest: "sha256:" + name, Size: size}, nil
}

func writeTar(w io.Writer, entries []entry) error {
	all := map[string]entry{}
	for _, e := range entries {
		for dir := path.Dir(e.name); dir != "."; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all[dir] = entry{name: dir}
			}
		}
		all[e.name] = e
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	archive := tar.NewWriter(w)
	for _, name := range names {
		if err := writeEntry(archive, all[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	return nil
}

func writeEntry(archive *tar.Writer, e entry) error {
	header := &tar.Header{Name: e.name, Mode: e.mode, Typeflag: tar.TypeDir}
	if header.Mode == 0 {
		header.Mode = 0o755
	}
	switch {
	case e.link != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, e.link, 0o777
	case e.source != "":
		file, err := os.Open(e.source)
		if err != nil {
			return err //nolint:wrapcheck // names the file
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err //nolint:wrapcheck // names the file
		}
		header.Typeflag, header.Size = tar.TypeReg, info.Size()
		if err := archive.WriteHeader(header); err != nil {
			return err //nolint:wrapcheck // wrapped by the caller
		}
		_, err = io.Copy(archive, file)
		return err //nolint:wrapcheck // wrapped by the caller
	default:
		header.Name += "/"
	}
	return archive.WriteHeader(header) //nolint:wrapcheck // wrapped by the caller
}
