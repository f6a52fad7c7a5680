// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armsubscriptions"

	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// Subscription is a subscription that the principal may see.
type Subscription struct {
	ID    string
	Name  string
	State string // Enabled, Disabled, Warned, PastDue, Deleted
}

// Group is a resource group.
type Group struct {
	Name     string
	Location string
}

// Location is a region that the subscription may use.
type Location struct {
	Name        string // westeurope
	DisplayName string
	Zones       []string // logical zones of the subscription, sorted; none where the region has none
}

// Usage is how much of a quota is used.
type Usage struct {
	Current int64
	Limit   int64
}

// Subscriptions returns what the principal may see, sorted by name.
// t.SubscriptionID is not looked at.
func (c *Client) Subscriptions(ctx context.Context, t resource.Target) ([]Subscription, error) {
	const act = "list the subscriptions"
	set, err := c.clientsOf(t)
	if err != nil {
		return nil, explain(act, t.ClientSecret, err)
	}
	var out []Subscription
	err = pages(with(ctx, t, ClassRead), set.subscriptions.NewListPager(nil), func(p armsubscriptions.ClientListResponse) int {
		for _, s := range p.Value {
			if s != nil {
				out = append(out, Subscription{ID: text(s.SubscriptionID), Name: text(s.DisplayName), State: text(s.State)})
			}
		}
		return len(p.Value)
	})
	if err != nil {
		return nil, explain(act, t.ClientSecret, err)
	}
	slices.SortFunc(out, func(a, b Subscription) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// ResourceGroup looks a resource group up; found is false when Azure says that
// there is none.
func (c *Client) ResourceGroup(ctx context.Context, t resource.Target, name string) (group Group, found bool, err error) {
	act := fmt.Sprintf("read the resource group %q", name)
	set, err := c.clientsOf(t)
	if err != nil {
		return Group{}, false, explain(act, t.ClientSecret, err)
	}
	resp, err := set.groups.Get(with(ctx, t, ClassRead), name, nil)
	if absent(err) {
		return Group{}, false, nil
	}
	if err != nil {
		return Group{}, false, explain(act, t.ClientSecret, err)
	}
	return Group{Name: text(resp.Name), Location: text(resp.Location)}, true, nil
}

// Locations returns the regions that the subscription may use, sorted by display name. Groups of regions
// (Europe, Global) are left out.
func (c *Client) Locations(ctx context.Context, t resource.Target) ([]Location, error) {
	const act = "list the regions"
	set, err := c.clientsOf(t)
	if err != nil {
		return nil, explain(act, t.ClientSecret, err)
	}
	var out []Location
	pager := set.subscriptions.NewListLocationsPager(t.SubscriptionID, nil)
	err = pages(with(ctx, t, ClassRead), pager, func(p armsubscriptions.ClientListLocationsResponse) int {
		for _, l := range p.Value {
			if l == nil || l.Metadata != nil && text(l.Metadata.RegionType) == string(armsubscriptions.RegionTypeLogical) {
				continue
			}
			loc := Location{Name: text(l.Name), DisplayName: text(l.DisplayName)}
			for _, z := range l.AvailabilityZoneMappings {
				if z != nil && z.LogicalZone != nil {
					loc.Zones = append(loc.Zones, *z.LogicalZone)
				}
			}
			slices.Sort(loc.Zones)
			out = append(out, loc)
		}
		return len(p.Value)
	})
	if err != nil {
		return nil, explain(act, t.ClientSecret, err)
	}
	slices.SortFunc(out, func(a, b Location) int {
		return cmp.Or(cmp.Compare(a.DisplayName, b.DisplayName), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// Usages returns the quotas of Compute and Network in t.Location by Azure's
// name of the quota in its own case: cores, virtualMachines, standardDSv3Family (a size's
// Family), StandardSkuPublicIpAddresses, ...
func (c *Client) Usages(ctx context.Context, t resource.Target) (map[string]Usage, error) {
	act := fmt.Sprintf("read the quotas in %q", t.Location)
	set, err := c.clientsOf(t)
	if err != nil {
		return nil, explain(act, t.ClientSecret, err)
	}
	out := map[string]Usage{}
	read := with(ctx, t, ClassRead)
	err = pages(read, set.computeUsages.NewListPager(t.Location, nil), func(p armcompute.UsageClientListResponse) int {
		for _, u := range p.Value {
			if u != nil && u.Name != nil {
				out[text(u.Name.Value)] = Usage{Current: number(u.CurrentValue), Limit: number(u.Limit)}
			}
		}
		return len(p.Value)
	})
	if err != nil {
		return nil, explain(act, t.ClientSecret, err)
	}
	err = pages(read, set.networkUsages.NewListPager(t.Location, nil), func(p armnetwork.UsagesClientListResponse) int {
		for _, u := range p.Value {
			if u != nil && u.Name != nil {
				out[text(u.Name.Value)] = Usage{Current: number(u.CurrentValue), Limit: number(u.Limit)}
			}
		}
		return len(p.Value)
	})
	if err != nil {
		return nil, explain(act, t.ClientSecret, err)
	}
	return out, nil
}

func number[N ~int32 | ~int64](p *N) int64 {
	if p == nil {
		return 0
	}
	return int64(*p)
}

// sameLocation compares names of regions: "West Europe" is "westeurope".
func sameLocation(a, b string) bool {
	return strings.EqualFold(strings.ReplaceAll(a, " ", ""), strings.ReplaceAll(b, " ", ""))
}
