// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	eventStream = "text/event-stream"
	// maxEvent bounds one line of a stream.
	maxEvent = 1 << 20
	// rewatch is the pause before a stream that ended is opened again.
	rewatch = time.Second
)

// Event is one message of a server-sent event stream.
type Event struct {
	Name string // "message" unless the hub says otherwise
	ID   string
	Data string
}

// Stream calls fn for each event of a stream until ctx ends, the hub closes the
// stream (nil) or fn returns an error, which comes back. It does not reconnect.
func (c *Client) Stream(ctx context.Context, path string, query url.Values, fn func(Event) error) error {
	r := call{method: http.MethodGet, path: path, query: query, act: "watch"}
	resp, err := c.send(ctx, r, nil, eventStream)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxEvent))
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		return fmt.Errorf("watch: %w", failure(resp, data))
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != eventStream {
		return fmt.Errorf("watch: the hub answered %q, not a stream", kind)
	}
	return readEvents(resp.Body, fn)
}

// readEvents parses the form of the HTML standard, "Server-sent events": lines
// of fields, an empty line ends an event, a line that starts with a colon is a
// sign of life.
func readEvents(r io.Reader, fn func(Event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var e Event
	var data []string
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if data != nil {
				e.Data = strings.Join(data, "\n")
				if e.Name == "" {
					e.Name = "message"
				}
				if err := fn(e); err != nil {
					return err
				}
			}
			e, data = Event{ID: e.ID}, nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.Name = value
		case "id":
			e.ID = value
		case "data":
			data = append(data, value)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read a stream: %w", err)
	}
	return nil
}

// Watch signals that something about a cluster may have changed. It reconnects
// by itself, signals once after each connection, and merges signals that are
// not taken. The channel is closed when ctx ends.
func (c *Client) Watch(ctx context.Context, uid string) <-chan struct{} {
	out := make(chan struct{}, 1)
	signal := func() {
		select {
		case out <- struct{}{}:
		default: // one is waiting already
		}
	}
	go func() {
		defer close(out)
		for ctx.Err() == nil {
			// Whatever ended the stream: the reader looks by itself meanwhile,
			// and meets the same failure in a call that can report it.
			_ = c.Stream(ctx, watchPath(uid), nil, func(Event) error { signal(); return nil })
			if sleep(ctx, rewatch) != nil {
				return
			}
		}
	}()
	return out
}

// Ready asks the hub whether it can serve.
func (c *Client) Ready(ctx context.Context) error {
	var out []byte
	return c.do(ctx, call{method: http.MethodGet, path: "/readyz", out: &out, act: "ask the hub whether it is ready"})
}
