// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsTTL is short, because machines and addresses come and go.
const dnsTTL = 10

// resolve finds the address that a guest has for a name.
func (n *Network) resolve(name string) (netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == mirrorName {
		return mirrorAddress, n.cfg.Mirror != ""
	}
	host, qualified := strings.CutSuffix(name, "."+machineDomain)
	if !strings.Contains(host, ".") {
		return n.byName(host)
	}
	if _, err := netip.ParseAddr(name); err == nil || qualified {
		return netip.Addr{}, false
	}
	a, err := n.cfg.Cloud.LookupHost(name)
	if err != nil || !a.Is4() {
		return netip.Addr{}, false
	}
	if a.IsLoopback() {
		a = firstByte(a, 100)
	}
	return a, true
}

// answerName is the reply to one DNS message; nil when it is not understood. There are A records only; a name that
// does not exist, and every name of the real Internet, is NXDOMAIN.
func answerName(message []byte, resolve func(name string) (netip.Addr, bool)) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(message)
	if err != nil || head.Response {
		return nil
	}
	reply := dnsmessage.Message{Header: dnsmessage.Header{
		ID: head.ID, Response: true, OpCode: head.OpCode, RecursionDesired: head.RecursionDesired, RecursionAvailable: true,
	}}
	q, err := p.Question()
	switch {
	case err != nil:
		reply.RCode = dnsmessage.RCodeFormatError
	case head.OpCode != 0:
		reply.RCode = dnsmessage.RCodeNotImplemented
	default:
		reply.Questions = []dnsmessage.Question{q}
		a, found := resolve(q.Name.String())
		if !found {
			reply.RCode = dnsmessage.RCodeNameError
		} else if q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeALL {
			reply.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: dnsTTL},
				Body:   &dnsmessage.AResource{A: a.As4()},
			}}
		}
	}
	out, err := reply.Pack()
	if err != nil {
		return nil
	}
	return out
}

// serveDNS answers over UDP.
func (n *Network) serveDNS(c net.PacketConn) {
	const largest = 4096
	buf := make([]byte, largest)
	for {
		size, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) || n.life.Err() != nil {
			return
		}
		if err != nil {
			n.pause()
			continue
		}
		message := append([]byte(nil), buf[:size]...)
		n.group.Go(func() { // The cloud may take its time.
			if reply := answerName(message, n.resolve); reply != nil {
				_, _ = c.WriteTo(reply, from) // The guest asks again.
			}
		})
	}
}

// answerDNS answers over TCP (RFC 1035, 4.2.2).
func (n *Network) answerDNS(c net.Conn) {
	for {
		if c.SetDeadline(time.Now().Add(10*time.Second)) != nil {
			return
		}
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		message := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, message); err != nil {
			return
		}
		reply := answerName(message, n.resolve)
		if reply == nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}
