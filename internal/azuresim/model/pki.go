// SPDX-License-Identifier: Apache-2.0

package model

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// pkiDir is where kubeadm keeps certificates.
const pkiDir = "/etc/kubernetes/pki/"

// authority is the cluster CA of a control plane.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// loadPKI checks the files that a control plane needs: three CAs and the service account key pair.
func loadPKI(files map[string]guestFile, now time.Time) (*authority, error) {
	var cluster *authority
	for _, name := range []string{"ca", "front-proxy-ca", "etcd/ca"} {
		a, err := loadAuthority(files, name, now)
		if err != nil {
			return nil, err
		}
		if name == "ca" {
			cluster = a
		}
	}
	return cluster, checkServiceAccountKeys(files)
}

func readPEM(files map[string]guestFile, name string) ([]byte, error) {
	f, ok := files[pkiDir+name]
	if !ok {
		return nil, fmt.Errorf("couldn't load %s%s: no such file or directory", pkiDir, name)
	}
	block, _ := pem.Decode([]byte(f.content))
	if block == nil {
		return nil, fmt.Errorf("%s%s is not PEM", pkiDir, name)
	}
	return block.Bytes, nil
}

func loadAuthority(files map[string]guestFile, name string, now time.Time) (*authority, error) {
	der, err := readPEM(files, name+".crt")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read %s%s.crt: %w", pkiDir, name, err)
	}
	key, err := loadKey(files, name+".key")
	if err != nil {
		return nil, err
	}
	switch public, ok := cert.PublicKey.(interface {
		Equal(other crypto.PublicKey) bool
	}); {
	case !cert.IsCA:
		return nil, fmt.Errorf("certificate %s%s.crt is not a CA", pkiDir, name)
	case now.Before(cert.NotBefore):
		return nil, fmt.Errorf("certificate %s%s.crt is not valid before %s", pkiDir, name, cert.NotBefore)
	case now.After(cert.NotAfter):
		return nil, fmt.Errorf("certificate %s%s.crt has expired at %s", pkiDir, name, cert.NotAfter)
	case !ok || !public.Equal(key.Public()):
		return nil, fmt.Errorf("%s%s.key does not belong to %s.crt", pkiDir, name, name)
	}
	return &authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})}, nil
}

func loadKey(files map[string]guestFile, name string) (crypto.Signer, error) {
	der, err := readPEM(files, name)
	if err != nil {
		return nil, err
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	return nil, fmt.Errorf("read %s%s: not a private key", pkiDir, name)
}

func checkServiceAccountKeys(files map[string]guestFile) error {
	key, err := loadKey(files, "sa.key")
	if err != nil {
		return err
	}
	der, err := readPEM(files, "sa.pub")
	if err != nil {
		return err
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return fmt.Errorf("read %ssa.pub: %w", pkiDir, err)
	}
	if known, ok := key.Public().(interface {
		Equal(other crypto.PublicKey) bool
	}); !ok || !known.Equal(public) {
		return errors.New(pkiDir + "sa.pub does not belong to sa.key")
	}
	return nil
}

// fingerprint is the identity of a cluster.
func (a *authority) fingerprint() string {
	sum := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// pin is the CA's hash as in caCertHashes: SHA-256 of the subject public key info.
func (a *authority) pin() string {
	sum := sha256.Sum256(a.cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// servingLife is how long kubeadm's certificates last.
const servingLife = 365 * 24 * time.Hour

// serving issues the certificate of a kube-apiserver. Entries that are addresses become IP names.
func (a *authority) serving(names []string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	const serialBits = 120
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "kube-apiserver"},
		NotBefore:    a.cert.NotBefore,
		NotAfter:     now.Add(servingLife),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	seen := map[string]bool{}
	for _, name := range names {
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		if ip := net.ParseIP(name); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
			continue
		}
		tmpl.DNSNames = append(tmpl.DNSNames, name)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// signature is the detached JWS (HS256, key id = token id) by which a token's holder recognises cluster-info.
func signature(payload, tokenID, tokenSecret string) string {
	enc := base64.RawURLEncoding
	header := enc.EncodeToString([]byte(`{"alg":"HS256","kid":"` + tokenID + `"}`))
	mac := hmac.New(sha256.New, []byte(tokenSecret))
	// A hash never refuses bytes.
	_, _ = mac.Write([]byte(header + "." + enc.EncodeToString([]byte(payload))))
	return header + ".." + enc.EncodeToString(mac.Sum(nil))
}
