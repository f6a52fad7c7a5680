// SPDX-License-Identifier: Apache-2.0

// Package lazuli is the vocabulary of the management plane and the rules of
// its domain: accounts, profiles, clusters, pools, machines, what they may be
// called, which states they pass through and how a failure is told.
//
// It does no I/O, imports only the standard library, and knows neither Azure's
// wire nor Palette's: those are rooms of their own under internal/.
package lazuli
