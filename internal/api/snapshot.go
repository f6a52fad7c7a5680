// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// imply completes an infrastructure whose profile leaves core layers out, and
// returns the paths of the completed layers. before are the layers that the
// cluster had until now.
func (m *merger) imply(snap *lazuli.ProfileSnapshot, paths []string, whole string, before []lazuli.Layer) []string {
	if snap.Type == palette.TypeAddOn {
		return paths
	}
	layers, notices := m.api.Packs.Imply(snap.Layers, before)
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
