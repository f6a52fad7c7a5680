// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/client"
	"github.com/lazuli-dev/lazuli/internal/contract"
	"github.com/lazuli-dev/lazuli/internal/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(t *testing.T) server.Config {
	t.Helper()
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.DataDir = "127.0.0.1:0", filepath.Join(t.TempDir(), "data")
	return cfg
}

// start runs a hub, with every answer held against the contract; stop ends it
// and returns what Run returned.
func start(t *testing.T, cfg server.Config) (hub *server.Server, stop func() error) {
	t.Helper()
	hub, err := server.New(t.Context(), cfg, "test", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	hub.Wrap(func(h http.Handler) http.Handler {
		return c.Handler(h, func(err error) { t.Errorf("not as the contract has it: %v", err) })
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- hub.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return hub, stop
}

func connect(t *testing.T, hub *server.Server, cfg server.Config) *client.Client {
	t.Helper()
	key, err := os.ReadFile(cfg.AdminKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{
		URL: hub.URL(), APIKey: lazuli.NewSecret(strings.TrimSpace(string(key))), CAFile: cfg.CAFile(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestFirstStart(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	began := time.Now()
	hub, stop := start(t, cfg)
	c := connect(t, hub, cfg)
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("serving after %s", time.Since(began))
	projects, err := c.Projects(t.Context())
	if err != nil || len(projects) != 1 || projects[0].Metadata.Name != "Default" {
		t.Errorf("projects %v, %v", projects, err)
	}
	c.Close()
	if err := stop(); err != nil {
		t.Errorf("an orderly stop: %v", err)
	}
	// Whatever is in the data directory is for this user alone.
	err = filepath.WalkDir(cfg.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSecondStartKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	_, stop := start(t, cfg)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	keep := map[string]string{}
	for _, name := range []string{"admin.key", "ca.crt", "ca.key", "seal.key"} {
		b, err := os.ReadFile(filepath.Join(cfg.DataDir, name))
		if err != nil {
			t.Fatal(err)
		}
		keep[name] = string(b)
	}
	hub, _ := start(t, cfg)
	if err := connect(t, hub, cfg).Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range keep {
		got, err := os.ReadFile(filepath.Join(cfg.DataDir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s changed: %v", name, err)
		}
	}
}

func TestKeyOfTheOperator(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Admin.APIKey = "an-operators-own-key-0123456789"
	hub, _ := start(t, cfg)
	c, err := client.New(client.Config{URL: hub.URL(), APIKey: lazuli.NewSecret(cfg.Admin.APIKey), CAFile: cfg.CAFile()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if _, err := c.Projects(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(cfg.AdminKeyFile()); err == nil {
		t.Error("a second key was made although one was given")
	}
}

func TestWithoutKeyNothing(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	hub, _ := start(t, cfg)
	c, err := client.New(client.Config{URL: hub.URL(), APIKey: lazuli.NewSecret("wrong"), CAFile: cfg.CAFile()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if _, err := c.Projects(t.Context()); lazuli.CodeOf(err) != lazuli.CodeUnauthenticated {
		t.Errorf("got %v", err)
	}
}

// TestStopEndsWatches: a stream that is open must not hold a stop up.
func TestStopEndsWatches(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.ShutdownTimeout = time.Minute
	hub, stop := start(t, cfg)
	c := connect(t, hub, cfg)
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the stop took %s", took)
	}
}

func TestNewFailsWhole(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	hub, _ := start(t, cfg)
	other := config(t)
	other.Listen = strings.TrimPrefix(hub.URL(), "https://")
	if _, err := server.New(t.Context(), other, "test", io.Discard); err == nil {
		t.Fatal("two hubs listen on one address")
	}
	// The directory of the failed one is free again.
	other.Listen = "127.0.0.1:0"
	again, err := server.New(t.Context(), other, "test", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if _, err := server.New(t.Context(), cfg, "test", io.Discard); lazuli.CodeOf(err) != lazuli.CodeUnavailable {
		t.Errorf("a second hub on one data directory: %v", err)
	}
}

func TestSelfSigned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var cfg tls.Config
	if err := server.SelfSigned(&cfg, dir, "hub.example:9443"); err != nil {
		t.Fatal(err)
	}
	cert, err := cfg.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, server.CAName))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "hub.example"} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again, err := cfg.GetCertificate(nil); err != nil || again != cert {
		t.Errorf("a good certificate was replaced: %v", err)
	}
}

func TestOperatorsCertificate(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.TLS = server.TLSConfig{CertFile: file(t, "no certificate"), KeyFile: file(t, "no key")}
	_, err := server.New(t.Context(), cfg, "test", io.Discard)
	if lazuli.CodeOf(err) != lazuli.CodeInvalidField || strings.Contains(err.Error(), "no key") {
		t.Errorf("got %v", err)
	}
}

func TestPlainHTTPIsNotServed(t *testing.T) {
	t.Parallel()
	hub, _ := start(t, config(t))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http"+strings.TrimPrefix(hub.URL(), "https")+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP is answered with %s", resp.Status)
	}
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"one", "one", "two"} {
		if err := server.WriteFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// The first start gives a password that opens a session, is written nowhere and
// is not given again.
func TestFirstPassword(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	hub, stop := start(t, cfg)
	password := hub.FirstPassword().Reveal()
	if len(password) < 20 {
		t.Fatalf("a first password of %d characters", len(password))
	}
	pem, err := os.ReadFile(cfg.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer web.CloseIdleConnections()
	body := strings.NewReader(`{"emailId":"admin","password":"` + password + `"}`)
	res, err := web.Post(hub.URL()+"/v1/auth/authenticate", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(b, []byte(`"Authorization"`)) {
		t.Errorf("signing in: %d %s %v", res.StatusCode, b, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(cfg.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(password)) {
			t.Errorf("%s holds the password", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	again, _ := start(t, cfg)
	if !again.FirstPassword().Empty() {
		t.Error("a second start gives a password again")
	}
}
