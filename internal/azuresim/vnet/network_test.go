// SPDX-License-Identifier: Apache-2.0

package vnet_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/vnet"
)

// cloud is a simulator with one public name, behind which one machine answers.
type cloud struct {
	name    string
	address netip.Addr
	machine string
	port    int
}

func (c cloud) RouteFrom(_ string, to netip.AddrPort) (string, int, error) {
	if to.Addr() != c.address {
		return "", 0, azuresim.ErrUnreachable
	}
	return c.machine, c.port, nil
}

func (c cloud) LookupHost(name string) (netip.Addr, error) {
	if name != c.name {
		return netip.Addr{}, azuresim.ErrNoSuchHost
	}
	return c.address, nil
}

func (cloud) Tags(id string) map[string]string { return map[string]string{"now": filepath.Base(id)} }

const (
	idA = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/a"
	idB = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/b"
)

func portOf(id, name, subnet, address, mac string, rules []azuresim.Rule) vnet.Port {
	at := azuresim.Attachment{
		VNetID: "/v", Spaces: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Subnet: netip.MustParsePrefix(subnet),
		Address: netip.MustParseAddr(address), MAC: mac, Egress: netip.MustParseAddr("127.64.0.9"),
	}
	if rules != nil {
		at.Inbound = [][]azuresim.Rule{rules}
	}
	return vnet.Port{
		Machine: azuresim.Machine{
			ID: id, Name: name, ComputerName: name, SubscriptionID: "s", ResourceGroup: "rg", Location: "westeurope", Zone: "1",
			Size: "Standard_D2s_v5", AdminUser: "azureuser", SSHKeys: []string{"ssh-ed25519 AAAA me"}, Tags: map[string]string{"role": "node"},
			PrivateIP: address, Image: "Canonical:ubuntu-24_04-lts:server:latest", VMID: "11111111-2222-3333-4444-555555555555",
		},
		At: at,
	}
}

// inside runs a command in a guest's namespace.
func inside(t *testing.T, ns string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + ns}, args...)...).CombinedOutput()
	return string(out), err
}

func must(t *testing.T, ns string, args ...string) string {
	t.Helper()
	out, err := inside(t, ns, args...)
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// lease asks DHCP as a guest does and configures eth0 by the answer.
func lease(t *testing.T, ns string) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "bound")
	text := `#!/bin/sh
[ "$1" = bound ] || exit 0
set -e
ip address add $ip/$mask dev $interface
ip link set $interface mtu $mtu
ip route add default via $router
echo "leased $ip/$mask via $router dns $dns name $hostname domain $domain routes $staticroutes"
`
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	must(t, ns, "ip", "link", "set", "lo", "up")
	must(t, ns, "ip", "link", "set", "eth0", "up")
	out := must(t, ns, "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-O", "mtu", "-O", "staticroutes", "-s", script)
	t.Log(out)
	if !strings.Contains(out, "leased") || !strings.Contains(out, "dns 168.63.129.16") {
		t.Fatalf("no lease: %s", out)
	}
}

// real skips where no network can be carried, and sweeps what the test leaves.
func rooted(t *testing.T, prefix string) {
	t.Helper()
	if missing := vnet.Missing(t.Context()); len(missing) > 0 {
		t.Skip("this machine lacks: " + strings.Join(missing, "; "))
	}
	for _, tool := range []string{"busybox", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("the test's guests need " + tool)
		}
	}
	t.Cleanup(func() {
		if err := vnet.Sweep(context.WithoutCancel(t.Context()), prefix); err != nil {
			t.Error(err)
		}
	})
}

