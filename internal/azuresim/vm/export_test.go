// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"io/fs"
	"path/filepath"
	"testing"
)

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

// Groups are where the trees of cgroups are mounted.
func Groups(t *testing.T) []string {
	t.Helper()
	list, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, h := range list {
		out = append(out, h.mountpoint)
	}
	return out
}

// ProcessesBelow are the processes in a cgroup and those below it.
func ProcessesBelow(dir string) []int {
	var out []int
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			out = append(out, processesIn(path)...)
		}
		return nil
	})
	return out
}
