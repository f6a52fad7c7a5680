// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"

	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// permissionsVersion is the API version of armauthorization v2's permissions.
const permissionsVersion = "2022-04-01"

// GroupActions returns the least that the account must be allowed in a
// cluster's resource group, sorted. Names are from
// learn.microsoft.com/azure/role-based-access-control/resource-provider-operations.
func GroupActions() []string {
	all := []string{"read", "write", "delete"}
	withJoin := append(slices.Clone(all), "join/action")
	var out []string
	add := func(kind string, verbs []string) {
		for _, v := range verbs {
			out = append(out, kind+"/"+v)
		}
	}
	add("Microsoft.Authorization/permissions", []string{"read"})
	add("Microsoft.Resources/subscriptions/resourceGroups", []string{"read"})
	add("Microsoft.Network/virtualNetworks", all)
	add("Microsoft.Network/virtualNetworks/subnets", withJoin)
	add("Microsoft.Network/networkSecurityGroups", withJoin)
	add("Microsoft.Network/natGateways", withJoin)
	add("Microsoft.Network/publicIPAddresses", withJoin)
	add("Microsoft.Network/loadBalancers", all)
	add("Microsoft.Network/loadBalancers/backendAddressPools", []string{"join/action"})
	add("Microsoft.Network/networkInterfaces", withJoin)
	add("Microsoft.Compute/virtualMachines", append(slices.Clone(all), "retrieveBootDiagnosticsData/action"))
	add("Microsoft.Compute/availabilitySets", all)
	add("Microsoft.Compute/disks", all)
	slices.Sort(out)
	return out
}

// SubscriptionActions returns what the account should be allowed in the whole
// subscription, sorted: without them sizes and quotas cannot be checked in advance.
func SubscriptionActions() []string {
	return []string{
		"Microsoft.Compute/locations/usages/read",
		"Microsoft.Compute/skus/read",
		"Microsoft.Network/locations/usages/read",
	}
}

// Permissions returns which of GroupActions and SubscriptionActions the
// principal lacks at the resource group, or at the subscription for group "",
// sorted; none when it may do all. Deny assignments do not show here.
func (c *Client) Permissions(ctx context.Context, t resource.Target, group string) (missing []string, err error) {
	const act = "read the account's permissions"
	set, err := c.clientsOf(t)
	if err != nil {
		return nil, explain(act, t.ClientSecret, err)
	}
	ctx = with(ctx, t, ClassRead)
	var granted []*armauthorization.Permission
	if group == "" {
		granted, err = subscriptionPermissions(ctx, set, t.SubscriptionID)
	} else {
		err = pages(ctx, set.permissions.NewListForResourceGroupPager(group, nil),
			func(p armauthorization.PermissionsClientListForResourceGroupResponse) int {
				granted = append(granted, p.Value...)
				return len(p.Value)
			})
	}
	if err != nil {
		return nil, explain(act, t.ClientSecret, err)
	}
	for _, action := range append(GroupActions(), SubscriptionActions()...) {
		if !allowed(granted, action) {
			missing = append(missing, action)
		}
	}
	slices.Sort(missing)
	return missing, nil
}

// subscriptionPermissions asks at a scope that the SDK has no method for.
func subscriptionPermissions(ctx context.Context, set *clients, subscription string) ([]*armauthorization.Permission, error) {
	next := runtime.JoinPaths(set.endpoint, "/subscriptions/", url.PathEscape(subscription),
		"/providers/Microsoft.Authorization/permissions") + "?api-version=" + permissionsVersion
	pager := runtime.NewPager(runtime.PagingHandler[armauthorization.PermissionGetResult]{
		More: func(p armauthorization.PermissionGetResult) bool { return text(p.NextLink) != "" },
		Fetcher: func(ctx context.Context, last *armauthorization.PermissionGetResult) (armauthorization.PermissionGetResult, error) {
			var page armauthorization.PermissionGetResult
			link := next
			if last != nil {
				link = text(last.NextLink)
			}
			req, err := runtime.NewRequest(ctx, http.MethodGet, link)
			if err != nil {
				return page, err
			}
			resp, err := set.raw.Pipeline().Do(req)
			if err != nil {
				return page, err
			}
			if !runtime.HasStatusCode(resp, http.StatusOK) {
				return page, runtime.NewResponseError(resp)
			}
			err = runtime.UnmarshalAsJSON(resp, &page)
			return page, err
		},
	})
	var out []*armauthorization.Permission
	err := pages(ctx, pager, func(p armauthorization.PermissionGetResult) int {
		out = append(out, p.Value...)
		return len(p.Value)
	})
	return out, err
}

// allowed reports whether one of the roles grants the action: it is among the role's
// Actions and not among the same role's NotActions, which only subtract from that role.
// Source: learn.microsoft.com/azure/role-based-access-control/role-definitions.
func allowed(granted []*armauthorization.Permission, action string) bool {
	for _, p := range granted {
		if p != nil && matchesAny(texts(p.Actions), action) && !matchesAny(texts(p.NotActions), action) {
			return true
		}
	}
	return false
}

func matchesAny(patterns []string, action string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(strings.ToLower(p), strings.ToLower(action)) })
}

// matches compares an action with a pattern, in which each * stands for any
// run of characters, slashes included.
func matches(pattern, action string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == action
	}
	if !strings.HasPrefix(action, head) {
		return false
	}
	action = action[len(head):]
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(action, part)
		}
		i := strings.Index(action, part)
		if i < 0 {
			return false
		}
		action, rest = action[i+len(part):], more
	}
}
