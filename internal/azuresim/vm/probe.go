// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"sync"
	"time"
)

const (
	// probePause is between two probes of one backend, probeInterest how long after the last question they go on.
	probePause    = time.Second
	probeInterest = time.Minute
	probeTimeout  = 2 * time.Second
)

// probes ask machines for their health in the background: the simulator's event loop wants answers without waiting.
type probes struct {
	owner *Machines
	mu    sync.Mutex
	last  map[probe]*answer
}

type probe struct {
	id   string
	port int
	path string
}

type answer struct {
	up    bool
	asked time.Time
}

func (p *probes) ask(id string, port int, path string) bool {
	key := probe{id, port, path}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.last[key]
	if a == nil {
		a = &answer{}
		if !p.owner.background(func() { p.run(key, a) }) {
			return false
		}
		p.last[key] = a
	}
	a.asked = time.Now()
	return a.up && p.owner.networkOf(id) != nil
}

// background runs fn until it returns; Close waits for it. False when the level is closed.
func (ms *Machines) background(fn func()) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.closed {
		return false
	}
	ms.workers.Go(fn)
	return true
}

func (p *probes) run(key probe, a *answer) {
	ticker := time.NewTicker(probePause)
	defer ticker.Stop()
	for {
		up := p.once(key)
		p.mu.Lock()
		a.up = up
		if time.Since(a.asked) > probeInterest {
			delete(p.last, key)
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		select {
		case <-p.owner.life.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *probes) once(key probe) bool {
	n := p.owner.networkOf(key.id)
	if n == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(p.owner.life, probeTimeout)
	defer cancel()
	return n.Probe(ctx, key.id, key.port, key.path)
}
