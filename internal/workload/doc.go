// SPDX-License-Identifier: Apache-2.0

// Package workload is a deployed cluster as the hub sees it: through its API
// server, with an administrator's kubeconfig, over whatever connection a
// [Dialer] makes.
//
// It answers whether the API server is up, which Nodes there are and how they
// are, brings sets of manifests in and takes them out again, and does the few
// single acts that a cluster's life needs (tokens, labels of Nodes, deletion of
// Nodes and of Services that hold load balancers).
//
// # Sets and inventories
//
// A [Set] is applied by server-side apply under one field manager, kind by
// kind: namespaces, definitions (and a wait until they are served), accounts
// and rights, configuration, workloads, the rest. Every object carries the
// label [SetLabel]. What a set consists of is kept in a ConfigMap of the
// namespace [Namespace]:
//
//	inventory := old + new  ->  apply new  ->  delete old - new  ->  inventory := new
//
// so that a crash anywhere loses no object. An object is deleted only when the
// inventory names it and it still carries the label of this very set: without the
// inventory nothing is deleted.
//
// Several sets may declare one object, a namespace for the most part. It carries
// the label of the first as long as that one's inventory names it; each set applies
// its fields under a manager of its own, so they add up, and where they differ the
// last to be applied wins. Status counts the object for each of them. A set that
// goes takes away what it alone said and hands the label to another that declares
// the object; the last deletes it.
//
// # Errors
//
// A failure of the connection or of the credential is an [*AccessError], which
// tells unreachable, TLS, unauthorised and not ready apart. No error and no log
// line contains any part of a kubeconfig or a token.
//
// # What it refuses to do
//
// It decides nothing: which manifests, which order of sets and what a failure
// means for the cluster is its caller's. It keeps nothing but connections, and
// those of a bounded number of clusters. It never speaks protobuf, reads no file
// and no environment, runs no credential plug-in, and holds no package state.
package workload
