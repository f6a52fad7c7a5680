// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

const maxBulk = 200 // profiles that one request deletes

// cloneOf is the copy that a request asks for, not yet with a uid.
func (a *API) cloneOf(c *call, source *lazuli.Profile, m *wire.ClusterProfileCloneMetaInputEntity) (*lazuli.Profile, error) {
	var f lazuli.Fields
	if m == nil {
		f.Add("metadata", "is required")
		return nil, f.Err()
	}
	p := *source
	p.Meta = lazuli.Meta{
		Name: m.Name, Project: source.Project, Labels: source.Labels, Annotations: source.Annotations,
	}
	checkTitle(&f, m.Name)
	p.ProfileVersion = version(&f, "metadata.version", m.Version, source.ProfileVersion)
	if t := m.Target; t != nil {
		switch string(t.Scope) {
		case palette.ScopeTenant:
			p.Project = ""
		case palette.ScopeProject:
			p.Project = orElse(t.ProjectUID, source.Project)
		default:
			f.Add("metadata.target.scope", "%q is neither project nor tenant", shorten(string(t.Scope)))
		}
		if p.Project != "" {
			if _, err := get[lazuli.Project](c.ctx(), a.Store, c, p.Project); err != nil {
				f.Add("metadata.target.projectUid", "no project has the uid %q", shorten(p.Project))
			}
		}
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return &p, c.mayChange(p.Project)
}

// cloneProfile copies a profile under another name or version. The copy is a
// draft with manifests of its own.
func cloneProfile(a *API, c *call) (any, error) {
	var in wire.ClusterProfileCloneEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	source, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	p, err := a.cloneOf(c, source, in.Metadata)
	if err != nil {
		return nil, err
	}
	if uid, err := repeated(a, c, p); uid != "" || err != nil {
		return palette.UID{UID: uid}, err
	}
	if p.UID, err = a.newUID(); err != nil {
		return nil, err
	}
	p.Draft, p.Published, p.IsPublished = slices.Clone(shownLayers(source)), nil, false
	for i := range p.Draft {
		p.Draft[i].Manifests = slices.Clone(p.Draft[i].Manifests)
		for k := range p.Draft[i].Manifests {
			if p.Draft[i].Manifests[k].UID, err = a.newUID(); err != nil {
				return nil, err
			}
		}
	}
	if err := a.copyVariables(p, source); err != nil {
		return nil, err
	}
	uid, err := createOnce(a, c, p, func(tx store.Tx) error {
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindProfile, p.UID, p.Project))
	})
	return palette.UID{UID: uid}, err
}

// copyVariables seals the source's defaults for the copy.
func (a *API) copyVariables(p, source *lazuli.Profile) error {
	secrets, err := a.variableSecrets(source)
	if err != nil {
		return err
	}
	raw, err := pack.JoinSecrets(source.Variables, secrets)
	if err != nil {
		return fmt.Errorf("copy the variables of profile %s: %w", source.UID, err)
	}
	p.VariableSecrets = nil
	var f lazuli.Fields
	_, err = a.setVariables(&f, "spec.variables", p, raw)
	return errors.Join(err, f.Err())
}

func validateClone(a *API, c *call) (any, error) {
	var in wire.ClusterProfileCloneMetaInputEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	source, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	p, err := a.cloneOf(c, source, &in)
	if err != nil {
		return nil, err
	}
	return nil, profileNameIsFree(a, c, p)
}

func profileNameIsFree(a *API, c *call, p *lazuli.Profile) error {
	err := a.Store.ByUnique(c.ctx(), p.Index().Unique, &lazuli.Profile{})
	switch {
	case err == nil:
		return titleTaken(lazuli.Errorf(lazuli.CodeDuplicateName, "taken"), p)
	case lazuli.CodeOf(err) == lazuli.CodeNotFound:
		return nil
	default:
		return fmt.Errorf("look whether the name of a profile is free: %w", err)
	}
}

