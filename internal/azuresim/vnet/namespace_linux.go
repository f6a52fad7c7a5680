// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// inNamespace runs a function on a thread that is in the network namespace: sockets that it opens are the namespace's.
// The function must stay in its goroutine. A thread that does not find its way back ends.
func inNamespace(ns *os.File, fn func() error) error {
	if ns == nil {
		return errors.New("enter network namespace: there is none")
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer home.Close() //nolint:errcheck // read only
		if err := enter(ns); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err = fn()
		if enter(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// enter moves the thread into a namespace. The file cannot be closed meanwhile.
func enter(ns *os.File) error {
	c, err := ns.SyscallConn()
	if err != nil {
		return err
	}
	bad := c.Control(func(fd uintptr) { err = unix.Setns(int(fd), unix.CLONE_NEWNET) })
	return errors.Join(bad, err)
}

// linksOf lists the links of a namespace; without a name, of ours.
func linksOf(namespace string) ([]string, error) {
	var out []string
	list := func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			out = append(out, i.Name)
		}
		return err
	}
	if namespace == "" {
		return out, list()
	}
	ns, err := os.Open(namespacePath(namespace))
	if err != nil {
		return nil, err
	}
	defer ns.Close() //nolint:errcheck // read only
	err = inNamespace(ns, list)
	return out, err
}

// options returns a net.ListenConfig.Control that sets socket options of level SOL_SOCKET and IPPROTO_IP to 1, and
// binds to a device when there is one.
func options(device string, set ...[2]int) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		bad := c.Control(func(fd uintptr) {
			if device != "" {
				err = unix.BindToDevice(int(fd), device)
			}
			for _, o := range set {
				if err == nil {
					err = unix.SetsockoptInt(int(fd), o[0], o[1], 1)
				}
			}
		})
		return errors.Join(bad, err)
	}
}

// transparent lets a listener accept connections to every address that the rules bring to it.
func transparent() func(string, string, syscall.RawConn) error {
	return options("", [2]int{unix.SOL_IP, unix.IP_TRANSPARENT})
}

// broadcasting binds a socket to one link, beside others on the same port. Clients that read raw packets see the checksum that the
// link has not filled in yet, so there is none.
func broadcasting(device string) func(string, string, syscall.RawConn) error {
	return options(device, [2]int{unix.SOL_SOCKET, unix.SO_REUSEADDR}, [2]int{unix.SOL_SOCKET, unix.SO_NO_CHECK})
}

// Missing says what this machine lacks to carry a network, in words for a user. It is empty when nothing is missing.
func Missing(ctx context.Context) []string {
	var out []string
	if os.Geteuid() != 0 {
		out = append(out, "root")
	}
	for tool, from := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(tool); err != nil {
			out = append(out, "the command "+tool+" (package "+from+")")
		}
	}
	if len(out) > 0 {
		return out
	}
	name := "try" + strings.ToLower(rand.Text())[:8]
	if err := addNamespace(ctx, name); err != nil {
		return append(out, "network namespaces: "+lastLine(err))
	}
	defer func() { _ = deleteNamespace(context.WithoutCancel(ctx), name) }() // It was ours alone; nobody waits for it.
	if err := ip(ctx, "", "-n", name, "link", "add", "try0", "type", "veth", "peer", "name", "try1"); err != nil {
		return append(out, "veth links: "+lastLine(err))
	}
	if err := ip(ctx, ruleset(nil), "netns", "exec", name, "nft", "-f", "-"); err != nil {
		out = append(out, "nftables with connection tracking and tproxy: "+lastLine(err))
	}
	ns, err := os.Open(namespacePath(name))
	if err != nil {
		return append(out, "network namespaces: "+err.Error())
	}
	defer ns.Close() //nolint:errcheck // read only
	err = inNamespace(ns, func() error { return os.WriteFile("/proc/sys/net/ipv4/conf/try0/proxy_arp", []byte("1"), 0) })
	if err != nil {
		out = append(out, "writable network settings (/proc/sys/net): "+err.Error())
	}
	return out
}

func lastLine(err error) string {
	text := err.Error()
	return text[strings.LastIndexByte(text, '\n')+1:]
}
