// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

func userRoutes() []route {
	const users, user = "/v1/users", "/v1/users/{uid}"
	return []route{
		{Method: methodGet, Pattern: users, Operation: "v1UsersList", Permission: auth.UserList, Tenant: true, Status: ok, Handle: listUsers},
		{Method: methodPost, Pattern: users, Operation: "v1UsersCreate", Permission: auth.UserCreate, Tenant: true, Status: created, Body: maxBody, Mutates: true, Handle: createUser},
		{Method: methodPost, Pattern: users + "/summary", Operation: "v1UsersSummaryGet", Permission: auth.UserList, Tenant: true, Status: ok, Body: maxBody, Handle: summarizeUsers},
		{Method: methodGet, Pattern: users + "/meta", Operation: "v1UsersMetadata", Permission: auth.UserList, Tenant: true, Status: ok, Handle: listUserMeta},
		{Method: methodGet, Pattern: user, Operation: "v1UsersUidGet", Permission: auth.None, Status: ok, Handle: getUser},
		{Method: methodPut, Pattern: user, Operation: "v1UsersUidUpdate", Permission: auth.UserUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: updateUser},
		{Method: methodPatch, Pattern: user, Operation: "v1UsersUidPatch", Permission: auth.UserUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: patchUser},
		{Method: methodDelete, Pattern: user, Operation: "v1UsersUidDelete", Permission: auth.UserDelete, Tenant: true, Status: noContent, Mutates: true, Handle: deleteUser},
		{Method: methodPatch, Pattern: user + "/password/change", Operation: "v1UsersUidPasswordChange", Permission: auth.None, Status: noContent, Body: maxBody, Mutates: true, Handle: changePassword},
		{Method: methodPatch, Pattern: user + "/password/reset", Operation: "v1UsersUidPasswordReset", Permission: auth.UserUpdate, Tenant: true, Status: noContent, Mutates: true, Handle: resetPassword},
		{Method: methodGet, Pattern: user + "/roles", Operation: "v1UsersUidRoles", Permission: auth.UserGet, Tenant: true, Status: ok, Handle: getUserRoles},
		{Method: methodPut, Pattern: user + "/roles", Operation: "v1UsersUidRolesUpdate", Permission: auth.UserUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: setUserRoles},
		{Method: methodGet, Pattern: user + "/projects", Operation: "v1UsersProjectRoles", Permission: auth.UserGet, Tenant: true, Status: ok, Handle: getUserProjects},
		{Method: methodPut, Pattern: user + "/projects", Operation: "v1UsersProjectRolesPut", Permission: auth.UserUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: setProjects[lazuli.User]},
		{Method: methodGet, Pattern: user + "/resourceRoles", Operation: "v1UsersUidResourceRoles", Permission: auth.UserGet, Tenant: true, Status: ok, Handle: getResourceRoles[lazuli.User]},
		{Method: methodPost, Pattern: user + "/resourceRoles", Operation: "v1UsersUidResourceRolesCreate", Permission: auth.UserUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: setResourceRoles[lazuli.User]},
		{Method: methodPatch, Pattern: user + "/resourceRoles/{resourceRoleUid}", Operation: "v1UsersResourceRolesUidUpdate", Permission: auth.UserUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: noResourceRole[lazuli.User]},
		{Method: methodDelete, Pattern: user + "/resourceRoles/{resourceRoleUid}", Operation: "v1UsersUidResourceRolesUidDelete", Permission: auth.UserUpdate, Tenant: true, Status: noContent, Mutates: true, Handle: noResourceRole[lazuli.User]},
		{Method: methodGet, Pattern: "/v1/workspaces/users/{userUid}/roles", Operation: "v1UsersWorkspaceGetRoles", Permission: auth.UserGet, Tenant: true, Status: ok, Handle: getWorkspaceRoles[lazuli.User]},
		{Method: methodPut, Pattern: "/v1/workspaces/users/{userUid}/roles", Operation: "v1UsersWorkspaceRolesPut", Permission: auth.UserUpdate, Tenant: true, Status: noContent, Body: maxBody, Mutates: true, Handle: setWorkspaceRoles[lazuli.User]},
	}
}

