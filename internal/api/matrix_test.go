// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// canaryText is in the name of all that one project has and another must not
// see.
const canaryText = "canary"

// persona is a caller of the matrix.
type persona struct {
	letter, name string
	roles        lazuli.Assignment
	home         bool // acts in the project whose objects are asked for
}

// What a cell of the matrix can be.
const (
	allowed   = '+' // the handler went on: any status but those below
	forbidden = '.' // 403
	hidden    = 'h' // 404: for the caller there is no such object
	unknown   = '-' // 401
	malformed = '?' // 400: the body is not one of the handler's, nothing is told
)

// matrixWorld is a hub with objects in one project, and the credential of one
// persona.
type matrixWorld struct {
	*world
	t       testing.TB
	cluster string
	other   string // a project that the persona may be of
	victim  string // uids of identities
	team    string
	role    string
	key     string
	machine string
	me      string // uid of the persona
	roles   []string
	config  string // uid of the cluster's cloud config
	tenant  string
	header  []string
	n       int
}

func newMatrixWorld(t *testing.T, p persona) *matrixWorld {
	t.Helper()
	w := &matrixWorld{world: newWorld(t, func(c *api.Config, _ *hub) { c.Rate, c.Burst = 1e6, 1e6 }), t: t}
	named := func(path string, body object, name string) string {
		set(t, body, "metadata.name", name)
		return w.want(201, "POST", path, body).uid(t)
	}
	w.account = named("/v1/cloudaccounts/azure", accountBody("x", "project"), "canary-account")
	w.profile = named("/v1/clusterprofiles", w.profileBody("x"), "canary-profile")
	w.want(204, "PATCH", "/v1/clusterprofiles/"+w.profile+"/publish", nil)
	w.cluster = w.create("canary-cluster")
	w.other = w.want(201, "POST", "/v1/projects", object{"metadata": object{"name": "Other"}}, "ProjectUid", "").uid(t)
	w.victim = w.want(201, "POST", "/v1/users", userBody("canary@example.com"), "ProjectUid", "").uid(t)
	w.team = w.want(201, "POST", "/v1/teams", object{"metadata": object{"name": "canary-team"}}, "ProjectUid", "").uid(t)
	w.role = w.want(201, "POST", "/v1/roles", object{"metadata": object{"name": "canary-role"},
		"spec": object{"scope": "project", "permissions": []string{}}}, "ProjectUid", "").uid(t)
	var key wire.APIKeyCreateResponse
	w.want(201, "POST", "/v1/apiKeys", object{"metadata": object{"name": "canary-key"}, "spec": object{"userUid": w.victim}}).json(t, &key)
	w.key = key.UID
	var info wire.UserInfo
	w.want(200, "GET", "/v1/users/info", nil).json(t, &info)
	w.tenant = info.TenantUID
	var c struct {
		Spec struct {
			Ref struct {
				UID string `json:"uid"`
			} `json:"cloudConfigRef"`
		} `json:"spec"`
	}
	w.want(200, "GET", "/v1/spectroclusters/"+w.cluster, nil).json(t, &c)
	w.config = c.Spec.Ref.UID
	roles := p.roles
	if in := roles.ProjectRoles[""]; in != nil {
		project := w.other
		if p.home {
			project = w.project
		}
		roles = lazuli.Assignment{ProjectRoles: map[string][]string{project: in}}
	}
	var secret string
	secret, w.me = w.keyOf("persona", "", roles)
	w.roles = roles.ProjectRoles[w.project]
	w.machine = testUID("machine", "canary")
	w.add(&lazuli.Machine{Meta: lazuli.Meta{UID: w.machine, Name: "canary-machine", Project: w.project}, ClusterUID: w.cluster, Pool: "w1", State: lazuli.MachineRunning})
	project := w.project
	if !p.home {
		project = ""
	}
	w.header = []string{"ApiKey", secret, "ProjectUid", project}
	return w
}

// ask sends a request from an address of its own, and leaves a stream soon.
func (w *matrixWorld) ask(method, path string, body any, header []string) (int, []byte) {
	w.t.Helper()
	var r io.Reader = http.NoBody
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		r = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	req := httptest.NewRequestWithContext(ctx, method, path, r)
	w.n++
	req.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", w.n/250, w.n%250)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	out := leaver{httptest.NewRecorder(), cancel}
	w.handler().ServeHTTP(out, req)
	return out.Code, out.Body.Bytes()
}

// leaver is a caller that leaves a stream with its first message.
type leaver struct {
	*httptest.ResponseRecorder

	leave func()
}

func (l leaver) Flush() {
	l.ResponseRecorder.Flush()
	l.leave()
}

