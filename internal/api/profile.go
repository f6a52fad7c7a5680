// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

const (
	defaultProfileVersion = "1.0.0"
	maxVersionLength      = 64
	maxLayers             = 100
	maxManifests          = 100 // of a layer
	maxVariables          = 500
)

// versionPattern is strict semantic versioning without build metadata, which
// Palette's clients do not know: no v, three numbers.
var versionPattern = regexp.MustCompile(
	`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

func createProfile(a *API, c *call) (any, error) {
	var in palette.ClusterProfileEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	project, err := a.mayCreate(c)
	if err != nil {
		return nil, err
	}
	p, err := a.newProfile(&in)
	if err != nil {
		return nil, err
	}
	p.Project = project
	uid, err := createOnce(a, c, p, func(tx store.Tx) error {
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindProfile, p.UID, p.Project))
	})
	return palette.UID{UID: uid}, err
}

// newProfile checks a request and makes the profile of it, whose layers are a
// draft.
func (a *API) newProfile(in *palette.ClusterProfileEntity) (*lazuli.Profile, error) {
	var f lazuli.Fields
	uid, err := a.newUID()
	if err != nil {
		return nil, err
	}
	p := &lazuli.Profile{Meta: lazuli.Meta{UID: uid}, ProfileVersion: defaultProfileVersion}
	if in.Metadata == nil {
		f.Add("metadata", "is required")
	} else {
		p.Name, p.Labels, p.Annotations = in.Metadata.Name, in.Metadata.Labels, annotations(&f, in.Metadata)
		checkTitle(&f, p.Name)
	}
	if in.Spec == nil || in.Spec.Template == nil {
		f.Add("spec.template", "is required")
		return nil, f.Err()
	}
	t := in.Spec.Template
	p.Type, p.CloudType = orElse(t.Type, palette.TypeFull), orElse(t.CloudType, palette.CloudType)
	if p.CloudType != palette.CloudType && p.CloudType != palette.CloudTypeAll {
		f.Add("spec.template.cloudType", "%q is not served; it is azure, or all for add-ons", shorten(p.CloudType))
	}
	if p.CloudType == palette.CloudTypeAll && p.Type != palette.TypeAddOn {
		f.Add("spec.template.cloudType", "is all, which only profiles of type add-on can be")
	}
	p.ProfileVersion = version(&f, "spec.version", in.Spec.Version, defaultProfileVersion)
	checkVariables(&f, in.Spec.Variables)
	p.Variables = in.Spec.Variables
	if p.Draft, err = a.layers(&f, t.Packs, nil); err != nil {
		return nil, err
	}
	if len(f) == 0 {
		a.validateLayers(&f, p.Type, p.Draft)
	}
	return p, f.Err()
}

func version(f *lazuli.Fields, path, v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	if len(v) > maxVersionLength || !versionPattern.MatchString(v) {
		f.Add(path, "%q is not of the form major.minor.patch, such as 1.0.0", shorten(v))
	}
	return v
}

// layers makes layers of a request; old are the manifests that may be kept.
func (a *API) layers(
	f *lazuli.Fields, packs []palette.PackManifestEntity, old map[string]lazuli.Manifest,
) ([]lazuli.Layer, error) {
	if len(packs) > maxLayers {
		f.Add("spec.template.packs", "has more than %d layers", maxLayers)
		return nil, nil
	}
	out := make([]lazuli.Layer, 0, len(packs))
	for i, in := range packs {
		path := fmt.Sprintf("spec.template.packs[%d]", i)
		l := lazuli.Layer{
			Name: in.Name, Tag: in.Tag, PackUID: in.UID, RegistryUID: in.RegistryUID,
			Type: orElse(in.Type, palette.PackTypeSpectro), Values: in.Values,
		}
		checkText(f, path+".name", in.Name, maxTextLength)
		if in.RegistryUID != "" && l.Type == palette.PackTypeSpectro && in.RegistryUID != a.Packs.UID() {
			f.Add(path+".registryUid", "no registry has the uid %q; GET /v1/registries/metadata lists them", shorten(in.RegistryUID))
		}
		manifests, err := a.manifests(f, path, in.Manifests, old)
		if err != nil {
			return nil, err
		}
		l.Manifests = manifests
		// The layer stays as sent where its pack cannot be found: that is
		// validateLayers' finding.
		if full, err := a.Packs.Complete(l); err == nil {
			if in.RegistryUID == "" {
				full.RegistryUID = l.RegistryUID
			}
			l = full
		}
		out = append(out, l)
	}
	return out, nil
}

func (a *API) manifests(
	f *lazuli.Fields, path string, in []palette.ManifestRefUpdateEntity, old map[string]lazuli.Manifest,
) ([]lazuli.Manifest, error) {
	if len(in) > maxManifests {
		f.Add(path+".manifests", "has more than %d entries", maxManifests)
		return nil, nil
	}
	var out []lazuli.Manifest
	seen := map[string]bool{}
	for j, m := range in {
		at := fmt.Sprintf("%s.manifests[%d]", path, j)
		switch {
		case m.Name == "":
			f.Add(at+".name", "is required")
		case seen[m.Name]:
			f.Add(at+".name", "%q is twice in the layer", shorten(m.Name))
		}
		checkText(f, at+".name", m.Name, maxTextLength)
		seen[m.Name] = true
		uid, content := m.UID, m.Content
		kept, known := old[uid]
		if known && content == "" {
			content = kept.Content
		}
		if uid != "" && !known {
			f.Add(at+".uid", "%q is no manifest of this profile; leave it empty for a new one", shorten(uid))
		}
		if uid == "" {
			var err error
			if uid, err = a.newUID(); err != nil {
				return nil, err
			}
		}
		out = append(out, lazuli.Manifest{UID: uid, Name: m.Name, Content: content})
	}
	return out, nil
}

// validateLayers adds what the packs say to the layers of a profile.
func (a *API) validateLayers(f *lazuli.Fields, profileType string, layers []lazuli.Layer) {
	for _, finding := range a.Packs.Validate(profileType, layers) {
		f.Add(finding.Path, "%s", finding.Message)
	}
}

var (
	variableName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,127}$`)
	variableFormats = []string{"", "string", "number", "boolean", "ipv4", "ipv4cidr", "ipv6", "version", "base64"}
	variableInputs  = []string{"", "text", "dropdown", "multiline"}
)

