// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/client"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// Names of states on the wire.
const (
	stateRunning  = string(lazuli.StateRunning)
	stateDeleting = string(lazuli.StateDeleting)
	stateDeleted  = string(lazuli.StateDeleted)
)

// Pauses of follow: between two looks however often the hub says that
// something changed, and the longest without a word from it. A terminal also
// shows the time that passes.
const (
	minLook = 100 * time.Millisecond
	maxLook = time.Second
)

// until says when following is over.
type until func(p progress) bool

func untilRunning(p progress) bool {
	return p.state == stateRunning && p.health == palette.HealthHealthy
}

func untilGone(p progress) bool { return p.state == stateDeleted }

// follow shows a cluster's tasks until the end that is waited for. It fails
// when a task needs a human and nothing else moves, and with a timeoutError
// when ctx's deadline passes.
func (a *app) follow(ctx context.Context, c *client.Client, uid string, end until) error {
	_, err := a.followWith(ctx, c, uid, end, a.newView())
	return err
}

func (a *app) followWith(ctx context.Context, c *client.Client, uid string, end until, v view) (progress, error) {
	defer v.finish()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	changed := c.Watch(watching, uid)
	var last progress
	for {
		p, err := look(ctx, c, uid, last)
		if err != nil {
			return last, timedOut(ctx, err, last)
		}
		last = p
		v.update(p)
		if end(p) {
			return p, nil
		}
		if t, ok := stuck(p); ok {
			return p, &lazuli.Error{
				Code:    lazuli.CodeConflict,
				Message: fmt.Sprintf("cluster %s does not get on: %s: %s", p.cluster, t.title, t.message), Remedy: t.remedy,
			}
		}
		if err := pause(ctx, changed); err != nil {
			return p, timedOut(ctx, err, last)
		}
	}
}

// pause waits for a change, at least minLook and at most maxLook.
func pause(ctx context.Context, changed <-chan struct{}) error {
	least := time.NewTimer(minLook)
	defer least.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-least.C:
	}
	most := time.NewTimer(maxLook - minLook)
	defer most.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-most.C:
	case <-changed:
	}
	return nil
}

func timedOut(ctx context.Context, err error, last progress) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	var open []string
	for _, t := range last.tasks {
		if t.running() || t.failed() {
			open = append(open, t.title)
		}
	}
	return &timeoutError{what: fmt.Sprintf("cluster %s is %s; not done in time: %d tasks %q",
		last.cluster, last.state, len(open), open)}
}

// stuck finds a failed task when nothing is under way that could change that.
func stuck(p progress) (task, bool) {
	var failed task
	for _, t := range p.tasks {
		if t.running() {
			return task{}, false
		}
		if t.failed() && failed.name == "" {
			failed = t
		}
	}
	return failed, failed.name != ""
}
