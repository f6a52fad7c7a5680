// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// child is a process that dies with this one.
type child struct {
	name string
	log  string
	cmd  *exec.Cmd
	// done is closed when the process has ended; err is valid then.
	done chan struct{}
	err  error
}

// command is what a child runs.
type command struct {
	program string // of the artefact's bin
	args    []string
	dir     string // working directory, home and place of temporary files
	log     string // file that its output is appended to
	proxy   string // HTTPS proxy, "" for none
}

// start runs a program of the artefact. The kernel kills it when the thread that made it ends, so that the thread is kept:
// a simulator that is killed leaves nothing.
func (ms *Machines) start(c command) (*child, error) {
	out, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.program, err)
	}
	cmd := exec.Command(filepath.Join(ms.bin, c.program), c.args...) //nolint:noctx,gosec // lives until it is killed; a program of the node image
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = c.dir, out, out, environment(c)
	cmd.SysProcAttr = mortal()
	k := &child{name: c.program, log: c.log, cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends with the goroutine.
		err := cmd.Start()
		started <- err
		if err == nil {
			k.err = cmd.Wait()
		}
		_ = out.Close() // It is a log: nobody could do anything about an error.
		close(k.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.program, err)
	}
	return k, nil
}

func environment(c command) []string {
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + c.dir, "TMPDIR=" + c.dir, "KUBEADM_INIT_DRYRUN_DIR=" + c.dir}
	if c.proxy != "" {
		env = append(env, "HTTPS_PROXY="+c.proxy)
	}
	return env
}

// kill ends a child at once and waits until it is gone. A nil child is gone.
func (k *child) kill() {
	if k == nil {
		return
	}
	sockets := k.sockets()
	killGroup(k.cmd.Process)
	<-k.done
	for _, path := range sockets {
		_ = os.Remove(path)
	}
}

// runtimeSockets are the sockets of hollow kubelets' runtimes, which they make in /tmp whatever they are told.
const runtimeSockets = "/tmp/kubelet_remote_*.sock"

// sockets are the sockets of a hollow kubelet, which outlast it.
func (k *child) sockets() []string {
	if k.name != hollowProgram {
		return nil
	}
	var out []string
	for path, pid := range socketOwners() {
		if pid == k.cmd.Process.Pid {
			out = append(out, path)
		}
	}
	return out
}

// lastWords are the last lines of a child's log.
func lastWords(path string) string {
	const lines, bytes = 4, 4 << 10
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	end, err := f.Seek(0, 2)
	if err != nil {
		return ""
	}
	buf := make([]byte, min(end, bytes))
	if _, err := f.ReadAt(buf, end-int64(len(buf))); err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(buf)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
