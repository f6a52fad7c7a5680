// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/server"
)

const (
	hubDir     = "hub"
	hubLogName = "hub.log"
	dirMode    = 0o700
	// The hub's pauses are made for Azure's pace; a faster Azure wants shorter ones.
	azureProbe  = 2 * time.Second
	azureHealth = time.Minute
)

// stack is simulated Azure and a hub in this process.
type stack struct {
	azure *simulated
	hub   *server.Server
	cfg   server.Config
	key   string

	ctx   context.Context // ends when a part fails
	fail  context.CancelCauseFunc
	parts []part // the hub first
}

// newStack makes both and does not serve yet. listen falls back to any port
// when it was not asked for and is taken. The hub logs to logTo.
func newStack(ctx context.Context, o simOptions, dir, listen string, fixed bool, logTo io.Writer) (_ *stack, err error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	s := &stack{}
	o.listen = anyLoopbackPort
	if s.azure, err = newSimulated(ctx, o, dir, simLog(logTo, false)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.azure.close())
		}
	}()
	s.cfg = server.DefaultConfig()
	s.cfg.Listen, s.cfg.DataDir = listen, filepath.Join(dir, hubDir)
	s.cfg.ProbeInterval, s.cfg.HealthInterval = scaled(azureProbe, o.speed), scaled(azureHealth, o.speed)
	// The public cloud's name leads to the simulator, so that clients which
	// know only the names of real clouds work unchanged.
	s.cfg.Azure.Environments = map[string]server.Environment{palette.EnvironmentPublic: {
		ARMURL: s.azure.url, AuthorityURL: s.azure.url, CAFile: s.azure.caFile, ResolveByAddress: true,
	}}
	if o.cache != "" {
		s.cfg.Packs.Directory = filepath.Join(current(o.cache), "packs")
	}
	s.hub, err = server.New(ctx, s.cfg, Version, logTo)
	if err != nil && !fixed {
		s.cfg.Listen = anyLoopbackPort
		s.hub, err = server.New(ctx, s.cfg, Version, logTo)
	}
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(s.cfg.AdminKeyFile())
	if err != nil {
		return nil, fmt.Errorf("read the first API key: %w", errors.Join(err, s.hub.Close()))
	}
	s.key = strings.TrimSpace(string(key))
	return s, nil
}

// part is one of the two while it runs.
type part struct {
	stop context.CancelFunc
	done chan error
}

// start serves both. The stack's ctx ends when ctx does or a part fails.
func (s *stack) start(ctx context.Context) {
	s.ctx, s.fail = context.WithCancelCause(ctx)
	for _, run := range []func(context.Context) error{s.hub.Run, s.azure.serve} {
		partCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
		p := part{stop: stop, done: make(chan error, 1)}
		s.parts = append(s.parts, p)
		go func() {
			err := run(partCtx)
			s.fail(errPartEnded) // no effect after the stack's ctx has ended
			p.done <- err
		}()
	}
}

var errPartEnded = errors.New("a part of the demonstration ended by itself")

// stop ends the hub, then the simulator: the hub would take a vanished Azure
// for a fault.
func (s *stack) stop() error {
	var errs []error
	if errors.Is(context.Cause(s.ctx), errPartEnded) {
		errs = append(errs, errPartEnded)
	}
	s.fail(nil)
	for _, p := range s.parts {
		p.stop()
		errs = append(errs, <-p.done)
	}
	return errors.Join(append(errs, s.azure.close())...)
}

// variables are how clients find both.
func (s *stack) variables() []variable {
	return append([]variable{
		{envURL, s.hub.URL()},
		{envAPIKey, s.key},
		{envCAFile, s.cfg.CAFile()},
	}, s.azure.variables()...)
}

// getenv answers with the stack's own variables before the environment's.
func (s *stack) getenv(outer func(string) string) func(string) string {
	own := map[string]string{}
	for _, v := range s.variables() {
		own[v.name] = v.value
	}
	return func(name string) string { return first(own[name], outer(name)) }
}
