// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// stream opens a watch over a socket and returns its tasks events.
func (w *world) stream(server *httptest.Server, uid, key string) (<-chan wire.ClusterTasks, context.CancelFunc) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/lazuli/v1/clusters/"+uid+"/watch", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		w.t.Fatalf("status %d, %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	out := make(chan wire.ClusterTasks)
	go func() {
		defer close(out)
		defer resp.Body.Close() // the test is over
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var t wire.ClusterTasks
			if json.Unmarshal([]byte(data), &t) != nil {
				return
			}
			select {
			case out <- t:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, cancel
}

func next(t *testing.T, ch <-chan wire.ClusterTasks) (wire.ClusterTasks, bool) {
	t.Helper()
	select {
	case v, ok := <-ch:
		return v, ok
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		return wire.ClusterTasks{}, false
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config, _ *hub) { c.MaxWatchers = 2 })
	uid, other := w.create("prod"), w.create("other")
	server := httptest.NewServer(w.handler())
	t.Cleanup(server.Close)
	ch, cancel := w.stream(server, uid, adminKey)
	defer cancel()
	if got, _ := next(t, ch); got.State != wire.ClusterTasksStatePending || got.ClusterUID != uid {
		t.Fatalf("first %+v", got)
	}
	second, cancelSecond := w.stream(server, uid, adminKey)
	next(t, second)
	a := w.want(http.StatusTooManyRequests, "GET", "/lazuli/v1/clusters/"+uid+"/watch", nil)
	if a.err(t).Code != "TooManyRequests" {
		t.Errorf("%s", a.body)
	}
	cancelSecond()

	w.change(other, func(c *lazuli.Cluster) { c.Status.Message = "not ours" })
	node := &lazuli.Node{Meta: lazuli.Meta{UID: strings.Repeat("e", 24), Name: "vnet"}, ClusterUID: uid, State: lazuli.NodeWorking}
	w.add(node)
	if got, _ := next(t, ch); len(got.Tasks) != 1 || got.Tasks[0].State != string(lazuli.NodeWorking) {
		t.Fatalf("after a node: %+v", got)
	}
	w.change(uid, func(c *lazuli.Cluster) { c.Status.State = lazuli.StateRunning })
	if got, _ := next(t, ch); got.State != wire.ClusterTasksStateRunning {
		t.Fatalf("after the cluster: %+v", got)
	}
	w.api.Close()
	if _, open := next(t, ch); open {
		t.Error("the stream outlives the hub")
	}
	w.want(http.StatusServiceUnavailable, "GET", "/lazuli/v1/clusters/"+uid+"/watch", nil)
}

func TestWatchEndsWithItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config, _ *hub) { c.Heartbeat = 20 * time.Millisecond })
	uid := w.create("prod")
	key := w.key("guest", "", false)
	server := httptest.NewServer(w.handler())
	t.Cleanup(server.Close)
	ch, cancel := w.stream(server, uid, key)
	defer cancel()
	next(t, ch)
	w.remove(lazuli.KindAPIKey, testUID("key", "guest"))
	if _, open := next(t, ch); open {
		t.Error("the stream outlives its key")
	}
	key, user := w.keyOf("member", "", lazuli.Assignment{ProjectRoles: map[string][]string{w.project: {auth.BuiltinUID("Cluster Viewer")}}})
	ch, cancel = w.stream(server, uid, key)
	defer cancel()
	next(t, ch)
	w.assign(user, lazuli.Assignment{})
	if _, open := next(t, ch); open {
		t.Error("the stream outlives its caller's role")
	}
}
