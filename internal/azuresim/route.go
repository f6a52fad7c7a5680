// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// versionRange are the api-versions that a provider answers. Azure has a list per type; a range keeps old and new
// clients working and still refuses inventions.
type versionRange struct{ from, to string }

func versions(namespace string) (versionRange, bool) {
	switch strings.ToLower(namespace) {
	case "", "microsoft.resources":
		return versionRange{"2014-04-01", "2026-12-31"}, true
	case "microsoft.authorization":
		return versionRange{"2015-07-01", "2026-12-31"}, true
	case "microsoft.compute":
		return versionRange{"2017-03-30", "2026-12-31"}, true
	case "microsoft.network":
		return versionRange{"2018-10-01", "2026-12-31"}, true
	case "microsoft.managedidentity":
		return versionRange{"2018-11-30", "2026-12-31"}, true
	}
	return versionRange{}, false
}

var versionPattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(-preview)?$`)

func (c *call) checkVersion() *apiError {
	if c.version == "" {
		return badRequest("MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	}
	if !versionPattern.MatchString(c.version) {
		return badRequest("InvalidApiVersionParameter", "The api-version '%s' is invalid. The supported versions are '%s'.", c.version, "2021-04-01,2025-04-01")
	}
	ns := c.target.namespace
	if len(c.target.types) == 0 { // providers/{namespace} itself belongs to ARM
		ns = ""
	}
	known, exists := versions(ns)
	if !exists {
		return fail(http.StatusNotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", ns)
	}
	if day := c.version[:len("2006-01-02")]; day < known.from || day > known.to {
		return badRequest("NoRegisteredProviderFound", "No registered resource provider found for location '%s' and API version '%s' for type '%s'. "+
			"The supported api-versions are '%s' to '%s'.", c.location(), c.version, strings.Join(c.target.types, "/"), known.from, known.to)
	}
	return nil
}

func (c *call) route() (*reply, *apiError) {
	t := c.target
	if id := c.pollID(); id != "" {
		return c.poll(id)
	}
	switch strings.ToLower(t.namespace) {
	case "":
		return c.routeCore()
	case "microsoft.authorization":
		return c.routeAuthorization()
	}
	if len(t.types) == 0 {
		return c.provider()
	}
	if strings.EqualFold(t.types[0], "register") && len(t.types) == 1 && c.method == http.MethodPost {
		return c.register()
	}
	if t.subscription == "" {
		return nil, unknownType(t)
	}
	if err := c.registered(); err != nil {
		return nil, err
	}
	switch t.typeKey() {
	case "microsoft.compute/skus":
		return c.skus()
	case "microsoft.compute/locations/usages", "microsoft.network/locations/usages":
		return c.usages()
	case "microsoft.resources/tags":
		return c.tagCall()
	}
	return c.routeTyped()
}

// page cuts a list and names the next page. The token is opaque to clients.
func (c *call) page(list []any) (*reply, *apiError) {
	skip := 0
	if token := c.query.Get("$skiptoken"); token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err == nil {
			skip, err = strconv.Atoi(string(raw))
		}
		if err != nil || skip < 0 {
			return nil, badRequest("InvalidSkipToken", "The skip token '%s' is invalid.", token)
		}
	}
	size := c.sim.cfg.PageSize
	if top, err := strconv.Atoi(c.query.Get("$top")); err == nil && top > 0 {
		size = min(size, top)
	}
	list = list[min(skip, len(list)):]
	body := object{}
	if len(list) > size {
		list = list[:size]
		q := url.Values{}
		maps.Copy(q, c.query)
		q.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(skip+size))))
		body["nextLink"] = c.base + c.url.Path + "?" + q.Encode()
	}
	body["value"] = list
	return ok(body), nil
}

// routeCore serves paths without a provider.
func (c *call) routeCore() (*reply, *apiError) {
	t := c.target
	first := ""
	if len(t.rest) > 0 {
		first = strings.ToLower(t.rest[0])
	}
	if t.subscription == "" {
		switch strings.ToLower(t.path) {
		case "/subscriptions":
			return c.subscriptions()
		case "/tenants":
			return c.tenants()
		}
		return nil, fail(http.StatusNotFound, "NotFound", "The path '%s' is not known.", t.path)
	}
	if t.group != "" && len(t.rest) == 0 {
		return c.one(c.sim.kinds[keyOf(groupType)])
	}
	if len(t.rest) > 1 {
		return nil, fail(http.StatusNotFound, "NotFound", "The path '%s' is not known.", t.path)
	}
	switch {
	case first == "resources":
		return c.resources()
	case t.group != "":
	case first == "" && c.method == http.MethodGet:
		return c.subscription()
	case first == "locations":
		return c.locations()
	case first == "resourcegroups":
		return c.groups()
	case first == "providers":
		return c.providerList()
	}
	return nil, fail(http.StatusNotFound, "NotFound", "The path '%s' is not known.", t.path)
}

func (c *call) renderSubscription(v *Subscription) object {
	return object{
		"id": "/subscriptions/" + v.ID, "subscriptionId": v.ID, "tenantId": v.TenantID, "displayName": v.DisplayName, "state": "Enabled",
		"subscriptionPolicies": object{"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
		"authorizationSource":  "RoleBased", "managedByTenants": []any{},
	}
}

// subscriptions lists those in which the caller has any role.
func (c *call) subscriptions() (*reply, *apiError) {
	list := []any{}
	for _, k := range sortedKeys(c.sim.world.subscriptions) {
		v := c.sim.world.subscriptions[k]
		if strings.EqualFold(v.TenantID, c.principal.TenantID) && c.sees(v.ID) {
			list = append(list, c.renderSubscription(v))
		}
	}
	return c.page(list)
}

// sees says whether the caller has a role at, above or anywhere below a subscription.
func (c *call) sees(subscription string) bool {
	id := "/subscriptions/" + subscription
	for _, a := range c.sim.world.assignments {
		if strings.EqualFold(a.PrincipalID, c.principal.ObjectID) && (within(a.Scope, id) || within(id, a.Scope)) && !c.now.Before(a.from) {
			return true
		}
	}
	return false
}

func (c *call) subscription() (*reply, *apiError) {
	if !c.sees(c.target.subscription) {
		return nil, c.authorize("Microsoft.Resources/subscriptions/read", c.target.subscriptionID())
	}
	return ok(c.renderSubscription(c.sim.world.subscriptions[strings.ToLower(c.target.subscription)])), nil
}

func (c *call) tenants() (*reply, *apiError) {
	t := c.sim.world.tenants[strings.ToLower(c.principal.TenantID)]
	o := object{"id": "/tenants/" + t.ID, "tenantId": t.ID, "displayName": t.DisplayName, "tenantCategory": "Home"}
	if t.Domain != "" {
		o["defaultDomain"], o["domains"] = t.Domain, []any{t.Domain}
	}
	return c.page([]any{o})
}

func (s *Simulator) knowsLocation(subscription, location string) bool {
	if _, exists := s.catalog.region(location); !exists {
		return false
	}
	v := s.world.subscriptions[strings.ToLower(subscription)]
	return len(v.Locations) == 0 || slices.ContainsFunc(v.Locations, func(l string) bool { return normalLocation(l) == location })
}

func (c *call) locations() (*reply, *apiError) {
	if !c.sees(c.target.subscription) {
		return nil, c.authorize("Microsoft.Resources/subscriptions/locations/read", c.target.subscriptionID())
	}
	list := []any{}
	for _, r := range c.sim.catalog.regions {
		if !c.sim.knowsLocation(c.target.subscription, r.Name) {
			continue
		}
		o := object{
			"id": c.target.subscriptionID() + "/locations/" + r.Name, "name": r.Name, "type": "Region", "displayName": r.DisplayName,
			"regionalDisplayName": "(" + r.Geography + ") " + r.DisplayName,
			"metadata": object{
				"regionType": "Physical", "regionCategory": "Recommended", "geography": r.Geography, "geographyGroup": r.Geography,
				"pairedRegion": []any{object{"name": r.Paired, "id": c.target.subscriptionID() + "/locations/" + r.Paired}},
			},
		}
		var zones []any
		for _, z := range r.Zones {
			zones = append(zones, object{"logicalZone": z, "physicalZone": r.Name + "-az" + z})
		}
		if len(zones) > 0 {
			o["availabilityZoneMappings"] = zones
		}
		list = append(list, o)
	}
	return c.page(list)
}

func namespaces() []string {
	return []string{"Microsoft.Authorization", "Microsoft.Compute", "Microsoft.ManagedIdentity", "Microsoft.Network", "Microsoft.Resources"}
}

func (s *Simulator) providerState(subscription, namespace string) string {
	if v, set := s.world.providers[strings.ToLower(subscription+"|"+namespace)]; set {
		return v
	}
	return "Registered"
}

func (c *call) renderProvider(namespace string) object {
	types := []any{}
	for _, k := range sortedKeys(c.sim.kinds) {
		ns, name, _ := strings.Cut(c.sim.kinds[k].typ, "/")
		if ns != namespace {
			continue
		}
		var places []any
		for _, r := range c.sim.catalog.regions {
			places = append(places, r.DisplayName)
		}
		types = append(types, object{"resourceType": name, "locations": places, "apiVersions": []any{"2026-04-01", "2025-05-01", "2024-07-01"}})
	}
	return object{
		"id": c.target.subscriptionID() + "/providers/" + namespace, "namespace": namespace, "resourceTypes": types,
		"registrationState": c.sim.providerState(c.target.subscription, namespace), "registrationPolicy": "RegistrationRequired",
	}
}

func (c *call) providerList() (*reply, *apiError) {
	if err := c.authorize("Microsoft.Resources/subscriptions/providers/read", c.target.subscriptionID()); err != nil {
		return nil, err
	}
	list := []any{}
	for _, n := range namespaces() {
		list = append(list, c.renderProvider(n))
	}
	return c.page(list)
}

func (c *call) provider() (*reply, *apiError) {
	i := slices.IndexFunc(namespaces(), func(n string) bool { return strings.EqualFold(n, c.target.namespace) })
	if i < 0 || c.target.subscription == "" || c.method != http.MethodGet {
		return nil, fail(http.StatusNotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", c.target.namespace)
	}
	if err := c.authorize("Microsoft.Resources/subscriptions/providers/read", c.target.subscriptionID()); err != nil {
		return nil, err
	}
	return ok(c.renderProvider(namespaces()[i])), nil
}

// register makes a provider usable after a while.
func (c *call) register() (*reply, *apiError) {
	if err := c.authorize(c.target.namespace+"/register/action", c.target.subscriptionID()); err != nil {
		return nil, err
	}
	s, key := c.sim, strings.ToLower(c.target.subscription+"|"+c.target.namespace)
	if s.providerState(c.target.subscription, c.target.namespace) != "Registered" {
		s.world.providers[key] = "Registering"
		s.after(s.draw("provider.register", key), func() { s.world.providers[key] = "Registered" })
	}
	c.target.types = nil
	i := slices.IndexFunc(namespaces(), func(n string) bool { return strings.EqualFold(n, c.target.namespace) })
	if i < 0 {
		return nil, fail(http.StatusNotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", c.target.namespace)
	}
	return ok(c.renderProvider(namespaces()[i])), nil
}

func (c *call) registered() *apiError {
	if c.class == classRead || c.sim.providerState(c.target.subscription, c.target.namespace) != "NotRegistered" {
		return nil
	}
	return conflict("MissingSubscriptionRegistration", "The subscription is not registered to use namespace '%s'. See "+
		"https://aka.ms/rps-not-found for how to register subscriptions.", c.target.namespace)
}

var (
	tagFilter = regexp.MustCompile(`(?i)tagName\s+eq\s+'((?:[^']|'')*)'(?:\s+and\s+tagValue\s+eq\s+'((?:[^']|'')*)')?`)
	eqFilter  = regexp.MustCompile(`(?i)^\s*(tagName|tagValue|resourceType|resourceGroup|location|name)\s+eq\s+'(?:[^']|'')*'\s*$`)
)

