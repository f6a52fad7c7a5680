// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"container/list"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/lazuli-dev/lazuli"
)

const (
	// FieldManager owns what the hub applies.
	FieldManager = "lazuli"

	defaultMaxClients   = 512
	defaultCallTimeout  = 30 * time.Second
	defaultReadyTimeout = 5 * time.Second
	defaultApplyTimeout = 5 * time.Minute

	idleConnection = 90 * time.Second
	// spareConnections are kept to a server that speaks HTTP/1.1 only: as many as a call for everything opens at once.
	spareConnections = 16
	pingAfter        = 30 * time.Second // of silence on a connection with open requests
	pingTimeout      = 15 * time.Second
	dialTimeout      = 10 * time.Second
	readyzLimit      = 16 << 10 // bytes of an answer that are read
)

// Options tune a Clusters. The zero value is good.
type Options struct {
	MaxClients   int           // clusters whose connections are kept; 0 is 512
	CallTimeout  time.Duration // of one call; 0 is 30 s
	ReadyTimeout time.Duration // of Ready; 0 is 5 s
	ApplyTimeout time.Duration // of a whole Apply; 0 is 5 min
}

// Clusters talks to many clusters and keeps the connections of those used
// last. It is safe for concurrent use.
type Clusters struct {
	dialer  Dialer
	log     *slog.Logger
	options Options
	known   known

	mu     sync.Mutex
	byUID  map[string]*list.Element // of *client
	recent *list.List               // most recently used first
}

// New makes a Clusters that connects through d.
func New(d Dialer, log *slog.Logger, o Options) *Clusters {
	if o.MaxClients <= 0 {
		o.MaxClients = defaultMaxClients
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = defaultCallTimeout
	}
	if o.ReadyTimeout <= 0 {
		o.ReadyTimeout = defaultReadyTimeout
	}
	if o.ApplyTimeout <= 0 {
		o.ApplyTimeout = defaultApplyTimeout
	}
	return &Clusters{dialer: d, log: log, options: o, byUID: map[string]*list.Element{}, recent: list.New()}
}

// Forget drops what is kept of a cluster. Calls under way end by themselves.
func (c *Clusters) Forget(uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(c.byUID[uid])
}

// Close drops what is kept of all clusters. The Clusters stays usable.
func (c *Clusters) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.recent.Len() > 0 {
		c.drop(c.recent.Back())
	}
}

// Ready asks the API server's /readyz, for at most Options.ReadyTimeout.
// Anything but a yes is an *AccessError; NotReady carries the checks that
// failed. The path is open to everyone, so a yes says nothing of the credential.
func (c *Clusters) Ready(ctx context.Context, a Access) error {
	k, err := c.client(a)
	if err != nil {
		return fmt.Errorf("ask readyz: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.ReadyTimeout)
	defer cancel()
	if err := k.ready(ctx); err != nil {
		return fmt.Errorf("ask readyz: %w", err)
	}
	return nil
}

// client finds or makes the client of an access. Another kubeconfig for the
// same cluster replaces the client.
func (c *Clusters) client(a Access) (*client, error) {
	hash := sha256.Sum256(a.Kubeconfig)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byUID[a.UID]; e != nil {
		if k, ok := e.Value.(*client); ok && k.hash == hash {
			c.recent.MoveToFront(e)
			return k, nil
		}
		c.drop(e)
	}
	k, err := newClient(a, c.dialer)
	if err != nil {
		return nil, err
	}
	k.hash = hash
	c.byUID[a.UID] = c.recent.PushFront(k)
	for c.recent.Len() > c.options.MaxClients {
		c.drop(c.recent.Back())
	}
	return k, nil
}

func (c *Clusters) drop(e *list.Element) {
	if e == nil {
		return
	}
	c.recent.Remove(e)
	if k, ok := e.Value.(*client); ok {
		delete(c.byUID, k.uid)
		k.transport.CloseIdleConnections()
	}
}

// call makes a context for one request.
func (c *Clusters) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.options.CallTimeout)
}

