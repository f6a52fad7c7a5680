// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// kind is what a resource type does differently from all others.
type kind struct {
	typ string
	// latency is the prefix of the type's distributions ("network.virtualnetworks"); "" for types that answer at once.
	latency string
	// children are nested collections that live in the body: lower-cased segment -> property name in "properties".
	children map[string]string
	// puts names the operation in errors and says that a PUT is asynchronous; "" is a synchronous PUT.
	puts string
	// accepted answers an asynchronous PUT with 202 (disks), not 201 or 200.
	accepted bool
	// deletes says that a DELETE is asynchronous.
	deletes bool
	// etags says that the type has etags and honours If-Match.
	etags bool
	// wait is the Retry-After of a DELETE's reply and of each poll of it; default deleteHint for the reply only.
	wait time.Duration
	// hint are the Retry-After values of a PUT's reply and of its first polls.
	hint []time.Duration
	// put checks and completes what was written. old is nil on a create.
	put func(c *call, r *resource, old object) *apiError
	// began runs after a PUT was stored, before its answer; it may take the operation over and then returns true.
	began func(c *call, r *resource, op *operation, created bool) bool
	// block refuses a delete.
	block func(c *call, r *resource) *apiError
	// deleting takes a delete over and returns true.
	deleting func(c *call, r *resource, op *operation) bool
	// removed runs after the resource went.
	removed func(s *Simulator, r *resource)
	// view adds what is computed.
	view func(s *Simulator, r *resource, out object)
	// refs lists the references to other resources.
	refs func(r *resource) []ref
	// usage counts against quotas.
	usage func(s *Simulator, r *resource) map[string]int
	// gets and posts answer GET and POST on {id}/{name}.
	gets, posts map[string]func(c *call, r *resource) (*reply, *apiError)
}

