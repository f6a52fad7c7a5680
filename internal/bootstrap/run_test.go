// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli/internal/bootstrap"
)

// machine runs the real script over a folder that stands for the machine's
// root, with recorded stand-ins for the programs that would change the host.
type machine struct {
	t      *testing.T
	root   string
	script string
}

func newMachine(t *testing.T, c bootstrap.Cluster, n bootstrap.Node) *machine {
	t.Helper()
	m := &machine{t: t, root: t.TempDir()}
	_, files := decode(t, mustRender(t, c, n))
	for path, f := range files {
		m.write(path, m.moved(f.Content))
	}
	m.script = filepath.Join(m.root, "usr/local/lib/lazuli/bootstrap")
	m.write("/etc/hosts", "127.0.0.1 localhost\n")
	m.write("/dev/console", "")
	m.write("/var/log/syslog", "")
	m.write("/var/lib/waagent/ovf-env.xml", "secret")
	m.write("/var/lib/cloud/instance/user-data.txt", "... "+m.root+"/etc/lazuli/kubeadm.yaml ...")
	m.write("/var/lib/cloud/instance/vendor-data.txt", "harmless")
	for _, name := range []string{"systemctl", "swapoff", "sleep", "kubectl", "kubelet", "kubeadm", "blkid", "mkfs.ext4", "mount", "mountpoint", "chattr", "readlink"} {
		m.stub(name, "")
	}
	m.stub("kubelet", `echo "Kubernetes v1.36.3"`)
	return m
}

// moved makes the text work below the machine's root.
func (m *machine) moved(text string) string {
	text = regexp.MustCompile(`(^|[\s"'=>(])/(etc|var|run|dev|usr/local/lib)/`).ReplaceAllString(text, "${1}"+m.root+"/$2/")
	text = strings.ReplaceAll(text, m.root+"/dev/null", "/dev/null")
	return strings.Replace(text, "export PATH=", "export PATH="+m.root+"/stub:", 1)
}

func (m *machine) write(path, content string) {
	m.t.Helper()
	full := filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o700); err != nil { // programs among them
		m.t.Fatal(err)
	}
}

func (m *machine) read(path string) string {
	raw, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		return ""
	}
	return string(raw)
}

func (m *machine) exists(path string) bool {
	_, err := os.Stat(filepath.Join(m.root, path))
	return err == nil
}

// stub replaces a program by a line in the file calls, and a body.
func (m *machine) stub(name, body string) {
	m.write("/stub/"+name, "#!/bin/bash\nROOT="+m.root+"\necho \""+name+" $*\" >>$ROOT/calls\n"+body+"\n")
}

// kubeadm gives kubeadm a body that first counts its runs in $N.
func (m *machine) kubeadm(body string) {
	m.stub("kubeadm", `
if [ "$1" = reset ]; then rm -rf $ROOT/etc/kubernetes/pki $ROOT/etc/kubernetes/*.conf; exit 0; fi
N=$(grep -cE '^kubeadm (init|join)' $ROOT/calls)
[ -s $ROOT/etc/kubernetes/pki/etcd/ca.key ] || [ "$1" = join ] || { echo "no PKI"; exit 1; }
echo "the token is abcdef.0123456789abcdef"
`+body)
}

func (m *machine) run() error {
	m.t.Helper()
	out, err := exec.CommandContext(m.t.Context(), "bash", m.script).CombinedOutput()
	if len(out) > 0 {
		m.t.Logf("output: %s", out)
	}
	return err // the test looks at nil alone
}

// phases lists "phase state" as the console shows them.
func (m *machine) phases() []string {
	var all []string
	for _, l := range regexp.MustCompile(`(?m)^lazuli-bootstrap phase=(\S+) state=(\S+)`).FindAllStringSubmatch(m.read("/dev/console"), -1) {
		if l[2] != "started" {
			all = append(all, l[1]+" "+l[2])
		}
	}
	return all
}

func (m *machine) calls(prefix string) []string {
	var all []string
	for l := range strings.SplitSeq(strings.ReplaceAll(m.read("/calls"), m.root, ""), "\n") {
		if strings.HasPrefix(l, prefix) {
			all = append(all, l)
		}
	}
	return all
}

func requireBash(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash")
	}
}

const initCall = "kubeadm init --config /etc/lazuli/kubeadm.yaml --skip-token-print"

