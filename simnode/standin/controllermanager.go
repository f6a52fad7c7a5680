// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/http"
	"time"
)

// ControllerManager stands in for Azure's cloud-controller-manager: it answers the probe of its pod and does nothing. No
// Service of type LoadBalancer gets an address, and the Node of a machine that is gone stays until somebody deletes it.
func ControllerManager(arguments []string) error {
	flags, _ := newFlags("cloud-controller-manager")
	port := flags.Int("secure-port", 10258, "where /healthz is answered over TLS")
	if err := flags.Parse(arguments); err != nil {
		return err //nolint:wrapcheck // names the flag
	}
	log := logger("cloud-controller-manager", "answers /healthz and nothing else: no load balancers, no deletion of nodes")
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	server := &http.Server{
		Addr: fmt.Sprintf(":%d", *port), Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}},
	}
	log.Info("listening", "address", server.Addr)
	return server.ListenAndServeTLS("", "") //nolint:wrapcheck // names the address
}

// selfSigned is a certificate for a probe that does not look at it.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
