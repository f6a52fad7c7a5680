// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/updates"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// profilesBody attaches profiles.
type profilesBody struct {
	Profiles         []palette.ClusterProfileEntityRef `json:"profiles"`
	SpcApplySettings *struct {
		ActionType string `json:"actionType"`
	} `json:"spcApplySettings"`
}

// patchProfiles attaches profiles, swaps them for others, or gives them other
// values. Profiles that the request does not name stay as they are.
func patchProfiles(a *API, c *call) (any, error) { return nil, a.changeProfiles(c, false) }

// putProfiles is patchProfiles, but for a request that names a profile with an
// infrastructure: that is the whole set, and what it does not name is detached.
func putProfiles(a *API, c *call) (any, error) { return nil, a.changeProfiles(c, true) }

func (a *API) changeProfiles(c *call, whole bool) error {
	var in profilesBody
	if err := decode(c.body, &in); err != nil {
		return err
	}
	var f lazuli.Fields
	if len(in.Profiles) > maxProfiles {
		f.Add("profiles", "has more than %d entries", maxProfiles)
		return f.Err()
	}
	action := palette.ActionInstall
	if s := in.SpcApplySettings; s != nil && s.ActionType != "" {
		action = s.ActionType
	}
	return a.changeCluster(c, c.param("uid"), func(ch *change) error {
		m := merger{api: a, f: &findings{}}
		snaps, err := ch.attachAll(&m, in.Profiles, whole)
		if err != nil {
			return err
		}
		before := *ch.cl
		ch.cl.Profiles = snaps
		after, err := ch.settle(a, &m)
		if err != nil {
			return err
		}
		if err := a.checkVersions(ch, &before, after); err != nil {
			return err
		}
		if err := ch.install(before.Profiles, snaps, action, a.Now()); err != nil {
			return err
		}
		ch.say("ProfilesChanged", "%s changed the profiles of the cluster.", c.actor.Name)
		return nil
	})
}

// settle checks the profiles that the cluster has got, and returns them as they
// would be deployed.
func (ch *change) settle(a *API, m *merger) ([]lazuli.ProfileSnapshot, error) {
	var acc lazuli.Account
	if err := ch.reader.Get(ch.ctx(), ch.cl.AccountUID, &acc); err != nil {
		return nil, fmt.Errorf("read the account of cluster %s: %w", ch.cl.UID, err)
	}
	after, _, err := m.settle(ch.ctx(), ch.reader, ch.call, ch.cl, &acc, a.cloudConfigOf(ch.cl))
	if faults := m.f.faults.Err(); faults != nil {
		return nil, faults
	}
	return after, err
}

// install makes snaps the profiles of a cluster: at once, or when the user says
// so.
func (ch *change) install(before, snaps []lazuli.ProfileSnapshot, action string, now time.Time) error {
	cl := ch.cl
	switch {
	case action == palette.ActionInstall:
		cl.Held = nil
	case cl.Held == nil:
		cl.Held = before // stays in the cluster until then
	}
	cl.Profiles = snaps
	cl.Apply = lazuli.ApplyWish{Action: action, At: now.UTC()}
	behind, err := updates.Of(ch.ctx(), ch.reader, snaps)
	cl.Behind = behind
	return err
}

// attachAll lays the entries of a request over the profiles of the cluster.
func (ch *change) attachAll(m *merger, in []palette.ClusterProfileEntityRef, whole bool) ([]lazuli.ProfileSnapshot, error) {
	snaps := slices.Clone(ch.cl.Profiles)
	named := map[string]bool{}
	infra := false
	for i := range in {
		e, at := &in[i], fmt.Sprintf("profiles[%d].", i)
		p, err := reference[lazuli.Profile](ch.ctx(), ch.reader, ch.call, ch.cl.Project, e.UID)
		switch {
		case lazuli.CodeOf(err) == lazuli.CodeNotFound:
			m.f.fault(at+"uid", "the project has no cluster profile with the uid %q", shorten(e.UID))
			continue
		case err != nil:
			return nil, err
		case named[p.UID]:
			m.f.fault(at+"uid", "profile %q is there twice", p.Name)
			continue
		case !p.IsPublished:
			m.f.fault(at+"uid", "profile %q is a draft; publish it first", p.Name)
			continue
		}
		named[p.UID] = true
		infra = infra || p.Type != palette.TypeAddOn
		k := placeOf(m.f, at, snaps, e, p)
		var old *lazuli.ProfileSnapshot
		if k < len(snaps) {
			old = &snaps[k]
		}
		snap, err := m.take(at[:len(at)-1], p, e, old, ch.cl.UID)
		if err != nil {
			return nil, err
		}
		if k < len(snaps) {
			snaps[k] = snap
		} else {
			snaps = append(snaps, snap)
		}
	}
	if whole && infra {
		snaps = slices.DeleteFunc(snaps, func(s lazuli.ProfileSnapshot) bool { return !named[s.UID] })
	}
	return snaps, nil
}

