// SPDX-License-Identifier: Apache-2.0

// Package graph orders things that depend on one another and draws them.
//
// A graph is a value: built once, checked once, then only read. It does no
// I/O, runs nothing, and knows neither clusters nor Azure; its payload is
// whatever the caller hangs on a node.
package graph

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Node is one vertex: a name, the names of the nodes that it waits for, and
// what the caller wants to find there.
type Node[T any] struct {
	Name    string
	Title   string // for people; Name when empty
	Deps    []string
	Payload T
}

// Graph is a directed acyclic graph. The zero value is empty and ready to read.
type Graph[T any] struct {
	nodes map[string]Node[T]
	order []string // topological; nodes that are free of each other stand as given
}

// New checks the nodes and returns their graph. It fails on a repeated name, a
// dependency that is not there, and a cycle, which it names.
func New[T any](nodes ...Node[T]) (*Graph[T], error) {
	g := &Graph[T]{nodes: make(map[string]Node[T], len(nodes))}
	for _, n := range nodes {
		if _, twice := g.nodes[n.Name]; twice {
			return nil, fmt.Errorf("node %q is there twice", n.Name)
		}
		g.nodes[n.Name] = n
	}
	const visiting, visited = 1, 2
	mark := make(map[string]int, len(nodes))
	var path []string
	var visit func(name, from string) error
	visit = func(name, from string) error {
		n, ok := g.nodes[name]
		if !ok {
			return fmt.Errorf("node %q waits for %q, which is not there", from, name)
		}
		switch mark[name] {
		case visited:
			return nil
		case visiting:
			i := slices.Index(path, name)
			return fmt.Errorf("cycle: %s -> %s", strings.Join(path[i:], " -> "), name)
		}
		mark[name] = visiting
		path = append(path, name)
		for _, d := range n.Deps {
			if err := visit(d, name); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		mark[name] = visited
		g.order = append(g.order, name)
		return nil
	}
	for _, n := range nodes {
		if err := visit(n.Name, ""); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// Len is the number of nodes.
func (g *Graph[T]) Len() int { return len(g.order) }

// Nodes returns all nodes, each after those that it waits for. The order
// depends only on what New was given.
func (g *Graph[T]) Nodes() []Node[T] {
	out := make([]Node[T], 0, len(g.order))
	for _, name := range g.order {
		out = append(out, g.nodes[name])
	}
	return out
}

// Node returns the node of that name.
func (g *Graph[T]) Node(name string) (Node[T], bool) {
	n, ok := g.nodes[name]
	return n, ok
}

// CriticalPath returns the chain of nodes whose durations add up to the most,
// and that sum: no order of work can be faster.
func (g *Graph[T]) CriticalPath(duration func(name string) time.Duration) ([]string, time.Duration) {
	total := make(map[string]time.Duration, len(g.order))
	before := make(map[string]string, len(g.order))
	var last string
	var longest time.Duration = -1
	for _, name := range g.order {
		var start time.Duration
		for _, d := range g.nodes[name].Deps {
			if total[d] > start || before[name] == "" {
				start, before[name] = total[d], d
			}
		}
		total[name] = start + duration(name)
		if total[name] > longest {
			longest, last = total[name], name
		}
	}
	if last == "" {
		return nil, 0
	}
	var path []string
	for name := last; name != ""; name = before[name] {
		path = append(path, name)
	}
	slices.Reverse(path)
	return path, longest
}

// Mermaid draws the graph as a mermaid flowchart. class may be nil; else it
// gives each node a class name, "" for none.
func (g *Graph[T]) Mermaid(class func(name string) string) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	ids := make(map[string]string, len(g.order))
	for i, name := range g.order {
		ids[name] = fmt.Sprintf("n%d", i)
		title := g.nodes[name].Title
		if title == "" {
			title = name
		}
		fmt.Fprintf(&b, "  %s[\"%s\"]", ids[name], escape(title))
		if class != nil {
			if c := class(name); c != "" {
				b.WriteString(":::" + c)
			}
		}
		b.WriteByte('\n')
	}
	for _, name := range g.order {
		for _, d := range g.nodes[name].Deps {
			fmt.Fprintf(&b, "  %s --> %s\n", ids[d], ids[name])
		}
	}
	return b.String()
}

// escape keeps a title from ending its quotes: mermaid takes entities.
func escape(s string) string {
	return strings.NewReplacer(`"`, "#quot;", "\n", " ").Replace(s)
}
