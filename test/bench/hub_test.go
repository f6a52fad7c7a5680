// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/internal/server"
)

// The hub under load is a process of its own with one processor, so that what
// it takes can be told from what its clients take.
const (
	// hubEnv makes the test binary a hub on the data directory that it names.
	hubEnv = "LAZULI_BENCH_HUB"
	// hubProfileEnv names a file for the hub's processor profile.
	hubProfileEnv = "LAZULI_BENCH_HUB_PROFILE"
	adminKey      = "bench-bench-bench-bench-bench-bench-bench-00"
)

func hubConfig(dataDir string) server.Config {
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.DataDir, cfg.Admin.APIKey = "127.0.0.1:0", dataDir, adminKey
	return cfg
}

// TestHub is the hub's process: it serves until its standard input ends.
func TestHub(t *testing.T) {
	t.Parallel()
	dir := os.Getenv(hubEnv)
	if dir == "" {
		t.Skip("make bench runs it")
	}
	hub, err := server.New(t.Context(), hubConfig(dir), "bench", io.Discard)
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- hub.Run(ctx) }()
	fmt.Println(hub.URL())
	_, err = io.Copy(io.Discard, os.Stdin)
	cancel()
	check(t, errors.Join(err, <-done))
}

// served is a hub that runs.
type served struct {
	url string
	pid int
	end func()
}

// startHub runs a hub on a data directory until end is called.
func startHub(t *testing.T, dir string) served {
	t.Helper()
	exe, err := os.Executable()
	check(t, err)
	args := []string{"-test.run=^TestHub$", "-test.timeout=1h"}
	if profile := os.Getenv(hubProfileEnv); profile != "" {
		args = append(args, "-test.cpuprofile="+profile)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), hubEnv+"="+dir, "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	lines := bufio.NewReader(out)
	url, err := lines.ReadString('\n')
	check(t, err)
	return served{url: strings.TrimSpace(url), pid: cmd.Process.Pid, end: func() {
		check(t, in.Close())
		_, _ = io.Copy(io.Discard, lines) // the verdict of its test
		check(t, cmd.Wait())
	}}
}

// cpu is the processor time of the process so far; ok is false where the
// system does not tell. The clock ticks a hundred times a second.
func (p served) cpu() (_ time.Duration, ok bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	const user, system, tick = 11, 12, 10 * time.Millisecond
	var sum time.Duration
	for _, i := range []int{user, system} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return 0, false
		}
		sum += time.Duration(n) * tick
	}
	return sum, true
}

// memory is what the process has in memory, in MiB.
func (p served) memory() (_ float64, ok bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(raw)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return n / 1024, err == nil
		}
	}
	return 0, false
}

// browser is a client that keeps its connections.
type browser struct {
	url  string
	http *http.Client
}

func newBrowser(t *testing.T, dir, url string) *browser {
	t.Helper()
	pem, err := os.ReadFile(hubConfig(dir).CAFile())
	check(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: rate,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{url: url, http: &http.Client{Transport: transport, Timeout: time.Minute}}
}

// ready waits until the hub serves.
func (b *browser) ready() {
	for {
		if _, err := b.do(0, http.MethodGet, "/readyz", ""); err == nil {
			return
		}
		time.Sleep(time.Millisecond) // real time: the hub is a server here
	}
}

// do sends a request and returns the answer's body.
func (b *browser) do(caller int, method, path, body string) ([]byte, error) {
	r, err := http.NewRequest(method, b.url+path, strings.NewReader(body)) // the client has a time-out
	if err != nil {
		return nil, err
	}
	r.Header.Set("ApiKey", keyOf(caller))
	r.Header.Set("Content-Type", "application/json")
	resp, err := b.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return text, err
}
