// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	probePause   = time.Second
	probeTimeout = 3 * time.Second
	// probeUnasked ends a probe whose result nobody wants to know.
	probeUnasked = time.Minute
)

type probeKey struct {
	id   string
	port int
	path string
}

// probe is one that runs.
type probe struct {
	up    bool
	asked time.Time
}

// probes run in the background, so that asking for their results does not block.
type probes struct {
	owner *Machines

	mu      sync.Mutex
	last    map[probeKey]*probe
	stopped chan struct{}
	over    bool
}

// result is what the probe last found; it begins with the first question.
func (p *probes) result(key probeKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	if p.stopped == nil {
		p.stopped = make(chan struct{})
	}
	if one := p.last[key]; one != nil {
		one.asked = time.Now()
		return one.up
	}
	p.last[key] = &probe{asked: time.Now()}
	p.owner.running.Go(func() { p.run(key) })
	return false
}

func (p *probes) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.stopped != nil {
		close(p.stopped)
		p.stopped = nil
	}
}

func (p *probes) run(key probeKey) {
	p.mu.Lock()
	stopped := p.stopped
	p.mu.Unlock()
	if stopped == nil {
		return
	}
	web := &http.Client{Timeout: probeTimeout, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return p.owner.Dial(ctx, key.id, key.port)
		},
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as Azure's probes: no certificate is checked
	}}
	pause := time.NewTicker(probePause)
	defer pause.Stop()
	for {
		up := p.try(web, key)
		p.mu.Lock()
		one := p.last[key]
		one.up = up
		idle := time.Since(one.asked) > probeUnasked
		if idle {
			delete(p.last, key)
		}
		p.mu.Unlock()
		if idle {
			return
		}
		select {
		case <-stopped:
			return
		case <-pause.C:
		}
	}
}

// try is one probe: a GET, or a connection when there is no path.
func (p *probes) try(web *http.Client, key probeKey) bool {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout) // The probe has no caller.
	defer cancel()
	if key.path == "" {
		c, err := p.owner.Dial(ctx, key.id, key.port)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://probe"+key.path, nil)
	if err != nil {
		return false
	}
	res, err := web.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}
