// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

const keysPath = "/v1/apiKeys"

// APIKeys lists the API keys that the caller may see, without the keys
// themselves.
func (c *Client) APIKeys(ctx context.Context) ([]wire.APIKey, error) {
	all, err := get[wire.APIKeys](ctx, c, keysPath, nil, "list API keys")
	return all.Items, err
}

// CreateAPIKey makes a key of the caller's user. It is told here and never
// again. A zero expiry is that it holds until it is deleted.
func (c *Client) CreateAPIKey(ctx context.Context, name string, expiry time.Time) (uid string, key lazuli.Secret, err error) {
	in := wire.APIKeyEntity{Metadata: &wire.ObjectMeta{Name: name}, Spec: &wire.APIKeySpecEntity{Expiry: wire.At(expiry)}}
	var out wire.APIKeyCreateResponse
	err = c.do(ctx, call{method: http.MethodPost, path: keysPath, in: in, out: &out, act: fmt.Sprintf("create API key %q", name)})
	return out.UID, lazuli.NewSecret(out.APIKey), err
}

// DeleteAPIKey ends a key at once.
func (c *Client) DeleteAPIKey(ctx context.Context, uid string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: keysPath + "/" + url.PathEscape(uid), act: "delete API key " + uid})
}
