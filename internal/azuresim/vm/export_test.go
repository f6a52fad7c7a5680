// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// PrefixOf begins the names of everything that a process makes.
func PrefixOf(pid int) string { return prefixOf(pid, 0) }

// Claim is claim, until the test ends.
func Claim(t *testing.T, dir string) (prefix string, err error) {
	t.Helper()
	held, prefix, err := claim(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(func() { _ = held.Close() })
	}
	return prefix, err
}

// CloneStore is cloneStore.
func CloneStore(from, to string) error { return cloneStore(from, to) }

// OVFEnvironment is ovfEnvironment.
func OVFEnvironment(m azuresim.Machine) string { return ovfEnvironment(m) }

// ConsoleLines are what is made of a console's bytes.
func ConsoleLines(text string) []string {
	var out []string
	readConsole(strings.NewReader(text), func(line string) { out = append(out, line) })
	return out
}

// ImageOf finds what a reference boots.
func ImageOf(cache, reference string) (lowers []string, store string, err error) {
	a, err := openArtefact(cache)
	if err != nil {
		return nil, "", err
	}
	img, err := a.image(reference)
	return img.lowers, img.store, err
}

// ParseHierarchies are the trees of cgroups in a mountinfo, as launch.sh reads them.
func ParseHierarchies(mountinfo string) []string {
	var out []string
	for _, h := range parseHierarchies(mountinfo) {
		out = append(out, fmt.Sprintf("%s %s %s", h.kind, h.options, h.mountpoint))
	}
	return out
}

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
