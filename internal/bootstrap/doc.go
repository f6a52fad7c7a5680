// SPDX-License-Identifier: Apache-2.0

// Package bootstrap turns what is known of a cluster and of one of its
// machines into the user data with which Azure boots that machine: PKI, tokens,
// kubeadm configuration and the script that brings them together.
//
// # Terms
//
//   - The init node runs "kubeadm init"; there is one per cluster. Every other
//     machine is a joiner.
//   - Everything a joiner needs (the CAs, its token, the endpoint's name) is
//     made before the first machine exists, so all of them boot at once.
//
// # On the machine
//
//	cloud-init -> write_files -> runcmd: /usr/local/lib/lazuli/bootstrap
//	  prepare -> wireserver -> image | install -> etcd-disk -> kubeadm-init | kubeadm-join -> role -> shred -> done
//
// Each phase prints "lazuli-bootstrap phase=P state=started|done|failed" on
// the serial console, so that boot diagnostics tell where a boot is even when no
// API server ever comes up. Once the kubelet has credentials, the failed and
// finished phases are also annotations of the machine's own Node
// ([PhaseAnnotation], [StateAnnotation], [LogAnnotation]): the kubelet's identity
// may write its own Node and no other. A control plane whose Node does not
// exist yet leaves the same in a ConfigMap of kube-system.
//
// A machine that reboots half-way resumes: a unit starts the script again until
// the sentinel /var/lib/lazuli/bootstrap.done exists.
//
// # Retries
//
// A failed join is undone with "kubeadm reset", the CAs are put back from a copy
// and it starts over. A failed init is undone only while etcd has never run on
// the machine. After that another machine may have joined, so the same init
// is run again over what is there and nothing is wiped.
//
// # What it refuses to do
//
// It does no I/O: randomness and time are arguments, and the script is embedded
// text in which no value of a cluster is ever placed. Values travel in YAML
// made by an encoder and in a file of single-quoted shell assignments. It does not
// decide names, zones or versions, creates no users (Azure's osProfile does), and
// puts no Azure credential on a machine.
package bootstrap
