// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

var (
	AnswerDHCP      = answerDHCP
	DHCPOptions     = dhcpOptions
	AnswerName      = answerName
	MetadataHandler = metadataHandler
	WireHandler     = wireHandler
)

// MirrorHandler serves a directory.
func MirrorHandler(root *os.Root) http.Handler { return mirrorHandler(root) }

// Ruleset is the rules of machines by the names of their links.
func Ruleset(machines map[string]azuresim.Attachment) string {
	var list []attached
	for link, at := range machines {
		list = append(list, attached{link, at})
	}
	return ruleset(list)
}

// Source is how handlers find who asks, when there is one machine.
func Source(p Port) func(netip.Addr) (Port, bool) {
	return func(netip.Addr) (Port, bool) { return p, true }
}

// ListenIn opens a listener in a namespace.
func ListenIn(t *testing.T, path, network, address string) (l net.Listener) {
	t.Helper()
	ns, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	err = inNamespace(ns, func() (err error) {
		l, err = net.Listen(network, address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// DialIn connects from a namespace.
func DialIn(ctx context.Context, path, address string) (c net.Conn, err error) {
	ns, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	err = inNamespace(ns, func() (err error) {
		var d net.Dialer
		c, err = d.DialContext(ctx, "tcp4", address)
		return err
	})
	return c, err
}
