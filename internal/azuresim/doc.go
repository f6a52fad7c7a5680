// SPDX-License-Identifier: Apache-2.0

// Package azuresim simulates Entra ID and Azure Resource Manager at the wire: HTTPS on loopback, against which
// Microsoft's own SDKs and any other client run unchanged. It knows nothing of the product that it is used to develop,
// demonstrate and test. Its specification is Azure's documentation and what was measured against Azure; a rule in the
// code names its source.
//
// # How it works
//
//	client --HTTPS--> Handler --> Entra: openid configuration, tokens (client credentials)
//	                     |
//	                     `------> ARM:  token -> api-version -> subscription -> fault? -> rate limits
//	                                    -> role -> lock -> rules of the type -> store
//	                                                          |
//	  Run (pump) or the next request --> queue of events <----'  operation ends, machines boot, probes, roles count
//	                                        |
//	                                        `--> Machines (what runs a virtual machine), through Env
//
// Everything that takes time is an event in one queue, ordered by time and then by the order of making. Due events run
// at the start and at the end of every request and in Run; they never overlap. Inside an event the simulated time is
// the time at which the event was due, so that a chain of events has the same times whoever drives it: a harness with
// one goroutine and the same seed gets the same run, byte for byte. A stream of random numbers belongs to one resource
// and one purpose, so that the order of calls on other resources does not change it.
//
// Time is real (Speed 1), scaled, or virtual (Speed 1 inside testing/synctest). Access tokens and client secrets expire
// in real time whatever the speed, because clients look at their own clock.
//
// Machines and the functions given to Env.After run inside an event. They may use every method of Env, and must not
// send a request to the simulator and wait for it: the request would wait for them.
//
// # What it has
//
// Subscriptions, tenants, locations, providers; resource groups; resource lists with filters; tags; locks, role
// definitions, role assignments and effective permissions; virtual networks and subnets, network security groups,
// route tables, public addresses with DNS labels, NAT gateways, load balancers, network interfaces; disks, virtual
// machines with power, instance view and boot diagnostics, availability sets; user assigned identities; sizes and
// quotas. Provisioning states, both kinds of asynchronous operation, ETags, paging, throttling with Azure's buckets,
// quota (at once) and capacity (at allocation). Load balancers carry traffic: by sockets on 127.64.0.0/10 when Config
// has Listen, and in memory by DialContext.
//
// # What it refuses
//
// There are no template deployments, no scale sets, no policy, no Resource Graph, no private DNS, no virtual machine
// extensions and no data planes (storage, key vault, graph). A virtual machine does not make network interfaces by
// itself (networkInterfaceConfigurations). Basic public addresses and load balancers are refused, as Azure does since
// September 2025. Unknown properties are kept and returned, not refused. Api-versions are accepted by range.
package azuresim
