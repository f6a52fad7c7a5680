// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
)

// The types of a profile (V1ProfileType).
const (
	ProfileCluster = "cluster" // infrastructure and add-ons
	ProfileInfra   = "infra"
	ProfileAddon   = "add-on"
)

// coreLayers are the four that a cluster cannot be without, in their order.
func coreLayers() []Layer { return []Layer{LayerOS, LayerK8s, LayerCNI, LayerCSI} }

// Validate checks the layers of a cluster: that the packs exist and fill the
// layers that the type of profile needs, in order; that values are YAML and work
// in the pack's templates; that manifests are Kubernetes objects. An empty
// profile type is cluster, as on the wire. Expressions have to be resolved. Nil
// means that the layers can be deployed as far as the packs can tell.
//
// A layer of type helm or oci is taken with any registry: those are the API's to
// know.
func (r *Registry) Validate(profileType string, layers []lazuli.Layer) Findings {
	return r.validate(profileType, layers, true)
}

// ValidateProfile checks a profile: as Validate does, but core layers may be
// missing, which matters when a cluster gets the profile (see Imply). Every
// variable that a pack refers to must be declared. Layers whose expressions have
// no value yet are checked as far as that goes: the rest is for the cluster that
// gives the values.
func (r *Registry) ValidateProfile(profileType string, layers []lazuli.Layer, vars []Variable, s Scope) Findings {
	var found Findings
	defaults := EffectiveValues(vars, nil)
	sample := make([]lazuli.Layer, len(layers))
	for i, l := range layers {
		var bad Findings
		sample[i], bad = sampleLayer(packPath(i), l, defaults, s)
		found = append(found, bad...)
	}
	return append(found, r.validate(profileType, sample, false)...)
}

// sampleLayer fills the expressions of a layer with what is known. Texts for
// which something is not known are left out.
func sampleLayer(path string, l lazuli.Layer, defaults map[string]string, s Scope) (lazuli.Layer, Findings) {
	var found Findings
	undefined := map[string]bool{}
	try := func(at, text string) (string, bool) {
		open := false
		out, err := fill(text, func(ref reference) (any, error) {
			switch ref.namespace {
			case refVariable:
				value, declared := defaults[ref.name]
				if !declared && !undefined[ref.name] {
					undefined[ref.name] = true
					found = append(found, FieldError{at, CodeUndefined, fmt.Sprintf(
						"pack %q refers to the variable %q, which the profile does not declare", l.Name, ref.name)})
				}
				open = open || value == ""
				return value, nil
			case refMacro:
				if value, ok := s.Macros[ref.name]; ok {
					return value, nil
				}
			}
			open = true
			return "", nil
		}, true)
		if err != nil {
			found = append(found, FieldError{at, CodeTemplateInvalid, err.Error()})
		}
		return out, err == nil && !open
	}
	var known bool
	if l.Values, known = try(path+".values", l.Values); !known {
		l.Values = ""
	}
	manifests := make([]lazuli.Manifest, 0, len(l.Manifests))
	for j, m := range l.Manifests {
		if m.Content, known = try(fmt.Sprintf("%s.manifests[%d].content", path, j), m.Content); !known {
			m.Content = placeholderManifest
		}
		manifests = append(manifests, m)
	}
	l.Manifests = manifests
	return l, found
}

// placeholderManifest stands for a manifest that cannot be read before a cluster
// gives values.
const placeholderManifest = "apiVersion: v1\nkind: List\nmetadata: {}\nitems: []\n"

func (r *Registry) validate(profileType string, layers []lazuli.Layer, complete bool) Findings {
	var found Findings
	names := map[string]int{}
	var kinds []Layer
	for i, l := range layers {
		path := packPath(i)
		if l.Name == "" {
			found = append(found, FieldError{path + ".name", CodeNameMissing, "the layer has no name"})
		} else if first, ok := names[l.Name]; ok {
			found = append(found, FieldError{path + ".name", CodeNameDuplicate,
				fmt.Sprintf("%q is also the name of pack %d; give one of them a prefix, as in second--%s", l.Name, first, baseName(l.Name))})
		} else {
			names[l.Name] = i
		}
		kind, bad := r.validateLayer(path, l)
		found = append(found, bad...)
		kinds = append(kinds, kind)
	}
	if len(layers) == 0 && !complete {
		found = append(found, FieldError{"spec.template.packs", CodeLayerMissing, "a profile needs at least one pack"})
	}
	found = append(found, placement(profileType, layers, kinds, complete)...)
	if len(found) == 0 {
		found = append(found, r.validateSettings(layers)...)
	}
	return found
}

