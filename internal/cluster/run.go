// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/bootstrap"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

const (
	adminKubeconfigLife = 365 * 24 * time.Hour
	bootLogLines        = 200
)

// Session is one reconcile of one cluster under one lease: the three acts of
// the protocol, for whoever orders them. Reconcile orders them as fast as
// answers come; a simulation orders them by a seed. CarryOut may be called
// concurrently with everything else, Step with nothing.
type Session struct {
	*Reconciler
	lease store.Lease
	world *World
	log   *slog.Logger
	begun bool // a step was made since the world was read
}

// Open reads the cluster of a lease. A cluster that is no more is an error of
// lazuli.CodeNotFound.
func (r *Reconciler) Open(ctx context.Context, lease store.Lease) (*Session, error) {
	w, err := r.load(ctx, lease.ID)
	if err != nil {
		return nil, err
	}
	return &Session{
		Reconciler: r, lease: lease, world: w,
		log: r.cfg.Logger.With("cluster", w.Cluster.UID, "name", w.Cluster.Name),
	}, nil
}

// World is what the session knows; only Step changes it.
func (r *Session) World() *World { return r.world }

// Step takes answers in, decides and commits. The intents of the plan are on
// record when it returns, and none of them was carried out.
func (r *Session) Step(ctx context.Context, answers []Answer, inFlight map[string]bool) (Plan, error) {
	if err := r.refresh(ctx); err != nil {
		return Plan{}, err
	}
	r.patience.look(r.world)
	plan, err := Step(r.world, answers, inFlight, r.now(), r.cfg.Random)
	if err != nil {
		return Plan{}, err
	}
	for i := range plan.Intents {
		// A later step may change the world while the intent is in flight.
		plan.Intents[i].view = r.world.view()
	}
	return plan, r.commit(ctx)
}

// refresh takes over what the user wants by now: a run may be long, and what a
// pool loses must be what it shall lose today. A cluster at rest is left alone:
// whoever changes its wish makes another look due.
func (r *Session) refresh(ctx context.Context) error {
	w := r.world
	begun := r.begun
	r.begun = true
	if !begun || mutated("neverRefresh") || w.Cluster.Status.State == lazuli.StateDeleted || w.resting() {
		return nil
	}
	if !w.stale {
		// The version tells whether there is anything to decode.
		page, err := r.cfg.Store.Query(ctx, store.Query{
			Kind: lazuli.KindCluster, Where: []store.Where{{Field: store.FieldUID, Op: store.Eq, Value: w.Cluster.UID}}, Bare: true,
		})
		if err == nil && len(page.Rows) == 1 && page.Rows[0].Meta.Version == w.Cluster.Version {
			return nil
		}
	}
	fresh, err := r.load(ctx, w.Cluster.UID)
	if err != nil {
		return &lazuli.Error{Code: lazuli.CodeUnavailable, Message: "read cluster " + w.Cluster.UID + " again", Err: err}
	}
	w.adopt(fresh)
	return nil
}

// loop steps and carries out until there is nothing to do for now. It never
// returns while an intent is in flight: the lease covers them all.
func (r *Session) loop(ctx context.Context) reconcile.Outcome {
	answers := make(chan Answer)
	inFlight := map[string]bool{}
	var news []Answer
	drain := func() {
		for len(inFlight) > 0 {
			delete(inFlight, (<-answers).Intent.Key())
		}
	}
	for {
		plan, err := r.Step(ctx, news, inFlight)
		if err != nil {
			drain()
			return reconcile.Failed(err)
		}
		for _, in := range plan.Intents {
			inFlight[in.Key()] = true
			go func() { answers <- r.CarryOut(ctx, in) }()
		}
		if len(inFlight) == 0 {
			return plan.Outcome
		}
		news = r.wait(ctx, answers, inFlight, plan.Wake)
		if ctx.Err() != nil {
			drain()
			return reconcile.Failed(ctx.Err())
		}
		if err := fenced(news); err != nil {
			drain()
			return reconcile.Failed(err)
		}
	}
}

// fenced is the answer that says that the lease is over: no attempt was made,
// and nothing may be written down of it.
func fenced(news []Answer) error {
	for _, a := range news {
		if lazuli.CodeOf(a.Err) == lazuli.CodeFenced {
			return a.Err
		}
	}
	return nil
}

// wait returns the answers that are there, at least one unless wake or the
// end of ctx came first.
func (r *Session) wait(ctx context.Context, answers <-chan Answer, inFlight map[string]bool, wake time.Time) []Answer {
	var alarm <-chan time.Time
	if !wake.IsZero() {
		timer := time.NewTimer(time.Until(wake))
		defer timer.Stop()
		alarm = timer.C
	}
	var news []Answer
	select {
	case a := <-answers:
		delete(inFlight, a.Intent.Key())
		news = append(news, a)
	case <-alarm:
	case <-ctx.Done():
	}
	for {
		select {
		case a := <-answers:
			delete(inFlight, a.Intent.Key())
			news = append(news, a)
		default:
			return news
		}
	}
}

