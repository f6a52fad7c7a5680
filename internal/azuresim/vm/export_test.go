// SPDX-License-Identifier: Apache-2.0

package vm

import "testing"

// PrefixOf begins the names of everything that a process makes.
func PrefixOf(pid int) string { return prefixOf(pid, 0) }

// CacheOf is the directory of images that options mean.
func CacheOf(t *testing.T, o Options) string {
	t.Helper()
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return o.Cache
}
