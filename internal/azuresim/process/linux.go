// SPDX-License-Identifier: Apache-2.0

//go:build linux

package process

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// mortal makes a process die with the thread that made it, and gives it a group of its own, so that a terminal's signals
// do not reach it.
func mortal() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// killGroup ends a process and what it started.
func killGroup(p *os.Process) {
	if err := syscall.Kill(-p.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		_ = p.Kill() // The group could not be had: the process alone.
	}
}

// lockFile locks an open file until it is closed.
func lockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// ours reports whether a file is this user's.
func ours(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// socketOwners are the processes that listen on runtimes' sockets, 0 where nobody does.
func socketOwners() map[string]int {
	out := map[string]int{}
	paths, _ := filepath.Glob(runtimeSockets) // The pattern is well-formed.
	for _, path := range paths {
		c, err := net.Dial("unix", path) //nolint:noctx // at once
		if errors.Is(err, syscall.ECONNREFUSED) {
			out[path] = 0
		}
		if err != nil {
			continue
		}
		if u, ok := c.(*net.UnixConn); ok {
			if pid, err := peerOf(u); err == nil {
				out[path] = pid
			}
		}
		_ = c.Close()
	}
	return out
}

// peerOf is the process that listens.
func peerOf(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var bad error
	err = raw.Control(func(fd uintptr) {
		cred, bad = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, bad); err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}
