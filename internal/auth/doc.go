// SPDX-License-Identifier: Apache-2.0

// Package auth says who calls and what they may do.
//
// There are two credentials. An API key is 256 random bits behind the prefix
// "lz_", stored as its SHA-256 only; it acts as its user, in one project when it
// is bound to that, until it expires or is revoked. A session begins with a
// password (Argon2id) and is a signed token of a quarter of an hour that can be
// prolonged for half a day; it is over at once when the user is disabled, signs
// out or gets another password, since a token names the generation of its user's
// sessions.
//
// What an actor may do follows from the roles of its user and of the user's
// teams, and is looked at anew with every request:
//
//	tenant (version) -> user (version) -> kept grants, or roles + teams -> grants
//
// A role of tenant scope holds in all projects, one of project scope where it
// was given. Every change of a role, a team or an assignment raises the tenant's
// version with it, so that nothing kept outlives it. Nobody can give what they
// have not: Grants.Excess is that comparison.
//
// Guessing is bounded before anything is looked up, by failures of an address,
// and for passwords by address and name; a name alone is never locked.
//
// The package refuses to know routes, to keep credentials, to tell an unknown
// user, key or token from a wrong one, and to log any of them.
package auth
