// SPDX-License-Identifier: Apache-2.0

// Package lab is the engine with simulated Azure in one process and in virtual
// time: what tests and benchmarks of whole clusters stand in.
//
// It opens no socket, and refuses to work outside a bubble of testing/synctest.
package lab

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	randv2 "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
	"github.com/lazuli-dev/lazuli/internal/cluster"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
	"github.com/lazuli-dev/lazuli/internal/seal"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// Where the lab's clusters are.
const (
	Location     = "westeurope"
	Project      = "000000000000000000000001"
	Subscription = "22222222-2222-4222-8222-222222222222"
)

const (
	tenant    = "11111111-1111-4111-8111-111111111111"
	principal = "33333333-3333-4333-8333-333333333333"
	object    = "44444444-4444-4444-8444-444444444444"
	secret    = "canary-of-the-lab"
	group     = "rg-lab"
)

// Lab is a hub without its API, and the Azure that it works on.
type Lab struct {
	Sim    *azuresim.Simulator
	Guests *model.Machines
	Store  *sqlite.Store
	Azure  *azure.Client

	t      testing.TB
	work   *workload.Clusters
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	log    *slog.Logger
	seal   *seal.Sealer
	packs  *pack.Registry
	random io.Reader
}

// New must be called inside a bubble; the engine is not started. The seed
// decides what Azure draws, and with it every name and key.
func New(t testing.TB, seed uint64) *Lab {
	t.Helper()
	l := &Lab{t: t, log: slog.New(slog.DiscardHandler), Guests: model.New(model.Options{}), random: source(seed)}
	if os.Getenv("LAB_LOG") != "" {
		l.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var err error
	l.Sim, err = azuresim.New(azuresim.Config{
		Seed: seed, Machines: l.Guests, AccountingTag: lazuli.ClusterTag, Retry: azuresim.RetryFaithful, KeepActs: true,
	})
	check(t, err)
	check(t, l.Sim.Seed(azuresim.World{
		Tenants:         []azuresim.Tenant{{ID: tenant, DisplayName: "lab"}},
		Subscriptions:   []azuresim.Subscription{{ID: Subscription, TenantID: tenant, DisplayName: "lab"}},
		Principals:      []azuresim.Principal{{TenantID: tenant, ClientID: principal, ObjectID: object, Name: "hub", Secret: secret}},
		RoleAssignments: []azuresim.RoleAssignment{{PrincipalID: object, Role: "Contributor", Scope: "/subscriptions/" + Subscription}},
		ResourceGroups:  []azuresim.ResourceGroup{{SubscriptionID: Subscription, Name: group, Location: Location}},
	}))
	l.Store, err = sqlite.Open(t.Context(), sqlite.Options{Path: ":memory:"})
	check(t, err)
	l.seal, err = seal.Open(filepath.Join(t.TempDir(), "seal.key"))
	check(t, err)
	l.packs, err = pack.Builtin()
	check(t, err)
	l.Azure = azure.New(azure.Config{Logger: l.log, Transport: l.Sim.Transport()})
	l.work = workload.New(l.Sim, l.log, workload.Options{})
	l.ctx, l.cancel = context.WithCancel(context.Background()) // ended by Stop, before the test is
	return l
}

// source is a lab's randomness: of a seed, for several goroutines.
func source(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return &shared{from: randv2.NewChaCha8(key)}
}

type shared struct {
	mu   sync.Mutex
	from io.Reader
}

// Read implements io.Reader.
func (s *shared) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from.Read(p) // it never fails
}

// Start runs the engine and the simulator until the lab stops.
func (l *Lab) Start() {
	l.t.Helper()
	l.Run()
	l.Engine("lab", l.Store, l.Azure)
}

// Run runs the simulator alone until the lab stops; Start does so too.
func (l *Lab) Run() { l.group.Go(func() { _ = l.Sim.Run(l.ctx) }) } // it ends with nil

