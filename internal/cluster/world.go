// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/bootstrap"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Secrets is the opened form of a cluster's keys.
type Secrets struct {
	PKI             bootstrap.PKI
	AdminKubeconfig []byte
	Tokens          map[string]bootstrap.Token // by machine name
}

// World is all that a step may look at: what is desired, and what is on
// record. A step changes the records in place and marks what it changed.
type World struct {
	Cluster  *lazuli.Cluster
	Spec     lazuli.ClusterSpec
	Settings pack.Settings
	Packs    *pack.Registry
	TenantID string
	Cloud    resource.Cloud
	Secrets  *Secrets // nil until they were made
	Machines map[string]*lazuli.Machine
	Nodes    map[string]*lazuli.Node

	// ProbeInterval, HealthInterval, BootTimeout and KeepDeleted are those of Config.
	ProbeInterval, HealthInterval, BootTimeout, KeepDeleted time.Duration

	// What follows is known only within one run and is never stored.

	sizes       map[string]resource.Size
	probed      time.Time                 // last answer of ActReady or ActNodes
	listed      time.Time                 // last good answer of ActList
	relist      time.Time                 // when it may be asked again after another one
	found       map[string]resource.Found // by lower-case id, of the last list
	absent      map[string]bool           // nodes that Azure said are not there
	waited      map[string]time.Duration  // how long machines are waited for, by a clock that never steps
	checked     map[string]time.Time      // last answer of ActStatus by release
	dropped     map[string]bool           // machines whose Node is no more
	dropping    map[string]time.Time      // machines without a VM, since when their Node is to be deleted
	unmet       []lazuli.Notice           // of the profiles' settings
	services    bool                      // the Services that hold load balancers are gone, or cannot be reached
	target      resource.Target
	rendered    []staged // releases, for the endpoint renderedFor
	renderedFor string
	resolved    []lazuli.ProfileSnapshot // see deployed; nil when there is nothing to resolve
	madeLayers  []lazuli.Layer           // of Status.Made, resolved
	unresolved  error                    // why there is none of either
	scope       pack.Scope               // what the profiles refer to; empty when they refer to nothing

	picked        bool // machines to leave were picked in this step
	stale         bool // the user wants something else than was read
	dirtyCluster  bool
	dirtyNodes    map[string]bool
	dirtyMachines map[string]bool
	events        []event
}

// NewWorld returns a world in which nothing was done yet.
func NewWorld(c *lazuli.Cluster, spec lazuli.ClusterSpec, settings pack.Settings, packs *pack.Registry) *World {
	w := &World{
		Cluster: c, Spec: spec, Settings: settings, Packs: packs,
		Machines:      map[string]*lazuli.Machine{},
		Nodes:         map[string]*lazuli.Node{},
		ProbeInterval: defaultProbeInterval, HealthInterval: defaultHealthInterval, BootTimeout: defaultBootTimeout, KeepDeleted: defaultKeepDeleted,
		found:   map[string]resource.Found{},
		absent:  map[string]bool{},
		checked: map[string]time.Time{},
		waited:  map[string]time.Duration{},
		dropped: map[string]bool{}, dropping: map[string]time.Time{},
	}
	w.clean()
	return w
}

// Mermaid draws the graph of the cluster, whose machines must be placed.
func (w *World) Mermaid() (string, error) {
	g, err := w.design()
	if err != nil {
		return "", err
	}
	return g.Mermaid(func(name string) string {
		if n := w.Nodes[name]; n != nil {
			return strings.ToLower(string(n.State))
		}
		return ""
	}), nil
}