// checkVariables checks the variables of a profile, which are stored as sent.
func checkVariables(f *lazuli.Fields, raw json.RawMessage) {
	const path = "spec.variables"
	vars, err := variablesOf(raw)
	if err != nil {
		f.Add(path, "is not a list of variables")
		return
	}
	if len(vars) > maxVariables {
		f.Add(path, "has more than %d entries", maxVariables)
		return
	}
	names, titles := map[string]bool{}, map[string]bool{}
	for i, v := range vars {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !variableName.MatchString(v.Name) {
			f.Add(at+".name", "%q: letters, digits, points, hyphens and underscores only, and a letter first", shorten(v.Name))
		}
		if names[v.Name] {
			f.Add(at+".name", "%q is twice", shorten(v.Name))
		}
		if v.DisplayName != "" && titles[v.DisplayName] {
			f.Add(at+".displayName", "%q is twice", shorten(v.DisplayName))
		}
		names[v.Name], titles[v.DisplayName] = true, true
		if !slices.Contains(variableFormats, v.Format) {
			f.Add(at+".format", "%q is none of %s", shorten(v.Format), strings.Join(variableFormats[1:], ", "))
		}
		if !slices.Contains(variableInputs, v.InputType) {
			f.Add(at+".inputType", "%q is none of %s", shorten(v.InputType), strings.Join(variableInputs[1:], ", "))
		}
		if v.Regex != "" {
			if _, err := regexp.Compile(v.Regex); err != nil {
				f.Add(at+".regex", "is not a regular expression (RE2)")
			}
		}
		if v.DefaultValue == "" && (v.Immutable || v.Hidden && v.Required) {
			f.Add(at+".defaultValue", "is required, since nobody can give the variable another value")
		}
	}
}

func variablesOf(raw json.RawMessage) ([]palette.Variable, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var vars []palette.Variable
	if err := json.Unmarshal(raw, &vars); err != nil {
		return nil, fmt.Errorf("read variables: %w", err)
	}
	return vars, nil
}

func getProfile(a *API, c *call) (any, error) {
	p, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	same, _, err := query[lazuli.Profile](c.ctx(), a.Store, store.Query{Where: []store.Where{
		{Field: store.FieldName, Op: store.Eq, Value: p.Name},
		{Field: store.FieldProject, Op: store.Eq, Value: p.Project},
	}})
	if err != nil {
		return nil, err
	}
	versions := make([]palette.ProfileVersion, 0, len(same))
	for i := range same {
		versions = append(versions, palette.ProfileVersion{UID: same[i].UID, Version: same[i].ProfileVersion})
	}
	slices.SortFunc(versions, func(x, y palette.ProfileVersion) int {
		return cmp.Or(cmp.Compare(x.Version, y.Version), cmp.Compare(x.UID, y.UID))
	})
	return palette.Profile(p, versions), nil
}

// changeProfile runs change on a profile inside one transaction.
func (a *API) changeProfile(c *call, change func(*lazuli.Profile) error) error {
	var name string
	err := a.Store.Update(c.ctx(), func(tx store.Tx) error {
		p, err := getToChange[lazuli.Profile](c.ctx(), tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		if err := change(p); err != nil {
			return err
		}
		name = p.Name + " " + p.ProfileVersion
		if err := tx.Update(c.ctx(), p); err != nil {
			return fmt.Errorf("update profile %s: %w", p.UID, err)
		}
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindProfile, p.UID, p.Project))
	})
	return nameTaken(err, name)
}

