// SPDX-License-Identifier: Apache-2.0

//go:build unix

package server_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/server"
	"github.com/lazuli-dev/lazuli/internal/store/pgtest"
)

// TestHubsOnPostgres has two hubs on one database that goes away and comes
// back.
func TestHubsOnPostgres(t *testing.T) {
	t.Parallel()
	db, err := pgtest.Start(t.Context())
	if errors.Is(err, pgtest.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg, other := config(t), config(t)
	if cfg.Database.URL, err = db.Create(t.Context(), "hub", ""); err != nil {
		t.Fatal(err)
	}
	other.Database.URL = cfg.Database.URL
	var log bytes.Buffer
	hub, err := server.New(t.Context(), cfg, "test", &log)
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.Close(); err != nil { // a first start; the hubs of the test start on its database
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "password") {
		t.Errorf("a password is in the log: %s", log.String())
	}
	if _, err := server.New(t.Context(), other, "test", io.Discard); lazuli.CodeOf(err) != lazuli.CodeUnavailable ||
		!strings.Contains(err.Error(), "seal.key") || lazuli.RemedyOf(err) == "" {
		t.Errorf("a second hub without the sealing key: %v", err)
	}
	key, err := os.ReadFile(filepath.Join(cfg.DataDir, "seal.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(other.DataDir, "seal.key"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	admin, err := os.ReadFile(cfg.AdminKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	one, _ := start(t, cfg)
	two, _ := start(t, other)
	ask := func() (statuses []int, retry string) {
		for url, ca := range map[string]string{one.URL(): cfg.CAFile(), two.URL(): other.CAFile()} {
			status, header := get(t, url+"/v1/dashboard/projects/metadata", ca, strings.TrimSpace(string(admin)))
			statuses = append(statuses, status)
			retry = header.Get("Retry-After")
		}
		return statuses, retry
	}
	for _, step := range []struct {
		reason string
		act    func() error
		want   int
	}{
		{"the key of one hub opens both", func() error { return nil }, http.StatusOK},
		{"the database is away", db.Down, http.StatusServiceUnavailable},
		{"the database is back", func() error { return db.Up(t.Context()) }, http.StatusOK},
	} {
		if err := step.act(); err != nil {
			t.Fatal(err)
		}
		got, retry := ask()
		for _, status := range got {
			if status != step.want {
				t.Errorf("%s: answered %d, want %d", step.reason, got, step.want)
			}
		}
		if seconds, err := strconv.Atoi(retry); step.want != http.StatusOK && (err != nil || seconds < 1) {
			t.Errorf("%s: Retry-After %q", step.reason, retry)
		}
	}
}

// get asks once, without a client's own retries.
func get(t *testing.T, url, caFile, key string) (int, http.Header) {
	t.Helper()
	ca, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("ApiKey", key)
	resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header
}

func TestPrintedDatabaseURLHasNoPassword(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://u:canary@h:5432/d?sslmode=require":                     "postgres://u@h:5432/d?sslmode=require",
		"postgres://h/d?user=u&password=canary&sslpassword=canary":         "postgres://h/d?user=u",
		"postgres://u:canary@%zz/d":                                        `url: ""`,
		"postgresql://u:canary@one:5432,two:5432/d?target_session_attrs=a": "postgresql://u@one:5432,two:5432/d?target_session_attrs=a",
	} {
		cfg := server.DefaultConfig()
		cfg.Database.URL = url
		var b bytes.Buffer
		if err := server.PrintConfig(&b, cfg); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "canary") {
			t.Errorf("%s: the password was printed", url)
		}
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("%s: want %s in\n%s", url, want, b.String())
		}
	}
}
