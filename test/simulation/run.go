// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
	"github.com/lazuli-dev/lazuli/internal/cluster"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
)

const (
	tenant       = "11111111-1111-4111-8111-111111111111"
	subscription = "22222222-2222-4222-8222-222222222222"
	principal    = "33333333-3333-4333-8333-333333333333"
	object       = "44444444-4444-4444-8444-444444444444"
	secret       = "fixture-secret"
	group        = "rg-sim"
	project      = "000000000000000000000001"
	owner        = "hub"
	sshKey       = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0sH5wY9zVnHXvQmJ9rUqkzMlOeVwVf2mXx0nWlq7aB sim"

	coresQuota = "cores"
	sizeFamily = "standardDSv3Family"

	lease        = 10 * time.Minute
	renewBelow   = 8 * time.Minute // of what is left of it: no act takes longer
	afterWeather = 3 * time.Hour   // after it cleared, all must have come to an end
	restTime     = 3 * time.Minute
	mostSteps    = 9_000
)

// Options say what a run is about.
type Options struct {
	Seed   uint64
	Packs  *pack.Registry
	KillAt int  // the point at which the process dies; 0 is none
	Calm   bool // no weather: for finding and trying the points
	// Of calm runs; 0 is drawn.
	ControlPlanes, Workers int
	// DeleteAfter is when the user deletes a calm cluster; 0 is once it runs.
	DeleteAfter time.Duration
	OnlyCreate  bool // a calm run ends when the cluster runs
	Pools       bool // the user changes the pools meanwhile
	// Scale changes the pools of a calm run when it runs, in this order, and ends it when that is done.
	Scale []Change
}

// Report is what came of a run.
type Report struct {
	Seed       uint64
	Hash       string
	Trace      *Trace
	Faults     []string // violations; none is a good run
	Met        map[Fault]int
	Points     int // where the process could have died
	Killed     int
	Virtual    time.Duration
	Plan       string
	DeleteFrom int // points up to this belong to the create
}

// Total counts the faults that the run met.
func (r *Report) Total() int {
	n := 0
	for _, m := range r.Met {
		n += m
	}
	return n
}

// plan is what happens beside the weather.
type plan struct {
	controlPlanes, workers int
	deleteAfter            time.Duration // since the start; 0 is once it runs
	inCommit               bool          // the user deletes between what a step read and what it writes
	zombie                 bool
	probe                  time.Duration       // how often the product looks at the deployed cluster
	oneReplica             bool                // answers lists: they lag, and never go back in time
	pools                  []Change            // changes of the pools that are still to come
	poolsInCommit          bool                // the user changes them between what a step read and what it writes
	sizes                  map[string]int      // of the pools, as the user wants them by now
	zones                  map[string][]string // of the pools, as the user allows them
	location               string
	plenty                 time.Duration // since the start: quota and capacity are short until then
}

// run is one seed under way.
type run struct {
	opts    Options
	random  *rand.Rand // of the driver
	weather *Weather
	plan    plan
	trace   *Trace
	oracle  *oracle

	sim      *azuresim.Simulator
	machines *model.Machines
	boots    *boots
	store    *sqlite.Store
	names    io.Reader // of the product
	seen     look

	proc     *process
	hub      *cluster.Reconciler
	client   *azure.Client
	records  *records
	setup    bool
	points   int
	kills    int
	steps    int
	deleted  bool
	uid      string
	tag      string
	foreign  string
	history  []snapshot
	listedTo time.Time
	held     map[string]time.Time
	poor     bool          // quota and capacity are short until the weather clears
	skew     time.Duration // of the hub's wall clock
	late     bool          // the intent that is carried out was named before the user's deletion was known
	learnt   bool          // a commit has told the process of the deletion
	extra    []string
	fickle   bool // the user changes the pools again in the next commit
	ghost    *ghost

	conflicts  int
	deleteFrom int // points before it are those of the create
}