// emailPath is the field of what users are unique by.
const emailPath = "spec.emailId"

// checkPerson checks what a user is called, and returns the name to show.
func checkPerson(f *lazuli.Fields, email, first, last string) string {
	switch {
	case strings.TrimSpace(email) == "":
		f.Add(emailPath, "is required")
	case len(email) > maxEmail || strings.ContainsAny(email, " \t\r\n\x00") || strings.TrimSpace(email) != email:
		f.Add(emailPath, "is no name to sign in with: it has blanks, or more than %d bytes", maxEmail)
	}
	checkText(f, emailPath, email, maxEmail)
	checkText(f, "spec.firstName", first, maxPersonName)
	checkText(f, "spec.lastName", last, maxPersonName)
	return orElse(strings.TrimSpace(first+" "+last), email)
}

func createUser(a *API, c *call) (any, error) {
	var in wire.UserEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	if in.Spec == nil {
		f.Add("spec", "is required")
		return nil, f.Err()
	}
	meta := metaOf(&f, in.Metadata, false)
	meta.Name = checkPerson(&f, in.Spec.EmailID, in.Spec.FirstName, in.Spec.LastName)
	if err := f.Err(); err != nil {
		return nil, err
	}
	u := &lazuli.User{Meta: meta, Email: in.Spec.EmailID, FirstName: in.Spec.FirstName, LastName: in.Spec.LastName}
	teams := unique(in.Spec.Teams)
	return createIdentity(a, c, u, func(w *authority) error {
		u.Assignment = lazuli.Assignment{}
		return w.assign(&f, "spec.", &u.Assignment, lazuli.Assignment{Roles: unique(in.Spec.Roles)})
	}, func(w *authority) error { return w.join(u.UID, teams) })
}

// join puts a new user into teams.
func (w *authority) join(user string, teams []string) error {
	var f lazuli.Fields
	for i, uid := range teams {
		t, err := get[lazuli.Team](w.c.ctx(), w.r, w.c.asking(auth.TeamUpdate), uid)
		if lazuli.CodeOf(err) == lazuli.CodeNotFound {
			f.Add(fmt.Sprintf("spec.teams[%d]", i), "no team has the uid %q", shorten(uid))
			continue
		}
		if err != nil {
			return err
		}
		if err := w.mayGive(w.roles.Grants(t.Assignment)); err != nil {
			return err
		}
		t.Users = append(t.Users, user)
		if err := w.store(t); err != nil {
			return err
		}
	}
	return f.Err()
}

// userOf renders a user.
func userOf(u *lazuli.User) wire.User {
	return wire.User{
		Metadata: identityMeta(&u.Meta),
		Spec: &wire.UserSpec{
			EmailID: u.Email, FirstName: u.FirstName, LastName: u.LastName, Roles: u.Roles,
		},
		Status: userStatus(u),
	}
}

func userStatus(u *lazuli.User) *wire.UserStatus {
	return &wire.UserStatus{
		IsActive: !u.Disabled, IsPasswordResetting: u.MustChangePassword, LastSignIn: wire.At(u.LastSignIn),
	}
}

func listUsers(a *API, c *call) (any, error) {
	users, err := storedByName[lazuli.User](a, c)
	if err != nil {
		return nil, err
	}
	page, meta, err := pageOf(c, users)
	if err != nil {
		return nil, err
	}
	items := make([]wire.User, 0, len(page))
	for i := range page {
		items = append(items, userOf(&page[i]))
	}
	return wire.Users{Items: items, Listmeta: meta}, nil
}

