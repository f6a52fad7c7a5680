// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tenant is an Entra ID directory.
type Tenant struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	Domain      string `json:"domain"`
}

// Subscription is an Azure subscription. Without Locations it sees every region.
type Subscription struct {
	ID          string   `json:"id"`
	TenantID    string   `json:"tenantId"`
	DisplayName string   `json:"displayName"`
	Locations   []string `json:"locations"`
}

// Principal is an app registration and its service principal.
type Principal struct {
	TenantID string `json:"tenantId"`
	ClientID string `json:"clientId"`
	ObjectID string `json:"objectId"`
	Name     string `json:"name"`
	Secret   string `json:"secret"`
	// SecretExpiry is real time; zero: the secret never expires.
	SecretExpiry time.Time `json:"secretExpiry"`
}

// RoleAssignment gives a principal a role. Role is the name of a built-in role (Owner, Contributor, Reader, User Access
// Administrator, Network Contributor, Virtual Machine Contributor, Managed Identity Operator) or of one added by AddRole.
type RoleAssignment struct {
	PrincipalID string `json:"principalId"` // object id
	Role        string `json:"role"`
	Scope       string `json:"scope"`
}

// Role is a role definition. Name is its GUID.
type Role struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Actions     []string `json:"actions"`
	NotActions  []string `json:"notActions"`
	builtIn     bool
}

// ResourceGroup is a group that exists from the start.
type ResourceGroup struct {
	SubscriptionID string            `json:"subscriptionId"`
	Name           string            `json:"name"`
	Location       string            `json:"location"`
	Tags           map[string]string `json:"tags"`
}

// Quota replaces a limit. Name is as in the usages of Compute ("cores", "standardDSv3Family") or Network.
type Quota struct {
	SubscriptionID string `json:"subscriptionId"`
	Location       string `json:"location"`
	Name           string `json:"name"`
	Limit          int    `json:"limit"`
}

// Capacity limits how many vCPUs of a family can be allocated in a zone ("" outside zones) at one time.
type Capacity struct {
	Location string `json:"location"`
	Zone     string `json:"zone"`
	Family   string `json:"family"`
	VCPUs    int    `json:"vcpus"`
}

// World is everything that exists before the first request.
type World struct {
	Tenants         []Tenant         `json:"tenants"`
	Subscriptions   []Subscription   `json:"subscriptions"`
	Principals      []Principal      `json:"principals"`
	Roles           []Role           `json:"roles"`
	RoleAssignments []RoleAssignment `json:"roleAssignments"`
	ResourceGroups  []ResourceGroup  `json:"resourceGroups"`
	Quotas          []Quota          `json:"quotas"`
	Capacities      []Capacity       `json:"capacities"`
}

type assignment struct {
	RoleAssignment
	id            string
	name          string
	role          Role
	principalType string
	from          time.Time // effective from, simulated
	created       time.Time
}

type session struct {
	principal *Principal
	expires   time.Time // real time
}

type world struct {
	tenants       map[string]*Tenant
	subscriptions map[string]*Subscription
	principals    map[string]*Principal // by tenant and client id
	objects       map[string]string     // object id -> type
	roles         []Role
	assignments   map[string]*assignment // by id
	quotas        map[string]int
	capacities    map[string]int
	allocated     map[string]int
	used          map[string]int
	providers     map[string]string // subscription|namespace -> state
	tokens        map[string]session
}

func newWorld() world {
	return world{
		tenants: map[string]*Tenant{}, subscriptions: map[string]*Subscription{}, principals: map[string]*Principal{},
		objects: map[string]string{}, roles: builtInRoles(), assignments: map[string]*assignment{}, quotas: map[string]int{},
		capacities: map[string]int{}, allocated: map[string]int{}, used: map[string]int{}, providers: map[string]string{}, tokens: map[string]session{},
	}
}

// Seed adds a whole world, in the order of its fields.
func (s *Simulator) Seed(w World) error {
	for _, t := range w.Tenants {
		s.AddTenant(t)
	}
	for _, v := range w.Subscriptions {
		if err := s.AddSubscription(v); err != nil {
			return err
		}
	}
	for _, p := range w.Principals {
		if err := s.AddPrincipal(p); err != nil {
			return err
		}
	}
	for _, r := range w.Roles {
		s.AddRole(r)
	}
	for _, a := range w.RoleAssignments {
		if err := s.AddRoleAssignment(a); err != nil {
			return err
		}
	}
	for _, g := range w.ResourceGroups {
		if err := s.AddResourceGroup(g); err != nil {
			return err
		}
	}
	for _, q := range w.Quotas {
		s.SetQuota(q)
	}
	for _, c := range w.Capacities {
		s.SetCapacity(c)
	}
	return nil
}

