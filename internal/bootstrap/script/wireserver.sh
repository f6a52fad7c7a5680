#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pods must not reach Azure's wire server, which hands out the user data; only
# root's own processes may. Name resolution (port 53) stays open.
set -euo pipefail
if command -v nft >/dev/null; then
  nft -f - <<'NFT'
table inet lazuli
delete table inet lazuli
table inet lazuli {
  chain forward {
    type filter hook forward priority -10; policy accept;
    ip daddr 168.63.129.16 tcp dport { 80, 32526 } drop
  }
  chain output {
    type filter hook output priority -10; policy accept;
    ip daddr 168.63.129.16 tcp dport { 80, 32526 } meta skuid != 0 drop
  }
}
NFT
  exit 0
fi
rule() {
  iptables -w -C "$@" 2>/dev/null || iptables -w -I "$@"
}
rule FORWARD -d 168.63.129.16 -p tcp -m multiport --dports 80,32526 -j DROP
rule OUTPUT -d 168.63.129.16 -p tcp -m multiport --dports 80,32526 -m owner ! --uid-owner 0 -j DROP
