// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/pack"
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

func profileRoutes() []route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	const profile = "/v1/clusterprofiles"
	return []route{
		{Method: post, Pattern: profile, Operation: "v1ClusterProfilesCreate", Permission: auth.ClusterProfileCreate, Status: created, Body: maxBody, Mutates: true, Handle: createProfile},
		{Method: get, Pattern: profile + "/{uid}", Operation: "v1ClusterProfilesGet", Permission: auth.ClusterProfileGet, Status: ok, Handle: getProfile},
		{Method: put, Pattern: profile + "/{uid}", Operation: "v1ClusterProfilesUpdate", Permission: auth.ClusterProfileUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: updateProfile},
		{Method: del, Pattern: profile + "/{uid}", Operation: "v1ClusterProfilesDelete", Permission: auth.ClusterProfileDelete, Status: noContent, Mutates: true, Handle: deleteProfile},
		{Method: patch, Pattern: profile + "/{uid}/publish", Operation: "v1ClusterProfilesPublish", Permission: auth.ClusterProfilePublish, Status: noContent, Mutates: true, Handle: publishProfile},
		{Method: patch, Pattern: profile + "/{uid}/metadata", Operation: "v1ClusterProfilesUidMetadataUpdate", Permission: auth.ClusterProfileUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: updateProfileMeta},
		{Method: get, Pattern: profile + "/{uid}/variables", Operation: "V1ClusterProfilesUidVariablesGet", Permission: auth.ClusterProfileGet, Status: ok, Handle: getProfileVariables},
		{Method: put, Pattern: profile + "/{uid}/variables", Operation: "V1ClusterProfilesUidVariablesPut", Permission: auth.ClusterProfileUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: putProfileVariables},
		{Method: patch, Pattern: profile + "/{uid}/variables", Operation: "V1ClusterProfilesUidVariablesPatch", Permission: auth.ClusterProfileUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: patchProfileVariables},
		{Method: del, Pattern: profile + "/{uid}/variables", Operation: "V1ClusterProfilesUidVariablesDelete", Permission: auth.ClusterProfileUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: deleteProfileVariables},

		{Method: post, Pattern: profile + "/{uid}/clone", Operation: "v1ClusterProfilesUidClone", Permission: auth.ClusterProfileCreate, Status: created, Body: maxBody, Mutates: true, Handle: cloneProfile},
		{Method: post, Pattern: profile + "/{uid}/clone/validate", Operation: "v1ClusterProfilesUidCloneValidate", Permission: auth.ClusterProfileCreate, Status: noContent, Body: maxBody, Handle: validateClone},
		{Method: get, Pattern: profile + "/validate/name", Operation: "v1ClusterProfilesValidateNameVersion", Permission: auth.ClusterProfileCreate, Status: noContent, Handle: validateProfileName},
		{Method: post, Pattern: profile + "/validate/packs", Operation: "v1ClusterProfilesValidatePacks", Permission: auth.ClusterProfileCreate, Status: ok, Body: maxBody, Handle: validatePacks},
		{Method: post, Pattern: profile + "/{uid}/validate/packs", Operation: "v1ClusterProfilesUidValidatePacks", Permission: auth.ClusterProfileGet, Status: ok, Body: maxBody, Handle: validatePacks},
		{Method: del, Pattern: profile + "/bulk", Operation: "v1ClusterProfilesBulkDelete", Permission: auth.ClusterProfileDelete, Status: ok, Body: maxBody, Mutates: true, Handle: deleteProfiles},
		{Method: get, Pattern: profile + "/{uid}/export", Operation: "V1ClusterProfilesUidExport", Permission: auth.ClusterProfileGet, Status: ok, Handle: exportProfile},
		{Method: get, Pattern: profile + "/{uid}/spc/download", Operation: "v1ClusterProfilesUidSpcDownload", Permission: auth.ClusterProfileGet, Status: ok, Handle: exportProfile},
		{Method: post, Pattern: profile + "/import", Operation: "v1ClusterProfilesImport", Permission: auth.ClusterProfileCreate, Status: created, Body: maxBody, Mutates: true, Handle: importProfile},
		{Method: post, Pattern: profile + "/import/file", Operation: "v1ClusterProfilesImportFile", Permission: auth.ClusterProfileCreate, Status: created, Body: maxBody, File: "importFile", Mutates: true, Handle: importProfileFile},
		{Method: post, Pattern: profile + "/import/validate", Operation: "v1ClusterProfilesImportValidate", Permission: auth.ClusterProfileCreate, Status: ok, Body: maxBody, Handle: validateImport},
		{Method: get, Pattern: profile + "/{uid}/packs", Operation: "v1ClusterProfilesUidPacksGet", Permission: auth.ClusterProfileGet, Status: ok, Handle: getProfilePacks},
		{Method: get, Pattern: profile + "/{uid}/packs/manifests", Operation: "v1ClusterProfilesUidPacksManifestsGet", Permission: auth.ClusterProfileGet, Status: ok, Handle: getProfilePackManifests},
		{Method: get, Pattern: profile + "/{uid}/packs/{packName}", Operation: "V1ClusterProfilesUidPacksNameGet", Permission: auth.ClusterProfileGet, Status: ok, Handle: getProfilePack},
		{Method: get, Pattern: "/v1/dashboard/clusterprofiles/{uid}", Operation: "v1ClusterProfilesUidSummary", Permission: auth.ClusterProfileGet, Status: ok, Handle: getProfileSummary},
		{Method: post, Pattern: "/v1/dashboard/clusterprofiles", Operation: "v1ClusterProfilesFilterSummary", Permission: auth.ClusterProfileList, Status: ok, Body: maxBody, Handle: searchProfiles},
		{Method: get, Pattern: profile + "/{uid}/packs/{packName}/manifests", Operation: "v1ClusterProfilesUidPacksUidManifests", Permission: auth.ClusterProfileGet, Status: ok, Handle: getProfileManifests},
		{Method: get, Pattern: "/v1/dashboard/clusterprofiles/metadata", Operation: "v1ClusterProfilesMetadata", Permission: auth.ClusterProfileList, Status: ok, Handle: listProfileMetadata},
	}
}

