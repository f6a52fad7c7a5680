// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// anything as a cloud type or environment is no restriction.
const anything = "all"

func packRoutes() []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{Method: get, Pattern: "/v1/packs", Operation: "v1PacksSummaryList", Permission: auth.PackRegistryList, Status: ok, Handle: listPacks},
		{Method: get, Pattern: "/v1/packs/{uid}", Operation: "v1PacksUid", Permission: auth.PackRegistryGet, Status: ok, Handle: getPack},
		{Method: post, Pattern: "/v1/packs/search", Operation: "v1PacksSearch", Permission: auth.PackRegistryList, Status: ok, Body: maxBody, Handle: searchPacks},
		{Method: get, Pattern: "/v1/packs/{packName}/registries/{registryUid}", Operation: "v1PacksNameRegistryUidList", Permission: auth.PackRegistryGet, Status: ok, Handle: getPackVersions},
	}
}

func (a *API) registry(uid string) error {
	if uid != a.Packs.UID() {
		return lazuli.Errorf(lazuli.CodeNotFound, "there is no registry with the uid %q", shorten(uid))
	}
	return nil
}

func packSummary(p *pack.Pack) palette.PackSummary {
	return palette.PackSummary{
		Kind:     "pack",
		Metadata: palette.ObjectMeta{Name: p.Name, UID: p.UID},
		Spec: palette.PackSummarySpec{
			AddonSubType: p.AddonSubType, AddonType: p.AddonType, Annotations: p.Annotations, CloudTypes: p.CloudTypes,
			Digest: p.Digest, DisplayName: p.DisplayName, EOL: p.EOL, Group: p.Group, Layer: string(p.Layer),
			LogoURL: p.LogoURL, Name: p.Name, RegistryUID: p.RegistryUID, Type: p.Type, Values: p.Values, Version: p.Version,
		},
	}
}

// getPack answers one version in the form of all versions of a pack.
func getPack(a *API, c *call) (any, error) {
	p, ok := a.Packs.ByUID(c.param("uid"))
	if !ok {
		return nil, lazuli.Errorf(lazuli.CodeNotFound, "there is no pack with the uid %q", shorten(c.param("uid")))
	}
	var out palette.PackTagEntity
	addPackVersion(&out, &p)
	return out, nil
}

// addPackVersion adds a version; the first one says what the pack is.
func addPackVersion(out *palette.PackTagEntity, p *pack.Pack) {
	if len(out.Tags) == 0 {
		*out = palette.PackTagEntity{
			AddonSubType: p.AddonSubType, AddonType: p.AddonType, CloudTypes: p.CloudTypes, DisplayName: p.DisplayName,
			Layer: string(p.Layer), LogoURL: p.LogoURL, Name: p.Name, RegistryUID: p.RegistryUID,
		}
	}
	out.Tags = append(out.Tags, palette.PackTag{
		Group: p.Group, PackUID: p.UID, ParentTags: p.Tags[1:], Tag: p.Version, Version: p.Version,
	})
	out.PackValues = append(out.PackValues, palette.PackUIDValues{
		Annotations: p.Annotations, PackUID: p.UID, Readme: p.Readme, Values: p.Values,
	})
}

// packFields are what the filter of a pack list may name.
var packFields = map[string]func(*pack.Pack) []string{
	"metadata.uid":      func(p *pack.Pack) []string { return []string{p.UID} },
	"metadata.name":     func(p *pack.Pack) []string { return []string{p.Name} },
	"spec.name":         func(p *pack.Pack) []string { return []string{p.Name} },
	"spec.displayName":  func(p *pack.Pack) []string { return []string{p.DisplayName} },
	"spec.version":      func(p *pack.Pack) []string { return []string{p.Version} },
	"spec.layer":        func(p *pack.Pack) []string { return []string{string(p.Layer)} },
	"spec.type":         func(p *pack.Pack) []string { return []string{p.Type} },
	"spec.registryUid":  func(p *pack.Pack) []string { return []string{p.RegistryUID} },
	"spec.cloudTypes":   func(p *pack.Pack) []string { return append([]string{anything}, p.CloudTypes...) },
	"spec.addonType":    func(p *pack.Pack) []string { return []string{p.AddonType} },
	"spec.addonSubType": func(p *pack.Pack) []string { return []string{p.AddonSubType} },
}

// packTermStart is where a term of a filter starts: terms are joined by the
// bare word AND, which values may contain too.
var packTermStart = regexp.MustCompile(`AND((?:spec|metadata)\.)`)

// packFilter reads a filter such as spec.name=XANDspec.cloudTypes_in_azure,all.
func packFilter(s string) (func(*pack.Pack) bool, error) {
	var tests []func(*pack.Pack) bool
	var f lazuli.Fields
	if s != "" {
		for term := range strings.SplitSeq(packTermStart.ReplaceAllString(s, "\x00$1"), "\x00") {
			field, values, ok := splitTerm(strings.TrimSpace(term))
			of := packFields[field]
			if !ok || of == nil {
				f.Add("filters", "%q is no term of the form field=value or field_in_value,value; the fields are %s",
					shorten(term), strings.Join(sortedKeys(packFields), ", "))
				continue
			}
			tests = append(tests, func(p *pack.Pack) bool {
				return slices.ContainsFunc(of(p), func(v string) bool { return slices.Contains(values, v) })
			})
		}
	}
	return func(p *pack.Pack) bool {
		for _, t := range tests {
			if !t(p) {
				return false
			}
		}
		return true
	}, f.Err()
}

