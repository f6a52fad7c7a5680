// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Retry says which headers tell a client when to come back.
type Retry int

const (
	// RetryAuto is RetryFast when Speed is above 1 and RetryFaithful otherwise.
	RetryAuto Retry = iota
	// RetryFaithful sends Retry-After in whole seconds where Azure sends it.
	RetryFaithful
	// RetryFast sends retry-after-ms and x-ms-retry-after-ms too, which azcore 1.24 prefers, on every reply that asks to
	// come back.
	RetryFast
)

// Config is the configuration of a simulator. The zero value is a faithful simulator in real time.
type Config struct {
	// Seed decides every draw: latencies, ids, faults.
	Seed uint64
	// Speed is the ratio of simulated to real time; default 1. With 1 the simulator works inside testing/synctest.
	Speed float64
	// Retry; default RetryAuto.
	Retry Retry
	// NoLatency drops the time that a request itself takes. Operations still take their time.
	NoLatency bool
	// Machines runs the virtual machines; nil: machines that only report ready, after the measured time.
	Machines Machines
	// Logger; default: nothing is logged.
	Logger *slog.Logger
	// Listen opens the sockets of load balancers; nil: no sockets, only DialContext.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)
	// ClientAddress is the address that DialContext comes from; default 127.0.0.1.
	ClientAddress netip.Addr
	// AccountingTag is the tag whose value groups the call counts; "" groups nothing.
	AccountingTag string
	// PageSize of lists; default 100.
	PageSize int
	// RoleDelay makes a role assignment that is created over the wire effective only after the minutes that Azure needs.
	RoleDelay bool
	// KeepActs keeps the times of every write for Acts.
	KeepActs bool
	// Faults are the rules in force from the start.
	Faults []Fault
}

// Simulator is one Azure cloud. It is safe for use by several goroutines.
type Simulator struct {
	cfg     Config
	log     *slog.Logger
	epoch   time.Time
	latency map[string]distribution
	catalog *catalog
	kinds   map[string]*kind

	runner sync.Mutex // held while events run
	wake   chan struct{}
	closed chan struct{}
	once   sync.Once

	mu        sync.Mutex // guards everything below
	queue     eventHeap
	seq       uint64
	eventTime time.Time
	draws     map[uint64]int
	guids     uint64

	world    world
	store    *store
	ops      map[string]*operation
	locks    map[string]*lock
	throttle *throttle
	faults   []*faultState
	calls    *ledger
	acts     []record
	net      network
	vms      map[string]*guest
	front    *dataPlane
	// announced: Machines will be told of a change of the network.
	announced bool
}

// New makes a simulator without tenants. Close it.
func New(cfg Config) (*Simulator, error) {
	if cfg.Speed == 0 {
		cfg.Speed = 1
	}
	if cfg.Speed < 0 {
		return nil, fmt.Errorf("make simulator: speed %v is negative", cfg.Speed)
	}
	if cfg.Retry == RetryAuto {
		cfg.Retry = RetryFaithful
		if cfg.Speed > 1 {
			cfg.Retry = RetryFast
		}
	}
	if cfg.PageSize <= 0 {
		cfg.PageSize = 100
	}
	if !cfg.ClientAddress.IsValid() {
		cfg.ClientAddress = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	table, err := loadLatency()
	if err != nil {
		return nil, err
	}
	cat, err := loadCatalog()
	if err != nil {
		return nil, err
	}
	s := &Simulator{
		cfg: cfg, log: log, epoch: time.Now(), latency: table, catalog: cat,
		wake: make(chan struct{}, 1), closed: make(chan struct{}),
		draws: map[uint64]int{}, world: newWorld(), store: newStore(), ops: map[string]*operation{},
		locks: map[string]*lock{}, throttle: newThrottle(), calls: newLedger(), net: newNetwork(), vms: map[string]*guest{},
	}
	s.kinds = kinds()
	s.front = newDataPlane(s)
	if s.cfg.Machines == nil {
		s.cfg.Machines = &bareMachines{}
	}
	if err := s.SetFaults(cfg.Faults); err != nil {
		return nil, err
	}
	return s, nil
}

// Close stops the pump, the sockets of load balancers and every machine.
func (s *Simulator) Close() {
	s.once.Do(func() { close(s.closed) })
	s.front.close()
	s.mu.Lock()
	ids := make([]string, 0, len(s.vms))
	for _, key := range sortedKeys(s.vms) {
		ids = append(ids, s.vms[key].machine.ID)
	}
	s.queue = nil
	s.mu.Unlock()
	for _, id := range ids {
		s.cfg.Machines.Stop(id)
	}
}

// Handler answers Entra ID, Azure Resource Manager and the simulator's own endpoints on one host.
func (s *Simulator) Handler() http.Handler { return http.HandlerFunc(s.serveHTTP) }

// Now is the simulated time.
func (s *Simulator) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// Outside is Env. Inside an event it is the time outside at which the event was due.
func (s *Simulator) Outside() time.Time {
	now := s.Now()
	if s.cfg.Speed == 1 {
		return now
	}
	return s.epoch.UTC().Add(time.Duration(float64(now.Sub(s.epoch)) / s.cfg.Speed))
}

// Until is Env.
func (s *Simulator) Until(t time.Time) time.Duration {
	const longest = 100 * 365 * 24 * time.Hour
	d := float64(t.Sub(s.Outside())) * s.cfg.Speed
	return time.Duration(min(max(d, -float64(longest)), float64(longest)))
}

// After is Env.
func (s *Simulator) After(d time.Duration, fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.push(d, fn, true)
}

// Rand is Env.
func (s *Simulator) Rand(name string) *rand.Rand { return stream(s.cfg.Seed, name) }

func keyOf(id string) string { return strings.ToLower(strings.TrimRight(id, "/")) }
