// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

const (
	maxReply        = 64 << 20 // bytes of one answer; the list of all sizes of a region is below 10 MiB
	idlePerHost     = 32
	idleTimeout     = 90 * time.Second
	handshakeWait   = 15 * time.Second
	headerWait      = 60 * time.Second
	maxCAFile       = 1 << 20
	nameUSGov       = "AzureUSGovernmentCloud"
	nameChina       = "AzureChinaCloud"
	schemeHTTPS     = "https"
	portHTTPS       = "443"
	scopeSuffix     = "/.default"
	wellKnownPublic = "login.microsoftonline.com"
	wellKnownUSGov  = "login.microsoftonline.us"
	wellKnownChina  = "login.chinacloudapi.cn"
)

// configuration turns a cloud's addresses into the SDK's form; empty ones are
// those of the cloud that Name says, Azure's public cloud without a name.
func configuration(c resource.Cloud) cloud.Configuration {
	base := cloud.AzurePublic
	switch c.Name {
	case nameUSGov:
		base = cloud.AzureGovernment
	case nameChina:
		base = cloud.AzureChina
	}
	service := base.Services[cloud.ResourceManager]
	authority := base.ActiveDirectoryAuthorityHost
	if c.AuthorityURL != "" {
		authority = c.AuthorityURL
	}
	if c.ARMURL != "" && !strings.EqualFold(strings.TrimRight(c.ARMURL, "/"), service.Endpoint) {
		endpoint := strings.TrimRight(c.ARMURL, "/")
		service = cloud.ServiceConfiguration{Endpoint: endpoint, Audience: endpoint}
	}
	return cloud.Configuration{
		ActiveDirectoryAuthorityHost: authority,
		Services:                     map[cloud.ServiceName]cloud.ServiceConfiguration{cloud.ResourceManager: service},
	}
}

// wellKnown reports whether Entra ID itself vouches for the authority. MSAL
// asks login.microsoftonline.com about any other one, which a disconnected or
// simulated cloud cannot reach.
func wellKnown(authority string) bool {
	u, err := url.Parse(authority)
	if err != nil {
		return false
	}
	switch strings.ToLower(u.Host) {
	case wellKnownPublic, wellKnownUSGov, wellKnownChina:
		return true
	}
	return false
}

// sameHost reports whether raw is an https URL of the same host and port as
// endpoint, without user information.
func sameHost(endpoint, raw string) bool {
	want, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	got, err := url.Parse(raw)
	if err != nil || got.User != nil || got.Scheme != schemeHTTPS || want.Scheme != schemeHTTPS {
		return false
	}
	return got.Hostname() != "" && strings.EqualFold(got.Hostname(), want.Hostname()) && portOf(got) == portOf(want)
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return portHTTPS
}

// wire is the transport of one trust anchor. It follows no redirects, bounds
// answers, takes URLs out of errors, and reads the CA file anew after a
// certificate that it does not trust, since a private cloud may change its CA.
type wire struct {
	caFile string
	fixed  policy.Transporter // of Config; nil makes one

	mu     sync.Mutex
	client *http.Client
}

// Do implements policy.Transporter.
func (w *wire) Do(req *http.Request) (*http.Response, error) {
	t, err := w.transporter()
	if err != nil {
		noteTransport(req.Context(), err)
		return nil, err
	}
	resp, err := t.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the URL may carry a signature
		}
		if _, untrusted := errors.AsType[x509.UnknownAuthorityError](err); untrusted {
			w.forget()
		}
		noteTransport(req.Context(), err)
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxReply}
	return resp, nil
}

func (w *wire) transporter() (policy.Transporter, error) {
	if w.fixed != nil {
		return w.fixed, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil {
		return w.client, nil
	}
	roots, err := readRoots(w.caFile)
	if err != nil {
		return nil, err
	}
	w.client = &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   idlePerHost,
			IdleConnTimeout:       idleTimeout,
			TLSHandshakeTimeout:   handshakeWait,
			ResponseHeaderTimeout: headerWait,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w.client, nil
}

func (w *wire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.caFile != "" && w.client != nil {
		w.client.CloseIdleConnections()
		w.client = nil
	}
}

func (w *wire) closeIdle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil {
		w.client.CloseIdleConnections()
	}
}

// readRoots returns the certificates of a PEM file, nil (the system's) for no file.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // a nil pool is the system's roots
	}
	pem, err := readBounded(file)
	if err != nil {
		return nil, &lazuli.Error{
			Code: lazuli.CodeAzureUnreachable, Message: "read the CA file of the cloud", Err: err,
			Remedy: "Give the account's cloud a CA file that the server can read.",
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, &lazuli.Error{
			Code: lazuli.CodeAzureUnreachable, Message: fmt.Sprintf("the CA file %q holds no certificate", file),
			Remedy: "Give the account's cloud a CA file in PEM form.",
		}
	}
	return pool, nil
}

func readBounded(file string) ([]byte, error) {
	f, err := os.Open(file) // the path is the operator's, of the cloud's definition
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(f, maxCAFile))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return b, nil
}

// boundedBody fails where an answer is longer than any that Azure gives.
type boundedBody struct {
	io.ReadCloser

	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer is longer than %d bytes", maxReply)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err // a reader hands io.EOF on as it is
}

// transportKey is the context key under which a call learns the transport's
// own error: MSAL turns it into text, and with it goes what it was.
type transportKey struct{}

type transportNote struct {
	mu  sync.Mutex
	err error
}

func withTransportNote(ctx context.Context) (context.Context, *transportNote) {
	n := &transportNote{}
	return context.WithValue(ctx, transportKey{}, n), n
}

func noteTransport(ctx context.Context, err error) {
	if n, ok := ctx.Value(transportKey{}).(*transportNote); ok {
		n.mu.Lock()
		n.err = err
		n.mu.Unlock()
	}
}

func (n *transportNote) get() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}
