// SPDX-License-Identifier: Apache-2.0

// Package contract holds the document of the hub's HTTP API and checks
// requests and answers against it.
//
// openapi.yaml is the document: what is served, in the field's own names. The
// Go types of internal/wire, the TypeScript types and docs/api.md are made from
// it. operations.tsv lists every operation of Palette's API, so that one that
// is not served can be told from a path that nobody knows.
//
// A request is read as the wire's clients send it: null stands for an absent
// member or an empty list, an empty string for an absent choice, and a member
// that the document does not name is no fault, but goes no further: letters of
// another case are another name. An answer is held to the letter: every member
// must be named, and nothing is null that may not be.
//
// The package refuses to know routes, handlers and the domain's rules.
package contract
