// SPDX-License-Identifier: Apache-2.0

// Package updates marks the clusters whose profiles have newer content than the
// clusters took over, so that lists can show and find them.
//
// A published change of a profile touches the profile's work in the change's
// own transaction; the reconciler then goes through the clusters that the
// profile is attached to. Whoever gives a cluster a snapshot of a profile marks
// it in the same transaction with Of. Between the two no order loses a mark:
// both read the profile and write the cluster under serializable transactions.
//
// The package refuses to change what a cluster is made of: that a user asks for.
package updates
