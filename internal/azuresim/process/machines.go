// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// hollowProgram is the hollow kubelet.
const hollowProgram = "kubemark"

// Options configure the level.
type Options struct {
	// Artefact is the folder of the cached artefact: it holds bin/ with the Kubernetes programs and artefact.json.
	Artefact string
	// Dir holds the disks of machines and clusters; one process at a time has it. What an earlier one left there is
	// deleted. Default: a new temporary folder that Close deletes; when the process was killed, the next one does.
	Dir string
	// Logger gets a line per state transition of a machine. Default: none.
	Logger *slog.Logger
}

// Machines runs virtual machines at the level of processes. It implements azuresim.Machines and azuresim.Forgetter.
type Machines struct {
	artefact, bin, dir string
	temporary          bool
	lock               *os.File
	log                *slog.Logger
	proxy              *proxy
	probes             probes

	mu       sync.Mutex
	closed   bool
	machines map[string]*machine // by lower-case id
	clusters map[string]*cluster // by the SHA-256 of the CA certificate
	made     int                 // folders so far
	running  sync.WaitGroup      // boots and probes
}

var (
	_ azuresim.Machines  = (*Machines)(nil)
	_ azuresim.Forgetter = (*Machines)(nil)
)

// New makes an empty level. It does not look at the artefact: see Missing.
func New(o Options) (*Machines, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	artefact := o.Artefact
	if to, err := filepath.EvalSymlinks(artefact); err == nil {
		artefact = to // A new artefact may take its name at any time: all processes are of one.
	}
	ms := &Machines{
		artefact: artefact, bin: filepath.Join(artefact, "bin"), dir: o.Dir, log: log,
		machines: map[string]*machine{}, clusters: map[string]*cluster{},
	}
	ms.probes.owner, ms.probes.last = ms, map[probeKey]*probe{}
	if err := ms.open(); err != nil {
		return nil, err
	}
	var err error
	if ms.proxy, err = newProxy(); err != nil {
		err = errors.Join(err, ms.lock.Close())
		if ms.temporary {
			err = errors.Join(err, os.RemoveAll(ms.dir))
		}
		return nil, err
	}
	return ms, nil
}

// Temporary folders begin with temporaryName once they are locked, and with another name before.
const (
	temporaryName = "lazuli-process-"
	unlockedName  = "lazuli-new-process-"
	lockName      = "lock"
)

// open makes the folder for machines, and takes it.
func (ms *Machines) open() (err error) {
	if ms.dir != "" {
		if ms.dir, err = filepath.Abs(ms.dir); err != nil {
			return fmt.Errorf("make a folder for machines: %w", err)
		}
		return ms.takeDir()
	}
	ms.temporary = true
	base, err := filepath.Abs(os.TempDir())
	if err != nil {
		return fmt.Errorf("make a folder for machines: %w", err)
	}
	sweepTemporary(base, ms.log)
	if ms.dir, err = os.MkdirTemp(base, unlockedName); err != nil {
		return fmt.Errorf("make a folder for machines: %w", err)
	}
	if err := ms.takeDir(); err != nil {
		return errors.Join(err, os.RemoveAll(ms.dir))
	}
	dir := filepath.Join(base, temporaryName+strings.TrimPrefix(filepath.Base(ms.dir), unlockedName))
	if err := os.Rename(ms.dir, dir); err != nil {
		return errors.Join(fmt.Errorf("make a folder for machines: %w", err), ms.lock.Close(), os.RemoveAll(ms.dir))
	}
	ms.dir = dir
	return nil
}

// sweepTemporary deletes this user's temporary folders whose simulators were killed: there are keys in them. One that lives
// holds its lock.
func sweepTemporary(base string, log *slog.Logger) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasPrefix(e.Name(), temporaryName) || !info.IsDir() || !ours(info) {
			continue
		}
		dir := filepath.Join(base, e.Name())
		if err := sweepOne(dir, log); err != nil {
			log.Warn("delete what a killed simulator left", "directory", dir, "error", err)
		}
	}
}

func sweepOne(dir string, log *slog.Logger) error {
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist): // It is half deleted.
	case err != nil:
		return err
	default:
		defer lock.Close() //nolint:errcheck // a lock
		if lockFile(lock) != nil {
			return nil // Its simulator lives.
		}
	}
	log.Info("deleting what a killed simulator left", "directory", dir)
	return os.RemoveAll(dir)
}

// takeDir locks the folder and clears it.
func (ms *Machines) takeDir() error {
	if err := os.MkdirAll(ms.dir, 0o700); err != nil {
		return fmt.Errorf("make a folder for machines: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(ms.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock the folder of machines: %w", err)
	}
	if err := lockFile(lock); err != nil {
		return errors.Join(fmt.Errorf("lock the folder of machines %s, which another process uses: %w", ms.dir, err), lock.Close())
	}
	ms.lock = lock
	for path, pid := range socketOwners() {
		if pid == 0 {
			_ = os.Remove(path) // Left by a simulator that was killed. Another user's stays.
		}
	}
	for _, sub := range []string{"machines", "clusters"} {
		if err := os.RemoveAll(filepath.Join(ms.dir, sub)); err != nil {
			return errors.Join(fmt.Errorf("clear the folder of machines: %w", err), lock.Close())
		}
	}
	return nil
}

// programs are what the level runs.
func programs() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubeadm", hollowProgram}
}

// Missing says what this machine lacks for the level; empty when it can run.
func (ms *Machines) Missing(ctx context.Context) []string { return Missing(ctx, ms.artefact) }

