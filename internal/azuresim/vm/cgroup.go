// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// hierarchy is a mounted tree of cgroups.
type hierarchy struct {
	// kind is "cgroup" or "cgroup2", options are what it must be mounted with to be the same one.
	kind, options, mountpoint string
}

func hierarchies() ([]hierarchy, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	out := parseHierarchies(string(text))
	if len(out) == 0 {
		return nil, errors.New("find cgroups: none are mounted at /sys/fs/cgroup")
	}
	return out, nil
}

// parseHierarchies finds the trees in a mountinfo (proc(5)). Version 1 comes before version 2: what launch.sh does is
// decided by the first.
func parseHierarchies(mountinfo string) []hierarchy {
	var out []hierarchy
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(line, " - ")
		at, kind := strings.Fields(before), strings.Fields(after)
		if !found || len(at) < 5 || len(kind) < 3 {
			continue
		}
		h := hierarchy{kind: kind[0], options: "rw", mountpoint: at[4]}
		if h.kind != "cgroup" && h.kind != "cgroup2" || !strings.HasPrefix(h.mountpoint, "/sys/fs/cgroup") || strings.Contains(h.mountpoint, `\`) {
			continue
		}
		if h.kind == "cgroup" {
			h.options = hierarchyOptions(kind[2])
		}
		if !slices.ContainsFunc(out, func(o hierarchy) bool { return o.mountpoint == h.mountpoint }) {
			out = append(out, h)
		}
	}
	slices.SortStableFunc(out, func(a, b hierarchy) int { return strings.Compare(a.kind, b.kind) })
	return out
}

// hierarchyOptions are those that name the hierarchy: its controllers, or its name when it has none.
func hierarchyOptions(super string) string {
	var keep []string
	for o := range strings.SplitSeq(super, ",") {
		switch {
		case strings.HasPrefix(o, "name="):
			keep = append(keep, "none", o)
		case o == "rw", o == "ro", o == "xattr", o == "clone_children", o == "noprefix", strings.HasPrefix(o, "release_agent="), strings.HasPrefix(o, "cpuset_v2"):
		default:
			keep = append(keep, o)
		}
	}
	return strings.Join(keep, ",")
}

// makeGroups makes a group in each hierarchy.
func makeGroups(groups []hierarchy, name string) error {
	for _, h := range groups {
		dir := filepath.Join(h.mountpoint, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // as cgroups are
			return fmt.Errorf("make cgroup: %w", err)
		}
		if h.kind == "cgroup2" {
			for _, c := range []string{"cpuset", "cpu", "io", "memory", "pids", "hugetlb"} { // As far as there are such.
				_ = os.WriteFile(filepath.Join(h.mountpoint, "cgroup.subtree_control"), []byte("+"+c), 0o600)
			}
			continue
		}
		if !slices.Contains(strings.Split(h.options, ","), "cpuset") {
			continue
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // A group without them takes no process.
			have, err := os.ReadFile(filepath.Join(h.mountpoint, file))
			if err != nil {
				return fmt.Errorf("make cgroup: %w", err)
			}
			if err := os.WriteFile(filepath.Join(dir, file), have, 0o600); err != nil { //nolint:gosec // a cgroup
				return fmt.Errorf("make cgroup: %w", err)
			}
		}
	}
	return nil
}

// groupsTime bounds how long a kernel takes to let go of groups whose processes are dead.
const groupsTime = 5 * time.Second

// removeGroups removes a group from each hierarchy with everything below it. Processes that are still in it are killed.
func removeGroups(groups []hierarchy, name string) error {
	var errs []error
	for _, h := range groups {
		deadline := time.Now().Add(groupsTime)
		for {
			err := removeGroup(filepath.Join(h.mountpoint, name))
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				errs = append(errs, fmt.Errorf("remove cgroup: %w", err))
				break
			}
			time.Sleep(20 * time.Millisecond) // Nothing tells when.
		}
	}
	return errors.Join(errs...)
}

func removeGroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, removeGroup(filepath.Join(dir, e.Name())))
		}
	}
	for _, pid := range processesIn(dir) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // It may be gone.
	}
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, syscall.ENOENT) {
		errs = append(errs, &fs.PathError{Op: "rmdir", Path: dir, Err: err})
	}
	return errors.Join(errs...)
}

func processesIn(dir string) []int {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var out []int
	for field := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			out = append(out, pid)
		}
	}
	return out
}