// machines are the machines that shall be: control planes first, the one that
// makes the cluster at their head, then by name.
func (w *World) machines() []*lazuli.Machine {
	out := make([]*lazuli.Machine, 0, len(w.Machines))
	for _, m := range w.Machines {
		if !m.Going() {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *lazuli.Machine) int {
		if a.ControlPlane != b.ControlPlane {
			if a.ControlPlane {
				return -1
			}
			return 1
		}
		if a.Init != b.Init {
			if a.Init {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return out
}

// load reads a cluster and everything that belongs to it.
func (r *Reconciler) load(ctx context.Context, uid string) (*World, error) {
	w := NewWorld(&lazuli.Cluster{}, lazuli.ClusterSpec{}, pack.Settings{}, r.cfg.Packs)
	w.ProbeInterval, w.HealthInterval, w.BootTimeout, w.KeepDeleted = r.cfg.ProbeInterval, r.cfg.HealthInterval, r.cfg.BootTimeout, r.cfg.KeepDeleted
	if err := r.cfg.Store.Get(ctx, uid, w.Cluster); err != nil {
		return nil, fmt.Errorf("read cluster %s: %w", uid, err)
	}
	if err := loadOwned(ctx, r.cfg.Store, uid, w.Nodes, func() *lazuli.Node { return &lazuli.Node{} }); err != nil {
		return nil, err
	}
	if err := loadOwned(ctx, r.cfg.Store, uid, w.Machines, func() *lazuli.Machine { return &lazuli.Machine{} }); err != nil {
		return nil, err
	}
	if w.Cluster.Status.State == lazuli.StateDeleted {
		if w.Cluster.Status.LooksBack < len(looksBack()) {
			return w, r.loadTarget(ctx, w)
		}
		return w, nil
	}
	var err error
	if w.Spec, err = palette.ClusterSpec(w.Cluster.Spec); err != nil {
		return nil, fmt.Errorf("read the spec of cluster %s: %w", uid, err)
	}
	if err := r.loadAccount(ctx, w); err != nil {
		return nil, err
	}
	return w, r.loadSecrets(ctx, w)
}

// loadTarget reads where a deleted cluster was. The account may go as soon as the
// cluster has, and then nobody looks back. That the store cannot answer now is an
// error, or the looks would be lost with it; what can never be read is logged, for
// the records must go in the end.
func (r *Reconciler) loadTarget(ctx context.Context, w *World) error {
	err := r.cfg.Store.Get(ctx, w.Cluster.AccountUID, &lazuli.Account{})
	switch lazuli.CodeOf(err) {
	case "":
	case lazuli.CodeNotFound:
		return nil
	default:
		return &lazuli.Error{Code: lazuli.CodeUnavailable, Message: "read the cloud account of cluster " + w.Cluster.UID, Err: err}
	}
	if w.Spec, err = palette.ClusterSpec(w.Cluster.Spec); err == nil {
		err = r.loadAccount(ctx, w)
	}
	if err != nil {
		r.cfg.Logger.Warn("cannot look back", "cluster", w.Cluster.UID, "error", err)
	}
	return nil
}

// clean marks all records as written.
func (w *World) clean() {
	w.dirtyCluster, w.picked = false, false
	w.dirtyNodes = map[string]bool{}
	w.dirtyMachines = map[string]bool{}
	w.events = nil
}

func (w *World) dirty() bool {
	return w.dirtyCluster || len(w.dirtyNodes)+len(w.dirtyMachines)+len(w.events) > 0
}

func loadOwned[T lazuli.Object](ctx context.Context, rd store.Reader, owner string, into map[string]T, zero func() T) error {
	kind := zero().Kind()
	page, err := rd.Query(ctx, store.Query{
		Kind:  kind,
		Where: []store.Where{{Field: store.FieldOwner, Op: store.Eq, Value: owner}},
		Bare:  true,
	})
	if err != nil {
		return fmt.Errorf("list the %ss of cluster %s: %w", kind, owner, err)
	}
	for _, row := range page.Rows {
		o := zero()
		if err := json.Unmarshal(row.Data, o); err != nil {
			return lazuli.Errorf(lazuli.CodeInternal, "%s %s of cluster %s cannot be read: %v", kind, row.Meta.UID, owner, err)
		}
		h := o.Head()
		h.UID, h.Version, h.CreatedAt, h.UpdatedAt = row.Meta.UID, row.Meta.Version, row.Meta.CreatedAt, row.Meta.UpdatedAt
		into[h.Name] = o
	}
	return nil
}

func (r *Reconciler) loadAccount(ctx context.Context, w *World) error {
	account := &lazuli.Account{}
	if err := r.cfg.Store.Get(ctx, w.Cluster.AccountUID, account); err != nil {
		// A missing account must not read like a missing cluster.
		return &lazuli.Error{Code: lazuli.CodeUnavailable, Message: "read the cloud account of cluster " + w.Cluster.UID, Err: err}
	}
	cloud, err := r.cfg.Cloud(account.Environment)
	if err != nil {
		return fmt.Errorf("cloud account %s: %w", account.Name, err)
	}
	secret, err := r.cfg.Seal.Unseal(account.ClientSecret, lazuli.AccountAAD(account.UID))
	if err != nil {
		return fmt.Errorf("open the client secret of cloud account %s: %w", account.Name, err)
	}
	w.Cloud, w.TenantID = cloud, account.TenantID
	if err := r.loadProfiles(ctx, w, account); err != nil {
		return err
	}
	w.target = resource.Target{
		Cloud:          cloud,
		TenantID:       account.TenantID,
		ClientID:       account.ClientID,
		ClientSecret:   lazuli.NewSecret(string(secret)),
		SubscriptionID: w.Spec.SubscriptionID,
		Location:       w.Spec.Location,
	}
	return nil
}

func (r *Reconciler) loadSecrets(ctx context.Context, w *World) error {
	keys := &lazuli.Keys{}
	err := r.cfg.Store.Get(ctx, w.Cluster.UID, keys)
	if lazuli.CodeOf(err) == lazuli.CodeNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the keys of cluster %s: %w", w.Cluster.UID, err)
	}
	plain, err := r.cfg.Seal.Unseal(keys.Sealed, lazuli.KeysAAD(w.Cluster.UID))
	if err != nil {
		return fmt.Errorf("open the keys of cluster %s: %w", w.Cluster.UID, err)
	}
	var stored lazuli.ClusterSecrets
	if err := json.Unmarshal(plain, &stored); err != nil {
		return lazuli.Errorf(lazuli.CodeInternal, "the keys of cluster %s cannot be read", w.Cluster.UID)
	}
	s := &Secrets{AdminKubeconfig: stored.AdminKubeconfig, Tokens: map[string]bootstrap.Token{}}
	if err := json.Unmarshal(stored.PKI, &s.PKI); err != nil {
		return lazuli.Errorf(lazuli.CodeInternal, "the PKI of cluster %s cannot be read", w.Cluster.UID)
	}
	for name, t := range stored.Tokens {
		s.Tokens[name] = bootstrap.Token(t)
	}
	w.Secrets = s
	return nil
}

// layersOf lists the layers of all profiles, infrastructure first as sent.
func layersOf(profiles []lazuli.ProfileSnapshot) []lazuli.Layer {
	var out []lazuli.Layer
	for _, p := range profiles {
		out = append(out, p.Layers...)
	}
	return out
}

// commit writes what a step changed, under the lease. A delete that came in
// meanwhile is taken over into the world.
func (r *Session) commit(ctx context.Context) error {
	w := r.world
	if !w.dirty() {
		return nil
	}
	var fresh lazuli.Cluster
	write := func(do func(store.Tx) error) error { return r.cfg.Store.Fenced(ctx, r.lease, do) }
	if mutated("dropFence") {
		write = func(do func(store.Tx) error) error { return r.cfg.Store.Update(ctx, do) }
	}
	err := write(func(tx store.Tx) error {
		fresh = lazuli.Cluster{}
		if err := tx.Get(ctx, w.Cluster.UID, &fresh); err != nil {
			return fmt.Errorf("read cluster: %w", err)
		}
		if w.picked && !mutated("staleWishPicks") && wishOf(&fresh) != wishOf(w.Cluster) {
			return lazuli.Errorf(lazuli.CodeConflict, "the wish changed while machines to leave were picked")
		}
		if mutated("loseDelete") {
			fresh.Delete = w.Cluster.Delete
		}
		if w.dirtyCluster {
			state := w.Cluster.Status.State
			if fresh.Delete != nil && state != lazuli.StateDeleted {
				state = lazuli.StateDeleting
			}
			fresh.Status = w.Cluster.Status
			fresh.Status.State = state
			if err := tx.Update(ctx, &fresh); err != nil {
				return fmt.Errorf("write cluster: %w", err)
			}
		}
		if err := writeAll(ctx, tx, w.Nodes, w.dirtyNodes); err != nil {
			return err
		}
		if err := writeAll(ctx, tx, w.Machines, w.dirtyMachines); err != nil {
			return err
		}
		if fresh.Status.State == lazuli.StateDeleted && !mutated("keysKept") {
			// The keys die with the cluster.
			if err := tx.Delete(ctx, lazuli.KindKeys, fresh.UID); err != nil {
				return fmt.Errorf("delete the cluster's keys: %w", err)
			}
		}
		return r.appendEvents(ctx, tx, w)
	})
	if err != nil {
		return fmt.Errorf("commit a step of cluster %s: %w", w.Cluster.UID, err)
	}
	if fresh.Status.State == lazuli.StateDeleted {
		r.cfg.Workload.Forget(fresh.UID) // nobody will connect there again
	}
	w.adoptWish(&fresh)
	w.clean()
	return nil
}

// adoptWish takes over the cluster as it is on record. Another wish than before
// makes the world stale: see refresh.
func (w *World) adoptWish(fresh *lazuli.Cluster) {
	old := w.Cluster
	w.Cluster = fresh
	if old.Version != fresh.Version && wishOf(old) != wishOf(fresh) {
		w.stale = true
	}
}

// adopt takes over what was read again of the wish and what it refers to. What
// the run has found out meanwhile stays.
func (w *World) adopt(fresh *World) {
	w.Cluster, w.Spec, w.target = fresh.Cluster, fresh.Spec, fresh.target
	w.resolved, w.madeLayers, w.unresolved, w.scope = fresh.resolved, fresh.madeLayers, fresh.unresolved, fresh.scope
	w.Settings, w.rendered, w.sizes, w.stale = pack.Settings{}, nil, nil, false
}

func writeAll[T lazuli.Object](ctx context.Context, tx store.Tx, all map[string]T, dirty map[string]bool) error {
	names := make([]string, 0, len(dirty))
	for name := range dirty {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		o := all[name]
		write := tx.Update
		if o.Head().Version == 0 {
			write = tx.Create
		}
		if err := write(ctx, o); err != nil {
			return fmt.Errorf("write %s %s: %w", o.Kind(), name, err)
		}
	}
	return nil
}

func (r *Session) appendEvents(ctx context.Context, tx store.Tx, w *World) error {
	for _, e := range w.events {
		uid, err := lazuli.NewUID(r.now(), r.cfg.Random)
		if err != nil {
			return fmt.Errorf("name an event: %w", err)
		}
		if err := tx.AppendEvent(ctx, lazuli.Event{
			UID: uid, Project: w.Cluster.Project, Kind: lazuli.KindCluster, Object: w.Cluster.UID,
			Name: w.Cluster.Name, Severity: e.Severity, Reason: e.Reason, Message: e.Message,
		}); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
	}
	return nil
}
