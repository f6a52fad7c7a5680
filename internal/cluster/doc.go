// SPDX-License-Identifier: Apache-2.0

// Package cluster knows what a cluster needs, in which order, and what to do
// next about it.
//
// It refuses to talk to anybody itself: Azure, the deployed cluster, the store
// and the sealer are reached by the runner through small interfaces, and what
// to do is decided by a pure function.
//
// # The protocol
//
// One reconcile is a loop of three acts over one cluster under one lease:
//
//	       +------------------ answers ------------------+
//	       v                                             |
//	Step(world, answers, in flight, now, random)         |
//	       |                                             |
//	       | changed records       intents               |
//	       v                          |                  |
//	commit (fenced, one transaction)  |                  |
//	       |                          v                  |
//	       +---- then ---------> carry out (parallel) ---+
//
// Step is pure: it reads the records and the answers, writes records, and
// names intents; it makes no call and takes the time and randomness as
// arguments. The runner commits the records first, so the intent to create
// something is on record before the attempt (NodeIntended), then carries the
// intents out, all at once, and feeds each answer back as it comes.
//
// # The life of a node of the graph
//
//	Waiting --deps met--> Intended --PUT accepted--> Working --poll--> Done
//	                        |   ^                       |
//	             crash, lost answer: GET by the         | failed
//	             known id, then adopt or PUT again      v
//	                        +----------------------- Failed --later--> Intended
//
// What was intended is looked for before it is written again. A retry is a
// value (NextTry), never a sleep. Of the nodes that fail for one cause, one goes
// ahead every few seconds, and when it gets through the others are tried at once:
// what a user mended is noticed soon, and a cluster that is stuck costs few calls.
// A VM satisfies those that wait for it as soon
// as Azure accepted it: whether it is any good, its node in the cluster tells.
//
// A machine that there is no room for gets a successor in another zone, or after
// a while in the same place where there is no other. Bootstrap tokens are made
// anew for as long as their machines have not joined.
//
// # Pools
//
// What the user wants of the pools is compared with the machines in each step. A
// pool that lacks machines asks once more what is sold where (placement/POOL) and
// places them; their tokens are made in the running cluster. A pool that has too
// many dismisses some, those first that never became ready, then those of the
// zone that has most, the newest first:
//
//	live --LeavingAt--> drained --RetiredAt--> VM, NIC, disks gone --> Node gone, Deleted
//
// LeavingAt is on record before anything is done to the machine, and a commit
// that picks machines fails when the wish changed under it. Budgets that never
// give way hold a drain up for a bounded time. Control planes only get more.
//
// Machines keep what they were made with (Status.Made): a wish for another
// Kubernetes, image or shape is kept and told of in a notice. Releases are
// applied again when their content changes, and taken out when no profile has
// them any more.
//
// # Deletion
//
// Only a user deletes: by a DeleteIntent, or by a pool that shall be smaller. Deletion works from the inventory (all
// nodes that were ever intended) and from the cluster's tag, in the order in
// which Azure lets go: machines, then what they used. A resource is gone when
// Azure answered so for its id, or when it was seen in a list once and is
// missing from two since that cannot both be older than the resource; where they
// can, its id is asked for. What lists show long after counts as there again.
// The cluster reads Deleted when every record is
// gone and two lists some time apart, the last one since the last record went,
// had nothing; twice afterwards its tag is looked for again, for a write that
// was held back on its way. The resource group, and anything without
// the cluster's tag or record, is never touched.
package cluster
