// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A control is the fields of a Debian package, in the order that people are used to.
type control struct {
	Package, Version, Depends, Description string
}

// String is the file DEBIAN/control.
func (c control) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: Lazuli simulator <simnode@example.invalid>\n", c.Package, c.Version)
	if c.Depends != "" {
		fmt.Fprintf(&b, "Depends: %s\n", c.Depends)
	}
	fmt.Fprintf(&b, "Section: admin\nPriority: optional\nDescription: %s\n", c.Description)
	return b.String()
}

// buildDeb makes the package of the tree, which is changed, in the folder. Nothing is compressed: it is read on this machine.
func buildDeb(c control, postinst, tree, folder string) error {
	debian := filepath.Join(tree, "DEBIAN")
	if err := os.MkdirAll(debian, 0o755); err != nil {
		return fmt.Errorf("make package %s: %w", c.Package, err)
	}
	if err := os.WriteFile(filepath.Join(debian, "control"), []byte(c.String()), 0o644); err != nil {
		return fmt.Errorf("make package %s: %w", c.Package, err)
	}
	if postinst != "" {
		if err := os.WriteFile(filepath.Join(debian, "postinst"), []byte(postinst), 0o755); err != nil {
			return fmt.Errorf("make package %s: %w", c.Package, err)
		}
	}
	name := fmt.Sprintf("%s_%s_amd64.deb", c.Package, c.Version)
	out, err := exec.Command("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, filepath.Join(folder, name)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make package %s: %w: %s", c.Package, err, out)
	}
	return nil
}

// packagesIndex is the file Packages of the packages in folder; their names in it are relative to root.
func packagesIndex(root, folder string) ([]byte, error) {
	debs, err := filepath.Glob(filepath.Join(folder, "*.deb"))
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	var index bytes.Buffer
	for _, deb := range slices.Sorted(slices.Values(debs)) {
		fields, err := exec.Command("dpkg-deb", "--field", deb).Output()
		if err != nil {
			return nil, fmt.Errorf("read package %s: %w", deb, err)
		}
		relative, err := filepath.Rel(root, deb)
		if err != nil {
			return nil, fmt.Errorf("name package %s: %w", deb, err)
		}
		size, sum, err := sumFile(deb)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&index, "%s\nFilename: %s\nSize: %d\nSHA256: %s\n\n", bytes.TrimSpace(fields), relative, size, sum)
	}
	return index.Bytes(), nil
}

// An archiveSuite is what a Release file says of its suite.
type archiveSuite struct {
	Origin, Suite, Codename string
	Components              string // "" in a repository without suites
}

// releaseFile is the file Release of the indexes, which are contents by name.
func releaseFile(s archiveSuite, date time.Time, indexes map[string][]byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Origin: %s\nLabel: %s\n", s.Origin, s.Origin)
	if s.Suite != "" {
		fmt.Fprintf(&b, "Suite: %s\nCodename: %s\n", s.Suite, s.Codename)
	}
	fmt.Fprintf(&b, "Date: %s\nArchitectures: amd64\n", date.UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	if s.Components != "" {
		fmt.Fprintf(&b, "Components: %s\n", s.Components)
	}
	b.WriteString("SHA256:\n")
	names := make([]string, 0, len(indexes))
	for name := range indexes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		sum := sha256.Sum256(indexes[name])
		fmt.Fprintf(&b, " %s %d %s\n", hex.EncodeToString(sum[:]), len(indexes[name]), name)
	}
	return b.String()
}

// writeSuite writes the indexes, Release, and its signed forms into folder.
func writeSuite(s archiveSuite, folder string, indexes map[string][]byte, k signingKey) error {
	for name, content := range indexes {
		if err := writeFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return err
		}
	}
	release := filepath.Join(folder, "Release")
	if err := writeFile(release, []byte(releaseFile(s, time.Now(), indexes)), 0o644); err != nil {
		return err
	}
	if err := k.gpg("--clearsign", "--output", filepath.Join(folder, "InRelease"), release); err != nil {
		return err
	}
	return k.gpg("--armor", "--detach-sign", "--output", release+".gpg", release)
}

// A signingKey signs the mirror's repositories. It is made for one artefact and its secret half is then thrown away.
type signingKey struct{ home string }

func newSigningKey() (signingKey, error) {
	home, err := os.MkdirTemp("", "simnode-gpg-")
	if err != nil {
		return signingKey{}, fmt.Errorf("make a folder for the key: %w", err)
	}
	k := signingKey{home}
	return k, k.gpg("--quick-generate-key", "simulated package mirror", "ed25519", "sign", "never")
}

func (k signingKey) gpg(arguments ...string) error {
	command := exec.Command("gpg", append([]string{"--homedir", k.home, "--batch", "--yes", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"}, arguments...)...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("gpg %s: %w: %s", arguments[0], err, out)
	}
	return nil
}

// export writes the public half, in letters.
func (k signingKey) export(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("export the key: %w", err)
	}
	return k.gpg("--armor", "--output", file, "--export")
}

// close throws the key away and ends the agent that gpg started for it.
func (k signingKey) close() {
	_ = exec.Command("gpgconf", "--homedir", k.home, "--kill", "all").Run()
	_ = os.RemoveAll(k.home)
}

func sumFile(name string) (int64, string, error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, "", fmt.Errorf("sum: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		return 0, "", fmt.Errorf("sum %s: %w", name, err)
	}
	return size, hex.EncodeToString(hash.Sum(nil)), nil
}

// writeFile writes a file and makes its folder. The mode is exact, whatever the umask.
func writeFile(name string, content []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.WriteFile(name, content, mode); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := os.Chmod(name, mode); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
