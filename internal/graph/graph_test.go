// SPDX-License-Identifier: Apache-2.0

package graph_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lazuli-dev/lazuli/internal/graph"
)

type node = graph.Node[int]

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		nodes  []node
		want   string
	}{
		{"a name names one node", []node{{Name: "a"}, {Name: "a"}}, `node "a" is there twice`},
		{"a dependency must exist", []node{{Name: "a", Deps: []string{"b"}}}, `node "a" waits for "b", which is not there`},
		{"a cycle is named", []node{{Name: "a", Deps: []string{"b"}}, {Name: "b", Deps: []string{"c"}}, {Name: "c", Deps: []string{"b"}}}, "cycle: b -> c -> b"},
		{"a node cannot wait for itself", []node{{Name: "a", Deps: []string{"a"}}}, "cycle: a -> a"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			_, err := graph.New(tc.nodes...)
			if err == nil || err.Error() != tc.want {
				t.Fatalf("New() = %v, want %s", err, tc.want)
			}
		})
	}
}

// Whatever the graph, each node comes after those that it waits for, and the
// critical path is a chain that no other chain exceeds.
func TestOrderAndCriticalPath(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		nodes := make([]node, n)
		for i := range nodes {
			nodes[i] = node{Name: fmt.Sprint(i), Payload: rapid.IntRange(0, 9).Draw(t, "weight")}
			for j := range i {
				if rapid.Bool().Draw(t, "edge") {
					nodes[i].Deps = append(nodes[i].Deps, fmt.Sprint(j))
				}
			}
		}
		given := rapid.Permutation(nodes).Draw(t, "order")
		g, err := graph.New(given...)
		if err != nil {
			t.Fatal(err)
		}
		weight := func(name string) time.Duration {
			n, _ := g.Node(name)
			return time.Duration(n.Payload)
		}
		done := map[string]time.Duration{}
		var longest time.Duration
		for _, n := range g.Nodes() {
			var start time.Duration
			for _, d := range n.Deps {
				end, ok := done[d]
				if !ok {
					t.Fatalf("%s stands before %s, which it waits for", n.Name, d)
				}
				start = max(start, end)
			}
			done[n.Name] = start + weight(n.Name)
			longest = max(longest, done[n.Name])
		}
		path, sum := g.CriticalPath(weight)
		if sum != longest {
			t.Fatalf("critical path %v takes %d, want %d", path, sum, longest)
		}
		var walked time.Duration
		for i, name := range path {
			walked += weight(name)
			cur, _ := g.Node(name)
			if i == 0 && len(cur.Deps) > 0 || i > 0 && !slices.Contains(cur.Deps, path[i-1]) {
				t.Fatalf("path %v is no chain from a root at %s", path, name)
			}
		}
		if walked != sum {
			t.Fatalf("path %v adds up to %d, not %d", path, walked, sum)
		}
	})
}

func TestMermaid(t *testing.T) {
	t.Parallel()
	g, err := graph.New(
		node{Name: "b", Title: `the "b"`, Deps: []string{"a"}},
		node{Name: "a"},
	)
	if err != nil {
		t.Fatal(err)
	}
	got := g.Mermaid(func(name string) string { return strings.TrimPrefix(name, "b") })
	want := "flowchart LR\n  n0[\"a\"]:::a\n  n1[\"the #quot;b#quot;\"]\n  n0 --> n1\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Mermaid() (-want +got):\n%s", diff)
	}
}
