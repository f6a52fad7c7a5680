// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"sync"
	"time"

	"github.com/lazuli-dev/lazuli"
)

// patience measures how long machines are waited for, by the clock of the
// process that never steps: a wall clock that jumped by an hour must not have a
// machine replaced. A new process, or another replica, begins to wait anew.
type patience struct {
	mu    sync.Mutex
	since map[string]time.Time // by the name of a machine, which is never used twice
}

// look notes which machines of w are waited for now, and tells w for how long.
func (p *patience) look(w *World) {
	p.mu.Lock()
	defer p.mu.Unlock()
	api := w.Nodes[nodeAPIServer]
	up := api != nil && api.State == lazuli.NodeDone
	for name, m := range w.Machines {
		vm := w.Nodes[prefixVM+name]
		boots := vm != nil && (vm.State == lazuli.NodeDone || vm.State == lazuli.NodeWorking)
		if !up || !boots || m.Ready || m.Going() || w.Cluster.Delete != nil {
			delete(p.since, name)
			delete(w.waited, name)
			continue
		}
		began, ok := p.since[name]
		if !ok {
			began = time.Now()
			if p.since == nil {
				p.since = map[string]time.Time{}
			}
			p.since[name] = began
		}
		w.waited[name] = time.Since(began)
	}
}
