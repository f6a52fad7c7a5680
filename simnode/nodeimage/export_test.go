// SPDX-License-Identifier: Apache-2.0

package nodeimage

import "time"

// What the tests look at from outside.

// ControlText is the control file of a package.
func ControlText(name, version, depends, description string) string {
	return control{name, version, depends, description}.String()
}

// ReleaseText is the Release file of the indexes.
func ReleaseText(suite string, date time.Time, indexes map[string][]byte) string {
	return releaseFile(archiveSuite{Origin: "Debian", Suite: suite, Codename: suite, Components: "main"}, date, indexes)
}

// WriteTestLayout writes a layout of one layer, which holds the file, and two images of it.
func WriteTestLayout(folder, file string) error {
	return writeLayout(folder, map[string][]entry{"one": {
		{name: "usr/bin/a", source: file}, {name: "b", link: "usr/bin/a"}, {name: "tmp", mode: 0o1777},
	}}, []container{
		{reference: "example.com/a:v1", entrypoint: []string{"/usr/bin/a"}, layer: "one"},
		{reference: "example.com/b:v1", entrypoint: []string{"/b"}, layer: "one"},
	})
}

// References are the references of all images.
func References() []string {
	out := make([]string, 0, 16)
	for _, c := range images() {
		out = append(out, c.reference)
	}
	return out
}