// filterFor compiles the $filter of a resource list (learn.microsoft.com, Resources - List). What it does not know it refuses.
func filterFor(filter string) (func(r *resource) bool, *apiError) {
	if strings.TrimSpace(filter) == "" {
		return func(*resource) bool { return true }, nil
	}
	for _, clause := range regexp.MustCompile(`(?i)\s+and\s+`).Split(filter, -1) {
		if !eqFilter.MatchString(clause) {
			return nil, badRequest("InvalidFilterInQueryString", "Invalid $filter '%s' specified in the query string.", filter)
		}
	}
	unquote := func(s string) string { return strings.ReplaceAll(s, "''", "'") }
	tag := tagFilter.FindStringSubmatch(filter)
	typ, group := filterValue(filter, "resourceType"), filterValue(filter, "resourceGroup")
	location, name := normalLocation(filterValue(filter, "location")), filterValue(filter, "name")
	if tag != nil && (typ != "" || location != "") { // "You can't use tagName with other filters", same page.
		return nil, badRequest("InvalidFilterInQueryString", "Invalid $filter '%s' specified in the query string: tags cannot be combined.", filter)
	}
	return func(r *resource) bool {
		if tag != nil {
			hit := false
			for k, v := range tagsOf(r.body) {
				hit = hit || strings.EqualFold(k, unquote(tag[1])) && (!strings.Contains(strings.ToLower(tag[0]), "tagvalue") || v == unquote(tag[2]))
			}
			if !hit {
				return false
			}
		}
		return (typ == "" || strings.EqualFold(typ, r.kind.typ)) && (group == "" || strings.EqualFold(group, r.target.group)) &&
			(location == "" || location == r.location) && (name == "" || strings.EqualFold(name, r.target.name()))
	}, nil
}

