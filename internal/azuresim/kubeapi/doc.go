// SPDX-License-Identifier: Apache-2.0

// Package kubeapi is a Kubernetes API server in memory: the real wire (discovery, CRUD, list paging, watch with
// bookmarks, every patch type with server-side apply, Tables, CustomResourceDefinitions, client certificates and
// bootstrap tokens) over a state that is a map.
//
// kubectl and client-go are its clients. One Server is one cluster: its revision counter, its objects and the
// history that watches and continued lists need.
//
//	request -> authenticate -> authorise -> route -> Store (one lock: validate, default, own fields, commit) -> history
//	                                                                                                  |-> watches
//	                                                                                                  `-> OnChange
//
// A commit is atomic and its revision is the resourceVersion of the object. Watches and lists at an older revision are
// answered from a bounded history per resource; what is older is 410 Gone, as with a compacted etcd.
//
// It refuses to be a cluster: no controllers, no scheduler, no kubelet (package model has small ones), no admission
// webhooks, no RBAC evaluation beyond the groups that a kubeadm bootstrap needs, no protobuf answers and no CBOR
// (a client that takes JSON too gets JSON, others 406 or 415), no schema validation of custom resources, no exec, logs or proxying.
package kubeapi