func kinds() map[string]*kind {
	list := []*kind{
		groupKind(), networkKind(), securityGroupKind(), publicIPKind(), natKind(), balancerKind(), nicKind(), routeTableKind(),
		diskKind(), vmKind(), availabilitySetKind(), identityKind(),
	}
	out := make(map[string]*kind, len(list))
	for _, k := range list {
		out[strings.ToLower(k.typ)] = k
	}
	return out
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?$`)

func methodNotAllowed(c *call) *apiError {
	return fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The HTTP method '%s' is not supported at scope '%s'.", c.method, c.target.path)
}

func unknownType(t target) *apiError {
	return fail(http.StatusNotFound, "InvalidResourceType",
		"The resource type '%s' could not be found in the namespace '%s' for api version. The simulator does not know it.",
		strings.Join(t.types, "/"), t.namespace)
}

// routeTyped serves the types of the table: a collection, a resource, a nested resource or an action on one.
func (c *call) routeTyped() (*reply, *apiError) {
	t := c.target
	s := c.sim
	if k := s.kinds[t.typeKey()]; k != nil {
		if t.collection() {
			return c.list(k)
		}
		return c.one(k)
	}
	if len(t.types) < 2 {
		return nil, unknownType(t)
	}
	parent := t.parent()
	k := s.kinds[parent.typeKey()]
	if k == nil || t.group == "" {
		return nil, unknownType(t)
	}
	last := strings.ToLower(t.types[len(t.types)-1])
	if prop, nested := k.children[last]; nested {
		return c.nested(k, parent, prop)
	}
	return c.action(k, parent, last)
}

func (c *call) action(k *kind, parent target, name string) (*reply, *apiError) {
	if !c.target.collection() {
		return nil, unknownType(c.target)
	}
	fn, right := k.gets[name], c.target.typeName()+"/read"
	if c.method == http.MethodPost {
		fn, right = k.posts[name], k.typ+"/"+c.target.types[len(c.target.types)-1]+"/action"
	}
	if fn == nil {
		return nil, unknownType(c.target)
	}
	if err := c.authorize(right, parent.path); err != nil {
		return nil, err
	}
	r, err := c.find(parent)
	if err != nil {
		return nil, err
	}
	return fn(c, r)
}

// find is a resource that must be there.
func (c *call) find(t target) (*resource, *apiError) {
	if err := c.scopeExists(); err != nil {
		return nil, err
	}
	if r := c.sim.store.byKey[t.key()]; r != nil {
		return r, nil
	}
	return nil, resourceNotFound(t)
}

func (c *call) one(k *kind) (*reply, *apiError) {
	t := c.target
	verb := map[string]string{classRead: "read", classWrite: "write", classDelete: "delete"}[c.class]
	if c.method == http.MethodPost {
		return nil, methodNotAllowed(c)
	}
	if err := c.authorize(k.typ+"/"+verb, t.path); err != nil {
		return nil, err
	}
	if err := c.scopeExists(); err != nil && k.typ != groupType {
		return nil, err
	}
	r := c.sim.store.byKey[t.key()]
	switch c.method {
	case http.MethodGet, http.MethodHead:
		if r == nil {
			return nil, c.absent(k)
		}
		if c.method == http.MethodHead {
			return status(http.StatusNoContent), nil
		}
		out := c.sim.render(r)
		c.expand(r, out)
		return c.tagged(ok(out), r), nil
	case http.MethodDelete:
		return c.delete(k, r)
	case http.MethodPatch:
		if r == nil {
			return nil, c.absent(k)
		}
		patched := mergePatch(cloneObject(r.body), c.body)
		if tags, given := c.body["tags"]; given && k.etags {
			patched["tags"] = tags // Network's UpdateTags replaces all tags.
		}
		return c.put(k, r, patched)
	}
	return c.put(k, r, cloneObject(c.body))
}

func (c *call) absent(k *kind) *apiError {
	if k.typ == groupType {
		return groupNotFound(c.target.group)
	}
	return resourceNotFound(c.target)
}

func (c *call) tagged(rep *reply, r *resource) *reply {
	if r.kind.etags {
		rep.with("ETag", r.etag)
	}
	return rep
}

// precondition honours If-Match and If-None-Match.
func (c *call) precondition(r *resource) *apiError {
	want, none := c.header.Get("If-Match"), c.header.Get("If-None-Match")
	failed := fail(http.StatusPreconditionFailed, "PreconditionFailed",
		"Precondition failed. The condition '%s' of the request is not met by the resource.", want+none)
	switch {
	case none == "*" && r != nil:
		return failed
	case want == "*" && r == nil:
		return failed
	case want != "" && want != "*" && (r == nil || want != r.etag):
		return failed
	}
	return nil
}

// busy refuses a write while another one is under way. Network serialises per resource, so two subnets of one VNet
// collide (azapi#503, terraform-provider-azurerm#3780).
func (c *call) busy(r *resource) *apiError {
	if r == nil || r.op == nil || r.op.status != opRunning {
		return nil
	}
	if r.kind.typ == typeVMName && r.state == stateDeleting {
		return conflict("OperationNotAllowed", "Operation '%s' is not allowed on VM '%s' since the VM is marked for deletion. "+
			"You can only retry the Delete operation (or wait for an ongoing one to complete).", c.method, r.target.name())
	}
	if strings.EqualFold(r.target.namespace, "Microsoft.Network") {
		e := conflict("AnotherOperationInProgress", "Another operation on this or dependent resource is in progress. "+
			"To retrieve status of the operation use uri: %s.", r.op.url(c, "operations"))
		const pause = 10 * time.Second
		e.retry = pause
		return e
	}
	return conflict("Conflict", "The request failed due to conflict with a concurrent request. To resolve it, please refer to "+
		"https://aka.ms/activitylog to get more details on the conflicting requests.")
}

func (c *call) put(k *kind, old *resource, body object) (*reply, *apiError) {
	t := c.target
	if k.typ == groupType {
		return c.putGroupCall(old, body)
	}
	if len(body) == 0 {
		return nil, badRequest("MissingRequestBody", "The request body is missing.")
	}
	if !namePattern.MatchString(t.name()) {
		return nil, badRequest("InvalidResourceName", "Resource name %s is invalid. The name can be up to 80 characters long. It must begin with a word "+
			"character, and it must end with a word character or with '_'. The name may contain word characters or '.', '-', '_'.", t.name())
	}
	if group := c.sim.store.get(t.groupID()); group.state == stateDeleting {
		return nil, groupDeleting(t.group)
	}
	if err := c.checkLocks(t.path, false); err != nil {
		return nil, err
	}
	if err := c.busy(old); err != nil {
		return nil, err
	}
	if err := c.precondition(old); err != nil {
		return nil, err
	}
	location, err := c.placed(old, body)
	if err != nil {
		return nil, err
	}
	next := &resource{id: t.path, target: t, kind: k, location: location, body: body, created: c.now, changed: c.now, usage: map[string]int{}}
	var before object
	if old != nil {
		copied := *old
		next = &copied
		next.body, next.changed, before = body, c.now, old.body
	}
	body["location"] = location
	ensure(body, "properties")
	delete(child(body, "properties"), "provisioningState")
	if err := k.put(c, next, before); err != nil {
		return nil, err
	}
	if err := c.checkQuota(next, old); err != nil {
		return nil, err
	}
	return c.commit(k, next, old == nil), nil
}

// placed is the region of a write: given on a create, unchanged afterwards.
func (c *call) placed(old *resource, body object) (string, *apiError) {
	location := normalLocation(str(body, "location"))
	switch {
	case old != nil && location == "":
		return old.location, nil
	case old != nil && location != old.location:
		return "", conflict("InvalidResourceLocation", "The resource '%s' already exists in location '%s' in resource group '%s'. A resource with the "+
			"same name cannot be created in location '%s'. Please select a new resource name.", c.target.name(), old.location, c.target.group, location)
	case location == "":
		return "", badRequest("LocationRequired", "The location property is required for this definition.")
	}
	if !c.sim.knowsLocation(c.target.subscription, location) {
		return "", badRequest("LocationNotAvailableForResourceType",
			"The provided location '%s' is not available for resource type '%s'.", location, c.target.typeName())
	}
	return location, nil
}

// commit stores a write and starts its operation. The first writer's casing of the id stays.
func (c *call) commit(k *kind, r *resource, created bool) *reply {
	s := c.sim
	r.etag = `W/"` + s.guid() + `"`
	r.state = stateSucceeded
	s.save(r)
	rep := ok(nil)
	if created {
		rep.status = http.StatusCreated
	}
	if k.puts != "" {
		r.state = stateUpdating
		if created && k.typ == typeVMName {
			r.state = stateCreating
		}
		op := c.start(r.id, k.puts, k.hint...)
		r.op = op
		op.done = func(err *apiError) { s.settle(r.key(), op, err) }
		if k.accepted {
			rep.status = http.StatusAccepted
		}
		c.announce(rep, op, true, k.accepted)
		if k.began == nil || !k.began(c, r, op, created) {
			s.finishAfter(op, s.draw(k.latency+".put", r.key()), nil)
		}
	} else if k.began != nil {
		k.began(c, r, nil, created)
	}
	rep.body = s.render(r)
	return c.tagged(rep, r)
}

// settle ends a write on a resource and on everything inside it.
func (s *Simulator) settle(key string, op *operation, err *apiError) {
	r := s.store.byKey[key]
	if r == nil || r.op != op {
		return
	}
	r.op = nil
	r.state = stateSucceeded
	if err != nil {
		r.state = stateFailed
	}
	r.changed = s.now()
	for _, prop := range r.kind.children {
		for _, item := range items(r.body, "properties", prop) {
			ensure(item, "properties")["provisioningState"] = r.state
		}
	}
	s.touchNetwork()
}

// save stores a resource and brings indexes up to date.
func (s *Simulator) save(r *resource) {
	old := s.store.byKey[r.key()]
	if old != nil {
		s.count(old, -1)
	}
	for seg, prop := range r.kind.children {
		s.nest(r, seg, prop)
	}
	var refs []ref
	if r.kind.refs != nil {
		refs = r.kind.refs(r)
	}
	if old != nil && old != r {
		s.store.unlink(old)
	}
	s.store.put(r, refs)
	r.usage = map[string]int{}
	if r.kind.usage != nil {
		r.usage = r.kind.usage(s, r)
	}
	s.count(r, 1)
	if strings.EqualFold(r.target.namespace, "Microsoft.Network") {
		s.touchNetwork()
	}
}

// nest gives the parts of a body their ids, types and states.
func (s *Simulator) nest(r *resource, seg, prop string) {
	for _, item := range items(r.body, "properties", prop) {
		name := str(item, "name")
		item["id"] = r.id + "/" + childSegment(r.kind, seg) + "/" + name
		item["type"] = r.kind.typ + "/" + childSegment(r.kind, seg)
		item["etag"] = r.etag
		ensure(item, "properties")["provisioningState"] = r.state
	}
}

// childSegment is the casing of a nested collection's segment: that of its property, except LB frontends.
func childSegment(k *kind, seg string) string {
	prop := k.children[seg]
	if strings.EqualFold(prop, seg) {
		return prop
	}
	return seg
}

func (s *Simulator) drop(r *resource) {
	s.count(r, -1)
	if r.op != nil && r.op.status == opRunning && r.state != stateDeleting {
		s.cancel(r.op)
	}
	s.store.remove(r)
	if r.kind.removed != nil {
		r.kind.removed(s, r)
	}
	if strings.EqualFold(r.target.namespace, "Microsoft.Network") {
		s.touchNetwork()
	}
}

// deleteHint is the Retry-After of most deletes.
const deleteHint = 10 * time.Second

// delete answers 204 for what is not there (ARM's rule for idempotent deletes).
func (c *call) delete(k *kind, r *resource) (*reply, *apiError) {
	s := c.sim
	if r == nil {
		if k.typ == groupType {
			return nil, groupNotFound(c.target.group)
		}
		return status(http.StatusNoContent), nil
	}
	if err := c.checkLocks(r.id, true); err != nil {
		return nil, err
	}
	if r.state == stateDeleting && r.op != nil { // A second DELETE joins the first.
		return c.announce(status(http.StatusAccepted), r.op, r.op.namespace != "", true), nil
	}
	if strings.EqualFold(r.target.namespace, "Microsoft.Network") {
		if err := c.busy(r); err != nil {
			return nil, err
		}
	}
	if err := c.precondition(r); err != nil && c.header.Get("If-Match") != "" {
		return nil, err
	}
	if k.block != nil {
		if err := k.block(c, r); err != nil {
			return nil, err
		}
	}
	if !k.deletes {
		s.drop(r)
		return status(http.StatusOK), nil
	}
	s.cancel(r.op)
	op := c.start(r.id, "Delete"+k.puts, deleteHint)
	if k.wait > 0 {
		op.retry, op.always = nil, k.wait
	}
	before := r.state
	r.op, r.state = op, stateDeleting
	op.done = func(err *apiError) { s.deleted(r, op, before, err) }
	rep := c.announce(status(http.StatusAccepted), op, k.typ != groupType, true)
	if k.deleting == nil || !k.deleting(c, r, op) {
		s.finishAfter(op, s.draw(k.latency+".delete", r.key()), nil)
	}
	return rep, nil
}

func (s *Simulator) deleted(r *resource, op *operation, before string, err *apiError) {
	if s.store.byKey[r.key()] != r || r.op != op {
		return
	}
	r.op = nil
	if err != nil {
		r.state = stateFailed
		if r.kind.typ == groupType {
			r.state = before
		}
		return
	}
	s.drop(r)
}

// render is a resource as ARM shows it.
func (s *Simulator) render(r *resource) object {
	out := cloneObject(r.body)
	out["id"], out["name"], out["type"] = r.id, r.target.name(), r.kind.typ
	props := ensure(out, "properties")
	props["provisioningState"] = r.state
	if r.kind.etags {
		out["etag"] = r.etag
	}
	if r.kind.view != nil {
		r.kind.view(s, r, out)
	}
	return out
}

func (c *call) expand(r *resource, out object) {
	if r.kind.typ == typeVMName && strings.EqualFold(c.query.Get("$expand"), "instanceView") {
		ensure(out, "properties")["instanceView"] = c.sim.instanceView(r)
	}
}

// list answers a collection in a group, or over a subscription.
func (c *call) list(k *kind) (*reply, *apiError) {
	t := c.target
	if c.method != http.MethodGet {
		return nil, methodNotAllowed(c)
	}
	scope, prefix := t.subscriptionID(), t.subscriptionID()+"/resourcegroups/"
	if t.group != "" {
		scope, prefix = t.groupID(), t.groupID()+"/"
	}
	if err := c.authorize(k.typ+"/read", scope); err != nil {
		return nil, err
	}
	if err := c.scopeExists(); err != nil {
		return nil, err
	}
	list := []any{}
	for _, r := range c.sim.store.below(prefix) {
		if r.kind == k {
			out := c.sim.render(r)
			c.expand(r, out)
			list = append(list, out)
		}
	}
	return c.page(list)
}

// related lists {"id": ...} objects, and nil for none, as read-only back references are shown.
func related(ids []string) []any {
	out := make([]any, 0, len(ids))
	for _, id := range ids {
		out = append(out, object{"id": id})
	}
	return out
}

func setRelated(o object, name string, ids []string) {
	delete(o, name)
	if len(ids) > 0 {
		o[name] = related(ids)
	}
}

// refer checks a reference: it exists, in the same region, is Succeeded, and the caller may use it. part is the type of
// the referenced part ("subnets") or "".
func (c *call) refer(from, id, typ, right string) (*resource, *apiError) {
	r := c.sim.store.owner(id)
	if r == nil || !strings.EqualFold(r.kind.typ, typ) || !c.partExists(r, id) {
		return nil, badRequest("InvalidResourceReference", "Resource %s referenced by resource %s was not found. Please make sure that the referenced "+
			"resource exists, and that both resources are in the same region.", id, from)
	}
	if right != "" {
		if err := c.authorizeLinked(right, id); err != nil {
			return nil, err
		}
	}
	if r.state != stateSucceeded && r.key() != c.target.key() {
		e := fail(http.StatusTooManyRequests, "RetryableError", "A retryable error occurred.")
		last := ""
		if r.op != nil {
			last = r.op.name
		}
		e.details = []*apiError{{code: "ReferencedResourceNotProvisioned", message: "Cannot proceed with operation because resource " + id +
			" used by resource " + from + " is not in Succeeded state. Resource is in " + r.state +
			" state and the last operation that updated/is updating the resource is " + last + "."}}
		const pause = 10 * time.Second
		e.retry = pause
		return nil, e
	}
	return r, nil
}

// partExists says whether the part of a resource that an id names is in its body.
func (c *call) partExists(r *resource, id string) bool {
	if keyOf(id) == r.key() {
		return true
	}
	for _, prop := range r.kind.children {
		if slices.ContainsFunc(items(r.body, "properties", prop), func(o object) bool { return keyOf(str(o, "id")) == keyOf(id) }) {
			return true
		}
	}
	return false
}
