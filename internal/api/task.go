// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// Phases of a cluster's tasks.
const (
	PhaseCreate = "create"
	PhaseDelete = "delete"
)

func getTasks(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	return a.tasks(c, cl)
}

func (a *API) tasks(c *call, cl *lazuli.Cluster) (wire.ClusterTasks, error) {
	nodes, err := a.nodes(c, cl.UID)
	if err != nil {
		return wire.ClusterTasks{}, err
	}
	out := wire.ClusterTasks{
		ClusterUID: cl.UID, Name: cl.Name, State: wire.ClusterTasksState(cl.Status.State), Health: palette.Health(cl), Message: cl.Status.Message,
		Phase: PhaseCreate, StartedAt: palette.At(cl.Status.StartedAt), RunningAt: palette.At(cl.Status.RunningAt),
		DeletedAt: palette.At(cl.Status.DeletedAt), Total: len(nodes), Tasks: make([]wire.ClusterTask, 0, len(nodes)),
	}
	ends := lazuli.NodeDone
	if cl.Delete != nil {
		out.Phase, ends = PhaseDelete, lazuli.NodeGone
		out.StartedAt = palette.At(cl.Delete.At)
	}
	now := a.Now()
	for i := range nodes {
		if nodes[i].State == ends {
			out.Done++
		}
		out.Tasks = append(out.Tasks, taskOf(&nodes[i], now))
	}
	return out, nil
}

func taskOf(n *lazuli.Node, now time.Time) wire.ClusterTask {
	t := wire.ClusterTask{
		Name: n.Name, Title: n.Title, State: string(n.State), StartedAt: palette.At(n.StartedAt), EndedAt: palette.At(n.EndedAt),
		Message: n.Message, Remedy: n.Remedy, Code: string(n.Code), Deps: n.Deps, Attempts: n.Attempts, AzureID: n.AzureID,
	}
	if t.Deps == nil {
		t.Deps = []string{}
	}
	switch {
	case n.StartedAt.IsZero():
	case n.EndedAt.IsZero():
		t.DurationMs = now.Sub(n.StartedAt).Milliseconds()
	default:
		t.DurationMs = n.EndedAt.Sub(n.StartedAt).Milliseconds()
	}
	return t
}

// nodes lists the nodes of a cluster's graph in the order in which they
// started; those that did not come last, by name.
func (a *API) nodes(c *call, clusterUID string) ([]lazuli.Node, error) {
	nodes, _, err := query[lazuli.Node](c.ctx(), a.Store, store.Query{Sort: store.FieldName, Where: []store.Where{
		{Field: store.FieldOwner, Op: store.Eq, Value: clusterUID},
	}})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(nodes, func(x, y lazuli.Node) int {
		if xz, yz := x.StartedAt.IsZero(), y.StartedAt.IsZero(); xz != yz {
			if xz {
				return 1
			}
			return -1
		}
		return cmp.Or(x.StartedAt.Compare(y.StartedAt), cmp.Compare(x.Name, y.Name))
	})
	return nodes, nil
}

func getGraph(a *API, c *call) (any, error) {
	format := orElse(c.query("format"), "json")
	if format != "json" && format != "mermaid" {
		var f lazuli.Fields
		f.Add("format", "%q is neither json nor mermaid", shorten(format))
		return nil, f.Err()
	}
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	t, err := a.tasks(c, cl)
	if err != nil {
		return nil, err
	}
	if format == "json" {
		return t, nil
	}
	return plain(mermaid(t.Tasks)), nil
}

// mermaid draws tasks as a Mermaid flow chart.
func mermaid(tasks []wire.ClusterTask) string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	ids := make(map[string]string, len(tasks))
	ordered := slices.Clone(tasks)
	slices.SortFunc(ordered, func(x, y wire.ClusterTask) int { return cmp.Compare(x.Name, y.Name) })
	for i, t := range ordered {
		ids[t.Name] = fmt.Sprintf("n%d", i)
		fmt.Fprintf(&b, "  n%d[\"%s<br/>%s\"]:::%s\n", i, mermaidText(orElse(t.Title, t.Name)), mermaidText(taskLine(&t)), t.State)
	}
	for _, t := range ordered {
		for _, d := range t.Deps {
			if from, ok := ids[d]; ok {
				fmt.Fprintf(&b, "  %s --> %s\n", from, ids[t.Name])
			}
		}
	}
	return b.String()
}

func taskLine(t *wire.ClusterTask) string {
	if t.DurationMs == 0 {
		return t.State
	}
	d := time.Duration(t.DurationMs) * time.Millisecond
	return fmt.Sprintf("%s %s", t.State, d.Round(100*time.Millisecond)) // a tenth of a second
}

// mermaidText keeps a text from being anything but text.
func mermaidText(s string) string {
	return strings.NewReplacer(
		"#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "&", "#amp;", "\n", " ", "\r", " ", "`", "#96;",
	).Replace(s)
}

// listEvents answers the events of a cluster, newest first.
func listEvents(a *API, c *call) (any, error) {
	events, meta, err := a.events(c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	items := make([]wire.HubEvent, 0, len(events))
	for i := range events {
		e := &events[i]
		items = append(items, wire.HubEvent{
			UID: e.UID, At: palette.At(e.At), Severity: string(e.Severity), Reason: e.Reason, Message: e.Message,
		})
	}
	return palette.NewList(items, meta), nil
}

// events pages by the uid of the last event of the page before.
func (a *API) events(c *call, uid string) ([]lazuli.Event, *palette.ListMeta, error) {
	w, err := c.window()
	if err != nil {
		return nil, nil, err
	}
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, uid)
	if err != nil {
		return nil, nil, err
	}
	q := store.EventQuery{Kind: lazuli.KindCluster, Object: cl.UID, Before: w.after}
	if w.limit > 0 {
		q.Limit = w.offset + w.limit + 1
	}
	events, err := a.Store.Events(c.ctx(), q)
	if err != nil {
		return nil, nil, fmt.Errorf("list events of cluster %s: %w", cl.UID, err)
	}
	meta := &palette.ListMeta{Count: len(events), Limit: w.limit, Offset: w.offset}
	events = events[min(w.offset, len(events)):]
	if w.limit > 0 && len(events) > w.limit {
		events = events[:w.limit]
		meta.Continue = events[w.limit-1].UID
	}
	return events, meta, nil
}
