// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of Lazuli: nouns, then verbs. It is a client
// of the public API like any other; only serve, sim and demo run something in
// this process.
//
// Exit codes are part of its contract:
//
//	0  done
//	1  failed: the hub could not be reached, or something broke
//	2  used wrongly: an unknown flag, a bad manifest
//	3  not found
//	4  refused by the hub: the message says which field or permission
//	5  not done in time
//
// Results go to standard output, progress and errors to standard error, so
// that output can be piped. Nothing is asked interactively.
//
// It refuses to talk to the store, the engine or Azure, to keep state between
// calls, and to print a secret; a kubeconfig, which is asked for as such, apart.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/client"
	"github.com/lazuli-dev/lazuli/internal/server"
)

// The exit codes.
const (
	ExitOK       = 0
	ExitFailure  = 1
	ExitUsage    = 2
	ExitNotFound = 3
	ExitRefused  = 4
	ExitTimeout  = 5
)

// app is one call of the command line.
type app struct {
	stdin   io.Reader
	out     io.Writer
	errOut  io.Writer
	getenv  func(string) string
	started bool                 // the arguments were good, a command began
	atHub   func(*server.Server) // of tests: sees the hub of serve and demo before it runs

	url, apiKey, caFile, project string
}

// Run carries out one command line (without the program's name) and returns
// its exit code. It ends early when ctx does. Environment variables are read
// through getenv only.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	a := &app{stdin: stdin, out: stdout, errOut: stderr, getenv: getenv, atHub: func(*server.Server) {}}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		a.note("interrupted\n")
		return ExitFailure
	}
	if !a.started {
		err = &usageError{err: err}
	}
	a.report(cmd, err)
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "lazuli",
		Short: "Deploy production Kubernetes on Azure virtual machines, and run it for life",
		Long: `Deploy production Kubernetes on Azure virtual machines, and run it for life.

Without an Azure subscription:   lazuli demo
A hub of your own:               lazuli serve
Something declared in YAML:      lazuli apply -f cluster.yaml

Exit codes: 0 done, 1 failed, 2 used wrongly, 3 not found, 4 refused by the hub, 5 not done in time.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(*cobra.Command, []string) error { a.started = true; return nil },
	}
	group(root)
	flags := root.PersistentFlags()
	flags.StringVar(&a.url, "url", "", "address of the hub (LAZULI_URL; default "+defaultURL+")")
	flags.StringVar(&a.apiKey, "api-key", "", "API key (better in LAZULI_API_KEY, where no process list shows it)")
	flags.StringVar(&a.caFile, "ca-file", "", "PEM file of the authority to trust (LAZULI_CA_FILE)")
	flags.StringVar(&a.project, "project", "", "name of the project (LAZULI_PROJECT; default "+defaultProject+")")
	root.AddCommand(
		a.serveCommand(), a.simCommand(), a.demoCommand(),
		a.accountCommand(), a.profileCommand(), a.packCommand(), a.clusterCommand(),
		a.kubeconfigCommand(), a.applyCommand(), a.userCommand(), a.apiKeyCommand(), a.versionCommand(),
	)
	return root
}

// group makes a command that only holds others say so, instead of answering a
// misspelt verb with its help and success.
func group(cmd *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		msg := fmt.Sprintf("%q is no command of %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			msg += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return errors.New(msg)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(verbs...)
	return cmd
}

// usageError is a command line, or a file it names, that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// timeoutError is a wait that the user bounded.
type timeoutError struct{ what string }

func (e *timeoutError) Error() string { return e.what }

// exitCode maps an error to the contract of this package.
func exitCode(err error) int {
	if _, ok := errors.AsType[*usageError](err); ok {
		return ExitUsage
	}
	if _, ok := errors.AsType[*timeoutError](err); ok || errors.Is(err, context.DeadlineExceeded) {
		return ExitTimeout
	}
	if lazuli.CodeOf(err) == lazuli.CodeNotFound {
		return ExitNotFound
	}
	if r, ok := errors.AsType[*client.RefusedError](err); ok && r.Status < http.StatusInternalServerError {
		return ExitRefused
	}
	return ExitFailure
}

// report prints an error with its findings and its remedy.
func (a *app) report(cmd *cobra.Command, err error) {
	var b strings.Builder
	e, ok := errors.AsType[*lazuli.Error](err)
	if ok && len(e.Fields) > 0 {
		fmt.Fprintf(&b, "error: %s\n", head(err, e))
		for _, f := range e.Fields {
			fmt.Fprintf(&b, "  %s: %s\n", f.Path, f.Message)
		}
	} else {
		fmt.Fprintf(&b, "error: %s\n", err)
	}
	if ok && e.Remedy != "" {
		fmt.Fprintf(&b, "  what helps: %s\n", e.Remedy)
	}
	if _, ok := errors.AsType[*usageError](err); ok && !a.started && cmd != nil {
		fmt.Fprintf(&b, "  see: %s --help\n", cmd.CommandPath())
	}
	_, _ = io.WriteString(a.errOut, b.String()) // there is nowhere left to say that this failed
}

// head is what stands before the list of findings: the acts around the error,
// and its message when that is more than the first finding again.
func head(err error, e *lazuli.Error) string {
	acts, _, _ := strings.Cut(err.Error(), e.Error())
	acts = strings.TrimSuffix(acts, ": ")
	repeats := strings.HasPrefix(e.Message, e.Fields[0].Path)
	switch {
	case repeats && acts == "":
		return fmt.Sprintf("%d %s", len(e.Fields), plural(len(e.Fields), "finding", "findings"))
	case repeats:
		return acts
	case acts == "":
		return e.Message
	default:
		return acts + ": " + e.Message
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// terminal reports whether w is one, and its size in characters.
func terminal(w io.Writer) (width, height int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	return width, height, err == nil && width > 0
}

func (a *app) printf(format string, args ...any) error {
	if _, err := fmt.Fprintf(a.out, format, args...); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// note tells what goes on, on standard error.
func (a *app) note(format string, args ...any) {
	_, _ = fmt.Fprintf(a.errOut, format, args...) // progress is not worth failing for
}
