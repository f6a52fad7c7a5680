// SPDX-License-Identifier: Apache-2.0

// Package standin holds the programs of our own that stand in, on simulated machines, for images that cannot be had
// without a network: the two Azure cloud managers and the pod network. Each says in its log that it is not the original.
package standin
