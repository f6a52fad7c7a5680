// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/lazuli-dev/lazuli/internal/palette"
)

// pageSize is how many clusters are asked for at once.
const pageSize = 50

// everything asks a list for all its items.
func everything() url.Values { return url.Values{"limit": {"0"}} }

func get[T any](ctx context.Context, c *Client, path string, query url.Values, act string) (T, error) {
	var out T
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: query, out: &out, act: act})
	return out, err
}

func list[T any](ctx context.Context, c *Client, path string, query url.Values, act string) ([]T, error) {
	page, err := get[palette.List[T]](ctx, c, path, query, act)
	return page.Items, err
}

func (c *Client) create(ctx context.Context, path string, in any, act string) (string, error) {
	var out palette.UID
	err := c.do(ctx, call{method: http.MethodPost, path: path, in: in, out: &out, act: act})
	return out.UID, err
}

// Projects lists the projects that the key may see.
func (c *Client) Projects(ctx context.Context) ([]palette.ProjectMetadata, error) {
	return list[palette.ProjectMetadata](ctx, c, "/v1/dashboard/projects/metadata", nil, "list projects")
}

// Accounts lists the cloud accounts.
func (c *Client) Accounts(ctx context.Context) ([]palette.AzureAccount, error) {
	return list[palette.AzureAccount](ctx, c, "/v1/cloudaccounts/azure", everything(), "list cloud accounts")
}

// Account reads a cloud account; its secret is never in it.
func (c *Client) Account(ctx context.Context, uid string) (palette.AzureAccount, error) {
	return get[palette.AzureAccount](ctx, c, accountPath(uid), nil, "get cloud account "+uid)
}

// CreateAccount stores a cloud account and returns its uid.
func (c *Client) CreateAccount(ctx context.Context, in palette.AzureAccount) (string, error) {
	return c.create(ctx, "/v1/cloudaccounts/azure", in, fmt.Sprintf("create cloud account %q", in.Metadata.Name))
}

// UpdateAccount replaces a cloud account; an empty secret keeps the stored one.
func (c *Client) UpdateAccount(ctx context.Context, uid string, in palette.AzureAccount) error {
	return c.do(ctx, call{
		method: http.MethodPut, path: accountPath(uid), in: in,
		act: fmt.Sprintf("update cloud account %q", in.Metadata.Name),
	})
}

// DeleteAccount removes a cloud account that no cluster uses.
func (c *Client) DeleteAccount(ctx context.Context, uid string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: accountPath(uid), act: "delete cloud account " + uid})
}

// ValidateAccount asks Entra ID whether a credential is good; nothing is
// stored.
func (c *Client) ValidateAccount(ctx context.Context, in palette.AzureCloudAccount) error {
	return c.do(ctx, call{
		method: http.MethodPost, path: "/v1/clouds/azure/account/validate", in: in, act: "validate cloud account",
	})
}

func accountPath(uid string) string { return "/v1/cloudaccounts/azure/" + url.PathEscape(uid) }

// Profiles lists name, version and uid of all profile versions.
func (c *Client) Profiles(ctx context.Context) ([]palette.ClusterProfileMetadata, error) {
	return list[palette.ClusterProfileMetadata](ctx, c, "/v1/dashboard/clusterprofiles/metadata", everything(),
		"list cluster profiles")
}

// Profile reads one version of a profile.
func (c *Client) Profile(ctx context.Context, uid string) (palette.ClusterProfile, error) {
	return get[palette.ClusterProfile](ctx, c, profilePath(uid), nil, "get cluster profile "+uid)
}

// CreateProfile stores a profile as a draft and returns its uid.
func (c *Client) CreateProfile(ctx context.Context, in palette.ClusterProfileEntity) (string, error) {
	return c.create(ctx, "/v1/clusterprofiles", in, fmt.Sprintf("create cluster profile %q", in.Metadata.Name))
}

// PublishProfile makes the draft what clusters get.
func (c *Client) PublishProfile(ctx context.Context, uid string) error {
	return c.do(ctx, call{method: http.MethodPatch, path: profilePath(uid) + "/publish", act: "publish cluster profile " + uid})
}

// DeleteProfile removes one version of a profile that no cluster uses.
func (c *Client) DeleteProfile(ctx context.Context, uid string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: profilePath(uid), act: "delete cluster profile " + uid})
}

func profilePath(uid string) string { return "/v1/clusterprofiles/" + url.PathEscape(uid) }

