// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// frontend is a kube-apiserver's listener in memory: a real http.Server with TLS on the far ends of pipes.
type frontend struct {
	server *http.Server
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	done   chan struct{}
}

func newFrontend(h http.Handler, cert *tls.Certificate, now func() time.Time) *frontend {
	f := &frontend{
		conns: make(chan net.Conn), closed: make(chan struct{}), done: make(chan struct{}),
		server: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: time.Minute,
			ErrorLog:          log.New(io.Discard, "", 0),
		},
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{*cert},
		ClientAuth:   tls.RequestClientCert,
		MinVersion:   tls.VersionTLS12,
		Time:         now,
		NextProtos:   []string{"http/1.1"},
		// A pipe has no buffer: tickets that nobody reads yet would block the handshake.
		SessionTicketsDisabled: true,
	}
	go func() {
		defer close(f.done)
		// Serve always ends with an error, ErrServerClosed after close.
		_ = f.server.Serve(tls.NewListener(f, config))
	}()
	return f
}

// Accept is net.Listener.
func (f *frontend) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener.
func (f *frontend) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

// Addr is net.Listener.
func (f *frontend) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

// Network is net.Addr.
func (pipeAddr) Network() string { return "pipe" }

// String is net.Addr.
func (pipeAddr) String() string { return "pipe" }

func (f *frontend) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	refused := func(err error) error {
		return errors.Join(err, near.Close(), far.Close())
	}
	select {
	case f.conns <- far:
		return near, nil
	case <-f.closed:
		return nil, refused(&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED})
	case <-ctx.Done():
		return nil, refused(fmt.Errorf("dial: %w", ctx.Err()))
	}
}

// close ends all connections, as a machine that loses its power, and waits for the accept loop.
func (f *frontend) close() {
	// Closing connections in memory cannot go wrong in a way that matters.
	_ = f.server.Close()
	<-f.done
}
