// SPDX-License-Identifier: Apache-2.0

// Package server puts the hub together: it is the only place where the store,
// the engine, Azure, the deployed clusters and the API meet, each knowing the
// others only as small interfaces.
//
//	LoadConfig -> New: data directory, keys, store, first objects, listener
//	               `-> Run: API over TLS | engine -> cluster -> azure, workload
//	                     `-> ctx ends: streams, requests, reconciles, store, in this order
//
// It refuses to hold rules of the domain, to read the environment by itself,
// and to serve without TLS.
package server
