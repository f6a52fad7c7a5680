// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"sync"

	"github.com/lazuli-dev/lazuli"
)

// Hub hands the changes that a driver commits to the watchers of this process.
// Changes of one object that a watcher has not taken yet are merged, so that
// what waits is bounded by the number of objects and Publish never blocks.
// The zero Hub is ready to use.
type Hub struct {
	mu       sync.Mutex
	closed   bool
	watchers map[*watcher]struct{}
}

type watcher struct {
	wake    chan struct{} // holds one token while something is pending
	pending map[changeKey]bool
	order   []changeKey
}

type changeKey struct {
	kind lazuli.Kind
	uid  string
}

// Publish gives changes to all watchers.
func (h *Hub) Publish(changes []Change) {
	if len(changes) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		for _, c := range changes {
			key := changeKey{kind: c.Kind, uid: c.UID}
			work, waits := w.pending[key]
			if !waits {
				w.order = append(w.order, key)
			}
			w.pending[key] = work || c.Work
		}
		select {
		case w.wake <- struct{}{}:
		default: // awake already
		}
	}
}

// Watch sends changes until ctx ends or the Hub closes; then the channel is
// closed. A closed Hub is lazuli.CodeUnavailable.
func (h *Hub) Watch(ctx context.Context) (<-chan Change, error) {
	w := &watcher{wake: make(chan struct{}, 1), pending: map[changeKey]bool{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, lazuli.Errorf(lazuli.CodeUnavailable, "watch: the store is closed")
	}
	if h.watchers == nil {
		h.watchers = map[*watcher]struct{}{}
	}
	h.watchers[w] = struct{}{}
	out := make(chan Change)
	go h.serve(ctx, w, out)
	return out, nil
}

// Close ends all watches. It may be called twice.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		close(w.wake)
	}
	h.watchers = nil
}

func (h *Hub) serve(ctx context.Context, w *watcher, out chan<- Change) {
	defer close(out)
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-w.wake:
			if !open {
				return
			}
		}
		for c, ok := h.next(w); ok; c, ok = h.next(w) {
			select {
			case <-ctx.Done():
				return
			case out <- c:
			}
		}
	}
}

// next takes the change that has waited longest.
func (h *Hub) next(w *watcher) (Change, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(w.order) == 0 {
		w.order = nil // lets the array go that the slice has walked through
		return Change{}, false
	}
	key := w.order[0]
	w.order = w.order[1:]
	work := w.pending[key]
	delete(w.pending, key)
	return Change{Kind: key.kind, UID: key.uid, Work: work}, true
}
