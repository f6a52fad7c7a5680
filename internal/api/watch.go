// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

const (
	// coalesce is the least time between two messages of a stream: a burst of
	// changes is one message.
	coalesce = 200 * time.Millisecond
	// streamWrite bounds how long a reader may take for one message.
	streamWrite = 10 * time.Second
)

// watchCluster streams a cluster's tasks as server-sent events: one "tasks"
// event at once and one after every change, with comments in between. It ends
// when the caller leaves, when its key no longer works, or with the hub.
func watchCluster(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	sub, err := a.watch.subscribe(c.ctx(), cl.UID)
	if err != nil {
		return nil, err
	}
	defer a.watch.unsubscribe(sub)
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	c.w.WriteHeader(http.StatusOK)
	s := stream{api: a, c: c, out: http.NewResponseController(c.w), uid: cl.UID}
	if err := s.run(sub); err != nil {
		a.Logger.DebugContext(c.ctx(), "a watch ended", "id", c.id, "cluster", cl.UID, "error", err)
	}
	return nil, nil //nolint:nilnil // the stream is the answer
}

type stream struct {
	api  *API
	c    *call
	out  *http.ResponseController
	uid  string
	last []byte
}

func (s *stream) run(sub *subscriber) error {
	beat := time.NewTicker(s.api.Heartbeat)
	defer beat.Stop()
	if err := s.send(); err != nil {
		return err
	}
	for {
		select {
		case <-s.c.ctx().Done():
			return nil
		case <-sub.done:
			return nil
		case <-beat.C:
			if err := s.stillMay(); err != nil {
				return err
			}
			if err := s.write([]byte(": alive\n\n")); err != nil {
				return err
			}
		case <-sub.wake:
			if err := s.send(); err != nil {
				return err
			}
			select {
			case <-time.After(coalesce):
			case <-s.c.ctx().Done():
				return nil
			}
		}
	}
}

// stillMay looks again at who the caller is and what it may see.
func (s *stream) stillMay() error {
	actor, err := s.api.auth.Authenticate(s.c.ctx(), s.c.r.Header, s.c.r.RemoteAddr)
	if err != nil {
		return fmt.Errorf("authenticate again: %w", err)
	}
	s.c.actor = actor
	_, err = get[lazuli.Cluster](s.c.ctx(), s.api.Store, s.c, s.uid)
	return err
}

// send writes what is now, unless it was written already.
func (s *stream) send() error {
	cl, err := get[lazuli.Cluster](s.c.ctx(), s.api.Store, s.c, s.uid)
	if err != nil {
		return err
	}
	t, err := s.api.tasks(s.c, cl)
	if err != nil {
		return err
	}
	running := t
	running.Tasks = append([]wire.ClusterTask(nil), t.Tasks...)
	for i := range running.Tasks {
		if running.Tasks[i].EndedAt.IsZero() {
			running.Tasks[i].DurationMs = 0 // grows by itself: no news
		}
	}
	news, err := json.Marshal(running)
	if err != nil {
		return fmt.Errorf("render tasks: %w", err)
	}
	if bytes.Equal(news, s.last) {
		return nil
	}
	s.last = news
	data, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("render tasks: %w", err)
	}
	return s.write(fmt.Appendf(nil, "event: tasks\ndata: %s\n\n", data))
}

func (s *stream) write(b []byte) error {
	// A writer that knows no deadlines, as in tests, is as good.
	_ = s.out.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := s.c.w.Write(b); err != nil {
		return fmt.Errorf("write to a watch: %w", err)
	}
	if err := s.out.Flush(); err != nil {
		return fmt.Errorf("flush a watch: %w", err)
	}
	return nil
}

// watchers share one watch of the store, which runs while there are any.
type watchers struct {
	store store.Store
	max   int

	mu     sync.Mutex
	closed bool
	subs   map[*subscriber]struct{}
	cancel context.CancelFunc // of the watch of the store
}

type subscriber struct {
	cluster string
	wake    chan struct{} // holds one token while there is news
	done    chan struct{} // closed when the hub ends the stream
	once    sync.Once
}

func (s *subscriber) end() { s.once.Do(func() { close(s.done) }) }

func (s *subscriber) notify() {
	select {
	case s.wake <- struct{}{}:
	default: // awake already
	}
}

func newWatchers(s store.Store, limit int) *watchers {
	return &watchers{store: s, max: limit, subs: map[*subscriber]struct{}{}}
}

func (w *watchers) subscribe(ctx context.Context, cluster string) (*subscriber, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, lazuli.Errorf(lazuli.CodeUnavailable, "the hub is about to stop")
	case len(w.subs) >= w.max:
		return nil, lazuli.Errorf(lazuli.CodeTooManyRequests, "there are %d watches already", len(w.subs))
	}
	if w.cancel == nil {
		// The watch belongs to all subscribers, not to this caller alone.
		all, cancel := context.WithCancel(context.WithoutCancel(ctx))
		changes, err := w.store.Watch(all)
		if err != nil {
			cancel()
			return nil, fmt.Errorf("watch the store: %w", err)
		}
		w.cancel = cancel
		go w.dispatch(all, changes)
	}
	s := &subscriber{cluster: cluster, wake: make(chan struct{}, 1), done: make(chan struct{})}
	w.subs[s] = struct{}{}
	return s, nil
}

func (w *watchers) unsubscribe(s *subscriber) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.subs, s)
	if len(w.subs) == 0 && w.cancel != nil {
		w.cancel()
		w.cancel = nil
	}
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for s := range w.subs {
		s.end()
	}
	if w.cancel != nil {
		w.cancel()
		w.cancel = nil
	}
}

// dispatch wakes the subscribers of the cluster that a change belongs to.
func (w *watchers) dispatch(ctx context.Context, changes <-chan store.Change) {
	for ch := range changes {
		if uid := w.clusterOf(ctx, ch); uid != "" {
			w.mu.Lock()
			for s := range w.subs {
				if s.cluster == uid {
					s.notify()
				}
			}
			w.mu.Unlock()
		}
	}
	if ctx.Err() != nil {
		return
	}
	// The store ended the watch: so do the streams, and callers come back.
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.subs {
		s.end()
	}
}

func (w *watchers) clusterOf(ctx context.Context, ch store.Change) string {
	switch ch.Kind { // the others do not show in tasks
	case lazuli.KindCluster:
		return ch.UID
	case lazuli.KindNode:
		var n lazuli.Node
		if err := w.store.Get(ctx, ch.UID, &n); err != nil {
			return "" // gone: its cluster's own change tells
		}
		return n.ClusterUID
	default:
		return ""
	}
}