func splitTerm(term string) (field string, values []string, ok bool) {
	if field, list, ok := strings.Cut(term, "_in_"); ok && !strings.Contains(field, "=") {
		return field, strings.Split(list, ","), true
	}
	field, value, ok := strings.Cut(term, "=")
	return field, []string{value}, ok
}

func listPacks(a *API, c *call) (any, error) {
	w, err := c.window()
	if err != nil {
		return nil, err
	}
	keep, err := packFilter(c.query("filters"))
	if err != nil {
		return nil, err
	}
	var items []palette.PackSummary
	for _, p := range a.Packs.Packs() {
		if keep(&p) {
			items = append(items, packSummary(&p))
		}
	}
	page, meta, err := cut(w, items)
	if err != nil {
		return nil, err
	}
	return palette.NewList(page, meta), nil
}

// searchPacks answers packs over all their versions.
func searchPacks(a *API, c *call) (any, error) {
	var in palette.PacksFilterSpec
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	w, err := c.window()
	if err != nil {
		return nil, err
	}
	var items []palette.PackMetadata
	for _, p := range a.Packs.Packs() { // the newest version of a name comes first
		if n := len(items); n > 0 && items[n-1].Spec.Name == p.Name || !packMatches(in.Filter, &p) {
			continue
		}
		items = append(items, palette.PackMetadata{
			Metadata: palette.ObjectMeta{Name: p.Name, UID: p.UID},
			Spec: palette.PackMetadataSpec{
				AddonSubType: p.AddonSubType, AddonType: p.AddonType, CloudTypes: p.CloudTypes, DisplayName: p.DisplayName,
				Layer: string(p.Layer), Name: p.Name, Type: p.Type,
				Registries: []palette.RegistryPackMetadata{{
					LatestPackUID: p.UID, LatestVersion: p.Version, Name: p.RegistryName, Scope: scopeSystem, UID: p.RegistryUID,
				}},
			},
		})
	}
	if len(in.Sort) > 0 && in.Sort[0].Order == "desc" {
		slices.Reverse(items)
	}
	page, meta, err := cut(w, items)
	if err != nil {
		return nil, err
	}
	return palette.NewList(page, meta), nil
}

func packMatches(f *palette.PackFilter, p *pack.Pack) bool {
	if f == nil {
		return true
	}
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	environment := len(f.Environment) == 0 || slices.Contains(f.Environment, anything) ||
		slices.ContainsFunc(p.CloudTypes, func(t string) bool { return t == anything || slices.Contains(f.Environment, t) })
	return environment && in(f.Layer, string(p.Layer)) && in(f.Type, p.Type) && in(f.RegistryUID, p.RegistryUID) &&
		(p.Layer != pack.LayerAddon || in(f.AddOnType, p.AddonType) && in(f.AddOnSubType, p.AddonSubType)) &&
		filterString(f.Name, p.Name) && filterString(f.DisplayName, p.DisplayName)
}

func filterString(f *palette.FilterString, v string) bool {
	if f == nil {
		return true
	}
	fold := f.IgnoreCase == nil || *f.IgnoreCase
	holds := func(want *string, operator string, expect bool) bool {
		return want == nil || textMatches(operator, *want, v, fold) == expect
	}
	return holds(f.Eq, palette.OperatorEq, true) && holds(f.Ne, palette.OperatorEq, false) &&
		holds(f.Contains, palette.OperatorContains, true) && holds(f.BeginsWith, palette.OperatorBeginsWith, true)
}

// getPackVersions answers all versions of a pack of a registry.
func getPackVersions(a *API, c *call) (any, error) {
	name, uid := c.param("packName"), c.param("registryUid")
	if err := a.registry(uid); err != nil {
		// What a registry of charts has is not known here.
		r, other := get[lazuli.Registry](c.ctx(), a.Store, c, uid)
		switch {
		case other == nil:
			return nil, lazuli.Errorf(lazuli.CodeNotFound, "registry %q has no pack %q", r.Name, shorten(name))
		case lazuli.CodeOf(other) == lazuli.CodeNotFound:
			return nil, err
		}
		return nil, other
	}
	var out palette.PackTagEntity
	for _, p := range a.Packs.Packs() {
		if p.Name != name || !cloudMatches(c.query("cloudType"), p.CloudTypes) {
			continue
		}
		addPackVersion(&out, &p)
	}
	if len(out.Tags) == 0 {
		return nil, lazuli.Errorf(lazuli.CodeNotFound, "registry %q has no pack %q", a.Packs.Name(), shorten(name))
	}
	return out, nil
}

func cloudMatches(want string, have []string) bool {
	return want == "" || want == anything || slices.Contains(have, anything) || slices.Contains(have, want)
}

// listProjects answers all projects that the caller may see, unpaged:
// Terraform looks its project up by name before anything else.
func listProjects(a *API, c *call) (any, error) {
	projects, _, err := query[lazuli.Project](c.ctx(), a.Store, store.Query{Sort: store.FieldName})
	if err != nil {
		return nil, err
	}
	items := make([]palette.ProjectMetadata, 0, len(projects))
	for i := range projects {
		if c.actor.Sees(projects[i].UID) {
			items = append(items, palette.ProjectMetadata{
				Metadata: palette.ObjectEntity{Name: projects[i].Name, UID: projects[i].UID},
			})
		}
	}
	return palette.NewList(items, nil), nil
}
