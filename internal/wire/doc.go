// SPDX-License-Identifier: Apache-2.0

// Package wire holds the Go types of the hub's HTTP API. All but Time are made
// from the contract document, internal/contract/openapi.yaml, by `make
// generate`; the names are the document's.
//
// Optional members are left out of JSON when they are zero; a struct that may
// be absent is a pointer. What a client sent must be echoed as it was sent, so
// echoes are made of the raw request, not of these types.
//
// The package refuses to know the domain, to check values, and to hold a type
// that the document does not.
package wire
