// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
)

// listen opens a TCP socket in the network's namespace.
func (n *Network) listen(ctx context.Context, address string, port int, control func(string, string, syscall.RawConn) error) (net.Listener, error) {
	var l net.Listener
	err := inNamespace(n.ns, func() (err error) {
		lc := net.ListenConfig{Control: control}
		lc.SetMultipathTCP(false)
		l, err = lc.Listen(ctx, "tcp4", net.JoinHostPort(address, strconv.Itoa(port)))
		return err
	})
	if err == nil {
		n.closers = append(n.closers, l)
	}
	return l, err
}

// listenPacket opens a UDP socket in the network's namespace.
func (n *Network) listenPacket(ctx context.Context, address string, port int, control func(string, string, syscall.RawConn) error) (net.PacketConn, error) {
	var c net.PacketConn
	err := inNamespace(n.ns, func() (err error) {
		lc := net.ListenConfig{Control: control}
		c, err = lc.ListenPacket(ctx, "udp4", net.JoinHostPort(address, strconv.Itoa(port)))
		return err
	})
	return c, err
}

// serve starts the platform's servers.
func (n *Network) serve(ctx context.Context) error {
	const dnsPort, httpPort = 53, 80
	udp, err := n.listenPacket(ctx, platformAddress.String(), dnsPort, nil)
	if err != nil {
		return err
	}
	n.closers = append(n.closers, udp)
	n.group.Go(func() { n.serveDNS(udp) })
	tcp, err := n.listen(ctx, platformAddress.String(), dnsPort, nil)
	if err != nil {
		return err
	}
	n.group.Go(func() { n.accept(tcp, n.answerDNS) })
	proxy, err := n.listen(ctx, "0.0.0.0", proxyPort, transparent())
	if err != nil {
		return err
	}
	n.group.Go(func() { n.accept(proxy, n.proxy) })
	handlers := map[netip.Addr]http.Handler{
		metadataAddress: metadataHandler(n.tagged),
		platformAddress: wireHandler(n.bySource, n.report),
	}
	if n.cfg.Mirror != "" {
		root, err := os.OpenRoot(n.cfg.Mirror)
		if err != nil {
			return err
		}
		n.closers = append(n.closers, root)
		handlers[mirrorAddress] = mirrorHandler(root)
	}
	for address, h := range handlers {
		l, err := n.listen(ctx, address.String(), httpPort, nil)
		if err != nil {
			return err
		}
		s := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second}
		n.closers = append(n.closers, s)
		n.group.Go(func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) && n.life.Err() == nil {
				n.log.Warn("serve the platform's address", "address", address.String(), "error", err)
			}
		})
	}
	return nil
}

func (n *Network) report(machineID string, err error) {
	if n.cfg.Report != nil {
		n.cfg.Report(machineID, err)
	}
}

// accept gives each connection to a function of its own until the network closes.
func (n *Network) accept(l net.Listener, fn func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || n.life.Err() != nil {
				return
			}
			n.pause()
			continue
		}
		if !n.track(c) {
			_ = c.Close() // It goes either way.
			return
		}
		n.group.Go(func() {
			defer n.forget(c)
			fn(c)
		})
	}
}

// pause waits a little after an error of a socket: too many open files, as a rule. It passes.
func (n *Network) pause() {
	select {
	case <-n.life.Done():
	case <-time.After(100 * time.Millisecond):
	}
}

func (n *Network) track(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.conns[c] = true
	return true
}

func (n *Network) forget(c net.Conn) {
	_ = c.Close() // It goes either way.
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// sourceOf is the address of a peer.
func sourceOf(address string) netip.Addr {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}
