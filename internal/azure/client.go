// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"container/list"
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources/v3"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armsubscriptions"
	"golang.org/x/sync/singleflight"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

const (
	defaultCallTimeout = 60 * time.Second
	defaultPrincipals  = 512
	maxSubscriptions   = 64 // of one principal
	applicationID      = "lazuli"
	moduleName         = "lazuli/azure"
	moduleVersion      = "v0.1.0"
	noRetries          = -1
)

// Config says what a Client works with. The zero value is usable.
type Config struct {
	// Logger receives one debug line per request: method, path, status,
	// duration. The default discards.
	Logger *slog.Logger
	// Transport carries the requests. The default is HTTPS with the trust
	// anchor of the target's cloud, shared by all its accounts.
	Transport policy.Transporter
	// Now is the clock of budgets and caches; the default is time.Now.
	Now func() time.Time
	// CallTimeout bounds one request; the default is 60 s.
	CallTimeout time.Duration
	// Concurrency bounds the requests in flight of one bucket; the default is 16.
	Concurrency int
	// Principals bounds the cached credentials; the default is 512. The one
	// unused for longest goes first.
	Principals int
}

// Client speaks to Azure for any number of accounts. It keeps one credential
// per (cloud, tenant, client, secret) and one set of SDK clients per
// subscription of it: a changed secret is a new key, and the old one is never
// used again. Safe for concurrent use.
type Client struct {
	cfg    Config
	log    *slog.Logger
	budget *budgeter
	cache  sizeCache

	mu         sync.Mutex
	wires      map[string]*wire
	principals map[principalKey]*list.Element // of *principal, most recently used in front
	order      *list.List
}

// New makes a Client; it makes no connection.
func New(cfg Config) *Client {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = defaultCallTimeout
	}
	if cfg.Principals <= 0 {
		cfg.Principals = defaultPrincipals
	}
	return &Client{
		cfg:        cfg,
		log:        cfg.Logger,
		budget:     newBudgeter(cfg.Concurrency, cfg.Now),
		cache:      sizeCache{entries: map[sizeKey]sizeEntry{}, flights: &singleflight.Group{}},
		wires:      map[string]*wire{},
		principals: map[principalKey]*list.Element{},
		order:      list.New(),
	}
}

// Close lets go of idle connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.wires {
		w.closeIdle()
	}
}

// Forget drops the credential of t, its tokens and its SDK clients.
func (c *Client) Forget(t resource.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.principals[keyOf(t)]; ok {
		c.drop(e)
	}
}

// Stats returns what each bucket has seen, in a fixed order.
func (c *Client) Stats() []BucketStats { return c.budget.stats() }

type principalKey struct {
	cloud        resource.Cloud
	tenant       string
	client       string
	secretDigest [sha256.Size]byte
}

func keyOf(t resource.Target) principalKey {
	return principalKey{
		cloud: t.Cloud, tenant: t.TenantID, client: t.ClientID,
		secretDigest: sha256.Sum256([]byte(t.ClientSecret.Reveal())),
	}
}

// principal is one credential with its SDK clients by subscription.
type principal struct {
	key     principalKey
	cred    *credential
	options arm.ClientOptions
	sets    map[string]*clients
}

// clients are the SDK clients of one principal in one subscription.
type clients struct {
	endpoint string // of Resource Manager
	raw      *arm.Client

	securityGroups  *armnetwork.SecurityGroupsClient
	publicIPs       *armnetwork.PublicIPAddressesClient
	loadBalancers   *armnetwork.LoadBalancersClient
	natGateways     *armnetwork.NatGatewaysClient
	virtualNetworks *armnetwork.VirtualNetworksClient
	interfaces      *armnetwork.InterfacesClient
	networkUsages   *armnetwork.UsagesClient

	machines      *armcompute.VirtualMachinesClient
	sets          *armcompute.AvailabilitySetsClient
	disks         *armcompute.DisksClient
	skus          *armcompute.ResourceSKUsClient
	computeUsages *armcompute.UsageClient

	resources     *armresources.Client
	groups        *armresources.ResourceGroupsClient
	subscriptions *armsubscriptions.Client
	permissions   *armauthorization.PermissionsClient
}

// clientsOf returns the SDK clients for t, making them when needed.
func (c *Client) clientsOf(t resource.Target) (*clients, error) {
	options := c.clientOptions(t.Cloud) // takes the lock itself
	c.mu.Lock()
	defer c.mu.Unlock()
	key := keyOf(t)
	e, ok := c.principals[key]
	if !ok {
		cred, err := newCredential(t, options)
		if err != nil {
			return nil, err
		}
		p := &principal{key: key, cred: cred, sets: map[string]*clients{}}
		p.options = arm.ClientOptions{ClientOptions: options, DisableRPRegistration: true}
		p.options.PerCallPolicies = []policy.Policy{
			hostPolicy{endpoint: options.Cloud.Services[cloud.ResourceManager].Endpoint},
			logPolicy{log: c.log, now: c.cfg.Now},
			c.budget,
		}
		p.options.PerRetryPolicies = []policy.Policy{guardPolicy{}} // behind all that waits
		e = c.order.PushFront(p)
		c.principals[key] = e
		for c.order.Len() > c.cfg.Principals {
			c.drop(c.order.Back())
		}
	}
	c.order.MoveToFront(e)
	p := e.Value.(*principal) //nolint:forcetypeassert // only principals are in the list
	set, ok := p.sets[t.SubscriptionID]
	if !ok {
		var err error
		if set, err = newClients(t.SubscriptionID, p); err != nil {
			return nil, &lazuli.Error{Code: lazuli.CodeInternal, Message: "make the Azure SDK's clients", Err: err}
		}
		if len(p.sets) >= maxSubscriptions {
			clear(p.sets)
		}
		p.sets[t.SubscriptionID] = set
	}
	return set, nil
}

