// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// merger joins profiles with a cluster's own values.
type merger struct {
	api   *API
	f     *findings
	at    string              // what the paths of the request's profiles start with
	paths map[string][]string // of the request, by profile uid and layer

	implied pack.Findings // notices about layers that no profile has
}

// point says where in the request the layers of a profile come from.
func (m *merger) point(uid string, layers int, at string) []string {
	if m.paths == nil {
		m.paths = map[string][]string{}
	}
	m.paths[uid] = slices.Repeat([]string{at}, layers)
	return m.paths[uid]
}

// take makes the snapshot of a profile with the values of the entry at that path.
// old is the snapshot whose place it takes, whose values of variables it keeps;
// nil is none.
func (m *merger) take(
	at string, p *lazuli.Profile, in *palette.ClusterProfileEntityRef, old *lazuli.ProfileSnapshot, clusterUID string,
) (lazuli.ProfileSnapshot, error) {
	snap := lazuli.ProfileSnapshot{
		UID: p.UID, Name: p.Name, Type: p.Type, CloudType: p.CloudType, ProfileVersion: p.ProfileVersion,
		Content: p.Content(), Variables: p.Variables, VariableSecrets: p.VariableSecrets,
	}
	paths := m.point(p.UID, len(p.Published), at+".uid")
	byName := make(map[string]int, len(p.Published))
	for k, l := range p.Published {
		byName[l.Name] = k
		l.Manifests = slices.Clone(l.Manifests)
		snap.Layers = append(snap.Layers, l)
	}
	var before []lazuli.Layer
	if old != nil {
		before = old.Layers
		snap.Values = slices.DeleteFunc(slices.Clone(old.Values), func(v lazuli.VariableValue) bool {
			return !slices.ContainsFunc(declared(&snap), func(d pack.Variable) bool {
				return d.Name == v.Name && (old.UID == snap.UID || d.IsSensitive == (len(v.Sealed) > 0))
			})
		})
	}
	if len(in.PackValues) > maxLayers {
		m.f.fault(at+".packValues", "has more than %d entries", maxLayers)
		return snap, nil
	}
	seen := map[string]bool{}
	for j, o := range in.PackValues {
		at := fmt.Sprintf("%s.packValues[%d]", at, j)
		k, ok := byName[o.Name]
		switch {
		case !ok:
			m.f.fault(at+".name", "profile %q has no pack %q", p.Name, shorten(o.Name))
			continue
		case seen[o.Name]:
			m.f.fault(at+".name", "%q is there twice", shorten(o.Name))
			continue
		}
		seen[o.Name] = true
		paths[k] = at
		m.override(at, &snap.Layers[k], &o)
	}
	m.paths[p.UID] = m.imply(&snap, paths, at+".uid", before)
	return snap, m.values(at, &snap, in.Variables, clusterUID)
}

// declared are the variables of a snapshot.
func declared(snap *lazuli.ProfileSnapshot) []pack.Variable {
	vars, err := pack.ParseVariables(snap.Variables)
	if err != nil {
		return nil // stored only after it could be read
	}
	return vars
}

// values gives variables of a snapshot other values. Those of sensitive ones are
// sealed for the cluster, and the mask that stands for one means what is there.
func (m *merger) values(at string, snap *lazuli.ProfileSnapshot, given []palette.ClusterVariable, clusterUID string) error {
	at += ".variables"
	vars, err := pack.SnapshotVariables(*snap, m.api.Seal)
	if err != nil {
		return fmt.Errorf("read the variables of profile %s: %w", snap.UID, err)
	}
	values := make([]pack.Value, 0, len(given))
	out := slices.Clone(snap.Values)
	for _, g := range given {
		v := lazuli.VariableValue{Name: g.Name, Value: g.Value}
		sensitive := slices.ContainsFunc(vars, func(d pack.Variable) bool { return d.Name == g.Name && d.IsSensitive })
		if sensitive && g.Value == pack.MaskedValue {
			values = append(values, pack.Value{Name: g.Name}) // nothing to check
			continue
		}
		values = append(values, pack.Value{Name: g.Name, Value: g.Value})
		if sensitive && g.Value != "" {
			sealed, err := m.api.Seal.Seal([]byte(g.Value), lazuli.ClusterVariableAAD(clusterUID))
			if err != nil {
				return fmt.Errorf("seal a value of a variable: %w", err)
			}
			v.Value, v.Sealed = "", sealed
		}
		if i := slices.IndexFunc(out, func(o lazuli.VariableValue) bool { return o.Name == g.Name }); i >= 0 {
			out[i] = v
		} else {
			out = append(out, v)
		}
	}
	snap.Values = out
	found := pack.CheckValues(at, vars, values, false)
	if len(found) == 0 {
		found, err = m.missing(at, snap, vars, clusterUID)
	}
	for _, x := range found {
		m.f.fault(x.Path, "%s", x.Message)
	}
	return err
}

