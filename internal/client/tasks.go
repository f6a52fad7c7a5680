// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

const ownPath = "/lazuli/v1/clusters/"

// Task is one step of a cluster's life.
type Task struct {
	Name       string           `json:"name"`
	Title      string           `json:"title"`
	State      lazuli.NodeState `json:"state"`
	StartedAt  palette.Time     `json:"startedAt,omitzero"`
	EndedAt    palette.Time     `json:"endedAt,omitzero"`
	DurationMS int64            `json:"durationMs,omitempty"`
	Message    string           `json:"message,omitempty"`
	Remedy     string           `json:"remedy,omitempty"`
	Code       lazuli.Code      `json:"code,omitempty"`
	Deps       []string         `json:"deps"`
	Attempts   int              `json:"attempts"`
	AzureID    string           `json:"azureId,omitempty"`
}

// Tasks are a cluster and its steps, in the order in which they started.
type Tasks struct {
	ClusterUID string              `json:"clusterUid"`
	Name       string              `json:"name"`
	State      lazuli.ClusterState `json:"state"`
	Health     string              `json:"health"`
	Message    string              `json:"message,omitempty"`
	Phase      string              `json:"phase"` // create, delete
	StartedAt  palette.Time        `json:"startedAt,omitzero"`
	RunningAt  palette.Time        `json:"runningAt,omitzero"`
	DeletedAt  palette.Time        `json:"deletedAt,omitzero"`
	Total      int                 `json:"total"`
	Done       int                 `json:"done"`
	Tasks      []Task              `json:"tasks"`
}

// Tasks reads what is under way for a cluster.
func (c *Client) Tasks(ctx context.Context, uid string) (Tasks, error) {
	return get[Tasks](ctx, c, ownPath+url.PathEscape(uid)+"/tasks", nil, "get tasks of cluster "+uid)
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
