// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// Options configure the level.
type Options struct {
	// Cache is the directory that holds the node images. Default: DefaultCache.
	Cache string
	// Dir is the directory of this simulator: disks of its machines, a lock file. It is removed by Close, and what lies
	// beside it is swept when its simulator is gone. It should be on the file system of the cache, so that image stores
	// are linked and not copied. Default: run/<pid> in the cache.
	Dir string
	// Logger gets a line per state transition of a machine. Default: none.
	Logger *slog.Logger
}

// DefaultCache is the directory of node images when none is chosen: $LAZULI_SIMNODE_CACHE, else lazuli/simnode in the
// user's cache directory. What makes the images (simnode/) finds it in the same way.
func DefaultCache(getenv func(string) string) (string, error) {
	if dir := getenv("LAZULI_SIMNODE_CACHE"); dir != "" {
		return dir, nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache of node images: %w", err)
	}
	return filepath.Join(base, "lazuli", "simnode"), nil
}

func (o Options) withDefaults() (_ Options, err error) {
	if o.Cache == "" {
		if o.Cache, err = DefaultCache(os.Getenv); err != nil {
			return o, err
		}
	}
	if o.Dir == "" {
		o.Dir = filepath.Join(o.Cache, "run", fmt.Sprint(os.Getpid()))
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, dir := range []*string{&o.Cache, &o.Dir} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return o, err
		}
		*dir = abs
	}
	return o, nil
}

// Machines runs virtual machines. It implements azuresim.Machines, azuresim.Forgetter and azuresim.NetworkWatcher.
type Machines struct {
	log      *slog.Logger
	dir      string
	prefix   string
	artefact artefact
	groups   []hierarchy
	lock     *os.File
	undo     func() // of what was changed on the host

	life    context.Context
	end     context.CancelFunc
	workers sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	machines map[string]*machine // by id in lower case
	disks    int                 // that were ever made
	changed  bool                // attachments may have changed, and nobody looks yet
	watching bool

	networks networks
	probes   probes
}

var (
	_ azuresim.Machines       = (*Machines)(nil)
	_ azuresim.Forgetter      = (*Machines)(nil)
	_ azuresim.NetworkWatcher = (*Machines)(nil)
)

// New makes the level ready, after it has swept what killed simulators left. It needs what Missing asks for.
func New(o Options) (*Machines, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background()) // The machines outlive every call until Close.
	ms := &Machines{log: o.Logger, dir: o.Dir, life: life, end: end, machines: map[string]*machine{}, undo: func() {}}
	if lacks := Missing(life, o); len(lacks) > 0 {
		end()
		return nil, fmt.Errorf("run virtual machines: %s", strings.Join(lacks, "; "))
	}
	if err := ms.open(o); err != nil {
		return nil, fmt.Errorf("run virtual machines: %w", errors.Join(err, ms.Close()))
	}
	return ms, nil
}

func (ms *Machines) open(o Options) (err error) {
	if ms.artefact, err = openArtefact(o.Cache); err != nil {
		return err
	}
	if ms.groups, err = hierarchies(); err != nil {
		return err
	}
	if ms.lock, ms.prefix, err = claim(ms.life, o.Dir, ms.log); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(ms.dir, launchName), []byte(launchScript), 0o600); err != nil {
		return err
	}
	ms.networks = networks{owner: ms, byID: map[string]*shared{}}
	ms.probes = probes{owner: ms, last: map[probe]*answer{}}
	ms.undo = makeRoom(filepath.Dir(ms.dir), ms.log)
	return nil
}

// Start begins the boot of a machine. A machine that was stopped and not forgotten boots from the same disk. A boot that
// cannot start is a failed provisioning.
func (ms *Machines) Start(env azuresim.Env, am azuresim.Machine) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	key := strings.ToLower(am.ID)
	m := ms.machines[key]
	switch {
	case ms.closed || m != nil && m.on:
		return
	case m == nil:
		m = &machine{owner: ms, key: key}
		ms.machines[key] = m
	}
	m.on, m.env = true, env
	var ctx context.Context
	ctx, m.pull = context.WithCancel(ms.life)
	m.enqueue(func() { m.boot(ctx, env, am) })
}

// Stop pulls the plug. The disks stay until Forget. Unknown ids are ignored.
func (ms *Machines) Stop(id string) { ms.stop(id, false) }

// Forget removes everything of a machine.
func (ms *Machines) Forget(id string) { ms.stop(id, true) }

func (ms *Machines) stop(id string, forget bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m := ms.machines[strings.ToLower(id)]; m != nil {
		m.stop(forget)
	}
}

// Dial connects to a port of a running machine through its network; azuresim.ErrUnreachable when it does not run.
func (ms *Machines) Dial(ctx context.Context, id string, port int) (net.Conn, error) {
	n := ms.networkOf(id)
	if n == nil {
		return nil, fmt.Errorf("dial port %d of %s: %w", port, id, azuresim.ErrUnreachable)
	}
	return n.Dial(ctx, id, port)
}

// Probe is what the last probe of this kind found; it is asked again about once a second while somebody wants to know.
// It does not block.
func (ms *Machines) Probe(id string, port int, path string) bool {
	return ms.probes.ask(strings.ToLower(id), port, path)
}

// NetworkChanged gives the networks the machines' present attachments, soon.
func (ms *Machines) NetworkChanged() {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.changed = true
	if ms.watching || ms.closed {
		return
	}
	ms.watching = true
	ms.workers.Go(ms.update)
}

// Close ends all machines and removes everything of them.
func (ms *Machines) Close() error {
	ms.mu.Lock()
	if ms.closed {
		ms.mu.Unlock()
		return nil
	}
	ms.closed = true
	for _, m := range ms.machines {
		m.stop(true)
	}
	ms.mu.Unlock()
	ms.end()
	ms.workers.Wait()
	errs := []error{ms.networks.close()}
	if ms.lock != nil {
		errs = append(errs, os.RemoveAll(ms.dir), ms.lock.Close())
	}
	ms.undo()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close virtual machines: %w", err)
	}
	return nil
}

// report is the guest agent's word.
func (ms *Machines) report(id string, err error) {
	ms.mu.Lock()
	m := ms.machines[strings.ToLower(id)]
	if m == nil {
		ms.mu.Unlock()
		return
	}
	env := m.env
	if err == nil {
		m.enqueue(m.eject)
	}
	ms.mu.Unlock()
	if err != nil {
		ms.log.Warn("guest reports failure", "machine", id, "error", err)
	} else {
		ms.log.Info("guest reports ready", "machine", id)
	}
	env.Provisioned(id, err)
}
