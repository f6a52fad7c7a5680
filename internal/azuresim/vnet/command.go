// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// namespaces is where iproute2 keeps the names of network namespaces.
const namespaces = "/run/netns"

func namespacePath(name string) string { return filepath.Join(namespaces, name) }

// ip runs iproute2's ip and gives it its input. The error has what it said.
func ip(ctx context.Context, input string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", args...) //nolint:gosec // names that are made here
	cmd.Stdin = strings.NewReader(input)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return nil
}

// addNamespace makes a namespace. It is not broken off half-way, which would leave the name with nothing behind it.
func addNamespace(ctx context.Context, name string) error {
	return ip(context.WithoutCancel(ctx), "", "netns", "add", name)
}

// deleteNamespace removes a namespace's name; the namespace itself goes with its last process. One that does not exist
// is ignored.
func deleteNamespace(ctx context.Context, name string) error {
	if _, err := os.Lstat(namespacePath(name)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return ip(ctx, "", "netns", "delete", name)
}

// Sweep removes all namespaces and links whose names begin with the prefix: what a killed process left. Nothing that
// lives may use the prefix.
func Sweep(ctx context.Context, prefix string) error {
	if prefix == "" {
		return errors.New("sweep networks: no prefix")
	}
	found, err := os.ReadDir(namespaces)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sweep networks: %w", err)
	}
	var errs []error
	for _, e := range found {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		// A process that still runs in a machine's namespace would keep it, and its link with it.
		errs = append(errs, sweepLinks(ctx, e.Name(), prefix), deleteNamespace(ctx, e.Name()))
	}
	if err := errors.Join(append(errs, sweepLinks(ctx, "", prefix))...); err != nil {
		return fmt.Errorf("sweep networks: %w", err)
	}
	return nil
}

// sweepLinks removes links of a namespace; without a name, of ours.
func sweepLinks(ctx context.Context, namespace, prefix string) error {
	links, err := linksOf(namespace)
	if err != nil {
		return nil //nolint:nilerr // a name without a namespace behind it, half-made or half-gone, has no links
	}
	var errs []error
	for _, link := range links {
		if !strings.HasPrefix(link, prefix) {
			continue
		}
		args := []string{"link", "delete", link}
		if namespace != "" {
			args = append([]string{"-n", namespace}, args...)
		}
		errs = append(errs, ip(ctx, "", args...))
	}
	return errors.Join(errs...)
}
