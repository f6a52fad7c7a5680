// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// annotationKeyProject binds a key to one project.
const annotationKeyProject = "lazuli.io/projectUid"

// NewAPIKey is what an API key is made from. The zero values are a key of the
// caller, for ever, in every project.
type NewAPIKey struct {
	Name       string
	UserUID    string
	ProjectUID string
	Expiry     wire.Time
}

// CreateAPIKey makes a key. The answer is the only place where it is shown.
func (c *Client) CreateAPIKey(ctx context.Context, k NewAPIKey) (uid string, key lazuli.Secret, err error) {
	in := wire.APIKeyEntity{
		Metadata: &wire.ObjectMeta{Name: k.Name},
		Spec:     &wire.APIKeySpecEntity{Expiry: k.Expiry, UserUID: k.UserUID},
	}
	if k.ProjectUID != "" {
		in.Metadata.Annotations = map[string]string{annotationKeyProject: k.ProjectUID}
	}
	var out wire.APIKeyCreateResponse
	err = c.do(ctx, call{
		method: http.MethodPost, path: "/v1/apiKeys", in: in, out: &out, act: fmt.Sprintf("create API key %q", k.Name),
	})
	return out.UID, lazuli.NewSecret(out.APIKey), err
}

// APIKeys lists the keys that the caller may see, without the keys themselves.
func (c *Client) APIKeys(ctx context.Context) ([]wire.APIKey, error) {
	out, err := get[wire.APIKeys](ctx, c, "/v1/apiKeys", nil, "list API keys")
	return out.Items, err
}

// RevokeAPIKey ends a key and keeps what is known of it.
func (c *Client) RevokeAPIKey(ctx context.Context, uid string) error {
	return c.do(ctx, call{
		method: http.MethodPatch, path: keyPath(uid), in: wire.APIKeyActiveState{IsActive: false}, act: "revoke API key " + uid,
	})
}

// DeleteAPIKey ends a key and forgets it.
func (c *Client) DeleteAPIKey(ctx context.Context, uid string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: keyPath(uid), act: "delete API key " + uid})
}

func keyPath(uid string) string { return "/v1/apiKeys/" + url.PathEscape(uid) }

// Users lists all users with the names of their roles and teams.
func (c *Client) Users(ctx context.Context) ([]wire.UserSummary, error) {
	var out wire.UsersSummaryList
	err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/users/summary", in: wire.UsersSummarySpec{}, out: &out, act: "list users",
	})
	return out.Items, err
}

// CreateUser stores a user, who has no password yet, and returns the uid.
func (c *Client) CreateUser(ctx context.Context, in wire.UserSpecEntity) (string, error) {
	return c.create(ctx, "/v1/users", wire.UserEntity{Spec: &in}, fmt.Sprintf("create user %q", in.EmailID))
}

// Roles lists the roles that can be given.
func (c *Client) Roles(ctx context.Context) ([]wire.Role, error) {
	out, err := get[wire.Roles](ctx, c, "/v1/roles", everything(), "list roles")
	return out.Items, err
}
