// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"container/heap"
	"context"
	"time"
)

// event is something that happens at a simulated time. Ties are broken by the order of their making.
type event struct {
	at   time.Time
	seq  uint64
	fn   func()
	free bool // run without the simulator's lock: code of Machines, sockets
}

type eventHeap []*event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any) {
	if e, ok := x.(*event); ok {
		*h = append(*h, e)
	}
}
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}

// wall is the simulated time that the real clock stands for.
func (s *Simulator) wall() time.Time {
	if s.cfg.Speed == 1 {
		return time.Now().UTC()
	}
	return s.epoch.Add(time.Duration(float64(time.Since(s.epoch)) * s.cfg.Speed)).UTC()
}

// now is the simulated time: inside an event the time the event was due, whenever it really ran, so that a chain of
// events has the same times whoever drives it, and whoever looked at the clock before. The lock is held.
func (s *Simulator) now() time.Time {
	if s.eventTime.IsZero() {
		return s.wall()
	}
	return s.eventTime
}

// after queues a function that runs under the lock. The lock is held.
func (s *Simulator) after(d time.Duration, fn func()) { s.push(d, fn, false) }

// outside queues a function that runs without the lock, as soon as possible. The lock is held.
func (s *Simulator) outside(fn func()) { s.push(0, fn, true) }

func (s *Simulator) push(d time.Duration, fn func(), free bool) {
	s.seq++
	e := &event{at: s.now().Add(max(d, 0)), seq: s.seq, fn: fn, free: free}
	heap.Push(&s.queue, e)
	if s.queue[0] == e {
		select {
		case s.wake <- struct{}{}:
		default: // The pump has not looked yet at the last wake-up.
		}
	}
}

// advance runs every event that is due. Runners queue up behind each other: events never overlap.
func (s *Simulator) advance() {
	s.runner.Lock()
	defer s.runner.Unlock()
	until := s.wall()
	for {
		s.mu.Lock()
		if len(s.queue) == 0 || s.queue[0].at.After(until) {
			s.eventTime = time.Time{}
			s.mu.Unlock()
			return
		}
		e, _ := heap.Pop(&s.queue).(*event)
		s.eventTime = e.at
		if e.free {
			s.mu.Unlock()
			e.fn()
			continue
		}
		e.fn()
		s.mu.Unlock()
	}
}

// Run is the pump: it runs events when they are due although no request comes. A harness with one goroutine does
// without it, requests alone drive the simulator then. It returns when ctx ends, with nil.
func (s *Simulator) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.advance()
		timer.Reset(s.untilNext())
		select {
		case <-ctx.Done():
			return nil
		case <-s.closed:
			return nil
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// untilNext is real time.
func (s *Simulator) untilNext() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return time.Hour
	}
	d := time.Duration(float64(s.queue[0].at.Sub(s.wall())) / s.cfg.Speed)
	// One nanosecond more than the quotient: a rounded-down wait would wake before the event is due.
	return max(d+1, 0)
}

// sleep waits d of simulated time.
func (s *Simulator) sleep(ctx context.Context, d time.Duration) error {
	if s.cfg.NoLatency || d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(time.Duration(float64(d) / s.cfg.Speed))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
