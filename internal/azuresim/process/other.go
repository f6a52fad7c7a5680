// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package process

import (
	"errors"
	"os"
	"syscall"
)

func mortal() *syscall.SysProcAttr { return nil }

func killGroup(p *os.Process) { _ = p.Kill() }

func lockFile(*os.File) error { return errors.ErrUnsupported }

func socketOwners() map[string]int { return nil }
