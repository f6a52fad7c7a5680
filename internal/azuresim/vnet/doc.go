// SPDX-License-Identifier: Apache-2.0

// Package vnet carries the packets of one simulated Azure virtual network on Linux: network namespaces, the commands
// ip and nft, and the small servers that a guest expects of the platform. It refuses to know what runs in the guests,
// and who deploys it.
//
// # How it works
//
//	guest's namespace            the network's namespace
//	+--------------+   veth   +--------------------------------------------+
//	| eth0 (DHCP)  |----------| gateway/32, proxy_arp   nft: security rules |
//	+--------------+          |   lo: 168.63.129.16  DNS, DHCP, wire server |
//	+--------------+   veth   |       169.254.169.254  instance metadata    |
//	| eth0 (DHCP)  |----------|       100.127.0.1  mirror of packages       |
//	+--------------+          |       100.64.0.0/10  public addresses       |
//	                          +--------------------------------------------+
//
// Layer 2 is not real, as in Azure: the network answers each guest's ARP itself and routes all traffic between machines,
// so that the rules of the security groups see it. A source address that is not the guest's own is dropped, as Azure
// drops it without IP forwarding: addresses of pods need an overlay.
//
// Public addresses of the simulated cloud are 127.64.0.0/10 for the simulator. A guest cannot use them: it sees the same
// address with 100 as first byte, and TCP to it is answered by a proxy that asks the cloud who answers. A connection
// that Azure would drop is accepted and reset: a socket has to accept before it can ask. There is nothing else outside;
// packets to other addresses are dropped.
//
// The mirror stands for the Internet's package archives, so only machines with a way out reach it.
//
// Sockets of the network are opened inside its namespace by a locked thread and then used from anywhere.
package vnet
