// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"time"

	"github.com/lazuli-dev/lazuli"
)

// proberTimeout bounds each question to Azure that a request waits for.
const proberTimeout = 5 * time.Second

// AzureCredentials are what an account signs in with. The secret prints as
// redacted.
type AzureCredentials struct {
	Environment    string
	TenantID       string
	ClientID       string
	ClientSecret   lazuli.Secret
	SubscriptionID string // "" where only the sign-in matters
}

// Prober asks Azure what a request must know at once.
//
// Errors are *lazuli.Error. Those of CodeAzureUnreachable, CodeAzureThrottled
// and of an expired context say that there is no answer now; all others are an
// answer. A Prober honours the context.
type Prober interface {
	// CheckAccount signs in. An answer that is no error means that tenant,
	// client and secret are right.
	CheckAccount(ctx context.Context, c AzureCredentials) error
	// Placement tells what there is at a place.
	Placement(ctx context.Context, c AzureCredentials, location, resourceGroup string) (Placement, error)
}

// Placement is what Azure has for a cluster in a region and a resource group.
// Empty lists and maps mean that Azure did not tell: nothing is refused by them.
type Placement struct {
	SubscriptionFound bool
	GroupFound        bool
	GroupLocation     string
	Locations         []string            // names of all regions of the subscription
	Sizes             map[string]SizeInfo // by Azure's own spelling
	DiskTypes         []string            // managed disk types of the region
	Zones             []string            // availability zones of the region; none is a region without zones
	Missing           []string            // permissions that the principal lacks in the resource group
	Quotas            map[string]Quota    // by Azure's name: cores, a size's family, PublicIPAddresses, ...
}

// Quota is how much of something a subscription may have in a region.
type Quota struct{ Used, Limit int }

// SizeInfo is one VM size in a region.
type SizeInfo struct {
	Family     string // of the quota that it counts against
	VCPUs      int
	MemoryGB   float64
	Zones      []string // that sell the size
	Arch       string   // amd64, arm64
	PremiumIO  bool     // premium disks can be attached
	Restricted bool     // not sold to this subscription
	Reason     string   // of the restriction
}