func createProfile(a *API, c *call) (any, error) {
	var in palette.ClusterProfileEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	project, err := a.mayCreate(c)
	if err != nil {
		return nil, err
	}
	publish, err := c.flag("publish")
	if err != nil {
		return nil, err
	}
	return a.createProfile(c, project, &in, publish)
}

// createProfile makes a profile of a request and stores it.
func (a *API) createProfile(c *call, project string, in *palette.ClusterProfileEntity, publish bool) (any, error) {
	p, err := a.newProfile(c, project, in)
	if err != nil {
		return nil, err
	}
	if publish {
		p.Published, p.Draft, p.IsPublished = p.Draft, nil, true
	}
	uid, err := createOnce(a, c, p, func(tx store.Tx) error {
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindProfile, p.UID, p.Project))
	})
	return palette.UID{UID: uid}, err
}

// flag reads a query parameter that is true or false.
func (c *call) flag(name string) (bool, error) {
	s := c.query(name)
	if s == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		var f lazuli.Fields
		f.Add(name, "%q is neither true nor false", shorten(s))
		return false, f.Err()
	}
	return v, nil
}

// newProfile checks a request and makes the profile of it, whose layers are a
// draft.
func (a *API) newProfile(c *call, project string, in *palette.ClusterProfileEntity) (*lazuli.Profile, error) {
	var f lazuli.Fields
	uid, err := a.newUID()
	if err != nil {
		return nil, err
	}
	p := &lazuli.Profile{Meta: lazuli.Meta{UID: uid, Project: project}, ProfileVersion: defaultProfileVersion}
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
	vars, err := a.setVariables(&f, "spec.variables", p, in.Spec.Variables)
	if err != nil {
		return nil, err
	}
	if p.Draft, err = a.layers(c, a.Store, &f, t.Packs, nil); err != nil {
		return nil, err
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return p, a.validateLayers(c, a.Store, p, p.Draft, vars)
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
	c *call, r store.Reader, f *lazuli.Fields, packs []palette.PackManifestEntity, old []lazuli.Layer,
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
		if err := a.checkRegistry(c, r, f, path, &l); err != nil {
			return nil, err
		}
		manifests, err := a.manifests(f, path, in.Manifests, in.Name, old)
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
	f *lazuli.Fields, path string, in []palette.ManifestRefUpdateEntity, layer string, old []lazuli.Layer,
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
		kept, known := keptManifest(old, layer, m)
		if m.UID != "" && !known {
			f.Add(at+".uid", "%q is no manifest of this profile; leave it empty for a new one", shorten(m.UID))
		}
		if !known {
			var err error
			if kept.UID, err = a.newUID(); err != nil {
				return nil, err
			}
		}
		out = append(out, lazuli.Manifest{UID: kept.UID, Name: m.Name, Content: orElse(m.Content, kept.Content)})
	}
	return out, nil
}

