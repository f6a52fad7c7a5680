// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// mirrorVariable overrides where Debian comes from.
const mirrorVariable = "LAZULI_DEBIAN_MIRROR"

// tools are the programs that the builder runs, by the Debian package that has them.
var tools = map[string]string{
	"debootstrap": "debootstrap", "dpkg-deb": "dpkg", "gpg": "gpg", "gpgconf": "gpgconf", "unshare": "util-linux",
	"tar": "tar", "gcc": "gcc", "pkg-config": "pkg-config",
}

// files are the same for what is no program: runc is linked with it.
var files = map[string]string{"/usr/include/seccomp.h": "libseccomp-dev", "/usr/include/stdio.h": "libc6-dev"}

// installTools installs what is missing when it can, else says what that is.
func installTools(log func(string, ...any)) error {
	missing := make([]string, 0, len(tools))
	for program, pkg := range tools {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	for file, pkg := range files {
		if _, err := os.Stat(file); err != nil {
			missing = append(missing, pkg)
		}
	}
	slices.Sort(missing)
	missing = slices.Compact(missing)
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Getuid() != 0 {
		return fmt.Errorf("the machine lacks the packages %s", strings.Join(missing, " "))
	}
	log("installing %s", strings.Join(missing, " "))
	for _, arguments := range [][]string{{"update"}, append([]string{"install", "--yes", "--no-install-recommends"}, missing...)} {
		command := exec.Command("apt-get", arguments...)
		command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("install the packages %s: %w: %s", strings.Join(missing, " "), err, lastLines(out))
		}
	}
	return nil
}

// debianMirror is where the machine itself has the suite from.
func debianMirror(etc, suite string) (string, error) {
	if m := os.Getenv(mirrorVariable); m != "" {
		return m, nil
	}
	names, err := filepath.Glob(filepath.Join(etc, "sources.list.d", "*"))
	if err != nil {
		return "", fmt.Errorf("read apt's sources: %w", err)
	}
	for _, name := range append([]string{filepath.Join(etc, "sources.list")}, names...) {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read apt's sources: %w", err)
		}
		if m := MirrorOf(string(text), suite); m != "" {
			return m, nil
		}
	}
	return "", fmt.Errorf("apt's sources name no mirror of %s: set %s", suite, mirrorVariable)
}

// MirrorOf finds the mirror of a suite in one of apt's files of sources, in either format; "" when there is none.
func MirrorOf(text, suite string) string {
	var uris, suites []string
	for line := range strings.Lines(text + "\n\n") {
		line = strings.TrimSpace(line)
		if name, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
			switch strings.ToLower(name) {
			case "uris":
				uris = strings.Fields(value)
			case "suites":
				suites = strings.Fields(value)
			}
		}
		if line == "" { // ends a stanza
			if len(uris) > 0 && slices.Contains(suites, suite) {
				return uris[0]
			}
			uris, suites = nil, nil
		}
		if words := oneLine(line); len(words) > 2 && words[1] == suite {
			return words[0]
		}
	}
	return ""
}

// oneLine is address, suite and components of a line of the old format, without its options; nil for another line.
func oneLine(line string) []string {
	rest, ok := strings.CutPrefix(line, "deb ")
	if !ok {
		return nil
	}
	rest = strings.TrimSpace(rest)
	if strings.HasPrefix(rest, "[") {
		_, rest, _ = strings.Cut(rest, "]")
	}
	return strings.Fields(rest)
}

// lastLines are the last of a program's output, enough to see why it ended.
func lastLines(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
