// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/lazuli-dev/lazuli"
)

const (
	caKeyName = "ca.key"
	// Life of the self-made authority and of the certificates it issues, which
	// are made anew in memory when a third of their life is left. Certificates
	// start a little in the past for clients whose clock is behind.
	caLife    = 10 * 365 * 24 * time.Hour
	leafLife  = 90 * 24 * time.Hour
	leafRenew = leafLife / 3
	clockSkew = time.Hour
	// serialBits is the size of a serial number: RFC 5280 allows 20 octets.
	serialBits = 127

	privateFile = 0o600
	privateDir  = 0o700
)

// tlsConfig returns the TLS configuration of the API: the operator's
// certificate, or one of the hub's own authority, which is made in the data
// directory on the first start and kept, so that clients trust it for long.
func tlsConfig(cfg Config) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if cfg.TLS.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(cfg.TLS.CertFile, cfg.TLS.KeyFile)
		if err != nil {
			return nil, &lazuli.Error{
				Code: lazuli.CodeInvalidField, Message: "load tls.certFile and tls.keyFile",
				Remedy: "give the PEM files of one certificate and its private key", Err: err,
			}
		}
		out.Certificates = []tls.Certificate{cert}
		return out, nil
	}
	return out, SelfSigned(out, cfg.DataDir, cfg.Listen)
}

// SelfSigned makes a TLS configuration present certificates of an authority of
// our own, which lives in dir (made on the first call: ca.crt, ca.key) and
// names the address that is listened on.
func SelfSigned(out *tls.Config, dir, listen string) error {
	a, err := openAuthority(dir, listen)
	if err != nil {
		return err
	}
	if _, err := a.certificate(nil); err != nil {
		return err
	}
	out.GetCertificate = a.certificate
	return nil
}

// authority issues the API's certificate.
type authority struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	names []string
	ips   []net.IP

	mu   sync.Mutex
	leaf *tls.Certificate
}

func openAuthority(dir, listen string) (*authority, error) {
	certFile, keyFile := filepath.Join(dir, CAName), filepath.Join(dir, caKeyName)
	keyPEM, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if keyPEM, err = makeAuthority(certFile, keyFile); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read authority's key: %w", err)
	}
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("read authority's certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load authority from %s: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("load authority from %s: the key is not ECDSA", dir)
	}
	a := &authority{cert: pair.Leaf, key: key}
	a.names, a.ips = subjects(listen)
	return a, nil
}

// makeAuthority writes the key last: a start that was cut short leaves no key
// and the next one begins again.
func makeAuthority(certFile, keyFile string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make authority's key: %w", err)
	}
	tmpl, err := template("Lazuli hub authority", caLife)
	if err != nil {
		return nil, err
	}
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.MaxPathLenZero = true, true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make authority's certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode authority's key: %w", err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := WriteFile(certFile, certPEM); err != nil {
		return nil, err
	}
	return keyPEM, WriteFile(keyFile, keyPEM)
}

func template(name string, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(life),
	}, nil
}

// certificate implements tls.Config.GetCertificate.
func (a *authority) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaf != nil && time.Until(a.leaf.Leaf.NotAfter) > leafRenew {
		return a.leaf, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make certificate's key: %w", err)
	}
	tmpl, err := template("lazuli", leafLife)
	if err != nil {
		return nil, err
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	tmpl.DNSNames, tmpl.IPAddresses = a.names, a.ips
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	a.leaf = &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
	return a.leaf, nil
}

// subjects are the names and addresses that clients may reach the hub by: the
// loopback, this host's name, and where it listens; on all addresses when it
// listens on all.
func subjects(listen string) ([]string, []net.IP) {
	names := []string{"localhost"}
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if host, err := os.Hostname(); err == nil && host != "" && host != "localhost" {
		names = append(names, host)
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return names, ips
	}
	ip := net.ParseIP(host)
	switch {
	case host == "" || (ip != nil && ip.IsUnspecified()):
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return names, ips
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
				ips = append(ips, n.IP)
			}
		}
	case ip != nil && !slices.ContainsFunc(ips, ip.Equal):
		ips = append(ips, ip)
	case ip == nil && !slices.Contains(names, host):
		names = append(names, host)
	}
	return names, ips
}

// WriteFile writes a file for this user alone (0600), so that readers see the
// old content or the new one, never a part, also after a power loss.
func WriteFile(name string, data []byte) error {
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, data) {
		if err := os.Chmod(name, privateFile); err != nil {
			return fmt.Errorf("set mode of %s: %w", name, err)
		}
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // made 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
