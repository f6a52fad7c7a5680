// SPDX-License-Identifier: Apache-2.0

// Package auth says who calls and what they may do: API keys, the actor of a
// request, and permissions with Palette's names.
//
// A key is 256 random bits behind the prefix "lz_"; the store holds its
// SHA-256 only. An actor is an administrator, who may do everything, or a
// reader, who may look. A key may be bound to one project: then nothing of
// another project exists for its bearer.
//
// The package refuses to know routes, to keep credentials, to cache who may do
// what (a removed key stops working with the next request), and to tell an
// unknown key from a wrong one.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
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

const (
	// KeyPrefix starts every key that we make, so that scanners find one that
	// leaked.
	KeyPrefix = "lz_"
	keyBytes  = 32
	// MinKeyLength is the shortest key that Bootstrap takes from an operator.
	MinKeyLength = 16
	maxKeyLength = 512
)

// NewKey makes a key from 256 bits of random.
func NewKey(random io.Reader) (lazuli.Secret, error) {
	b := make([]byte, keyBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return lazuli.Secret{}, fmt.Errorf("read random bytes of an API key: %w", err)
	}
	return lazuli.NewSecret(KeyPrefix + hex.EncodeToString(b)), nil
}

// HashKey is the form in which a key is stored: hexadecimal SHA-256. A key has
// 256 bits of entropy, so a slow hash would protect nothing more.
func HashKey(key lazuli.Secret) string {
	sum := sha256.Sum256([]byte(key.Reveal()))
	return hex.EncodeToString(sum[:])
}

// Actor is who calls.
type Actor struct {
	UserUID string
	Name    string
	KeyUID  string
	Admin   bool
	Project string // the only project that the key may see; "" is all
}

// May reports whether the actor has a permission in the projects it sees.
func (a Actor) May(p Permission) bool { return a.Admin || p == None || p.reads() }

// Sees reports whether objects of a project exist for the actor. Objects of
// tenant scope ("") can be read from every project.
func (a Actor) Sees(project string) bool {
	return a.Project == "" || project == "" || a.Project == project
}

// Changes reports whether the actor may change objects of a project: those of
// tenant scope only with a key that is not bound to a project.
func (a Actor) Changes(project string) bool { return a.Project == "" || a.Project == project }

type actorKey struct{}

// WithActor returns a context that carries the actor.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorFrom returns the actor of a context; the zero Actor, who may read
// nothing by way of a route's permission check, when there is none.
func ActorFrom(ctx context.Context) (Actor, bool) {
	a, ok := ctx.Value(actorKey{}).(Actor)
	return a, ok
}

// Authenticator finds the actor of a request.
type Authenticator struct {
	store store.Reader
	now   func() time.Time
}

// New returns an Authenticator over a store.
func New(s store.Reader, now func() time.Time) *Authenticator {
	return &Authenticator{store: s, now: now}
}

// Authenticate reads the credential from the header ApiKey, or from
// Authorization (the key, with or without "Bearer "). The error has
// lazuli.CodeUnauthenticated, and the same text whatever is wrong with the
// credential, or lazuli.CodeUnavailable when the store cannot answer.
func (a *Authenticator) Authenticate(ctx context.Context, h http.Header) (Actor, error) {
	key := credential(h)
	if key.Empty() || len(key.Reveal()) > maxKeyLength {
		return Actor{}, unauthenticated()
	}
	hash := HashKey(key)
	var k lazuli.APIKey
	if err := a.store.ByUnique(ctx, hash, &k); err != nil {
		return Actor{}, lookupError(err)
	}
	// The look-up compared hashes already, in a time that tells nothing about
	// the key; this holds whatever a store compares.
	if subtle.ConstantTimeCompare([]byte(k.Hash), []byte(hash)) != 1 {
		return Actor{}, unauthenticated()
	}
	if !k.ExpiresAt.IsZero() && !a.now().Before(k.ExpiresAt) {
		return Actor{}, unauthenticated()
	}
	var u lazuli.User
	if err := a.store.Get(ctx, k.UserUID, &u); err != nil {
		return Actor{}, lookupError(err)
	}
	return Actor{UserUID: u.UID, Name: u.Name, KeyUID: k.UID, Admin: u.Admin, Project: k.Project}, nil
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
		Message: "authenticate: no valid API key",
		Remedy:  "send a key of this hub in the header ApiKey",
	}
}

func lookupError(err error) error {
	if lazuli.CodeOf(err) == lazuli.CodeNotFound {
		return unauthenticated()
	}
	return fmt.Errorf("authenticate: %w", err)
}

