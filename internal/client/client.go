// SPDX-License-Identifier: Apache-2.0

// Package client is a typed client of the hub's public API: Palette's wire
// under /v1 and ours under /lazuli/v1. The CLI is built on it, and on nothing
// else of the hub.
//
// Failures that the hub tells are *lazuli.Error with the hub's code, its
// findings per field and its remedy; a hub that cannot be reached, or whose
// certificate is not trusted, is lazuli.CodeUnavailable. Only GET is retried,
// and only on 429 and 503, after the time that the hub asks for.
//
// It refuses to keep state, to skip the check of a certificate, and to follow
// redirects, which would carry the key to another host.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

const (
	// maxAnswer bounds what is read of one answer.
	maxAnswer = 32 << 20
	// tries of a GET, the first included, and how long the hub's Retry-After
	// is obeyed at most; without one the wait doubles from firstWait.
	maxTries  = 4
	maxWait   = 30 * time.Second
	firstWait = 500 * time.Millisecond

	defaultTimeout = 30 * time.Second
	dialTimeout    = 10 * time.Second
)

// Config says which hub, and as whom.
type Config struct {
	URL     string        // https://host:port, without a path
	APIKey  lazuli.Secret // header ApiKey
	CAFile  string        // PEM; "" trusts the system's authorities
	Project string        // uid, header ProjectUid; "" is tenant scope
	Timeout time.Duration // of one call, retries apart; default 30 s. A watch has none.
	Agent   string        // User-Agent; default lazuli
}

// Client calls one hub as one principal. It is safe for use by several
// goroutines. Close releases its connections.
type Client struct {
	base    *url.URL
	key     lazuli.Secret
	project string
	agent   string
	timeout time.Duration
	http    *http.Client
}

// New checks the configuration; it makes no call. A value that cannot be used
// is an error of lazuli.CodeInvalidField.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Host == "" || (base.Scheme != "https" && base.Scheme != "http") ||
		strings.Trim(base.Path, "/") != "" {
		return nil, &lazuli.Error{
			Code: lazuli.CodeInvalidField, Message: fmt.Sprintf("hub URL %q is not https://host:port", cfg.URL),
			Remedy: "give --url or LAZULI_URL, such as https://127.0.0.1:9443",
		}
	}
	base.Path = ""
	roots, err := rootsOf(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
	}
	c := &Client{
		base: base, key: cfg.APIKey, project: cfg.Project, agent: cfg.Agent, timeout: cfg.Timeout,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.agent == "" {
		c.agent = "lazuli"
	}
	return c, nil
}

// In returns a client of the same hub and principal in another project's scope.
func (c *Client) In(project string) *Client {
	out := *c
	out.project = project
	return &out
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// rootsOf is nil for the pool of the system.
func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is the system's pool
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, lazuli.Errorf(lazuli.CodeInvalidField, "CA file %s holds no PEM certificate", file)
	}
	return pool, nil
}

// call is one request. in and out may be nil; out may be *[]byte for answers
// that are not JSON.
type call struct {
	method, path string
	query        url.Values
	in, out      any
	act          string // for messages: get cluster "x"
}

func (c *Client) do(ctx context.Context, r call) error {
	var body []byte
	if r.in != nil {
		var err error
		if body, err = json.Marshal(r.in); err != nil {
			return fmt.Errorf("%s: encode request: %w", r.act, err)
		}
	}
	wait := firstWait
	for try := 1; ; try++ {
		after, err := c.once(ctx, r, body)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil { // the caller's patience, not the hub's fault
			return fmt.Errorf("%s: %w", r.act, ctx.Err())
		}
		if r.method != http.MethodGet || after < 0 || try == maxTries || after > maxWait {
			return fmt.Errorf("%s: %w", r.act, err)
		}
		if err := sleep(ctx, max(after, wait)); err != nil {
			return fmt.Errorf("%s: %w", r.act, err)
		}
		wait *= 2
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait: %w", ctx.Err())
	case <-t.C:
		return nil
	}
}

// once makes one attempt. after is negative when another makes no sense, else
// how long the hub asks to wait.
func (c *Client) once(ctx context.Context, r call, body []byte) (after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.send(ctx, r, body, "application/json")
	if err != nil {
		return -1, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return -1, unreachable(c.base, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return retryAfter(resp), failure(resp, data)
	}
	switch out := r.out.(type) {
	case nil:
	case *[]byte:
		*out = data
	default:
		if err := json.Unmarshal(data, out); err != nil {
			return -1, fmt.Errorf("decode answer: %w", err)
		}
	}
	return 0, nil
}

func (c *Client) send(ctx context.Context, r call, body []byte, accept string) (*http.Response, error) {
	u, err := c.base.Parse(r.path)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", c.agent)
	if r.in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !c.key.Empty() {
		req.Header.Set("ApiKey", c.key.Reveal())
	}
	if c.project != "" {
		req.Header.Set("ProjectUid", c.project)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(c.base, err)
	}
	return resp, nil
}

// unreachable says why there was no answer and what helps.
func unreachable(base *url.URL, err error) error {
	e := &lazuli.Error{
		Code: lazuli.CodeUnavailable, Message: fmt.Sprintf("hub %s does not answer", base), Err: err,
		Remedy: "check that `lazuli serve` runs there and that LAZULI_URL is its address",
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		e.Err = ue.Err // the URL stands in the message already
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		e.Message = fmt.Sprintf("hub %s has a certificate of an authority that is not trusted", base)
		e.Remedy = "give the hub's ca.crt with --ca-file or LAZULI_CA_FILE"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		e.Remedy = "use the address that the hub's certificate names"
	}
	return e
}

// retryAfter is negative for answers that are final.
func retryAfter(resp *http.Response) time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return -1
	}
	s, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return time.Duration(s) * time.Second
}

// codeByStatus serves answers that something before the hub gave.
func codeByStatus(status int) lazuli.Code {
	switch status {
	case http.StatusUnauthorized:
		return lazuli.CodeUnauthenticated
	case http.StatusForbidden:
		return lazuli.CodeForbidden
	case http.StatusNotFound:
		return lazuli.CodeNotFound
	case http.StatusTooManyRequests:
		return lazuli.CodeTooManyRequests
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return lazuli.CodeUnavailable
	default:
		return lazuli.CodeInternal
	}
}

// RefusedError is a failure that the hub told, as opposed to one on the way to it.
// It unwraps to the *lazuli.Error.
type RefusedError struct {
	Status int // of HTTP
	Err    *lazuli.Error
}

// Error implements error.
func (r *RefusedError) Error() string { return r.Err.Error() }

// Unwrap returns the *lazuli.Error.
func (r *RefusedError) Unwrap() error { return r.Err }

func failure(resp *http.Response, data []byte) *RefusedError {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var e palette.Error
	if err != nil || kind != "application/json" || json.Unmarshal(data, &e) != nil || e.Code == "" {
		return &RefusedError{
			Status: resp.StatusCode,
			Err:    lazuli.Errorf(codeByStatus(resp.StatusCode), "the hub answered %s", resp.Status),
		}
	}
	out := &lazuli.Error{Code: lazuli.Code(e.Code), Message: e.Message}
	if e.Details != nil {
		out.Fields, out.Remedy = e.Details.Fields, e.Details.Remedy
	}
	if out.Code == lazuli.CodeInternal && e.Ref != "" {
		out.Message += " (reference " + e.Ref + ")"
	}
	return &RefusedError{Status: resp.StatusCode, Err: out}
}