// resources lists what a group or a subscription holds, without properties.
func (c *call) resources() (*reply, *apiError) {
	t := c.target
	scope, prefix := t.subscriptionID(), t.subscriptionID()+"/resourcegroups/"
	if t.group != "" {
		scope, prefix = t.groupID(), t.groupID()+"/"
	}
	if err := c.authorize("Microsoft.Resources/subscriptions/resources/read", scope); err != nil {
		return nil, err
	}
	if err := c.scopeExists(); err != nil {
		return nil, err
	}
	keep, err := filterFor(c.query.Get("$filter"))
	if err != nil {
		return nil, err
	}
	expand := strings.ToLower(c.query.Get("$expand"))
	list := []any{}
	for _, r := range c.sim.store.below(prefix) {
		if r.kind.typ == groupType || !keep(r) {
			continue
		}
		o := object{"id": r.id, "name": r.target.name(), "type": r.kind.typ, "location": r.location}
		for _, k := range []string{"tags", "sku", "zones", "kind", "identity"} {
			if v, set := r.body[k]; set {
				o[k] = clone(v)
			}
		}
		if r.managedBy != "" {
			o["managedBy"] = r.managedBy
		}
		for _, e := range []struct{ name, value string }{
			{"createdTime", r.created.Format(time.RFC3339Nano)}, {"changedTime", r.changed.Format(time.RFC3339Nano)}, {"provisioningState", r.state},
		} {
			if strings.Contains(expand, strings.ToLower(e.name)) {
				o[e.name] = e.value
			}
		}
		list = append(list, o)
	}
	return c.page(list)
}

