// SPDX-License-Identifier: Apache-2.0

// Package server puts the hub together: it is the only place where the store,
// the engine, Azure, the deployed clusters and the API meet, each knowing the
// others only as small interfaces.
//
//	Config -> Listen -> Server.Run(ctx)
//	                      |- store (data dir)     |- API over TLS
//	                      |- sealer (key file)    |- reconcile engine
//	                      |- cluster reconciler --+-- azure, workload
//
// It refuses to hold rules of the domain, to read the environment by itself,
// and to serve without TLS.
package server
