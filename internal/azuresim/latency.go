// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

//go:embed data/latency.json
var latencyData []byte

// distribution is a latency in seconds: a uniform range, a lognormal given by median and 95th percentile and cut at
// max, or a mixture of those.
type distribution struct {
	Weight  float64        `json:"weight"`
	Uniform []float64      `json:"uniform"`
	Median  float64        `json:"median"`
	P95     float64        `json:"p95"`
	Max     float64        `json:"max"`
	Mix     []distribution `json:"mix"`
}

// z95 is the 95th percentile of the standard normal distribution.
const z95 = 1.6448536269514722

// vmCreate and vmAllocate are the parts of a VM creation that guests take their share from.
const (
	vmCreate   = "compute.virtualmachines.create"
	vmAllocate = "compute.virtualmachines.allocate"
)

func loadLatency() (map[string]distribution, error) {
	out := map[string]distribution{}
	if err := json.Unmarshal(latencyData, &out); err != nil {
		return nil, fmt.Errorf("read latency table: %w", err)
	}
	return out, nil
}

func (d distribution) draw(r *rand.Rand) time.Duration {
	var sec float64
	switch {
	case len(d.Mix) > 0:
		u := r.Float64()
		for _, m := range d.Mix {
			if u -= m.Weight; u < 0 {
				return m.draw(r)
			}
		}
		return d.Mix[len(d.Mix)-1].draw(r)
	case len(d.Uniform) == 2:
		sec = d.Uniform[0] + r.Float64()*(d.Uniform[1]-d.Uniform[0])
	case d.Median > 0:
		sec = d.Median * math.Exp(r.NormFloat64()*math.Log(d.P95/d.Median)/z95)
		if d.Max > 0 {
			sec = min(sec, d.Max)
		}
	}
	return time.Duration(sec * float64(time.Second)).Round(time.Millisecond)
}

func hash(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // A hash never refuses bytes.
	return h.Sum64()
}

// stream makes a random stream that depends on the seed and the name only.
func stream(seed uint64, name string) *rand.Rand {
	return rand.New(rand.NewPCG(seed, hash(name))) //nolint:gosec // a simulation wants replays, not secrets
}

// draw takes the next value of a distribution for a name. Each (distribution, name) has a stream of its own, so that
// the order of calls on other resources does not change what this one gets. The lock is held.
func (s *Simulator) draw(dist, name string) time.Duration {
	key := dist + "|" + name
	short := hash(key) // The names themselves would fill the memory of a large fleet.
	n := s.draws[short]
	s.draws[short] = n + 1
	return s.latency[dist].draw(stream(s.cfg.Seed, key+"#"+strconv.Itoa(n)))
}

// ProvisioningTime is how long a machine's guest takes from Start to its provisioning report, such that allocation and
// guest together follow the measured distribution of Azure VM creation. It is the same at each call.
func ProvisioningTime(env Env, m Machine) time.Duration {
	table, err := loadLatency()
	if err != nil {
		return 0
	}
	name := "|" + keyOf(m.ID) + "#0"
	total := table[vmCreate].draw(env.Rand(vmCreate + name))
	return max(total-table[vmAllocate].draw(env.Rand(vmAllocate+name)), time.Second)
}

// guid makes a UUID that depends on the seed and the number of those made before. The lock is held.
func (s *Simulator) guid() string {
	s.guids++
	r := stream(s.cfg.Seed, "guid#"+strconv.FormatUint(s.guids, 10))
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}