// updateProfile replaces the draft. Cloud type and type stay: a client that
// wants others makes another profile.
func updateProfile(a *API, c *call) (any, error) {
	var in palette.ClusterProfileUpdateEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, a.changeProfile(c, func(p *lazuli.Profile) error {
		var f lazuli.Fields
		if in.Spec == nil || in.Spec.Template == nil {
			f.Add("spec.template", "is required")
			return f.Err()
		}
		if t := in.Spec.Template.Type; t != "" && t != p.Type {
			f.Add("spec.template.type", "is %q and cannot become %q", p.Type, shorten(t))
		}
		if in.Metadata != nil && in.Metadata.Name != "" {
			checkTitle(&f, in.Metadata.Name)
			p.Name = in.Metadata.Name
		}
		p.ProfileVersion = version(&f, "spec.version", in.Spec.Version, p.ProfileVersion)
		layers, err := a.layers(&f, in.Spec.Template.Packs, manifestsOf(p))
		if err != nil {
			return err
		}
		if len(f) == 0 {
			a.validateLayers(&f, p.Type, layers)
		}
		p.Draft = layers
		return f.Err()
	})
}

func manifestsOf(p *lazuli.Profile) map[string]lazuli.Manifest {
	out := map[string]lazuli.Manifest{}
	for _, l := range slices.Concat(p.Published, p.Draft) {
		for _, m := range l.Manifests {
			out[m.UID] = m
		}
	}
	return out
}

func updateProfileMeta(a *API, c *call) (any, error) {
	var in palette.ProfileMetaEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, a.changeProfile(c, func(p *lazuli.Profile) error {
		var f lazuli.Fields
		if in.Metadata == nil {
			f.Add("metadata", "is required")
			return f.Err()
		}
		checkTitle(&f, in.Metadata.Name)
		p.Name, p.Labels, p.Annotations = in.Metadata.Name, in.Metadata.Labels, annotations(&f, in.Metadata)
		if in.Spec != nil {
			p.ProfileVersion = version(&f, "spec.version", in.Spec.Version, p.ProfileVersion)
		}
		return f.Err()
	})
}

// publishProfile makes the draft what clusters get. Without a draft it changes
// nothing, so that it may be repeated.
func publishProfile(a *API, c *call) (any, error) {
	return nil, a.changeProfile(c, func(p *lazuli.Profile) error {
		if p.Draft != nil || !p.IsPublished {
			p.Published, p.Draft, p.IsPublished = p.Draft, nil, true
		}
		return nil
	})
}

func deleteProfile(a *API, c *call) (any, error) {
	return nil, a.Store.Update(c.ctx(), func(tx store.Tx) error {
		p, err := getToChange[lazuli.Profile](c.ctx(), tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		if err := profileIsFree(c.ctx(), tx, p); err != nil {
			return err
		}
		if err := tx.Delete(c.ctx(), lazuli.KindProfile, p.UID); err != nil {
			return fmt.Errorf("delete profile %s: %w", p.UID, err)
		}
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindProfile, p.UID, p.Project))
	})
}

// profileIsFree refuses while a cluster that is not Deleted has a snapshot of
// the profile.
func profileIsFree(ctx context.Context, r store.Reader, p *lazuli.Profile) error {
	where := []store.Where{{Field: store.FieldState, Op: store.NotEq, Value: string(lazuli.StateDeleted)}}
	if p.Project != "" {
		where = append(where, store.Where{Field: store.FieldProject, Op: store.Eq, Value: p.Project})
	}
	clusters, _, err := query[lazuli.Cluster](ctx, r, store.Query{Where: where})
	if err != nil {
		return err
	}
	for i := range clusters {
		for _, s := range clusters[i].Profiles {
			if s.UID == p.UID {
				return lazuli.Errorf(lazuli.CodeInUse, "profile %q is used by cluster %q", p.Name, clusters[i].Name)
			}
		}
	}
	return nil
}

func getProfileVariables(a *API, c *call) (any, error) {
	p, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	return palette.VariablesOf(p), nil
}

func getProfileManifests(a *API, c *call) (any, error) {
	p, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	layers := p.Published
	if !p.IsPublished {
		layers = p.Draft
	}
	name := c.param("packName")
	i := slices.IndexFunc(layers, func(l lazuli.Layer) bool { return l.Name == name })
	if i < 0 {
		return nil, lazuli.Errorf(lazuli.CodeNotFound, "profile %q has no pack %q", p.Name, shorten(name))
	}
	return palette.NewList(palette.Manifests(&layers[i]), nil), nil
}

func listProfileMetadata(a *API, c *call) (any, error) {
	profiles, err := visible[lazuli.Profile](a, c, store.Query{Sort: store.FieldName})
	if err != nil {
		return nil, err
	}
	items := make([]palette.ClusterProfileMetadata, 0, len(profiles))
	for i := range profiles {
		items = append(items, palette.ProfileMetadata(&profiles[i]))
	}
	return palette.NewList(items, nil), nil
}