func validateProfileName(a *API, c *call) (any, error) {
	project, err := a.scope(c)
	if err != nil {
		return nil, err
	}
	var f lazuli.Fields
	p := &lazuli.Profile{Meta: lazuli.Meta{Name: c.query("name"), Project: project}}
	checkTitle(&f, p.Name)
	p.ProfileVersion = version(&f, "version", c.query("version"), defaultProfileVersion)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return nil, profileNameIsFree(a, c, p)
}

// deleteProfiles deletes what can be deleted and says what cannot.
func deleteProfiles(a *API, c *call) (any, error) {
	var in wire.BulkDeleteRequest
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	if len(in.Uids) > maxBulk {
		var f lazuli.Fields
		f.Add("uids", "has more than %d entries", maxBulk)
		return nil, f.Err()
	}
	out := wire.BulkDeleteResponse{Failures: []wire.BulkDeleteFailure{}}
	for _, uid := range in.Uids {
		err := a.deleteOneProfile(c, uid)
		if err == nil {
			out.DeletedCount++
			continue
		}
		if e := asError(err); errorRow(e.Code).Status >= 500 {
			return nil, err
		}
		out.Failures = append(out.Failures, wire.BulkDeleteFailure{UID: shorten(uid), ErrMsg: asError(err).Message})
	}
	out.IsSucceeded = len(out.Failures) == 0
	out.Message = strconv.Itoa(out.DeletedCount) + " of " + strconv.Itoa(len(in.Uids)) + " profiles were deleted"
	return out, nil
}

// exported is a profile in the form that can be imported elsewhere. Sensitive
// defaults stay here.
func (a *API) exported(c *call, p *lazuli.Profile) (*wire.ClusterProfileImportEntity, error) {
	raw, err := a.maskedVariables(p)
	if err != nil {
		return nil, err
	}
	var vars []wire.Variable
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &vars); err != nil {
			return nil, fmt.Errorf("read the variables of profile %s: %w", p.UID, err)
		}
	}
	for i := range vars {
		if vars[i].IsSensitive {
			vars[i].DefaultValue = ""
		}
	}
	names, err := a.registryNames(c)
	if err != nil {
		return nil, err
	}
	out := &wire.ClusterProfileImportEntity{
		Metadata: &wire.ClusterProfileMetadataImportEntity{
			Name: p.Name, Description: p.Annotations[palette.AnnotationDescription], Labels: p.Labels,
		},
		Spec: &wire.ClusterProfileSpecImportEntity{
			Version: p.ProfileVersion, Variables: vars,
			Template: &wire.ClusterProfileTemplateImportEntity{CloudType: p.CloudType, Type: p.Type, Packs: []wire.PackImportEntity{}},
		},
	}
	for _, l := range shownLayers(p) {
		e := wire.PackImportEntity{Layer: l.Layer, Name: l.Name, Tag: l.Tag, Type: l.Type, Values: l.Values, Version: l.Version}
		for _, m := range l.Manifests {
			e.Manifests = append(e.Manifests, wire.PackManifestImportEntity{Name: m.Name, Content: m.Content})
		}
		if name := names[l.RegistryUID]; name != "" {
			e.Registry = &wire.PackRegistryImportEntity{Metadata: &wire.PackRegistryMetadata{Name: name, UID: l.RegistryUID, Kind: l.Type}}
		}
		out.Spec.Template.Packs = append(out.Spec.Template.Packs, e)
	}
	return out, nil
}

// registryNames are the names of all registries by uid.
func (a *API) registryNames(c *call) (map[string]string, error) {
	all, err := a.registries(c)
	if err != nil {
		return nil, err
	}
	out := map[string]string{a.Packs.UID(): a.Packs.Name()}
	for i := range all {
		out[all[i].UID] = all[i].Name
	}
	return out, nil
}

func exportProfile(a *API, c *call) (any, error) {
	p, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	e, err := a.exported(c, p)
	if err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("render profile %s: %w", p.UID, err)
	}
	name := "profile-" + p.UID
	switch format := c.query("format"); format {
	case "", "json":
		return octets{append(data, '\n'), name + ".json"}, nil
	case "yaml":
		if data, err = yaml.JSONToYAML(data); err != nil {
			return nil, fmt.Errorf("render profile %s: %w", p.UID, err)
		}
		return octets{data, name + ".yaml"}, nil
	default:
		var f lazuli.Fields
		f.Add("format", "%q is neither json nor yaml", shorten(format))
		return nil, f.Err()
	}
}