func TestRunInit(t *testing.T) {
	t.Parallel()
	requireBash(t)
	for _, tt := range []struct {
		reason  string
		kubeadm string
		want    []string
	}{
		{"at once", `exit 0`, []string{initCall}},
		{"fails before etcd ran: nobody can have joined, so it starts afresh",
			`[ $N -gt 1 ]`, []string{initCall, "kubeadm reset --force", initCall}},
		{"fails after etcd ran: another machine may have joined, so nothing is wiped",
			`mkdir -p $ROOT/var/lib/etcddisk/etcd/member; [ $N -gt 1 ]`,
			[]string{initCall, initCall + " --ignore-preflight-errors all"}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			n := fixtureNode(bootstrap.Init)
			n.EtcdDiskLUN = bootstrap.NoEtcdDisk
			m := newMachine(t, fixtureCluster(), n)
			m.kubeadm(tt.kubeadm)
			if err := m.run(); err != nil {
				t.Fatalf("%v\n%s", err, m.read("/var/log/lazuli-bootstrap.log"))
			}
			if diff := cmp.Diff(tt.want, m.calls("kubeadm")); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(m.read("/etc/hosts"), "\n127.0.0.1 "+fixtureCluster().Endpoint+" # lazuli\n") {
				t.Errorf("hosts: %s", m.read("/etc/hosts"))
			}
			if strings.Contains(m.read("/dev/console"), "0123456789abcdef") {
				t.Error("the console shows a token")
			}
			for _, gone := range []string{"/var/lib/waagent/ovf-env.xml", "/var/lib/cloud/instance/user-data.txt", "/etc/lazuli/kubeadm.yaml", "/etc/lazuli/pki/ca.key"} {
				if m.exists(gone) {
					t.Errorf("%s is still there", gone)
				}
			}
			for _, kept := range []string{"/var/lib/cloud/instance/vendor-data.txt", "/etc/kubernetes/pki/ca.key", "/var/lib/lazuli/bootstrap.done"} {
				if !m.exists(kept) {
					t.Errorf("%s is gone", kept)
				}
			}
			before := m.read("/calls")
			if err := m.run(); err != nil || m.read("/calls") != before {
				t.Errorf("a second run is not idle: %v", err)
			}
		})
	}
}

func TestRunJoinControlPlane(t *testing.T) {
	t.Parallel()
	requireBash(t)
	n := fixtureNode(bootstrap.ControlPlane)
	n.EtcdDiskLUN, n.UseAsWorker = bootstrap.NoEtcdDisk, true
	m := newMachine(t, fixtureCluster(), n)
	m.kubeadm(`
grep -q ' # lazuli$' $ROOT/etc/hosts && { echo "the endpoint leads to this machine"; exit 3; }
[ -s $ROOT/etc/kubernetes/pki/ca.key ] || { echo "no CA"; exit 4; }
touch $ROOT/etc/kubernetes/pki/leaf.crt
[ $N -gt 2 ] && echo x >$ROOT/etc/kubernetes/kubelet.conf`)
	if err := m.run(); err != nil {
		t.Fatalf("%v\n%s", err, m.read("/var/log/lazuli-bootstrap.log"))
	}
	want := []string{
		"prepare done", "wireserver done", "image done", "etcd-disk done", "keep-pki done", "kubeadm-join failed", "kubeadm-join failed",
		"kubeadm-join done", "endpoint-hosts done", "role done", "shred done", "done done",
	}
	if diff := cmp.Diff(want, m.phases()); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(m.read("/etc/hosts"), " # lazuli\n") {
		t.Error("after the join the endpoint does not lead to this machine")
	}
	if len(m.calls("kubeadm reset")) != 2 {
		t.Errorf("calls: %q", m.calls("kubeadm"))
	}
	if diff := cmp.Diff([]string{"kubectl --kubeconfig /etc/kubernetes/admin.conf label node " + n.Name +
		" node.kubernetes.io/exclude-from-external-load-balancers-"}, m.calls("kubectl --kubeconfig /etc/kubernetes/admin.conf label")); diff != "" {
		t.Error(diff)
	}
	reports := m.calls("kubectl --kubeconfig /etc/kubernetes/kubelet.conf annotate node " + n.Name + " --overwrite lazuli.io/bootstrap-phase=")
	if len(reports) == 0 || !strings.Contains(reports[len(reports)-1], "phase=done lazuli.io/bootstrap-state=done") {
		t.Errorf("the node tells %q", reports)
	}
}

func TestRunWorkerGivesUpAndResumes(t *testing.T) {
	t.Parallel()
	requireBash(t)
	m := newMachine(t, fixtureCluster(), fixtureNode(bootstrap.Worker))
	m.kubeadm(`[ -e $ROOT/good ]`)
	if err := m.run(); err == nil {
		t.Fatal("a join that never works ends well")
	}
	if !strings.HasSuffix(strings.TrimSpace(m.read("/dev/console")), "rc=1") || m.exists("/var/lib/lazuli/bootstrap.done") {
		t.Error("the end of the attempts is not on the console")
	}
	if !strings.Contains(m.read("/dev/console"), "lazuli-bootstrap log: the token is [token]") {
		t.Errorf("the console lacks the log's last lines: %s", m.read("/dev/console"))
	}
	if !m.exists("/var/lib/cloud/instance/user-data.txt") {
		t.Error("the user data is destroyed before it has served")
	}
	m.write("/good", "")
	if err := m.run(); err != nil || !m.exists("/var/lib/lazuli/bootstrap.done") {
		t.Errorf("after a reboot it does not resume: %v", err)
	}
	if diff := cmp.Diff([]string{"systemctl enable lazuli-bootstrap.service", "systemctl enable lazuli-bootstrap.service"}, m.calls("systemctl enable lazuli")); diff != "" {
		t.Error(diff)
	}
}

