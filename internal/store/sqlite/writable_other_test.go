// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package sqlite_test

const fullEnv = "LAZULI_TEST_FULL_DISK"

func fullDisk(string) int { return 1 } // no process asks
