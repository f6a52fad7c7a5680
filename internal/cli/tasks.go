// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/client"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// look asks the hub once. A cluster that was seen and is not there any more is
// deleted.
func look(ctx context.Context, c *client.Client, uid string, last progress) (progress, error) {
	t, err := c.Tasks(ctx, uid)
	if lazuli.CodeOf(err) == lazuli.CodeNotFound && last.uid != "" {
		last.state = stateDeleted
		return last, nil
	}
	if err != nil {
		return progress{}, err
	}
	return progressOf(t), nil
}

// progressOf takes the hub's clock from the tasks, so that a clock that is
// wrong here changes nothing that is shown.
func progressOf(t wire.ClusterTasks) progress {
	p := progress{
		cluster: t.Name, uid: t.ClusterUID, state: string(t.State), health: t.Health, message: t.Message,
		created: t.StartedAt.Time, now: t.StartedAt.Time, deleting: t.Phase == "delete",
	}
	p.later(t.RunningAt.Time)
	p.later(t.DeletedAt.Time)
	for _, x := range t.Tasks {
		p.tasks = append(p.tasks, task{
			name: x.Name, title: first(x.Title, x.Name), state: x.State,
			started: x.StartedAt.Time, ended: x.EndedAt.Time, message: x.Message, remedy: x.Remedy,
			inAzure: x.AzureID != "",
		})
		p.later(x.EndedAt.Time)
		if !x.StartedAt.IsZero() {
			p.later(x.StartedAt.Add(time.Duration(x.DurationMs) * time.Millisecond))
		}
	}
	return p
}

func (p *progress) later(t time.Time) {
	if t.After(p.now) {
		p.now = t
	}
}

func (a *app) clusterTasks() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "tasks NAME", Short: "List a cluster's tasks, their durations, and what helps where one failed",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withCluster(ctx, args[0], func(c *client.Client, found palette.ClusterSummary) error {
				t, err := c.Tasks(ctx, found.Metadata.UID)
				if err != nil {
					return err
				}
				return a.print(form, t, []string{"TASK", "STATE", "DURATION", "TRIES", "MESSAGE"}, taskRows(t))
			})
		},
	}
	outputFlag(cmd, &form)
	return cmd
}

func taskRows(t wire.ClusterTasks) [][]string {
	rows := make([][]string, 0, len(t.Tasks))
	for _, x := range t.Tasks {
		duration, message := "", x.Message
		if !x.StartedAt.IsZero() {
			duration = seconds(time.Duration(x.DurationMs) * time.Millisecond)
		}
		if x.Remedy != "" {
			message += " What helps: " + x.Remedy
		}
		rows = append(rows, []string{
			first(x.Title, x.Name), x.State, duration, fmt.Sprint(x.Attempts), strings.TrimSpace(message),
		})
	}
	return rows
}

func (a *app) clusterGraph() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "graph NAME", Short: "Draw what a cluster is made of, in which order", Args: cobra.ExactArgs(1),
		Long: "Draw what a cluster is made of, in which order, as a Mermaid flow chart; -o json or yaml gives the data.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withCluster(ctx, args[0], func(c *client.Client, found palette.ClusterSummary) error {
				if form == formMermaid {
					text, err := c.GraphText(ctx, found.Metadata.UID)
					if err != nil {
						return err
					}
					return a.printf("%s", text)
				}
				t, err := c.Tasks(ctx, found.Metadata.UID)
				if err != nil {
					return err
				}
				return a.print(form, t, []string{"TASK", "STATE", "DURATION", "TRIES", "MESSAGE"}, taskRows(t))
			})
		},
	}
	cmd.Flags().StringVarP(&form, "output", "o", formMermaid, "mermaid, table, json or yaml")
	return cmd
}

const formMermaid = "mermaid"
