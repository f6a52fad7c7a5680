// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
)

// wish is wishOf the cluster with what its profiles refer to: a macro that
// changes is another wish.
func (w *World) wish() string {
	if len(w.scope.System) == 0 {
		return wishOf(w.Cluster)
	}
	h := sha256.New()
	writeSorted(h, w.scope.Macros)
	writeSorted(h, w.scope.System)
	return wishOf(w.Cluster) + hex.EncodeToString(h.Sum(nil)[:8])
}

// wishOf identifies what the user asks for. It is stored, so secrets go into it
// sealed.
func wishOf(c *lazuli.Cluster) string {
	h := sha256.New()
	h.Write(c.Spec)
	for _, p := range c.Applied() {
		for _, l := range p.Layers {
			fmt.Fprintf(h, "%q %q %q %q %q\n", p.UID, l.Name, l.Tag, l.PackUID, l.Values)
			for _, m := range l.Manifests {
				fmt.Fprintf(h, "%q %q\n", m.Name, m.Content)
			}
		}
		for _, v := range p.Values {
			fmt.Fprintf(h, "%q %q %q\n", v.Name, v.Value, v.Sealed)
		}
	}
	writeSorted(h, c.Labels)
	wishes := map[string]string{}
	for uid, w := range c.Maintenance {
		wishes[uid] = string(w.Action) + " " + w.At.String()
	}
	writeSorted(h, wishes)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func writeSorted(to io.Writer, m map[string]string) {
	for _, k := range sortedKeys(m) {
		_, _ = fmt.Fprintf(to, "%q %q\n", k, m[k]) // a hash takes all
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// settings reads what the profiles' values say, once for each wish. Machines
// that are there keep what they were made with, and machines that join them
// need the same: until there is a way to replace them all, Settings are those of
// the first.
func (s *step) settings() error {
	if s.Settings.KubernetesVersion != "" {
		return nil
	}
	if s.unresolved != nil {
		return fmt.Errorf("resolve the profiles of cluster %s: %w", s.Cluster.UID, s.unresolved)
	}
	wanted, err := s.Packs.Settings(layersOf(s.deployed()))
	if err != nil {
		return fmt.Errorf("read the profiles of cluster %s: %w", s.Cluster.UID, err)
	}
	s.Settings, s.unmet = wanted, nil
	made := s.Cluster.Status.Made
	if made == nil {
		return nil
	}
	var was pack.Settings
	if err := json.Unmarshal(made.Settings, &was); err != nil { //nolint:musttag // written below, and read nowhere else
		return lazuli.Errorf(lazuli.CodeInternal, "what the machines of cluster %s were made with cannot be read: %v", s.Cluster.UID, err)
	}
	s.Settings, s.unmet = was, unmet(was, wanted)
	return nil
}

// keepMade records what the machines are made with, before the first is.
func (s *step) keepMade() error {
	if s.Cluster.Status.Made != nil {
		return nil
	}
	raw, err := json.Marshal(s.Settings) //nolint:musttag // as above
	if err != nil {
		return fmt.Errorf("encode the settings of cluster %s: %w", s.Cluster.UID, err)
	}
	made := &lazuli.Made{Settings: raw, SSHKey: s.Spec.SSHKey, Labels: maps.Clone(s.Cluster.Labels)}
	for _, l := range layersOf(s.Cluster.Applied()) {
		if machinery(l) {
			made.Layers = append(made.Layers, l)
		}
	}
	s.Cluster.Status.Made = made
	s.dirtyCluster = true
	return nil
}

// machinery reports whether a layer is about machines.
func machinery(l lazuli.Layer) bool {
	return l.Layer == string(pack.LayerOS) || l.Layer == string(pack.LayerK8s)
}

// applied is the layer whose manifests are in the cluster: of a pack about
// machines that of the version that they have.
func (w *World) applied(l lazuli.Layer) lazuli.Layer {
	made := w.Cluster.Status.Made
	if made == nil || !machinery(l) {
		return l
	}
	layers := made.Layers
	if w.madeLayers != nil {
		layers = w.madeLayers
	}
	for _, was := range layers {
		if was.Layer == l.Layer && (was.Name != l.Name || was.Tag != l.Tag || was.PackUID != l.PackUID) {
			was.Manifests = l.Manifests
			return was
		}
	}
	return l
}

// unmet compares settings that need other machines, or another configuration of
// kubeadm's.
func unmet(was, wanted pack.Settings) []lazuli.Notice {
	const field = "spec.profiles"
	var out []lazuli.Notice
	for _, c := range []struct {
		what      string
		was, want any
	}{
		{"the Kubernetes version", was.KubernetesVersion, wanted.KubernetesVersion},
		{"the range of the pods", was.PodCIDR, wanted.PodCIDR},
		{"the range of the Services", was.ServiceCIDR, wanted.ServiceCIDR},
		{"the DNS domain", was.DNSDomain, wanted.DNSDomain},
		{"the names on the API server's certificate", was.APIServerSANs, wanted.APIServerSANs},
		{"the image of the machines", was.Image, wanted.Image},
		{"the administrator's name on the machines", was.SSHUser, wanted.SSHUser},
		{"the mirror that machines install from", was.Mirror, wanted.Mirror},
		{"the mode of kube-proxy", was.ProxyMode, wanted.ProxyMode},
		{"who hands out the nodes' ranges", was.AllocateNodeCIDRs, wanted.AllocateNodeCIDRs},
	} {
		if same(c.was, c.want) {
			continue
		}
		out = append(out, lazuli.Notice{Field: field, Message: fmt.Sprintf(
			"%s is kept: %s; %s needs other machines, and this release does not replace them", c.what, plainly(c.was), plainly(c.want))})
	}
	return out
}

func same(a, b any) bool {
	if x, ok := a.([]string); ok {
		y, _ := b.([]string)
		return slices.Equal(x, y)
	}
	return reflect.DeepEqual(a, b)
}

// plainly renders a setting for people.
func plainly(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return fmt.Sprint(v)
	case []string:
		if len(v) == 0 {
			return "none"
		}
		return strings.Join(v, ", ")
	case pack.Image:
		switch v.Kind {
		case pack.ImageGallery:
			return v.ID
		case pack.ImageCommunity:
			return v.CommunityID
		case pack.ImageMarketplace:
		}
		return strings.Join([]string{v.Publisher, v.Offer, v.SKUGen2, v.Version}, ":")
	default:
		return "another"
	}
}

// shapes are the pools whose machines are not of the shape that they shall have:
// new ones get it.
func (s *step) shapes() []lazuli.Notice {
	var out []lazuli.Notice
	for i, p := range s.Spec.Pools {
		field := fmt.Sprintf("spec.machinepoolconfig[%d].", i)
		differ := func(part, what string, is func(*lazuli.Machine) bool) {
			var names []string
			for _, m := range s.inPool(p.Name) {
				if is(m) {
					names = append(names, m.Name)
				}
			}
			if len(names) > 0 {
				out = append(out, lazuli.Notice{Field: field + part, Message: fmt.Sprintf(
					"pool %s: machines that are there keep %s (%s); new ones get what is asked for", p.Name, what, strings.Join(names, ", "))})
			}
		}
		differ("cloudConfig.instanceType", "their size", func(m *lazuli.Machine) bool { return !strings.EqualFold(m.InstanceType, p.InstanceType) })
		differ("cloudConfig.osDisk.diskSizeGB", "the size of their disk", func(m *lazuli.Machine) bool { return m.DiskSizeGB > 0 && m.DiskSizeGB != p.DiskSizeGB })
		differ("cloudConfig.osDisk.managedDisk.storageAccountType", "the type of their disk", func(m *lazuli.Machine) bool { return m.DiskType != "" && m.DiskType != p.DiskType })
		differ("cloudConfig.azs", "their zone", func(m *lazuli.Machine) bool {
			return m.Zone != "" && len(p.Zones) > 0 && !slices.Contains(p.Zones, m.Zone)
		})
	}
	if made := s.Cluster.Status.Made; made != nil && !maps.Equal(tagsOf(made.Labels), tagsOf(s.Cluster.Labels)) {
		out = append(out, lazuli.Notice{Field: "metadata.labels", Message: "resources that were there before keep their tags; what is made from now on gets these"})
	}
	if made := s.Cluster.Status.Made; made != nil && strings.TrimSpace(made.SSHKey) != strings.TrimSpace(s.Spec.SSHKey) {
		out = append(out, lazuli.Notice{Field: "spec.cloudConfig.sshKey", Message: "machines that were there before keep their key; new ones get this one"})
	}
	return out
}

// notices records what of the wish the running machines do not have, and says so
// in an event when it is new.
func (s *step) notices() {
	st := &s.Cluster.Status
	found := append(s.shapes(), s.unmet...)
	for i := range found {
		found[i].Since = s.now
		j := slices.IndexFunc(st.Notices, func(n lazuli.Notice) bool { return n.Field == found[i].Field && n.Message == found[i].Message })
		if j >= 0 {
			found[i].Since = st.Notices[j].Since
			continue
		}
		s.say(lazuli.SeverityWarning, "WishNotMet", "%s: %s", found[i].Field, found[i].Message)
	}
	if !slices.Equal(found, st.Notices) {
		st.Notices = found
		s.dirtyCluster = true
	}
}
