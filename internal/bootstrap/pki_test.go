// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli/internal/bootstrap"
)

func certificate(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		t.Fatalf("not exactly one PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestNewPKI(t *testing.T) {
	t.Parallel()
	p, err := bootstrap.NewPKI(seeded(1), epoch(), "golden")
	if err != nil {
		t.Fatal(err)
	}
	if p != fixturePKI(t) {
		t.Error("the fixture is not what NewPKI makes (run with -update)")
	}
	keys := map[string]string{}
	for name, pair := range map[string]bootstrap.KeyPair{"kubernetes": p.CA, "etcd-ca": p.EtcdCA, "front-proxy-ca": p.FrontProxyCA} {
		cert := certificate(t, pair.Cert)
		if cert.Subject.CommonName != name || !cert.IsCA || !cert.BasicConstraintsValid || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
			t.Errorf("%s: not an authority of that name: %+v", name, cert.Subject)
		}
		if len(cert.Subject.Organization) != 0 {
			t.Errorf("%s: an authority that is a member of %q", name, cert.Subject.Organization)
		}
		if want := epoch().Add(-24 * time.Hour); !cert.NotBefore.Equal(want) {
			t.Errorf("%s: valid from %s, want %s", name, cert.NotBefore, want)
		}
		if years := cert.NotAfter.Sub(epoch()).Hours() / 24 / 365; years < 9.99 || years > 10 {
			t.Errorf("%s: valid for %f years", name, years)
		}
		if err := cert.CheckSignatureFrom(cert); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := tls.X509KeyPair([]byte(pair.Cert), []byte(pair.Key)); err != nil {
			t.Errorf("%s: key and certificate: %v", name, err)
		}
		if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
			t.Errorf("%s: key is %T", name, cert.PublicKey)
		}
		if other, twice := keys[pair.Key]; twice {
			t.Errorf("%s has the key of %s", name, other)
		}
		keys[pair.Key] = name
	}
	private, _ := pem.Decode([]byte(p.ServiceAccountKey))
	key, err := x509.ParseECPrivateKey(private.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	public, _ := pem.Decode([]byte(p.ServiceAccountPub))
	pub, err := x509.ParsePKIXPublicKey(public.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !key.PublicKey.Equal(pub) {
		t.Error("sa.pub is not the public key of sa.key")
	}
}

func TestPKIFollowsFromItsArguments(t *testing.T) {
	t.Parallel()
	made := func(seed uint64) bootstrap.PKI {
		p, err := bootstrap.NewPKI(seeded(seed), epoch(), "c")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if first, again := made(7), made(7); first != again {
		t.Error("the same seed gives two PKIs")
	}
	if made(7).CA.Key == made(8).CA.Key {
		t.Error("two seeds give the same key")
	}
	broken := errors.New("no entropy")
	if _, err := bootstrap.NewPKI(iotest.ErrReader(broken), epoch(), "c"); !errors.Is(err, broken) {
		t.Errorf("NewPKI without randomness: %v", err)
	}
	if _, err := bootstrap.NewToken(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("NewToken without randomness: %v", err)
	}
}

func TestCACertHash(t *testing.T) {
	t.Parallel()
	hash, err := fixturePKI(t).CACertHash()
	if err != nil {
		t.Fatal(err)
	}
	// openssl x509 -pubkey -noout -in ca.crt | openssl pkey -pubin -outform der | sha256sum
	if want := "sha256:a55eff984ba3b559940a69b63642e53439c829b3bfdad630536f98a204b054be"; hash != want {
		t.Errorf("CACertHash() = %s", hash)
	}
	if _, err := (bootstrap.PKI{}).CACertHash(); err == nil {
		t.Error("no error for an empty PKI")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	p, token := fixturePKI(t), bootstrap.Token("abcdef.0123456789abcdef")
	var logged bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(h).Info("x", "pki", p, "pair", p.CA, "token", token)
	}
	type holder struct {
		PKI    bootstrap.PKI
		Tokens []bootstrap.Token
		Pair   *bootstrap.KeyPair
	}
	out := logged.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, v := range []any{p, &p, p.CA, token, holder{p, []bootstrap.Token{token}, &p.CA}} {
			out += fmt.Sprintf(verb, v) + "\n"
		}
	}
	for _, secret := range []string{"PRIVATE", "0123456789abcdef", "30313233343536373839616263646566", p.CA.Key, p.ServiceAccountKey} {
		if strings.Contains(strings.ToLower(out), strings.ToLower(secret)) {
			t.Errorf("output contains %.20q", secret)
		}
	}
	if !strings.Contains(out, "abcdef.[redacted]") {
		t.Error("a token's id is public, but does not print")
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back bootstrap.PKI
	if err := json.Unmarshal(raw, &back); err != nil || back != p {
		t.Errorf("JSON does not carry the PKI: %v", err)
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)
	random := seeded(3)
	counts := map[byte]int{}
	const draws = 2000
	for range draws {
		token, err := bootstrap.NewToken(random)
		if err != nil {
			t.Fatal(err)
		}
		if !form.MatchString(string(token)) || token.ID()+"."+token.Secret() != string(token) {
			t.Fatalf("not a token: %s", string(token))
		}
		for _, c := range []byte(token.Secret()) {
			counts[c]++
		}
	}
	for c, n := range counts {
		// 889 expected; six standard deviations are about 180.
		if want := draws * 16 / 36; n < want-180 || n > want+180 {
			t.Errorf("%q was drawn %d times, want about %d", c, n, want)
		}
	}
	for _, bad := range []bootstrap.Token{"", "abcdef", "abcdef.0123456789ABCDEF", "abcdef.0123456789abcdef\n", "abcdef.0123456789abcde'"} {
		if bad.Validate() == nil || bad.ID() != "" || bad.Secret() != "" {
			t.Errorf("%q passes as a token", string(bad))
		}
	}
}

func TestAdminKubeconfig(t *testing.T) {
	t.Parallel()
	p := fixturePKI(t)
	raw, err := bootstrap.AdminKubeconfig(p, seeded(5), epoch(), "https://127.64.0.1:6443", "api.example.com", "golden", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		APIVersion     string `json:"apiVersion"`
		Kind           string `json:"kind"`
		CurrentContext string `json:"current-context"`
		Preferences    any    `json:"preferences"`
		Clusters       []struct {
			Name    string
			Cluster struct {
				Server string
				CA     []byte `json:"certificate-authority-data"`
				Name   string `json:"tls-server-name"`
			}
		}
		Contexts []struct {
			Name    string
			Context struct{ Cluster, User string }
		}
		Users []struct {
			Name string
			User struct {
				Cert []byte `json:"client-certificate-data"`
				Key  []byte `json:"client-key-data"`
			}
		}
	}
	if err := yaml.UnmarshalStrict(raw, &k); err != nil {
		t.Fatal(err)
	}
	c := k.Clusters[0].Cluster
	if c.Server != "https://127.64.0.1:6443" || c.Name != "api.example.com" || string(c.CA) != p.CA.Cert {
		t.Errorf("cluster is %+v", c)
	}
	if k.CurrentContext != k.Contexts[0].Name || k.Contexts[0].Context.User != k.Users[0].Name || k.Contexts[0].Context.Cluster != k.Clusters[0].Name {
		t.Error("context, cluster and user do not refer to each other")
	}
	cert := certificate(t, string(k.Users[0].User.Cert))
	roots := x509.NewCertPool()
	roots.AddCert(certificate(t, p.CA.Cert))
	verify := func(at time.Time) error {
		_, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return err // the test looks at nil alone
	}
	for _, tt := range []struct {
		reason string
		at     time.Time
		good   bool
	}{
		{"now", epoch(), true},
		{"a clock that is a time zone behind", epoch().Add(-14 * time.Hour), true},
		{"long before", epoch().Add(-25 * time.Hour), false},
		{"just before the end", epoch().Add(59 * time.Minute), true},
		{"after the end", epoch().Add(61 * time.Minute), false},
	} {
		if err := verify(tt.at); (err == nil) != tt.good {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
	if diff := cmp.Diff([]string{"kubeadm:cluster-admins"}, cert.Subject.Organization); diff != "" {
		t.Error(diff)
	}
	if _, err := tls.X509KeyPair(k.Users[0].User.Cert, k.Users[0].User.Key); err != nil {
		t.Error(err)
	}
	for reason, bad := range map[string]func() ([]byte, error){
		"plain http": func() ([]byte, error) {
			return bootstrap.AdminKubeconfig(p, seeded(5), epoch(), "http://a:1", "", "c", time.Hour)
		},
		"no life": func() ([]byte, error) {
			return bootstrap.AdminKubeconfig(p, seeded(5), epoch(), "https://a:1", "", "c", 0)
		},
		"ten years": func() ([]byte, error) {
			return bootstrap.AdminKubeconfig(p, seeded(5), epoch(), "https://a:1", "", "c", 9e4*time.Hour)
		},
		"no CA": func() ([]byte, error) {
			return bootstrap.AdminKubeconfig(bootstrap.PKI{}, seeded(5), epoch(), "https://a:1", "", "c", time.Hour)
		},
		"no entropy": func() ([]byte, error) {
			return bootstrap.AdminKubeconfig(p, strings.NewReader(""), epoch(), "https://a:1", "", "c", time.Hour)
		},
		"CA key gone": func() ([]byte, error) {
			return bootstrap.AdminKubeconfig(bootstrap.PKI{CA: bootstrap.KeyPair{Cert: p.CA.Cert}}, seeded(5), epoch(), "https://a:1", "", "c", time.Hour)
		},
	} {
		if _, err := bad(); err == nil || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: error is %v", reason, err)
		}
	}
}