func prefixed(t *testing.T, prefix string) []string {
	t.Helper()
	found, err := filepath.Glob("/run/netns/" + prefix + "*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestSweep takes a network that nobody closes, with a process in a guest: a killed simulator.
func TestSweep(t *testing.T) {
	t.Parallel()
	prefix := prefixOf("s")
	rooted(t, prefix)
	n, err := vnet.New(t.Context(), "/v", vnet.Config{Prefix: prefix, Cloud: cloud{}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	path, err := n.Attach(t.Context(), portOf(idA, "node-a", "10.0.1.0/24", "10.0.1.4", "00:0d:3a:00:00:01", nil))
	if err != nil {
		t.Fatal(err)
	}
	bad := portOf(idB, "node-b", "10.0.1.0/24", "10.0.1.4", "00:0d:3a:00:00:02", nil) // An address that is taken.
	if _, err := n.Attach(t.Context(), bad); err == nil {
		t.Error("two machines have one address")
	}
	if left := prefixed(t, prefix); len(left) != 2 {
		t.Errorf("a half-made attachment is left: %v", left)
	}
	guest := exec.CommandContext(t.Context(), "nsenter", "--net="+path, "sh", "-c", "echo entered; cat")
	in, err := guest.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := guest.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := guest.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("entered\n"))); err != nil {
		t.Fatal(err)
	}
	if err := vnet.Sweep(t.Context(), prefix); err != nil {
		t.Error(err)
	}
	if left := prefixed(t, prefix); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	in.Close()
	if err := guest.Wait(); err != nil {
		t.Error(err)
	}
	if err := vnet.Sweep(t.Context(), prefix); err != nil {
		t.Errorf("a second sweep: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("close what is swept: %v", err)
	}
}

// prefixOf is a prefix that only this process uses.
func prefixOf(letter string) string { return fmt.Sprintf("%s%04x", letter, os.Getpid()&0xffff) }

func TestNetwork(t *testing.T) { //nolint:maintidx // one network is looked at from all sides
	t.Parallel()
	prefix := prefixOf("t")
	rooted(t, prefix)
	mirror := t.TempDir()
	if err := os.WriteFile(filepath.Join(mirror, "hello"), []byte("packages"), 0o600); err != nil {
		t.Fatal(err)
	}
	reports := make(chan error, 1)
	n, err := vnet.New(t.Context(), "/v", vnet.Config{
		Prefix: prefix, Mirror: mirror,
		Cloud:  cloud{name: "api.westeurope.cloudapp.azure.com", address: netip.MustParseAddr("127.64.0.5"), machine: idB, port: 6443},
		Report: func(_ string, err error) { reports <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	a, err := n.Attach(t.Context(), portOf(idA, "node-a", "10.0.1.0/24", "10.0.1.4", "00:0d:3a:00:00:01", nil))
	if err != nil {
		t.Fatal(err)
	}
	portB := portOf(idB, "node-b", "10.0.2.0/24", "10.0.2.4", "00:0d:3a:00:00:02", nil)
	b, err := n.Attach(t.Context(), portB)
	if err != nil {
		t.Fatal(err)
	}
	lease(t, a)
	lease(t, b)

	must(t, a, "busybox", "ping", "-c", "1", "-W", "2", "10.0.2.4")
	must(t, a, "busybox", "arping", "-c", "1", "-w", "2", "-I", "eth0", "10.0.1.77")      // The network answers for every neighbour,
	must(t, a, "busybox", "arping", "-D", "-c", "1", "-w", "1", "-I", "eth0", "10.0.1.4") // but not for the guest itself.
	quiet := log.New(io.Discard, "", 0)                                                   // TCP probes end TLS handshakes.
	server := &httptest.Server{Config: &http.Server{ErrorLog: quiet, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "from "+r.RemoteAddr)
	})}}
	server.Listener = vnet.ListenIn(t, b, "tcp4", "10.0.2.4:6443")
	server.StartTLS()
	defer server.Close()
	plain := &httptest.Server{Config: &http.Server{Handler: server.Config.Handler}}
	plain.Listener = vnet.ListenIn(t, b, "tcp4", "10.0.2.4:8080")
	plain.Start()
	defer plain.Close()

	get := func(url string) (string, error) { return fetch(t, a, url) }
	if out, err := get("http://10.0.2.4:8080/"); err != nil || !strings.HasPrefix(out, "from 10.0.1.4:") {
		t.Errorf("machine to machine: %q %v", out, err)
	}
	// Names.
	for name, want := range map[string]string{
		"api.westeurope.cloudapp.azure.com": "100.64.0.5", "node-b": "10.0.2.4", "node-b.internal.cloudapp.net": "10.0.2.4",
		"mirror.sim.internal": "100.127.0.1",
	} {
		if out, err := inside(t, a, "busybox", "nslookup", "-type=a", name, "168.63.129.16"); err != nil || !strings.Contains(out, want) {
			t.Errorf("look up %s: %v: %s", name, err, out)
		}
	}
	if out, err := inside(t, a, "busybox", "nslookup", "-type=a", "github.com", "168.63.129.16"); !strings.Contains(out, "NXDOMAIN") {
		t.Errorf("look up github.com: %v: %s", err, out)
	}
	// Metadata and wire server.
	out := must(t, a, "busybox", "wget", "-q", "-O", "-", "--header", "Metadata: true", "http://169.254.169.254/metadata/instance?api-version=2021-08-01")
	var doc struct {
		Compute struct{ Name, VMID, Tags string }
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Compute.Name != "node-a" || doc.Compute.Tags != "now:a" {
		t.Errorf("metadata: %v: %s", err, out)
	}
	must(t, a, "busybox", "wget", "-q", "-O", "-", "http://168.63.129.16/machine/?comp=goalstate")
	must(t, a, "busybox", "wget", "-q", "-O", "-", "--post-data", report("NotReady", "ProvisioningFailed", "no disk"), "http://168.63.129.16/machine?comp=health")
	if err := <-reports; err == nil || err.Error() != "no disk" {
		t.Errorf("report: %v", err)
	}
	// Mirror.
	if out, err := get("http://100.127.0.1/hello"); err != nil || out != "packages" {
		t.Errorf("mirror: %q %v", out, err)
	}
	for _, tc := range []struct {
		reason string
		port   int
		want   bool
	}{
		{"an outbound rule denies the mirror's port", 80, false}, {"one denies another port", 443, true},
	} {
		at := portOf(idA, "node-a", "10.0.1.0/24", "10.0.1.4", "00:0d:3a:00:00:01", nil).At
		anywhere := azuresim.Peers{Any: true}
		at.Outbound = [][]azuresim.Rule{{
			{Name: "Deny", Protocol: "tcp", From: anywhere, To: azuresim.Peers{Outside: true}, Ports: [][2]int{{tc.port, tc.port}}},
			{Name: "AllowInternetOutBound", Allow: true, Protocol: "*", From: anywhere, To: azuresim.Peers{Outside: true}, Ports: [][2]int{{0, 65535}}},
			{Name: "AllowVnetOutBound", Allow: true, Protocol: "*", From: anywhere, To: anywhere, Ports: [][2]int{{0, 65535}}},
		}}
		if err := n.Update(idA, at); err != nil {
			t.Fatal(err)
		}
		c, err := dialShort(t, a, "100.127.0.1:80")
		if err == nil {
			c.Close()
		}
		if (err == nil) != tc.want {
			t.Errorf("%s: dial the mirror: %v, want an answer: %v", tc.reason, err, tc.want)
		}
	}
	// Public addresses, and the load balancer's way in.
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "dial") {
				return n.Dial(ctx, strings.ToUpper(idB), 6443)
			}
			return vnet.DialIn(ctx, a, address)
		},
	}}
	for _, url := range []string{"https://100.64.0.5:6443/", "https://100.64.0.5:443/", "https://dial/"} {
		resp, err := client.Get(url)
		if err != nil {
			t.Errorf("get %s: %v", url, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.HasPrefix(string(body), "from 10.0.2.1:") {
			t.Errorf("get %s: %s", url, body)
		}
	}
	if _, err := client.Get("https://100.64.0.6:6443/"); err == nil {
		t.Error("a public address behind which nothing is answered")
	}
	if !n.Probe(t.Context(), idB, 6443, "/readyz") || !n.Probe(t.Context(), idB, 6443, "") || n.Probe(t.Context(), idB, 6444, "") {
		t.Error("probes without rules")
	}
	// Nothing else is outside.
	if _, err := dialShort(t, a, "1.1.1.1:80"); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("dial the Internet: %v", err)
	}
	// Rules.
	at := portB.At
	at.Inbound = [][]azuresim.Rule{{
		{Name: "AllowWeb", Allow: true, Protocol: "tcp", From: azuresim.Peers{Prefixes: at.Spaces}, To: azuresim.Peers{Any: true}, Ports: [][2]int{{8080, 8080}}},
		{Name: "DenyAllInBound", Protocol: "*", From: azuresim.Peers{Any: true}, To: azuresim.Peers{Any: true}, Ports: [][2]int{{0, 65535}}},
	}}
	at.Egress = netip.Addr{}
	for range 2 {
		if err := n.Update(idB, at); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := get("http://10.0.2.4:8080/"); err != nil {
		t.Errorf("an allowed port: %s %v", out, err)
	}
	if _, err := inside(t, a, "busybox", "ping", "-c", "1", "-W", "1", "10.0.2.4"); err == nil {
		t.Error("a denied ping is answered")
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if n.Probe(short, idB, 6443, "") {
		t.Error("a probe passes rules that deny it")
	}
	if c, err := n.Dial(t.Context(), idB, 6443); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	if c, err := dialShort(t, b, "100.127.0.1:80"); err == nil {
		c.Close()
		t.Error("a machine without a way out reaches the mirror")
	}
	if err := n.Detach(idB); err != nil {
		t.Fatal(err)
	}
	if _, err := vnet.New(t.Context(), "/v", vnet.Config{Prefix: prefix, Cloud: cloud{}}); err == nil {
		t.Error("a network is made twice")
	}
	must(t, a, "busybox", "nslookup", "-type=a", "node-a", "168.63.129.16") // The first one is whole.
	if err := errors.Join(n.Detach(idB), n.Close(), n.Close()); err != nil {
		t.Error(err)
	}
	if left := prefixed(t, prefix); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// dialShort waits only as long as it takes to see that nothing comes.
func dialShort(t *testing.T, ns, address string) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	return vnet.DialIn(ctx, ns, address)
}

// fetch gets a page from a namespace, in a second at most.
func fetch(t *testing.T, ns, url string) (string, error) {
	t.Helper()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return vnet.DialIn(ctx, ns, address) },
	}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func report(state, substatus, description string) string {
	return `<?xml version="1.0" encoding="utf-8"?><Health xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><GoalStateIncarnation>1</GoalStateIncarnation><Container>` +
		`<ContainerId>c</ContainerId><RoleInstanceList><Role><InstanceId>i</InstanceId><Health><State>` + state + `</State><Details><SubStatus>` + substatus +
		`</SubStatus><Description>` + description + `</Description></Details></Health></Role></RoleInstanceList></Container></Health>`
}
