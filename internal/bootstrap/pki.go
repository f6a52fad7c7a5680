// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"time"
)

const (
	caLife = 10 * 365 * 24 * time.Hour
	// clockSkew is how far a certificate's validity starts in the past: our clock
	// may be ahead of the machines' when a cluster's keys are made, by a time
	// zone that somebody took for UTC at worst.
	clockSkew = 24 * time.Hour
	// serialBytes gives 127 bits, within the 20 octets of RFC 5280, 4.1.2.2.
	serialBytes = 16
	scalarBytes = 32 // of a P-256 private key

	pemCertificate = "CERTIFICATE"
	pemPrivateKey  = "EC PRIVATE KEY" // the form that kubeadm writes itself
	pemPublicKey   = "PUBLIC KEY"
)

// KeyPair is a certificate and its private key, both PEM. It prints as
// "[redacted]".
type KeyPair struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// Format implements fmt.Formatter.
func (KeyPair) Format(s fmt.State, _ rune) { writeRedacted(s, redacted) }

// LogValue implements slog.LogValuer.
func (KeyPair) LogValue() slog.Value { return slog.StringValue(redacted) }

// PKI is what all control planes of a cluster share. kubeadm makes every leaf
// certificate from it on the machine (kubeadm, SharedCertificateExists: CAs
// and service-account keys are enough to join a control plane).
//
// It prints as "[redacted]" in fmt and slog. Its JSON is in clear: seal it
// before it is stored.
type PKI struct {
	CA                KeyPair `json:"ca"`
	EtcdCA            KeyPair `json:"etcdCa"`
	FrontProxyCA      KeyPair `json:"frontProxyCa"`
	ServiceAccountKey string  `json:"serviceAccountKey"`
	ServiceAccountPub string  `json:"serviceAccountPub"`
}

// NewPKI makes three self-signed ECDSA P-256 authorities that are valid from
// five minutes before now for ten years, and a P-256 service-account key. The
// result depends on its arguments alone. cluster becomes the organizational unit
// of the authorities, so that those of two clusters can be told apart; it
// gives no rights, which come from the organization only.
func NewPKI(random io.Reader, now time.Time, cluster string) (PKI, error) {
	var p PKI
	for _, a := range []struct {
		name string
		pair *KeyPair
	}{{"kubernetes", &p.CA}, {"etcd-ca", &p.EtcdCA}, {"front-proxy-ca", &p.FrontProxyCA}} {
		pair, err := newCA(random, now, a.name, cluster)
		if err != nil {
			return PKI{}, fmt.Errorf("make authority %s: %w", a.name, err)
		}
		*a.pair = pair
	}
	key, err := newKey(random)
	if err != nil {
		return PKI{}, fmt.Errorf("make service-account key: %w", err)
	}
	if p.ServiceAccountKey, err = encodeKey(key); err != nil {
		return PKI{}, err
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return PKI{}, fmt.Errorf("encode service-account public key: %w", err)
	}
	p.ServiceAccountPub = encodePEM(pemPublicKey, pub)
	return p, nil
}

// CACertHash returns "sha256:" and the hexadecimal hash of the public key
// (SPKI) of the cluster's CA: what a joining machine pins.
func (p PKI) CACertHash() (string, error) {
	cert, err := parseCert(p.CA.Cert)
	if err != nil {
		return "", fmt.Errorf("read cluster CA: %w", err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// Format implements fmt.Formatter.
func (PKI) Format(s fmt.State, _ rune) { writeRedacted(s, redacted) }

// LogValue implements slog.LogValuer.
func (PKI) LogValue() slog.Value { return slog.StringValue(redacted) }

// String implements fmt.Stringer.
func (PKI) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (PKI) GoString() string { return redacted }

// validate reports the first part that is missing or is not PEM.
func (p PKI) validate() error {
	for _, f := range p.files() {
		if block, _ := pem.Decode([]byte(f.content)); block == nil {
			return fmt.Errorf("pki: %s: not PEM", f.name)
		}
	}
	return nil
}

type pkiFile struct {
	name    string // below /etc/kubernetes/pki
	content string
	public  bool
}

// files lists the PKI under kubeadm's file names.
func (p PKI) files() []pkiFile {
	return []pkiFile{
		{"ca.crt", p.CA.Cert, true},
		{"ca.key", p.CA.Key, false},
		{"etcd/ca.crt", p.EtcdCA.Cert, true},
		{"etcd/ca.key", p.EtcdCA.Key, false},
		{"front-proxy-ca.crt", p.FrontProxyCA.Cert, true},
		{"front-proxy-ca.key", p.FrontProxyCA.Key, false},
		{"sa.key", p.ServiceAccountKey, false},
		{"sa.pub", p.ServiceAccountPub, true},
	}
}

func newCA(random io.Reader, now time.Time, name, cluster string) (KeyPair, error) {
	key, err := newKey(random)
	if err != nil {
		return KeyPair{}, err
	}
	serial, err := newSerial(random)
	if err != nil {
		return KeyPair{}, err
	}
	subject := pkix.Name{CommonName: name}
	if cluster != "" {
		subject.OrganizationalUnit = []string{cluster}
	}
	start := now.Add(-clockSkew).UTC()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               subject,
		DNSNames:              []string{name},
		NotBefore:             start,
		NotAfter:              start.Add(caLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	return sign(template, template, key, key)
}

// sign makes a certificate for key. Without a source of randomness ECDSA
// signatures are the deterministic ones of RFC 6979.
func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (KeyPair, error) {
	der, err := x509.CreateCertificate(nil, template, parent, key.Public(), signer)
	if err != nil {
		return KeyPair{}, fmt.Errorf("sign certificate: %w", err)
	}
	text, err := encodeKey(key)
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{Cert: encodePEM(pemCertificate, der), Key: text}, nil
}

// newKey draws a P-256 key. ecdsa.GenerateKey ignores its source of randomness
// since Go 1.26, and a recorded seed must give the same cluster again.
func newKey(random io.Reader) (*ecdsa.PrivateKey, error) {
	buf := make([]byte, scalarBytes)
	for {
		if _, err := io.ReadFull(random, buf); err != nil {
			return nil, fmt.Errorf("draw key: %w", err)
		}
		// Refused only outside [1, order), once in 2^32 draws.
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), buf); err == nil {
			return key, nil
		}
	}
}

func newSerial(random io.Reader) (*big.Int, error) {
	buf := make([]byte, serialBytes)
	if _, err := io.ReadFull(random, buf); err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	buf[0] &= 0x7f // positive in DER without a further octet
	buf[len(buf)-1] |= 1
	return new(big.Int).SetBytes(buf), nil
}

func encodeKey(key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("encode key: %w", err)
	}
	return encodePEM(pemPrivateKey, der), nil
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func parseCert(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != pemCertificate {
		return nil, errors.New("no PEM certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return cert, nil
}

func parseKey(text string) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != pemPrivateKey {
		return nil, errors.New("no PEM EC private key")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		// The cause may quote what it read.
		return nil, errors.New("parse EC private key: malformed")
	}
	return key, nil
}
