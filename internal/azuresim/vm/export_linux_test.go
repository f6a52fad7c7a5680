// SPDX-License-Identifier: Apache-2.0

package vm

// Lacking is lacking.
func Lacking(have uint64) []string { return lacking(have) }