// AddTenant adds or replaces a directory.
func (s *Simulator) AddTenant(t Tenant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.tenants[strings.ToLower(t.ID)] = &t
}

// AddSubscription adds or replaces a subscription of a known tenant.
func (s *Simulator) AddSubscription(v Subscription) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world.tenants[strings.ToLower(v.TenantID)] == nil {
		return fmt.Errorf("add subscription %s: tenant %q is unknown", v.ID, v.TenantID)
	}
	for _, l := range v.Locations {
		if _, ok := s.catalog.region(l); !ok {
			return fmt.Errorf("add subscription %s: region %q is unknown", v.ID, l)
		}
	}
	s.world.subscriptions[strings.ToLower(v.ID)] = &v
	return nil
}

// AddPrincipal adds or replaces a service principal of a known tenant. A new secret is in force at once.
func (s *Simulator) AddPrincipal(p Principal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world.tenants[strings.ToLower(p.TenantID)] == nil {
		return fmt.Errorf("add principal %s: tenant %q is unknown", p.ClientID, p.TenantID)
	}
	if p.ObjectID == "" {
		p.ObjectID = s.guid()
	}
	s.world.principals[strings.ToLower(p.TenantID+"|"+p.ClientID)] = &p
	s.world.objects[strings.ToLower(p.ObjectID)] = "ServicePrincipal"
	return nil
}

// AddRole adds or replaces a custom role.
func (s *Simulator) AddRole(r Role) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.ID == "" {
		r.ID = s.guid()
	}
	s.world.roles = slices.DeleteFunc(s.world.roles, func(x Role) bool { return strings.EqualFold(x.Name, r.Name) })
	s.world.roles = append(s.world.roles, r)
}

// AddRoleAssignment gives a role at once.
func (s *Simulator) AddRoleAssignment(a RoleAssignment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	role, ok := s.world.role(a.Role)
	if !ok {
		return fmt.Errorf("assign role: role %q is unknown", a.Role)
	}
	name := s.guid()
	id := strings.TrimRight(a.Scope, "/") + "/providers/Microsoft.Authorization/roleAssignments/" + name
	now := s.now()
	s.world.assignments[keyOf(id)] = &assignment{
		RoleAssignment: a, id: id, name: name, role: role, principalType: "ServicePrincipal", from: now, created: now,
	}
	return nil
}

// RemoveRoleAssignments takes every role of a principal away, at once.
func (s *Simulator) RemoveRoleAssignments(principalID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range sortedKeys(s.world.assignments) {
		if strings.EqualFold(s.world.assignments[k].PrincipalID, principalID) {
			delete(s.world.assignments, k)
		}
	}
}

// AddResourceGroup adds a group to a known subscription.
func (s *Simulator) AddResourceGroup(g ResourceGroup) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world.subscriptions[strings.ToLower(g.SubscriptionID)] == nil {
		return fmt.Errorf("add resource group %s: subscription %q is unknown", g.Name, g.SubscriptionID)
	}
	if _, ok := s.catalog.region(g.Location); !ok {
		return fmt.Errorf("add resource group %s: region %q is unknown", g.Name, g.Location)
	}
	body := object{"location": normalLocation(g.Location)}
	if len(g.Tags) > 0 {
		tags := object{}
		for k, v := range g.Tags {
			tags[k] = v
		}
		body["tags"] = tags
	}
	s.putGroup(parsePath("/subscriptions/"+g.SubscriptionID+"/resourceGroups/"+g.Name), body)
	return nil
}

// SetQuota sets a limit.
func (s *Simulator) SetQuota(q Quota) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.quotas[quotaKey(q.SubscriptionID, normalLocation(q.Location), q.Name)] = q.Limit
}

// SetCapacity sets how much hardware there is. Machines that run already stay.
func (s *Simulator) SetCapacity(c Capacity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.capacities[strings.ToLower(normalLocation(c.Location)+"|"+c.Zone+"|"+c.Family)] = c.VCPUs
}

// SetProvider sets the registration state of a resource provider ("Registered", "NotRegistered") in a subscription.
func (s *Simulator) SetProvider(subscription, namespace, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.providers[strings.ToLower(subscription+"|"+namespace)] = state
}

func quotaKey(subscription, location, name string) string {
	return strings.ToLower(subscription + "|" + location + "|" + name)
}

func (w *world) role(name string) (Role, bool) {
	i := slices.IndexFunc(w.roles, func(r Role) bool { return strings.EqualFold(r.Name, name) || strings.EqualFold(r.ID, name) })
	if i < 0 {
		return Role{}, false
	}
	return w.roles[i], true
}
