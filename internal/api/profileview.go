// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// shownLayers are what clusters get of a profile, or would get.
func shownLayers(p *lazuli.Profile) []lazuli.Layer {
	if p.IsPublished {
		return p.Published
	}
	return p.Draft
}

// packOf is what a layer's pack is, as far as a registry here knows it.
func (a *API) packOf(l *lazuli.Layer) *wire.PackSummarySpec {
	out := &wire.PackSummarySpec{
		Layer: wire.PackLayer(l.Layer), Name: l.Name, RegistryUID: l.RegistryUID, Type: wire.PackType(l.Type),
		Values: l.Values, Version: orElse(l.Version, l.Tag),
	}
	if p, ok := a.Packs.ByUID(l.PackUID); ok {
		out.AddonType, out.AddonSubType, out.Annotations, out.CloudTypes = p.AddonType, p.AddonSubType, p.Annotations, p.CloudTypes
		out.Digest, out.DisplayName, out.Eol, out.Group, out.LogoURL = p.Digest, p.DisplayName, p.EOL, p.Group, p.LogoURL
		out.RegistryUID = orElse(out.RegistryUID, p.RegistryUID)
	}
	for _, m := range l.Manifests {
		out.Manifests = append(out.Manifests, wire.ObjectReference{Kind: "manifest", Name: m.Name, UID: m.UID})
	}
	return out
}

func packMeta(l *lazuli.Layer) *wire.ObjectMeta {
	return &wire.ObjectMeta{Name: l.Name, UID: l.PackUID}
}

func getProfilePacks(a *API, c *call) (any, error) {
	p, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	out := wire.ClusterProfilePacksEntities{Items: []wire.ClusterProfilePacksEntity{}}
	for _, l := range shownLayers(p) {
		out.Items = append(out.Items, wire.ClusterProfilePacksEntity{Metadata: packMeta(&l), Spec: a.packOf(&l)})
	}
	return out, nil
}

func getProfilePackManifests(a *API, c *call) (any, error) {
	p, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	out := wire.ClusterProfilePacksManifests{Metadata: wireMeta(&p.Meta), Spec: &wire.ClusterProfilePacksManifests_Spec{}}
	for _, l := range shownLayers(p) {
		s := a.packOf(&l)
		spec := &wire.PackManifestsSpec{
			AddonType: s.AddonType, Annotations: s.Annotations, CloudTypes: s.CloudTypes, Digest: s.Digest, DisplayName: s.DisplayName,
			Eol: s.Eol, Group: s.Group, Layer: s.Layer, LogoURL: s.LogoURL, Name: s.Name, RegistryUID: s.RegistryUID, Type: s.Type,
			Values: s.Values, Version: s.Version,
		}
		for _, m := range l.Manifests {
			spec.Manifests = append(spec.Manifests, wire.ManifestSummary{Content: m.Content, Name: m.Name, UID: m.UID})
		}
		out.Spec.Packs = append(out.Spec.Packs, wire.ClusterProfilePackManifests{Metadata: packMeta(&l), Spec: spec})
	}
	return out, nil
}

func getProfilePack(a *API, c *call) (any, error) {
	p, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	name := c.param("packName")
	for _, l := range shownLayers(p) {
		if l.Name != name {
			continue
		}
		names, err := a.registryNames(c)
		if err != nil {
			return nil, err
		}
		spec := &wire.PackRefSummarySpec{Pack: a.packOf(&l)}
		if uid := spec.Pack.RegistryUID; names[uid] != "" {
			spec.Registry = &wire.RegistryMetadata{Name: names[uid], UID: uid, Kind: l.Type}
		}
		return wire.PackRefSummaryResponse{Metadata: packMeta(&l), Spec: spec}, nil
	}
	return nil, lazuli.Errorf(lazuli.CodeNotFound, "profile %q has no pack %q", p.Name, shorten(name))
}

