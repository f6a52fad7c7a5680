// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/vm"
)

// world is an azuresim.Env around machines in one subnet.
type world struct {
	t        *testing.T
	mu       sync.Mutex
	attached map[string]azuresim.Attachment
	console  []string
	changed  chan struct{} // closed and made anew with every line and report
	reports  []error
	off      []string // machines that went off by themselves
	flip     func()   // is called once, after an attachment was read
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, attached: map[string]azuresim.Attachment{}, changed: make(chan struct{})}
}

func (*world) Now() time.Time                           { return time.Now() }
func (*world) Outside() time.Time                       { return time.Now() }
func (*world) Until(t time.Time) time.Duration          { return time.Until(t) }
func (*world) After(d time.Duration, fn func())         { time.AfterFunc(d, fn) }
func (*world) Rand(string) *mathrand.Rand               { return mathrand.New(mathrand.NewPCG(1, 2)) }
func (*world) Reach(_, _ string, _ int) (string, error) { return "", azuresim.ErrUnreachable }

func (*world) RouteFrom(string, netip.AddrPort) (string, int, error) {
	return "", 0, azuresim.ErrUnreachable
}

func (*world) LookupHost(string) (netip.Addr, error) { return netip.Addr{}, azuresim.ErrNoSuchHost }

func (w *world) Attachment(id string) (azuresim.Attachment, error) {
	w.mu.Lock()
	at, ok := w.attached[strings.ToLower(id)]
	flip := w.flip
	w.flip = nil
	w.mu.Unlock()
	if flip != nil {
		flip()
	}
	if !ok {
		return at, azuresim.ErrUnreachable
	}
	return at, nil
}

func (w *world) Provisioned(_ string, err error) {
	w.change(func() { w.reports = append(w.reports, err) })
}

func (*world) Tags(string) map[string]string { return nil }

func (w *world) PoweredOff(id string) {
	w.change(func() { w.off = append(w.off, id) })
}

func (w *world) Console(_, line string) {
	w.change(func() { w.console = append(w.console, line) })
}

func (w *world) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
	close(w.changed)
	w.changed = make(chan struct{})
}

// await waits until a condition over the world holds. On failure the console is shown.
func (w *world) await(what string, limit time.Duration, holds func() bool) {
	w.t.Helper()
	timeout := time.After(limit)
	for {
		w.mu.Lock()
		ok, changed := holds(), w.changed
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			w.mu.Lock()
			defer w.mu.Unlock()
			w.t.Fatalf("no %s after %v; console:\n%s", what, limit, strings.Join(w.console, "\n"))
		}
	}
}

func (w *world) says(text string) func() bool {
	return func() bool {
		return slices.ContainsFunc(w.console, func(line string) bool { return strings.Contains(line, text) })
	}
}

const (
	vnetID    = "/subscriptions/s/resourcegroups/g/providers/microsoft.network/virtualnetworks/n"
	vmID      = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
	machineID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/One"
)

// add makes a machine of the world.
func (w *world) add(id, address string, image string, userData string) azuresim.Machine {
	addr := netip.MustParseAddr(address)
	last := addr.As4()[3]
	all := azuresim.Rule{Name: "all", Allow: true, Protocol: "*", From: azuresim.Peers{Any: true}, To: azuresim.Peers{Any: true}, Ports: [][2]int{{0, 65535}}}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attached[strings.ToLower(id)] = azuresim.Attachment{
		VNetID: vnetID, Spaces: []netip.Prefix{netip.MustParsePrefix("10.80.0.0/16")}, Subnet: netip.MustParsePrefix("10.80.1.0/24"), Address: addr,
		MAC:     "00:0d:3a:00:01:" + string("0123456789abcdef"[last>>4]) + string("0123456789abcdef"[last&15]),
		Inbound: [][]azuresim.Rule{{all}}, Egress: netip.MustParseAddr("127.64.0.9"),
	}
	return azuresim.Machine{
		ID: id, VMID: vmID, Name: filepath.Base(id), ComputerName: strings.ToLower(filepath.Base(id)), SubscriptionID: "s", ResourceGroup: "g", Location: "westeurope",
		Size: "Standard_D2s_v3", VCPUs: 2, MemoryGB: 8, CustomData: []byte(userData), AdminUser: "azureuser", SSHKeys: []string{publicKey(w.t)},
		PrivateIP: address, Image: image, DataDisks: []azuresim.DataDisk{{LUN: 0, SizeGB: 4}},
	}
}

