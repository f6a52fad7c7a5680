// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// giveValues takes the declarations of a profile and a cluster's values for them
// into a snapshot. Sensitive values stand there in clear until sealValues: a
// draft has no uid to bind them to.
func (m *merger) giveValues(at string, snap *lazuli.ProfileSnapshot, p *lazuli.Profile, given []palette.ClusterVariable) {
	snap.Variables, snap.VariableSecrets = p.Variables, p.VariableSecrets
	vars, err := pack.SnapshotVariables(*snap, m.api.Seal)
	if err != nil {
		m.f.fault(at, "the variables of profile %q cannot be read", p.Name)
		return
	}
	values := make([]pack.Value, 0, len(given))
	for _, v := range given {
		values = append(values, pack.Value{Name: v.Name, Value: v.Value})
		snap.Values = append(snap.Values, lazuli.VariableValue{Name: v.Name, Value: v.Value})
	}
	for _, x := range pack.CheckValues(at, vars, values, true) {
		m.f.fault(x.Path, "%s", x.Message)
	}
}

// imply completes an infrastructure whose profile leaves core layers out, and
// returns the paths of the completed layers.
func (m *merger) imply(snap *lazuli.ProfileSnapshot, paths []string, whole string) []string {
	if snap.Type == palette.TypeAddOn {
		return paths
	}
	layers, notices := m.api.Packs.Imply(snap.Layers, nil)
	m.implied = append(m.implied, notices...)
	all := make([]string, 0, len(layers))
	for _, l := range layers {
		if l.Implied {
			all = append(all, whole)
			continue
		}
		all, paths = append(all, paths[0]), paths[1:]
	}
	snap.Layers = layers
	return all
}

// sealValues seals the values of sensitive variables of a cluster, whose uid is
// set. Values that are sealed already stay as they are.
func (a *API) sealValues(cl *lazuli.Cluster) error {
	for i := range cl.Profiles {
		snap := &cl.Profiles[i]
		vars, err := pack.ParseVariables(snap.Variables)
		if err != nil {
			return fmt.Errorf("read the variables of profile %s: %w", snap.UID, err)
		}
		for k := range snap.Values {
			v := &snap.Values[k]
			sensitive := slices.ContainsFunc(vars, func(x pack.Variable) bool { return x.Name == v.Name && x.IsSensitive })
			if !sensitive || v.Value == "" {
				continue
			}
			if v.Sealed, err = a.Seal.Seal([]byte(v.Value), lazuli.ClusterVariableAAD(cl.UID)); err != nil {
				return fmt.Errorf("seal a variable of profile %s: %w", snap.UID, err)
			}
			v.Value = ""
		}
	}
	return nil
}

// resolved are the profiles of a cluster as they would be deployed now. It is
// for checks: nothing of it is stored.
func (a *API) resolved(
	ctx context.Context, r store.Reader, c *call, cl *lazuli.Cluster, acc *lazuli.Account,
) ([]lazuli.ProfileSnapshot, error) {
	if !pack.HasExpressions(cl.Profiles) {
		return cl.Profiles, nil
	}
	scoped, err := pack.Scoped(cl.UID, cl.Profiles, a.Seal)
	if err != nil {
		return nil, fmt.Errorf("read the variables of cluster %q: %w", cl.Name, err)
	}
	macros, err := a.macrosOf(ctx, r, cl.Project)
	if err != nil {
		return nil, err
	}
	facts := pack.Facts{
		ClusterName: cl.Name, ClusterUID: orElse(cl.UID, unknownUID), ProjectUID: cl.Project, TenantUID: unknownUID,
		UserName: c.actor.Name, UserUID: c.actor.UserUID, UserMail: c.actor.Name, Region: "unknown", ProjectName: "unknown",
	}
	if acc != nil {
		facts.AccountName, facts.AccountUID = acc.Name, acc.UID
	}
	if cl.Project == "" {
		facts.ProjectName = ""
	}
	out, err := a.Packs.ResolveProfiles(scoped, pack.Scope{Macros: macros, System: facts.System()})
	if err != nil {
		return nil, err //nolint:wrapcheck // names profile, pack and expression
	}
	return out, nil
}

// unknownUID stands for a uid that is not given yet while a request is checked.
const unknownUID = "000000000000000000000000"
