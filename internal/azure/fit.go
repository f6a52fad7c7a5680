// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"context"
	"slices"

	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// SizeList is Sizes in the vocabulary of package resource: what placing a
// machine needs to know.
func (c *Client) SizeList(ctx context.Context, t resource.Target) ([]resource.Size, error) {
	sizes, err := c.Sizes(ctx, t)
	if err != nil {
		return nil, err
	}
	out := make([]resource.Size, 0, len(sizes.Sizes))
	for _, s := range sizes.Sizes {
		size := resource.Size{
			Name: s.Name, Family: s.Family, VCPUs: s.VCPUs, MemoryGB: s.MemoryGB, Zones: s.Zones,
			Generations: s.Generations, Arch: s.Arch, PremiumIO: s.PremiumIO,
			AcceleratedNetworking: s.AcceleratedNetworking,
			NVMeOnly:              len(s.DiskControllers) > 0 && !slices.Contains(s.DiskControllers, "SCSI"),
			MaxDataDisks:          s.MaxDataDisks,
		}
		if s.Restricted {
			size.Restricted = "the subscription may not use it: " + s.Restriction
		}
		out = append(out, size)
	}
	return out, nil
}
