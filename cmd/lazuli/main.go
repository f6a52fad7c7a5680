// SPDX-License-Identifier: Apache-2.0

// Command lazuli is everything that Lazuli is: the hub, the Azure simulator,
// and the client of both. See `lazuli --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/lazuli-dev/lazuli/internal/cli"
)

func main() { os.Exit(run()) }

// run ends the command's context at the first SIGINT or SIGTERM. After that
// the signals have their usual effect again: a second one ends the process.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
}