// Run plays one seed. It must be called in a bubble of testing/synctest.
func Run(ctx context.Context, opts Options) (rep *Report, err error) {
	started := time.Now()
	r := &run{
		opts: opts, random: stream(opts.Seed, 1), trace: newTrace(started), held: map[string]time.Time{}, tag: lazuli.ClusterTag,
	}
	r.weather = calm(started)
	if !opts.Calm {
		r.weather = newWeather(stream(opts.Seed, 2), started)
	}
	r.oracle = newOracle(r)
	r.draw()
	r.drawLand()
	r.drawPools()
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.build(ctx); err != nil {
		return nil, err
	}
	if err := r.alive(ctx); err != nil {
		return nil, err
	}
	return &Report{
		Seed: opts.Seed, Hash: r.trace.Hash(), Trace: r.trace, Faults: r.oracle.faults, Met: r.weather.Met, Points: r.points,
		Killed: r.kills, Virtual: time.Since(started), DeleteFrom: r.deleteFrom,
		Plan: fmt.Sprintf("%d+%d in %s %v, weather until %s, short until %s, delete after %s",
			r.plan.controlPlanes, r.plan.workers, r.plan.location, r.plan.zones, r.weather.Clears, r.plan.plenty, r.plan.deleteAfter),
	}, nil
}

func stream(seed, purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, purpose)) } //nolint:gosec // replays, not secrets

// draw decides the plan.
func (r *run) draw() {
	r.plan = plan{controlPlanes: 1, workers: 1 + r.random.IntN(2)}
	if r.random.IntN(4) == 0 {
		r.plan.controlPlanes = 3
	}
	if r.random.IntN(2) == 0 {
		const longest = 15 * time.Minute
		r.plan.deleteAfter = time.Duration(r.random.Int64N(int64(longest)))
		if r.random.IntN(2) == 0 {
			r.plan.deleteAfter /= 10 // while lists may still be of before the create
		}
		r.plan.inCommit = r.random.IntN(3) == 0
	}
	if r.opts.Calm {
		r.plan.deleteAfter, r.plan.inCommit = r.opts.DeleteAfter, false
	}
	if r.opts.ControlPlanes > 0 {
		r.plan.controlPlanes, r.plan.workers = r.opts.ControlPlanes, r.opts.Workers
	}
	r.plan.probe = []time.Duration{2 * time.Second, 5 * time.Second, 10 * time.Second, 10 * time.Second}[r.random.IntN(4)]
	r.plan.oneReplica = r.random.IntN(4) == 0
	r.plan.zombie = !r.opts.Calm && r.random.IntN(3) == 0
}

// build makes Azure, the database and the first process.
func (r *run) build(ctx context.Context) error {
	var err error
	r.machines = model.New(model.Options{})
	r.boots = &boots{Machines: r.machines, run: r, idle: map[string]bool{}}
	r.sim, err = azuresim.New(azuresim.Config{
		Seed: r.opts.Seed, Machines: r.boots, AccountingTag: lazuli.ClusterTag, Retry: azuresim.RetryFaithful,
	})
	if err != nil {
		return fmt.Errorf("make simulator: %w", err)
	}
	if err := r.sim.Seed(azuresim.World{
		Tenants:         []azuresim.Tenant{{ID: tenant, DisplayName: "sim"}},
		Subscriptions:   []azuresim.Subscription{{ID: subscription, TenantID: tenant, DisplayName: "sim"}},
		Principals:      []azuresim.Principal{{TenantID: tenant, ClientID: principal, ObjectID: object, Name: "hub", Secret: secret}},
		RoleAssignments: []azuresim.RoleAssignment{{PrincipalID: object, Role: "Contributor", Scope: "/subscriptions/" + subscription}},
		ResourceGroups:  []azuresim.ResourceGroup{{SubscriptionID: subscription, Name: group, Location: r.plan.location}},
	}); err != nil {
		return fmt.Errorf("seed simulator: %w", err)
	}
	var key [32]byte
	for i := range key {
		key[i] = byte(r.opts.Seed >> (8 * (i % 8)))
	}
	r.names = rand.NewChaCha8(key)
	r.store, err = sqlite.Open(ctx, sqlite.Options{Path: sqlite.Memory, Random: rand.NewChaCha8([32]byte{2}), Now: r.wall})
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	r.setup = true
	if err := r.birth(ctx); err != nil {
		return err
	}
	if err := r.neighbour(ctx); err != nil {
		return err
	}
	if err := r.order(ctx); err != nil {
		return err
	}
	r.setup = false
	r.shortage()
	return nil
}