func TestRunWrongImage(t *testing.T) {
	t.Parallel()
	requireBash(t)
	m := newMachine(t, fixtureCluster(), fixtureNode(bootstrap.Worker))
	m.stub("kubelet", `echo "Kubernetes v1.35.9"`)
	if err := m.run(); err == nil || len(m.calls("kubeadm")) != 0 {
		t.Errorf("an image of another version is used: %v", err)
	}
	if !strings.Contains(m.read("/dev/console"), "the image holds Kubernetes v1.35.9, not v1.36.3") {
		t.Errorf("console: %s", m.read("/dev/console"))
	}
}

func TestRunEtcdDisk(t *testing.T) {
	t.Parallel()
	requireBash(t)
	const fstab = "UUID=1234 /var/lib/etcddisk ext4 noatime,nofail,x-systemd.before=kubelet.service 0 2\n"
	for _, tt := range []struct {
		reason string
		blkid  string
		format int
		good   bool
	}{
		{"an empty disk is formatted", `case "$*" in *UUID*) echo 1234;; *) [ -e $ROOT/formatted ] || exit 2;; esac`, 1, true},
		{"an ext4 is kept", `case "$*" in *UUID*) echo 1234;; *) echo ext4;; esac`, 0, true},
		{"another filesystem is kept", `echo xfs`, 0, false},
		{"a partition table is kept", `exit 0`, 0, false},
		{"an ambivalent disk is kept", `exit 8`, 0, false},
		{"an unreadable disk is kept", `exit 4`, 0, false},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			n := fixtureNode(bootstrap.Init)
			n.EtcdDiskLUN = 3
			m := newMachine(t, fixtureCluster(), n)
			// A block device cannot be made here: the test for one becomes a test for a file.
			script := strings.Replace(m.read("/usr/local/lib/lazuli/bootstrap"), "[ -b ", "[ -e ", 1)
			m.write("/usr/local/lib/lazuli/bootstrap", script)
			m.write("/etc/fstab", "")
			m.write("/dev/disk/azure/data/by-lun/3", "")
			m.stub("mountpoint", "exit 1")
			m.stub("readlink", "echo /dev/nvme0n5")
			m.stub("blkid", tt.blkid)
			m.kubeadm("exit 0")
			if err := m.run(); (err == nil) != tt.good {
				t.Errorf("%v\n%s", err, m.read("/var/log/lazuli-bootstrap.log"))
			}
			if got := m.calls("mkfs"); len(got) != tt.format {
				t.Errorf("formatted: %q", got)
			}
			if tt.good && strings.ReplaceAll(m.read("/etc/fstab"), m.root, "") != fstab {
				t.Errorf("fstab: %q", m.read("/etc/fstab"))
			}
			if !tt.good && len(m.calls("kubeadm")) > 0 {
				t.Error("kubeadm runs without etcd's disk")
			}
		})
	}
}

// A phase that takes long tells where it is, again and again, and does not go on
// telling when it is over.
func TestLongPhaseTellsWhereItIs(t *testing.T) {
	t.Parallel()
	m := newMachine(t, fixtureCluster(), fixtureNode(bootstrap.Worker))
	m.write("/usr/local/lib/lazuli/bootstrap", strings.Replace(m.read("/usr/local/lib/lazuli/bootstrap"), "read -rt 60 ", "read -rt 0.05 ", 1))
	m.kubeadm(`echo "[discovery] Failed to request cluster-info"; for ((i = 0; i < 200; i++)); do
		grep -c 'state=waiting' $ROOT/dev/console 2>/dev/null | grep -q '^[3-9]' && exit 0; /bin/sleep 0.1; done; exit 1`)
	if err := m.run(); err != nil {
		t.Fatalf("%v\n%s", err, m.read("/dev/console"))
	}
	console := m.read("/dev/console")
	if !strings.Contains(console, "lazuli-bootstrap log: [discovery] Failed to request cluster-info\nlazuli-bootstrap phase=kubeadm-join state=waiting attempt=1") {
		t.Errorf("the console does not show what is waited for:\n%s", console)
	}
	if after := console[strings.Index(console, "phase=kubeadm-join state=done"):]; strings.Contains(after, "phase=kubeadm-join state=waiting") {
		t.Errorf("it is told after the end:\n%s", after)
	}
}
