// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"time"

	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// Waiting has the world believe that a machine has been waited for so long.
func (w *World) Waiting(machine string, d time.Duration) { w.waited[machine] = d }

// Reaches has the world know where it is, as after a load.
func (w *World) Reaches(t resource.Target) { w.target = t }

// Says are the messages of the events that the last step wants told.
func (w *World) Says() []string {
	var out []string
	for _, e := range w.events {
		out = append(out, e.Message)
	}
	return out
}
