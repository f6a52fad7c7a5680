// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"time"
)

// Authority is a certificate authority that was made for this simulator, with a certificate for loopback.
type Authority struct {
	ca     *x509.Certificate
	server tls.Certificate
}

// authorityLife covers the longest demonstration; a new one is made at each start.
const authorityLife = 365 * 24 * time.Hour

// NewAuthority makes a CA and a server certificate for 127.0.0.1, ::1, localhost and the names given.
func NewAuthority(names ...string) (*Authority, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make simulator CA: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make simulator certificate: %w", err)
	}
	from := time.Now().Add(-time.Hour)
	caTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Azure simulator CA"}, NotBefore: from, NotAfter: from.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	caRaw, err := x509.CreateCertificate(rand.Reader, caTemplate, caTemplate, caKey.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("make simulator CA: %w", err)
	}
	ca, err := x509.ParseCertificate(caRaw)
	if err != nil {
		return nil, fmt.Errorf("make simulator CA: %w", err)
	}
	const second = 2
	template := &x509.Certificate{
		SerialNumber: big.NewInt(second), Subject: pkix.Name{CommonName: "Azure simulator"}, NotBefore: from, NotAfter: from.Add(authorityLife),
		DNSNames: append([]string{"localhost"}, names...), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("make simulator certificate: %w", err)
	}
	return &Authority{ca: ca, server: tls.Certificate{Certificate: [][]byte{raw, caRaw}, PrivateKey: key}}, nil
}

// CAPEM is the CA's certificate, for clients.
func (a *Authority) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.ca.Raw})
}

// Pool trusts the CA and nothing else.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.ca)
	return p
}

// ServerTLS is a server's configuration.
func (a *Authority) ServerTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{a.server}}
}

// Time limits of the HTTP server. Writing has none: a fault may hold an answer back.
const (
	headerTimeout   = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
)

// Serve answers on l with TLS and runs the pump until ctx ends; then it lets requests finish for a few seconds. It
// closes l. The simulator is not closed.
func Serve(ctx context.Context, l net.Listener, a *Authority, s *Simulator) error {
	srv := &http.Server{
		Handler: s.Handler(), TLSConfig: a.ServerTLS(), ReadHeaderTimeout: headerTimeout, ReadTimeout: time.Minute, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	pumpCtx, stop := context.WithCancel(ctx)
	defer stop()
	pumped := make(chan error, 1)
	go func() { pumped <- s.Run(pumpCtx) }()
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(l, "", "") }()
	var err error
	select {
	case <-ctx.Done():
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err = srv.Shutdown(limit); err != nil {
			err = errors.Join(err, srv.Close())
		}
		<-served //nolint:errcheck // http.ErrServerClosed, as after every Shutdown
	case err = <-served:
	}
	stop()
	if pump := <-pumped; pump != nil {
		err = errors.Join(err, pump)
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve simulator on %s: %w", l.Addr(), err)
	}
	return nil
}
