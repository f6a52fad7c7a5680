// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Find returns the operation of the document that serves a path, escaped as it
// was sent. A literal segment goes before a parameter.
func (c *Contract) Find(method, path string) (Operation, bool) {
	var best Operation
	score := -1
	for _, op := range c.all {
		if op.Method != method {
			continue
		}
		if n := match(op.Path, path); n > score {
			best, score = op, n
		}
	}
	return best, score >= 0
}

// match counts the literal segments that a pattern shares with a path, -1 when
// it does not fit.
func match(pattern, path string) int {
	n := 0
	for {
		p, patternRest, more := strings.Cut(pattern, "/")
		s, pathRest, rest := strings.Cut(path, "/")
		switch {
		case more != rest:
			return -1
		case strings.HasPrefix(p, "{"):
			if s == "" {
				return -1
			}
		case p == s:
			n++
		default:
			return -1
		}
		if !more {
			return n
		}
		pattern, path = patternRest, pathRest
	}
}

// Handler serves as next does and reports every answer that the document does
// not allow. An answer at a path that the document does not know must be an
// error, in the form of all errors. It is for the servers of tests: it keeps
// whole bodies in memory.
func (c *Contract) Handler(next http.Handler, report func(error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		if err := c.observe(r, rec.status, w.Header(), rec.body.Bytes()); err != nil {
			report(err)
		}
	})
}

func (c *Contract) observe(r *http.Request, status int, h http.Header, body []byte) error {
	if r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return nil
	}
	path := r.URL.EscapedPath()
	op, ok := c.Find(r.Method, path)
	switch {
	case ok:
		if err := c.CheckAnswer(op.ID, status, h, body); err != nil {
			return fmt.Errorf("%s %s: %w", r.Method, path, err)
		}
	case status < http.StatusBadRequest:
		return fmt.Errorf("%s %s answers %d: %w", r.Method, path, status, ErrUnknown)
	default:
		if err := c.checkError(h, body); err != nil {
			return fmt.Errorf("answer %d of %s %s: %w", status, r.Method, path, err)
		}
	}
	return nil
}

// recorder copies what is written, streams apart.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if !isStream(r.Header()) {
		r.body.Write(b)
	}
	return r.ResponseWriter.Write(b) //nolint:wrapcheck // a writer's error goes to its caller as it is
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func isStream(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
}

// Transport sends as next does and reports every answer that the document does
// not allow: Handler for servers that run elsewhere.
func (c *Contract) Transport(next http.RoundTripper, report func(error)) http.RoundTripper {
	return transport{c: c, next: next, report: report}
}

type transport struct {
	c      *Contract
	next   http.RoundTripper
	report func(error)
}

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // a transport passes on what it got
	}
	var body []byte
	if !isStream(res.Header) {
		body, err = io.ReadAll(res.Body)
		if closeErr := res.Body.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, fmt.Errorf("read an answer: %w", err)
		}
		res.Body = io.NopCloser(bytes.NewReader(body))
	}
	if err := t.c.observe(r, res.StatusCode, res.Header, body); err != nil {
		t.report(err)
	}
	return res, nil
}
