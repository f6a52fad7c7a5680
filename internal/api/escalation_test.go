// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// company is a hub with people of all kinds who try to get more than they have.
type company struct {
	*hub
	rng      *rand.Rand
	projects []string
	users    []string
	keys     map[string]string // API key by user
	teams    []string
	custom   []string
}

func newCompany(t *testing.T, seed uint64) *company {
	t.Helper()
	c := &company{hub: newHub(t), rng: rand.New(rand.NewPCG(seed, seed)), keys: map[string]string{}}
	c.projects = []string{c.project, c.want(201, "POST", "/v1/projects", object{"metadata": object{"name": "Other"}}).uid(t)}
	tenant := func(names ...string) (a lazuli.Assignment) {
		for _, n := range names {
			a.Roles = append(a.Roles, role(n))
		}
		return a
	}
	in := func(name string, projects ...string) (a lazuli.Assignment) {
		a.ProjectRoles = map[string][]string{}
		for _, p := range projects {
			a.ProjectRoles[p] = []string{role(name)}
		}
		return a
	}
	for i, a := range []lazuli.Assignment{
		tenant("Tenant User Admin", "Tenant Team Admin", "Tenant Role Admin", "Tenant Project Admin"),
		tenant("Tenant User Admin"), tenant("Tenant Team Admin"), tenant("Tenant Role Admin", "Tenant Viewer"),
		in("Project Admin", c.projects[0]), in("Project Admin", c.projects...), {},
	} {
		key, uid := c.keyOf(fmt.Sprint("user-", i), "", a)
		c.users, c.keys[uid] = append(c.users, uid), key
	}
	for i, scope := range []string{"tenant", "project"} {
		c.custom = append(c.custom, c.want(201, "POST", "/v1/roles", object{"metadata": object{"name": fmt.Sprint("custom-", i)},
			"spec": object{"scope": scope, "permissions": c.permissions(scope)}}).uid(t))
	}
	for i := range 2 {
		c.teams = append(c.teams, c.want(201, "POST", "/v1/teams", object{"metadata": object{"name": fmt.Sprint("team-", i)},
			"spec": object{"users": []string{pick(c, c.users)}, "roles": []string{pick(c, c.custom[:1])}}}).uid(t))
	}
	return c
}

func pick[T any](c *company, list []T) T { return list[c.rng.IntN(len(list))] }

func (c *company) builtinRole() auth.Role { return pick(c, auth.BuiltinRoles()) }

func (c *company) anyRole() string {
	if c.rng.IntN(3) == 0 {
		return pick(c, c.custom)
	}
	return c.builtinRole().UID
}

func (c *company) permissions(scope string) []string {
	all := auth.Grantable(lazuli.RoleScope(scope)).Sorted()
	var out []string
	for range c.rng.IntN(6) {
		out = append(out, string(pick(c, all)))
	}
	return out
}

