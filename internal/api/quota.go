// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"

	"github.com/lazuli-dev/lazuli/internal/palette"
)

// Azure's names of the quotas that a cluster counts against, beside those of
// the families of its sizes (Compute and Network, usages of a location).
const (
	quotaCores     = "cores"
	quotaMachines  = "virtualMachines"
	quotaAddresses = "StandardSkuPublicIpAddresses"

	clusterAddresses = 2 // of the API server and of the NAT gateway
)

// checkQuotas refuses a cluster that the subscription has no room for: Azure
// would refuse its last machines, minutes after the first were made. A quota
// that is not known refuses nothing.
func checkQuotas(f *findings, s *palette.AzureClusterSpec, p *Placement, addresses int) {
	need := map[string]int{quotaAddresses: addresses}
	first := map[string]int{} // pool that first counts against a quota
	for i := range s.MachinePoolConfig {
		pool := &s.MachinePoolConfig[i]
		if pool.CloudConfig == nil || pool.PoolConfig == nil || pool.PoolConfig.Size == nil {
			continue
		}
		size, ok := p.Sizes[pool.CloudConfig.InstanceType]
		if !ok {
			continue // a finding already
		}
		count := int(*pool.PoolConfig.Size)
		for name, n := range map[string]int{quotaCores: count * size.VCPUs, size.Family: count * size.VCPUs, quotaMachines: count} {
			if _, seen := first[name]; !seen {
				first[name] = i
			}
			need[name] += n
		}
	}
	for _, name := range sortedKeys(need) {
		q, known := p.Quotas[name]
		if !known || need[name] == 0 || q.Used+need[name] <= q.Limit {
			continue
		}
		at := "spec.cloudConfig.subscriptionId"
		if i, ok := first[name]; ok {
			at = fmt.Sprintf("spec.machinepoolconfig[%d].cloudConfig.instanceType", i)
		}
		f.fault(at, "the cluster needs %d of the quota %q in %s, of which %d of %d are used: "+
			"choose smaller or fewer machines, another size or region, or ask Azure for more", need[name], name,
			s.CloudConfig.Location, q.Used, q.Limit)
	}
}
