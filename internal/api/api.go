// SPDX-License-Identifier: Apache-2.0

package api

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/contract"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Sealer encrypts secrets for the object that aad names.
type Sealer interface {
	Seal(plain []byte, aad string) (lazuli.Sealed, error)
	Unseal(sealed lazuli.Sealed, aad string) ([]byte, error)
}

// Config is what the API needs. Fields without a default must be set.
type Config struct {
	Store  store.Store
	Seal   Sealer
	Prober Prober
	Packs  *pack.Registry
	Logger *slog.Logger     // default: discards
	Now    func() time.Time // default time.Now
	Random io.Reader        // of uids and request ids; default crypto/rand
	// Version is the hub's release, as `lazuli version` prints it.
	Version string
	// Environments are the names of the Azure clouds that accounts may be of;
	// default the public, the Chinese and the US government's.
	Environments []string
	// Rate and Burst bound the requests of one API key, per second; default 100
	// and 500. A Terraform refresh sends about 30 calls a second.
	Rate  float64
	Burst int
	// MaxWatchers bounds the watch streams; default 256.
	MaxWatchers int
	// Heartbeat is how often a silent stream says that it lives, and how soon a
	// credential that was revoked ends it; default five seconds.
	Heartbeat time.Duration
	// Passwords are the costs of password hashes; default
	// auth.DefaultPasswordParams.
	Passwords auth.PasswordParams
	// MaxInFlight bounds the requests under way, streams apart; default 256.
	MaxInFlight int
}

const (
	defaultRate        = 100
	defaultBurst       = 500
	defaultMaxWatchers = 256
	defaultMaxInFlight = 256
	defaultHeartbeat   = 5 * time.Second
)

// API serves the hub's HTTP. Its methods may be called concurrently.
type API struct {
	Config

	auth     *auth.Authenticator
	contract *contract.Contract
	limits   limiter
	inFlight chan struct{}
	watch    *watchers
	writable writable
	handler  http.Handler
}

// New checks the configuration and builds the handler.
func New(c Config) (*API, error) {
	if c.Store == nil || c.Seal == nil || c.Prober == nil || c.Packs == nil {
		return nil, errors.New("make the API: Store, Seal, Prober and Packs are needed")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	c.Random = &lockedReader{r: c.Random}
	if len(c.Environments) == 0 {
		c.Environments = []string{
			palette.EnvironmentPublic, palette.EnvironmentChina, palette.EnvironmentGovernment,
			palette.EnvironmentGovernmentOld,
		}
	}
	c.Environments = slices.Sorted(slices.Values(c.Environments))
	c.Rate = orElse(c.Rate, defaultRate)
	c.Burst = orElse(c.Burst, defaultBurst)
	c.MaxWatchers = orElse(c.MaxWatchers, defaultMaxWatchers)
	c.MaxInFlight = orElse(c.MaxInFlight, defaultMaxInFlight)
	c.Heartbeat = orElse(c.Heartbeat, defaultHeartbeat)
	authenticator, err := auth.New(auth.Config{
		Store: c.Store, Seal: c.Seal, Now: c.Now, Random: c.Random, Passwords: c.Passwords,
	})
	if err != nil {
		return nil, fmt.Errorf("make the API: %w", err)
	}
	doc, err := contract.Load()
	if err != nil {
		return nil, fmt.Errorf("make the API: %w", err)
	}
	a := &API{
		Config:   c,
		contract: doc,
		auth:     authenticator,
		inFlight: make(chan struct{}, c.MaxInFlight),
		watch:    newWatchers(c.Store, c.MaxWatchers),
	}
	a.limits.rate, a.limits.burst, a.limits.now = c.Rate, c.Burst, c.Now
	a.handler = a.router()
	return a, nil
}

// Handler returns the handler of all paths.
func (a *API) Handler() http.Handler { return a.handler }

// Close ends all watch streams, so that a server can shut down. It may be
// called twice.
func (a *API) Close() { a.watch.close() }

func (a *API) router() http.Handler {
	r := chi.NewRouter()
	served := map[string]bool{}
	for _, rt := range routes() {
		r.Method(rt.Method, rt.Pattern, a.serve(rt))
		served[rt.Operation] = true
	}
	for _, op := range contract.Operations() {
		if !served[op.ID] {
			r.Method(op.Method, op.Path, a.serve(route{Operation: op.ID, Permission: auth.None, Handle: notServed}))
		}
	}
	r.NotFound(a.serve(route{Operation: "notFound", Public: true, Handle: routeNotFound}).ServeHTTP)
	r.MethodNotAllowed(a.serve(route{Operation: "methodNotAllowed", Public: true, Handle: methodNotAllowed}).ServeHTTP)
	return r
}

func routeNotFound(_ *API, c *call) (any, error) {
	return nil, &lazuli.Error{
		Code:    CodeRouteNotFound,
		Message: "no such path: " + shorten(c.r.URL.Path),
		Remedy:  "see the reference of the API for the paths that this release serves",
	}
}

// notServed answers at the paths of Palette's API that this release lacks. It is
// neither 404, which clients take for an absent object, nor above 500, which
// they send again for an hour.
func notServed(_ *API, c *call) (any, error) {
	return nil, lazuli.Errorf(lazuli.CodeNotServed, "this release does not serve the operation %s", c.op)
}

func methodNotAllowed(_ *API, c *call) (any, error) {
	return nil, lazuli.Errorf(CodeMethodNotAllowed, "%s is not served at %s", shorten(c.r.Method), shorten(c.r.URL.Path))
}

func (a *API) newUID() (string, error) { return lazuli.NewUID(a.Now(), a.Random) }

// lockedReader lets handlers share a source of randomness.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

const shortText = 200

// shorten bounds a caller's text that an answer repeats.
func shorten(s string) string {
	if len(s) <= shortText {
		return s
	}
	return s[:shortText] + "…"
}
