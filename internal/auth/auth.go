// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Headers that carry a credential.
const (
	HeaderAPIKey        = "ApiKey"
	HeaderAuthorization = "Authorization"
	bearerPrefix        = "Bearer "
)

// Config is what an Authenticator needs.
type Config struct {
	Store  store.Store
	Seal   Sealer           // of the signing keys of sessions
	Now    func() time.Time // default time.Now
	Random io.Reader        // of salts, keys and ids; default crypto/rand
	// Passwords are the costs of new hashes; zero is DefaultPasswordParams.
	Passwords PasswordParams
}

// Authenticator finds the actor of a request, and begins, prolongs and ends
// sessions. Its methods may be called concurrently.
type Authenticator struct {
	store     store.Store
	now       func() time.Time
	random    io.Reader
	passwords *Passwords
	tokens    tokens
	throttle  *throttle
	grants    grantCache
}

// New returns an Authenticator over a store that Bootstrap has prepared.
func New(c Config) (*Authenticator, error) {
	if c.Store == nil || c.Seal == nil {
		return nil, errors.New("make the authenticator: Store and Seal are needed")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	passwords, err := NewPasswords(c.Passwords, c.Random)
	if err != nil {
		return nil, fmt.Errorf("make the authenticator: %w", err)
	}
	return &Authenticator{
		store: c.Store, now: c.Now, random: c.Random, passwords: passwords,
		tokens:   tokens{seal: c.Seal, now: c.Now, random: c.Random},
		throttle: newThrottle(c.Now),
	}, nil
}

// Authenticate reads the credential from the header ApiKey (a key), or from
// Authorization (a session's token or a key, with or without "Bearer "). remote
// is the caller's address, host:port. The error has lazuli.CodeUnauthenticated,
// and the same text whatever is wrong with the credential,
// lazuli.CodeTooManyRequests when the address has failed too often, or
// lazuli.CodeUnavailable when the store cannot answer.
func (a *Authenticator) Authenticate(ctx context.Context, h http.Header, remote string) (Actor, error) {
	cred := credential(h)
	if cred.Empty() {
		return Actor{}, unauthenticated()
	}
	address := AddressKey(remote)
	if err := a.throttle.admit(address, cred); err != nil {
		return Actor{}, err
	}
	actor, err := a.actor(ctx, h, cred)
	switch {
	case err == nil:
		a.throttle.worked(cred)
	case lazuli.CodeOf(err) == lazuli.CodeUnauthenticated:
		a.throttle.failed(address, 1)
	}
	return actor, err
}

func (a *Authenticator) actor(ctx context.Context, h http.Header, cred lazuli.Secret) (Actor, error) {
	// The tenant is read before the user, and both before what follows from
	// them: see grantCache.of.
	var tenant lazuli.Tenant
	if err := a.store.ByUnique(ctx, lazuli.TenantUnique, &tenant); err != nil {
		return Actor{}, fmt.Errorf("authenticate: read the tenant: %w", err)
	}
	if h.Get(HeaderAPIKey) == "" && isToken(cred) {
		return a.bySession(ctx, &tenant, cred)
	}
	return a.byKey(ctx, &tenant, cred)
}

func (a *Authenticator) byKey(ctx context.Context, tenant *lazuli.Tenant, key lazuli.Secret) (Actor, error) {
	if len(key.Reveal()) > maxKeyLength {
		return Actor{}, unauthenticated()
	}
	hash := HashKey(key)
	var k lazuli.APIKey
	if err := a.store.ByUnique(ctx, hash, &k); err != nil {
		return Actor{}, lookupError(err)
	}
	// The look-up compared hashes already, in a time that tells nothing about
	// the key; this holds whatever a store compares.
	if !sameText(k.Hash, hash) || k.Disabled || !k.ExpiresAt.IsZero() && !a.now().Before(k.ExpiresAt) {
		return Actor{}, unauthenticated()
	}
	u, err := a.user(ctx, k.UserUID)
	if err != nil {
		return Actor{}, err
	}
	return a.act(ctx, tenant, u, Actor{KeyUID: k.UID, Project: k.Project, Expires: k.ExpiresAt})
}

func (a *Authenticator) bySession(ctx context.Context, tenant *lazuli.Tenant, token lazuli.Secret) (Actor, error) {
	c, u, err := a.session(ctx, tenant, token)
	if err != nil {
		return Actor{}, err
	}
	return a.act(ctx, tenant, u, Actor{Session: c.Session})
}

// user reads a user that may authenticate.
func (a *Authenticator) user(ctx context.Context, uid string) (*lazuli.User, error) {
	u := &lazuli.User{}
	if err := a.store.Get(ctx, uid, u); err != nil {
		return nil, lookupError(err)
	}
	if u.Disabled {
		return nil, unauthenticated()
	}
	return u, nil
}

// act completes an actor with its user and what it may do.
func (a *Authenticator) act(ctx context.Context, tenant *lazuli.Tenant, u *lazuli.User, actor Actor) (Actor, error) {
	grants, err := a.grants.of(ctx, a.store, tenant.Version, u)
	if err != nil {
		return Actor{}, fmt.Errorf("authenticate: %w", err)
	}
	actor.UserUID, actor.Name, actor.Email = u.UID, u.Name, u.Email
	actor.Tenant, actor.Org = tenant.UID, tenant.Name
	return actor.WithGrants(grants), nil
}

func credential(h http.Header) lazuli.Secret {
	if v := h.Get(HeaderAPIKey); v != "" {
		return lazuli.NewSecret(v)
	}
	v := h.Get(HeaderAuthorization)
	if len(v) > len(bearerPrefix) && strings.EqualFold(v[:len(bearerPrefix)], bearerPrefix) {
		v = v[len(bearerPrefix):]
	}
	return lazuli.NewSecret(v)
}

func unauthenticated() error {
	return &lazuli.Error{
		Code:    lazuli.CodeUnauthenticated,
		Message: "authenticate: no valid API key or session",
		Remedy:  "send a key of this hub in the header ApiKey, or the token of a session in Authorization",
	}
}

func lookupError(err error) error {
	if lazuli.CodeOf(err) == lazuli.CodeNotFound {
		return unauthenticated()
	}
	return fmt.Errorf("authenticate: %w", err)
}
