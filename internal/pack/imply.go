// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
)

// Imply completes the layers of a profile of type infra or cluster for a cluster:
// a core layer that the profile does not have is taken from before, the layers
// that the cluster had until now, or else from the built-in registry. Kubernetes
// itself is never implied: which version it is to be is the user's choice.
//
// Profiles without all four core layers are valid on the wire, and a cluster
// without an image, a network or disks is not what anybody asks for by leaving
// them out. Each implied layer is a notice.
func (r *Registry) Imply(layers, before []lazuli.Layer) ([]lazuli.Layer, Findings) {
	kinds := make([]Layer, len(layers))
	kubernetes := ""
	for i, l := range layers {
		kinds[i] = LayerAddon
		if b, err := r.find(l.Name, l.Tag, l.PackUID); err == nil && layerType(l) == TypeSpectro {
			kinds[i] = b.Layer
			if b.Layer == LayerK8s {
				kubernetes = b.Version
			}
		}
	}
	out := slices.Clone(layers)
	var notices Findings
	all := append(coreLayers(), LayerAddon)
	for rank, core := range all {
		if core == LayerAddon || core == LayerK8s || slices.Contains(kinds, core) {
			continue
		}
		l, ok := r.implied(core, before, kubernetes)
		if !ok {
			continue
		}
		at := slices.IndexFunc(kinds, func(k Layer) bool { return slices.Index(all, k) > rank })
		if at < 0 {
			at = len(out)
		}
		out, kinds = slices.Insert(out, at, l), slices.Insert(kinds, at, core)
		notices = append(notices, FieldError{"spec.profiles", CodeLayerImplied,
			fmt.Sprintf("no profile has a pack of layer %s: the cluster gets %s %s", core, l.Name, l.Tag)})
	}
	return out, notices
}

// implied is the pack for a layer that nobody chose: the one that was there, else
// the newest that was tested with the version of Kubernetes, else the newest.
func (r *Registry) implied(core Layer, before []lazuli.Layer, kubernetes string) (lazuli.Layer, bool) {
	for _, l := range before {
		if l.Layer == string(core) {
			l.Implied = true
			return l, true
		}
	}
	var best *bundle
	for i := range r.packs { // by name, the newest first
		b := &r.packs[i]
		if b.Layer != core {
			continue
		}
		if slices.Contains(strings.Split(b.Annotations[annotationMinorTested], ","), minor(kubernetes)) {
			best = b
			break
		}
		if best == nil {
			best = b
		}
	}
	if best == nil {
		return lazuli.Layer{}, false
	}
	return lazuli.Layer{
		Name: best.Name, Tag: best.Version, Version: best.Version, PackUID: best.UID, RegistryUID: r.uid,
		Type: TypeSpectro, Layer: string(best.Layer), Implied: true,
	}, true
}
