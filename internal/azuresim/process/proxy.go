// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// proxy is how hollow kubelets get out of their machines: it takes CONNECT and asks the machine where the connection ends.
type proxy struct {
	listener net.Listener
	server   *http.Server
	done     chan struct{}

	mu    sync.Mutex
	doors map[string]dialer // by the secret that a machine's processes know
	conns map[net.Conn]string
}

func newProxy() (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return nil, fmt.Errorf("listen for kubelets: %w", err)
	}
	p := &proxy{listener: l, done: make(chan struct{}), doors: map[string]dialer{}, conns: map[net.Conn]string{}}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(p.done)
		_ = p.server.Serve(l) // Ends with ErrServerClosed.
	}()
	return p, nil
}

// open makes a way out and returns the proxy's address for it.
func (p *proxy) open(dial dialer) (url, secret string) {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // Never fails.
	secret = hex.EncodeToString(raw)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doors[secret] = dial
	return "http://" + secret + ":@" + p.listener.Addr().String(), secret
}

// shut ends a way out and its connections.
func (p *proxy) shut(secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.doors, secret)
	for c, of := range p.conns {
		if of == secret {
			_ = c.Close()
		}
	}
}

func (p *proxy) close() {
	_ = p.server.Close()
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// keep remembers a connection for as long as it is open; false when its door is shut.
func (p *proxy) keep(c net.Conn, secret string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doors[secret] == nil {
		return false
	}
	p.conns[c] = secret
	return true
}

func (p *proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// ServeHTTP is http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	probe := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	secret, _, _ := probe.BasicAuth()
	p.mu.Lock()
	dial := p.doors[secret]
	p.mu.Unlock()
	if r.Method != http.MethodConnect || dial == nil {
		http.Error(w, "only for the simulator's machines", http.StatusForbidden)
		return
	}
	far, err := dial(r.Context(), "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = far.Close() }()
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	near, _, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer func() { _ = near.Close() }()
	if !p.keep(near, secret) {
		return
	}
	defer p.forget(near)
	if _, err := io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(far, near) // Either side's end is the connection's.
		_ = far.Close()
	}()
	_, _ = io.Copy(near, far)
}

// dial is a connection from inside a machine. Its own addresses are itself; self adds names that its hosts file pins.
func (m *machine) dial(self ...string) dialer {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		host, portText, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
		port, err := strconv.Atoi(portText)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
		if slices.Contains(append(self, m.PrivateIP), host) {
			return m.owner.Dial(ctx, m.ID, port)
		}
		// Reach says no in the words of the cloud; RouteFrom knows the port behind a load balancer.
		to, err := m.env.Reach(m.ID, host, port)
		if err != nil {
			return nil, fmt.Errorf("dial tcp %s: %w", address, err)
		}
		if to == "" {
			return nil, fmt.Errorf("dial tcp %s: %w: the Internet is not simulated", address, azuresim.ErrUnreachable)
		}
		if ip, err := m.env.LookupHost(host); err == nil {
			if behind, at, err := m.env.RouteFrom(m.ID, netip.AddrPortFrom(ip, uint16(port))); err == nil && behind != "" {
				to, port = behind, at
			}
		} else if !errors.Is(err, azuresim.ErrNoSuchHost) {
			return nil, fmt.Errorf("dial tcp %s: %w", address, err)
		}
		return m.owner.Dial(ctx, to, port)
	}
}
