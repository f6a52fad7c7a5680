// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package vnet

import (
	"context"
	"errors"
	"os"
	"syscall"
)

type control = func(network, address string, c syscall.RawConn) error

func inNamespace(*os.File, func() error) error { return errors.ErrUnsupported }

func linksOf(string) ([]string, error) { return nil, errors.ErrUnsupported }

func transparent() control { return nil }

func broadcasting(string) control { return nil }

// Missing says what this machine lacks to carry a network, in words for a user.
func Missing(context.Context) []string { return []string{"Linux"} }