func publicKey(t *testing.T) string {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var wire []byte
	for _, part := range [][]byte{[]byte("ssh-ed25519"), pub} {
		wire = binary.BigEndian.AppendUint32(wire, uint32(len(part)))
		wire = append(wire, part...)
	}
	return "ssh-ed25519 " + base64.StdEncoding.EncodeToString(wire) + " test"
}

const stock = "Canonical:ubuntu-24_04-lts:server:latest"

// left is everything on this machine that bears the mark of the level: namespaces, cgroups, mounts, loop devices and
// processes.
func left(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"/sys/fs/cgroup/*/" + mark() + "*", "/sys/fs/cgroup/" + mark() + "*", "/run/netns/" + mark() + "*", "/run/systemd/nspawn/*/" + mark() + "*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	for _, pattern := range []string{"/sys/block/loop*/loop/backing_file", "/proc/[0-9]*/cmdline", "/proc/[0-9]*/mounts"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(text), dir) {
				out = append(out, path)
			}
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		out = append(out, dir)
	}
	return out
}

// mark begins the names of everything that this process makes.
func mark() string { return vm.PrefixOf(os.Getpid()) }

func open(t *testing.T) (ms *vm.Machines, dir string) {
	t.Helper()
	o := vm.Options{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if lacks := vm.Missing(t.Context(), o); len(lacks) > 0 {
		t.Skipf("this machine cannot run virtual machines: %s", strings.Join(lacks, "; "))
	}
	cache := vm.CacheOf(t, o)
	o.Dir = filepath.Join(cache, "run", "test-"+mark())
	ms, err := vm.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ms.Close(); err != nil {
			t.Error(err)
		}
	})
	return ms, o.Dir
}

// TestStockMachine boots a real guest by its user data, stops it, boots it again from its disk, and forgets it.
func TestStockMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("it boots a machine, which takes most of a minute")
	}
	ms, dir := open(t)
	w := newWorld(t)
	am := w.add(machineID, "10.80.1.10", stock, `#cloud-config
runcmd:
- mkfs.ext4 -q /dev/disk/azure/scsi1/lun0 && echo "user-data made a disk of $(blockdev --getsize64 /dev/disk/azure/scsi1/lun0)" >/dev/console
- echo "user-data reads $(dmidecode -s system-uuid) and $(curl -sH Metadata:true 'http://169.254.169.254/metadata/instance/compute/vmId?api-version=2021-08-01&format=text')" >/dev/console
- ls /var/lib/cloud/seed/azure/ovf-env.xml || echo "user-data finds no DVD" >/dev/console
- echo "user-data ran on $(hostname) as $(cat /proc/1/comm)" >/dev/console
`)
	began := time.Now()
	ms.Start(w, am)
	ms.Probe(am.ID, 22, "")
	w.await("ready report", time.Minute, func() bool { return len(w.reports) > 0 })
	if err := w.reports[0]; err != nil {
		t.Fatalf("provisioning: %v", err)
	}
	t.Logf("ready after %v", time.Since(began).Round(time.Millisecond))
	w.await("word of the user data", time.Minute, w.says("user-data ran on one as systemd"))
	w.await("data disk", time.Minute, w.says("user-data made a disk of 4294967296"))
	w.await("word that the DVD is gone", time.Minute, w.says("user-data finds no DVD"))
	w.await("id of the machine by its firmware and the metadata service", time.Minute, w.says("user-data reads "+vmID+" and "+vmID))
	t.Logf("user data done after %v", time.Since(began).Round(time.Millisecond))
	for _, group := range vm.Groups(t) {
		if len(vm.ProcessesBelow(filepath.Join(group, mark()+"-1"))) == 0 {
			t.Errorf("no process of the guest is in its group in %s", group)
		}
	}
	greet(t, ms, am.ID)
	eventually(t, "the probe of port 22", func() bool { return ms.Probe(am.ID, 22, "") })

	ms.Stop(am.ID)
	if _, err := ms.Dial(t.Context(), am.ID, 22); !errors.Is(err, azuresim.ErrUnreachable) {
		t.Errorf("dial a stopped machine: %v, want ErrUnreachable", err)
	}
	if ms.Probe(am.ID, 22, "") {
		t.Error("a stopped machine answers probes")
	}
	w.change(func() { w.console = nil })
	ms.Start(w, am)
	w.await("second boot", time.Minute, w.says("Multi-User System"))
	greet(t, ms, am.ID)
	w.mu.Lock()
	if w.says("user-data ran")() {
		t.Error("the user data ran again on the second boot")
	}
	w.mu.Unlock()

	ms.Forget(am.ID)
	if err := ms.Close(); err != nil {
		t.Error(err)
	}
	if rest := left(t, dir); len(rest) > 0 {
		t.Errorf("left behind: %q", rest)
	}
}

