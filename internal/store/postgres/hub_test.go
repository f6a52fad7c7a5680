// SPDX-License-Identifier: Apache-2.0

//go:build unix

package postgres_test

const hubEnv = "LAZULI_TEST_HUB"

func hub(string) int { return 0 }
