// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Change is a change of the pools that the user makes: how many machines each
// shall have. A pool of none is removed.
type Change struct {
	After          time.Duration // since the start
	Workers, Extra int
}

const (
	poolStream  = 7 // of the seed's random numbers
	poolChanges = 4

	poolControl = "cp"
	poolWorkers = "workers"
	poolExtra   = "extra"
)

// drawPools decides what the user does to the pools: from the middle of the
// create on, at any moment, more and fewer machines, a pool that comes and goes.
func (r *run) drawPools() {
	r.plan.sizes = map[string]int{poolControl: r.plan.controlPlanes, poolWorkers: r.plan.workers}
	r.plan.pools = slices.Clone(r.opts.Scale)
	if !r.opts.Pools {
		return
	}
	random := stream(r.opts.Seed, poolStream)
	r.plan.poolsInCommit = random.IntN(2) == 0
	at := time.Duration(0)
	for range 1 + random.IntN(poolChanges) {
		const most = 12 * time.Minute
		at += time.Duration(random.Int64N(int64(most)))
		r.plan.pools = append(r.plan.pools, Change{After: at, Workers: 1 + random.IntN(3), Extra: random.IntN(3)})
	}
}

// nextPools is when the user changes the pools next.
func (r *run) nextPools() (time.Time, bool) {
	if len(r.plan.pools) == 0 || r.deleted {
		return time.Time{}, false
	}
	return r.weather.started.Add(r.plan.pools[0].After), true
}

// repool carries the user's next change of pools out, when it is time.
func (r *run) repool(ctx context.Context) error {
	at, ok := r.nextPools()
	if !ok || time.Now().Before(at) {
		return nil
	}
	r.fickle = r.plan.poolsInCommit
	return r.change(ctx)
}

// repoolInCommit is a second thought: the user's next change comes between what
// the first step after a change read and what it writes.
func (r *run) repoolInCommit(ctx context.Context) error {
	if !r.fickle || len(r.plan.pools) == 0 || r.deleted {
		return nil
	}
	r.fickle = false
	return r.change(ctx)
}

func (r *run) change(ctx context.Context) error {
	defer r.written()
	if len(r.opts.Scale) > 0 {
		r.deleteFrom = r.points // these are of interest from the last change on
	}
	next := r.plan.pools[0]
	r.plan.pools = r.plan.pools[1:]
	r.plan.sizes = map[string]int{poolControl: r.plan.controlPlanes, poolWorkers: next.Workers}
	if next.Extra > 0 {
		r.plan.sizes[poolExtra] = next.Extra
	}
	r.trace.note("the user wants %d workers and %d more", next.Workers, next.Extra)
	r.weather.met(FaultTouch)
	err := r.store.Update(ctx, func(tx store.Tx) error {
		var c lazuli.Cluster
		if err := tx.Get(ctx, r.uid, &c); err != nil {
			return err
		}
		var err error
		if c.Spec, err = resized(c.Spec, next); err != nil {
			return err
		}
		if err := tx.Update(ctx, &c); err != nil {
			return err
		}
		return tx.Touch(ctx, store.WorkKey{Kind: lazuli.KindCluster, ID: r.uid}, time.Time{})
	})
	if err != nil {
		return fmt.Errorf("change the pools: %w", err)
	}
	return nil
}

// resized is a spec whose pools of workers are as a change has them.
func resized(raw json.RawMessage, to Change) (json.RawMessage, error) {
	type pool struct {
		CloudConfig json.RawMessage `json:"cloudConfig"`
		PoolConfig  map[string]any  `json:"poolConfig"`
	}
	var spec map[string]json.RawMessage
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("read the spec: %w", err)
	}
	var pools, out []pool
	if err := json.Unmarshal(spec["machinepoolconfig"], &pools); err != nil {
		return nil, fmt.Errorf("read the pools: %w", err)
	}
	for _, p := range pools {
		switch p.PoolConfig["name"] {
		case poolExtra:
		case poolWorkers:
			p.PoolConfig["size"] = to.Workers
			out = append(out, p)
			if to.Extra > 0 {
				out = append(out, pool{CloudConfig: p.CloudConfig, PoolConfig: map[string]any{
					"name": poolExtra, "size": to.Extra, "isControlPlane": false, "labels": []string{"worker"},
				}})
			}
		default:
			out = append(out, p)
		}
	}
	var err error
	if spec["machinepoolconfig"], err = json.Marshal(out); err != nil {
		return nil, fmt.Errorf("write the pools: %w", err)
	}
	return json.Marshal(spec)
}

// dismissed reports whether a resource belongs to a worker that is one too many
// by a wish of the user, and says so on record.
func (r *run) dismissed(id string) bool {
	name := strings.TrimSuffix(strings.ToLower(resource.NameOf(id)), "-nic")
	for _, m := range r.machineRecords() {
		if strings.EqualFold(m.Name, name) {
			return !m.ControlPlane && !m.LeavingAt.IsZero() && !m.RetiredAt.IsZero()
		}
	}
	return false
}

// resting reports whether each pool is as the user wants it, and no machine is
// on its way.
func (r *run) resting() bool {
	live := map[string]int{}
	for _, m := range r.machineRecords() {
		switch {
		case m.Going() && m.State != lazuli.MachineDeleted, !m.Going() && !m.Ready:
			return false
		case !m.Going():
			live[m.Pool]++
		}
	}
	return len(r.plan.pools) == 0 && maps.Equal(live, r.plan.sizes)
}
