// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lazuli-dev/lazuli"
)

// task is one step of a cluster's life as it is shown.
type task struct {
	name, title, state string
	started, ended     time.Time
	message, remedy    string
	inAzure            bool
}

// progress is a cluster and its tasks at one moment; all times are the hub's.
type progress struct {
	cluster, uid, state, health, message string
	created                              time.Time
	now                                  time.Time
	deleting                             bool
	tasks                                []task
}

// done reports whether the task is where it shall be in the end.
func (t task) done(deleting bool) bool {
	if deleting {
		return t.state == string(lazuli.NodeGone)
	}
	return t.state == string(lazuli.NodeDone) || t.state == string(lazuli.NodeGone)
}

func (t task) running() bool {
	switch lazuli.NodeState(t.state) {
	case lazuli.NodeIntended, lazuli.NodeWorking, lazuli.NodeDeleting:
		return true
	default:
		return false
	}
}

func (t task) failed() bool { return t.state == string(lazuli.NodeFailed) }

// began is when the task began, as far as this phase is concerned: what is
// deleted has been there for long.
func (p progress) began(t task) time.Time {
	if p.deleting && t.started.Before(p.created) {
		return p.created
	}
	return t.started
}

// took is how long the task took, or has taken so far.
func (p progress) took(t task) time.Duration {
	switch {
	case t.started.IsZero():
		return 0
	case t.ended.IsZero():
		return max(0, p.now.Sub(p.began(t)))
	default:
		return max(0, t.ended.Sub(p.began(t)))
	}
}

// view shows progress.
type view interface {
	update(p progress)
	finish() // leaves what was shown last
}

