// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

const (
	dialTime  = 5 * time.Second
	probeTime = 2 * time.Second
)

// Dial opens a TCP connection to a machine from its gateway's address, as a load balancer that has checked the way does:
// no rule stops it. It takes five seconds at most.
func (n *Network) Dial(ctx context.Context, machineID string, port int) (net.Conn, error) {
	return n.dial(ctx, machineID, port, netip.Addr{}, dialTime)
}

func (n *Network) dial(ctx context.Context, machineID string, port int, source netip.Addr, limit time.Duration) (net.Conn, error) {
	address := n.address(machineID)
	if address == "" {
		return nil, fmt.Errorf("dial machine %s: it is not attached", machineID)
	}
	d := net.Dialer{Timeout: limit}
	d.SetMultipathTCP(false)
	if source.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: source.AsSlice()}
	}
	var c net.Conn
	err := inNamespace(n.ns, func() (err error) {
		c, err = d.DialContext(ctx, "tcp4", net.JoinHostPort(address, strconv.Itoa(port)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dial machine %s: %w", machineID, err)
	}
	return c, nil
}

// Probe asks a machine's health as Azure's load balancer does, from 168.63.129.16 and through the machine's inbound
// rules: HTTPS without verification when there is a path, which must answer 200, else TCP. It takes two seconds at most.
func (n *Network) Probe(ctx context.Context, machineID string, port int, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c, err := n.dial(ctx, machineID, port, platformAddress, probeTime)
	if err != nil {
		return false
	}
	defer c.Close()
	if path == "" {
		return true
	}
	once := make(chan net.Conn, 1)
	once <- c
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // probes do not verify (learn.microsoft.com, health probes)
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			select {
			case c := <-once:
				return c, nil
			default:
				return nil, errors.New("probe once")
			}
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(n.address(machineID), strconv.Itoa(port))+"/"+strings.TrimPrefix(path, "/"), nil)
	if err != nil {
		return false
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // The status was read.
	return resp.StatusCode == http.StatusOK
}

func (n *Network) address(machineID string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if g := n.guests[strings.ToLower(machineID)]; g != nil {
		return g.At.Address.String()
	}
	return ""
}

// proxy joins a guest's connection to a public address with the machine that answers there. What Azure would drop is
// reset.
func (n *Network) proxy(c net.Conn) {
	from, known := n.bySource(sourceOf(c.RemoteAddr().String()))
	to, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err == nil && !known {
		err = errors.New("no machine has the source address")
	}
	var back net.Conn
	if err == nil {
		back, err = n.answering(from.Machine.ID, netip.AddrPortFrom(firstByte(to.Addr(), 127), to.Port()))
	}
	if err == nil && !n.track(back) {
		_ = back.Close() // Nobody may have it any more.
		err = net.ErrClosed
	}
	if err != nil {
		n.log.Debug("drop a connection to a public address", "machine", from.Machine.Name, "address", to.String(), "error", err)
		if t, is := c.(*net.TCPConn); is {
			_ = t.SetLinger(0) // Else the client would see an orderly end.
		}
		return
	}
	defer n.forget(back)
	azuresim.Splice(c, back)
}

// answering connects to whatever answers at a public address.
func (n *Network) answering(from string, to netip.AddrPort) (net.Conn, error) {
	machine, port, err := n.cfg.Cloud.RouteFrom(from, to)
	if err != nil {
		return nil, err
	}
	switch {
	case machine == "":
		return nil, fmt.Errorf("reach %s: there is nothing outside", to)
	case n.address(machine) == "" && n.cfg.Dial != nil:
		return n.cfg.Dial(n.life, machine, port)
	}
	return n.Dial(n.life, machine, port)
}

// firstByte is an IPv4 address with another first byte: 127 for the simulator, 100 for guests.
func firstByte(a netip.Addr, b byte) netip.Addr {
	bytes := a.Unmap().As4()
	bytes[0] = b
	return netip.AddrFrom4(bytes)
}