// Engine runs one more engine on a store, as another process would, until the
// lab stops.
func (l *Lab) Engine(owner string, on store.Store, az cluster.Azure) {
	l.t.Helper()
	rec, err := cluster.New(cluster.Config{
		Store: on, Azure: az, Workload: l.work, Seal: l.seal, Packs: l.packs,
		Cloud: func(string) (resource.Cloud, error) {
			return resource.Cloud{
				Name: "AzurePublicCloud", ARMURL: "https://management.lab", AuthorityURL: "https://login.lab", ResolveByAddress: true,
			}, nil
		},
		Logger: l.log, Random: l.random,
	})
	check(l.t, err)
	engine, err := reconcile.New(reconcile.Config{
		Store: on, Handlers: map[lazuli.Kind]reconcile.Handler{lazuli.KindCluster: rec}, Owner: owner, Logger: l.log,
	})
	check(l.t, err)
	l.group.Go(func() { _ = engine.Run(l.ctx) }) // what it could not do shows in what the lab does
}

// Stop ends the engines and the simulator.
func (l *Lab) Stop() {
	l.t.Helper()
	l.cancel()
	l.group.Wait()
	l.work.Close()
	l.Azure.Close()
	l.Sim.Close()
	check(l.t, l.Store.Close())
}

// Wish is what a cluster of the lab may be.
type Wish struct {
	Name          string
	ControlPlanes int
	Workers       []int // by pool
	// Preinstalled takes an image that has Kubernetes in it; else the boot
	// installs it on stock Ubuntu.
	Preinstalled bool
}

// Create stores a cluster as the API would, and wakes the engine.
func (l *Lab) Create(name string, controlPlanes, workers int) string {
	l.t.Helper()
	return l.CreateWish(Wish{Name: name, ControlPlanes: controlPlanes, Workers: []int{workers}})
}

// CreateWish is Create of any cluster.
func (l *Lab) CreateWish(w Wish) string {
	l.t.Helper()
	ctx, name := l.t.Context(), w.Name
	uid := l.newUID()
	account := &lazuli.Account{
		Meta:        lazuli.Meta{UID: l.newUID(), Name: "lab-" + name, Project: Project},
		Environment: "AzurePublicCloud", TenantID: tenant, ClientID: principal,
	}
	var err error
	account.ClientSecret, err = l.seal.Seal([]byte(secret), lazuli.AccountAAD(account.UID))
	check(l.t, err)
	var layers []lazuli.Layer
	for _, pack := range []string{"ubuntu-azure", "kubernetes", "cni-calico-azure", "csi-azure"} {
		p, err := l.packs.Resolve(pack, "", "")
		check(l.t, err)
		values := ""
		if pack == "ubuntu-azure" && w.Preinstalled {
			values = "image:\n  source: community\n"
		}
		layers = append(layers, lazuli.Layer{Values: values, Name: pack, Tag: p.Version, PackUID: p.UID, Type: "spectro", Layer: string(p.Layer), Version: p.Version})
	}
	c := &lazuli.Cluster{
		Meta:       lazuli.Meta{UID: uid, Name: name, Project: Project, Labels: map[string]string{"env": "lab", "flag": "spectro__tag"}},
		AccountUID: account.UID, CloudConfigUID: l.newUID(),
		Profiles: []lazuli.ProfileSnapshot{{UID: l.newUID(), Name: "base", Type: "infra", CloudType: "azure", ProfileVersion: "1.0.0", Layers: layers}},
		Status:   lazuli.ClusterStatus{State: lazuli.StatePending},
		Spec: fmt.Appendf(nil, `{"cloudAccountUid":%q,"cloudConfig":{"location":%q,"resourceGroup":%q,"subscriptionId":%q,"sshKey":%q},
			"machinepoolconfig":[%s]}`, account.UID, Location, group, Subscription, sshKey, w.pools()),
	}
	check(l.t, l.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.Create(ctx, account); err != nil {
			return err
		}
		if err := tx.Create(ctx, c); err != nil {
			return err
		}
		return tx.Touch(ctx, store.WorkKey{Kind: lazuli.KindCluster, ID: uid}, time.Time{})
	}))
	return uid
}

