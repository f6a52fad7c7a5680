// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"net/http"
	"slices"
	"strings"
)

// nested serves a collection that lives in its parent's body: subnets, rules, pools. A write to a part is a write to
// the parent, in the parent's order.
func (c *call) nested(k *kind, parent target, prop string) (*reply, *apiError) {
	t := c.target
	seg := childSegment(k, strings.ToLower(t.types[len(t.types)-1]))
	verb := map[string]string{classRead: "read", classWrite: "write", classDelete: "delete"}[c.class]
	scope := t.path
	if t.collection() {
		scope = parent.path
	}
	if err := c.authorize(k.typ+"/"+seg+"/"+verb, scope); err != nil {
		return nil, err
	}
	if err := c.scopeExists(); err != nil {
		return nil, err
	}
	r := c.sim.store.byKey[parent.key()]
	if r == nil {
		if c.method == http.MethodPut {
			return nil, fail(http.StatusNotFound, "ParentResourceNotFound",
				"Failed to perform '%s' on resource(s) of type '%s', because the parent resource '%s' could not be found.",
				verb, strings.Join(t.types, "/"), parent.path)
		}
		if c.method == http.MethodDelete {
			return status(http.StatusNoContent), nil
		}
		return nil, resourceNotFound(parent)
	}
	if t.collection() {
		if c.method != http.MethodGet {
			return nil, methodNotAllowed(c)
		}
		list := []any{}
		for _, item := range items(c.sim.render(r), "properties", prop) {
			list = append(list, item)
		}
		return c.page(list)
	}
	switch c.method {
	case http.MethodGet:
		if item := part(c.sim.render(r), prop, t.name()); item != nil {
			return ok(item), nil
		}
		return nil, partNotFound(t)
	case http.MethodPut:
		return c.putPart(k, r, prop)
	case http.MethodDelete:
		return c.deletePart(k, r, prop)
	}
	return nil, methodNotAllowed(c)
}

func partNotFound(t target) *apiError {
	return fail(http.StatusNotFound, "NotFound", "Resource %s not found.", t.path)
}

func part(body object, prop, name string) object {
	list := items(body, "properties", prop)
	i := slices.IndexFunc(list, func(o object) bool { return strings.EqualFold(str(o, "name"), name) })
	if i < 0 {
		return nil
	}
	return list[i]
}

func (c *call) putPart(k *kind, old *resource, prop string) (*reply, *apiError) {
	name := c.target.name()
	next := *old
	next.body = cloneObject(old.body)
	item := cloneObject(c.body)
	item["name"] = name
	list, _ := at(next.body, "properties", prop).([]any)
	i := slices.IndexFunc(list, func(v any) bool {
		o, isObject := v.(object)
		return isObject && strings.EqualFold(str(o, "name"), name)
	})
	if i < 0 {
		list = append(list, item)
	} else {
		list[i] = item
	}
	ensure(next.body, "properties")[prop] = list
	if err := c.checkPart(k, old, &next); err != nil {
		return nil, err
	}
	rep := c.commitPart(k, &next, "Put")
	if i < 0 {
		rep.status = http.StatusCreated
	}
	rep.body = part(c.sim.render(&next), prop, name)
	return rep, nil
}

func (c *call) checkPart(k *kind, old, next *resource) *apiError {
	if err := c.checkLocks(c.target.path, c.class == classDelete); err != nil {
		return err
	}
	if group := c.sim.store.get(old.target.groupID()); group.state == stateDeleting {
		return groupDeleting(old.target.group)
	}
	if err := c.busy(old); err != nil {
		return err
	}
	next.changed = c.now
	return k.put(c, next, old.body)
}

func (c *call) commitPart(k *kind, next *resource, verb string) *reply {
	s := c.sim
	next.etag = `W/"` + s.guid() + `"`
	next.state = stateSucceeded
	if k.puts != "" {
		next.state = stateUpdating
	}
	s.save(next)
	rep := ok(nil)
	if k.puts == "" {
		return rep
	}
	seg := c.target.types[len(c.target.types)-1]
	op := c.start(c.target.path, verb+strings.ToUpper(seg[:1])+strings.TrimSuffix(seg[1:], "s")+"Operation", k.hint...)
	next.op = op
	op.done = func(err *apiError) { s.settle(next.key(), op, err) }
	c.announce(rep, op, true, verb == "Delete")
	dist := "network." + strings.ToLower(seg) + "." + strings.ToLower(verb)
	if _, known := s.latency[dist]; !known {
		dist = k.latency + ".put"
	}
	s.finishAfter(op, s.draw(dist, c.target.key()), nil)
	return rep
}

func (c *call) deletePart(k *kind, old *resource, prop string) (*reply, *apiError) {
	if part(old.body, prop, c.target.name()) == nil {
		return status(http.StatusNoContent), nil
	}
	next := *old
	next.body = cloneObject(old.body)
	list, _ := at(next.body, "properties", prop).([]any)
	ensure(next.body, "properties")[prop] = slices.DeleteFunc(list, func(v any) bool {
		o, isObject := v.(object)
		return isObject && strings.EqualFold(str(o, "name"), c.target.name())
	})
	if err := c.checkPart(k, old, &next); err != nil {
		return nil, err
	}
	rep := c.commitPart(k, &next, "Delete")
	if rep.header != nil {
		rep.status = http.StatusAccepted
	}
	return rep, nil
}