// keptManifest finds the manifest that an entry of an update means: the one with
// its uid, else the one of its name in the same layer.
func keptManifest(old []lazuli.Layer, layer string, m palette.ManifestRefUpdateEntity) (lazuli.Manifest, bool) {
	for _, l := range old {
		for _, o := range l.Manifests {
			if m.UID != "" && o.UID == m.UID || m.UID == "" && l.Name == layer && o.Name == m.Name {
				return o, true
			}
		}
	}
	return lazuli.Manifest{}, false
}

// checkRegistry wants the registry of a layer to be known. Packs of the built-in
// registry are found without it; charts are not.
func (a *API) checkRegistry(c *call, r store.Reader, f *lazuli.Fields, path string, l *lazuli.Layer) error {
	var want lazuli.RegistryType
	switch l.Type {
	case palette.PackTypeHelm:
		want = lazuli.RegistryHelm
	case palette.PackTypeOCI:
		want = lazuli.RegistryOCI
	case palette.PackTypeSpectro:
		if l.RegistryUID == "" || l.RegistryUID == a.Packs.UID() {
			return nil
		}
	default:
		return nil
	}
	if l.RegistryUID == "" {
		f.Add(path+".registryUid", "is required for a pack of type %s; GET /v1/registries/metadata lists the registries", l.Type)
		return nil
	}
	_, err := userRegistry(c, r, l.RegistryUID, want)
	if lazuli.CodeOf(err) == lazuli.CodeNotFound {
		f.Add(path+".registryUid", "no registry for packs of type %s has the uid %q; GET /v1/registries/metadata lists them",
			l.Type, shorten(l.RegistryUID))
		return nil
	}
	return err
}

// validateLayers refuses what the packs say against the layers of a profile.
func (a *API) validateLayers(c *call, r store.Reader, p *lazuli.Profile, layers []lazuli.Layer, vars []pack.Variable) error {
	macros, err := a.macrosOf(c.ctx(), r, p.Project)
	if err != nil {
		return err
	}
	return a.Packs.ValidateProfile(p.Type, layers, vars, pack.Scope{Macros: macros}).Err()
}

func getProfile(a *API, c *call) (any, error) {
	p, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	versions, err := a.versionsOf(c, p)
	if err != nil {
		return nil, err
	}
	return palette.Profile(p, versions), nil
}

// versionsOf are all versions of a profile's name in its scope.
func (a *API) versionsOf(c *call, p *lazuli.Profile) ([]palette.ProfileVersion, error) {
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
	return versions, nil
}

