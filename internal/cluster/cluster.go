// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// Azure carries resources out. Each method makes one short call and never
// waits for an operation to end.
type Azure interface {
	Put(ctx context.Context, t resource.Target, s resource.Spec) (resource.Result, error)
	Get(ctx context.Context, t resource.Target, id string) (resource.Result, error)
	Poll(ctx context.Context, t resource.Target, url string) (resource.Result, error)
	Delete(ctx context.Context, t resource.Target, id string, force bool) (resource.Result, error)
	List(ctx context.Context, t resource.Target, group, tag, value string) ([]resource.Found, error)
	SizeList(ctx context.Context, t resource.Target) ([]resource.Size, error)
	BootLog(ctx context.Context, t resource.Target, vmID string, lines int) (string, error)
}

// Nodes is what is done with the Nodes of a deployed cluster.
type Nodes interface {
	Nodes(ctx context.Context, a workload.Access) ([]workload.Node, error)
	MarkNode(ctx context.Context, a workload.Access, name string, now, old workload.Marks) error
	Drain(ctx context.Context, a workload.Access, name string) (workload.Drained, error)
	Uncordon(ctx context.Context, a workload.Access, name string) error
	DeleteNode(ctx context.Context, a workload.Access, name string) error
}

// Workload is the deployed cluster, seen through its API server.
type Workload interface {
	Nodes

	Ready(ctx context.Context, a workload.Access) error
	Apply(ctx context.Context, a workload.Access, set workload.Set) (workload.Result, error)
	Status(ctx context.Context, a workload.Access, set workload.Set) (ready bool, waiting []string, err error)
	EnsureTokens(ctx context.Context, a workload.Access, tokens []workload.BootstrapToken) error
	DeleteToken(ctx context.Context, a workload.Access, id string) error
	DeleteLoadBalancerServices(ctx context.Context, a workload.Access) (remaining int, err error)
	Forget(uid string)
}

// Sealer encrypts what must stay secret, bound to additional data.
type Sealer interface {
	Seal(plain []byte, aad string) (lazuli.Sealed, error)
	Unseal(sealed lazuli.Sealed, aad string) ([]byte, error)
}

// Config is what a Reconciler works with. All up to Random are required.
type Config struct {
	Store    store.Store
	Azure    Azure
	Workload Workload
	Seal     Sealer
	Packs    *pack.Registry
	// Cloud says where an Azure environment is reached.
	Cloud  func(environment string) (resource.Cloud, error)
	Logger *slog.Logger
	Random io.Reader        // cryptographic: names, tokens and keys come from it
	Now    func() time.Time // of the wall; default time.Now

	// ProbeInterval is how often a cluster that is coming up or going away is
	// looked at through its API server or in a list. Default 2 s.
	ProbeInterval time.Duration
	// HealthInterval is how often a running cluster is looked at. Default 60 s.
	HealthInterval time.Duration
	// BootTimeout is after how long a machine that has not come up is called stuck.
	// Its serial console is read from half of that on. Default 12 min, which is as
	// long as kubeadm's own time-outs.
	BootTimeout time.Duration
	// KeepDeleted is how long a deleted cluster can still be read. Default 72 h.
	KeepDeleted time.Duration
}

const (
	defaultProbeInterval  = 2 * time.Second
	defaultHealthInterval = time.Minute
	defaultBootTimeout    = 12 * time.Minute
	defaultKeepDeleted    = 72 * time.Hour
)

// Reconciler makes Azure and the deployed cluster match what is desired.
type Reconciler struct {
	cfg      Config
	patience patience
}

// New checks the configuration and fills its defaults.
func New(cfg Config) (*Reconciler, error) {
	if cfg.Store == nil || cfg.Azure == nil || cfg.Workload == nil || cfg.Seal == nil || cfg.Packs == nil ||
		cfg.Cloud == nil || cfg.Logger == nil || cfg.Random == nil {
		return nil, errors.New("cluster: the configuration is incomplete")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ProbeInterval <= 0 {
		cfg.ProbeInterval = defaultProbeInterval
	}
	if cfg.HealthInterval <= 0 {
		cfg.HealthInterval = defaultHealthInterval
	}
	if cfg.BootTimeout <= 0 {
		cfg.BootTimeout = defaultBootTimeout
	}
	if cfg.KeepDeleted <= 0 {
		cfg.KeepDeleted = defaultKeepDeleted
	}
	return &Reconciler{cfg: cfg}, nil
}

// now is the time as records keep it: what was read again compares equal to
// what was written, and a step writes nothing that it did not change.
func (r *Reconciler) now() time.Time { return r.cfg.Now().UTC().Round(0) }

// Reconcile implements reconcile.Handler for lazuli.KindCluster.
func (r *Reconciler) Reconcile(ctx context.Context, lease store.Lease) reconcile.Outcome {
	s, err := r.Open(ctx, lease)
	switch {
	case lazuli.CodeOf(err) == lazuli.CodeNotFound:
		return reconcile.Remove()
	case err != nil:
		// What cannot be read is named and left alone: nothing may follow from
		// not knowing.
		return reconcile.Failed(err)
	}
	return s.loop(ctx)
}
