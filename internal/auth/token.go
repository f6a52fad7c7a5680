// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Sealer encrypts secrets for the object that aad names.
type Sealer interface {
	Seal(plain []byte, aad string) (lazuli.Sealed, error)
	Unseal(sealed lazuli.Sealed, aad string) ([]byte, error)
}

// Lives of tokens.
const (
	// TokenLife is how long a token of a session is valid, as with Palette.
	TokenLife = 15 * time.Minute
	// SessionLife is how long a session can be prolonged without a password.
	SessionLife = 12 * time.Hour
	// ActivationLife is how long a link to set a password is valid.
	ActivationLife = 48 * time.Hour
	// clockSkew is how far the clocks of hubs that share a database may differ.
	clockSkew = 5 * time.Second
	// keyLife is how long a signing key is used for new tokens.
	keyLife = 30 * 24 * time.Hour
)

const (
	tokenIssuer    = "lazuli"
	audSession     = "lazuli/session/"    // and the tenant's uid
	audActivation  = "lazuli/activation/" // and the tenant's uid
	signingKeySize = 32
	idBytes        = 12
	maxTokenLength = 2048
)

// claims are what a token says. All of them are required.
type claims struct {
	jwt.RegisteredClaims
	Session    string           `json:"sid"`
	Generation int64            `json:"gen"`       // of the user's sessions
	Began      *jwt.NumericDate `json:"auth_time"` // when the password was given
}

// Validate implements jwt.ClaimsValidator: what the library does not insist on.
func (c *claims) Validate() error {
	if c.ID == "" || c.Subject == "" || c.Session == "" || c.Began == nil || c.IssuedAt == nil || len(c.Audience) != 1 {
		return errors.New("a claim is missing")
	}
	return nil
}

// tokens signs and checks tokens with the tenant's keys. One algorithm, HS256:
// only hubs check tokens, and all hubs of a database have the sealing key.
type tokens struct {
	seal   Sealer
	now    func() time.Time
	random io.Reader

	mu     sync.Mutex
	opened map[string][]byte // signing keys by id
}