// CarryOut has one effect and reports what came of it. A panic is an answer
// too: one cluster's trouble must not end the others' work.
func (r *Session) CarryOut(ctx context.Context, in Intent) (a Answer) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("an intent panicked", "act", in.Act, "node", in.Node, "panic", p, "stack", string(debug.Stack()))
			a = Answer{Intent: in, Err: lazuli.Errorf(lazuli.CodeInternal, "%s %s: a defect of ours; see the hub's log", in.Act, in.Node)}
		}
	}()
	a.Intent = in
	begin := time.Now()
	r.effect(ctx, in, in.view, &a)
	r.log.Debug("intent", "act", in.Act, "node", in.Node, "state", a.Result.State, "took", time.Since(begin), "err", a.Err)
	return a
}

// view is what carrying out an intent needs of the world, as it was when the
// intent was named.
type view struct {
	uid, name, project string
	group              string
	target             resource.Target
	kubeconfig         []byte
	facts              pack.Cluster
}

func (w *World) view() view {
	v := view{
		uid: w.Cluster.UID, name: w.Cluster.Name, project: w.Cluster.Project,
		group: w.Spec.ResourceGroup, target: w.target, facts: w.facts(),
	}
	if w.Secrets != nil {
		v.kubeconfig = w.Secrets.AdminKubeconfig
	}
	return v
}

func (r *Session) effect(ctx context.Context, in Intent, v view, a *Answer) {
	az, target := r.cfg.Azure, v.target
	switch in.Act {
	case ActSizes:
		a.Sizes, a.Err = az.SizeList(ctx, target)
	case ActPut:
		a.Result, a.Err = az.Put(ctx, target, in.Spec)
	case ActGet:
		a.Result, a.Err = az.Get(ctx, target, in.AzureID)
	case ActPoll:
		a.Result, a.Err = az.Poll(ctx, target, in.PollURL)
	case ActDelete:
		a.Result, a.Err = az.Delete(ctx, target, in.AzureID, in.Force)
	case ActList:
		a.Found, a.Err = az.List(ctx, target, v.group, lazuli.ClusterTag, v.uid)
	case ActBootLog:
		a.Text, a.Err = az.BootLog(ctx, target, in.AzureID, bootLogLines)
	case ActMakeKeys:
		a.Secrets, a.Err = r.makeKeys(ctx, in, v)
	case ActMakeToken:
		a.Secrets, a.Err = r.makeToken(ctx, in, v)
	case ActMakeKubeconfig:
		a.Secrets, a.Err = r.makeKubeconfig(ctx, in, v)
	case ActPurge:
		a.Err = r.purge(ctx)
	case ActReady, ActNodes, ActMark, ActDrain, ActUncordon, ActDropNode, ActApply, ActStatus, ActDeleteToken, ActDeleteServices:
		r.effectInCluster(ctx, in, v, a)
	}
}

func (r *Session) effectInCluster(ctx context.Context, in Intent, v view, a *Answer) {
	wl := r.cfg.Workload
	access := workload.Access{UID: v.uid, Kubeconfig: v.kubeconfig}
	switch in.Act {
	case ActReady:
		a.Err = wl.Ready(ctx, access)
	case ActNodes:
		a.Nodes, a.Err = wl.Nodes(ctx, access)
	case ActMark:
		a.Err = wl.MarkNode(ctx, access, machineOf(in.Node), in.Marks, in.Unmarks)
	case ActDrain:
		a.Drained, a.Err = wl.Drain(ctx, access, machineOf(in.Node))
	case ActUncordon:
		a.Err = wl.Uncordon(ctx, access, machineOf(in.Node))
	case ActDropNode:
		a.Err = wl.DeleteNode(ctx, access, machineOf(in.Node))
	case ActApply:
		set := in.Release.Set
		if in.Release.NeedsCloud {
			doc, err := pack.CloudConfig(v.facts, v.target.ClientID, v.target.ClientSecret)
			if err != nil {
				a.Err = fmt.Errorf("render the cloud configuration: %w", err)
				return
			}
			set.Documents = append(append([]byte{}, doc...), append([]byte("\n---\n"), set.Documents...)...)
		}
		_, a.Err = wl.Apply(ctx, access, set)
	case ActStatus:
		a.Ready, a.Waiting, a.Err = wl.Status(ctx, access, in.Release.Set)
	case ActDeleteToken:
		a.Err = wl.DeleteToken(ctx, access, in.Token)
	case ActDeleteServices:
		a.Count, a.Err = wl.DeleteLoadBalancerServices(ctx, access)
	}
}