func listUserMeta(a *API, c *call) (any, error) {
	users, err := storedByName[lazuli.User](a, c)
	if err != nil {
		return nil, err
	}
	items := make([]wire.UserMetaEntity, 0, len(users))
	for i := range users {
		items = append(items, wire.UserMetaEntity{EmailID: users[i].Email, Name: users[i].Name, UID: users[i].UID})
	}
	return wire.UsersMetadata{Items: items}, nil
}

func summarizeUsers(a *API, c *call) (any, error) {
	var in wire.UsersSummarySpec
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	filter := orZero(in.Filter)
	users, err := storedByName[lazuli.User](a, c)
	if err != nil {
		return nil, err
	}
	n, err := a.names(c.ctx(), a.Store)
	if err != nil {
		return nil, err
	}
	items := []wire.UserSummary{}
	for i := range users {
		if u := &users[i]; matchesText(filter.EmailID, u.Email) && matchesText(filter.Name, u.Name) {
			items = append(items, n.userSummary(u))
		}
	}
	if len(in.Sort) > 0 {
		byTime := in.Sort[0].Field == wire.UserSummarySortFieldsCreationTimestamp
		sortSummaries(items, byTime, in.Sort[0].Order, func(s wire.UserSummary) *wire.ObjectMeta { return s.Metadata })
	}
	return wire.UsersSummaryList{Items: items}, nil
}

func (n *names) userSummary(u *lazuli.User) wire.UserSummary {
	spec := &wire.UserSpecSummary{
		EmailID: u.Email, FirstName: u.FirstName, LastName: u.LastName, Roles: n.roleList(u.Roles),
		Projects: []wire.UIDSummary{}, Teams: []wire.UIDSummary{},
	}
	teams := n.teamsOf(u.UID)
	for i := range teams {
		spec.Teams = append(spec.Teams, wire.UIDSummary{Name: teams[i].Name, UID: teams[i].UID})
	}
	for _, p := range n.projectRoles(u.Assignment, assignments(teams)) {
		spec.Projects = append(spec.Projects, wire.UIDSummary{Name: p.Name, UID: p.UID})
	}
	spec.ProjectsCount = int32(len(spec.Projects))
	return wire.UserSummary{Metadata: identityMeta(&u.Meta), Spec: spec, Status: userStatus(u)}
}

// sortSummaries sorts by name or creation.
func sortSummaries[T any](items []T, byTime bool, order wire.SortOrder, meta func(T) *wire.ObjectMeta) {
	slices.SortStableFunc(items, func(x, y T) int {
		a, b := meta(x), meta(y)
		d := strings.Compare(lazuli.Fold(a.Name), lazuli.Fold(b.Name))
		if byTime {
			d = a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		}
		if order == wire.Desc {
			return -d
		}
		return d
	})
}

