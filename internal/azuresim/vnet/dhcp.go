// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
)

// Parts of a DHCP message (RFC 2131, RFC 2132).
const (
	dhcpServerPort, dhcpClientPort = 67, 68

	dhcpFixed  = 236 // bytes before the magic cookie
	dhcpLeast  = 300 // bytes of a message; older clients want as many
	bootReq    = 1
	bootReply  = 2
	ethernet   = 1
	macLen     = 6
	offOp      = 0
	offHType   = 1
	offHLen    = 2
	offXID     = 4
	offFlags   = 10
	offCIAddr  = 12
	offYIAddr  = 16
	offSIAddr  = 20
	offCHAddr  = 28
	lengthXID  = 4
	lengthIPv4 = 4

	dhcpDiscover = 1
	dhcpOffer    = 2
	dhcpRequest  = 3
	dhcpAck      = 5
	dhcpNak      = 6
	dhcpInform   = 8

	optMask       = 1
	optRouter     = 3
	optDNS        = 6
	optHostname   = 12
	optDomain     = 15
	optMTU        = 26
	optRequested  = 50
	optLease      = 51
	optType       = 53
	optServer     = 54
	optClientID   = 61
	optRoutes     = 121 // RFC 3442
	optWireServer = 245 // where Azure's agents find the wire server
	optPad        = 0
	optEnd        = 255
)

var dhcpCookie = []byte{99, 130, 83, 99}

// leaseForever is what Azure gives.
const leaseForever = 0xffffffff

// answerDHCP is the reply to a client's message on a machine's link, and the address that it goes to; nil when there is
// none. As in Azure there is one address for one interface, the lease never ends, and the routes (option 121) include
// the default one, because clients that know them ignore option 3.
func answerDHCP(p Port, message []byte) (reply []byte, to netip.Addr) {
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	mac, err := net.ParseMAC(p.At.MAC)
	options, ok := dhcpOptions(message)
	if err != nil || !ok || message[offOp] != bootReq || message[offHType] != ethernet || message[offHLen] != macLen ||
		!bytes.Equal(message[offCHAddr:offCHAddr+macLen], mac) || len(options[optType]) != 1 {
		return nil, broadcast
	}
	server := platformAddress.AsSlice()
	if id := options[optServer]; id != nil && !bytes.Equal(id, server) {
		return nil, broadcast // The client chose another server, though there is none.
	}
	own := p.At.Address.AsSlice()
	current := message[offCIAddr : offCIAddr+lengthIPv4]
	holds := !bytes.Equal(current, make([]byte, lengthIPv4))
	kind := byte(dhcpAck)
	switch options[optType][0] {
	case dhcpDiscover:
		kind = dhcpOffer
	case dhcpInform:
	case dhcpRequest:
		wanted := options[optRequested]
		if wanted == nil {
			wanted = current
		}
		if !bytes.Equal(wanted, own) {
			kind = dhcpNak
		}
	default:
		return nil, broadcast
	}
	reply = make([]byte, dhcpFixed, dhcpLeast)
	reply[offOp], reply[offHType], reply[offHLen] = bootReply, ethernet, macLen
	copy(reply[offXID:], message[offXID:offXID+lengthXID])
	copy(reply[offFlags:offFlags+2], message[offFlags:offFlags+2])
	copy(reply[offCHAddr:], mac)
	reply = append(reply, dhcpCookie...)
	add := func(code byte, value []byte) {
		reply = append(append(reply, code, byte(len(value))), value...)
	}
	add(optType, []byte{kind})
	add(optServer, server)
	if id := options[optClientID]; id != nil { // RFC 6842
		add(optClientID, id)
	}
	to = broadcast
	if kind != dhcpNak {
		copy(reply[offSIAddr:], server)
		if holds {
			copy(reply[offCIAddr:], current)
			if bytes.Equal(current, own) {
				to = p.At.Address
			}
		}
		if options[optType][0] != dhcpInform {
			copy(reply[offYIAddr:], own)
			add(optLease, binary.BigEndian.AppendUint32(nil, leaseForever))
		}
		addNetwork(p, add)
	}
	reply = append(reply, optEnd)
	for len(reply) < dhcpLeast {
		reply = append(reply, optPad)
	}
	return reply, to
}

// addNetwork adds what a guest needs to know of its network.
func addNetwork(p Port, add func(code byte, value []byte)) {
	g := guest{Port: p}
	gateway, platform := g.gateway().AsSlice(), platformAddress.AsSlice()
	const mtu, host = 1500, 32
	add(optMask, net.CIDRMask(p.At.Subnet.Bits(), host))
	add(optRouter, gateway)
	add(optDNS, platform)
	add(optHostname, []byte(computerName(p.Machine)))
	add(optDomain, []byte(machineDomain))
	add(optMTU, binary.BigEndian.AppendUint16(nil, mtu))
	routes := append([]byte{0}, gateway...)
	for _, a := range []netip.Addr{platformAddress, metadataAddress} {
		routes = append(append(append(routes, host), a.AsSlice()...), gateway...)
	}
	add(optRoutes, routes)
	add(optWireServer, platform)
}

// dhcpOptions reads the options of a message; false when it is none.
func dhcpOptions(message []byte) (map[byte][]byte, bool) {
	if len(message) < dhcpFixed+len(dhcpCookie) || !bytes.Equal(message[dhcpFixed:dhcpFixed+len(dhcpCookie)], dhcpCookie) {
		return nil, false
	}
	out := map[byte][]byte{}
	for rest := message[dhcpFixed+len(dhcpCookie):]; len(rest) > 0; {
		switch code := rest[0]; {
		case code == optPad:
			rest = rest[1:]
		case code == optEnd:
			return out, true
		case len(rest) < 2 || len(rest) < 2+int(rest[1]):
			return nil, false
		default:
			end := 2 + int(rest[1])
			out[code] = append(out[code], rest[2:end]...)
			rest = rest[end:]
		}
	}
	return out, true
}

// serveDHCP answers on a machine's link until it is detached. The lock of changes is held.
func (n *Network) serveDHCP(ctx context.Context, g *guest) error {
	c, err := n.listenPacket(ctx, "0.0.0.0", dhcpServerPort, broadcasting(g.link))
	if err != nil {
		return err
	}
	g.dhcp = c
	n.group.Go(func() {
		const largest = 1500
		buf := make([]byte, largest)
		for {
			size, _, err := c.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) || n.life.Err() != nil {
				return
			}
			if err != nil {
				n.pause()
				continue
			}
			n.mu.Lock()
			p := g.Port
			n.mu.Unlock()
			reply, to := answerDHCP(p, buf[:size])
			if reply == nil {
				continue
			}
			if _, err := c.WriteTo(reply, &net.UDPAddr{IP: to.AsSlice(), Port: dhcpClientPort}); err != nil && n.life.Err() == nil {
				n.log.Warn("answer DHCP", "machine", p.Machine.Name, "error", err)
			}
		}
	})
	return nil
}
