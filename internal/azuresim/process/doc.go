// SPDX-License-Identifier: Apache-2.0

// Package process runs simulated virtual machines as processes of this machine: a real Kubernetes control plane for each
// cluster, and a hollow kubelet (kubemark) for each machine. It needs the cached artefact with the Kubernetes binary, no
// root, and loopback.
//
//	Start -> provisioned -> user data is read -> init: kubeadm phases: certs, kubeconfig, control-plane, etcd
//	                                             etcd, kube-apiserver, controller manager, scheduler start
//	                                             kubeadm phases: upload-config, bootstrap-token, addon
//	                                       or -> join: cluster-info by token, TLS bootstrap by token
//	                     -> the Node registers with the machine's own certificate -> hollow kubelet -> Ready
//
// No byte of a script runs: scripts are searched for the call of kubeadm, as at the level model. What kubeadm does is done
// by kubeadm itself wherever it lets itself be pointed at a folder; nothing outside Options.Dir is written, but for the
// hollow kubelet's runtime socket in /tmp.
//
// The clouds' network stays the simulator's: kubelets and joiners reach the API server through a proxy of this package
// that asks azuresim.Env where each connection may end, so that security groups, NAT gateways, load balancers and their
// probes decide, for as long as the connection is opened anew.
//
// What differs from real machines:
//   - One etcd and one API server, of the machine that ran kubeadm init, serve all control planes of a cluster: they answer
//     on each control plane that runs, and stop with the last. There is no etcd quorum. The data is kept until the last
//     control plane is forgotten.
//   - A hollow kubelet runs pods without effect: they are Running and Ready at once. There are no logs, no exec, no
//     volumes, no pod addresses and no Services behind it. The container network is not looked at.
//   - Since the cloud node manager's pods have no effect, the level does their work: when such a pod runs on a Node, it
//     sets addresses, zone, region and size, takes away the taint node.cloudprovider.kubernetes.io/uninitialized, and the
//     Node becomes Ready; before, the policy azuresim-not-initialised keeps it from being so. Without an external cloud
//     provider a Node is Ready at once.
//   - The hollow kubelet would report a provider id, addresses and a size of its own. The level registers the Node in its
//     stead, with the machine's certificate, and the policy azuresim-hollow-kubelet keeps the Node's status as registered.
//     Both are MutatingAdmissionPolicies, which can be seen in the cluster.
//   - The hollow kubelet's port, which it chooses at random, listens on all addresses of this machine; it holds nothing.
//   - The version is the artefact's, whatever the user data asks for; the console says so.
package process
