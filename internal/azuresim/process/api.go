// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// dialer opens a connection to host:port.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// client speaks JSON with an API server.
type client struct {
	http  *http.Client
	base  string
	token string
}

// callTimeout bounds one call.
const callTimeout = 20 * time.Second

// newClient trusts a CA, or whoever answers when ca is nil (discovery, before the token has vouched for it). Cert may be
// nil; dial is the way there, nil for the usual one.
func newClient(base string, ca []byte, cert *tls.Certificate, dial dialer) *client {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca == nil {
		config.InsecureSkipVerify = true
	} else {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(ca)
	}
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	return &client{base: base, http: &http.Client{
		Timeout: callTimeout, Transport: &http.Transport{TLSClientConfig: config, DialContext: dial, IdleConnTimeout: time.Minute},
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// apiError is a refusal of the API server.
type apiError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Error is error.
func (e *apiError) Error() string { return e.Message }

// hasCode says whether an API server refused with a status code.
func hasCode(err error, code int) bool {
	var e *apiError
	return errors.As(err, &e) && e.Code == code
}

// Content types of bodies.
const (
	plainJSON      = "application/json"
	mergePatch     = "application/merge-patch+json"
	strategicPatch = "application/strategic-merge-patch+json"
)

// call sends in, unless it is nil, and reads the answer into out, unless it is nil.
func (c *client) call(ctx context.Context, method, path, kind string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Accept", plainJSON)
	if in != nil {
		req.Header.Set("Content-Type", kind)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	const limit = 64 << 20
	raw, err := io.ReadAll(io.LimitReader(res.Body, limit))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		e := &apiError{}
		if json.Unmarshal(raw, e) != nil || e.Message == "" {
			e.Message = res.Status
		}
		e.Code = res.StatusCode
		return e
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