// readImport turns an exported profile into a request to create one. Registries
// are found by their name.
func (a *API) readImport(c *call) (*palette.ClusterProfileEntity, error) {
	var in wire.ClusterProfileImportEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	if in.Metadata == nil || in.Spec == nil || in.Spec.Template == nil {
		f.Add("spec.template", "is required, with metadata beside spec")
		return nil, f.Err()
	}
	names, err := a.registryNames(c)
	if err != nil {
		return nil, err
	}
	var vars json.RawMessage
	if len(in.Spec.Variables) > 0 {
		if vars, err = json.Marshal(in.Spec.Variables); err != nil {
			return nil, fmt.Errorf("read the variables of an import: %w", err)
		}
	}
	t := &palette.ProfileTemplateDraft{CloudType: in.Spec.Template.CloudType, Type: in.Spec.Template.Type}
	for i, p := range in.Spec.Template.Packs {
		e := palette.PackManifestEntity{Name: p.Name, Tag: p.Tag, Type: p.Type, Values: p.Values}
		if p.Registry != nil && p.Registry.Metadata != nil && p.Registry.Metadata.Name != "" {
			for uid, name := range names {
				if lazuli.Fold(name) == lazuli.Fold(p.Registry.Metadata.Name) {
					e.RegistryUID = uid
				}
			}
			if e.RegistryUID == "" {
				f.Add(fmt.Sprintf("spec.template.packs[%d].registry.metadata.name", i), "there is no registry %q", shorten(p.Registry.Metadata.Name))
			}
		}
		for _, m := range p.Manifests {
			e.Manifests = append(e.Manifests, palette.ManifestRefUpdateEntity{Name: m.Name, Content: m.Content})
		}
		t.Packs = append(t.Packs, e)
	}
	meta := &palette.ObjectMeta{Name: in.Metadata.Name, Labels: in.Metadata.Labels}
	if in.Metadata.Description != "" {
		meta.Annotations = map[string]string{palette.AnnotationDescription: in.Metadata.Description}
	}
	return &palette.ClusterProfileEntity{
		Metadata: meta, Spec: &palette.ClusterProfileEntitySpec{Template: t, Variables: vars, Version: in.Spec.Version},
	}, f.Err()
}

func importProfile(a *API, c *call) (any, error) {
	project, err := a.mayCreate(c)
	if err != nil {
		return nil, err
	}
	publish, err := c.flag("publish")
	if err != nil {
		return nil, err
	}
	in, err := a.readImport(c)
	if err != nil {
		return nil, err
	}
	return a.createProfile(c, project, in, publish)
}

// importProfileFile is importProfile of a file, JSON unless the query says YAML.
func importProfileFile(a *API, c *call) (any, error) {
	switch format := c.query("format"); format {
	case "", "json":
	case "yaml":
		data, err := yaml.YAMLToJSONStrict(c.body)
		if err != nil {
			return nil, &lazuli.Error{Code: lazuli.CodeMalformedBody, Message: "importFile is not YAML: " + shorten(err.Error()), Err: err}
		}
		c.body = data
	default:
		var f lazuli.Fields
		f.Add("format", "%q is neither json nor yaml", shorten(format))
		return nil, f.Err()
	}
	if err := checkJSON(c.body); err != nil {
		return nil, err
	}
	body, err := a.shaped("v1ClusterProfilesImport", c.body)
	if err != nil {
		return nil, err
	}
	c.body = body
	return importProfile(a, c)
}

// validateImport answers the import as it would be taken.
func validateImport(a *API, c *call) (any, error) {
	project, err := a.scope(c)
	if err != nil {
		return nil, err
	}
	in, err := a.readImport(c)
	if err != nil {
		return nil, err
	}
	p, err := a.newProfile(c, project, in)
	if err != nil {
		return nil, err
	}
	return a.exported(c, p)
}