// changeProfile runs change on a profile inside one transaction.
func (a *API) changeProfile(c *call, change func(store.Tx, *lazuli.Profile) error) error {
	var name string
	err := a.Store.Update(c.ctx(), func(tx store.Tx) error {
		p, err := getToChange[lazuli.Profile](c.ctx(), tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		before := p.Content()
		if err := change(tx, p); err != nil {
			return err
		}
		name = p.Name + " " + p.ProfileVersion
		if err := tx.Update(c.ctx(), p); err != nil {
			return fmt.Errorf("update profile %s: %w", p.UID, err)
		}
		return errors.Join(offered(c.ctx(), tx, p, before), tx.AppendAudit(c.ctx(), c.audit(lazuli.KindProfile, p.UID, p.Project)))
	})
	return nameTaken(err, name)
}

// offered has the clusters of a profile marked when it has other content than
// before, "" for a profile that none had.
func offered(ctx context.Context, tx store.Tx, p *lazuli.Profile, before string) error {
	if before == "" || p.Content() == before {
		return nil
	}
	if err := tx.Touch(ctx, store.WorkKey{Kind: lazuli.KindProfile, ID: p.UID}, time.Time{}); err != nil {
		return fmt.Errorf("offer an update of profile %s: %w", p.UID, err)
	}
	return nil
}

// updateProfile replaces the draft. Cloud type and type stay: a client that
// wants others makes another profile.
func updateProfile(a *API, c *call) (any, error) {
	var in palette.ClusterProfileUpdateEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, a.changeProfile(c, func(tx store.Tx, p *lazuli.Profile) error {
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
		layers, err := a.layers(c, tx, &f, in.Spec.Template.Packs, slices.Concat(p.Draft, p.Published))
		if err != nil {
			return err
		}
		vars, err := pack.ParseVariables(p.Variables)
		if err = errors.Join(f.Err(), err); err != nil {
			return err
		}
		p.Draft = layers
		return a.validateLayers(c, tx, p, layers, vars)
	})
}

func updateProfileMeta(a *API, c *call) (any, error) {
	var in palette.ProfileMetaEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, a.changeProfile(c, func(_ store.Tx, p *lazuli.Profile) error {
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
	return nil, a.changeProfile(c, func(tx store.Tx, p *lazuli.Profile) error {
		vars, err := pack.ParseVariables(p.Variables)
		if err != nil {
			return fmt.Errorf("publish profile %s: %w", p.UID, err)
		}
		layers := p.Draft
		if layers == nil {
			layers = p.Published
		}
		// Variables may have changed since the draft was checked.
		if err := a.validateLayers(c, tx, p, layers, vars); err != nil {
			return err
		}
		if p.Draft != nil || !p.IsPublished {
			p.Published, p.Draft, p.IsPublished = p.Draft, nil, true
		}
		return nil
	})
}

func deleteProfile(a *API, c *call) (any, error) {
	return nil, a.deleteOneProfile(c, c.param("uid"))
}

func (a *API) deleteOneProfile(c *call, uid string) error {
	return a.Store.Update(c.ctx(), func(tx store.Tx) error { //nolint:wrapcheck // says all
		p, err := getToChange[lazuli.Profile](c.ctx(), tx, c, uid)
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
	page, err := r.Query(ctx, store.Query{Kind: lazuli.KindCluster, Limit: 1, Heads: true, Where: []store.Where{
		{Facet: lazuli.FacetProfileUID, Op: store.Eq, Value: p.UID},
		{Field: store.FieldState, Op: store.NotEq, Value: string(lazuli.StateDeleted)},
	}})
	if err != nil {
		return fmt.Errorf("list the clusters of profile %s: %w", p.UID, err)
	}
	if len(page.Rows) > 0 {
		return lazuli.Errorf(lazuli.CodeInUse, "profile %q is used by cluster %q", p.Name, page.Rows[0].Meta.Name)
	}
	return nil
}

func getProfileManifests(a *API, c *call) (any, error) {
	p, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	layers := shownLayers(p)
	name := c.param("packName")
	i := slices.IndexFunc(layers, func(l lazuli.Layer) bool { return l.Name == name })
	if i < 0 {
		return nil, lazuli.Errorf(lazuli.CodeNotFound, "profile %q has no pack %q", p.Name, shorten(name))
	}
	return palette.NewList(palette.Manifests(&layers[i]), nil), nil
}

func listProfileMetadata(a *API, c *call) (any, error) {
	q := store.Query{Kind: lazuli.KindProfile, Sort: store.FieldName, Heads: true}
	if err := a.usable(c, &q); err != nil {
		return nil, err
	}
	page, err := a.Store.Query(c.ctx(), q)
	if err != nil {
		return nil, fmt.Errorf("list profiles: %w", err)
	}
	items := make([]json.RawMessage, 0, len(page.Rows))
	for i := range page.Rows {
		head, err := a.headOf(c, &page.Rows[i], &lazuli.Profile{})
		if err != nil {
			return nil, err
		}
		items = append(items, head)
	}
	return palette.NewList(items, nil), nil
}