// pools are the pools on the wire.
func (w Wish) pools() string {
	var out []string
	for i, size := range w.Workers {
		name := "workers"
		if i > 0 {
			name = fmt.Sprint("workers-", i+1)
		}
		out = append(out, fmt.Sprintf(`{"cloudConfig":{"instanceType":"Standard_D4s_v3","azs":["2"],
			 "osDisk":{"diskSizeGB":60,"managedDisk":{"storageAccountType":"Standard_LRS"},"osType":"Linux"}},
			 "poolConfig":{"name":%q,"size":%d,"isControlPlane":false,"labels":["worker"]}}`, name, size))
	}
	out = append(out, fmt.Sprintf(`{"cloudConfig":{"instanceType":"Standard_D2s_v3",
			 "osDisk":{"diskSizeGB":60,"managedDisk":{"storageAccountType":"Premium_LRS"},"osType":"Linux"}},
			 "poolConfig":{"name":"cp","size":%d,"isControlPlane":true,"labels":["control-plane"]}}`, w.ControlPlanes))
	return strings.Join(out, ",")
}

const sshKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0sH5wY9zVnHXvQmJ9rUqkzMlOeVwVf2mXx0nWlq7aB lab"

// Delete records a user's intent to delete.
func (l *Lab) Delete(uid string) {
	l.t.Helper()
	ctx := l.t.Context()
	check(l.t, l.Store.Update(ctx, func(tx store.Tx) error {
		var c lazuli.Cluster
		if err := tx.Get(ctx, uid, &c); err != nil {
			return err
		}
		c.Delete = &lazuli.DeleteIntent{At: time.Now(), Actor: "tester"}
		c.Status.State = lazuli.StateDeleting
		if err := tx.Update(ctx, &c); err != nil {
			return err
		}
		return tx.Touch(ctx, store.WorkKey{Kind: lazuli.KindCluster, ID: uid}, time.Time{})
	}))
}

// Until waits, in virtual time, for a cluster to be in a state.
func (l *Lab) Until(uid string, state lazuli.ClusterState, within time.Duration) *lazuli.Cluster {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), within)
	defer cancel()
	changes, err := l.Store.Watch(ctx)
	check(l.t, err)
	for {
		c := l.Cluster(uid)
		if c.Status.State == state {
			return c
		}
		for change := range changes {
			if change.UID == uid {
				break
			}
		}
		if ctx.Err() != nil {
			l.t.Fatalf("cluster is %s after %s, want %s\n%s", c.Status.State, within, state, l.Tasks(uid))
		}
	}
}

// Cluster reads a cluster.
func (l *Lab) Cluster(uid string) *lazuli.Cluster {
	l.t.Helper()
	var c lazuli.Cluster
	check(l.t, l.Store.Get(l.t.Context(), uid, &c))
	return &c
}

// Tasks draws the records of a cluster, for a failed test.
func (l *Lab) Tasks(uid string) string {
	l.t.Helper()
	page, err := l.Store.Query(l.t.Context(), store.Query{
		Kind: lazuli.KindNode, Where: []store.Where{{Field: store.FieldOwner, Op: store.Eq, Value: uid}}, Sort: store.FieldName,
	})
	check(l.t, err)
	var b strings.Builder
	for _, row := range page.Rows {
		fmt.Fprintf(&b, "%s %s\n", row.Meta.Name, row.Data)
	}
	events, err := l.Store.Events(l.t.Context(), store.EventQuery{Kind: lazuli.KindCluster, Object: uid})
	check(l.t, err)
	for _, e := range events {
		fmt.Fprintf(&b, "%s %s %s: %s\n", e.At.Format(time.TimeOnly), e.Severity, e.Reason, e.Message)
	}
	for id, text := range l.consoles() {
		fmt.Fprintf(&b, "--- console of %s\n%s\n", id, text)
	}
	return b.String()
}

