// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Actor is who calls. The zero Actor may do nothing.
type Actor struct {
	UserUID string
	Name    string // for audits and events
	Email   string
	Tenant  string // uid
	Org     string // the tenant's name
	// KeyUID is the API key, Session the session that the actor came with; one
	// of them is empty.
	KeyUID  string
	Session string
	// Project is the only project that the key acts in; "" is no bound.
	Project string
	// Expires is when the credential itself ends for good; zero is never.
	Expires time.Time

	grants *Grants
}

// WithGrants returns the actor with what it may do.
func (a Actor) WithGrants(g *Grants) Actor {
	if a.Project != "" && g != nil {
		g = g.within(a.Project)
	}
	a.grants = g
	return a
}

// Credential names what the actor came with, for limits.
func (a Actor) Credential() string {
	if a.KeyUID != "" {
		return a.KeyUID
	}
	return a.UserUID
}

// May reports whether the actor has a permission in a project, or for objects
// of the tenant when project is "".
func (a Actor) May(p Permission, project string) bool {
	if p == None {
		return a.Sees(project)
	}
	return a.grants.Has(p, project)
}

// Anywhere reports whether the actor has a permission in the tenant or in any
// project.
func (a Actor) Anywhere(p Permission) bool {
	if p == None || a.grants.Has(p, "") {
		return true
	}
	all, uids := a.Projects(p)
	return all || len(uids) > 0
}

// Projects lists the projects in which the actor has a permission; all is that
// it has it in the tenant, and so in every project.
func (a Actor) Projects(p Permission) (all bool, uids []string) {
	if a.grants == nil {
		return false, nil
	}
	if a.grants.Has(p, "") {
		return true, nil
	}
	for _, uid := range slices.Sorted(maps.Keys(a.grants.projects)) {
		if a.grants.Has(p, uid) {
			uids = append(uids, uid)
		}
	}
	return false, uids
}

// Sees reports whether a project exists for the actor: whether it may do
// anything there. The tenant ("") is there for everyone.
func (a Actor) Sees(project string) bool {
	return project == "" || a.grants.touches(project)
}

// Excess is a permission among g that the actor has not, and the project where;
// ok is false when the actor has all of g and so may give it.
func (a Actor) Excess(g *Grants) (p Permission, project string, ok bool) {
	return a.grants.Excess(g)
}

type actorKey struct{}

// WithActor returns a context that carries the actor.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorFrom returns the actor of a context.
func ActorFrom(ctx context.Context) (Actor, bool) {
	a, ok := ctx.Value(actorKey{}).(Actor)
	return a, ok
}
