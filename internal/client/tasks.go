// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/lazuli-dev/lazuli/internal/wire"
)

const ownPath = "/lazuli/v1/clusters/"

// Tasks reads what is under way for a cluster.
func (c *Client) Tasks(ctx context.Context, uid string) (wire.ClusterTasks, error) {
	return get[wire.ClusterTasks](ctx, c, ownPath+url.PathEscape(uid)+"/tasks", nil, "get tasks of cluster "+uid)
}

// GraphText reads a cluster's graph as a Mermaid flow chart.
func (c *Client) GraphText(ctx context.Context, uid string) (string, error) {
	var out []byte
	err := c.do(ctx, call{
		method: http.MethodGet, path: ownPath + url.PathEscape(uid) + "/graph",
		query: url.Values{"format": {"mermaid"}}, out: &out, act: "get graph of cluster " + uid,
	})
	return string(out), err
}

func watchPath(uid string) string { return ownPath + url.PathEscape(uid) + "/watch" }
