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

// machines makes the level that was asked for, and what ends it. What this
// machine lacks for it is an error of its use, before anything is made.
func (o simOptions) machines(ctx context.Context, log *slog.Logger) (_ azuresim.Machines, end func() error, err error) {
	none := func() error { return nil }
	switch o.nodes {
	case nodesModel:
		return model.New(model.Options{Logger: log}), none, nil
	case nodesProcess:
		with := process.Options{Artefact: current(o.cache), Logger: log}
		if err := lacking(o.nodes, process.Missing(ctx, with.Artefact)); err != nil {
			return nil, nil, err
		}
		m, err := process.New(with)
		if err != nil {
			return nil, nil, fmt.Errorf("make the machines: %w", err)
		}
		return m, m.Close, nil
	case nodesVM:
		with := vm.Options{Cache: o.cache, Logger: log}
		if err := lacking(o.nodes, vm.Missing(ctx, with)); err != nil {
			return nil, nil, err
		}
		m, err := vm.New(with)
		if err != nil {
			return nil, nil, fmt.Errorf("make the machines: %w", err)
		}
		return m, m.Close, nil
	}
	return nil, nil, usagef("--nodes %q is none of %s, %s and %s", o.nodes, nodesModel, nodesProcess, nodesVM)
}

func lacking(level string, missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	return usagef("--nodes %s cannot run here: %s", level, strings.Join(missing, "; "))
}