// act makes up one request that deals with rights.
func (c *company) act() (method, path string, body any, victim string) {
	user, team, role, project := pick(c, c.users), pick(c, c.teams), c.anyRole(), pick(c, c.projects)
	in := object{"projects": []object{{"projectUid": project, "roles": []string{role}}}}
	name := fmt.Sprint("made-", c.rng.IntN(1000))
	switch c.rng.IntN(16) {
	case 0:
		return "PUT", "/v1/users/" + user + "/roles", object{"roles": []string{role}}, ""
	case 1:
		return "PUT", "/v1/users/" + user + "/projects", in, ""
	case 2:
		return "PUT", "/v1/teams/" + team + "/roles", object{"roles": []string{role}}, ""
	case 3:
		return "PUT", "/v1/teams/" + team + "/projects", in, ""
	case 4:
		return "PUT", "/v1/teams/" + team, object{"metadata": object{"name": team}, "spec": object{"users": []string{user}}}, ""
	case 5:
		i := c.rng.IntN(2)
		scope := []string{"tenant", "project"}[i]
		return "PUT", "/v1/roles/" + c.custom[i], object{"metadata": object{"name": fmt.Sprint("custom-", i)},
			"spec": object{"scope": scope, "permissions": c.permissions(scope)}}, ""
	case 6:
		return "POST", "/v1/users", userBody(name+"@example.com", role), ""
	case 7:
		return "POST", "/v1/users", object{"spec": object{"emailId": name + "@example.com", "teams": []string{team}}}, ""
	case 8:
		return "POST", "/v1/apiKeys", object{"metadata": object{"name": name}, "spec": object{"userUid": user}}, user
	case 9:
		return "PATCH", "/v1/users/" + user + "/password/change", object{"newPassword": goodPassword}, user
	case 10:
		return "PATCH", "/v1/users/" + user + "/password/reset", nil, user
	case 11:
		return "PUT", "/v1/projects/" + project + "/users", object{"users": []object{{"userId": user, "roles": []string{role}}}}, ""
	case 12:
		return "PUT", "/v1/projects/" + project + "/teams", object{"teams": []object{{"teamId": team, "roles": []string{role}}}}, ""
	case 13:
		return "PATCH", "/v1/teams/" + team, []object{{"op": "replace", "path": "/spec", "value": object{"users": []string{user}}}}, ""
	case 14:
		return "PUT", "/v1/users/" + user, userBody(user+"@example.com", role), user
	default:
		return "POST", "/v1/roles", object{"metadata": object{"name": name}, "spec": object{"scope": "tenant", "permissions": c.permissions("tenant")}}, ""
	}
}

// rights are the grants of all users, as the store has them.
func (c *company) rights() map[string]*auth.Grants {
	c.t.Helper()
	ctx := c.t.Context()
	roles, err := auth.LoadRoles(ctx, c.store)
	if err != nil {
		c.t.Fatal(err)
	}
	teams, err := auth.LoadTeams(ctx, c.store)
	if err != nil {
		c.t.Fatal(err)
	}
	page, err := c.store.Query(ctx, store.Query{Kind: lazuli.KindUser})
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[string]*auth.Grants{}
	for _, row := range page.Rows {
		var u lazuli.User
		if err := json.Unmarshal(row.Data, &u); err != nil {
			c.t.Fatal(err)
		}
		u.Meta = row.Meta
		out[u.UID] = auth.GrantsOf(roles, teams, &u)
	}
	return out
}

// Nobody gives, to others or themselves, what they have not, whatever they try.
func TestNoEscalation(t *testing.T) {
	t.Parallel()
	seeds, calls := 12, 150
	if testing.Short() {
		seeds = 3
	}
	passed := 0
	for seed := range seeds {
		c := newCompany(t, uint64(seed))
		var trace strings.Builder
		for range calls {
			who := pick(c, c.users)
			method, path, body, victim := c.act()
			before := c.rights()
			a := c.send(method, path, body, "ApiKey", c.keys[who], "ProjectUid", "")
			if a.status == 429 || a.status >= 500 {
				t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
			}
			if a.status >= 400 {
				continue
			}
			passed++
			fmt.Fprintf(&trace, "%s: %s %s %v\n", who, method, path, body)
			if victim != "" && victim != who {
				if p, project, more := before[who].Excess(before[victim]); more {
					t.Fatalf("seed %d: %s acts on %s, who has %s in %q too:\n%s", seed, who, victim, p, project, trace.String())
				}
			}
			c.compare(t, before, who, &trace)
		}
	}
	if passed < seeds*calls/20 {
		t.Errorf("only %d of %d requests passed: the test tries nothing", passed, seeds*calls)
	}
}

// compare looks for a right that somebody has now and the caller had not.
func (c *company) compare(t *testing.T, before map[string]*auth.Grants, who string, trace *strings.Builder) {
	t.Helper()
	places := append([]string{""}, c.projects...)
	for uid, now := range c.rights() {
		for _, g := range auth.Catalogue() {
			for _, p := range g.Permissions {
				for _, project := range places {
					if now.Has(p, project) && !before[uid].Has(p, project) && !before[who].Has(p, project) {
						t.Fatalf("%s gave %s to %s in %q and has it not:\n%s", who, p, uid, project, trace.String())
					}
				}
			}
		}
	}
}