var parameter = regexp.MustCompile(`\{(\w+)\}`)

// target fills the parameters of a route's path with objects of the project
// Default. What a DELETE removes is made for it.
func (w *matrixWorld) target(s api.Served) string {
	uid := strings.Repeat("e", 24)
	for prefix, of := range map[string]string{
		"/v1/cloudaccounts/azure/": w.account, "/v1/clusterprofiles/": w.profile, "/v1/spectroclusters/": w.cluster,
		"/v1/dashboard/spectroclusters/": w.cluster, "/v1/dashboard/clusterprofiles/": w.profile, "/lazuli/v1/clusters/": w.cluster, "/v1/events/components/": w.cluster, "/v1/notifications/": w.cluster,
		"/v1/cloudconfigs/azure/": w.config, "/v1/cloudconfigs/{cloudType}/": w.config, "/v1/registries/": w.packs.UID(), "/v1/packs/": w.packs.UID(),
		"/v1/users/": w.victim, "/v1/workspaces/users/": w.victim, "/v1/teams/": w.team, "/v1/workspaces/teams/": w.team,
		"/v1/roles/": w.role, "/v1/apiKeys/": w.key, "/v1/projects/": w.project,
	} {
		if strings.HasPrefix(s.Pattern, prefix) {
			uid = of
		}
	}
	if s.Pattern == "/v1/packs/{uid}" {
		uid = w.layer("ubuntu-azure", "22.04")["uid"].(string)
	}
	return parameter.ReplaceAllStringFunc(s.Pattern, func(p string) string {
		switch name := p[1 : len(p)-1]; name {
		case "kind", "objectKind":
			return "spectrocluster"
		case "cloudType":
			return "azure"
		case "packName":
			return "ubuntu-azure"
		case "name":
			return "w1"
		case "tenantUid":
			return w.tenant
		case "machineUid":
			return w.machine
		case "uid", "userUid", "teamUid", "objectUid":
			return uid
		default:
			return strings.Repeat("e", 24)
		}
	})
}

// bodyFor is a body that the handler of an operation reads on, so that the
// answer tells what it thinks of the caller.
func (w *matrixWorld) bodyFor(s api.Served) any {
	name := fmt.Sprintf("made-%d", w.n)
	bodies := map[string]func() any{
		"V1AzureAccountValidate":       func() any { return accountBody(name, "project")["spec"] },
		"v1CloudAccountsAzureCreate":   func() any { return accountBody(name, "project") },
		"v1CloudAccountsAzureUpdate":   func() any { return accountBody("canary-account", "project") },
		"v1ClusterProfilesCreate":      func() any { return w.profileBody(name) },
		"v1ClusterProfilesUpdate":      func() any { return w.profileBody("canary-profile") },
		"v1SpectroClustersAzureCreate": func() any { return clusterBody(name, w.account, w.profile) },
		"planCluster":                  func() any { return clusterBody(name, w.account, w.profile) },
		"v1UsersCreate":                func() any { return userBody(name + "@example.com") },
		"v1UsersUidUpdate":             func() any { return userBody("canary@example.com") },
		"v1UsersUidPasswordChange":     func() any { return object{"newPassword": goodPassword} },
		"v1UsersUidPatch":              func() any { return []any{} },
		"v1TeamsUidPatch":              func() any { return []any{} },
		"v1TeamsCreate":                func() any { return object{"metadata": object{"name": name}} },
		"v1TeamsUidUpdate":             func() any { return object{"metadata": object{"name": "canary-team"}} },
		"v1RolesCreate":                func() any { return object{"metadata": object{"name": name}, "spec": object{"scope": "project"}} },
		"v1RolesUidUpdate": func() any {
			return object{"metadata": object{"name": "canary-role"}, "spec": object{"scope": "project"}}
		},
		"v1RolesClone":            func() any { return object{"metadata": object{"name": name}} },
		"v1ApiKeysCreate":         func() any { return object{"metadata": object{"name": name}} },
		"v1ProjectsCreate":        func() any { return object{"metadata": object{"name": name}} },
		"v1ProjectsUidUpdate":     func() any { return object{"metadata": object{"name": "Default"}} },
		"v1ProjectsUidMetaUpdate": func() any { return object{"name": "Default"} },
		"v1ProjectsUidUsersUpdate": func() any { // which takes nothing from the persona
			users := []object{}
			if len(w.roles) > 0 {
				users = append(users, object{"userId": w.me, "roles": w.roles})
			}
			return object{"users": users}
		},
		"v1ClusterProfilesUidMetadataUpdate": func() any { return object{"metadata": object{"name": "canary-profile"}} },
		"v1CloudConfigsAzureUidClusterConfig": func() any {
			return object{"clusterConfig": clusterBody(name, w.account)["spec"].(object)["cloudConfig"]}
		},
		"v1CloudConfigsMachinePoolsMachineUidMaintenanceUpdate": func() any { return object{"action": "cordon"} },
		"v1ClusterProfilesUidClone":                             func() any { return object{"metadata": object{"name": name, "version": "1.0.0"}} },
		"v1ClusterProfilesUidCloneValidate":                     func() any { return object{"metadata": object{"name": name, "version": "1.0.0"}} },
		"v1ApiKeysUidActiveState":                               func() any { return object{"isActive": true} },
		"v1ApiKeysUidState":                                     func() any { return object{"isActive": true} },
		"v1CloudConfigsAzureMachinePoolCreate":                  func() any { return pool(name, false, 1) },
		"v1CloudConfigsAzureMachinePoolUpdate":                  func() any { return pool("w1", false, 2) },
	}
	if f, ok := bodies[s.Operation]; ok {
		return f()
	}
	if s.Body {
		return object{}
	}
	return nil
}

