// SPDX-License-Identifier: Apache-2.0

// Package examples holds the manifests that a newcomer starts from, so that
// the binary carries what its documentation shows. It refuses to hold code.
package examples

import _ "embed" // for the manifests

// Cluster is cluster.yaml: an account, a profile and a small cluster.
//
//go:embed cluster.yaml
var Cluster []byte

// HACluster is ha-cluster.yaml: the same with three control planes and two
// worker pools.
//
//go:embed ha-cluster.yaml
var HACluster []byte

// RealNodes is real-nodes.yaml: a small cluster whose machines boot a real node
// image, for simulators that have one.
//
//go:embed real-nodes.yaml
var RealNodes []byte
