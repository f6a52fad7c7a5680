// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/cluster"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/test/bench"
	"github.com/lazuli-dev/lazuli/test/lab"
)

// benchIdle counts what a fleet asks of Azure while nothing happens.
func benchIdle(t *testing.T, table *bench.Table, n sizes) {
	const watched = time.Hour
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, 1)
		for _, name := range []string{"cores", "virtualMachines", "standardDSv3Family", "PublicIPAddresses", "StandardSkuPublicIpAddresses", "VirtualNetworks",
			"NetworkSecurityGroups", "LoadBalancers", "NetworkInterfaces", "NatGateways", "StandardSkuLoadBalancers"} {
			l.Sim.SetQuota(azuresim.Quota{SubscriptionID: lab.Subscription, Location: lab.Location, Name: name, Limit: 100_000})
		}
		l.Start()
		defer l.Stop()
		uids := make([]string, n.fleet)
		for i := range uids {
			uids[i] = l.CreateWish(lab.Wish{Name: fmt.Sprint("fleet-", i), ControlPlanes: 3, Workers: []int{3}, Preinstalled: true})
		}
		for _, uid := range uids {
			l.Until(uid, lazuli.StateRunning, 2*time.Hour)
		}
		time.Sleep(10 * time.Minute) // what follows a create is over
		l.Sim.Reset()
		time.Sleep(watched)
		all, _, _ := l.Calls()
		table.Figure(fmt.Sprintf("calls to Azure per idle cluster of 3+3 and hour, fleet of %d", n.fleet), float64(all)/float64(n.fleet), "calls/h", 1)
	})
}

// benchKilled kills one of two engines in the middle of its work.
func benchKilled(t *testing.T, table *bench.Table, n sizes) {
	var waits []time.Duration
	duplicates, left := 0, 0
	for i := range n.kills {
		synctest.Test(t, func(t *testing.T) {
			wait, twice, remains := kill(t, uint64(i)+1, time.Duration(i+1)*160*time.Second/time.Duration(n.kills))
			waits = append(waits, wait)
			duplicates += twice
			left += remains
		})
	}
	of := fmt.Sprintf(", %d kills during a create", n.kills)
	table.Figure("killed engine's work picked up by another, longest"+of, seconds(percentile(waits, 100)), "s", 15)
	table.Figure("  median", seconds(median(waits)), "s", bench.None)
	table.Figure("  machines or addresses made twice", float64(duplicates), "resources", 0)
	table.Figure("  resources left after delete", float64(left), "resources", 0)
}

var errKilled = errors.New("this engine was killed")

// process is what one of several engines has of its own: when it is killed,
// nothing that it does has an effect any more.
type process struct {
	dead  atomic.Bool
	took  atomic.Int64 // when it last claimed something, Unix nanoseconds
	first atomic.Int64 // when it did so first since it was set to zero
}

func (p *process) alive() error {
	if p.dead.Load() {
		return errKilled
	}
	return nil
}

type mortalStore struct {
	store.Store
	*process
}

// Claim implements store.Store.
func (m mortalStore) Claim(ctx context.Context, owner string, kinds []lazuli.Kind, limit int, lease time.Duration) ([]store.Lease, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	got, err := m.Store.Claim(ctx, owner, kinds, limit, lease)
	if len(got) > 0 {
		now := time.Now().UnixNano()
		m.took.Store(now)
		m.first.CompareAndSwap(0, now)
	}
	return got, err //nolint:wrapcheck // a wrapper
}

// Fenced implements store.Store.
func (m mortalStore) Fenced(ctx context.Context, l store.Lease, fn func(store.Tx) error) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.Store.Fenced(ctx, l, fn) //nolint:wrapcheck // a wrapper
}

// Finish implements store.Store.
func (m mortalStore) Finish(ctx context.Context, done []store.Finish) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.Store.Finish(ctx, done) //nolint:wrapcheck // a wrapper
}

// Renew implements store.Store.
func (m mortalStore) Renew(ctx context.Context, l store.Lease, d time.Duration) (store.Lease, error) {
	if err := m.alive(); err != nil {
		return l, err
	}
	return m.Store.Renew(ctx, l, d) //nolint:wrapcheck // a wrapper
}

// Release does nothing: the driver for one process would end the leases of the
// other engine too.
func (mortalStore) Release(context.Context, string) error { return nil }

type mortalAzure struct {
	cluster.Azure
	*process
}

// Put implements cluster.Azure.
func (m mortalAzure) Put(ctx context.Context, t resource.Target, s resource.Spec) (resource.Result, error) {
	if err := m.alive(); err != nil {
		return resource.Result{}, err
	}
	return m.Azure.Put(ctx, t, s) //nolint:wrapcheck // a wrapper
}

// Delete implements cluster.Azure.
func (m mortalAzure) Delete(ctx context.Context, t resource.Target, id string, force bool) (resource.Result, error) {
	if err := m.alive(); err != nil {
		return resource.Result{}, err
	}
	return m.Azure.Delete(ctx, t, id, force) //nolint:wrapcheck // a wrapper
}

// kill runs two engines on one store and kills the one that works on a
// cluster's create. wait is how long the work lay idle, twice how many
// resources were made that nobody asked for.
func kill(t *testing.T, seed uint64, after time.Duration) (wait time.Duration, twice, left int) {
	t.Helper()
	l := lab.New(t, seed)
	two := []*process{{}, {}}
	for i, p := range two {
		l.Engine(fmt.Sprint("engine-", i), mortalStore{l.Store, p}, mortalAzure{l.Azure, p})
	}
	l.Run()
	defer l.Stop()
	uid := l.CreateWish(lab.Wish{Name: "ha", ControlPlanes: 3, Workers: []int{3}, Preinstalled: true})
	time.Sleep(after)
	victim, heir := two[0], two[1]
	if heir.took.Load() > victim.took.Load() {
		victim, heir = heir, victim
	}
	victim.dead.Store(true)
	killed := time.Now()
	heir.first.Store(0)
	l.Until(uid, lazuli.StateRunning, patience)
	if at := heir.first.Load(); at > 0 {
		wait = time.Unix(0, at).Sub(killed)
	}
	asked := map[string]int{}
	for _, a := range l.Sim.Acts() {
		if a.Method == http.MethodPut && a.Status == http.StatusCreated && !a.Failed {
			asked[strings.ToLower(a.ID)]++
		}
	}
	const resources = 7 + 2*6
	twice = len(asked) - resources
	for _, times := range asked {
		twice += times - 1
	}
	l.Delete(uid)
	l.Until(uid, lazuli.StateDeleted, patience)
	return wait, twice, len(l.Left())
}