// drop forgets a principal; the caller holds the lock.
func (c *Client) drop(e *list.Element) {
	p := c.order.Remove(e).(*principal) //nolint:forcetypeassert // only principals are in the list
	delete(c.principals, p.key)
}

func (c *Client) clientOptions(in resource.Cloud) policy.ClientOptions {
	return policy.ClientOptions{
		Cloud:     configuration(in),
		Transport: c.wireOf(in.CAFile),
		Telemetry: policy.TelemetryOptions{ApplicationID: applicationID},
		Retry:     policy.RetryOptions{MaxRetries: noRetries, TryTimeout: c.cfg.CallTimeout},
	}
}

func (c *Client) wireOf(caFile string) *wire {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.wires[caFile]
	if !ok {
		w = &wire{caFile: caFile, fixed: c.cfg.Transport}
		c.wires[caFile] = w
	}
	return w
}

func newClients(subscription string, p *principal) (*clients, error) {
	raw, err := arm.NewClient(moduleName, moduleVersion, p.cred, &p.options)
	if err != nil {
		return nil, err
	}
	network, err := armnetwork.NewClientFactory(subscription, p.cred, &p.options)
	if err != nil {
		return nil, err
	}
	compute, err := armcompute.NewClientFactory(subscription, p.cred, &p.options)
	if err != nil {
		return nil, err
	}
	resources, err := armresources.NewClientFactory(subscription, p.cred, &p.options)
	if err != nil {
		return nil, err
	}
	subscriptions, err := armsubscriptions.NewClient(p.cred, &p.options)
	if err != nil {
		return nil, err
	}
	permissions, err := armauthorization.NewPermissionsClient(subscription, p.cred, &p.options)
	if err != nil {
		return nil, err
	}
	return &clients{
		endpoint:        p.options.Cloud.Services[cloud.ResourceManager].Endpoint,
		raw:             raw,
		securityGroups:  network.NewSecurityGroupsClient(),
		publicIPs:       network.NewPublicIPAddressesClient(),
		loadBalancers:   network.NewLoadBalancersClient(),
		natGateways:     network.NewNatGatewaysClient(),
		virtualNetworks: network.NewVirtualNetworksClient(),
		interfaces:      network.NewInterfacesClient(),
		networkUsages:   network.NewUsagesClient(),
		machines:        compute.NewVirtualMachinesClient(),
		sets:            compute.NewAvailabilitySetsClient(),
		disks:           compute.NewDisksClient(),
		skus:            compute.NewResourceSKUsClient(),
		computeUsages:   compute.NewUsageClient(),
		resources:       resources.NewClient(),
		groups:          resources.NewResourceGroupsClient(),
		subscriptions:   subscriptions,
		permissions:     permissions,
	}, nil
}

// hostPolicy lets requests go to the cloud's Resource Manager only: poll URLs
// and links to next pages come from outside, and the token goes with them.
type hostPolicy struct{ endpoint string }

// Do implements policy.Policy.
func (p hostPolicy) Do(req *policy.Request) (*http.Response, error) {
	if !sameHost(p.endpoint, req.Raw().URL.String()) {
		return nil, foreignHost(req.Raw().URL.Host, p.endpoint)
	}
	return req.Next()
}

func foreignHost(host, endpoint string) *lazuli.Error {
	return &lazuli.Error{
		Code:    lazuli.CodeAzureRejected,
		Message: "refuse to send the account's token to " + host + ", which is not the cloud's Resource Manager " + endpoint,
		Remedy:  "Check the account's cloud; if it is right, the stored address was tampered with or the cloud answers for another.",
		Err:     &resource.Failure{Scope: resource.ScopeRequest, Text: "foreign host"},
	}
}

// logPolicy writes one debug line per request. Queries, headers and bodies
// are left out: they may hold signatures, tokens and keys.
type logPolicy struct {
	log *slog.Logger
	now func() time.Time
}

// Do implements policy.Policy.
func (p logPolicy) Do(req *policy.Request) (*http.Response, error) {
	start := p.now()
	resp, err := req.Next()
	ctx := req.Raw().Context()
	if !p.log.Enabled(ctx, slog.LevelDebug) {
		return resp, err
	}
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	p.log.DebugContext(ctx, "azure call", "method", req.Raw().Method, "path", req.Raw().URL.Path,
		"status", status, "took", p.now().Sub(start))
	return resp, err
}

// with puts what the budget needs to know of a call into its context.
func with(ctx context.Context, t resource.Target, class Class) context.Context {
	return context.WithValue(ctx, callKey{}, call{
		principal: t.TenantID + "/" + t.ClientID, subscription: t.SubscriptionID, location: t.Location, class: class,
	})
}