func (l *Lab) consoles() map[string]string {
	out := map[string]string{}
	for _, r := range l.Sim.Resources() {
		if strings.HasSuffix(strings.ToLower(r.Type), "virtualmachines") {
			out[resource.NameOf(r.ID)] = l.Sim.SerialConsole(r.ID)
		}
	}
	return out
}

// Calls counts the calls to Azure since the last reset: all, and the writes.
func (l *Lab) Calls() (all, writes, deletes int) {
	for _, c := range l.Sim.Calls() {
		if c.Class == "token" {
			continue
		}
		all += c.Count
		switch c.Class {
		case "write":
			writes += c.Count
		case "delete":
			deletes += c.Count
		}
	}
	return all, writes, deletes
}

// Machines lists the machines of a cluster, those that were replaced included.
func (l *Lab) Machines(uid string) []lazuli.Machine {
	l.t.Helper()
	page, err := l.Store.Query(l.t.Context(), store.Query{
		Kind: lazuli.KindMachine, Where: []store.Where{{Field: store.FieldOwner, Op: store.Eq, Value: uid}}, Sort: store.FieldName,
	})
	check(l.t, err)
	out := make([]lazuli.Machine, len(page.Rows))
	for i, row := range page.Rows {
		check(l.t, json.Unmarshal(row.Data, &out[i]))
	}
	return out
}

// OfType lists the resources in Azure whose type ends so.
func (l *Lab) OfType(suffix string) []string {
	var out []string
	for _, r := range l.Sim.Resources() {
		if strings.HasSuffix(strings.ToLower(r.Type), strings.ToLower("/"+suffix)) {
			out = append(out, resource.NameOf(r.ID))
		}
	}
	return out
}

// Left lists what the simulator holds beside the resource group.
func (l *Lab) Left() []string {
	var left []string
	for _, r := range l.Sim.Resources() {
		if !strings.HasSuffix(strings.ToLower(r.Type), "resourcegroups") {
			left = append(left, r.ID)
		}
	}
	return left
}

func (l *Lab) newUID() string {
	l.t.Helper()
	uid, err := lazuli.NewUID(time.Now(), l.random)
	check(l.t, err)
	return uid
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Timeline writes when each record of a cluster was intended and done, and what
// Azure says of the same, in seconds since begin.
func (l *Lab) Timeline(to io.Writer, uid string, begin time.Time) {
	l.t.Helper()
	page, err := l.Store.Query(l.t.Context(), store.Query{
		Kind: lazuli.KindNode, Where: []store.Where{{Field: store.FieldOwner, Op: store.Eq, Value: uid}}, Sort: store.FieldName,
	})
	check(l.t, err)
	nodes := make([]lazuli.Node, len(page.Rows))
	for i, row := range page.Rows {
		check(l.t, json.Unmarshal(row.Data, &nodes[i]))
	}
	slices.SortFunc(nodes, func(a, b lazuli.Node) int { return a.EndedAt.Compare(b.EndedAt) })
	since := func(t time.Time) float64 { return t.Sub(begin).Seconds() }
	for _, n := range nodes {
		_, _ = fmt.Fprintf(to, "%7.2f %7.2f %s", since(n.StartedAt), since(n.EndedAt), n.Name)
		for _, a := range l.Sim.Acts() {
			if strings.EqualFold(a.ID, n.AzureID) && a.Method == http.MethodPut {
				_, _ = fmt.Fprintf(to, "  PUT %.2f effect %.2f answered %.2f ended %.2f", since(a.Began), since(a.Effect), since(a.Answered), since(a.Ended))
			}
		}
		_, _ = fmt.Fprintln(to)
	}
}
