// SPDX-License-Identifier: Apache-2.0

package bootstrap

// ShellQuote is shellQuote for tests.
func ShellQuote(s string) string { return shellQuote(s) }
