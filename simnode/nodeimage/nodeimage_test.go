// SPDX-License-Identifier: Apache-2.0

package nodeimage_test

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/simnode/nodeimage"
)

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := func() string {
		t.Helper()
		k, err := nodeimage.Key(dir, []string{"a", "b", "gone"}, []string{"word"})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	write(t, filepath.Join(dir, "a", "x.go"), "x", 0o644)
	write(t, filepath.Join(dir, "b"), "b", 0o644)
	seen := map[string]string{key(): "at first"}
	for _, tt := range []struct {
		reason string
		change func()
		counts bool
	}{
		{"content", func() { write(t, filepath.Join(dir, "a", "x.go"), "y", 0o644) }, true},
		{"a new file", func() { write(t, filepath.Join(dir, "a", "deep", "z"), "", 0o644) }, true},
		{"the executable bit", func() {
			if err := os.Chmod(filepath.Join(dir, "b"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a test", func() { write(t, filepath.Join(dir, "a", "x_test.go"), "x", 0o644) }, false},
		{"Markdown", func() { write(t, filepath.Join(dir, "a", "README.md"), "x", 0o644) }, false},
		{"another folder", func() { write(t, filepath.Join(dir, "c", "x.go"), "x", 0o644) }, false},
	} {
		tt.change()
		k := key()
		if _, old := seen[k]; old == tt.counts {
			t.Errorf("after %s the key is %s, which was seen: %t", tt.reason, k, old)
		}
		seen[k] = tt.reason
	}
}

func TestMirrorOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want, reason string }{
		{"deb http://m/debian bookworm main", "http://m/debian", "the old format"},
		{"deb [arch=amd64 signed-by=/k] http://m/d bookworm main contrib", "http://m/d", "with options"},
		{"# deb http://n/d bookworm main\ndeb http://m/d bookworm-updates main", "", "another suite, and a comment"},
		{"Types: deb\n# URIs: http://n\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\n", "http://m/debian", "the new format"},
		{"Suites: trixie\nURIs: http://n\n\nSuites: bookworm\nURIs: http://m", "http://m", "the second stanza, in another order"},
	} {
		if got := nodeimage.MirrorOf(tt.in, "bookworm"); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.reason, got, tt.want)
		}
	}
}

func TestDebianTexts(t *testing.T) {
	t.Parallel()
	got := nodeimage.ControlText("kubectl", "1.36.3-1.1", "a (= 1)", "client")
	want := "Package: kubectl\nVersion: 1.36.3-1.1\nArchitecture: amd64\nMaintainer: Lazuli simulator <simnode@example.invalid>\n" +
		"Depends: a (= 1)\nSection: admin\nPriority: optional\nDescription: client\n"
	if got != want {
		t.Errorf("control is\n%swant\n%s", got, want)
	}
	date := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got = nodeimage.ReleaseText("bookworm", date, map[string][]byte{"main/b": []byte("x"), "main/a": nil})
	want = "Origin: Debian\nLabel: Debian\nSuite: bookworm\nCodename: bookworm\nDate: Fri, 02 Jan 2026 03:04:05 UTC\nArchitectures: amd64\n" +
		"Components: main\nSHA256:\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/a\n" +
		" 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 1 main/b\n"
	if got != want {
		t.Errorf("Release is\n%swant\n%s", got, want)
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "program")
	write(t, file, "program", 0o755)
	layout := filepath.Join(dir, "oci")
	if err := nodeimage.WriteTestLayout(layout, file); err != nil {
		t.Fatal(err)
	}
	type descriptor struct {
		Digest      string
		Size        int64
		Annotations map[string]string
	}
	read := func(d descriptor, into any) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(layout, "blobs", "sha256", strings.TrimPrefix(d.Digest, "sha256:")))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		if d.Digest != "sha256:"+hex.EncodeToString(sum[:]) || d.Size != int64(len(text)) {
			t.Errorf("blob %s of %d bytes is not what its descriptor says", d.Digest, len(text))
		}
		if into == nil {
			return
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct{ Manifests []descriptor }
	if err := json.Unmarshal(text, &index); err != nil {
		t.Fatal(err)
	}
	names, layers := make([]string, 0, 2), map[string]bool{}
	for _, m := range index.Manifests {
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		read(m, &manifest)
		read(manifest.Layers[0], nil)
		var config struct {
			RootFS struct {
				DiffIDs []string `json:"diff_ids"`
			} `json:"rootfs"`
		}
		read(manifest.Config, &config)
		if config.RootFS.DiffIDs[0] != manifest.Layers[0].Digest {
			t.Errorf("diff id %s is not the layer %s", config.RootFS.DiffIDs[0], manifest.Layers[0].Digest)
		}
		names = append(names, m.Annotations["io.containerd.image.name"])
		layers[manifest.Layers[0].Digest] = true
	}
	if !slices.Equal(names, []string{"example.com/a:v1", "example.com/b:v1"}) || len(layers) != 1 {
		t.Errorf("images %v of layers %v: want two of one", names, layers)
	}
	for digest := range layers {
		checkLayer(t, filepath.Join(layout, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")))
	}
}

func checkLayer(t *testing.T, name string) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var got []string
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %o %d %s", header.Name, header.Mode, header.Size, header.Linkname))
	}
	want := []string{"b 777 0 usr/bin/a", "tmp/ 1777 0 ", "usr/ 755 0 ", "usr/bin/ 755 0 ", "usr/bin/a 755 7 "}
	if !slices.Equal(got, want) {
		t.Errorf("layer holds %q, want %q", got, want)
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	// What kubeadm of this version pulls under these very tags.
	for _, want := range []string{
		"registry.k8s.io/kube-apiserver:v1.36.3", "registry.k8s.io/kube-proxy:v1.36.3", "registry.k8s.io/etcd:3.6.8-0",
		"registry.k8s.io/coredns/coredns:v1.14.2", "registry.k8s.io/pause:3.10.2",
	} {
		if !slices.Contains(nodeimage.References(), want) {
			t.Errorf("there is no image %s", want)
		}
	}
}
