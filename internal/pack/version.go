// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// compareVersions orders dotted versions by their numbers; parts that are not
// numbers compare as text and sort before numbers. Versions of packs are not
// all semantic versions: Ubuntu's 22.04 is not one.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		if c := comparePart(as[i], bs[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

func comparePart(a, b string) int {
	x, errX := strconv.ParseUint(a, 10, 32)
	y, errY := strconv.ParseUint(b, 10, 32)
	switch {
	case errX == nil && errY == nil:
		return cmp.Compare(x, y)
	case errX == nil:
		return 1
	case errY == nil:
		return -1
	default:
		return cmp.Compare(a, b)
	}
}

// minor is the first two parts of a version: 1.36 of 1.36.3.
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3) // major, minor, the rest
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// groupOf is the tag of a version's release line: 1.36.x of 1.36.3, 24.x of 24.04.
func groupOf(version string) string {
	if i := strings.LastIndexByte(version, '.'); i > 0 {
		return version[:i] + ".x"
	}
	return version
}

// tagsOf are all tags of a version, the most exact first.
func tagsOf(version string, further []string) []string {
	tags := append([]string{version, groupOf(version)}, further...)
	slices.Sort(tags[2:])
	return slices.Compact(tags)
}
