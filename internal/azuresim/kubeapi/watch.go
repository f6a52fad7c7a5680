// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// bookmarkPeriod is how often an idle watch that allows it hears the current revision.
	bookmarkPeriod = time.Minute
	// defaultWatch bounds a watch without timeoutSeconds. The API server draws 30 to 60 minutes.
	defaultWatch = 30 * time.Minute
)

// watchRequest is what the parameters of a watch ask for.
type watchRequest struct {
	filter    *filter
	after     uint64
	initial   []*unstructured.Unstructured
	bookmarks bool
	// announce: end the initial objects with the bookmark of a streaming list.
	announce bool
	timeout  time.Duration
}

// serveWatch streams changes until the client goes, the time is up or the client is too far behind.
func (s *Server) serveWatch(w http.ResponseWriter, r *http.Request, req *request, v view) error {
	wr, err := s.store.watchRequest(r, req)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	out := &eventWriter{enc: json.NewEncoder(w), rc: http.NewResponseController(w), view: v, res: req.res, now: s.now}
	// The header goes out even when there is nothing to say yet.
	out.dirty = true
	for _, u := range wr.initial {
		out.send(Added, u)
	}
	if wr.announce {
		out.bookmark(wr.after, true)
	}
	out.flush()
	s.stream(r, wr, out)
	return nil
}

// stream is the loop of a watch.
func (s *Server) stream(r *http.Request, wr *watchRequest, out *eventWriter) {
	deadline := time.NewTimer(wr.timeout)
	defer deadline.Stop()
	ticker := time.NewTicker(bookmarkPeriod)
	defer ticker.Stop()
	for out.err == nil {
		changes, rev, wait, err := s.store.changesSince(wr)
		if err != nil {
			out.fail(err)
			return
		}
		for _, ch := range changes {
			out.change(wr.filter, ch)
		}
		wr.after = rev
		out.flush()
		select {
		case <-wait:
		case <-ticker.C:
			if wr.bookmarks {
				out.bookmark(wr.after, false)
				out.flush()
			}
		case <-deadline.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// changesSince returns what a watch has not seen, the revision that it has then seen, and what to wait for.
func (s *Store) changesSince(wr *watchRequest) ([]Change, uint64, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.data[wr.filter.res.GroupResource()]
	if !ok {
		return nil, 0, nil, expired(wr.after, s.rev)
	}
	changes, ok := c.since(wr.after)
	if !ok {
		return nil, 0, nil, expired(wr.after, c.trimmed)
	}
	return changes, s.rev, s.changed, nil
}

func expired(have, oldest uint64) error {
	return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", have, oldest))
}

// watchRequest reads a watch's parameters and takes its starting point.
func (s *Store) watchRequest(r *http.Request, req *request) (*watchRequest, error) {
	q := r.URL.Query()
	fieldText := q.Get("fieldSelector")
	if req.name != "" {
		fieldText = "metadata.name=" + req.name
	}
	f, err := newFilter(req.res, req.ns, q.Get("labelSelector"), fieldText)
	if err != nil {
		return nil, err
	}
	wr := &watchRequest{filter: f, bookmarks: isTrue(q.Get("allowWatchBookmarks")), timeout: defaultWatch}
	seconds, err := intParam(q, "timeoutSeconds")
	if err != nil {
		return nil, err
	}
	if seconds > 0 {
		wr.timeout = time.Duration(seconds) * time.Second
	}
	rv := q.Get("resourceVersion")
	var rev uint64
	if rv != "" {
		if rev, err = strconv.ParseUint(rv, 10, 64); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid resource version %q", rv))
		}
	}
	initial := q.Get("sendInitialEvents")
	match := q.Get("resourceVersionMatch")
	switch {
	case initial == "" && match != "":
		return nil, apierrors.NewBadRequest("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
	case initial != "" && match != string(metav1.ResourceVersionMatchNotOlderThan):
		return nil, apierrors.NewBadRequest("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
	}
	wr.announce = isTrue(initial) && wr.bookmarks
	s.mu.Lock()
	defer s.mu.Unlock()
	return wr, s.startWatch(wr, rev, initial)
}

// startWatch decides between replaying history and sending the present objects first.
func (s *Store) startWatch(wr *watchRequest, rev uint64, initial string) error {
	c, ok := s.data[wr.filter.res.GroupResource()]
	if !ok {
		return errPathNotFound
	}
	if rev > s.rev {
		return tooLargeRevision(rev, s.rev)
	}
	if rev != 0 && !isTrue(initial) {
		wr.after = rev
		return nil
	}
	wr.after = s.rev
	if initial == "false" {
		return nil
	}
	for _, u := range sortedItems(c.items, wr.filter.ns) {
		if wr.filter.matches(u) {
			wr.initial = append(wr.initial, u)
		}
	}
	return nil
}

// eventWriter writes watch events; the first error ends the watch.
type eventWriter struct {
	enc   *json.Encoder
	rc    *http.ResponseController
	view  view
	res   *resource
	now   func() time.Time
	err   error
	dirty bool
}

type watchEvent struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
}

func (e *eventWriter) put(kind string, object any) {
	if e.err == nil {
		e.err = e.enc.Encode(watchEvent{Type: kind, Object: object})
		e.dirty = true
	}
}

func (e *eventWriter) flush() {
	if e.err == nil && e.dirty {
		e.err = e.rc.Flush()
		e.dirty = false
	}
}

func (e *eventWriter) send(kind ChangeType, u *unstructured.Unstructured) {
	e.put(string(kind), e.view.present(e.res, u, e.now()))
}

// change sends a change as a watcher with a filter sees it: an object that stops matching is deleted for it.
func (e *eventWriter) change(f *filter, ch Change) {
	now := f.matches(ch.Object)
	before := ch.Previous != nil && f.matches(ch.Previous)
	switch {
	case ch.Type == Deleted && before:
		e.send(Deleted, ch.Object)
	case ch.Type == Deleted:
	case now && before:
		e.send(Modified, ch.Object)
	case now:
		e.send(Added, ch.Object)
	case before:
		gone := ch.Previous.DeepCopy()
		gone.SetResourceVersion(ch.Object.GetResourceVersion())
		e.send(Deleted, gone)
	}
}

func (e *eventWriter) bookmark(rev uint64, initialEnd bool) {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(e.res.gvk())
	u.SetResourceVersion(strconv.FormatUint(rev, 10))
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	if initialEnd {
		u.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	if e.view.kind == viewTable {
		e.put("BOOKMARK", e.view.present(e.res, u, e.now()))
		return
	}
	e.put("BOOKMARK", u.Object)
}

func (e *eventWriter) fail(err error) {
	e.put("ERROR", statusOf(err))
	e.flush()
}
