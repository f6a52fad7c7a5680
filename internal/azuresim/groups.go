// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

const groupType = "Microsoft.Resources/resourceGroups"

// groupHint is the Retry-After of a group's delete: ARM asks to poll it every 15 s, each time.
const groupHint = 15 * time.Second

func groupKind() *kind {
	return &kind{
		typ: groupType, latency: "group", deletes: true, wait: groupHint, deleting: deleteGroup,
		removed: func(s *Simulator, r *resource) {
			for _, k := range sortedKeys(s.world.assignments) {
				if within(r.id, s.world.assignments[k].Scope) {
					delete(s.world.assignments, k)
				}
			}
		},
	}
}

var groupNamePattern = regexp.MustCompile(`^[-\w._()]{0,89}[-\w_()]$`)

// putGroup stores a group and returns it.
func (s *Simulator) putGroup(t target, body object) *resource {
	now := s.now()
	r := s.store.byKey[t.key()]
	if r == nil {
		t.path = t.groupID()
		r = &resource{id: t.groupID(), target: t, kind: s.kinds[keyOf(groupType)], created: now, location: normalLocation(str(body, "location"))}
	}
	r.body, r.changed, r.state = body, now, stateSucceeded
	r.target.names, r.target.types = []string{t.group}, nil
	s.store.put(r, nil)
	return r
}

func (c *call) putGroupCall(old *resource, body object) (*reply, *apiError) {
	t := c.target
	if !groupNamePattern.MatchString(t.group) {
		return nil, badRequest("InvalidResourceGroupName", "The provided resource group name '%s' has these invalid characters or is too long.", t.group)
	}
	location := normalLocation(str(body, "location"))
	switch {
	case location == "" && old != nil && c.method == http.MethodPatch:
		location = old.location
	case location == "":
		return nil, badRequest("LocationRequired", "The location property is required for this definition.")
	case old != nil && location != old.location:
		return nil, conflict("InvalidResourceGroupLocation", "Invalid resource group location '%s'. The Resource group already exists in location '%s'.",
			location, old.location)
	case !c.sim.knowsLocation(t.subscription, location):
		return nil, badRequest("LocationNotAvailableForResourceGroup", "The provided location '%s' is not available for resource group.", location)
	case old != nil && old.state == stateDeleting:
		return nil, groupDeleting(t.group)
	}
	if err := c.checkLocks(t.path, false); err != nil {
		return nil, err
	}
	body["location"] = location
	delete(body, "properties")
	r := c.sim.putGroup(t, body)
	rep := ok(c.sim.render(r))
	if old == nil {
		rep.status = http.StatusCreated
	}
	return rep, nil
}

func (c *call) groups() (*reply, *apiError) {
	if c.method != http.MethodGet {
		return nil, methodNotAllowed(c)
	}
	// A caller sees the groups where it has a role, even without one on the subscription.
	filter, err := filterFor(c.query.Get("$filter"))
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, r := range c.sim.store.below(c.target.subscriptionID() + "/resourcegroups/") {
		if r.kind.typ == groupType && filter(r) && c.may("Microsoft.Resources/subscriptions/resourceGroups/read", r.id) {
			list = append(list, c.sim.render(r))
		}
	}
	if len(list) == 0 && !c.sees(c.target.subscription) {
		return nil, c.authorize("Microsoft.Resources/subscriptions/resourceGroups/read", c.target.subscriptionID())
	}
	return c.page(list)
}

// deleteGroup deletes what is in a group in waves: what nothing else refers to goes first.
func deleteGroup(c *call, r *resource, op *operation) bool {
	s := c.sim
	op.namespace = ""
	s.after(s.draw("group.delete", r.key()), func() { s.groupWave(r, op, nil) })
	return true
}

func (s *Simulator) groupWave(group *resource, op *operation, last []string) {
	left := s.store.below(group.id + "/")
	if len(left) == 0 {
		s.finish(op, nil)
		return
	}
	ids := make([]string, 0, len(left))
	var longest time.Duration
	for _, r := range left {
		ids = append(ids, r.id)
	}
	if slices.Equal(ids, last) {
		s.finish(op, conflict("ResourceGroupDeletionBlocked", "Deletion of resource group '%s' failed as resources with identifiers '%s' could not "+
			"be deleted. The provisioning state of the resource group will be rolled back. The tracking Id is '%s'.",
			group.target.group, strings.Join(ids, ","), op.id))
		return
	}
	for _, r := range left {
		if r.kind.typ != typeVMName && s.referred(r) {
			continue
		}
		d := s.draw(r.kind.latency+".delete", r.key())
		longest = max(longest, d)
		s.cancel(r.op)
		r.state = stateDeleting
		key := r.key()
		if r.kind.typ == typeVMName {
			s.stopGuest(r)
		}
		s.after(d, func() {
			if now := s.store.byKey[key]; now != nil {
				s.drop(now)
			}
		})
	}
	const pause = time.Second
	s.after(longest+pause, func() { s.groupWave(group, op, ids) })
}

// referred says whether anything refers to a resource or to a part of it, other than itself.
func (s *Simulator) referred(r *resource) bool {
	hit := func(id string) bool {
		for k := range s.store.incoming[keyOf(id)] {
			if !within(r.id, k) {
				return true
			}
		}
		return false
	}
	if hit(r.id) {
		return true
	}
	for _, prop := range r.kind.children {
		if slices.ContainsFunc(items(r.body, "properties", prop), func(o object) bool { return hit(str(o, "id")) }) {
			return true
		}
	}
	return false
}