// Missing is Machines.Missing without a level.
func Missing(_ context.Context, artefact string) []string {
	if runtime.GOOS != "linux" {
		return []string{"Linux, for processes that end with their parent"}
	}
	var out []string
	if _, err := os.Stat(filepath.Join(artefact, "bin")); errors.Is(err, fs.ErrNotExist) {
		return []string{"a node image in " + filepath.Dir(artefact) + " (make simnode makes one)"}
	}
	for _, name := range programs() {
		path := filepath.Join(artefact, "bin", name)
		info, err := os.Stat(path)
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			out = append(out, "the program "+path)
		}
	}
	if l, err := net.Listen("tcp", "127.255.0.1:0"); err != nil { //nolint:noctx // at once
		out = append(out, "loopback addresses beyond 127.0.0.1: "+err.Error())
	} else {
		_ = l.Close()
	}
	return out
}

// Start begins the boot of a machine. A machine that was stopped and not forgotten comes back with its disk, and as what it
// was first described: once it has joined, it does not run its user data again.
func (ms *Machines) Start(env azuresim.Env, am azuresim.Machine) {
	key := strings.ToLower(am.ID)
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.closed {
		return
	}
	m, ok := ms.machines[key]
	if !ok {
		ms.made++
		m = &machine{Machine: am, env: env, key: key, owner: ms, dir: filepath.Join(ms.dir, "machines", fmt.Sprint(ms.made))}
		ms.machines[key] = m
	}
	if m.running {
		return
	}
	// Boots of one machine follow each other: the last one's processes may still be ending.
	before := m.ended
	ctx, cancel := context.WithCancel(context.Background()) // The boot's life is the machine's.
	m.running, m.stop, m.ended = true, cancel, make(chan struct{})
	ended := m.ended
	ms.log.Info("machine started", "machine", am.Name, "rejoins", m.joined)
	ms.running.Go(func() {
		defer close(ended)
		if before != nil {
			<-before
		}
		m.run(ctx)
	})
}

// Stop pulls the plug. The disk stays until Forget. Unknown ids are ignored. It returns when the machine's processes have
// been told to end; they may be dying still.
func (ms *Machines) Stop(id string) {
	ms.mu.Lock()
	m, ok := ms.machines[strings.ToLower(id)]
	if !ok || !m.running {
		ms.mu.Unlock()
		return
	}
	m.running = false
	m.stop()
	ms.mu.Unlock()
	ms.log.Info("machine stopped", "machine", m.Name)
}

// Forget says that a machine and its disks are gone. A cluster ends with its last control plane.
func (ms *Machines) Forget(id string) {
	ms.Stop(id)
	ms.mu.Lock()
	key := strings.ToLower(id)
	m, ok := ms.machines[key]
	if !ok {
		ms.mu.Unlock()
		return
	}
	delete(ms.machines, key)
	c := m.cluster
	if c != nil {
		delete(c.members, m)
		if len(c.members) > 0 {
			c = nil
		} else {
			delete(ms.clusters, c.id)
		}
	}
	ms.running.Go(func() {
		<-m.ended
		err := os.RemoveAll(m.dir)
		if c != nil {
			c.down()
			err = errors.Join(err, os.RemoveAll(c.dir))
		}
		if err != nil {
			ms.log.Warn("delete disks", "machine", m.Name, "error", err)
		}
	})
	ms.mu.Unlock()
}

// Close stops all machines, waits until nothing of them runs, and deletes a temporary folder.
func (ms *Machines) Close() error {
	ms.mu.Lock()
	ms.closed = true
	for _, m := range ms.machines {
		if m.running {
			m.running = false
			m.stop()
		}
	}
	ms.mu.Unlock()
	ms.probes.stop()
	ms.running.Wait()
	ms.mu.Lock()
	clusters := ms.clusters
	ms.clusters = map[string]*cluster{}
	ms.mu.Unlock()
	for _, c := range clusters {
		c.down()
	}
	ms.proxy.close()
	err := ms.lock.Close()
	if ms.temporary {
		err = errors.Join(err, os.RemoveAll(ms.dir))
	}
	if err != nil {
		return fmt.Errorf("close machines: %w", err)
	}
	return nil
}

// Dial connects to the API server of a control plane. A machine that does not run times out (azuresim.ErrUnreachable), a
// port where nothing listens is ECONNREFUSED.
func (ms *Machines) Dial(ctx context.Context, id string, port int) (net.Conn, error) {
	ms.mu.Lock()
	m, ok := ms.machines[strings.ToLower(id)]
	if !ok || !m.running {
		ms.mu.Unlock()
		return nil, fmt.Errorf("dial port %d of %s: %w", port, id, azuresim.ErrUnreachable)
	}
	c := m.cluster
	if c == nil || !m.serves || port != m.port {
		ms.mu.Unlock()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	address := c.address()
	ms.mu.Unlock()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	cn := &conn{Conn: raw, of: m}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if !m.running || !m.serves {
		return nil, errors.Join(fmt.Errorf("dial port %d of %s: %w", port, id, azuresim.ErrUnreachable), raw.Close())
	}
	if m.conns == nil {
		m.conns = map[*conn]bool{}
	}
	m.conns[cn] = true
	return cn, nil
}

// Probe is the last result of a probe that runs in the background from the first call on: it does not block.
func (ms *Machines) Probe(id string, port int, path string) bool {
	return ms.probes.result(probeKey{strings.ToLower(id), port, path})
}
