// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
)

// deployed are the profiles with all expressions in their values and manifests
// resolved. They are for deployment alone: the cluster keeps what its user wrote.
func (w *World) deployed() []lazuli.ProfileSnapshot {
	if w.resolved != nil {
		return w.resolved
	}
	return w.Cluster.Applied()
}

// loadProfiles resolves the expressions of the profiles, with the macros as they
// are now. What stands for nothing is told when the profiles are used: a cluster
// can be deleted whatever its profiles say.
func (r *Reconciler) loadProfiles(ctx context.Context, w *World, account *lazuli.Account) error {
	if !pack.HasExpressions(w.Cluster.Applied()) {
		return nil
	}
	scope, err := r.scope(ctx, w.Cluster, account, w.Spec.Location)
	if err != nil {
		return err
	}
	w.scope = scope
	scoped, err := pack.Scoped(w.Cluster.UID, w.Cluster.Applied(), r.cfg.Seal)
	if err != nil {
		w.unresolved = fmt.Errorf("read the variables of cluster %s: %w", w.Cluster.UID, err)
		return nil
	}
	w.resolved, w.unresolved = r.cfg.Packs.ResolveProfiles(scoped, scope)
	if w.unresolved == nil && w.Cluster.Status.Made != nil {
		w.unresolved = r.resolveMade(w, scoped, scope)
	}
	return nil
}

// resolveMade resolves the layers that the machines were made with, whose
// variables are those of the infrastructure.
func (r *Reconciler) resolveMade(w *World, scoped []pack.ScopedProfile, scope pack.Scope) error {
	for _, p := range scoped {
		if p.Type == pack.ProfileAddon {
			continue
		}
		p.Layers = w.Cluster.Status.Made.Layers
		out, err := r.cfg.Packs.ResolveProfiles([]pack.ScopedProfile{p}, scope)
		if err != nil {
			return err //nolint:wrapcheck // names profile, pack and expression
		}
		w.madeLayers = out[0].Layers
		return nil
	}
	return nil
}

// scope reads what macros and system macros stand for in a cluster.
func (r *Reconciler) scope(ctx context.Context, c *lazuli.Cluster, account *lazuli.Account, region string) (pack.Scope, error) {
	facts := pack.Facts{
		ClusterName: c.Name, ClusterUID: c.UID, AccountName: account.Name, AccountUID: account.UID,
		ProjectUID: c.Project, UserUID: c.Requester, Region: region,
	}
	var tenant lazuli.Tenant
	if err := optional(r.cfg.Store.ByUnique(ctx, lazuli.TenantUnique, &tenant)); err != nil {
		return pack.Scope{}, err
	}
	facts.TenantUID = tenant.UID
	var project lazuli.Project
	var user lazuli.User
	for uid, o := range map[string]lazuli.Object{c.Project: &project, c.Requester: &user} {
		if uid == "" {
			continue
		}
		if err := optional(r.cfg.Store.Get(ctx, uid, o)); err != nil {
			return pack.Scope{}, err
		}
	}
	facts.ProjectName, facts.UserName, facts.UserMail = project.Name, user.Name, user.Email
	lists := make([][]lazuli.Macro, 0, 2) //nolint:mnd // tenant and project
	for _, scope := range []string{"", c.Project} {
		var m lazuli.Macros
		if err := optional(r.cfg.Store.ByUnique(ctx, lazuli.MacrosUnique(scope), &m)); err != nil {
			return pack.Scope{}, err
		}
		lists = append(lists, m.Macros)
	}
	return pack.Scope{Macros: pack.MergeMacros(lists...), System: facts.System()}, nil
}

// optional takes an absent object for an empty one.
func optional(err error) error {
	if err == nil || lazuli.CodeOf(err) == lazuli.CodeNotFound {
		return nil
	}
	return fmt.Errorf("read what the profiles refer to: %w", err)
}
