// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"text/template"

	"github.com/lazuli-dev/lazuli"
)

// BuiltinName is the name of the embedded registry. Palette's Terraform provider
// looks a registry of this name up on every read of a profile.
const BuiltinName = "Public Repo"

const (
	builtinRoot    = "builtin"
	commonDir      = "common"
	packFile       = "pack.json"
	valuesFile     = "values.yaml"
	readmeFile     = "README.md"
	manifestPrefix = "manifests/"
)

//go:embed builtin
var builtin embed.FS

// Registry is a set of packs. What it holds never changes; it is safe for
// concurrent use.
type Registry struct {
	uid, name string
	packs     []bundle // by name, newest version first
	settings  memo[Settings]
	rendered  memo[[]Release]
}

// bundle is a pack with what it renders.
type bundle struct {
	Pack
	manifests []manifestTemplate
}

type manifestTemplate struct {
	release string
	stage   Stage
	tmpl    *template.Template
}

// packJSON is the form of pack.json.
type packJSON struct {
	Name         string            `json:"name"`
	DisplayName  string            `json:"displayName"`
	Version      string            `json:"version"`
	Layer        Layer             `json:"layer"`
	CloudTypes   []string          `json:"cloudTypes"`
	AddonType    string            `json:"addonType"`
	AddonSubType string            `json:"addonSubType"`
	Tags         []string          `json:"tags"`
	EOL          string            `json:"eol"`
	LogoURL      string            `json:"logoUrl"`
	Annotations  map[string]string `json:"annotations"`
	Manifests    []struct {
		File    string `json:"file"`
		Release string `json:"release"`
		Stage   Stage  `json:"stage"`
	} `json:"kubeManifests"`
}

// Builtin reads the embedded registry. An error is a defect of the build.
func Builtin() (*Registry, error) { return With(nil) }

// With reads the embedded registry and beside it the packs of an operator's
// directory, which hold to the same form: NAME/VERSION/pack.json and so on, what
// versions share in NAME/common. A nil extra adds nothing. A version of a pack
// that is embedded cannot be had from the directory too: that is an error, as is
// a pack that cannot be read.
func With(extra fs.FS) (*Registry, error) {
	root, err := fs.Sub(builtin, builtinRoot)
	if err != nil {
		return nil, fmt.Errorf("open the built-in packs: %w", err)
	}
	r := &Registry{uid: stableUID("registry", BuiltinName), name: BuiltinName}
	if err := r.load(root); err != nil {
		return nil, err
	}
	if extra == nil {
		return r, nil
	}
	return r, r.load(extra)
}

func (r *Registry) load(root fs.FS) error {
	names, err := fs.ReadDir(root, ".")
	if err != nil {
		return fmt.Errorf("list packs: %w", err)
	}
	for _, n := range names {
		if !n.IsDir() {
			continue
		}
		versions, err := fs.ReadDir(root, n.Name())
		if err != nil {
			return fmt.Errorf("list versions of pack %s: %w", n.Name(), err)
		}
		for _, v := range versions {
			if v.Name() == commonDir || !v.IsDir() {
				continue
			}
			b, err := r.loadPack(root, n.Name(), v.Name())
			if err != nil {
				return fmt.Errorf("load pack %s %s: %w", n.Name(), v.Name(), err)
			}
			if slices.ContainsFunc(r.packs, func(have bundle) bool { return have.UID == b.UID }) {
				return fmt.Errorf("load pack %s %s: this version is built in", n.Name(), v.Name())
			}
			r.packs = append(r.packs, b)
		}
	}
	slices.SortFunc(r.packs, func(a, b bundle) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), compareVersions(b.Version, a.Version))
	})
	return nil
}

func (r *Registry) loadPack(root fs.FS, name, version string) (bundle, error) {
	files := map[string][]byte{}
	for _, dir := range []string{path.Join(name, commonDir), path.Join(name, version)} {
		if err := readTree(root, dir, files); err != nil {
			return bundle{}, err
		}
	}
	var p packJSON
	dec := json.NewDecoder(bytes.NewReader(files[packFile]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return bundle{}, fmt.Errorf("decode %s: %w", packFile, err)
	}
	if p.Name != name || p.Version != version {
		return bundle{}, fmt.Errorf("%s says %s %s", packFile, p.Name, p.Version)
	}
	b := bundle{Pack: Pack{
		UID: stableUID("pack", r.name, name, version), Name: name, DisplayName: p.DisplayName, Version: version,
		Group: groupOf(version), Tags: tagsOf(version, p.Tags), Layer: p.Layer, Type: TypeSpectro,
		CloudTypes: p.CloudTypes, RegistryUID: r.uid, RegistryName: r.name, AddonType: p.AddonType,
		AddonSubType: p.AddonSubType, Values: string(files[valuesFile]), Annotations: p.Annotations,
		Readme: string(files[readmeFile]), LogoURL: p.LogoURL, EOL: p.EOL, Digest: digest(files),
	}}
	if _, err := parseValues(b.Values); err != nil {
		return bundle{}, fmt.Errorf("read %s: %w", valuesFile, err)
	}
	for _, m := range p.Manifests {
		text, ok := files[manifestPrefix+m.File]
		if !ok || !slices.Contains(Stages(), m.Stage) {
			return bundle{}, fmt.Errorf("manifest %s of stage %q: no such file or stage", m.File, m.Stage)
		}
		t, err := parseTemplate(m.File, string(text))
		if err != nil {
			return bundle{}, err
		}
		b.manifests = append(b.manifests, manifestTemplate{release: m.Release, stage: m.Stage, tmpl: t})
		if !slices.Contains(b.Stages, m.Stage) {
			b.Stages = append(b.Stages, m.Stage)
		}
	}
	return b, nil
}

// readTree adds the files under dir to files, by their path inside dir. A folder
// that does not exist adds nothing: not every pack has a common one.
func readTree(root fs.FS, dir string, files map[string][]byte) error {
	err := fs.WalkDir(root, dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, p)
		if err != nil {
			return fmt.Errorf("read %s: %w", p, err)
		}
		files[strings.TrimPrefix(p, dir+"/")] = data
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read folder %s: %w", dir, err)
	}
	return nil
}