// missing are the variables that have to have a value and get none, from this
// request or from an earlier one.
func (m *merger) missing(at string, snap *lazuli.ProfileSnapshot, vars []pack.Variable, clusterUID string) (pack.Findings, error) {
	all, err := pack.Values(*snap, func(s lazuli.Sealed) (string, error) {
		plain, err := m.api.Seal.Unseal(s, lazuli.ClusterVariableAAD(clusterUID))
		return string(plain), err
	})
	if err != nil {
		return nil, fmt.Errorf("open the values of cluster %s: %w", clusterUID, err)
	}
	return slices.DeleteFunc(pack.CheckValues(at, vars, all, true), func(x pack.FieldError) bool { return x.Path != at }), nil
}

// withoutSecrets takes the profiles out of a spec that is stored: what they say
// is in the snapshots, where secret values are sealed.
func withoutSecrets(spec json.RawMessage) json.RawMessage {
	out, err := palette.SetMember(spec, nil, "profiles")
	if err != nil {
		return spec // not an object, and refused for that
	}
	return out
}

// override lays a cluster's values and manifests over a layer.
func (m *merger) override(at string, l *lazuli.Layer, o *palette.PackValuesEntity) {
	if o.Tag != "" && o.Tag != l.Tag && o.Tag != l.Version {
		m.f.fault(at+".tag", "is %q, and the profile has version %q; another version needs another version of the profile",
			shorten(o.Tag), orElse(l.Version, l.Tag))
	}
	if len(o.Manifests) > maxManifests {
		m.f.fault(at+".manifests", "has more than %d entries", maxManifests)
		return
	}
	for n, mf := range o.Manifests {
		k := manifestIndex(l.Manifests, mf.Name)
		if k < 0 {
			m.f.fault(fmt.Sprintf("%s.manifests[%d].name", at, n), "pack %q has no manifest %q", l.Name, shorten(mf.Name))
			continue
		}
		l.Manifests[k].Content = mf.Content
	}
	if strings.TrimSpace(o.Values) == "" {
		return
	}
	values, err := mergeValues(l.Values, o.Values)
	if err != nil {
		m.f.fault(at+".values", "%s", shorten(err.Error()))
		return
	}
	l.Values = values
}

func manifestIndex(ms []lazuli.Manifest, name string) int {
	return slices.IndexFunc(ms, func(m lazuli.Manifest) bool { return m.Name == name })
}

// mergeValues lays override over base. Where override says all that base does,
// it is taken as written, with its comments and its order.
func mergeValues(base, override string) (string, error) {
	if pack.HasExpression(base) || pack.HasExpression(override) {
		return pack.OverlayText(base, override) //nolint:wrapcheck // the caller names the values
	}
	merged, err := pack.MergeValues(base, override)
	if err != nil {
		return "", fmt.Errorf("merge the values with the profile's: %w", err)
	}
	alone, err := pack.MergeValues("", override)
	if err == nil && reflect.DeepEqual(merged, alone) {
		return override, nil
	}
	text, err := yaml.Marshal(merged)
	if err != nil {
		return "", fmt.Errorf("write the merged values: %w", err)
	}
	return string(text), nil
}