// TestRebootFromInside reboots a guest and shuts it down as its root does: the one comes back by itself, the other when it
// is started.
func TestRebootFromInside(t *testing.T) {
	if testing.Short() {
		t.Skip("it boots a machine three times")
	}
	ms, dir := open(t)
	w := newWorld(t)
	am := w.add(machineID, "10.80.1.10", stock, `#cloud-config
write_files:
- path: /usr/local/bin/cycle
  permissions: "0755"
  content: |
    #!/bin/sh
    echo again >>/var/lib/boots
    n=$(wc -l </var/lib/boots)
    echo "boot $n after the first" >/dev/console
    [ "$n" != 1 ] || systemctl poweroff
- path: /etc/systemd/system/cycle.service
  content: |
    [Service]
    Type=oneshot
    ExecStart=/usr/local/bin/cycle
    [Install]
    WantedBy=multi-user.target
runcmd:
- systemctl enable cycle.service
- systemctl reboot
`)
	ms.Start(w, am)
	w.await("boot after a reboot", time.Minute, w.says("boot 1 after the first"))
	w.await("end of a guest that shut itself down", time.Minute, func() bool { return slices.Equal(w.off, []string{strings.ToLower(am.ID)}) })
	if _, err := ms.Dial(t.Context(), am.ID, 22); !errors.Is(err, azuresim.ErrUnreachable) {
		t.Errorf("dial a machine that is off: %v, want ErrUnreachable", err)
	}
	ms.Start(w, am)
	w.await("boot after a start", time.Minute, w.says("boot 2 after the first"))
	greet(t, ms, am.ID)
	w.mu.Lock()
	if len(w.reports) == 0 || w.reports[0] != nil || len(w.off) > 1 {
		t.Errorf("reports %v, switched off %v", w.reports, w.off)
	}
	w.mu.Unlock()
	ms.Forget(am.ID)
	if err := ms.Close(); err != nil {
		t.Error(err)
	}
	if rest := left(t, dir); len(rest) > 0 {
		t.Errorf("left behind: %q", rest)
	}
}

// TestRulesChangeDuringStart changes a machine's security rules right after its start has read them.
func TestRulesChangeDuringStart(t *testing.T) {
	if testing.Short() {
		t.Skip("it boots a machine")
	}
	ms, _ := open(t)
	w := newWorld(t)
	am := w.add(machineID, "10.80.1.10", stock, "#cloud-config\n")
	w.flip = func() {
		w.mu.Lock()
		at := w.attached[strings.ToLower(am.ID)]
		at.Inbound = [][]azuresim.Rule{{{Name: "changed", Protocol: "*", From: azuresim.Peers{Any: true}, To: azuresim.Peers{Any: true}, Ports: [][2]int{{0, 65535}}}}}
		w.attached[strings.ToLower(am.ID)] = at
		w.mu.Unlock()
		ms.NetworkChanged()
	}
	ms.Start(w, am)
	eventually(t, "the changed rule in the network", func() bool {
		networks, err := filepath.Glob("/run/netns/" + mark() + "-n*")
		if err != nil || len(networks) != 1 {
			return false
		}
		rules, err := exec.CommandContext(t.Context(), "nsenter", "--net="+networks[0], "nft", "list", "table", "ip", "vnet").Output()
		return err == nil && strings.Contains(string(rules), `comment "changed"`)
	})
}

// greet reads sshd's greeting through the network.
func greet(t *testing.T, ms *vm.Machines, id string) {
	t.Helper()
	var line string
	eventually(t, "a greeting of sshd", func() bool {
		c, err := ms.Dial(t.Context(), id, 22)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		line, err = bufio.NewReader(c).ReadString('\n')
		return err == nil
	})
	if !strings.HasPrefix(line, "SSH-2.0-OpenSSH") {
		t.Errorf("port 22 says %q", line)
	}
}

// eventually waits for something that gives no sign.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("no %s within a minute", what)
		case <-tick.C:
		}
	}
}