// key returns an opened signing key of the tenant.
func (t *tokens) key(tenant *lazuli.Tenant, id string) ([]byte, error) {
	for _, k := range tenant.SigningKeys {
		if k.ID != id {
			continue
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if b, ok := t.opened[id]; ok {
			return b, nil
		}
		b, err := t.seal.Unseal(k.Sealed, lazuli.SigningKeyAAD(tenant.UID, id))
		if err != nil {
			return nil, fmt.Errorf("open the signing key %s: %w", id, err)
		}
		if t.opened == nil {
			t.opened = map[string][]byte{}
		}
		t.opened[id] = b
		return b, nil
	}
	return nil, errUnknownKey
}

var errUnknownKey = errors.New("no such signing key")

// ensureKey makes a new signing key when there is none or the newest is old. A
// key goes when no token that it signed can be valid any more.
func (t *tokens) ensureKey(ctx context.Context, s store.Store) (*lazuli.Tenant, error) {
	var tenant lazuli.Tenant
	if err := s.ByUnique(ctx, lazuli.TenantUnique, &tenant); err != nil {
		return nil, fmt.Errorf("read the tenant: %w", err)
	}
	if !t.due(&tenant) {
		return &tenant, nil
	}
	err := s.Update(ctx, func(tx store.Tx) error {
		if err := tx.ByUnique(ctx, lazuli.TenantUnique, &tenant); err != nil {
			return fmt.Errorf("read the tenant: %w", err)
		}
		if !t.due(&tenant) {
			return nil // another hub was first
		}
		id, err := randomID(t.random)
		if err != nil {
			return err
		}
		b := make([]byte, signingKeySize)
		if _, err := io.ReadFull(t.random, b); err != nil {
			return fmt.Errorf("read random bytes of a signing key: %w", err)
		}
		sealed, err := t.seal.Seal(b, lazuli.SigningKeyAAD(tenant.UID, id))
		if err != nil {
			return fmt.Errorf("seal a signing key: %w", err)
		}
		keys := make([]lazuli.SigningKey, 0, len(tenant.SigningKeys)+1)
		for _, k := range tenant.SigningKeys {
			if t.now().Before(k.CreatedAt.Add(keyLife + ActivationLife + clockSkew)) {
				keys = append(keys, k)
			}
		}
		keys = append(keys, lazuli.SigningKey{ID: id, Sealed: sealed, CreatedAt: t.now().UTC()})
		tenant.SigningKeys = keys
		return tx.Update(ctx, &tenant)
	})
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	return &tenant, nil
}

func (t *tokens) due(tenant *lazuli.Tenant) bool {
	n := len(tenant.SigningKeys)
	return n == 0 || !t.now().Before(tenant.SigningKeys[n-1].CreatedAt.Add(keyLife))
}

func randomID(random io.Reader) (string, error) {
	b := make([]byte, idBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fmt.Errorf("read random bytes of an id: %w", err)
	}
	return hex.EncodeToString(b), nil
}

// sign makes a token for an audience.
func (t *tokens) sign(
	tenant *lazuli.Tenant, audience string, u *lazuli.User, session string, began time.Time, life time.Duration,
) (lazuli.Secret, error) {
	if len(tenant.SigningKeys) == 0 {
		return lazuli.Secret{}, lazuli.Errorf(lazuli.CodeInternal, "sign a token: the tenant has no signing key")
	}
	newest := tenant.SigningKeys[len(tenant.SigningKeys)-1]
	key, err := t.key(tenant, newest.ID)
	if err != nil {
		return lazuli.Secret{}, err
	}
	id, err := randomID(t.random)
	if err != nil {
		return lazuli.Secret{}, err
	}
	now := t.now()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, &claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: tokenIssuer, Subject: u.UID, Audience: jwt.ClaimStrings{audience + tenant.UID}, ID: id,
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
		},
		Session: session, Generation: u.Generation, Began: jwt.NewNumericDate(began),
	})
	token.Header["kid"] = newest.ID
	s, err := token.SignedString(key)
	if err != nil {
		return lazuli.Secret{}, fmt.Errorf("sign a token: %w", err)
	}
	return lazuli.NewSecret(s), nil
}

// check returns what a token of an audience says. Whatever is wrong with it,
// the error tells nothing to the caller.
func (t *tokens) check(tenant *lazuli.Tenant, audience string, token lazuli.Secret) (*claims, error) {
	if len(token.Reveal()) > maxTokenLength {
		return nil, unauthenticated()
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(tokenIssuer), jwt.WithAudience(audience+tenant.UID),
		jwt.WithExpirationRequired(), jwt.WithNotBeforeRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(clockSkew), jwt.WithTimeFunc(t.now), jwt.WithStrictDecoding(),
	)
	var c claims
	var internal error
	_, err := parser.ParseWithClaims(token.Reveal(), &c, func(tok *jwt.Token) (any, error) {
		// The header holds what sign puts there and nothing else: no key, no
		// address of one, nothing critical.
		kid, ok := tok.Header["kid"].(string)
		if typ, isText := tok.Header["typ"].(string); !ok || !isText || typ != "JWT" || len(tok.Header) != 3 {
			return nil, errUnknownKey
		}
		key, err := t.key(tenant, kid)
		if err != nil && !errors.Is(err, errUnknownKey) {
			internal = err
		}
		return key, err
	})
	if internal != nil {
		return nil, internal
	}
	if err != nil {
		return nil, unauthenticated()
	}
	return &c, nil
}

// isToken tells a token from an API key.
func isToken(credential lazuli.Secret) bool { return strings.Count(credential.Reveal(), ".") == 2 }

// sameText compares without telling where two texts differ.
func sameText(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// Generation of an activation link: of another audience, and over with the
// first password that is set.
func activationSession(u *lazuli.User) string {
	return "activate-" + strconv.FormatInt(u.Generation, 10)
}
