// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"slices"

	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// clusterAzure is the Azure client as the reconciler wants it: sizes as plain
// facts about resources.
type clusterAzure struct{ *azure.Client }

// Sizes implements cluster.Azure.
func (c clusterAzure) Sizes(ctx context.Context, t resource.Target) ([]resource.Size, error) {
	sizes, err := c.Client.Sizes(ctx, t)
	if err != nil {
		return nil, err
	}
	out := make([]resource.Size, 0, len(sizes.Sizes))
	for _, z := range sizes.Sizes {
		size := resource.Size{
			Name: z.Name, Family: z.Family, VCPUs: z.VCPUs, MemoryGB: z.MemoryGB, Zones: z.Zones,
			Generations: z.Generations, Arch: z.Arch, PremiumIO: z.PremiumIO,
			AcceleratedNetworking: z.AcceleratedNetworking, MaxDataDisks: z.MaxDataDisks,
			NVMeOnly: len(z.DiskControllers) > 0 && !slices.Contains(z.DiskControllers, "SCSI"),
		}
		if z.Restricted {
			size.Restricted = z.Restriction
		}
		out = append(out, size)
	}
	return out, nil
}
