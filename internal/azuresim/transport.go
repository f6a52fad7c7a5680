// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// ErrConnection is what a client of a Transport sees when the simulator cuts the connection.
var ErrConnection = errors.New("connection reset by peer")

// Transport calls a simulator in the goroutine of the caller, without a socket. It is an http.RoundTripper and a
// policy.Transporter of azcore. It is safe for use by several goroutines.
type Transport struct{ handler http.Handler }

// Transport answers every request, whatever its host, from this simulator.
func (s *Simulator) Transport() *Transport { return &Transport{handler: s.Handler()} }

// Do is policy.Transporter.
func (t *Transport) Do(r *http.Request) (*http.Response, error) { return t.RoundTrip(r) }

// RoundTrip is http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RemoteAddr, in.RequestURI = "", r.URL.RequestURI()
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer func() { _ = in.Body.Close() }()
	rec := &recorder{header: http.Header{}}
	if err := t.serve(rec, in); err != nil {
		if ctxErr := r.Context().Err(); ctxErr != nil {
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, ctxErr)
		}
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
	}
	if rec.code == 0 {
		rec.code = http.StatusOK
	}
	return &http.Response{
		Status: strconv.Itoa(rec.code) + " " + http.StatusText(rec.code), StatusCode: rec.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: rec.header, Body: io.NopCloser(bytes.NewReader(rec.body.Bytes())), ContentLength: int64(rec.body.Len()), Request: r,
	}, nil
}

// serve turns the aborted connection of a fault into an error. Every other panic goes on.
func (t *Transport) serve(w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			err = ErrConnection
		default:
			panic(p)
		}
	}()
	t.handler.ServeHTTP(w, r)
	return nil
}

type recorder struct {
	header http.Header
	body   bytes.Buffer
	code   int
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b) // a buffer takes everything
}
