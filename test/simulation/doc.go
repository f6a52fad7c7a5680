// SPDX-License-Identifier: Apache-2.0

// Package simulation plays whole lives of clusters from seeds: the product's
// records, decisions and wire against simulated Azure, under weather and
// kills, in virtual time, in one goroutine.
//
// A seed decides everything: the size of the cluster, the order in which
// intents are carried out and answers come back, how much time passes, which
// calls fail in which way, where the process dies, and when the user deletes.
// So a seed replays exactly: its trace has the same hash each time.
//
//	driver: claim -> Open -> Step -> carry out one intent -> ... -> finish
//	            |          |                  |
//	      store + kills  commits        weather + kills -> simulator
//	                                    weather + kills -> API of the deployed cluster
//
// The oracle looks at every call while it is made (no write without a recorded
// intent, none twice, no call inside a Retry-After, no deletion without a
// user's intent) and at what Azure, the deployed cluster and the store hold in
// the end. Its rules about zones, order, drains, wishes, shrinking, marks,
// tokens, Nodes, Services, lists and keys begin their messages with that word.
//
// It refuses to use sockets, the real clock, or any goroutine whose order could
// show in the trace.
package simulation