// Packs lists all versions of all packs.
func (c *Client) Packs(ctx context.Context) ([]palette.PackSummary, error) {
	return list[palette.PackSummary](ctx, c, "/v1/packs", everything(), "list packs")
}

// CreateCluster accepts a cluster and returns its uid; it does not wait.
func (c *Client) CreateCluster(ctx context.Context, in palette.AzureClusterEntity) (string, error) {
	return c.create(ctx, "/v1/spectroclusters/azure", in, fmt.Sprintf("create cluster %q", in.Metadata.Name))
}

// Cluster reads a cluster.
func (c *Client) Cluster(ctx context.Context, uid string) (palette.Cluster, error) {
	return get[palette.Cluster](ctx, c, clusterPath(uid), nil, "get cluster "+uid)
}

// Overview reads a cluster's health and counts.
func (c *Client) Overview(ctx context.Context, uid string) (palette.ClusterUIDSummary, error) {
	return get[palette.ClusterUIDSummary](ctx, c,
		"/v1/dashboard/spectroclusters/"+url.PathEscape(uid)+"/overview", nil, "get overview of cluster "+uid)
}

// Clusters lists the clusters that are not deleted; name narrows the list to
// that name, compared without regard to case, unless empty.
func (c *Client) Clusters(ctx context.Context, name string) ([]palette.ClusterSummary, error) {
	filters := []palette.SearchFilterItem{{
		Property: "isDeleted", Type: "bool",
		Condition: &palette.SearchCondition{Bool: &palette.SearchBool{}},
	}}
	if name != "" {
		filters = append(filters, palette.SearchFilterItem{
			Property: "clusterName", Type: "string",
			Condition: &palette.SearchCondition{String: &palette.SearchString{
				Operator: palette.OperatorEq, Match: &palette.SearchMatch{Values: []string{name}},
			}},
		})
	}
	body := palette.SearchFilterSummarySpec{
		Filter: &palette.SearchFilter{
			Conjunction:  palette.ConjunctionAnd,
			FilterGroups: []palette.SearchFilterGroup{{Conjunction: palette.ConjunctionAnd, Filters: filters}},
		},
		Sort: []palette.SearchSort{{Field: "clusterName", Order: "asc"}},
	}
	var out []palette.ClusterSummary
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for {
		var page palette.List[palette.ClusterSummary]
		err := c.do(ctx, call{
			method: http.MethodPost, path: "/v1/dashboard/spectroclusters/search", query: query,
			in: body, out: &page, act: "list clusters",
		})
		if err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
		if page.ListMeta == nil || page.ListMeta.Continue == "" || len(page.Items) == 0 {
			return out, nil
		}
		query.Set("continue", page.ListMeta.Continue)
	}
}

// DeleteCluster records that the cluster shall be no more; it does not wait.
func (c *Client) DeleteCluster(ctx context.Context, uid string, force bool) error {
	query := url.Values{}
	if force {
		query.Set("forceDelete", "true")
	}
	return c.do(ctx, call{method: http.MethodDelete, path: clusterPath(uid), query: query, act: "delete cluster " + uid})
}

// Kubeconfig reads the administrator's kubeconfig of a cluster: YAML.
func (c *Client) Kubeconfig(ctx context.Context, uid string) ([]byte, error) {
	return get[[]byte](ctx, c, clusterPath(uid)+"/assets/adminKubeconfig", nil, "get kubeconfig of cluster "+uid)
}

// Machines lists the machines of one pool.
func (c *Client) Machines(ctx context.Context, configUID, pool string) ([]palette.Machine, error) {
	path := "/v1/cloudconfigs/azure/" + url.PathEscape(configUID) + "/machinePools/" + url.PathEscape(pool) + "/machines"
	return list[palette.Machine](ctx, c, path, everything(), "list machines of pool "+pool)
}

// CloudConfig reads placement and pools of a cluster.
func (c *Client) CloudConfig(ctx context.Context, uid string) (palette.CloudConfig, error) {
	return get[palette.CloudConfig](ctx, c, "/v1/cloudconfigs/azure/"+url.PathEscape(uid), nil, "get cloud config "+uid)
}

// Events lists what happened to a cluster, newest first.
func (c *Client) Events(ctx context.Context, uid string) ([]palette.Event, error) {
	return list[palette.Event](ctx, c, "/v1/events/components/"+palette.KindCluster+"/"+url.PathEscape(uid),
		nil, "list events of cluster "+uid)
}

func clusterPath(uid string) string { return "/v1/spectroclusters/" + url.PathEscape(uid) }