// settle looks at all profiles of a cluster together: one infrastructure, and
// packs that make a cluster. It returns the profiles as they would be deployed,
// nil when they cannot be, and what users should know and is no fault. acc may be
// nil.
func (m *merger) settle(
	ctx context.Context, r store.Reader, c *call, cl *lazuli.Cluster, acc *lazuli.Account, cloud *palette.AzureClusterConfig,
) (snaps []lazuli.ProfileSnapshot, notices []string, err error) {
	if !m.oneInfrastructure(cl.Profiles) {
		return nil, nil, nil
	}
	if snaps, err = m.api.resolved(ctx, r, c, cl, acc); err != nil {
		return nil, nil, err
	}
	layers, paths := m.collect(snaps)
	if found := m.api.Packs.Validate(palette.TypeFull, layers); len(found) > 0 {
		for _, x := range found {
			m.f.fault(m.rebase(x.Path, paths), "%s", x.Message)
		}
		return nil, nil, nil
	}
	settings, err := m.api.Packs.Settings(layers)
	if err != nil {
		m.f.fault(m.at+"profiles", "%s", shorten(asError(err).Message))
		return nil, nil, nil // the fault is recorded
	}
	for _, n := range slices.Concat(m.implied, settings.Notices) {
		notices = append(notices, n.Message+".")
	}
	checkOverlap(m.f, cloud, &settings)
	return snaps, notices, nil
}

// oneInfrastructure wants exactly one profile that has one.
func (m *merger) oneInfrastructure(snaps []lazuli.ProfileSnapshot) bool {
	infra := -1
	for i, s := range snaps {
		if s.Type == palette.TypeAddOn {
			continue
		}
		if infra >= 0 {
			m.f.fault(m.pathOf(s.UID), "%q is a second profile with an infrastructure, beside %q", s.Name, snaps[infra].Name)
			return false
		}
		infra = i
	}
	if infra < 0 {
		m.f.fault(m.at+"profiles", "needs a profile of type infra or cluster; these are add-ons only")
	}
	return infra >= 0
}

// collect puts the layers of all snapshots in order, the infrastructure's first,
// each with its path in the request.
func (m *merger) collect(snaps []lazuli.ProfileSnapshot) (layers []lazuli.Layer, paths []string) {
	for _, addOns := range []bool{false, true} {
		for _, s := range snaps {
			if (s.Type == palette.TypeAddOn) != addOns {
				continue
			}
			layers = append(layers, s.Layers...)
			known := m.paths[s.UID]
			for i := range s.Layers {
				path := m.at + "profiles"
				if i < len(known) {
					path = known[i]
				}
				paths = append(paths, path)
			}
		}
	}
	return layers, paths
}

func (m *merger) pathOf(uid string) string {
	if p := m.paths[uid]; len(p) > 0 {
		return p[0]
	}
	return m.at + "profiles"
}

// rebase turns a path of pack's, which counts layers, into one of the request.
func (m *merger) rebase(path string, paths []string) string {
	var i int
	if _, err := fmt.Sscanf(path, "spec.template.packs[%d]", &i); err != nil || i < 0 || i >= len(paths) {
		return m.at + "profiles"
	}
	at := paths[i]
	if !strings.HasSuffix(at, "]") || !strings.Contains(at, "packValues") {
		return at
	}
	_, rest, _ := strings.Cut(path, "]")
	return at + rest
}

// checkOverlap keeps the ranges of machines, pods and Services apart.
func checkOverlap(f *findings, c *palette.AzureClusterConfig, s *pack.Settings) {
	if c == nil {
		return
	}
	ours := map[string]string{"vnetCidrBlock": c.VNetCIDRBlock}
	if c.VNetName != "" { // of a network that is there, the machines have two subnets
		ours = map[string]string{}
		for _, n := range subnets(c) {
			if n.subnet != nil {
				ours[n.name+".cidrBlock"] = n.subnet.CIDRBlock
			}
		}
	}
	for _, member := range sortedKeys(ours) {
		machines, err := netip.ParsePrefix(ours[member])
		if err != nil {
			continue // none, or a fault already
		}
		for _, r := range []struct{ name, cidr string }{{"pods", s.PodCIDR}, {"Services", s.ServiceCIDR}} {
			if other, err := netip.ParsePrefix(r.cidr); err == nil && other.Overlaps(machines) {
				f.fault("spec.cloudConfig."+member, "%s overlaps the range of the %s, %s", machines, r.name, other)
			}
		}
	}
}
