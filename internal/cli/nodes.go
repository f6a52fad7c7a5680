// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
	"github.com/lazuli-dev/lazuli/internal/azuresim/process"
	"github.com/lazuli-dev/lazuli/internal/azuresim/vm"
)

// How real the machines of simulated Azure are.
const (
	nodesModel   = "model"   // the boot is modelled, the Kubernetes API too
	nodesProcess = "process" // real control plane processes, hollow kubelets
	nodesVM      = "vm"      // real systemd, cloud-init, kubeadm and kubelet, in namespaces
)

// realSpeed is the default of --speed where machines boot in real time: Azure's
// own part is still shortened, and its time-outs stay longer than a boot.
const realSpeed = 4

// current is the node image that simnode/ made last.
func current(cache string) string { return filepath.Join(cache, "current") }

// able says what this machine lacks for the level that was asked for, as an
// error of its use: before anything is made.
func (o simOptions) able(ctx context.Context) error {
	var missing []string
	switch o.nodes {
	case nodesModel:
	case nodesProcess:
		missing = process.Missing(ctx, current(o.cache))
	case nodesVM:
		missing = vm.Missing(ctx, vm.Options{Cache: o.cache})
	default:
		return usagef("--nodes %q is none of %s, %s and %s", o.nodes, nodesModel, nodesProcess, nodesVM)
	}
	if len(missing) > 0 {
		return usagef("--nodes %s cannot run here: this machine lacks %s", o.nodes, strings.Join(missing, "; "))
	}
	return nil
}

// machines makes the level that was asked for, and what ends it.
func (o simOptions) machines(log *slog.Logger) (_ azuresim.Machines, end func() error, err error) {
	switch o.nodes {
	case nodesProcess:
		m, err := process.New(process.Options{Artefact: current(o.cache), Logger: log})
		if err != nil {
			return nil, nil, fmt.Errorf("make the machines: %w", err)
		}
		return m, m.Close, nil
	case nodesVM:
		m, err := vm.New(vm.Options{Cache: o.cache, Logger: log})
		if err != nil {
			return nil, nil, fmt.Errorf("make the machines: %w", err)
		}
		return m, m.Close, nil
	}
	return model.New(model.Options{Logger: log}), func() error { return nil }, nil
}