// TestBrokenImage boots an image with nothing in it and one whose layer is not there: failed provisionings, not endless
// ones.
func TestBrokenImage(t *testing.T) {
	cache := t.TempDir()
	if err := os.MkdirAll(filepath.Join(cache, "current", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := `{"format":1,"images":{"stock":{"lowers":["empty"]},"gallery":{"lowers":["nowhere"]}}}`
	if err := os.WriteFile(filepath.Join(cache, "current", "artefact.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o := vm.Options{Cache: cache, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if lacks := vm.Missing(t.Context(), o); len(lacks) > 0 {
		t.Skipf("this machine cannot run virtual machines: %s", strings.Join(lacks, "; "))
	}
	ms, err := vm.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	for i, image := range []string{stock, "/a/gallery's"} {
		am := w.add(machineID, "10.80.1.10", image, "")
		ms.Start(w, am)
		w.await("report", time.Minute, func() bool { return len(w.reports) > i })
		t.Log(w.reports[i])
		if w.reports[i] == nil {
			t.Error("a machine without an image reports ready")
		}
		w.await("word that it is off", time.Minute, func() bool { return len(w.off) > i })
		ms.Forget(am.ID)
	}
	if err := ms.Close(); err != nil {
		t.Error(err)
	}
	if rest := left(t, cache+"/run/"); len(rest) > 1 { // The folder itself stays.
		t.Errorf("left behind: %q", rest)
	}
}

// TestFullDisk boots machines where there is no room for their disks.
func TestFullDisk(t *testing.T) {
	o := vm.Options{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if lacks := vm.Missing(t.Context(), o); len(lacks) > 0 {
		t.Skipf("this machine cannot run virtual machines: %s", strings.Join(lacks, "; "))
	}
	small := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", small).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	o.Dir = filepath.Join(small, "run", "one")
	ms, err := vm.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	ms.Start(w, w.add(machineID, "10.80.1.10", "/a/gallery's", "#cloud-config\n"))
	w.await("report", time.Minute, func() bool { return len(w.reports) > 0 })
	if err := w.reports[0]; err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("without room the machine reports %v", err)
	}
	if err := ms.Close(); err != nil {
		t.Error(err)
	}
	if rest := left(t, o.Dir); len(rest) > 0 {
		t.Errorf("left behind: %q", rest)
	}
}

// TestForgetHalfWay forgets machines at several moments of their start.
func TestForgetHalfWay(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts machines")
	}
	ms, dir := open(t)
	w := newWorld(t)
	for i, wait := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, time.Second} {
		am := w.add(machineID, "10.80.1.10", stock, "#cloud-config\n")
		ms.Start(w, am)
		<-time.After(wait) // The moment is the matter of this test.
		if i%2 == 0 {
			ms.Stop(am.ID)
			ms.Start(w, am)
		}
		ms.Forget(am.ID)
	}
	if err := ms.Close(); err != nil {
		t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, err := range w.reports {
		if err != nil {
			t.Errorf("a machine that was forgotten reports %v", err)
		}
	}
	if rest := left(t, dir); len(rest) > 0 {
		t.Errorf("left behind: %q", rest)
	}
}

// TestKilledSimulator starts a machine in another process, kills that process, and looks at what a sweep leaves.
func TestKilledSimulator(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a machine")
	}
	if dir := os.Getenv("VM_TEST_VICTIM"); dir != "" {
		victim(t, dir)
		return
	}
	o := vm.Options{}
	if lacks := vm.Missing(t.Context(), o); len(lacks) > 0 {
		t.Skipf("this machine cannot run virtual machines: %s", strings.Join(lacks, "; "))
	}
	base := filepath.Join(vm.CacheOf(t, o), "run-"+mark())
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	dir := filepath.Join(base, "victim")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledSimulator$", "-test.v")
	cmd.Env = append(os.Environ(), "VM_TEST_VICTIM="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Welcome to") {
		t.Log(lines.Text())
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "end of the guest's processes", func() bool { return len(guests(dir)) == 0 })
	ms, err := vm.New(vm.Options{Dir: filepath.Join(base, "next"), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := ms.Close(); err != nil {
		t.Error(err)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/", "/run/netns/", "/run/systemd/nspawn/*/"} {
		if found, _ := filepath.Glob(pattern + vm.PrefixOf(cmd.Process.Pid) + "*"); len(found) > 0 {
			t.Errorf("left behind: %q", found)
		}
	}
	for _, dir := range []string{dir, filepath.Join(base, "next")} {
		if rest := left(t, dir); len(rest) > 0 {
			t.Errorf("left behind: %q", rest)
		}
	}
}

// guests are the processes that run something of a directory.
func guests(dir string) []string {
	var out []string
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range found {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), dir) && !strings.Contains(string(text), "-test.run") {
			out = append(out, path)
		}
	}
	return out
}

func victim(t *testing.T, dir string) {
	ms, err := vm.New(vm.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	ms.Start(w, w.add(machineID, "10.80.1.10", stock, "#cloud-config\n"))
	w.await("welcome", time.Minute, w.says("Welcome to"))
	_, _ = os.Stdout.WriteString("Welcome to the end\n")
	select {} // Until it is killed.
}
