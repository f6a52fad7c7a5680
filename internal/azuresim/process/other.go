// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package process

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

func mortal() *syscall.SysProcAttr { return nil }

func killGroup(p *os.Process) { _ = p.Kill() }

func lockFile(*os.File) error { return errors.ErrUnsupported }

func ours(fs.FileInfo) bool { return false }

func socketOwners() map[string]int { return nil }
