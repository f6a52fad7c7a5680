// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package vm

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
)

var errLocked = errors.New("it is locked")

type loop struct {
	lun    int
	device string
}

func (*loop) close() error { return nil }

func openLoop(string, int64) (*loop, error) { return nil, errors.ErrUnsupported }

func detachLoops(string) error { return nil }

func unmountBelow(string) error { return nil }

func clocks() string { return "" }

func uptime() float64 { return 0 }

func isolated() *syscall.SysProcAttr { return nil }

func likeOriginal(string, fs.FileInfo) error { return nil }

func lockFile(string, bool) (*os.File, error) { return nil, errors.ErrUnsupported }

func makeRoom(*slog.Logger) (undo func()) { return func() {} }

// Missing says what this machine lacks to run the level, in words for a user, a line each.
func Missing(context.Context, Options) []string { return []string{"Linux"} }
