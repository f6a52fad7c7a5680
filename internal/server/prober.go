// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"sync"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// prober answers the API's questions with the Azure client. The API bounds
// each question.
type prober struct {
	cloud func(environment string) (resource.Cloud, error)
	azure *azure.Client
}

var _ api.Prober = prober{}

func (p prober) target(c api.AzureCredentials, location string) (resource.Target, error) {
	cloud, err := p.cloud(c.Environment)
	if err != nil {
		return resource.Target{}, err
	}
	return resource.Target{
		Cloud: cloud, TenantID: c.TenantID, ClientID: c.ClientID, ClientSecret: c.ClientSecret,
		SubscriptionID: c.SubscriptionID, Location: location,
	}, nil
}

// CheckAccount implements api.Prober.
func (p prober) CheckAccount(ctx context.Context, c api.AzureCredentials) error {
	t, err := p.target(c, "")
	if err != nil {
		return err
	}
	return p.azure.CheckCredentials(ctx, t)
}

// answers are what Azure says to the questions of Placement.
type answers struct {
	subs    []azure.Subscription
	regions []azure.Location
	sizes   azure.Sizes
	group   azure.Group
	found   bool
	missing []string
	usages  map[string]azure.Usage

	subsErr, regionsErr, sizesErr, groupErr, missingErr, usagesErr error
}

// ask asks all questions at once: the bound is on the whole.
func (p prober) ask(ctx context.Context, t resource.Target, group string) *answers {
	var (
		a  answers
		wg sync.WaitGroup
	)
	wg.Go(func() { a.subs, a.subsErr = p.azure.Subscriptions(ctx, t) })
	wg.Go(func() { a.regions, a.regionsErr = p.azure.Locations(ctx, t) })
	wg.Go(func() { a.sizes, a.sizesErr = p.azure.Sizes(ctx, t) })
	wg.Go(func() { a.group, a.found, a.groupErr = p.azure.ResourceGroup(ctx, t, group) })
	wg.Go(func() { a.missing, a.missingErr = p.azure.Permissions(ctx, t, group) })
	wg.Go(func() { a.usages, a.usagesErr = p.azure.Usages(ctx, t) })
	wg.Wait()
	return &a
}

// Placement implements api.Prober. What a principal may not read about regions
// and sizes is left empty, since a role on the resource group alone is enough
// to make a cluster.
func (p prober) Placement(ctx context.Context, c api.AzureCredentials, location, group string) (api.Placement, error) {
	t, err := p.target(c, location)
	if err != nil {
		return api.Placement{}, err
	}
	a := p.ask(ctx, t, group)
	if a.subsErr != nil {
		return api.Placement{}, a.subsErr
	}
	out := api.Placement{GroupFound: a.found, GroupLocation: a.group.Location}
	for _, s := range a.subs {
		out.SubscriptionFound = out.SubscriptionFound || resource.Same(s.ID, c.SubscriptionID)
	}
	if !out.SubscriptionFound {
		return out, nil // nothing else can be known
	}
	if err := cmp.Or(a.groupErr, unlessForbidden(a.regionsErr), unlessForbidden(a.sizesErr)); err != nil {
		return api.Placement{}, err
	}
	if a.found {
		if a.missingErr != nil {
			return api.Placement{}, a.missingErr
		}
		out.Missing = a.missing
	}
	for _, r := range a.regions {
		out.Locations = append(out.Locations, r.Name)
		if resource.Same(r.Name, location) {
			out.Zones = r.Zones
		}
	}
	out.Sizes, out.DiskTypes = sizesOf(a.sizes)
	if a.usagesErr == nil { // an unknown quota refuses nothing: a create that meets it says so
		out.Quotas = make(map[string]api.Quota, len(a.usages))
		for name, u := range a.usages {
			out.Quotas[name] = api.Quota{Used: int(u.Current), Limit: int(u.Limit)}
		}
	}
	return out, nil
}

func unlessForbidden(err error) error {
	if lazuli.CodeOf(err) == lazuli.CodeAzurePermission {
		return nil
	}
	return err
}

func sizesOf(s azure.Sizes) (sizes map[string]api.SizeInfo, disks []string) {
	sizes = make(map[string]api.SizeInfo, len(s.Sizes))
	for _, z := range s.Sizes {
		sizes[z.Name] = api.SizeInfo{
			Family: z.Family, VCPUs: z.VCPUs, MemoryGB: z.MemoryGB, Zones: z.Zones, Arch: archOf(z.Arch),
			PremiumIO: z.PremiumIO, Restricted: z.Restricted, Reason: z.Restriction,
		}
	}
	for _, d := range s.Disks {
		disks = append(disks, d.Name)
	}
	return sizes, disks
}

// archOf maps Azure's CpuArchitectureType to the name that Kubernetes has.
func archOf(azureName string) string {
	if azureName == "Arm64" {
		return "arm64"
	}
	return "amd64"
}
