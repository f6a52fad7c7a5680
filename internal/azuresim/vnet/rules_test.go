// SPDX-License-Identifier: Apache-2.0

package vnet_test

import (
	"context"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/vnet"
)

var update = flag.Bool("update", false, "write the golden files")

// TestRuleset shows what two machines become: one with groups on subnet and interface, one without any.
func TestRuleset(t *testing.T) {
	t.Parallel()
	spaces := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/16")}
	every := [][2]int{{0, 65535}}
	peers := func(list ...string) (p azuresim.Peers) {
		for _, s := range list {
			p.Prefixes = append(p.Prefixes, netip.MustParsePrefix(s))
		}
		return p
	}
	anywhere, vnets := azuresim.Peers{Any: true}, azuresim.Peers{Prefixes: spaces}
	deny := azuresim.Rule{Name: "DenyAll", Protocol: "*", From: anywhere, To: anywhere, Ports: every}
	subnet := []azuresim.Rule{
		{Name: "ssh\" accept; }", Allow: true, Protocol: "tcp", From: azuresim.Peers{Outside: true, Prefixes: peers("10.9.0.4/32").Prefixes}, To: peers("10.0.1.0/24"), Ports: [][2]int{{22, 22}}},
		{Name: "NodePorts", Allow: true, Protocol: "*", From: vnets, To: anywhere, Ports: [][2]int{{30000, 32767}, {10250, 10250}, {32000, 32768}}},
		{Name: "Ping", Allow: true, Protocol: "icmp", From: vnets, To: anywhere, Ports: every},
		{Name: "Vxlan", Allow: true, Protocol: "udp", From: vnets, To: anywhere, Ports: [][2]int{{8472, 8472}}},
		{Name: "UnknownTag", Allow: true, Protocol: "tcp", To: anywhere, Ports: every},
		{Name: "Tunnel", Allow: true, Protocol: "esp", From: anywhere, To: anywhere, Ports: every},
		{Name: "IPv6", Allow: true, Protocol: "tcp", From: peers("fd00::/8"), To: anywhere, Ports: every},
		{Name: "Zero", Protocol: "tcp", From: peers("0.0.0.0/0"), To: anywhere, Ports: [][2]int{{25, 25}}},
		deny,
	}
	nic := []azuresim.Rule{{Name: "AllowVnetInBound", Allow: true, Protocol: "*", From: vnets, To: vnets, Ports: every}, deny}
	got := vnet.Ruleset(map[string]azuresim.Attachment{
		"lzv1": {Spaces: spaces, Address: netip.MustParseAddr("10.0.1.4"), Inbound: [][]azuresim.Rule{subnet, nic}, Outbound: [][]azuresim.Rule{nic, nic}, Egress: netip.MustParseAddr("127.64.0.1")},
		"lzv2": {Spaces: spaces, Address: netip.MustParseAddr("10.0.2.4")},
	})
	golden := filepath.Join("testdata", "rules.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	// What is golden must also be true: nft takes it.
	if missing := vnet.Missing(t.Context()); len(missing) > 0 {
		t.Log("nft is not asked, because this machine lacks: " + strings.Join(missing, "; "))
		return
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "nft", "--check", "-f", "-")
	cmd.Stdin = strings.NewReader(got)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nft: %v: %s", err, out)
	}
}
