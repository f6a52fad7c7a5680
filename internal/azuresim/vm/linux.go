// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lazuli-dev/lazuli/internal/azuresim/vnet"
)

// isolated is how the launcher starts: process 1 of its own processes, killed when we die.
func isolated() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// likeOriginal gives a copy the owner and the mode of what it was copied from.
func likeOriginal(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := os.Lchown(path, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	return os.Chmod(path, info.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky))
}

// clocks are options of unshare(1) after which a guest has just been switched on.
func clocks() string {
	if _, err := os.Stat("/proc/self/ns/time"); err != nil {
		return ""
	}
	var boot, monotonic unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &monotonic) != nil {
		return ""
	}
	return fmt.Sprintf("--time --boottime=-%d --monotonic=-%d", boot.Sec, monotonic.Sec)
}

// uptime is what a guest that is started now will see as its time since the boot.
func uptime() float64 {
	var boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	if clocks() != "" {
		boot.Sec = 0
	}
	return float64(boot.Nano()) / 1e9
}

// loop is a file as a block device. The kernel detaches it when its last user is gone, us included.
type loop struct {
	lun    int
	device string
	file   *os.File
}

// openLoop makes a sparse file of a size, unless it is there, and a device of it.
func openLoop(path string, size int64) (*loop, error) {
	backing, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer backing.Close() //nolint:errcheck // the loop device holds it
	if info, err := backing.Stat(); err != nil || info.Size() < size {
		if err := errors.Join(err, backing.Truncate(size)); err != nil {
			return nil, err
		}
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close() //nolint:errcheck // nothing was written
	config := unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], path)
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		device := "/dev/loop" + strconv.Itoa(n)
		file, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(file.Fd()), &config)
		if err == nil {
			return &loop{device: device, file: file}, nil
		}
		_ = file.Close()
		if !errors.Is(err, unix.EBUSY) { // Somebody else was faster.
			return nil, fmt.Errorf("attach %s to %s: %w", path, device, err)
		}
	}
}

func (l *loop) close() error { return l.file.Close() }

// detachLoops frees the devices of files below a directory.
func detachLoops(dir string) error {
	list, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return err
	}
	var errs []error
	for _, at := range list {
		text, err := os.ReadFile(at)
		if err != nil || !strings.HasPrefix(string(text), dir+"/") {
			continue
		}
		device := "/dev/" + strings.Split(at, "/")[3]
		file, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		err = unix.IoctlSetInt(int(file.Fd()), unix.LOOP_CLR_FD, 0)
		_ = file.Close()
		if err != nil && !errors.Is(err, unix.ENXIO) {
			errs = append(errs, fmt.Errorf("free %s: %w", device, err))
		}
	}
	return errors.Join(errs...)
}

// unmountBelow takes away every mount below a directory.
func unmountBelow(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var errs []error
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			if err := unix.Unmount(f[4], unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
				errs = append(errs, fmt.Errorf("unmount %s: %w", f[4], err))
			}
		}
	}
	return errors.Join(errs...)
}

// errLocked says that somebody holds a lock.
var errLocked = errors.New("it is locked")

// lockFile opens a file and locks it. The lock ends with the file, so with this process.
func lockFile(path string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// inotifyInstances is what a node of Kubernetes is given (its image's sysctl); all guests share root's.
const inotifyInstances = 8192

// makeRoom raises the one limit of the host that a few guests reach. What it was is kept in a file beside the simulators'
// directories; the result restores it when no other simulator is left.
func makeRoom(base string, log *slog.Logger) (undo func()) {
	const file = "/proc/sys/fs/inotify/max_user_instances"
	kept := filepath.Join(base, ".inotify")
	was, err := os.ReadFile(file)
	if err != nil {
		return func() {}
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(was))); err == nil && n < inotifyInstances {
		err = errors.Join(os.WriteFile(kept, was, 0o600), os.WriteFile(file, []byte(strconv.Itoa(inotifyInstances)), 0o600)) //nolint:gosec // a sysctl and what is kept of it
		if err != nil {
			log.Warn("raise the limit of inotify instances", "error", err)
		}
	}
	return func() {
		was, err := os.ReadFile(kept)
		if err != nil || simulators(base) > 0 {
			return
		}
		if err := errors.Join(os.WriteFile(file, was, 0o600), os.Remove(kept)); err != nil { //nolint:gosec // a sysctl
			log.Warn("restore the limit of inotify instances", "error", err)
		}
	}
}

// simulators counts the directories of simulators.
func simulators(base string) int {
	list, _ := filepath.Glob(filepath.Join(base, "*", prefixName)) // The pattern is good.
	return len(list)
}

// Missing says what this machine lacks to run the level, in words for a user, a line each.
func Missing(ctx context.Context, o Options) []string {
	o, err := o.withDefaults()
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	if os.Geteuid() != 0 {
		return []string{"root: run it with sudo"}
	}
	if lacks := missingCapabilities(); len(lacks) > 0 {
		out = append(out, "capabilities "+strings.Join(lacks, ", "))
	}
	for _, program := range []string{"systemd-nspawn", "unshare", "mount", "umount", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			out = append(out, "the program "+program+packageOf(program))
		}
	}
	if text, err := os.ReadFile("/proc/filesystems"); err == nil && !strings.Contains(string(text), "\toverlay\n") {
		if exec.CommandContext(ctx, "modprobe", "overlay").Run() != nil {
			out = append(out, "the file system overlay in the kernel")
		}
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		out = append(out, "loop devices (/dev/loop-control)")
	}
	if _, err := hierarchies(); err != nil {
		out = append(out, "cgroups, mounted at /sys/fs/cgroup")
	}
	out = append(out, vnet.Missing(ctx)...)
	if _, err := openArtefact(o.Cache); errors.Is(err, fs.ErrNotExist) {
		out = append(out, "a node image in "+o.Cache+" (make simnode makes one)")
	} else if err != nil {
		out = append(out, "a usable node image: "+err.Error())
	}
	return out
}

func packageOf(program string) string {
	if program == "systemd-nspawn" {
		return " (package systemd-container)"
	}
	return ""
}

// missingCapabilities are those that a guest's kernel calls need and we do not have.
func missingCapabilities() []string {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(text), "CapEff:")
	have, err := strconv.ParseUint(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), 16, 64)
	if err != nil {
		return nil
	}
	return lacking(have)
}

// lacking are those that a set does not hold.
func lacking(have uint64) []string {
	var out []string
	for _, c := range []struct {
		name string
		bit  int
	}{
		{"CAP_CHOWN", unix.CAP_CHOWN}, {"CAP_DAC_OVERRIDE", unix.CAP_DAC_OVERRIDE}, {"CAP_FOWNER", unix.CAP_FOWNER}, {"CAP_KILL", unix.CAP_KILL},
		{"CAP_SETGID", unix.CAP_SETGID}, {"CAP_SETUID", unix.CAP_SETUID}, {"CAP_SETPCAP", unix.CAP_SETPCAP},
		{"CAP_NET_BIND_SERVICE", unix.CAP_NET_BIND_SERVICE}, {"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}, {"CAP_NET_RAW", unix.CAP_NET_RAW},
		{"CAP_SYS_CHROOT", unix.CAP_SYS_CHROOT}, {"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE}, {"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN},
		{"CAP_MKNOD", unix.CAP_MKNOD}, {"CAP_SETFCAP", unix.CAP_SETFCAP},
	} {
		if have&(1<<c.bit) == 0 {
			out = append(out, c.name)
		}
	}
	return out
}
