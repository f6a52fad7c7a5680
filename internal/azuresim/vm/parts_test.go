// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"encoding/base64"
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/vm"
)

func TestHierarchies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason, mountinfo string
		want              []string
	}{
		{
			"version 1 with a named tree and version 2 beside it", `
23 30 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
29 23 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
24 23 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
25 23 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:4 - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
26 23 0:31 / /mnt/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
`,
			[]string{"cgroup cpu,cpuacct /sys/fs/cgroup/cpu,cpuacct", "cgroup none,name=systemd /sys/fs/cgroup/systemd", "cgroup2 rw /sys/fs/cgroup/unified"},
		},
		{"version 2 alone", "24 23 0:29 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n", []string{"cgroup2 rw /sys/fs/cgroup"}},
		{"none", "24 23 0:29 / / rw,relatime - ext4 /dev/vda rw\n", nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, vm.ParseHierarchies(tt.mountinfo)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
		}
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	key := filepath.Join(cache, "key")
	for _, layer := range []string{"gallery", "stock"} {
		if err := os.MkdirAll(filepath.Join(key, layer), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("key", filepath.Join(cache, "current")); err != nil {
		t.Fatal(err)
	}
	text := `{"format":1,"kubernetes":"1.36.3","images":{"stock":{"lowers":["stock"]},"gallery":{"lowers":["gallery","stock"],"store":"containerd"}}}`
	if err := os.WriteFile(filepath.Join(key, "artefact.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for reference, want := range map[string][]string{
		"Canonical:ubuntu-24_04-lts:server:latest":                                           {key + "/stock", ""},
		"/communityGalleries/lazuli-1/images/a":                                              {key + "/gallery:" + key + "/stock", key + "/containerd"},
		"/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/x/images/y": {key + "/gallery:" + key + "/stock", key + "/containerd"},
	} {
		lowers, store, err := vm.ImageOf(cache, reference)
		if err != nil {
			t.Errorf("%s: %v", reference, err)
		}
		if got := []string{strings.Join(lowers, ":"), store}; !slices.Equal(got, want) {
			t.Errorf("%s boots %q, want %q", reference, got, want)
		}
	}
	if err := os.WriteFile(filepath.Join(key, "artefact.json"), []byte(`{"format":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := vm.ImageOf(cache, ""); err == nil || !strings.Contains(err.Error(), "format 2 is not 1") {
		t.Errorf("an artefact of another format: %v", err)
	}
}

func TestCloneStore(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	for path, mode := range map[string]os.FileMode{
		"io.containerd.content.v1.content/blobs/sha256/abc":                 0o444,
		"io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/usr/bin/sh":  0o4755,
		"io.containerd.snapshotter.v1.overlayfs/metadata.db":                0o600,
		"io.containerd.metadata.v1.bolt/meta.db":                            0o644,
		"io.containerd.snapshotter.v1.overlayfs/snapshots/1/work/something": 0o600,
	} {
		at := filepath.Join(from, path)
		if err := os.MkdirAll(filepath.Dir(at), 0o711); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at, mode&os.ModePerm|setuid(mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("sh", filepath.Join(from, "io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/usr/bin/bash")); err != nil {
		t.Fatal(err)
	}
	if err := vm.CloneStore(from, to); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(to, "io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/usr/bin/bash")); target != "sh" {
		t.Errorf("symbolic link: %q, %v", target, err)
	}
	for path, linked := range map[string]bool{
		"io.containerd.content.v1.content/blobs/sha256/abc":                true,
		"io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/usr/bin/sh": true,
		"io.containerd.snapshotter.v1.overlayfs/metadata.db":               false,
		"io.containerd.metadata.v1.bolt/meta.db":                           false,
	} {
		a, errA := os.Stat(filepath.Join(from, path))
		b, errB := os.Stat(filepath.Join(to, path))
		if errA != nil || errB != nil {
			t.Errorf("%s: %v, %v", path, errA, errB)
			continue
		}
		if os.SameFile(a, b) != linked || a.Mode() != b.Mode() {
			t.Errorf("%s: same file %v, modes %v and %v; want same %v", path, os.SameFile(a, b), a.Mode(), b.Mode(), linked)
		}
	}
	a, errA := os.Stat(filepath.Join(from, "io.containerd.metadata.v1.bolt"))
	b, errB := os.Stat(filepath.Join(to, "io.containerd.metadata.v1.bolt"))
	if errA != nil || errB != nil || a.Mode() != b.Mode() {
		t.Errorf("folder: %v and %v, %v, %v", a, b, errA, errB)
	}
}

func setuid(mode os.FileMode) os.FileMode {
	if mode&0o4000 != 0 {
		return os.ModeSetuid
	}
	return 0
}

func TestProvisioningDVD(t *testing.T) {
	t.Parallel()
	custom := []byte("#cloud-config\n\x00\xff<&>")
	text := vm.OVFEnvironment(azuresim.Machine{
		Name: "arm-name", ComputerName: "node<1>", AdminUser: "azureuser", SSHKeys: []string{"ssh-ed25519 AAAA a&b"}, CustomData: custom,
	})
	var got struct {
		Section struct {
			Set struct {
				HostName, UserName, CustomData string
				Keys                           []struct{ Path, Value string } `xml:"SSH>PublicKeys>PublicKey"`
			} `xml:"LinuxProvisioningConfigurationSet"`
		} `xml:"ProvisioningSection"`
		Platform struct {
			Settings *struct{} `xml:"PlatformSettings"`
		} `xml:"PlatformSettingsSection"`
	}
	if err := xml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	set := got.Section.Set
	if set.HostName != "node<1>" || set.UserName != "azureuser" || got.Platform.Settings == nil {
		t.Errorf("got %+v", got)
	}
	if data, err := base64.StdEncoding.DecodeString(set.CustomData); err != nil || string(data) != string(custom) {
		t.Errorf("custom data %q, %v", data, err)
	}
	if len(set.Keys) != 1 || set.Keys[0].Value != "ssh-ed25519 AAAA a&b" || set.Keys[0].Path != "/home/azureuser/.ssh/authorized_keys" {
		t.Errorf("keys %+v", set.Keys)
	}
	if text := vm.OVFEnvironment(azuresim.Machine{Name: "n"}); strings.Contains(text, "CustomData") || !strings.Contains(text, "<HostName>n</HostName>") {
		t.Errorf("without custom data and computer name: %s", text)
	}
}

func TestConsole(t *testing.T) {
	t.Parallel()
	in := "[\x1b[0;32m  OK  \x1b[0m] Started a.service.\r\r\n\r\n\x1b[2Jtab\there\xff\n" + strings.Repeat("x", 5000) + "\nno newline"
	want := []string{"[  OK  ] Started a.service.", "tab\there?", strings.Repeat("x", 4096), strings.Repeat("x", 904), "no newline"}
	if diff := cmp.Diff(want, vm.ConsoleLines(in)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, pid := range []int{1, 35, 36, 4194304, 1679615} {
		p := vm.PrefixOf(pid)
		if len(p) != 6 || !strings.HasPrefix(p, "lz") || seen[p] {
			t.Errorf("prefix of %d is %q", pid, p)
		}
		seen[p] = true
	}
}