// newView draws on a terminal and writes lines elsewhere.
func (a *app) newView() view {
	if width, height, ok := terminal(a.errOut); ok {
		return &chart{w: a.errOut, width: width, height: height, color: a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"}
	}
	return &lines{w: a.errOut, seen: map[string]string{}}
}

// lines writes one line per transition.
type lines struct {
	w     io.Writer
	state string
	seen  map[string]string // phase by task
}

type line struct {
	at         time.Time
	word, text string
}

func (l *lines) finish() {}

// update writes what is new since the last time, in the order in which it
// happened.
func (l *lines) update(p progress) {
	var news []line
	for _, t := range p.tasks {
		is := p.phase(t)
		if is == "" || l.seen[t.name] == is {
			continue
		}
		l.seen[t.name] = is
		switch is {
		case wordDone, wordGone:
			news = append(news, line{t.ended, is, fmt.Sprintf("%s (%s)", t.title, seconds(p.took(t)))})
		case wordFailed:
			news = append(news, line{p.now, is, t.title + ": " + t.message})
			if t.remedy != "" {
				news = append(news, line{p.now, "", "what helps: " + t.remedy})
			}
		default:
			news = append(news, line{p.began(t), is, t.title})
		}
	}
	slices.SortStableFunc(news, func(x, y line) int { return x.at.Compare(y.at) })
	if p.state != l.state {
		l.state = p.state
		news = append(news, line{p.now, "state", p.state})
	}
	for _, n := range news {
		elapsed := max(0, n.at.Sub(p.created))
		// Progress is not worth failing for.
		_, _ = fmt.Fprintf(l.w, "[%7s] %-6s %s\n", seconds(elapsed), n.word, clean(n.text))
	}
}

// The words for what happens to a task.
const (
	wordStart  = "start"
	wordDone   = "done"
	wordFailed = "failed"
	wordDelete = "delete"
	wordGone   = "gone"
)

// phase is the word for a task's state; "" is not worth a line.
func (p progress) phase(t task) string {
	switch {
	case t.failed():
		return wordFailed
	case p.deleting && !t.inAzure:
		return "" // vanishes with what it was about
	case t.state == string(lazuli.NodeGone):
		return wordGone
	case t.state == string(lazuli.NodeDeleting):
		return wordDelete
	case p.deleting:
		return "" // still stands
	case t.state == string(lazuli.NodeDone):
		return wordDone
	case t.running():
		return wordStart
	default:
		return ""
	}
}

// chart redraws a table with one bar per task.
type chart struct {
	w             io.Writer
	width, height int
	color         bool
	drawn         int // lines of the last drawing
	last          progress
}

const (
	clearDown  = "\x1b[J"
	bold       = "1"
	red        = "31"
	green      = "32"
	cyan       = "36"
	minBar     = 10
	minRows    = 3
	titleShare = 2 // of the width, the title gets one part in this many
	// decoration of a row: mark, blanks, duration.
	decoration = len("* ") + len("  ") + len("000.0s ")
)

func (c *chart) paint(code, text string) string {
	if !c.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// finish leaves all tasks on the screen, also those that had to give way.
func (c *chart) finish() {
	if c.last.uid != "" {
		c.draw(c.rows(c.last, c.last.tasks))
	}
	c.drawn = 0
}

func (c *chart) update(p progress) {
	c.last = p
	c.draw(c.rows(p, visible(p, max(c.height-2, minRows))))
}

func (c *chart) draw(rows []string) {
	var b strings.Builder
	if c.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r%s", c.drawn, clearDown)
	}
	for _, r := range rows {
		b.WriteString(r + "\n")
	}
	c.drawn = len(rows)
	_, _ = io.WriteString(c.w, b.String()) // progress is not worth failing for
}

func (c *chart) rows(p progress, tasks []task) []string {
	done := 0
	for _, t := range p.tasks {
		if t.done(p.deleting) {
			done++
		}
	}
	elapsed := max(p.now.Sub(p.created), time.Millisecond)
	out := []string{fmt.Sprintf("%s  %s  %s  %d/%d tasks",
		c.paint(bold, clean(p.cluster)), p.state, seconds(elapsed), done, len(p.tasks))}
	titleWidth := c.width / titleShare
	barWidth := max(c.width-titleWidth-decoration, minBar)
	for _, t := range tasks {
		if p.deleting && !t.inAzure && !t.failed() {
			continue
		}
		mark, color := "·", cyan
		text := c.paint(color, bar(t, p, elapsed, barWidth))
		switch {
		case t.failed():
			mark, color = "✗", red
			text = c.paint(color, fit(clean(t.message), barWidth))
		case t.done(p.deleting):
			mark, color = "✓", green
			text = c.paint(color, bar(t, p, elapsed, barWidth))
		case t.running():
			mark = "●"
		}
		out = append(out, fmt.Sprintf("%s %s %s %7s",
			c.paint(color, mark), fit(clean(t.title), titleWidth), text, durationText(t, p)))
	}
	return out
}

func durationText(t task, p progress) string {
	if t.started.IsZero() {
		return ""
	}
	return seconds(p.took(t))
}

// visible keeps the drawing within a screen: what is done gives way first, the
// oldest before the newer, then what waits, the last first.
func visible(p progress, rows int) []task {
	drop := len(p.tasks) - rows
	if drop <= 0 {
		return p.tasks
	}
	order := slices.Clone(p.tasks)
	slices.SortStableFunc(order, func(x, y task) int { return x.ended.Compare(y.ended) })
	gone := map[string]bool{}
	for _, t := range order {
		if drop > 0 && t.done(p.deleting) {
			gone[t.name] = true
			drop--
		}
	}
	for _, t := range slices.Backward(p.tasks) {
		if drop > 0 && !gone[t.name] && !t.running() && !t.failed() {
			gone[t.name] = true
			drop--
		}
	}
	kept := slices.DeleteFunc(slices.Clone(p.tasks), func(t task) bool { return gone[t.name] })
	return kept[:min(rows, len(kept))]
}

// bar places a task on the line of time since the cluster was created.
func bar(t task, p progress, elapsed time.Duration, width int) string {
	if t.started.IsZero() {
		return strings.Repeat(" ", width)
	}
	from := int(float64(width) * float64(max(0, p.began(t).Sub(p.created))) / float64(elapsed))
	length := int(float64(width) * float64(p.took(t)) / float64(elapsed))
	from = min(from, width-1)
	length = min(max(length, 1), width-from)
	return strings.Repeat(" ", from) + strings.Repeat("━", length) + strings.Repeat(" ", width-from-length)
}

// fit pads or cuts text to a width in characters.
func fit(s string, width int) string {
	n := utf8.RuneCountInString(s)
	if n <= width {
		return s + strings.Repeat(" ", width-n)
	}
	return string([]rune(s)[:max(0, width-1)]) + "…"
}
