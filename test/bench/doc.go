// SPDX-License-Identifier: Apache-2.0

// Package bench makes the figures that the project holds itself to: one line
// each, in one run, by `make bench`.
//
// It refuses to fail for a slow machine: a target that is missed is printed as
// missed. It is no part of the tests, which run a small smoke of it only.
//
// # The lower bound
//
// A figure such as "a cluster in 180 s" says nothing as long as nobody knows
// what Azure, the guests and Kubernetes took of it. The lower bound is what
// nobody could be faster than with the same draws: the longest chain of the
// table below. The table is fixed and stands here; it is not the graph that
// internal/cluster acts on, so that a needless edge there shows as a loss.
//
//	of a cluster
//	  security group control plane, security group workers,
//	  address of the API server, address of outbound traffic   at once
//	  load balancer            after  address of the API server
//	  NAT gateway              after  address of outbound traffic
//	  virtual network          after  both security groups, NAT gateway
//	of a machine
//	  network interface        after  virtual network; of a control plane also load balancer
//	  virtual machine          after  network interface       accepted, allocated, provisioning reported
//	  final stage              after  virtual machine         of cloud-init
//	  install                  after  final stage             0 with an image that has Kubernetes in it
//	of the first control plane
//	  prepare                  after  install                 kubeadm init: certificates, static pods
//	  API server               after  prepare                 healthy
//	  registered               after  API server              the Node is there
//	  cluster-info             after  registered              what joining machines look for
//	of a further control plane
//	  join prepare             after  install, cluster-info
//	  etcd learner             after  join prepare            one machine at a time, in the better order
//	  API server               after  etcd learner
//	  registered               after  API server
//	of a worker
//	  join                     after  install, cluster-info
//	  registered               after  join
//	of a machine
//	  node manager             after  registered              its pod runs
//	  initialised              after  node manager            the taint is gone, the addresses are there
//	  Ready                    after  initialised             the network's pod runs
//
// The cluster is Ready when all its nodes are. A write takes from the moment
// the request leaves until the resource is as asked for; no poll, no probe, no
// sign-in, no look at the sizes on sale, no kubeadm retry and no hand-over
// between any two steps is in the bound, though no real client can do without.
package bench
