// SPDX-License-Identifier: Apache-2.0

//go:build !mutant

package azure

// mutated is false, and the compiler drops what it guards. Under the build tag
// mutant the environment chooses one deliberate defect, by which
// test/simulation proves that it would notice (make campaign).
func mutated(string) bool { return false }
