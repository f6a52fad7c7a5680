// SPDX-License-Identifier: Apache-2.0

package cluster

import "time"

// Waiting has the world believe that a machine has been waited for so long.
func (w *World) Waiting(machine string, d time.Duration) { w.waited[machine] = d }

// Says are the messages of the events that the last step wants told.
func (w *World) Says() []string {
	var out []string
	for _, e := range w.events {
		out = append(out, e.Message)
	}
	return out
}
