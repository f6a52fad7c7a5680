// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/cli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

func at(seconds float64) palette.Time {
	return palette.At(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second))))
}

func task(name string, state lazuli.NodeState, from, to float64) wire.ClusterTask {
	t := wire.ClusterTask{Name: name, Title: "The " + name, State: string(state)}
	if from >= 0 {
		t.StartedAt = at(from)
	}
	if to >= 0 {
		t.EndedAt = at(to)
		t.DurationMs = int64((to - from) * 1000)
	}
	if !strings.HasPrefix(name, "ready") {
		t.AzureID = "/subscriptions/x/" + name
	}
	return t
}

const never = -1

// creation is a cluster that comes up, with one task that fails on the way.
func creation() []wire.ClusterTasks {
	head := wire.ClusterTasks{ClusterUID: "u", Name: "demo", Phase: "create", StartedAt: at(0)}
	moment := func(state lazuli.ClusterState, tasks ...wire.ClusterTask) wire.ClusterTasks {
		m := head
		m.State, m.Tasks = wire.ClusterTasksState(state), tasks
		return m
	}
	failed := task("vm", lazuli.NodeFailed, 2, never)
	failed.Message, failed.Remedy = "no room in zone 1\x1b[2J", "choose another zone"
	return []wire.ClusterTasks{
		moment(lazuli.StatePending, task("net", lazuli.NodeWaiting, never, never)),
		moment(lazuli.StateProvisioning, task("net", lazuli.NodeWorking, 0.5, never), task("ip", lazuli.NodeDone, 0.25, 1),
			task("vm", lazuli.NodeWaiting, never, never)),
		moment(lazuli.StateProvisioning, task("net", lazuli.NodeDone, 0.5, 2), task("ip", lazuli.NodeDone, 0.25, 1), failed),
		moment(lazuli.StateRunning, task("net", lazuli.NodeDone, 0.5, 2), task("ip", lazuli.NodeDone, 0.25, 1),
			task("vm", lazuli.NodeDone, 2, 65), task("ready", lazuli.NodeDone, 3, 66)),
	}
}

func deletion() []wire.ClusterTasks {
	head := wire.ClusterTasks{ClusterUID: "u", Name: "demo", Phase: "delete", StartedAt: at(100), State: wire.ClusterTasksStateDeleting}
	moment := func(tasks ...wire.ClusterTask) wire.ClusterTasks {
		m := head
		m.Tasks = tasks
		return m
	}
	gone := moment(task("net", lazuli.NodeGone, 0.5, 104), task("vm", lazuli.NodeGone, 2, 103), task("ready", lazuli.NodeGone, 3, 66))
	gone.State, gone.DeletedAt = wire.ClusterTasksStateDeleted, at(105)
	return []wire.ClusterTasks{
		moment(task("net", lazuli.NodeDone, 0.5, 2), task("vm", lazuli.NodeDeleting, 2, never), task("ready", lazuli.NodeGone, 3, 66)),
		moment(task("net", lazuli.NodeDeleting, 0.5, never), task("vm", lazuli.NodeGone, 2, 103), task("ready", lazuli.NodeGone, 3, 66)),
		gone,
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	cli.ShowLines(&b, creation())
	b.WriteString("--- delete\n")
	cli.ShowLines(&b, deletion())
	golden(t, "lines.txt", b.String())
}

func TestChart(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	cli.ShowChart(&b, 80, 24, false, creation())
	b.WriteString("--- delete, in colour\n")
	cli.ShowChart(&b, 80, 24, true, deletion())
	golden(t, "chart.txt", strings.ReplaceAll(b.String(), "\x1b", "^"))
}

// TestChartFitsTheScreen: a drawing that scrolls cannot be drawn over.
func TestChartFitsTheScreen(t *testing.T) {
	t.Parallel()
	m := wire.ClusterTasks{ClusterUID: "u", Name: "demo", State: wire.ClusterTasksStateProvisioning, StartedAt: at(0)}
	for i := range 30 {
		m.Tasks = append(m.Tasks, task(fmt.Sprintf("done%d", i), lazuli.NodeDone, 0, float64(i)))
	}
	m.Tasks = append(m.Tasks, task("working", lazuli.NodeWorking, 1, never))
	for i := range 30 {
		m.Tasks = append(m.Tasks, task(fmt.Sprintf("waiting%d", i), lazuli.NodeWaiting, never, never))
	}
	var b bytes.Buffer
	cli.ShowChart(&b, 80, 10, false, []wire.ClusterTasks{m})
	drawn, all, ok := strings.Cut(b.String(), "\x1b[")
	if n := strings.Count(drawn, "\n"); !ok || n >= 10 {
		t.Errorf("%d lines on a screen of 10", n)
	}
	if !strings.Contains(drawn, "The working") || strings.Contains(drawn, "The done0 ") {
		t.Errorf("what is under way must stay, what is done longest must go:\n%s", drawn)
	}
	if n := strings.Count(all, "The "); n != 61 {
		t.Errorf("%d tasks are left on the screen at the end", n)
	}
}

func TestStuck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		tasks  []wire.ClusterTask
		want   string
	}{
		{"all is well", []wire.ClusterTask{task("a", lazuli.NodeDone, 0, 1), task("b", lazuli.NodeWaiting, never, never)}, ""},
		{"something may still change it", []wire.ClusterTask{task("a", lazuli.NodeFailed, 0, never), task("b", lazuli.NodeWorking, 0, never)}, ""},
		{"only a human can help", []wire.ClusterTask{task("a", lazuli.NodeFailed, 0, never), task("b", lazuli.NodeWaiting, never, never)}, "The a"},
	} {
		if got := cli.Stuck(wire.ClusterTasks{Tasks: tt.tasks}); got != tt.want {
			t.Errorf("%s: %q", tt.reason, got)
		}
	}
}

// TestEnvFile: what is written is what a POSIX shell reads.
func TestEnvFile(t *testing.T) {
	t.Parallel()
	text, err := cli.RenderEnv([2]string{"A", "https://127.0.0.1:1/x?"}, [2]string{"B", "v"})
	if err == nil {
		t.Errorf("a pattern of the shell was written: %s", text)
	}
	for _, bad := range []string{"a b", "a'b", `a"b`, "$HOME", "`id`", "a\nB=c", "a;b", "a&b", "~/x", "a\\b", "#a", "(", "*"} {
		if text, err := cli.RenderEnv([2]string{"A", bad}); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("%q was written as %q, %v", bad, text, err)
		}
	}
	text, err = cli.RenderEnv([2]string{"A", "https://127.0.0.1:1/x"}, [2]string{"B", ""}, [2]string{"C", "/tmp/a-b_c.d@e%f+g=h,i"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", "set -a; eval \"$0\"; set +a; echo \"$A|$B|$C\"", text).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out), "https://127.0.0.1:1/x||/tmp/a-b_c.d@e%f+g=h,i\n"; got != want {
		t.Errorf("a shell read %q", got)
	}
}
