// SPDX-License-Identifier: Apache-2.0

// Package model boots simulated virtual machines by reading the user data that they were really sent, and gives the
// clusters that come of it a Kubernetes API (package kubeapi) with just enough controllers to judge what is installed.
//
//	Start -> provisioned (always reported) -> cloud-init final -> [install] -> kubeadm init | join -> kubelet -> Node
//	           user data broken, kubeadm refuses: console says why, the machine never joins
//
// A cluster is known by the fingerprint of its CA certificate. Control planes with the same CA share one state; the
// state is on their disks, so it survives Stop and ends when the last control plane is forgotten (Forget).
//
// A node becomes Ready in the order that real Azure nodes need:
//
//	registered with taint node.cloudprovider.kubernetes.io/uninitialized
//	  -> a cloud-node-manager pod runs on it: taint gone, addresses, zone, region and size set
//	  -> a pod that mounts /etc/cni/net.d runs on it: the container network is there
//	  -> Ready
//
// Times are drawn from the seed and follow measured Azure and kubeadm times: every draw has a stream of its own, named
// after the machine or the node and image, so that the order of events does not change them.
//
// It refuses to run anything: scripts are searched for kubeadm calls and not executed, so that what a script does besides
// (disks, reports, labels) does not happen. It has no etcd (no quorum, no data disk), no kubelet API, no logs or exec,
// no volumes, no service networking, and does not count CPU and memory when it schedules.
package model
