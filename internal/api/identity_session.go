// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

const authTypePassword = "password"

// maxCredentialBody bounds the bodies that are read without a credential.
const maxCredentialBody = 16 << 10

func sessionRoutes() []route {
	const password = "/v1/auth/password/{passwordToken}"
	return []route{
		{Method: methodPost, Pattern: "/v1/auth/authenticate", Operation: "v1Authenticate", Public: true, Status: ok, Body: maxCredentialBody, Handle: signIn},
		{Method: methodGet, Pattern: "/v1/auth/refresh/{token}", Operation: "v1AuthRefresh", Public: true, Secret: true, Status: ok, Handle: refresh},
		{Method: methodGet, Pattern: "/v1/auth/org", Operation: "v1AuthOrg", Public: true, Status: ok, Handle: getOrg},
		{Method: methodGet, Pattern: "/v1/auth/orgs", Operation: "V1AuthOrgs", Public: true, Status: ok, Handle: listOrgs},
		{Method: methodPatch, Pattern: password + "/activate", Operation: "v1PasswordActivate", Public: true, Secret: true, Status: noContent, Body: maxCredentialBody, Mutates: true, Handle: activate},
		{Method: methodPatch, Pattern: password + "/reset", Operation: "v1PasswordReset", Public: true, Secret: true, Status: noContent, Body: maxCredentialBody, Mutates: true, Handle: activate},
		{Method: methodPost, Pattern: "/v1/users/auth/tokens/revoke", Operation: "v1UsersAuthTokensRevoke", Permission: auth.None, Status: noContent, Body: maxBody, Mutates: true, Handle: endSessions},
		{Method: methodGet, Pattern: "/v1/users/info", Operation: "v1UsersInfoGet", Permission: auth.None, Status: ok, Handle: getUserInfo},
	}
}

// signIn answers a token for a name and a password. setCookie of Palette has no
// effect: a browser that holds the token itself is safe from forged requests.
func signIn(a *API, c *call) (any, error) {
	var in wire.AuthLogin
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	if in.EmailID == "" {
		f.Add("emailId", "is required")
	}
	if in.Password == "" {
		f.Add("password", "is required")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	token, err := a.auth.SignIn(c.ctx(), in.EmailID, lazuli.NewSecret(in.Password), c.r.RemoteAddr)
	if err != nil {
		return nil, err
	}
	return wire.UserToken{Authorization: token.Reveal()}, nil
}

// refresh answers a further token for one that is valid.
func refresh(a *API, c *call) (any, error) {
	token, err := a.auth.Refresh(c.ctx(), lazuli.NewSecret(c.param("token")), c.r.RemoteAddr)
	if err != nil {
		return nil, err
	}
	return wire.UserToken{Authorization: token.Reveal()}, nil
}

// getOrg says how people sign in. It tells nobody which organisation there is:
// the name is the one that was asked for.
func getOrg(_ *API, c *call) (any, error) {
	return wire.LoginResponse{AuthType: authTypePassword, OrgName: shorten(c.query("orgName")), TotalTenants: 1}, nil
}

// listOrgs lists the organisations that can be signed in to: this one.
func listOrgs(a *API, c *call) (any, error) {
	var t lazuli.Tenant
	if err := a.Store.ByUnique(c.ctx(), lazuli.TenantUnique, &t); err != nil {
		return nil, err
	}
	return wire.Organizations{Organizations: []wire.Organization{{Name: t.Name, AuthType: authTypePassword}}}, nil
}

// activate sets a password by the token of an activation link.
func activate(a *API, c *call) (any, error) {
	var in struct {
		Password string `json:"password"`
	}
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	password := lazuli.NewSecret(in.Password)
	u, err := a.auth.Activate(c.ctx(), lazuli.NewSecret(c.param("passwordToken")), password, c.r.RemoteAddr,
		func(u *lazuli.User) error { return checkPassword("password", password, u) })
	if err != nil {
		return nil, err
	}
	c.actor.Name = u.Name
	return nil, a.note(c, u)
}

// endSessions ends the caller's own sessions by their tokens.
func endSessions(a *API, c *call) (any, error) {
	var in wire.AuthTokenRevoke
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	if len(in.Tokens) > maxAssignments {
		return nil, reject("tokens", "has too many entries")
	}
	tokens := make([]lazuli.Secret, len(in.Tokens))
	for i, t := range in.Tokens {
		tokens[i] = lazuli.NewSecret(t)
	}
	return nil, a.auth.End(c.ctx(), c.actor, tokens)
}

// getUserInfo says who calls.
func getUserInfo(_ *API, c *call) (any, error) {
	return wire.UserInfo{OrgName: c.actor.Org, TenantUID: c.actor.Tenant, UserUID: c.actor.UserUID}, nil
}

// checkPassword refuses a password that a user must not have.
func checkPassword(path string, password lazuli.Secret, u *lazuli.User) error {
	if fault := auth.CheckNewPassword(password, u); fault != "" {
		return reject(path, fault)
	}
	return nil
}
