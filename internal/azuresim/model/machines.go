// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// Options configure the level.
type Options struct {
	// Logger gets a line per state transition of a machine. Default: none.
	Logger *slog.Logger
}

// Machines runs virtual machines at the model level. It implements azuresim.Machines and azuresim.Forgetter.
type Machines struct {
	log *slog.Logger

	mu       sync.Mutex
	machines map[string]*machine // by lower-case id
	clusters map[string]*cluster // by CA fingerprint
}

var (
	_ azuresim.Machines  = (*Machines)(nil)
	_ azuresim.Forgetter = (*Machines)(nil)
)

// New makes an empty level.
func New(o Options) *Machines {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Machines{log: log, machines: map[string]*machine{}, clusters: map[string]*cluster{}}
}

// machine is one virtual machine and what is on its disk. Fields below the line are guarded by Machines.mu.
type machine struct {
	azuresim.Machine
	key    string
	env    azuresim.Env
	owner  *Machines
	timing timing

	// boots counts starts: events of an earlier one do nothing.
	boots   int
	running bool
	began   time.Time
	// cluster is set once the machine is part of one; controlPlane says how.
	cluster      *cluster
	controlPlane bool
	// node is the registered node's name; kubelet says whether its kubelet runs.
	node    string
	kubelet bool
	// lost: the control plane has noticed that the kubelet is silent.
	lost bool
	// cni: the container network is installed on the disk.
	cni      bool
	apiUp    bool
	apiPort  int
	serving  *tls.Certificate
	frontend *frontend
}

// Start begins the boot of a machine. A machine that was stopped and not forgotten comes back with its disk: it does
// not run its user data again once it has joined.
func (ms *Machines) Start(env azuresim.Env, am azuresim.Machine) {
	key := strings.ToLower(am.ID)
	ms.mu.Lock()
	m, ok := ms.machines[key]
	if !ok {
		m = &machine{Machine: am, key: key, owner: ms}
		ms.machines[key] = m
	}
	if m.running {
		ms.mu.Unlock()
		return
	}
	m.Machine = am
	m.env = env
	m.running = true
	m.boots++
	m.began = env.Now()
	joined := m.node != ""
	ms.mu.Unlock()
	m.timing = drawTiming(env, key)
	ms.log.Info("machine started", "machine", am.Name, "rejoins", joined)
	if joined {
		m.rejoin()
		return
	}
	m.firstBoot()
}

// Stop pulls the plug. The disk stays until Forget. Unknown ids are ignored.
func (ms *Machines) Stop(id string) {
	ms.mu.Lock()
	m, ok := ms.machines[strings.ToLower(id)]
	if !ok || !m.running {
		ms.mu.Unlock()
		return
	}
	m.running, m.kubelet, m.apiUp = false, false, false
	m.boots++
	web, c := m.frontend, m.cluster
	m.frontend = nil
	ms.mu.Unlock()
	if web != nil {
		web.close()
	}
	ms.log.Info("machine stopped", "machine", m.Name)
	if c != nil {
		c.machineStopped(m)
	}
}

// Forget says that a machine and its disks are gone. The state of a cluster ends with its last control plane.
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
	last := c != nil && m.controlPlane
	if last {
		for _, other := range ms.machines {
			last = last && (other.cluster != c || !other.controlPlane)
		}
	}
	if last {
		c.gone = true
		delete(ms.clusters, c.id)
	}
	ms.mu.Unlock()
	if c != nil {
		c.machineForgotten(m)
	}
}

// Probe answers a health probe: the API server's port, and its health paths.
func (ms *Machines) Probe(id string, port int, path string) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m, ok := ms.machines[strings.ToLower(id)]
	if !ok || !m.running || !m.apiUp || port != m.apiPort {
		return false
	}
	path, _, _ = strings.Cut(path, "?")
	switch path {
	case "", "/readyz", "/livez", "/healthz":
		return true
	}
	return false
}

// Handler is the API that a control plane serves, for callers without sockets; false when it serves none. Requests are
// anonymous unless kubeapi.WithUser, a TLS state or a bearer token says otherwise.
func (ms *Machines) Handler(id string) (http.Handler, bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m, ok := ms.machines[strings.ToLower(id)]
	if !ok || !m.running || !m.apiUp {
		return nil, false
	}
	return m.cluster.api, true
}

// Dial connects to a port of a machine in memory. On the API server's port the other side speaks TLS and HTTP/1.1. A
// machine that does not run times out (azuresim.ErrUnreachable), a port where nothing listens is ECONNREFUSED.
func (ms *Machines) Dial(ctx context.Context, id string, port int) (net.Conn, error) {
	ms.mu.Lock()
	m, ok := ms.machines[strings.ToLower(id)]
	switch {
	case !ok || !m.running:
		ms.mu.Unlock()
		return nil, fmt.Errorf("dial port %d of %s: %w", port, id, azuresim.ErrUnreachable)
	case !m.apiUp || port != m.apiPort:
		ms.mu.Unlock()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	if m.frontend == nil {
		m.frontend = newFrontend(m.cluster.api, m.serving, m.env.Now)
	}
	web := m.frontend
	ms.mu.Unlock()
	return web.dial(ctx)
}

// after runs fn once after d unless the machine has been stopped by then.
func (m *machine) after(d time.Duration, fn func()) {
	m.owner.mu.Lock()
	boots := m.boots
	m.owner.mu.Unlock()
	m.env.After(d, func() {
		m.owner.mu.Lock()
		same := m.running && m.boots == boots
		m.owner.mu.Unlock()
		if same {
			fn()
		}
	})
}

// update changes guarded fields.
func (m *machine) update(fn func()) {
	m.owner.mu.Lock()
	defer m.owner.mu.Unlock()
	fn()
}

// say writes a line to the serial console with the kernel's idea of time.
func (m *machine) say(format string, a ...any) {
	up := m.env.Now().Sub(m.began).Seconds()
	for line := range strings.SplitSeq(fmt.Sprintf(format, a...), "\n") {
		m.env.Console(m.ID, fmt.Sprintf("[%12.6f] %s", up, line))
	}
}

// cloudInit writes a line as cloud-init's output is seen on the console.
func (m *machine) cloudInit(format string, a ...any) {
	m.say("cloud-init[1042]: "+format, a...)
}
