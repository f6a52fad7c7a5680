// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"strings"
	"time"
)

// Act is one write or delete that a client asked for, with the times that Azure took: what a lower bound is made of.
type Act struct {
	Method string
	ID     string // of the resource, as in the path
	Status int    // of the answer
	// Began is when the request left the client, Effect when Azure's state changed, Answered when the client heard.
	Began, Effect, Answered time.Time
	// Ended is when the resource was as asked for: the end of the long-running operation, or Answered without one. It is
	// zero while the operation runs. Failed says that it ended badly.
	Ended  time.Time
	Failed bool
}

// record is an Act whose operation may still run.
type record struct {
	Act
	op *operation
}

// keep notes a write that was answered.
func (s *Simulator) keep(c *call, began time.Time, rep *reply) {
	if !s.cfg.KeepActs || c.class != classWrite && c.class != classDelete {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts = append(s.acts, record{op: c.op, Act: Act{
		Method: c.method, ID: strings.TrimSuffix(c.target.path, "/"), Status: rep.status, Began: began, Effect: c.now, Answered: s.now(),
	}})
}

// Acts are the writes and deletes so far in the order of their answers, when Config.KeepActs says so.
func (s *Simulator) Acts() []Act {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Act, 0, len(s.acts))
	for _, r := range s.acts {
		a := r.Act
		a.Ended = a.Answered
		if r.op != nil {
			a.Ended, a.Failed = r.op.end, r.op.status == opFailed || r.op.status == opCanceled
		}
		out = append(out, a)
	}
	return out
}
