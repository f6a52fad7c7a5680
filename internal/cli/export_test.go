// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/lazuli-dev/lazuli/internal/server"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// RunHub is Run without standard input, for serve and demo, with a handler around
// all that the hub serves.
func RunHub(
	ctx context.Context, args []string, stdout, stderr io.Writer, getenv func(string) string, around func(http.Handler) http.Handler,
) int {
	a := &app{
		stdin: strings.NewReader(""), out: stdout, errOut: stderr, getenv: getenv, atHub: func(s *server.Server) { s.Wrap(around) },
	}
	return a.run(ctx, args)
}

// ShowLines shows moments one after the other as lines.
func ShowLines(w io.Writer, moments []wire.ClusterTasks) {
	show(&lines{w: w, seen: map[string]string{}}, moments)
}

// ShowChart shows moments one after the other as on a terminal.
func ShowChart(w io.Writer, width, height int, color bool, moments []wire.ClusterTasks) {
	show(&chart{w: w, width: width, height: height, color: color}, moments)
}

func show(v view, moments []wire.ClusterTasks) {
	for _, m := range moments {
		v.update(progressOf(m))
	}
	v.finish()
}

// Stuck is the title of the task that holds a cluster up, or "".
func Stuck(t wire.ClusterTasks) string {
	x, _ := stuck(progressOf(t))
	return x.title
}

// RenderEnv renders pairs of names and values as an environment file.
func RenderEnv(pairs ...[2]string) (string, error) {
	vars := make([]variable, 0, len(pairs))
	for _, p := range pairs {
		vars = append(vars, variable{p[0], p[1]})
	}
	b, err := renderEnv(vars)
	return string(b), err
}