// placeOf is where a profile goes: in the place of the one that it replaces, in
// its own when it is attached, else behind all.
func placeOf(f *findings, at string, snaps []lazuli.ProfileSnapshot, e *palette.ClusterProfileEntityRef, p *lazuli.Profile) int {
	find := func(uid string) int {
		return slices.IndexFunc(snaps, func(s lazuli.ProfileSnapshot) bool { return s.UID == uid })
	}
	own := find(p.UID)
	if e.ReplaceWithProfile == "" || e.ReplaceWithProfile == p.UID {
		if own < 0 {
			return len(snaps)
		}
		return own
	}
	k := find(e.ReplaceWithProfile)
	switch {
	case k >= 0 && own >= 0:
		f.fault(at+"replaceWithProfile", "%q is attached, and so is the profile that shall take its place", shorten(e.ReplaceWithProfile))
	case k >= 0:
		return k
	case own >= 0:
		return own // replaced already, by a request whose answer was lost
	default:
		f.fault(at+"replaceWithProfile", "no profile with the uid %q is attached to the cluster", shorten(e.ReplaceWithProfile))
	}
	return len(snaps)
}

// checkVersions refuses a way of Kubernetes that nobody can go: back, or over a
// minor version.
func (a *API) checkVersions(ch *change, before *lazuli.Cluster, after []lazuli.ProfileSnapshot) error {
	old, err := a.resolved(ch.ctx(), ch.reader, ch.call, before, nil)
	if err != nil {
		return nil //nolint:nilerr // as below
	}
	was, errWas := a.Packs.Settings(layersOf(old))
	now, errNow := a.Packs.Settings(layersOf(after))
	if errWas != nil || errNow != nil {
		return nil //nolint:nilerr // what cannot be read was found before, or is mended by this very change
	}
	why := upgradeFault(was.KubernetesVersion, now.KubernetesVersion)
	if why == "" {
		return nil
	}
	var f lazuli.Fields
	f.Add("profiles", "Kubernetes %s cannot become %s: %s", was.KubernetesVersion, now.KubernetesVersion, why)
	return f.Err()
}

// upgradeFault says why one version of Kubernetes cannot follow on another, ""
// when it can (Kubernetes, version skew policy: one minor version at a time, and
// never back).
func upgradeFault(from, to string) string {
	was, okWas := minorOf(from)
	now, okNow := minorOf(to)
	switch {
	case !okWas || !okNow:
		return ""
	case now < was:
		return "there is no way back"
	case now > was+1:
		return "minor versions go one by one"
	default:
		return ""
	}
}

func minorOf(version string) (int, bool) {
	var major, minor int
	n, err := fmt.Sscanf(version, "%d.%d", &major, &minor)
	return minor, err == nil && n == 2 //nolint:mnd // both
}

func layersOf(snaps []lazuli.ProfileSnapshot) []lazuli.Layer {
	var out []lazuli.Layer
	for _, s := range snaps {
		out = append(out, s.Layers...)
	}
	return out
}

// detachProfiles detaches profiles. They are free when it returns; what they had
// brought into the cluster is removed by the engine.
func detachProfiles(a *API, c *call) (any, error) {
	var in struct {
		ProfileUIDs []string `json:"profileUids"`
	}
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, a.changeCluster(c, c.param("uid"), func(ch *change) error {
		var f lazuli.Fields
		var gone []string
		for i, uid := range in.ProfileUIDs {
			k := slices.IndexFunc(ch.cl.Profiles, func(s lazuli.ProfileSnapshot) bool { return s.UID == uid })
			switch {
			case k < 0: // detached already
			case ch.cl.Profiles[k].Type != palette.TypeAddOn:
				f.Add(fmt.Sprintf("profileUids[%d]", i), "profile %q has the cluster's infrastructure, which cannot be detached; another can take its place",
					ch.cl.Profiles[k].Name)
			default:
				gone = append(gone, uid)
			}
		}
		if err := f.Err(); err != nil {
			return err
		}
		if len(gone) == 0 {
			ch.idle = true
			return nil
		}
		left := slices.DeleteFunc(slices.Clone(ch.cl.Profiles), func(s lazuli.ProfileSnapshot) bool { return slices.Contains(gone, s.UID) })
		if err := ch.install(nil, left, palette.ActionInstall, a.Now()); err != nil {
			return err
		}
		ch.say("ProfilesDetached", "%s detached %d of the cluster's profiles.", c.actor.Name, len(gone))
		return nil
	})
}

