// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync"
	"time"

	"github.com/lazuli-dev/lazuli"
)

// outMargin is the part of a lease, one in so many, in which its holder begins
// no write any more: what a write needs to get out. Of the engine's 12 s it is
// 3 s; renewals leave at least 8 s when the store answers at once.
const outMargin = 4

// Clock tells what time has passed by the clock on the wall and by the monotonic
// one, whichever says more: the wall's may be set back, and the monotonic one of
// Linux stands still while the machine is suspended. The zero value is this
// process's; a nil function is time.Now.
type Clock struct {
	Wall, Monotonic func() time.Time
}

// Moment is a point in time by both clocks.
type Moment struct{ wall, monotonic time.Time }

// Now reads both clocks.
func (c Clock) Now() Moment {
	wall, monotonic := c.Wall, c.Monotonic
	if wall == nil {
		wall = time.Now
	}
	if monotonic == nil {
		monotonic = time.Now
	}
	return Moment{wall: wall().Round(0), monotonic: monotonic()} // Round drops the monotonic reading
}

// Since is how long ago m was, at most.
func (c Clock) Since(m Moment) time.Duration {
	now := c.Now()
	return max(now.wall.Sub(m.wall), now.monotonic.Sub(m.monotonic))
}

// Hold is what the holder of a lease knows of its end without asking the store:
// the lease lasts from before the store was asked for it, by the holder's own
// clocks, whatever the store's say. A process that stood still for longer than
// its lease finds it over before the store can tell. Safe for concurrent use.
type Hold struct {
	clock Clock

	mu    sync.Mutex
	asked Moment
	lease time.Duration
}

// NewHold makes the hold of a lease that was asked for at a moment of the clock.
func NewHold(clock Clock, asked Moment, lease time.Duration) *Hold {
	return &Hold{clock: clock, asked: asked, lease: lease}
}

// Renewed prolongs the hold: the store granted what was asked for at the moment.
func (h *Hold) Renewed(asked Moment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = asked
}

// Left is how long the lease holds for certain; not positive when it may be over.
func (h *Hold) Left() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lease - h.clock.Since(h.asked)
}

// Check is a guard (lazuli.WithGuard): it fails with lazuli.CodeFenced when the
// lease is over, or will be before a write is out.
func (h *Hold) Check() error {
	left := h.Left()
	if left > h.lease/outMargin {
		return nil
	}
	return lazuli.Errorf(lazuli.CodeFenced, "not sent: the lease that it would be done under has %s left", left.Round(time.Millisecond))
}
