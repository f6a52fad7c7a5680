// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// dataPlane is the load balancers at work: what probes found, and the sockets on public addresses. probing, health and
// turns are guarded by the simulator's lock.
type dataPlane struct {
	sim     *Simulator
	probing map[string]bool
	health  map[string]map[string]health // by machine, then by probe
	turns   map[string]int
	pending bool

	life  life
	group sync.WaitGroup

	mu        sync.Mutex
	listeners map[string]net.Listener // by address
	conns     map[net.Conn]string     // to the address that they came in on
	closed    bool
}

func newDataPlane(s *Simulator) *dataPlane {
	return &dataPlane{
		sim: s, probing: map[string]bool{}, health: map[string]map[string]health{}, turns: map[string]int{}, life: life{s.closed},
		listeners: map[string]net.Listener{}, conns: map[net.Conn]string{},
	}
}

// life is the context of the sockets: they belong to no request and end with the simulator.
type life struct{ closed <-chan struct{} }

func (life) Deadline() (time.Time, bool) { return time.Time{}, false }

func (l life) Done() <-chan struct{} { return l.closed }

func (l life) Err() error {
	select {
	case <-l.closed:
		return context.Canceled
	default:
		return nil
	}
}

func (life) Value(any) any { return nil }

// record is one probe's answer.
func (d *dataPlane) record(machine, probe string, up bool, threshold int) {
	h := d.health[machine][probe]
	if up == h.up {
		h.streak = 0
	} else if h.streak++; h.streak >= threshold {
		h = health{up: up}
	}
	if d.health[machine] == nil {
		d.health[machine] = map[string]health{}
	}
	d.health[machine][probe] = h
}

// touchFront looks, soon, whether sockets must open or close. The lock is held.
func (s *Simulator) touchFront() {
	if s.cfg.Listen == nil || s.front.pending {
		return
	}
	s.front.pending = true
	s.outside(s.front.sync)
}

// wanted are the public addresses and ports of load balancing rules. The simulator's lock is held.
func (d *dataPlane) wanted() map[string]bool {
	out := map[string]bool{}
	for addr, key := range d.sim.net.public {
		ip := d.sim.store.byKey[key]
		if ip == nil {
			continue
		}
		for _, user := range d.sim.store.referrers(ip.id, "/loadbalancers/") {
			lb := d.sim.store.owner(user)
			for _, rule := range items(lb.body, "properties", "loadBalancingRules") {
				port, _ := number(rule, "properties", "frontendPort")
				if keyOf(str(rule, "properties", "frontendIPConfiguration", "id")) == keyOf(user) && !strings.EqualFold(str(rule, "properties", "protocol"), "Udp") {
					out[net.JoinHostPort(addr.String(), strconv.Itoa(port))] = true
				}
			}
		}
	}
	return out
}

// sync opens and closes sockets so that there is one for each rule.
func (d *dataPlane) sync() {
	d.sim.mu.Lock()
	d.pending = false
	want := d.wanted()
	d.sim.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	for _, addr := range sortedKeys(d.listeners) {
		if !want[addr] {
			d.shut(addr)
		}
	}
	for _, addr := range sortedKeys(want) {
		if d.listeners[addr] != nil {
			continue
		}
		l, err := d.sim.cfg.Listen(d.life, "tcp", addr)
		if err != nil {
			d.sim.log.Warn("open load balancer socket", "address", addr, "error", err)
			continue
		}
		d.listeners[addr] = l
		d.group.Go(func() { d.accept(l, addr) })
	}
}

func (d *dataPlane) shut(addr string) {
	_ = d.listeners[addr].Close() // It is going; nobody could do anything about an error.
	delete(d.listeners, addr)
	for c, on := range d.conns {
		if on == addr {
			_ = c.Close()
		}
	}
}

func (d *dataPlane) close() {
	d.mu.Lock()
	d.closed = true
	for _, addr := range sortedKeys(d.listeners) {
		d.shut(addr)
	}
	for c := range d.conns {
		_ = c.Close()
	}
	d.mu.Unlock()
	d.group.Wait()
}

func (d *dataPlane) accept(l net.Listener, addr string) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || d.life.Err() != nil {
				return
			}
			select { // Too many open files, as a rule: it passes.
			case <-d.life.Done():
				return
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		if !d.track(c, addr) {
			_ = c.Close()
			return
		}
		d.group.Go(func() {
			defer d.forget(c)
			d.serve(c, addr)
		})
	}
}

func (d *dataPlane) track(c net.Conn, addr string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.conns[c] = addr
	return true
}

func (d *dataPlane) forget(c net.Conn) {
	_ = c.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// serve joins a client with the machine that a load balancer chooses. A client that no machine may serve sees its
// connection close: the socket had to accept it before the decision.
func (d *dataPlane) serve(c net.Conn, addr string) {
	source := d.sim.cfg.ClientAddress
	if remote, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		source = remote.Addr().Unmap()
	}
	to, err := d.sim.dialFrom(d.life, source, addr)
	if err != nil {
		d.sim.log.Debug("load balancer drops a connection", "address", addr, "error", err)
		return
	}
	defer func() { _ = to.Close() }()
	Splice(c, to)
}

// Splice copies both ways until both ends are done. A half-closed side stays half-closed; a broken one ends both.
func Splice(a, b net.Conn) {
	var g sync.WaitGroup
	pipe := func(dst, src net.Conn) {
		_, err := io.Copy(dst, src)
		h, can := dst.(interface{ CloseWrite() error })
		if err == nil && can {
			_ = h.CloseWrite() // Either end may go at any time.
			return
		}
		_ = dst.Close()
		if err != nil {
			_ = src.Close()
		}
	}
	g.Go(func() { pipe(a, b) })
	pipe(b, a)
	g.Wait()
}

// dropWait is the simulated time that a dropped connection takes to fail.
const dropWait = 5 * time.Second

// DialContext connects to a public name or address of the cloud as a client on the Internet does, without sockets.
// Network is "tcp". Dropped packets are an error that wraps ErrUnreachable, after some simulated time.
func (s *Simulator) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if !strings.HasPrefix(network, "tcp") {
		return nil, fmt.Errorf("dial %s: network %q is not tcp", address, network)
	}
	s.advance()
	c, err := s.dialFrom(ctx, s.cfg.ClientAddress, address)
	if errors.Is(err, ErrUnreachable) {
		if late := s.sleep(ctx, dropWait); late != nil {
			return nil, fmt.Errorf("dial %s: %w", address, late)
		}
	}
	return c, err
}

// Route is DialContext without the connection: the id of the machine that would answer. Callers that speak to a
// machine in their own goroutine (model.Machines.Handler) find it so. It takes no time.
func (s *Simulator) Route(address string) (machine string, err error) {
	s.advance()
	w, err := s.route(s.cfg.ClientAddress, address)
	if err != nil {
		return "", fmt.Errorf("route to %s: %w", address, err)
	}
	return w.machine, nil
}

func (s *Simulator) route(source netip.Addr, address string) (way, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return way{}, err
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return way{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	addr, err := s.lookup(host)
	if err != nil {
		return way{}, err
	}
	return s.routePublic(source, addr, port)
}

func (s *Simulator) dialFrom(ctx context.Context, source netip.Addr, address string) (net.Conn, error) {
	w, err := s.route(source, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	c, err := s.cfg.Machines.Dial(ctx, w.machine, w.port)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return c, nil
}
