// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// proxyPort is where connections to public addresses are answered.
const proxyPort = 7100

// attached is a machine as the rules see it.
type attached struct {
	link string
	at   azuresim.Attachment
}

// ruleset is the whole table as one transaction of nft. A packet between machines passes the sender's outbound groups
// and then the receiver's inbound groups; one to the mirror, which is outside, passes the outbound groups only. Each group is a chain that drops or returns. Groups with the same rules are
// one chain. What belongs to a connection passes: security groups have a memory.
func ruleset(machines []attached) string {
	slices.SortFunc(machines, func(a, b attached) int { return strings.Compare(a.link, b.link) })
	var groups, chains strings.Builder
	known := map[string]bool{}
	group := func(rules []azuresim.Rule, spaces []netip.Prefix) string {
		body := groupBody(rules, spaces)
		sum := sha256.Sum256([]byte(body))
		name := "group_" + hex.EncodeToString(sum[:4])
		if !known[name] {
			known[name] = true
			fmt.Fprintf(&groups, "\tchain %s {\n%s\t}\n", name, body)
		}
		return name
	}
	var sources, out, in, outside []string
	for _, m := range machines {
		sources = append(sources, fmt.Sprintf("%q . %s", m.link, m.at.Address))
		out = append(out, fmt.Sprintf("%q : jump out_%s", m.link, m.link))
		in = append(in, fmt.Sprintf("%q : goto in_%s", m.link, m.link))
		if m.at.Egress.IsValid() {
			outside = append(outside, m.at.Address.String())
		}
		fmt.Fprintf(&chains, "\tchain out_%s {\n", m.link)
		for _, rules := range m.at.Outbound {
			fmt.Fprintf(&chains, "\t\tjump %s\n", group(rules, m.at.Spaces))
		}
		fmt.Fprintf(&chains, "\t}\n\tchain in_%s {\n", m.link)
		for _, rules := range m.at.Inbound {
			fmt.Fprintf(&chains, "\t\tjump %s\n", group(rules, m.at.Spaces))
		}
		chains.WriteString("\t\taccept\n\t}\n")
	}
	var b strings.Builder
	b.WriteString("table ip vnet\ndelete table ip vnet\ntable ip vnet {\n")
	b.WriteString(groups.String())
	b.WriteString(chains.String())
	fmt.Fprintf(&b, `	chain prerouting {
		type filter hook prerouting priority mangle; policy accept;
		ip daddr %s ip daddr != %s meta l4proto tcp tproxy to :%d
	}
	chain input {
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
		udp sport 68 udp dport 67 accept
		ct state established,related accept
`, publicPrefix, mirrorAddress, proxyPort)
	if len(machines) > 0 {
		fmt.Fprintf(&b, "\t\tiifname . ip saddr != { %s } drop\n", strings.Join(sources, ", "))
	}
	fmt.Fprintf(&b, `		ip daddr %s tcp dport { 53, 80, 32526 } accept
		ip daddr %[1]s udp dport 53 accept
		ip daddr %s tcp dport 80 accept
`, platformAddress, metadataAddress)
	if len(outside) > 0 {
		fmt.Fprintf(&b, "\t\tip daddr %s iifname vmap { %s }\n", mirrorAddress, strings.Join(out, ", "))
		fmt.Fprintf(&b, "\t\tip daddr %s ip saddr { %s } tcp dport 80 accept\n", mirrorAddress, strings.Join(outside, ", "))
	}
	fmt.Fprintf(&b, `		ip daddr %s ip daddr != %s meta l4proto tcp accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
`, publicPrefix, mirrorAddress)
	if len(machines) > 0 {
		fmt.Fprintf(&b, "\t\tiifname . ip saddr != { %s } drop\n", strings.Join(sources, ", "))
		fmt.Fprintf(&b, "\t\tiifname vmap { %s }\n", strings.Join(out, ", "))
		fmt.Fprintf(&b, "\t\toifname vmap { %s }\n", strings.Join(in, ", "))
	}
	b.WriteString("\t}\n\tchain output {\n\t\ttype filter hook output priority filter; policy accept;\n\t\tct state established,related accept\n")
	if len(machines) > 0 {
		fmt.Fprintf(&b, "\t\tip saddr %s oifname vmap { %s }\n", platformAddress, strings.Join(in, ", "))
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}

// groupBody is a security group as the lines of a chain: the first rule that matches returns or drops.
func groupBody(rules []azuresim.Rule, spaces []netip.Prefix) string {
	var b strings.Builder
	for _, r := range rules {
		verdict := "drop"
		if r.Allow {
			verdict = "return"
		}
		for _, proto := range protocols(r) {
			for _, from := range sides("saddr", r.From, spaces) {
				for _, to := range sides("daddr", r.To, spaces) {
					line := strings.Join(strings.Fields(from+" "+to+" "+proto), " ")
					if line != "" {
						line += " "
					}
					fmt.Fprintf(&b, "\t\t%s%s comment %q\n", line, verdict, clean(r.Name))
				}
			}
		}
	}
	b.WriteString("\t\tdrop\n")
	return b.String()
}

// protocols are the matches for a rule's protocol and ports. Only TCP and UDP have ports.
func protocols(r azuresim.Rule) []string {
	ports := merged(r.Ports)
	every := slices.Contains(ports, "0-65535")
	list := strings.Join(ports, ", ")
	switch {
	case r.Protocol == "icmp":
		return []string{"meta l4proto icmp"}
	case len(ports) == 0:
		return nil
	case r.Protocol == "tcp" && every, r.Protocol == "udp" && every:
		return []string{"meta l4proto " + r.Protocol}
	case r.Protocol == "tcp", r.Protocol == "udp":
		return []string{fmt.Sprintf("%s dport { %s }", r.Protocol, list)}
	case r.Protocol != "*":
		return nil // Esp and Ah have no traffic here.
	case every:
		return []string{""}
	}
	return []string{fmt.Sprintf("meta l4proto { tcp, udp } th dport { %s }", list)}
}

// sides are the matches for one side of a rule; none when it covers nothing.
func sides(field string, p azuresim.Peers, spaces []netip.Prefix) []string {
	if p.Any {
		return []string{""}
	}
	var out []string
	inside := widest(p.Prefixes)
	for _, q := range inside {
		if q.Bits() == 0 {
			return []string{""}
		}
	}
	if len(inside) > 0 {
		out = append(out, fmt.Sprintf("ip %s { %s }", field, prefixes(inside)))
	}
	if p.Outside {
		known := widest(append(slices.Clone(spaces), netip.PrefixFrom(platformAddress, platformAddress.BitLen())))
		out = append(out, fmt.Sprintf("ip %s != { %s }", field, prefixes(known)))
	}
	return out
}

func prefixes(list []netip.Prefix) string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
		if p.IsSingleIP() {
			out[i] = p.Addr().String()
		}
	}
	return strings.Join(out, ", ")
}