// cell classifies an answer.
func cell(status int, body []byte) rune {
	switch {
	case status == http.StatusUnauthorized:
		return unknown
	case status == http.StatusForbidden:
		return forbidden
	case status == http.StatusNotFound && bytes.Contains(body, []byte("with the uid")):
		return hidden
	case status == http.StatusBadRequest:
		return malformed
	default:
		return allowed
	}
}

// personas are those with a role each, of the project or the tenant, and one
// who administers another project.
func personas() []persona {
	var out []persona
	letters := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for i, r := range auth.BuiltinRoles() {
		p := persona{letter: letters[i : i+1], name: r.Name, home: true}
		if r.Scope == lazuli.ScopeTenant {
			p.roles.Roles = []string{r.UID}
		} else {
			p.roles.ProjectRoles = map[string][]string{"": {r.UID}}
		}
		out = append(out, p)
	}
	admin := map[string][]string{"": {role("Project Admin")}}
	return append(out,
		persona{letter: "1", name: "no role", home: true},
		persona{letter: "2", name: "Project Admin of another project", roles: lazuli.Assignment{ProjectRoles: admin}})
}

// walk asks for every route as one persona.
func (w *matrixWorld) walk(t *testing.T, p persona, table []api.Served) []rune {
	t.Helper()
	// What deletes comes last, and projects and users after all else.
	order := make([]int, len(table))
	for i := range order {
		order[i] = i
	}
	weight := func(s api.Served) int {
		switch {
		case s.Method != http.MethodDelete:
			return 0
		case strings.HasPrefix(s.Pattern, "/v1/projects"), strings.HasPrefix(s.Pattern, "/v1/users"):
			return 2
		default:
			return 1
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return weight(table[a]) - weight(table[b]) })
	row := make([]rune, len(table))
	for _, i := range order {
		s := table[i]
		path := w.target(s)
		status, body := w.ask(s.Method, path, w.bodyFor(s), w.header)
		row[i] = cell(status, body)
		if status >= 500 {
			t.Errorf("%s as %s: status %d: %s", s.Operation, p.name, status, body)
		}
		if !p.home && bytes.Contains(body, []byte(canaryText)) {
			t.Errorf("%s tells a caller of another project: %s", s.Operation, body)
		}
		if !p.home && row[i] == allowed && strings.Contains(s.Pattern, "{") && ofProject(s) {
			t.Errorf("%s lets a caller of another project pass: %d %s", s.Operation, status, body)
		}
	}
	return row
}

// ofProject reports whether a route's path names an object of the project.
func ofProject(s api.Served) bool {
	return slices.ContainsFunc([]string{"/v1/cloudaccounts/azure/", "/v1/clusterprofiles/", "/v1/dashboard/clusterprofiles/{", "/v1/spectroclusters/", "/v1/dashboard/spectroclusters/{",
		"/lazuli/v1/clusters/", "/v1/events/components/", "/v1/notifications/", "/v1/cloudconfigs/", "/v1/projects/", "/v1/users/{", "/v1/teams/", "/v1/roles/"},
		func(prefix string) bool { return strings.HasPrefix(s.Pattern, prefix) })
}

