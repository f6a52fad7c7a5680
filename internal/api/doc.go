// SPDX-License-Identifier: Apache-2.0

// Package api serves the hub's HTTP: Palette's v1 as far as it is served, and
// our own additions under /lazuli/v1.
//
// A request passes, in this order:
//
//	id, recovery, log -> authentication -> rate -> permission (the route's)
//	  -> body (size, form) -> handler -> one transaction -> answer
//
// All routes are rows of one table (Routes), all error codes rows of another
// (Errors). A handler reads its request, checks it to the last field, and
// writes desired state only; what comes of it is the engine's work. A request
// with a fault changes nothing and is answered with all faults at once, each
// with the path of its field.
//
// Who may see an object is decided by the object's own project and by the
// credential, never by the header ProjectUid: the header says where new objects
// go and what a list is narrowed to. An object that a caller may not see does
// not exist for it. A uid inside a request is checked like a uid in a path.
//
// The package refuses to talk to Azure (it asks a Prober, for at most five
// seconds, and goes on without an answer where the engine will find out too), to
// write what the engine owns, to fill defaults into what it echoes, and to log
// a body or a credential.
package api
