// SPDX-License-Identifier: Apache-2.0

package cluster

import "time"

// Waiting has the world believe that a machine has been waited for so long.
func (w *World) Waiting(machine string, d time.Duration) { w.waited[machine] = d }