// validatePacks tells per pack what speaks against it, and stores nothing.
func validatePacks(a *API, c *call) (any, error) {
	var in palette.ProfileTemplateDraft
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	p := &lazuli.Profile{Type: orElse(in.Type, palette.TypeFull)}
	var old []lazuli.Layer
	if uid := c.param("uid"); uid != "" {
		stored, err := get[lazuli.Profile](c.ctx(), a.Store, c, uid)
		if err != nil {
			return nil, err
		}
		p, old = stored, slices.Concat(stored.Draft, stored.Published)
	}
	var f lazuli.Fields
	layers, err := a.layers(c, a.Store, &f, in.Packs, old)
	if err != nil {
		return nil, err
	}
	vars, err := pack.ParseVariables(p.Variables)
	if err != nil {
		return nil, fmt.Errorf("read the variables of profile %s: %w", p.UID, err)
	}
	macros, err := a.macrosOf(c.ctx(), a.Store, p.Project)
	if err != nil {
		return nil, err
	}
	for _, x := range a.Packs.ValidateProfile(p.Type, layers, vars, pack.Scope{Macros: macros}) {
		f.Add(x.Path, "%s", x.Message)
	}
	results := make([]wire.ConstraintValidatorResult, 0, len(layers))
	for i, l := range layers {
		at := fmt.Sprintf("spec.template.packs[%d]", i)
		r := wire.ConstraintValidatorResult{Name: l.Name, DisplayName: l.Name}
		for _, x := range f {
			whole := x.Path == "spec.template.packs" || x.Path == "spec.template.type"
			if strings.HasPrefix(x.Path+".", at+".") || strings.HasPrefix(x.Path, at+".") || whole && i == 0 {
				r.Errors = append(r.Errors, wire.ConstraintError{Code: string(lazuli.CodeInvalidField), Message: x.Message})
			}
		}
		results = append(results, r)
	}
	return wire.ClusterProfileValidatorResponse{Packs: &wire.ConstraintValidatorResponse{Results: results}}, nil
}

func (a *API) summary(p *lazuli.Profile, versions []palette.ProfileVersion, users []lazuli.Cluster) wire.ClusterProfileSummary {
	template := func(layers []lazuli.Layer) *wire.ClusterProfileTemplateSummary {
		if layers == nil {
			return nil
		}
		out := &wire.ClusterProfileTemplateSummary{CloudType: p.CloudType, Type: p.Type}
		for _, l := range layers {
			s := a.packOf(&l)
			out.Packs = append(out.Packs, wire.PackRefSummary{
				AddonType: s.AddonType, Annotations: s.Annotations, DisplayName: s.DisplayName, Layer: s.Layer, LogoURL: s.LogoURL,
				Name: s.Name, PackUID: l.PackUID, Tag: l.Tag, Type: l.Type, Version: s.Version,
			})
		}
		return out
	}
	out := wire.ClusterProfileSummary{
		Metadata: wireMeta(&p.Meta),
		SpecSummary: &wire.ClusterProfileSummary_SpecSummary{
			Draft: template(p.Draft), Published: template(p.Published), Version: p.ProfileVersion,
		},
		Status: &wire.ClusterProfileStatusSummary{IsPublished: p.IsPublished},
	}
	for _, v := range versions {
		out.SpecSummary.Versions = append(out.SpecSummary.Versions, wire.ClusterProfileVersion{UID: v.UID, Version: v.Version})
	}
	for i := range users {
		if slices.ContainsFunc(users[i].Profiles, func(s lazuli.ProfileSnapshot) bool { return s.UID == p.UID }) {
			out.Status.InUseClusterUids = append(out.Status.InUseClusterUids, users[i].UID)
			out.Status.InUseClusters = append(out.Status.InUseClusters, wire.ObjectEntity{Name: users[i].Name, UID: users[i].UID})
		}
	}
	return out
}

