// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"io"
	"sync"
)

// None is a figure without a target.
const None = -1

// Table prints figures, each as soon as it is known: name, value, unit, target,
// and whether the target was met. It is safe for concurrent use.
type Table struct {
	mu sync.Mutex
	to io.Writer
}

// NewTable prints the heading.
func NewTable(to io.Writer) *Table {
	t := &Table{to: to}
	t.line("figure", "value", "unit", "target", "")
	return t
}

const lineFormat = "%-88s %10s %-14s %8s %s\n"

func (t *Table) line(name, value, unit, target, verdict string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintf(t.to, lineFormat, name, value, unit, target, verdict) // a terminal that went away hears nothing
}

// Figure prints a figure whose target is the most that it may be.
func (t *Table) Figure(name string, value float64, unit string, most float64) {
	if most == None {
		t.line(name, number(value), unit, "-", "-")
		return
	}
	verdict := "met"
	if value > most {
		verdict = "missed"
	}
	t.line(name, number(value), unit, "<= "+number(most), verdict)
}

// NotRun prints a figure that could not be made, and why.
func (t *Table) NotRun(name, why string) { t.line(name, "not run", why, "-", "-") }

// number has three or four digits that matter.
func number(v float64) string {
	switch {
	case v == float64(int64(v)):
		return fmt.Sprintf("%d", int64(v))
	case v < 10: //nolint:mnd // digits
		return fmt.Sprintf("%.3f", v)
	case v < 1000: //nolint:mnd // digits
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