// Every route, asked for by everybody. The golden file is the permission matrix
// as it is, for people to review: `go test ./internal/api -run TestMatrix
// -update` writes it.
func TestMatrix(t *testing.T) { //nolint:tparallel // the walks are parallel, and done when their parent returns
	t.Parallel()
	table := api.Table()
	slices.SortStableFunc(table, func(a, b api.Served) int {
		return strings.Compare(a.Pattern+" "+a.Method, b.Pattern+" "+b.Method)
	})
	everybody := personas()
	rows := make([][]rune, len(everybody))
	if !t.Run("walk", func(t *testing.T) {
		for i, p := range everybody {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				rows[i] = newMatrixWorld(t, p).walk(t, p, table)
			})
		}
	}) {
		return
	}
	checkMatrix(t, table, everybody, rows)
	var b strings.Builder
	b.WriteString("+ passes   . 403   h 404: does not exist for the caller   ? 400: the test has no body for it\n\n")
	for _, p := range everybody {
		fmt.Fprintf(&b, "%s %s\n", p.letter, p.name)
	}
	b.WriteByte('\n')
	for _, p := range everybody {
		b.WriteString(p.letter)
	}
	b.WriteByte('\n')
	for i, s := range table {
		for j := range everybody {
			b.WriteRune(rows[j][i])
		}
		permission := string(s.Permission)
		switch {
		case s.Public:
			permission = "(public)"
		case permission == "":
			permission = "(any caller)"
		case s.Tenant:
			permission += " in the tenant"
		}
		fmt.Fprintf(&b, " %-6s %-70s %s\n", s.Method, s.Pattern, permission)
	}
	golden(t, "permissions.matrix", []byte(b.String()), nil)
}

// checkMatrix holds the cells against the rule: what a role has not is refused,
// what it has passes.
func checkMatrix(t *testing.T, table []api.Served, everybody []persona, rows [][]rune) {
	t.Helper()
	for i, s := range table {
		if s.Public || s.Permission == auth.None {
			continue
		}
		for j, p := range everybody {
			if !p.home {
				continue
			}
			has := false
			for _, r := range auth.BuiltinRoles() {
				mine := slices.Contains(p.roles.Roles, r.UID) || slices.Contains(p.roles.ProjectRoles[""], r.UID)
				if mine && r.Permissions.Has(s.Permission) && (!s.Tenant || r.Scope == lazuli.ScopeTenant) {
					has = true
				}
			}
			got := rows[j][i]
			if !has && got != forbidden && got != hidden {
				t.Errorf("%s (%s) lets %s pass without the permission: %c", s.Operation, s.Permission, p.name, got)
			}
			// A role may have one permission on clusters and not another that
			// the handler needs too; those cells are in the golden file.
			if has && got == unknown {
				t.Errorf("%s (%s) refuses %s: %c", s.Operation, s.Permission, p.name, got)
			}
			if p.name == auth.RoleTenantAdmin && got == forbidden {
				t.Errorf("%s (%s) refuses an administrator", s.Operation, s.Permission)
			}
		}
	}
}

// Without a credential, or with one that is over, nothing answers but what is
// public.
func TestMatrixOfNobody(t *testing.T) {
	t.Parallel()
	w := newMatrixWorld(t, persona{home: true, roles: lazuli.Assignment{Roles: []string{role(auth.RoleTenantAdmin)}}})
	mine := func(k *lazuli.APIKey, name string) string {
		secret := "lz_test-" + name + strings.Repeat("k", 20)
		k.UID, k.Name, k.UserUID, k.Hash = testUID("key", name), name, w.user, auth.HashKey(lazuli.NewSecret(secret))
		w.add(k)
		return secret
	}
	w.passed.Add(60)
	credentials := map[string][]string{
		"none":           nil,
		"an unknown key": {"ApiKey", "lz_unknown"},
		"a revoked key":  {"ApiKey", mine(&lazuli.APIKey{Disabled: true}, "revoked")},
		"an expired key": {"ApiKey", mine(&lazuli.APIKey{ExpiresAt: w.now().Add(-time.Second)}, "expired")},
		"a user that went": {"ApiKey", func() string {
			k, u := w.keyOf("gone", "", lazuli.Assignment{})
			w.remove(lazuli.KindUser, u)
			return k
		}()},
		"a broken token": {"Authorization", "a.b.c"},
	}
	public := 0
	for _, s := range api.Table() {
		if s.Public {
			public++
			continue
		}
		var texts []string
		for name, header := range credentials {
			status, body := w.ask(s.Method, w.target(s), w.bodyFor(s), header)
			if status != http.StatusUnauthorized {
				t.Errorf("%s with %s: status %d: %s", s.Operation, name, status, body)
				continue
			}
			var e wire.Error
			if err := json.Unmarshal(body, &e); err != nil {
				t.Error(err)
			}
			texts = append(texts, e.Code+e.Message)
		}
		slices.Sort(texts)
		if len(slices.Compact(texts)) > 1 {
			t.Errorf("%s tells credentials apart: %q", s.Operation, slices.Compact(texts))
		}
	}
	if public > 10 {
		t.Errorf("%d routes need no credential, 10 are allowed", public)
	}
}