// Names that Bootstrap gives.
const (
	DefaultProject = "Default" // Terraform's default project, compared with regard to case
	AdminUser      = "admin"
	adminKeyName   = "bootstrap"
)

// BootstrapOptions configure Bootstrap.
type BootstrapOptions struct {
	Now    func() time.Time // default time.Now
	Random io.Reader        // default crypto/rand
	// Key, when not empty, becomes a key of the administrator if it is none
	// yet; then none is made.
	Key lazuli.Secret
}

// Bootstrapped is what a hub has from its first start on.
type Bootstrapped struct {
	ProjectUID string
	UserUID    string
	// Key is the administrator's key when this call made one, else empty. It
	// cannot be had again.
	Key lazuli.Secret
}

// Bootstrap makes sure that there are the project Default, the user admin and
// an API key of theirs. It may be called at every start: what is there stays.
// A Key shorter than MinKeyLength or with characters that a header cannot carry
// is lazuli.CodeInvalidField.
func Bootstrap(ctx context.Context, s store.Store, o BootstrapOptions) (Bootstrapped, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if err := checkKey(o.Key); err != nil {
		return Bootstrapped{}, err
	}
	var out Bootstrapped
	err := s.Update(ctx, func(tx store.Tx) error {
		var err error
		out, err = bootstrap(ctx, tx, o)
		return err
	})
	if err != nil {
		return Bootstrapped{}, fmt.Errorf("prepare the hub's first objects: %w", err)
	}
	return out, nil
}

func bootstrap(ctx context.Context, tx store.Tx, o BootstrapOptions) (Bootstrapped, error) {
	var out Bootstrapped
	project := &lazuli.Project{Meta: lazuli.Meta{Name: DefaultProject}, Description: "The first project."}
	if err := ensure(ctx, tx, o, project, &lazuli.Project{}, &out.ProjectUID); err != nil {
		return out, err
	}
	user := &lazuli.User{Meta: lazuli.Meta{Name: AdminUser}, Admin: true}
	if err := ensure(ctx, tx, o, user, &lazuli.User{}, &out.UserUID); err != nil {
		return out, err
	}
	key := o.Key
	if key.Empty() {
		page, err := tx.Query(ctx, store.Query{
			Kind:  lazuli.KindAPIKey,
			Where: []store.Where{{Field: store.FieldOwner, Op: store.Eq, Value: out.UserUID}},
			Limit: 1,
		})
		if err != nil {
			return out, fmt.Errorf("look for a key of the administrator: %w", err)
		}
		if len(page.Rows) > 0 {
			return out, nil
		}
		if key, err = NewKey(o.Random); err != nil {
			return out, err
		}
		out.Key = key
	}
	k := &lazuli.APIKey{Meta: lazuli.Meta{Name: adminKeyName}, UserUID: out.UserUID, Hash: HashKey(key)}
	var uid string
	return out, ensure(ctx, tx, o, k, &lazuli.APIKey{}, &uid)
}

// ensure creates o unless there is an object with its unique value, and tells
// the uid. found is where the object is decoded into.
func ensure(
	ctx context.Context, tx store.Tx, opts BootstrapOptions, o, found lazuli.Object, uid *string,
) error {
	err := tx.ByUnique(ctx, o.Index().Unique, found)
	switch {
	case err == nil:
		*uid = found.Head().UID
		return nil
	case lazuli.CodeOf(err) != lazuli.CodeNotFound:
		return fmt.Errorf("look for %s %q: %w", o.Kind(), o.Head().Name, err)
	}
	if *uid, err = lazuli.NewUID(opts.Now(), opts.Random); err != nil {
		return err
	}
	o.Head().UID = *uid
	if err := tx.Create(ctx, o); err != nil {
		return fmt.Errorf("create %s %q: %w", o.Kind(), o.Head().Name, err)
	}
	return nil
}

func checkKey(key lazuli.Secret) error {
	k := key.Reveal()
	if k == "" {
		return nil
	}
	if len(k) < MinKeyLength || len(k) > maxKeyLength {
		return lazuli.Errorf(lazuli.CodeInvalidField,
			"the administrator's API key needs %d to %d characters", MinKeyLength, maxKeyLength)
	}
	for i := range len(k) {
		if k[i] <= ' ' || k[i] > '~' {
			return lazuli.Errorf(lazuli.CodeInvalidField,
				"the administrator's API key has a character that a header cannot carry")
		}
	}
	return nil
}