// orZero is what a pointer points at, or the zero value.
func orZero[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

// getUser answers a user to themselves and to those who may read users. Who may
// manage a user that has no password yet gets a link to set it.
func getUser(a *API, c *call) (any, error) {
	uid := c.param("uid")
	var u *lazuli.User
	var err error
	if uid == c.actor.UserUID {
		u = &lazuli.User{}
		err = a.Store.Get(c.ctx(), uid, u)
	} else {
		if err := c.may(auth.UserGet, ""); err != nil {
			return nil, err
		}
		u, err = get[lazuli.User](c.ctx(), a.Store, c, uid)
	}
	if err != nil {
		return nil, err
	}
	out := userOf(u)
	if u.PasswordHash != "" || u.Disabled || !c.actor.May(auth.UserUpdate, "") {
		return out, nil
	}
	w, err := a.authority(c, a.Store)
	if err != nil {
		return nil, err
	}
	if _, _, lacks := c.actor.Excess(w.grantsOf(u)); lacks {
		return out, nil
	}
	token, err := a.auth.ActivationToken(c.ctx(), u)
	if err != nil {
		return nil, err
	}
	out.Status.ActivationLink = "/v1/auth/password/" + token.Reveal() + "/activate"
	return out, nil
}

// changeUser changes a user whom the caller may manage.
func (a *API) changeUser(c *call, change func(*authority, *lazuli.User) error) error {
	return a.changeAuthority(c, func(w *authority) error {
		u, err := getToChange[lazuli.User](c.ctx(), w.tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		if err := w.mayManage(u); err != nil {
			return err
		}
		if err := change(w, u); err != nil {
			return err
		}
		return w.store(u)
	})
}

func updateUser(a *API, c *call) (any, error) {
	var in wire.UserUpdateEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	if in.Spec == nil {
		f.Add("spec", "is required")
		return nil, f.Err()
	}
	name := checkPerson(&f, in.Spec.EmailID, in.Spec.FirstName, in.Spec.LastName)
	meta := metaOf(&f, in.Metadata, false)
	if err := f.Err(); err != nil {
		return nil, err
	}
	err := a.changeUser(c, func(w *authority, u *lazuli.User) error {
		u.Name, u.Email, u.FirstName, u.LastName = name, in.Spec.EmailID, in.Spec.FirstName, in.Spec.LastName
		if in.Metadata != nil {
			u.Labels, u.Annotations = meta.Labels, meta.Annotations
		}
		if in.Spec.Roles == nil {
			return nil
		}
		next := u.Assignment
		next.Roles = unique(in.Spec.Roles)
		return w.assign(&f, "spec.", &u.Assignment, next)
	})
	return nil, taken(err, emailPath, in.Spec.EmailID)
}

// userPatch is what PATCH /v1/users/{uid} can change.
type userPatch struct {
	EmailID   *string `json:"emailId"`
	FirstName *string `json:"firstName"`
	LastName  *string `json:"lastName"`
	IsActive  *bool   `json:"isActive"`
}

// patchUser replaces members of /spec or /status.
func patchUser(a *API, c *call) (any, error) {
	var p userPatch
	if err := decodePatch(c.body, &p, "/spec", "/status"); err != nil {
		return nil, err
	}
	var email string
	err := a.changeUser(c, func(_ *authority, u *lazuli.User) error {
		u.Email, u.FirstName, u.LastName = orKeep(p.EmailID, u.Email), orKeep(p.FirstName, u.FirstName), orKeep(p.LastName, u.LastName)
		var f lazuli.Fields
		u.Name = checkPerson(&f, u.Email, u.FirstName, u.LastName)
		email = u.Email
		if p.IsActive != nil && *p.IsActive == u.Disabled {
			u.Disabled = !*p.IsActive
			auth.EndSessions(u)
		}
		return f.Err()
	})
	return nil, taken(err, emailPath, email)
}

// orKeep is what a pointer points at, or else otherwise.
func orKeep[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// decodePatch reads a list of replacements at some paths into one value. The
// values of Palette's patches are objects: what they name is replaced.
func decodePatch(body []byte, dst any, paths ...string) error {
	var in []struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	}
	if err := decode(body, &in); err != nil {
		return err
	}
	var f lazuli.Fields
	for i, op := range in {
		at := fmt.Sprintf("[%d]", i)
		switch {
		case op.Op != "replace" && op.Op != "add":
			f.Add(at+".op", "%q is not served; replace is", shorten(op.Op))
		case !slices.Contains(paths, op.Path):
			f.Add(at+".path", "%q cannot be changed; %s can", shorten(op.Path), strings.Join(paths, " and "))
		case json.Unmarshal(orElseRaw(op.Value), dst) != nil:
			f.Add(at+".value", "is of a wrong type")
		}
	}
	return f.Err()
}

func orElseRaw(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}

// deleteUser removes a user with their keys and from their teams.
func deleteUser(a *API, c *call) (any, error) {
	return nil, a.changeAuthority(c, func(w *authority) error {
		u, err := getToChange[lazuli.User](c.ctx(), w.tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		if err := w.mayManage(u); err != nil {
			return err
		}
		keys, _, err := query[lazuli.APIKey](c.ctx(), w.tx, store.Query{
			Where: []store.Where{{Field: store.FieldOwner, Op: store.Eq, Value: u.UID}},
		})
		if err != nil {
			return err
		}
		for i := range keys {
			if err := w.drop(&keys[i]); err != nil {
				return err
			}
		}
		for i := range w.teams {
			t := &w.teams[i]
			if !slices.Contains(t.Users, u.UID) {
				continue
			}
			t.Users = slices.DeleteFunc(t.Users, func(uid string) bool { return uid == u.UID })
			if err := w.store(t); err != nil {
				return err
			}
		}
		return w.drop(u)
	})
}

// changePassword sets a password: one's own by the current one, another user's
// by who may manage them, who have to change it then.
func changePassword(a *API, c *call) (any, error) {
	var in struct {
		CurrentPassword string `json:"currentPassword"`
		NewPassword     string `json:"newPassword"`
	}
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	next := lazuli.NewSecret(in.NewPassword)
	if c.param("uid") == c.actor.UserUID {
		err := a.auth.ChangeOwnPassword(c.ctx(), c.actor.Email, lazuli.NewSecret(in.CurrentPassword), next, c.r.RemoteAddr,
			func(u *lazuli.User) error { return checkPassword("newPassword", next, u) })
		if lazuli.CodeOf(err) == lazuli.CodeUnauthenticated {
			err = reject("currentPassword", "is not the current password")
		}
		if err != nil {
			return nil, err
		}
		return nil, a.note(c, &lazuli.User{Meta: lazuli.Meta{UID: c.actor.UserUID}})
	}
	if err := c.may(auth.UserUpdate, ""); err != nil {
		return nil, err
	}
	hash, err := a.auth.HashPassword(c.ctx(), next)
	if err != nil {
		return nil, err
	}
	c.permission = auth.UserUpdate
	return nil, a.changeUser(c, func(_ *authority, u *lazuli.User) error {
		if err := checkPassword("newPassword", next, u); err != nil {
			return err
		}
		auth.SetPassword(u, hash)
		u.MustChangePassword = true
		return nil
	})
}

// resetPassword takes a user's password away; reading the user then gives a
// link to set another.
func resetPassword(a *API, c *call) (any, error) {
	return nil, a.changeUser(c, func(_ *authority, u *lazuli.User) error {
		auth.SetPassword(u, "")
		u.MustChangePassword = true
		return nil
	})
}

// note writes the audit of a change that was made elsewhere.
func (a *API) note(c *call, o lazuli.Object) error {
	rec := c.audit(o.Kind(), o.Head().UID, "")
	return a.Store.Update(c.ctx(), func(tx store.Tx) error { return tx.AppendAudit(c.ctx(), rec) })
}

// shownUser reads a user to show their roles.
func (a *API) shownUser(c *call) (*lazuli.User, *names, error) {
	u, err := get[lazuli.User](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, nil, err
	}
	n, err := a.names(c.ctx(), a.Store)
	return u, n, err
}

func getUserRoles(a *API, c *call) (any, error) {
	u, n, err := a.shownUser(c)
	if err != nil {
		return nil, err
	}
	var inherited []string
	for _, as := range assignments(n.teamsOf(u.UID)) {
		inherited = append(inherited, as.Roles...)
	}
	return wire.UserRolesEntity{Roles: n.roleList(u.Roles), InheritedRoles: n.roleList(unique(inherited))}, nil
}

func getUserProjects(a *API, c *call) (any, error) {
	u, n, err := a.shownUser(c)
	if err != nil {
		return nil, err
	}
	return wire.ProjectRolesEntity{Projects: n.projectRoles(u.Assignment, assignments(n.teamsOf(u.UID)))}, nil
}

func setUserRoles(a *API, c *call) (any, error) {
	var in wire.UserRoleUIDs
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, assign[lazuli.User](a, c, func(as *lazuli.Assignment) { as.Roles = unique(in.Roles) })
}
