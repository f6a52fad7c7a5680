// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/internal/api"
)

// What Azure would refuse for want of quota, minutes into a create, is refused
// at once; a quota that is not known refuses nothing.
func TestQuotas(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		quotas map[string]api.Quota
		field  string // "" is accepted
	}{
		{"nothing is known", nil, ""},
		{"just enough", map[string]api.Quota{"cores": {Used: 2, Limit: 22}, "standardDSv3Family": {Limit: 20}, "virtualMachines": {Limit: 5}}, ""},
		{"the region's cores", map[string]api.Quota{"cores": {Used: 3, Limit: 22}}, cp + "cloudConfig.instanceType"},
		{"the family's cores", map[string]api.Quota{"standardDSv3Family": {Used: 1, Limit: 20}}, cp + "cloudConfig.instanceType"},
		{"the machines", map[string]api.Quota{"virtualMachines": {Limit: 4}}, cp + "cloudConfig.instanceType"},
		{"the public addresses", map[string]api.Quota{"StandardSkuPublicIpAddresses": {Used: 9, Limit: 10}}, cc + "subscriptionId"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for name, size := range w.prober.placement.Sizes {
				size.Family = "standardDSv3Family"
				w.prober.placement.Sizes[name] = size
			}
			w.prober.placement.Quotas = tt.quotas
			body := clusterBody("c", w.account, w.profile) // five machines of four cores
			if tt.field == "" {
				w.want(201, "POST", "/v1/spectroclusters/azure", body)
				return
			}
			e := w.want(400, "POST", "/v1/spectroclusters/azure", body).err(t)
			if !slices.Contains(paths(e), tt.field) || !strings.Contains(e.Message, "quota") {
				t.Errorf("%+v", e)
			}
		})
	}
}
