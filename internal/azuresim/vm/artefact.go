// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// artefact is a set of node images that is whole. What it refers to does not change.
type artefact struct {
	dir    string
	Format int                  `json:"format"`
	Images map[string]imageSpec `json:"images"`
}

type imageSpec struct {
	// Lowers are layers of the root file system, the first on top.
	Lowers []string `json:"lowers"`
	// Store is a ready /var/lib/containerd.
	Store string `json:"store"`
}

// image is what a machine boots from. Store is empty when the image has none.
type image struct {
	lowers []string
	store  string
}

const artefactFormat = 1

func openArtefact(cache string) (artefact, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(cache, "current"))
	if err != nil {
		return artefact{}, fmt.Errorf("open node images: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "artefact.json"))
	if err != nil {
		return artefact{}, fmt.Errorf("open node images: %w", err)
	}
	a := artefact{dir: dir}
	if err := json.Unmarshal(text, &a); err != nil {
		return artefact{}, fmt.Errorf("open node images in %s: %w", dir, err)
	}
	if a.Format != artefactFormat {
		return artefact{}, fmt.Errorf("open node images in %s: format %d is not %d", dir, a.Format, artefactFormat)
	}
	if strings.ContainsAny(dir, ",:\\ ") {
		return artefact{}, fmt.Errorf("open node images in %s: a path with one of `,:\\ ` cannot be mounted", dir)
	}
	return a, nil
}

// image finds what an image reference names: a marketplace reference (publisher:offer:sku:version) is the stock image,
// everything else is a gallery's, which has Kubernetes baked in.
func (a artefact) image(reference string) (image, error) {
	name := "gallery"
	if !strings.HasPrefix(reference, "/") && strings.Count(reference, ":") == 3 {
		name = "stock"
	}
	spec, ok := a.Images[name]
	if !ok || len(spec.Lowers) == 0 {
		return image{}, fmt.Errorf("boot image %s: there is no %s image in %s", reference, name, a.dir)
	}
	var out image
	for _, l := range spec.Lowers {
		out.lowers = append(out.lowers, filepath.Join(a.dir, l))
	}
	for _, l := range out.lowers { // It may have been tidied away under our feet.
		if _, err := os.Stat(l); err != nil {
			return image{}, fmt.Errorf("boot image %s: %w", reference, err)
		}
	}
	if spec.Store != "" {
		out.store = filepath.Join(a.dir, spec.Store)
	}
	return out, nil
}

// mirror is the directory that the network serves as the Internet's archives; empty when there is none.
func (a artefact) mirror() string {
	dir := filepath.Join(a.dir, "mirror")
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}
