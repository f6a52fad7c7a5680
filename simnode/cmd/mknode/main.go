// SPDX-License-Identifier: Apache-2.0

// Command mknode builds what the simulator starts real machines from, see package nodeimage. With -check it prints where that
// is and exits with 0 when it is there, 1 when it is not.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lazuli-dev/lazuli/simnode/nodeimage"
)

func main() {
	check := flag.Bool("check", false, "only say where the artefact is; exit 1 when it is not there")
	prune := flag.Bool("prune", false, "also remove all other artefacts: no machine may be running from one")
	source := flag.String("source", ".", "the folder simnode/ of the repository")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	warm, err := run(ctx, *source, *check, *prune)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mknode:", err)
		os.Exit(2)
	}
	if !warm {
		os.Exit(1)
	}
}

func run(ctx context.Context, source string, check, prune bool) (warm bool, err error) {
	if _, err := os.Stat(filepath.Join(source, "cmd", "kube")); err != nil {
		return false, fmt.Errorf("%s is not the folder simnode/: %w", source, err)
	}
	if source, err = filepath.Abs(source); err != nil {
		return false, fmt.Errorf("find %s: %w", source, err)
	}
	cache, err := nodeimage.DefaultCache()
	if err != nil {
		return false, err //nolint:wrapcheck // says what
	}
	start := time.Now()
	b := &nodeimage.Builder{Source: source, Cache: cache, Log: func(format string, a ...any) {
		fmt.Fprintf(os.Stderr, "%6.0f s  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, a...))
	}}
	dir, warm, err := b.Warm()
	if err == nil && !check {
		dir, err = b.Build(ctx)
		warm = true
		if err == nil && prune {
			err = b.Prune()
		}
	}
	if err != nil {
		return false, err //nolint:wrapcheck // says what
	}
	fmt.Println(dir)
	return warm, nil
}
