// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vm

// Lacking is lacking.
func Lacking(have uint64) []string { return lacking(have) }