// clustersOf are the clusters that use a profile and that the caller may see.
func (a *API) clustersOf(c *call, p *lazuli.Profile) ([]lazuli.Cluster, error) {
	all, _, err := query[lazuli.Cluster](c.ctx(), a.Store, store.Query{Where: []store.Where{
		{Facet: lazuli.FacetProfileUID, Op: store.Eq, Value: p.UID},
		{Field: store.FieldState, Op: store.NotEq, Value: string(lazuli.StateDeleted)},
	}})
	return slices.DeleteFunc(all, func(cl lazuli.Cluster) bool { return !c.sees(&cl) }), err
}

func getProfileSummary(a *API, c *call) (any, error) {
	p, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	versions, err := a.versionsOf(c, p)
	if err != nil {
		return nil, err
	}
	users, err := a.clustersOf(c, p)
	if err != nil {
		return nil, err
	}
	return a.summary(p, versions, users), nil
}

// profileQuery is the body of a search. Absent conditions do not narrow it.
type profileQuery struct {
	Filter *struct {
		Environment []string              `json:"environment"`
		ProfileName *palette.FilterString `json:"profileName"`
		ProfileType []string              `json:"profileType"`
		Scope       string                `json:"scope"`
		Tags        *struct {
			Eq []string `json:"eq"`
		} `json:"tags"`
		Version *palette.FilterString `json:"version"`
	} `json:"filter"`
	Sort []palette.PackSortSpec `json:"sort"`
}

func (q *profileQuery) matches(p *lazuli.Profile) bool {
	f := q.Filter
	if f == nil {
		return true
	}
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	scope := palette.ScopeTenant
	if p.Project != "" {
		scope = palette.ScopeProject
	}
	tagged := f.Tags == nil || len(f.Tags.Eq) == 0 || slices.ContainsFunc(f.Tags.Eq, func(tag string) bool {
		key, value, _ := strings.Cut(tag, ":")
		have, ok := p.Labels[key]
		return ok && (value == "" || have == value)
	})
	return tagged && in(f.Environment, p.CloudType) && in(f.ProfileType, p.Type) && (f.Scope == "" || f.Scope == scope) &&
		filterString(f.ProfileName, p.Name) && filterString(f.Version, p.ProfileVersion)
}

// sortProfiles orders a search; the store's order, by name, is the last word.
func (q *profileQuery) sortProfiles(all []lazuli.Profile) {
	for _, s := range slices.Backward(q.Sort) {
		slices.SortStableFunc(all, func(x, y lazuli.Profile) int {
			if s.Order == "desc" {
				x, y = y, x
			}
			switch s.Field {
			case "environment":
				return strings.Compare(x.CloudType, y.CloudType)
			case "profileType":
				return strings.Compare(x.Type, y.Type)
			case "creationTimestamp":
				return x.CreatedAt.Compare(y.CreatedAt)
			case "lastModifiedTimestamp":
				return x.UpdatedAt.Compare(y.UpdatedAt)
			default:
				return strings.Compare(lazuli.Fold(x.Name), lazuli.Fold(y.Name))
			}
		})
	}
}

func searchProfiles(a *API, c *call) (any, error) {
	var in profileQuery
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	w, err := c.window()
	if err != nil {
		return nil, err
	}
	all, err := visible[lazuli.Profile](a, c, store.Query{Sort: store.FieldName})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p lazuli.Profile) bool { return !in.matches(&p) })
	in.sortProfiles(all)
	page, meta, err := cut(w, all)
	if err != nil {
		return nil, err
	}
	items := make([]wire.ClusterProfileSummary, 0, len(page))
	for i := range page {
		versions, err := a.versionsOf(c, &page[i])
		if err != nil {
			return nil, err
		}
		users, err := a.clustersOf(c, &page[i])
		if err != nil {
			return nil, err
		}
		items = append(items, a.summary(&page[i], versions, users))
	}
	return palette.NewList(items, meta), nil
}
