// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

const goodPassword = "correct horse battery"

func role(name string) string { return auth.BuiltinUID(name) }

func userBody(email string, roles ...string) object {
	return object{
		"metadata": object{"name": "", "annotations": nil},
		"spec":     object{"emailId": email, "firstName": "Ada", "lastName": "L", "roles": roles, "teams": nil},
	}
}

// newUser makes a user by the API and gives them a password.
func (h *hub) newUser(email string, roles ...string) string {
	h.t.Helper()
	uid := h.want(201, "POST", "/v1/users", userBody(email, roles...)).uid(h.t)
	h.want(204, "PATCH", "/v1/users/"+uid+"/password/change", object{"newPassword": goodPassword})
	return uid
}

// signIn returns the header pairs of a session.
func (h *hub) signIn(email, password string) []string {
	h.t.Helper()
	var token wire.UserToken
	h.want(200, "POST", "/v1/auth/authenticate", object{"emailId": email, "password": password},
		"ApiKey", "", "ProjectUid", "").json(h.t, &token)
	if token.Authorization == "" || token.IsMfa {
		h.t.Fatalf("token %+v", token)
	}
	return []string{"ApiKey", "", "ProjectUid", "", "Authorization", token.Authorization}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	session := h.signIn("admin", h.password.Reveal())
	var info wire.UserInfo
	h.want(200, "GET", "/v1/users/info", nil, session...).json(t, &info)
	if info.UserUID != h.user || !lazuli.ValidUID(info.TenantUID) || info.OrgName == "" {
		t.Errorf("%+v", info)
	}
	var me wire.User
	h.want(200, "GET", "/v1/users/"+h.user, nil, session...).json(t, &me)
	if !me.Status.IsActive || !me.Status.IsPasswordResetting || me.Status.LastSignIn.IsZero() || me.Spec.EmailID != "admin" {
		t.Errorf("%+v %+v", me.Spec, me.Status)
	}
	bearer := slices.Clone(session)
	bearer[5] = "Bearer " + session[5]
	h.want(200, "GET", "/v1/users/info", nil, bearer...)
	// Whatever is wrong, the answer is the same.
	var texts []string
	for _, tt := range []struct{ name, password string }{
		{"admin", "wrong"}, {"nobody", "wrong"}, {"admin", strings.Repeat("x", 10000)}, {"", " "}, {"ADMIN ", "x"},
	} {
		a := h.send("POST", "/v1/auth/authenticate", object{"emailId": orElse(tt.name, " "), "password": tt.password}, "ApiKey", "")
		if a.status != 401 {
			t.Errorf("%q: status %d: %s", tt.name, a.status, a.body)
			continue
		}
		e := a.err(t)
		texts = append(texts, e.Message+e.Details.Remedy)
	}
	if len(slices.Compact(texts)) != 1 {
		t.Errorf("the answers differ: %q", slices.Compact(texts))
	}
	h.want(400, "POST", "/v1/auth/authenticate", object{}, "ApiKey", "")

	// A token lives for a quarter of an hour, and can be exchanged while it does.
	h.passed.Add(14 * 60)
	var next wire.UserToken
	h.want(200, "GET", "/v1/auth/refresh/"+session[5], nil, "ApiKey", "").json(t, &next)
	h.passed.Add(2 * 60)
	h.want(401, "GET", "/v1/users/info", nil, session...)
	h.want(401, "GET", "/v1/auth/refresh/"+session[5], nil, "ApiKey", "")
	fresh := []string{"ApiKey", "", "Authorization", next.Authorization}
	h.want(200, "GET", "/v1/users/info", nil, fresh...)
	// Until the end of the session.
	for range 60 {
		h.passed.Add(12 * 60)
		a := h.send("GET", "/v1/auth/refresh/"+next.Authorization, nil, "ApiKey", "")
		if a.status == 401 {
			break
		}
		a.json(t, &next)
	}
	if past := time.Duration(h.passed.Load()) * time.Second; past < auth.SessionLife-time.Hour || past > auth.SessionLife+time.Hour {
		t.Errorf("the session could be prolonged for %v", past)
	}
	if strings.Contains(h.logs.String(), next.Authorization) || strings.Contains(h.logs.String(), h.password.Reveal()) {
		t.Error("a credential is in the log")
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// All that should end a session does so at once.
func TestRevocation(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	uid := h.newUser("ada@example.com", role(auth.RoleTenantViewer))
	ends := []struct {
		reason string
		do     func(session []string)
		undo   func()
	}{
		{"signing out", func(s []string) {
			h.want(204, "POST", "/v1/users/auth/tokens/revoke", object{"tokens": []string{s[5], "nonsense"}}, s...)
		}, nil},
		{"another password, by oneself", func(s []string) {
			h.want(400, "PATCH", "/v1/users/"+uid+"/password/change", object{"currentPassword": "no", "newPassword": goodPassword + "2"}, s...)
			h.want(204, "PATCH", "/v1/users/"+uid+"/password/change", object{"currentPassword": goodPassword, "newPassword": goodPassword}, s...)
		}, nil},
		{"another password, by an administrator", func([]string) {
			h.want(204, "PATCH", "/v1/users/"+uid+"/password/change", object{"newPassword": goodPassword})
		}, nil},
		{"a reset", func([]string) { h.want(204, "PATCH", "/v1/users/"+uid+"/password/reset", nil) }, func() {
			h.want(204, "PATCH", "/v1/users/"+uid+"/password/change", object{"newPassword": goodPassword})
		}},
		{"disabling", func([]string) {
			h.want(204, "PATCH", "/v1/users/"+uid, []object{{"op": "replace", "path": "/status", "value": object{"isActive": false}}})
		}, func() {
			h.want(204, "PATCH", "/v1/users/"+uid, []object{{"op": "replace", "path": "/status", "value": object{"isActive": true}}})
		}},
		{"removal", func([]string) { h.want(204, "DELETE", "/v1/users/"+uid, nil) }, nil},
	}
	for _, end := range ends {
		session, other := h.signIn("ada@example.com", goodPassword), h.signIn("ada@example.com", goodPassword)
		var key wire.APIKeyCreateResponse
		h.want(201, "POST", "/v1/apiKeys", object{"metadata": object{"name": "k"}, "spec": object{}}, session...).json(t, &key)
		h.want(200, "GET", "/v1/users", nil, session...)
		h.want(200, "GET", "/v1/users", nil, "ApiKey", key.APIKey, "ProjectUid", "")
		end.do(session)
		if a := h.send("GET", "/v1/users", nil, session...); a.status != 401 {
			t.Errorf("after %s the session still works: %d", end.reason, a.status)
		}
		if a := h.send("GET", "/v1/auth/refresh/"+session[5], nil, "ApiKey", ""); a.status != 401 {
			t.Errorf("after %s the session can be prolonged: %d", end.reason, a.status)
		}
		want := map[string]int{"signing out": 200}[end.reason]
		if a := h.send("GET", "/v1/users", nil, other...); a.status != max(want, 401*(1-want/200)) {
			t.Errorf("after %s another session: %d", end.reason, a.status)
		}
		wantKey := 200
		if end.reason == "disabling" || end.reason == "removal" {
			wantKey = 401
		}
		if a := h.send("GET", "/v1/users", nil, "ApiKey", key.APIKey, "ProjectUid", ""); a.status != wantKey {
			t.Errorf("after %s the user's API key: %d", end.reason, a.status)
		}
		if end.undo != nil {
			end.undo()
		}
	}
	if n, err := h.store.Query(t.Context(), store.Query{Kind: lazuli.KindAPIKey}); err != nil || n.Total != 1 {
		t.Errorf("%d keys are left of a user that is gone: %v", n.Total-1, err)
	}
}

// A role that is taken away is gone with the next request.
func TestRolesTakeEffectAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cluster := "/v1/spectroclusters/" + w.create("prod")
	uid := w.newUser("ada@example.com")
	s := w.signIn("ada@example.com", goodPassword)
	get := func(want int, when string) {
		t.Helper()
		if a := w.send("GET", cluster, nil, s...); a.status != want {
			t.Errorf("%s: status %d, want %d: %s", when, a.status, want, a.body)
		}
	}
	get(403, "without a role")
	inProject := object{"projects": []object{{"projectUid": w.project, "roles": []string{role("Cluster Viewer")}}}}
	w.want(204, "PUT", "/v1/users/"+uid+"/projects", inProject)
	get(200, "with a role in the project")
	w.want(204, "PUT", "/v1/users/"+uid+"/projects", object{"projects": []object{{"projectUid": w.project, "roles": []string{}}}})
	get(403, "without it again")
	team := w.want(201, "POST", "/v1/teams", object{"metadata": object{"name": "ops"}, "spec": object{"users": []string{uid}}}).uid(t)
	w.want(204, "PUT", "/v1/teams/"+team+"/projects", inProject)
	get(200, "by a team")
	var roles wire.ProjectRolesEntity
	w.want(200, "GET", "/v1/users/"+uid+"/projects", nil).json(t, &roles)
	if len(roles.Projects) != 1 || len(roles.Projects[0].Roles) != 0 || len(roles.Projects[0].InheritedRoles) != 1 || roles.Projects[0].Name != "Default" {
		t.Errorf("%+v", roles)
	}
	w.want(204, "PUT", "/v1/teams/"+team, object{"metadata": object{"name": "ops"}, "spec": object{"users": []string{}}})
	get(403, "out of the team")
	custom := w.want(201, "POST", "/v1/roles", object{"metadata": object{"name": "looker"}, "spec": object{"scope": "tenant", "permissions": []string{"cluster.get"}}}).uid(t)
	w.want(204, "PUT", "/v1/users/"+uid+"/roles", object{"roles": []string{custom}})
	get(200, "by a role of the tenant")
	w.want(409, "DELETE", "/v1/roles/"+custom, nil)
	w.want(204, "PUT", "/v1/roles/"+custom, object{"metadata": object{"name": "looker"}, "spec": object{"scope": "tenant", "permissions": []string{"project.get"}}})
	get(403, "the role lost the permission")
	w.want(204, "PUT", "/v1/users/"+uid+"/roles", object{"roles": nil})
	w.want(204, "DELETE", "/v1/roles/"+custom, nil)
	get(403, "without any")
}

func TestUsers(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	uid := h.want(201, "POST", "/v1/users", userBody("Ada@Example.com", role(auth.RoleTenantViewer))).uid(t)
	if again := h.want(201, "POST", "/v1/users", userBody("Ada@Example.com", role(auth.RoleTenantViewer))).uid(t); again != uid {
		t.Error("a repeated creation made another user")
	}
	h.want(409, "POST", "/v1/users", userBody("ada@example.COM"))
	var u wire.User
	h.want(200, "GET", "/v1/users/"+uid, nil).json(t, &u)
	if u.Metadata.Name != "Ada L" || u.Spec.EmailID != "Ada@Example.com" || !slices.Equal(u.Spec.Roles, []string{role(auth.RoleTenantViewer)}) {
		t.Errorf("%+v", u)
	}
	// The link sets the first password, once.
	link := u.Status.ActivationLink
	if link == "" {
		t.Fatal("a new user has no link")
	}
	h.want(400, "PATCH", link, object{"password": "short"}, "ApiKey", "")
	h.want(401, "PATCH", strings.Replace(link, "password/e", "password/f", 1), object{"password": goodPassword}, "ApiKey", "")
	h.want(401, "GET", "/v1/users/info", nil, "ApiKey", "", "Authorization", strings.Split(link, "/")[4])
	h.want(204, "PATCH", link, object{"password": goodPassword}, "ApiKey", "")
	h.want(401, "PATCH", link, object{"password": goodPassword}, "ApiKey", "")
	h.signIn("ada@example.com", goodPassword)
	u = wire.User{}
	h.want(200, "GET", "/v1/users/"+uid, nil).json(t, &u)
	if u.Status.ActivationLink != "" {
		t.Error("a user with a password has a link")
	}
	h.want(204, "PUT", "/v1/users/"+uid, object{"spec": object{"emailId": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace"}})
	var found wire.UsersSummaryList
	h.want(200, "POST", "/v1/users/summary", object{"filter": object{"emailId": object{"eq": "ADA@example.com"}}}).json(t, &found)
	if len(found.Items) != 1 || found.Items[0].Spec.LastName != "Lovelace" || len(found.Items[0].Spec.Roles) != 1 {
		t.Errorf("%+v", found)
	}
	var list wire.Users
	h.want(200, "GET", "/v1/users?limit=1", nil).json(t, &list)
	if len(list.Items) != 1 || list.Listmeta.Continue == "" || list.Listmeta.Count != 2 {
		t.Errorf("%+v", list.Listmeta)
	}
	h.want(200, "GET", "/v1/users?limit=0", nil).json(t, &list)
	if len(list.Items) != 2 {
		t.Errorf("limit 0 is everything, and %d came", len(list.Items))
	}
	for _, bad := range []object{
		{}, {"spec": object{}}, {"spec": object{"emailId": "a b"}}, userBody("x@y", "nope"), userBody("x@y", role("Project Admin")),
		{"spec": object{"emailId": "x@y", "teams": []string{strings.Repeat("e", 24)}}},
	} {
		if a := h.send("POST", "/v1/users", bad); a.status != 400 {
			t.Errorf("%v: status %d: %s", bad, a.status, a.body)
		}
	}
	h.want(404, "GET", "/v1/users/"+strings.Repeat("e", 24), nil)
	h.want(200, "GET", "/v1/users/"+uid+"/resourceRoles", nil)
	h.want(200, "GET", "/v1/workspaces/users/"+uid+"/roles", nil)
	h.want(204, "PUT", "/v1/workspaces/users/"+uid+"/roles", object{"workspaces": nil})
	h.want(204, "DELETE", "/v1/users/"+uid, nil)
	h.want(404, "GET", "/v1/users/"+uid, nil)
}

func TestLastAdministrator(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	admin := role(auth.RoleTenantAdmin)
	refused := func(method, path string, body any) {
		t.Helper()
		if e := h.want(409, method, path, body).err(t); e.Code != "Conflict" || !strings.Contains(e.Message, "Tenant Admin") {
			t.Errorf("%s %s: %+v", method, path, e)
		}
	}
	off := []object{{"op": "replace", "path": "/status", "value": object{"isActive": false}}}
	me := "/v1/users/" + h.user
	refused("DELETE", me, nil)
	refused("PATCH", me, off)
	refused("PUT", me+"/roles", object{"roles": []string{}})
	// By a team there is another, until the team, its role or the member goes.
	other := h.want(201, "POST", "/v1/users", userBody("b@example.com")).uid(t)
	team := h.want(201, "POST", "/v1/teams", object{"metadata": object{"name": "admins"}, "spec": object{"users": []string{other}, "roles": []string{admin}}}).uid(t)
	h.want(204, "PUT", me+"/roles", object{"roles": []string{admin, role(auth.RoleTenantViewer)}})
	session := func() []string {
		h.want(204, "PATCH", "/v1/users/"+other+"/password/change", object{"newPassword": goodPassword})
		return h.signIn("b@example.com", goodPassword)
	}()
	h.want(204, "PUT", me+"/roles", object{"roles": []string{}}, session...)
	as := func(status int, method, path string, body any) {
		t.Helper()
		h.want(status, method, path, body, session...)
	}
	as(409, "DELETE", "/v1/teams/"+team, nil)
	as(409, "PUT", "/v1/teams/"+team+"/roles", object{"roles": []string{}})
	as(409, "PUT", "/v1/teams/"+team, object{"metadata": object{"name": "admins"}, "spec": object{"users": []string{}}})
	as(409, "DELETE", "/v1/users/"+other, nil)
	as(409, "PATCH", "/v1/users/"+other, off)
	as(204, "PUT", me+"/roles", object{"roles": []string{admin}})
	as(204, "DELETE", "/v1/teams/"+team, nil)
	h.want(401, "GET", "/v1/users/info", nil, "ApiKey", "")
	h.want(200, "GET", "/v1/users", nil)
}

func TestProjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := func(name string) object {
		return object{"metadata": object{"name": name, "labels": object{"a": "b", "flag": "spectro__tag"},
			"annotations": object{"description": "mine"}}, "spec": object{}}
	}
	uid := w.want(201, "POST", "/v1/projects", body("Team A"), "ProjectUid", "").uid(t)
	if again := w.want(201, "POST", "/v1/projects", body("Team A"), "ProjectUid", "").uid(t); again != uid {
		t.Error("a repeated creation made another project")
	}
	w.want(409, "POST", "/v1/projects", object{"metadata": object{"name": "team a"}})
	path := "/v1/projects/" + uid
	var p wire.Project
	w.want(200, "GET", path, nil).json(t, &p)
	if p.Metadata.Name != "Team A" || p.Metadata.Annotations["description"] != "mine" || len(p.Metadata.Labels) != 2 || p.Metadata.Labels["flag"] != "spectro__tag" {
		t.Errorf("%+v", p.Metadata)
	}
	w.want(204, "PUT", path, body("Team B"))
	user := w.newUser("ada@example.com")
	w.want(204, "PUT", path+"/users", object{"users": []object{{"userId": user, "roles": []string{role("Project Admin")}}}})
	w.want(400, "PUT", path+"/users", object{"users": []object{{"userId": strings.Repeat("e", 24), "roles": []string{role("Project Admin")}}}})
	w.want(400, "PUT", path+"/users", object{"users": []object{{"userId": user, "roles": []string{role(auth.RoleTenantAdmin)}}}})
	w.want(200, "GET", path, nil).json(t, &p)
	if len(p.Spec.Users) != 1 || p.Spec.Users[0].UserID != user {
		t.Errorf("%+v", p.Spec)
	}
	s := w.signIn("ada@example.com", goodPassword)
	var list wire.ProjectsMetadata
	w.want(200, "GET", "/v1/dashboard/projects/metadata", nil, s...).json(t, &list)
	if len(list.Items) != 1 || list.Items[0].Metadata.UID != uid {
		t.Errorf("a member of one project sees %+v", list.Items)
	}
	w.want(404, "GET", "/v1/projects/"+w.project, nil, s...)
	w.want(200, "GET", path, nil, s...)
	w.want(204, "PUT", path+"/meta", object{"name": "Team C"}, s...)
	w.want(403, "DELETE", path, nil, s...)
	w.want(403, "POST", "/v1/projects", body("mine"), s...)
	// What is in it keeps it.
	acc := w.want(201, "POST", "/v1/cloudaccounts/azure", accountBody("az", "project"), "ProjectUid", uid).uid(t)
	if e := w.want(409, "DELETE", path, nil).err(t); e.Code != "InUse" || !strings.Contains(e.Message, `the account "az"`) {
		t.Errorf("%+v", e)
	}
	w.want(204, "DELETE", "/v1/cloudaccounts/azure/"+acc, nil)
	w.create("prod")
	if e := w.want(409, "DELETE", "/v1/projects/"+w.project, nil).err(t); !strings.Contains(e.Message, `cluster "prod"`) || !strings.Contains(e.Message, "profile") {
		t.Errorf("%+v", e)
	}
	var active wire.ProjectActiveResources
	w.want(200, "DELETE", "/v1/projects/"+w.project+"/validate", nil).json(t, &active)
	if active.Clusters == nil || active.Clusters.Count != 1 {
		t.Errorf("%+v", active)
	}
	var key wire.APIKeyCreateResponse
	w.want(201, "POST", "/v1/apiKeys", object{"metadata": object{"name": "bound", "annotations": object{"lazuli.io/projectUid": uid}}}).json(t, &key)
	w.want(200, "GET", path, nil, "ApiKey", key.APIKey)
	w.want(204, "DELETE", path, nil)
	if e := w.want(404, "GET", path, nil).err(t); e.Code != "ResourceNotFound" {
		t.Errorf("%+v", e)
	}
	w.want(401, "GET", path, nil, "ApiKey", key.APIKey)
	var roles wire.ProjectRolesEntity
	w.want(200, "GET", "/v1/users/"+user+"/projects", nil).json(t, &roles)
	if len(roles.Projects) != 0 {
		t.Errorf("roles in a project that is gone: %+v", roles)
	}
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	create := func(status int, spec, annotations object, header ...string) wire.APIKeyCreateResponse {
		t.Helper()
		var out wire.APIKeyCreateResponse
		a := h.want(status, "POST", "/v1/apiKeys", object{"metadata": object{"name": "ci", "annotations": annotations}, "spec": spec}, header...)
		if status == 201 {
			a.json(t, &out)
		}
		return out
	}
	in := func(d time.Duration) string { return h.now().Add(d).UTC().Format(time.RFC3339) }
	key := create(201, object{"expiry": in(time.Hour)}, nil)
	if !strings.HasPrefix(key.APIKey, auth.KeyPrefix) {
		t.Fatal("the key lacks its prefix")
	}
	as := []string{"ApiKey", key.APIKey, "ProjectUid", ""}
	h.want(200, "GET", "/v1/users", nil, as...)
	all := h.want(200, "GET", "/v1/apiKeys", nil)
	if strings.Contains(string(all.body), key.APIKey) || strings.Contains(string(all.body), auth.HashKey(lazuli.NewSecret(key.APIKey))) {
		t.Error("the list tells the key")
	}
	path := "/v1/apiKeys/" + key.UID
	var k wire.APIKey
	h.want(200, "GET", path, nil).json(t, &k)
	if !k.Status.IsActive || k.Spec.User.UID != h.user || k.Spec.Expiry.IsZero() || k.Spec.Key != "" {
		t.Errorf("%+v", k)
	}
	// A key makes none that lasts longer, and does not prolong itself.
	create(403, object{}, nil, as...)
	create(403, object{"expiry": in(2 * time.Hour)}, nil, as...)
	create(201, object{"expiry": in(30 * time.Minute)}, nil, as...)
	h.want(403, "PUT", path, object{"spec": object{"expiry": in(48 * time.Hour)}}, as...)
	h.want(204, "PUT", path, object{"metadata": object{"name": "renamed"}}, as...)
	h.want(204, "PUT", path, object{"spec": object{"expiry": in(2 * time.Hour)}})
	h.want(400, "PUT", path, object{"spec": object{"expiry": in(-time.Hour)}})
	// Revoked, taken back, over.
	h.want(204, "PATCH", path, object{"isActive": false})
	h.want(401, "GET", "/v1/users", nil, as...)
	h.want(204, "PUT", path+"/state", object{"isActive": true})
	h.want(200, "GET", "/v1/users", nil, as...)
	h.passed.Add(2 * 3600)
	h.want(401, "GET", "/v1/users", nil, as...)
	h.want(204, "DELETE", path, nil)
	h.want(404, "GET", path, nil)
	// Bound to a project, it makes none that is not.
	bound := create(201, object{}, object{"lazuli.io/projectUid": h.project})
	as[1] = bound.APIKey
	h.want(403, "GET", "/v1/users", nil, as...)
	h.want(200, "GET", "/v1/projects/"+h.project, nil, as...)
	other := h.want(201, "POST", "/v1/projects", object{"metadata": object{"name": "Other"}}).uid(t)
	create(400, object{}, object{"lazuli.io/projectUid": other}, as...)
	inherits := create(201, object{}, nil, as...)
	h.want(404, "GET", "/v1/projects/"+other, nil, "ApiKey", inherits.APIKey)
	h.want(404, "PATCH", "/v1/apiKeys/"+create(201, object{}, nil).UID, object{"isActive": true}, as...)
	create(400, object{"userUid": strings.Repeat("e", 24)}, nil)
	create(400, object{"expiry": in(-time.Second)}, nil)
}

func TestFailuresAreSlowedDown(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	try := func(name, password string) int {
		return h.send("POST", "/v1/auth/authenticate", object{"emailId": name, "password": password}, "ApiKey", "").status
	}
	got := []int{}
	for range 7 {
		got = append(got, try("admin", "wrong"))
	}
	if !slices.Equal(got, []int{401, 401, 401, 401, 401, 429, 429}) {
		t.Errorf("attempts were answered %v", got)
	}
	if s := try("admin", h.password.Reveal()); s != 429 {
		t.Errorf("the right password was tried during a wait: %d", s)
	}
	if s := try("other", "wrong"); s != 401 {
		t.Errorf("another name waits too: %d", s)
	}
	h.passed.Add(2)
	if s := try("admin", h.password.Reveal()); s != 200 {
		t.Errorf("the wait does not end: %d", s)
	}
	// Keys: an address that only guesses is held up, what works is not.
	h.passed.Add(3600)
	h.want(200, "GET", "/v1/users/info", nil)
	statuses := map[int]int{}
	for range 150 {
		statuses[h.send("GET", "/v1/users/info", nil, "ApiKey", "lz_guess").status]++
	}
	if statuses[401] != 100 || statuses[429] != 50 {
		t.Errorf("guesses were answered %v", statuses)
	}
	h.want(200, "GET", "/v1/users/info", nil)
	if s := h.send("GET", "/v1/users/info", nil, "ApiKey", "").status; s != 401 {
		t.Errorf("a request without a credential: %d", s)
	}
	h.passed.Add(60)
	h.want(401, "GET", "/v1/users/info", nil, "ApiKey", "lz_guess")
}

func TestRoles(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	var list wire.Roles
	h.want(200, "GET", "/v1/roles?limit=0", nil).json(t, &list)
	if len(list.Items) < 20 || list.Items[0].Metadata.Name != "Tenant Admin" || list.Items[0].Spec.Type != "system" {
		t.Errorf("%d roles", len(list.Items))
	}
	body := func(name, scope string, ps ...string) object {
		return object{"metadata": object{"name": name}, "spec": object{"scope": scope, "type": "user", "permissions": ps}}
	}
	uid := h.want(201, "POST", "/v1/roles", body("mine", "project", "cluster.get", "cluster.create")).uid(t)
	var r wire.Role
	h.want(200, "GET", "/v1/roles/"+uid, nil).json(t, &r)
	if r.Spec.Type != "user" || !slices.Equal(r.Spec.Permissions, []string{"cluster.create", "cluster.get"}) || !r.Status.IsEnabled {
		t.Errorf("%+v", r.Spec)
	}
	for _, bad := range []object{
		body("a", "project", "user.create"), body("b", "tenant", "cluster.fly"), body("c", "system"), body("d", ""), body("project admin", "project"), {},
	} {
		if a := h.send("POST", "/v1/roles", bad); a.status != 400 {
			t.Errorf("%v: status %d: %s", bad, a.status, a.body)
		}
	}
	h.want(400, "PUT", "/v1/roles/"+uid, body("mine", "tenant", "cluster.get"))
	h.want(409, "POST", "/v1/roles", body("Mine", "project"))
	for _, method := range []string{"PUT", "DELETE"} {
		h.want(403, method, "/v1/roles/"+role("Project Admin"), body("x", "project"))
	}
	copied := h.want(201, "POST", "/v1/roles/"+role(auth.RoleTenantAdmin)+"/clone", object{"metadata": object{"name": "copy"}}).uid(t)
	h.want(200, "GET", "/v1/roles/"+copied, nil)
	h.want(204, "DELETE", "/v1/roles/"+copied, nil)
	for scope, want := range map[string]bool{"tenant": true, "project": false} {
		var ps wire.Permissions
		h.want(200, "GET", "/v1/permissions?scope="+scope, nil).json(t, &ps)
		has := slices.ContainsFunc(ps, func(p wire.Permission) bool { return slices.Contains(p.Permissions, "user.create") })
		if has != want || len(ps) < 15 {
			t.Errorf("%s: %d groups, user.create among them: %v", scope, len(ps), has)
		}
	}
}

func TestPublicSurface(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, path := range []string{"/v1/auth/org?orgName=x", "/v1/auth/orgs"} {
		if a := h.want(http.StatusOK, "GET", path, nil, "ApiKey", ""); !strings.Contains(string(a.body), "password") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}