// validateLayer returns the place of a layer, "" where it cannot be told.
func (r *Registry) validateLayer(path string, l lazuli.Layer) (Layer, Findings) {
	switch layerType(l) {
	case TypeManifest, TypeSpectro:
	case TypeHelm, TypeOCI:
		found := validateManifests(path, l)
		if _, err := parseValues(l.Values); err != nil {
			found = append(found, FieldError{path + ".values", CodeValuesInvalid, err.Error()})
		}
		return LayerAddon, found
	default:
		return "", Findings{{path + ".type", CodeTypeUnknown,
			fmt.Sprintf("%q is not a type of pack; spectro, helm, manifest and oci are", l.Type)}}
	}
	found := validateManifests(path, l)
	if layerType(l) == TypeManifest {
		return LayerAddon, found
	}
	if l.RegistryUID != "" && l.RegistryUID != r.uid {
		found = append(found, FieldError{path + ".registryUid", CodeRegistryUnknown,
			fmt.Sprintf("no registry has the uid %q; %q has %s", l.RegistryUID, r.name, r.uid)})
	}
	b, err := r.find(l.Name, l.Tag, l.PackUID)
	if err != nil {
		return "", append(found, r.unknown(path, l, err))
	}
	if _, err := r.renderPack(l, sampleCluster(b.Version)); err != nil {
		found = append(found, FieldError{path + ".values", CodeValuesInvalid, err.Error()})
	}
	return b.Layer, found
}

// unknown tells a name that does not exist from a version that does not.
func (r *Registry) unknown(path string, l lazuli.Layer, err error) FieldError {
	if slices.Contains(r.names(), baseName(l.Name)) {
		return FieldError{path + ".tag", CodeVersionUnknown, err.Error()}
	}
	return FieldError{path + ".name", CodePackUnknown, err.Error()}
}

func validateManifests(path string, l lazuli.Layer) Findings {
	var found Findings
	if layerType(l) == TypeManifest && len(l.Manifests) == 0 {
		found = append(found, FieldError{path + ".manifests", CodeManifestInvalid,
			fmt.Sprintf("layer %q is of type manifest and has no manifest", l.Name)})
	}
	for j, m := range l.Manifests {
		if err := checkManifest(m.Content); err != nil {
			found = append(found, FieldError{fmt.Sprintf("%s.manifests[%d].content", path, j), CodeManifestInvalid,
				fmt.Sprintf("manifest %q: %v", m.Name, err)})
		}
	}
	return found
}

// placement checks which layers there are, and their order.
func placement(profileType string, layers []lazuli.Layer, kinds []Layer, complete bool) Findings {
	const path = "spec.template.packs"
	var found Findings
	switch profileType {
	case ProfileInfra, ProfileCluster, "":
		for _, want := range coreLayers() {
			switch n := count(kinds, want); {
			case n == 0 && complete && !slices.Contains(kinds, ""):
				found = append(found, FieldError{path, CodeLayerMissing,
					fmt.Sprintf("a profile of type %s needs a pack of layer %s", orDefault(ProfileCluster, profileType), want)})
			case n > 1:
				found = append(found, FieldError{path, CodeLayerDuplicate,
					fmt.Sprintf("%d packs are of layer %s; a cluster has one", n, want)})
			}
		}
		found = append(found, order(layers, kinds, profileType == ProfileInfra)...)
	case ProfileAddon:
		for i, k := range kinds {
			if k != LayerAddon && k != "" {
				found = append(found, FieldError{packPath(i), CodeLayerForbidden,
					fmt.Sprintf("%q is of layer %s; a profile of type add-on holds add-ons only", layers[i].Name, k)})
			}
		}
	default:
		found = append(found, FieldError{"spec.template.type", CodeProfileType,
			fmt.Sprintf("profiles of type %q are not served; cluster, infra and add-on are", profileType)})
	}
	return found
}

// order wants the core layers first and in their order, then add-ons.
func order(layers []lazuli.Layer, kinds []Layer, infraOnly bool) Findings {
	all := append(coreLayers(), LayerAddon)
	last := 0
	for i, k := range kinds {
		at := slices.Index(all, k)
		switch {
		case at < 0:
			continue
		case k == LayerAddon && infraOnly:
			return Findings{{packPath(i), CodeLayerForbidden,
				fmt.Sprintf("%q is an add-on; a profile of type infra holds the four core layers only", layers[i].Name)}}
		case at < last:
			return Findings{{packPath(i), CodeLayerOrder,
				fmt.Sprintf("%q is of layer %s and comes after layer %s; the order is os, k8s, cni, csi, addon", layers[i].Name, k, all[last])}}
		}
		last = at
	}
	return nil
}

// validateSettings reports what the engine could not read.
func (r *Registry) validateSettings(layers []lazuli.Layer) Findings {
	_, err := r.Settings(layers)
	e, ok := errors.AsType[*lazuli.Error](err)
	if !ok {
		return nil
	}
	var found Findings
	for _, f := range e.Fields {
		found = append(found, FieldError{f.Path, CodeValuesInvalid, f.Message})
	}
	return found
}

// sampleCluster stands in for a cluster while a profile is checked.
func sampleCluster(version string) Cluster {
	return Cluster{
		Name: "sample", UID: strings.Repeat("0", lazuli.UIDLength), KubernetesVersion: version, Endpoint: "sample.invalid",
		PodCIDR: "192.168.0.0/16", ServiceCIDR: "10.96.0.0/12", Location: "westeurope", ResourcePrefix: "sample-000000",
		CloudConfigSecret: true,
	}
}

func count(kinds []Layer, k Layer) int {
	n := 0
	for _, have := range kinds {
		if have == k {
			n++
		}
	}
	return n
}