// shortage takes away what the seed says.
func (r *run) shortage() {
	if r.weather.Quota {
		r.weather.met(FaultQuota)
		r.poor = true
		const few = 6
		r.sim.SetQuota(azuresim.Quota{SubscriptionID: subscription, Location: r.plan.location, Name: coresQuota, Limit: r.random.IntN(few)})
	}
	for _, z := range r.weather.NoRoom {
		r.weather.met(FaultCapacity)
		r.poor = true
		r.sim.SetCapacity(azuresim.Capacity{Location: r.plan.location, Zone: z, Family: sizeFamily})
	}
}

// plenty gives it back.
func (r *run) plenty() {
	const enough = 1000
	r.poor = false
	r.sim.SetQuota(azuresim.Quota{SubscriptionID: subscription, Location: r.plan.location, Name: coresQuota, Limit: enough})
	for _, z := range r.weather.NoRoom {
		r.sim.SetCapacity(azuresim.Capacity{Location: r.plan.location, Zone: z, Family: sizeFamily, VCPUs: enough})
	}
}

func (r *run) close() error {
	if r.client != nil {
		r.client.Close()
	}
	if r.sim != nil {
		r.sim.Close()
	}
	if r.store != nil {
		return r.store.Close()
	}
	return nil
}

// birth starts a process that knows only what is on record.
func (r *run) birth(ctx context.Context) error {
	if r.client != nil {
		r.client.Close()
	}
	r.proc = &process{run: r}
	log := slog.New(slog.DiscardHandler)
	r.client = azure.New(azure.Config{
		Logger: log, Transport: &wire{p: r.proc, next: r.sim.Transport(), closed: map[string]time.Time{}},
	})
	r.records = &records{Store: r.store, p: r.proc}
	var err error
	r.hub, err = cluster.New(cluster.Config{
		Store: r.records, Azure: r.client, Workload: &guests{p: r.proc, machines: r.machines, parsed: map[string][]manifest{}},
		Seal: plainSeal{}, Packs: r.opts.Packs, Logger: log, Random: r.names, Now: r.wall, ProbeInterval: r.plan.probe,
		Cloud: func(string) (resource.Cloud, error) {
			return resource.Cloud{
				Name: "AzurePublicCloud", ARMURL: "https://management.sim", AuthorityURL: "https://login.sim", ResolveByAddress: true,
			}, nil
		},
	})
	if err != nil {
		return fmt.Errorf("make hub: %w", err)
	}
	if err := r.store.Release(ctx, owner); err != nil {
		return fmt.Errorf("start hub: %w", err)
	}
	return nil
}

// neighbour puts something into the group that is not ours.
func (r *run) neighbour(ctx context.Context) error {
	r.foreign = resource.ID(subscription, group, resource.TypeSecurityGroup, "somebody-elses")
	return r.make(ctx, resource.SecurityGroup{Common: resource.Common{ID: r.foreign, Location: r.plan.location}})
}

// make writes a resource past the product, in fair weather.
func (r *run) make(ctx context.Context, spec resource.Spec) error {
	cloud := resource.Cloud{Name: "AzurePublicCloud", ARMURL: "https://management.sim", AuthorityURL: "https://login.sim"}
	client := azure.New(azure.Config{Transport: r.sim.Transport()})
	defer client.Close()
	_, err := client.Put(ctx, resource.Target{
		Cloud: cloud, TenantID: tenant, ClientID: principal, ClientSecret: lazuli.NewSecret(secret), SubscriptionID: subscription, Location: r.plan.location,
	}, spec)
	if err != nil {
		return fmt.Errorf("make a resource of somebody else: %w", err)
	}
	return nil
}