// listClusterProfiles answers the profiles of a cluster with the cluster's own values.
func listClusterProfiles(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	return palette.ClusterProfiles(cl), nil
}

// applyProfiles has the profiles that wait for it applied.
func applyProfiles(a *API, c *call) (any, error) {
	return nil, a.changeCluster(c, c.param("uid"), func(ch *change) error {
		if ch.cl.Held == nil {
			ch.idle = true
			return nil
		}
		ch.cl.Held = nil
		ch.cl.Apply.At = a.Now().UTC()
		ch.say("ProfilesApplied", "%s had the changed profiles applied.", c.actor.Name)
		return nil
	})
}

func getSpcApply(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	return palette.SpcApplyOf(cl), nil
}

// listVariables answers the variables of a cluster's profiles, with the values
// that the cluster gives them: those that it does not give have none here, since
// clients take a value for the user's.
func listVariables(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	out := []wire.SpectroClusterVariables{}
	for i := range cl.Profiles {
		snap := &cl.Profiles[i]
		var vars []wire.SpectroClusterVariableResponse
		if len(snap.Variables) > 0 {
			if err := json.Unmarshal(snap.Variables, &vars); err != nil {
				return nil, fmt.Errorf("read the variables of profile %s of cluster %s: %w", snap.UID, cl.UID, err)
			}
		}
		if len(vars) == 0 {
			continue
		}
		for j := range vars {
			vars[j].Value = shownValue(snap, vars[j].Name)
			if vars[j].IsSensitive && (vars[j].DefaultValue != "" || len(snap.VariableSecrets) > 0) {
				vars[j].DefaultValue = ""
			}
		}
		out = append(out, wire.SpectroClusterVariables{ProfileUID: snap.UID, Variables: vars})
	}
	return out, nil
}

// shownValue is the value that a cluster gives a variable, masked where it is
// secret.
func shownValue(snap *lazuli.ProfileSnapshot, name string) string {
	for _, v := range snap.Values {
		switch {
		case v.Name != name:
		case len(v.Sealed) > 0:
			return pack.MaskedValue
		default:
			return v.Value
		}
	}
	return ""
}

// patchVariables gives variables of attached profiles other values.
func patchVariables(a *API, c *call) (any, error) {
	var in []struct {
		ProfileUID string                    `json:"profileUid"`
		Variables  []palette.ClusterVariable `json:"variables"`
	}
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, a.changeCluster(c, c.param("uid"), func(ch *change) error {
		m := merger{api: a, f: &findings{}}
		snaps := slices.Clone(ch.cl.Profiles)
		for i, e := range in {
			at := fmt.Sprintf("[%d]", i)
			k := slices.IndexFunc(snaps, func(s lazuli.ProfileSnapshot) bool { return s.UID == e.ProfileUID })
			if k < 0 {
				m.f.fault(at+".profileUid", "no profile with the uid %q is attached to the cluster", shorten(e.ProfileUID))
				continue
			}
			if err := m.values(at, &snaps[k], e.Variables, ch.cl.UID); err != nil {
				return err
			}
			m.point(snaps[k].UID, len(snaps[k].Layers), at+".variables")
		}
		ch.cl.Profiles = snaps
		if _, err := ch.settle(a, &m); err != nil {
			return err
		}
		ch.say("VariablesChanged", "%s changed values of the profiles' variables.", c.actor.Name)
		return nil
	})
}

// cloudConfigOf is the Azure side of a stored cluster; nil when it cannot be read.
func (a *API) cloudConfigOf(cl *lazuli.Cluster) *palette.AzureClusterConfig {
	spec, err := palette.Spec(cl)
	if err != nil {
		return nil
	}
	return spec.CloudConfig
}