// makeKeys makes what the machines will trust, unless a run before this one
// did and could not say so.
func (r *Session) makeKeys(ctx context.Context, in Intent, v view) (*Secrets, error) {
	if s, err := r.storedSecrets(ctx, v); s != nil || err != nil {
		return s, err
	}
	pki, err := bootstrap.NewPKI(r.cfg.Random, r.now(), v.name)
	if err != nil {
		return nil, fmt.Errorf("make the cluster's PKI: %w", err)
	}
	s := &Secrets{PKI: pki, Tokens: map[string]bootstrap.Token{}}
	for _, name := range in.Joiners {
		if s.Tokens[name], err = bootstrap.NewToken(r.cfg.Random); err != nil {
			return nil, fmt.Errorf("make a bootstrap token: %w", err)
		}
	}
	if mutated("keysUnsaved") {
		return s, nil
	}
	return s, r.storeSecrets(ctx, s, v)
}

// makeToken makes the token of a late machine, on disk before the cluster knows
// it, and registers it there.
func (r *Session) makeToken(ctx context.Context, in Intent, v view) (*Secrets, error) {
	s, err := r.storedSecrets(ctx, v)
	if err != nil || s == nil {
		return s, err
	}
	var tokens []workload.BootstrapToken
	for _, name := range in.Joiners {
		if s.Tokens[name] == "" {
			if s.Tokens[name], err = bootstrap.NewToken(r.cfg.Random); err != nil {
				return nil, fmt.Errorf("make a bootstrap token: %w", err)
			}
			if err := r.storeSecrets(ctx, s, v); err != nil {
				return nil, err
			}
		}
		t := s.Tokens[name]
		tokens = append(tokens, workload.BootstrapToken{ID: t.ID(), Secret: t.Secret(), Expires: r.now().Add(tokenLife), Machine: name})
	}
	access := workload.Access{UID: v.uid, Kubeconfig: v.kubeconfig}
	return s, r.cfg.Workload.EnsureTokens(ctx, access, tokens)
}

func (r *Session) makeKubeconfig(ctx context.Context, in Intent, v view) (*Secrets, error) {
	s, err := r.storedSecrets(ctx, v)
	if err != nil || s == nil || len(s.AdminKubeconfig) > 0 {
		return s, err
	}
	s.AdminKubeconfig, err = bootstrap.AdminKubeconfig(s.PKI, r.cfg.Random, r.now(), in.Server, in.TLSName,
		v.name, adminKubeconfigLife)
	if err != nil {
		return nil, fmt.Errorf("make the administrator's kubeconfig: %w", err)
	}
	return s, r.storeSecrets(ctx, s, v)
}

// storedSecrets reads the keys as they are now; nil when there are none.
func (r *Session) storedSecrets(ctx context.Context, v view) (*Secrets, error) {
	w := World{Cluster: &lazuli.Cluster{Meta: lazuli.Meta{UID: v.uid}}}
	err := r.loadSecrets(ctx, &w)
	return w.Secrets, err
}

func (r *Session) storeSecrets(ctx context.Context, s *Secrets, v view) error {
	pki, err := json.Marshal(s.PKI)
	if err != nil {
		return fmt.Errorf("encode the cluster's PKI: %w", err)
	}
	plainText := lazuli.ClusterSecrets{PKI: pki, AdminKubeconfig: s.AdminKubeconfig, Tokens: map[string]string{}}
	for name, t := range s.Tokens {
		plainText.Tokens[name] = string(t)
	}
	plain, err := json.Marshal(plainText)
	if err != nil {
		return fmt.Errorf("encode the cluster's keys: %w", err)
	}
	sealed, err := r.cfg.Seal.Seal(plain, lazuli.KeysAAD(v.uid))
	if err != nil {
		return fmt.Errorf("seal the cluster's keys: %w", err)
	}
	err = r.cfg.Store.Fenced(ctx, r.lease, func(tx store.Tx) error {
		keys := &lazuli.Keys{}
		err := tx.Get(ctx, v.uid, keys)
		switch lazuli.CodeOf(err) {
		case "":
			keys.Sealed = sealed
			return tx.Update(ctx, keys)
		case lazuli.CodeNotFound:
			return tx.Create(ctx, &lazuli.Keys{
				Meta:   lazuli.Meta{UID: v.uid, Name: v.name, Project: v.project},
				Sealed: sealed,
			})
		default:
			return err
		}
	})
	if err != nil {
		return fmt.Errorf("store the cluster's keys: %w", err)
	}
	return nil
}

// purge removes the records of a cluster that was deleted long ago.
func (r *Session) purge(ctx context.Context) error {
	w := r.world
	err := r.cfg.Store.Fenced(ctx, r.lease, func(tx store.Tx) error {
		for _, n := range w.Nodes {
			if err := tx.Delete(ctx, lazuli.KindNode, n.UID); err != nil {
				return err
			}
		}
		for _, m := range w.Machines {
			if err := tx.Delete(ctx, lazuli.KindMachine, m.UID); err != nil {
				return err
			}
		}
		return tx.Delete(ctx, lazuli.KindCluster, w.Cluster.UID)
	})
	if err != nil {
		return fmt.Errorf("purge cluster %s: %w", w.Cluster.UID, err)
	}
	return nil
}