// order stores a cluster as the API would.
func (r *run) order(ctx context.Context) error {
	uids := make([]string, 4)
	for i := range uids {
		var err error
		if uids[i], err = lazuli.NewUID(time.Now(), r.names); err != nil {
			return fmt.Errorf("draw uid: %w", err)
		}
	}
	r.uid = uids[0]
	account := &lazuli.Account{
		Meta: lazuli.Meta{UID: uids[1], Name: "sim", Project: project}, Environment: "AzurePublicCloud",
		TenantID: tenant, ClientID: principal, ClientSecret: lazuli.Sealed(secret),
	}
	var layers []lazuli.Layer
	for _, name := range []string{"ubuntu-azure", "kubernetes", "cni-calico-azure", "csi-azure"} {
		p, err := r.opts.Packs.Resolve(name, "", "")
		if err != nil {
			return fmt.Errorf("find pack: %w", err)
		}
		layers = append(layers, lazuli.Layer{Name: name, Tag: p.Version, PackUID: p.UID, Type: "spectro", Layer: string(p.Layer), Version: p.Version})
	}
	c := &lazuli.Cluster{
		Meta:       lazuli.Meta{UID: r.uid, Name: "sim", Project: project, Labels: map[string]string{"env": "sim"}},
		AccountUID: account.UID, CloudConfigUID: uids[2],
		Profiles: []lazuli.ProfileSnapshot{{UID: uids[3], Name: "base", Type: "infra", CloudType: "azure", ProfileVersion: "1.0.0", Layers: layers}},
		Status:   lazuli.ClusterStatus{State: lazuli.StatePending},
		Spec: fmt.Appendf(nil, `{"cloudAccountUid":%q,"cloudConfig":{"location":%q,"resourceGroup":%q,"subscriptionId":%q,"sshKey":%q},
			"machinepoolconfig":[
			{"cloudConfig":{"azs":%s,"instanceType":"Standard_D4s_v3","osDisk":{"diskSizeGB":60,"managedDisk":{"storageAccountType":"Standard_LRS"},"osType":"Linux"}},
			 "poolConfig":{"name":"workers","size":%d,"isControlPlane":false,"labels":["worker"]}},
			{"cloudConfig":{"azs":%s,"instanceType":"Standard_D2s_v3","osDisk":{"diskSizeGB":60,"managedDisk":{"storageAccountType":"Premium_LRS"},"osType":"Linux"}},
			 "poolConfig":{"name":"cp","size":%d,"isControlPlane":true,"labels":["control-plane"]}}]}`,
			account.UID, r.plan.location, group, subscription, sshKey, r.azs("workers"), r.plan.workers, r.azs("cp"), r.plan.controlPlanes),
	}
	err := r.store.Update(ctx, func(tx store.Tx) error {
		if err := tx.Create(ctx, account); err != nil {
			return err
		}
		if err := tx.Create(ctx, c); err != nil {
			return err
		}
		return tx.Touch(ctx, store.WorkKey{Kind: lazuli.KindCluster, ID: r.uid}, time.Time{})
	})
	if err != nil {
		return fmt.Errorf("order a cluster: %w", err)
	}
	return nil
}

// look is what the oracle has read since the last write to the store.
type look struct {
	cluster  *lazuli.Cluster
	nodes    []*lazuli.Node
	machines []*lazuli.Machine
}

// written forgets what was read: the store has been written to.
func (r *run) written() { r.seen = look{} }

// wall is the clock on the hub's wall, which is not what time it is.
func (r *run) wall() time.Time { return time.Now().Round(0).Add(r.skew) }

// cluster reads the record of the cluster.
func (r *run) cluster() *lazuli.Cluster {
	if r.seen.cluster == nil {
		r.seen.cluster = &lazuli.Cluster{}
		if err := r.store.Get(context.Background(), r.uid, r.seen.cluster); err != nil { //nolint:contextcheck // the oracle's own look
			r.oracle.blame("read the cluster: %v", err)
		}
	}
	return r.seen.cluster
}

func owned[T any](r *run, kind lazuli.Kind) []*T {
	page, err := r.store.Query(context.Background(), store.Query{ //nolint:contextcheck // the oracle's own look
		Kind: kind, Where: []store.Where{{Field: store.FieldOwner, Op: store.Eq, Value: r.uid}}, Sort: store.FieldName, Bare: true,
	})
	if err != nil {
		r.oracle.blame("list %s: %v", kind, err)
		return nil
	}
	out := make([]*T, 0, len(page.Rows))
	for _, row := range page.Rows {
		o := new(T)
		if err := json.Unmarshal(row.Data, o); err != nil {
			r.oracle.blame("read %s %s: %v", kind, row.Meta.Name, err)
			continue
		}
		out = append(out, o)
	}
	return out
}

