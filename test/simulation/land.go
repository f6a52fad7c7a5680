// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"encoding/json"
	"time"
)

const (
	landStream = 8 // of the seed's random numbers

	withZones    = "westeurope"
	withoutZones = "northcentralus"
)

// zonesOf are the zones of a location.
func zonesOf(location string) []string {
	if location == withoutZones {
		return nil
	}
	return []string{"1", "2", "3"}
}

// drawLand decides where the cluster lies and what is short there: a region
// without zones, pools that may use some zones only, and quota and room that
// come later than the weather clears. What is short for a while must be waited
// for, wherever the machines may lie.
func (r *run) drawLand() {
	r.plan.location, r.plan.zones, r.plan.plenty = withZones, map[string][]string{}, r.weather.Clears
	if r.opts.Calm {
		return
	}
	const one = 6 // in so many seeds each
	random := stream(r.opts.Seed, landStream)
	short := random.IntN(2) == 0
	switch random.IntN(one) {
	case 0:
		r.plan.location = withoutZones
		r.weather.NoRoom = nil
		if short {
			r.weather.NoRoom = []string{""}
		}
	case 1:
		zone := zonesOf(withZones)[random.IntN(3)]
		r.plan.zones[[]string{poolControl, poolWorkers}[random.IntN(2)]] = []string{zone}
		r.weather.NoRoom = nil
		if short {
			r.weather.NoRoom = []string{zone}
		}
	case 2:
		r.plan.zones[poolWorkers] = zonesOf(withZones)[1:]
	}
	if random.IntN(2) == 0 && r.plan.location == withoutZones {
		r.plan.controlPlanes = 3
	}
	if random.IntN(2*one) == 0 { // longer than a bootstrap token lives
		const least, more = 70, 31
		r.weather.Quota = true
		r.plan.plenty = max(r.plan.plenty, time.Duration(least+random.IntN(more))*time.Minute)
		if random.IntN(2) == 0 {
			r.plan.controlPlanes = 3
		}
	}
	const chance = 3
	if random.IntN(chance) == 0 {
		const worst = 0.3
		r.weather.Chance[FaultUndone] = random.Float64() * worst
	}
}

// azs are the zones of a pool as a request has them.
func (r *run) azs(pool string) string {
	if r.plan.zones[pool] == nil {
		return "[]"
	}
	b, err := json.Marshal(r.plan.zones[pool])
	if err != nil { // strings only: cannot happen
		return "[]"
	}
	return string(b)
}
