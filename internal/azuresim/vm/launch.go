// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

//go:embed launch.sh
var launchScript string

// launchName is the file that all launches of a simulator read.
const launchName = "launch.sh"

// launcher is everything that launch.sh needs.
type launcher struct {
	script      string // where it lies: written once, since others may be reading it
	environment []string
	arguments   []string
}

// launcher says how to run the guest.
func (m *machine) launcher(img image, netns string) launcher {
	d := m.disk.dir
	var groups strings.Builder
	for _, h := range m.owner.groups {
		fmt.Fprintln(&groups, h.kind, h.options, h.mountpoint)
	}
	script := filepath.Join(m.owner.dir, launchName)
	l := launcher{
		script: script,
		environment: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
			"SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", // The rest of /proc/sys is the host's.
			"SIM_STAGE=enter", "SIM_SCRIPT=" + script, "SIM_CLOCKS=" + clocks(),
			"SIM_CGROUPS=" + strings.TrimSpace(groups.String()), "SIM_CGROUP=" + m.group,
			"SIM_LOWER=" + strings.Join(img.lowers, ":"), "SIM_ROOT=" + filepath.Join(d, "root"),
			"SIM_UPPER=" + filepath.Join(d, "upper"), "SIM_WORK=" + filepath.Join(d, "work"),
		},
		arguments: []string{
			"--quiet", "--directory=" + filepath.Join(d, "root"), "--machine=" + m.group, "--hostname=" + hostName(m.Machine), "--uuid=" + m.VMID,
			"--register=no", "--keep-unit", "--network-namespace-path=" + netns,
			"--capability=all", "--system-call-filter=@keyring bpf @pkey userfaultfd",
			"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only",
			"--setenv=SYSTEMD_COLORS=0", "--setenv=TERM=dumb",
			"--bind=/dev/kmsg",
		},
	}
	for from, to := range map[string]string{"containerd": "/var/lib/containerd", "kubelet": "/var/lib/kubelet", "pods": "/var/log/pods"} {
		l.arguments = append(l.arguments, "--bind="+filepath.Join(d, from)+":"+to)
	}
	for _, loop := range m.loops {
		l.arguments = append(l.arguments, "--bind="+loop.device)
	}
	l.arguments = append(l.arguments, "/usr/lib/simnode/init")
	return l
}

// rebootStatus is how systemd-nspawn ends when its guest reboots and --keep-unit leaves that to others (systemd-nspawn(1)).
const rebootStatus = 133

// guest is a running systemd-nspawn.
type guest struct {
	process *os.Process
	done    chan struct{} // closed when every process of the guest is gone and its console is read
	err     error         // how it ended, once done
	last    []string      // lines of its console, once done
}

// launch starts a guest. It dies with this process. Lines of its console are given to a function, one after the other.
func launch(l launcher, console func(line string)) (*guest, error) {
	cmd := exec.Command("sh", append([]string{l.script}, l.arguments...)...) //nolint:gosec,noctx // it outlives the call
	cmd.Env = l.environment
	cmd.SysProcAttr = isolated()
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = in, in
	g := &guest{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(g.done)
		// The kernel kills the child when the thread that made it ends: it must stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer out.Close() //nolint:errcheck // it was read only
		err := cmd.Start()
		_ = in.Close()
		if err != nil {
			started <- fmt.Errorf("start systemd-nspawn: %w", err)
			return
		}
		g.process = cmd.Process
		started <- nil
		read := make(chan struct{})
		go func() {
			defer close(read)
			readConsole(out, func(line string) {
				g.last = append(g.last[max(0, len(g.last)-2):], strings.TrimSpace(line))
				console(line)
			})
		}()
		g.err = cmd.Wait()
		<-read
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return g, nil
}

// kill ends every process of the guest and waits for that. The one that is killed is process 1 of their namespace.
func (g *guest) kill() {
	_ = g.process.Kill() // It may have ended.
	<-g.done
}

// reboots reports whether the guest, which is done, wants to be started again.
func (g *guest) reboots() bool {
	var exit *exec.ExitError
	return errors.As(g.err, &exit) && exit.ExitCode() == rebootStatus
}

// readConsole reads lines until the console is closed. Very long ones come in pieces.
func readConsole(r io.Reader, line func(string)) {
	b := bufio.NewReader(r)
	for {
		text, _, err := b.ReadLine()
		if clean := cleanLine(string(text)); clean != "" {
			line(clean)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// cleanLine takes away what only a terminal understands.
func cleanLine(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == 0x1b && i+1 < len(s) && s[i+1] == '[': // A control sequence ends with a letter.
			for i += 2; i < len(s) && (s[i] < '@' || s[i] > '~'); i++ {
			}
		case c >= ' ' && c != 0x7f || c == '\t':
			b.WriteByte(c)
		}
	}
	return strings.TrimRight(strings.ToValidUTF8(b.String(), "?"), " ")
}