func (r *run) nodes() []*lazuli.Node {
	if r.seen.nodes == nil {
		r.seen.nodes = owned[lazuli.Node](r, lazuli.KindNode)
	}
	return r.seen.nodes
}

func (r *run) machineRecords() []*lazuli.Machine {
	if r.seen.machines == nil {
		r.seen.machines = owned[lazuli.Machine](r, lazuli.KindMachine)
	}
	return r.seen.machines
}

// nodeOf is the record of a resource, nil without one.
func (r *run) nodeOf(id string) *lazuli.Node {
	for _, n := range r.nodes() {
		if id != "" && strings.EqualFold(n.AzureID, id) {
			return n
		}
	}
	return nil
}

// holds reports whether Azure has a resource, and in which state.
func (r *run) holds(id string) (state string, there bool) {
	for _, i := range r.sim.Resources() {
		if strings.EqualFold(i.ID, id) {
			return i.ProvisioningState, true
		}
	}
	return "", false
}

// there reports whether Azure has a resource.
func (r *run) there(id string) bool {
	_, there := r.holds(id)
	return there
}

// left lists what Azure holds beside the group and what is not ours.
func (r *run) left() []string {
	var out []string
	for _, i := range r.sim.Resources() {
		if !strings.HasSuffix(strings.ToLower(i.Type), "resourcegroups") && !strings.EqualFold(i.ID, r.foreign) {
			out = append(out, i.ID)
		}
	}
	return out
}

// failed reports whether a machine's resource may be replaced: Azure has no
// good VM of that name, or one that never joins.
func (r *run) failed(id string) bool {
	name := strings.TrimSuffix(strings.ToLower(resource.NameOf(id)), "-nic")
	state, there := r.holds(resource.ID(subscription, group, resource.TypeVirtualMachine, name))
	return !there || state == "Failed" || r.given(name)
}

// patience is how long the product waits for a machine that runs, at least.
const patience = 30 * time.Minute

// given reports whether a machine had its time to join, and cannot.
func (r *run) given(name string) bool {
	id := strings.ToLower(resource.ID(subscription, group, resource.TypeVirtualMachine, name))
	nic := strings.ToLower(resource.ID(subscription, group, resource.TypeNetworkInterface, name+"-nic"))
	// Its interface was the first that was made for it, soon after its token.
	first := r.oracle.made[nic]
	stale := !first.IsZero() && r.oracle.made[id].Sub(first) >= tokenLife
	return (r.boots.idle[id] || stale && !strings.Contains(name, "-cp-")) && time.Since(r.oracle.made[id]) >= patience
}

// tokenLife is how long a machine can join with the token that was made when it
// was planned, less the time that a boot takes.
const tokenLife = 50 * time.Minute

// settled reports whether nothing is under way any more in a running cluster.
func (r *run) settled() bool { return r.resting() }

// boots starts the simulated machines, but for those that never come up and
// those that come up and do not get on.
type boots struct {
	*model.Machines

	run  *run
	idle map[string]bool // lower-case ids of machines that only reported
}

// Start implements azuresim.Machines.
func (b *boots) Start(env azuresim.Env, m azuresim.Machine) {
	sky := b.run.weather
	switch {
	case sky.hits(FaultBoot):
		sky.met(FaultBoot)
	case sky.hits(FaultJoin):
		sky.met(FaultJoin)
		b.idle[strings.ToLower(m.ID)] = true
		env.After(azuresim.ProvisioningTime(env, m), func() { env.Provisioned(m.ID, nil) })
		if !strings.Contains(m.Name, "-cp-") {
			return // and never joins
		}
		env.After(time.Until(sky.started.Add(sky.Clears)), func() {
			if b.idle[strings.ToLower(m.ID)] {
				b.Machines.Start(env, m)
			}
		})
	default:
		b.Machines.Start(env, m)
	}
}

// Stop implements azuresim.Machines.
func (b *boots) Stop(id string) {
	delete(b.idle, strings.ToLower(id))
	b.Machines.Stop(id)
}