// widest are the IPv4 prefixes that no other one contains, in order: intervals of a set must not overlap.
func widest(list []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	sorted := make([]netip.Prefix, 0, len(list))
	for _, p := range list {
		if p.Addr().Is4() {
			sorted = append(sorted, p.Masked())
		}
	}
	slices.SortFunc(sorted, netip.Prefix.Compare)
	for _, p := range sorted {
		if !slices.ContainsFunc(out, func(q netip.Prefix) bool { return q.Overlaps(p) }) {
			out = append(out, p)
		}
	}
	return out
}

// merged are port ranges without overlaps, in order.
func merged(ranges [][2]int) []string {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b [2]int) int { return a[0] - b[0] })
	var kept [][2]int
	for _, r := range sorted {
		if last := len(kept) - 1; last >= 0 && r[0] <= kept[last][1]+1 {
			kept[last][1] = max(kept[last][1], r[1])
			continue
		}
		kept = append(kept, r)
	}
	out := make([]string, len(kept))
	for i, r := range kept {
		out[i] = fmt.Sprintf("%d-%d", r[0], r[1])
		if r[0] == r[1] {
			out[i] = fmt.Sprint(r[0])
		}
	}
	return out
}

// clean leaves of a name what a comment of nft may hold.
func clean(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name)
	return name[:min(len(name), 80)]
}