func digest(files map[string][]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256(files[name])
		fmt.Fprintf(h, "%s %x\n", name, sum)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// UID is the registry's uid.
func (r *Registry) UID() string { return r.uid }

// Name is the registry's name.
func (r *Registry) Name() string { return r.name }

// Packs returns all packs by name, the newest version of each name first.
func (r *Registry) Packs() []Pack {
	packs := make([]Pack, len(r.packs))
	for i, b := range r.packs {
		packs[i] = b.clone()
	}
	return packs
}

// ByUID finds the pack with a uid.
func (r *Registry) ByUID(uid string) (Pack, bool) {
	for _, b := range r.packs {
		if b.UID == uid {
			return b.clone(), true
		}
	}
	return Pack{}, false
}

// Resolve finds the pack that a layer means.
//
// A uid counts only while its pack has the tag: Terraform sends the uid of the
// old version when a user changes nothing but the tag. An empty tag is the
// uid's version, else the newest. A tag of several versions selects the newest.
// A name of the form prefix--pack, with which a profile holds a pack twice, is
// looked up as pack. A uid of another registry counts for nothing beside a name
// that is known here.
//
// The error has lazuli.CodeInvalidField and lists what there is.
func (r *Registry) Resolve(name, tag, uid string) (Pack, error) {
	b, err := r.find(name, tag, uid)
	if err != nil {
		return Pack{}, err
	}
	return b.clone(), nil
}

func (r *Registry) find(name, tag, uid string) (bundle, error) {
	name = baseName(name)
	var versions []string
	var newest *bundle
	for i := range r.packs {
		b := &r.packs[i]
		matches := tag == "" || b.HasTag(tag)
		if uid != "" && b.UID == uid && matches && (name == "" || name == b.Name) {
			return *b, nil
		}
		if b.Name != name {
			continue
		}
		versions = append(versions, b.Version)
		if newest == nil && matches {
			newest = b
		}
	}
	switch {
	case newest != nil:
		return *newest, nil
	case len(versions) > 0:
		return bundle{}, lazuli.Errorf(lazuli.CodeInvalidField, "pack %s has no version %s in registry %q; it has %s",
			name, tag, r.name, strings.Join(versions, ", "))
	default:
		return bundle{}, lazuli.Errorf(lazuli.CodeInvalidField, "registry %q has no pack %q; it has %s",
			r.name, name, strings.Join(r.names(), ", "))
	}
}

// Complete returns the layer with what a profile's author may leave out, as far
// as its registry knows it: layer, version, and the uids of pack and registry.
// Everything that was sent stays as it is, but for a pack uid that the tag
// overrules. Layers that are not of type spectro only get their layer.
func (r *Registry) Complete(l lazuli.Layer) (lazuli.Layer, error) {
	if layerType(l) != TypeSpectro {
		l.Layer = cmp.Or(l.Layer, string(LayerAddon))
		return l, nil
	}
	b, err := r.find(l.Name, l.Tag, l.PackUID)
	if err != nil {
		return lazuli.Layer{}, err
	}
	l.Layer, l.Version, l.PackUID = string(b.Layer), b.Version, b.UID
	l.RegistryUID = cmp.Or(l.RegistryUID, r.uid)
	return l, nil
}

func (r *Registry) names() []string {
	var names []string
	for _, b := range r.packs {
		names = append(names, b.Name)
	}
	return slices.Compact(names)
}

// clone keeps callers from writing into the registry.
func (b bundle) clone() Pack {
	p := b.Pack
	p.Tags, p.CloudTypes, p.Stages = slices.Clone(p.Tags), slices.Clone(p.CloudTypes), slices.Clone(p.Stages)
	p.Annotations = maps.Clone(p.Annotations)
	return p
}

// baseName is the pack's own name in the form prefix--pack, which Palette's
// Terraform provider uses for the same pack twice in a profile.
func baseName(name string) string {
	if _, base, ok := strings.Cut(name, "--"); ok {
		return base
	}
	return name
}

func layerType(l lazuli.Layer) string { return cmp.Or(l.Type, TypeSpectro) }