// tagCall is Microsoft.Resources/tags/default at a scope: the tags of one resource, read, merged, replaced or deleted.
func (c *call) tagCall() (*reply, *apiError) {
	verb := map[string]string{classRead: "read", classWrite: "write", classDelete: "delete"}[c.class]
	if err := c.authorize("Microsoft.Resources/tags/"+verb, c.target.scope); err != nil {
		return nil, err
	}
	r := c.sim.store.get(c.target.scope)
	if r == nil {
		return nil, resourceNotFound(parsePath(c.target.scope))
	}
	tags := cloneObject(child(r.body, "tags"))
	sent := child(c.body, "properties", "tags")
	if c.class != classRead {
		if err := c.checkLocks(r.id, false); err != nil {
			return nil, err
		}
	}
	switch op := strings.ToLower(str(c.body, "operation")); {
	case c.method == http.MethodGet:
	case c.method == http.MethodPut, op == "replace":
		tags = cloneObject(sent)
	case c.method == http.MethodDelete:
		tags = object{}
	case op == "merge":
		maps.Copy(tags, sent)
	case op == "delete":
		for k := range sent {
			delete(tags, k)
		}
	default:
		return nil, badRequest("InvalidRequestContent", "The operation '%s' is invalid.", str(c.body, "operation"))
	}
	const most = 50
	if len(tags) > most {
		return nil, badRequest("TagsLimitExceeded", "The number of tags '%d' exceeds the limit of %d.", len(tags), most)
	}
	if c.class != classRead {
		r.body["tags"], r.changed = tags, c.now
	}
	return ok(object{
		"id": c.target.path, "name": "default", "type": "Microsoft.Resources/tags", "properties": object{"tags": clone(tags)},
	}), nil
}
