// SPDX-License-Identifier: Apache-2.0

// Package reconcile runs handlers on the objects whose work is due: as soon as
// it is due, one at a time per object, again for every change, and on another
// process when this one dies.
//
// It refuses to queue (a change is a generation, not a message), to know what
// a handler does, to keep anything in memory that a crash would lose, and to
// wait for a poll where an event can tell.
//
// # Terms
//
//   - work row: the store's record that an object (kind, id) needs a look. There
//     is one per object; see package store for its columns.
//   - touch: a writer's statement, in the transaction of its change, that the
//     object needs a look, now or at a time.
//   - claim: taking the lease of a due row. lease: the right to run until a time,
//     known by owner and fence. fence: a number that grows with every claim.
//   - run: one call of a handler under one lease. outcome: what the run returns.
//   - generation: the number of touches so far. A run has observed the
//     generation that it claimed.
//   - attempts: claims since the last outcome other than Failed.
//
// # The life of a work row
//
//	             touch(at)                              claim: fence+1, attempts+1
//	(no row) ---------------> waiting ---- due <= now ------------> leased
//	   ^                       ^  ^  ^                             |  |  |
//	   |                       |  |  '----- lease over, no finish -'  |  |
//	   |                       |  '---- finish: Done, RetryAfter, At, |  |
//	   |                       |        Failed, Terminal -------------'  |
//	   '---------- finish: Remove (unless touched meanwhile) ------------'
//
//	outcome        due again                        attempts
//	Done           when touched                     0
//	RetryAfter(d)  after d                          0
//	At(t)          at t                             0
//	Failed(err)    after a random wait, see below   kept
//	Terminal(err)  when touched                     0
//	Remove         the row goes                     -
//
// Whatever the outcome: a row that was touched during the run is due at once,
// for the run may have read the state of before the touch.
//
// The wait after Failed is drawn evenly between one second and the smaller of
// five minutes and 2^attempts seconds, so that objects which failed together
// do not come back together.
//
// # Authority
//
// Only the store says who may run. A run must do all its writes with
// store.Fenced under its lease; the engine prolongs the lease when a third of
// it is over, and cancels the run's context as soon as the store says that the
// lease is lost or when it could not be prolonged in time. What a run returns
// after that is dropped.
//
// The fence protects the store and nothing outside it. What protects Azure and
// the deployed clusters is the hold (store.Hold) in the run's context: it knows
// by the process's own clocks until when the lease lasts, and is asked
// (lazuli.MayWrite) for each write after all its waits, as the last thing before
// it leaves. So a process that stood still for longer than its lease sends
// nothing of what it had in its queues. A handler that is refused so, with
// lazuli.CodeFenced, returns Failed with that error: it counts as a lost lease,
// not as a failure. What no process can take back is the write whose last byte
// was under way when it stopped.
//
// # Wake-ups
//
//	touch commits -> store.Watch -> claim -> run          no poll between
//	earliest due time or end of a lease -> timer -> claim
//	a run ends -> finish -> claim                         a touch during the run is found here
//	every PollInterval -> claim                           the safety net
//
// # Start and end
//
// Run ends the leases that a former process of the same owner left, or, on a
// database that one process has alone, any process, so that the work goes on
// at once. When Run's context ends, nothing more is claimed;
// runs get Drain to come to their end, then their contexts are cancelled, and
// what they were at is due at once for the next process. After a crash the work is
// taken over when its lease is over, or at once as said above.
package reconcile