// client is one cluster's.
type client struct {
	uid       string
	hash      [sha256.Size]byte
	server    string
	transport *http.Transport
	http      *http.Client
	dynamic   dynamic.Interface
	discovery *discovery.DiscoveryClient

	mu     sync.Mutex
	mapper meta.RESTMapper // nil before the first use
}

func newClient(a Access, d Dialer) (*client, error) {
	t, err := parseAccess(a.Kubeconfig)
	if err != nil {
		return nil, err
	}
	// The transport is ours and not client-go's, which caches them for the life of
	// the process.
	transport := &http.Transport{
		DialContext:         dialWithin(d),
		TLSClientConfig:     t.tls,
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
		IdleConnTimeout:     idleConnection,
		MaxIdleConnsPerHost: spareConnections,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	k := &client{uid: a.UID, server: t.server, transport: transport}
	k.http = &http.Client{Transport: bearer{token: t.token, next: guarded{next: transport}}}
	config := &rest.Config{
		Host:           t.server,
		QPS:            -1, // off: the caller paces itself
		UserAgent:      FieldManager,
		WarningHandler: rest.NoWarnings{},
		ContentConfig: rest.ContentConfig{
			ContentType:          runtime.ContentTypeJSON,
			AcceptContentTypes:   runtime.ContentTypeJSON,
			NegotiatedSerializer: serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion(),
		},
	}
	if k.dynamic, err = dynamic.NewForConfigAndClient(config, k.http); err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	if k.discovery, err = discovery.NewDiscoveryClientForConfigAndClient(config, k.http); err != nil {
		return nil, fmt.Errorf("make discovery client: %w", err)
	}
	return k, nil
}

// dialWithin bounds the making of a connection, which a watch has no other
// bound for.
func dialWithin(d Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return d.DialContext(ctx, network, address) // the transport wraps it
	}
}

// bearer adds a token to requests.
type bearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

// guarded lets a write out only while lazuli.MayWrite lets it: the one who asks
// for it may have lost the right to since.
type guarded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if err := lazuli.MayWrite(r.Context()); err != nil {
			if r.Body != nil {
				_ = r.Body.Close() // as the contract of a RoundTripper has it; it was never read
			}
			return nil, err
		}
	}
	return g.next.RoundTrip(r)
}

func (k *client) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.server+"/readyz?verbose", nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	answer, err := k.http.Do(request)
	if err != nil {
		// A kept connection may lead nowhere by now: the next call makes a new one.
		k.transport.CloseIdleConnections()
		return connection(err)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, readyzLimit))
	if closeErr := answer.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return connection(err)
	}
	switch answer.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return &AccessError{Problem: Unauthorised, Message: answer.Status}
	}
	return &AccessError{Problem: NotReady, Message: failedChecks(answer.Status, string(body))}
}

// failedChecks picks the failing checks out of a verbose readyz.
func failedChecks(status, body string) string {
	failed := []string{status}
	for line := range strings.Lines(body) {
		if name, ok := strings.CutPrefix(line, "[-]"); ok {
			failed = append(failed, strings.Fields(name + " ")[0])
		}
	}
	return strings.Join(failed, " ")
}

// mapping finds the resource of a kind. Discovery is read once, and again when a
// kind is not known or is known from before a definition came.
func (k *client) mapping(ctx context.Context, gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for fresh := false; ; fresh = true {
		if k.mapper == nil || fresh {
			groups, err := restmapper.GetAPIGroupResourcesWithContext(ctx, k.discovery)
			if err != nil {
				return nil, fmt.Errorf("read discovery: %w", classify(err))
			}
			k.mapper, fresh = restmapper.NewDiscoveryRESTMapper(groups), true
		}
		m, err := k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if err == nil {
			return m, nil
		}
		if !meta.IsNoMatchError(err) || fresh {
			return nil, fmt.Errorf("find the resource of %s: %w", gvk, err)
		}
	}
}

// forgetMapping has discovery read again before its next use.
func (k *client) forgetMapping() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mapper = nil
}
