// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// maxEnded bounds the sessions of a user that are remembered as ended; one more
// ends all.
const maxEnded = 32

func badSignIn() error {
	return &lazuli.Error{
		Code:    lazuli.CodeUnauthenticated,
		Message: "sign in: the name or the password is wrong, or the user may not sign in",
		Remedy:  "check both; an administrator can give the user another password",
	}
}

// SignIn begins a session and returns its token. Whatever is wrong with the
// name or the password is one lazuli.CodeUnauthenticated, after the same work.
// Too many failures are lazuli.CodeTooManyRequests.
func (a *Authenticator) SignIn(ctx context.Context, email string, password lazuli.Secret, remote string) (lazuli.Secret, error) {
	u, outdated, err := a.verify(ctx, email, password, remote)
	if err != nil {
		return lazuli.Secret{}, err
	}
	hash := u.PasswordHash
	if outdated {
		if hash, err = a.passwords.Hash(ctx, password); err != nil {
			return lazuli.Secret{}, fmt.Errorf("sign in: %w", err)
		}
	}
	u, err = a.change(ctx, u, func(u *lazuli.User) {
		u.PasswordHash = hash
		u.LastSignIn = a.now().UTC()
	})
	if err != nil {
		return lazuli.Secret{}, err
	}
	tenant, err := a.tokens.ensureKey(ctx, a.store)
	if err != nil {
		return lazuli.Secret{}, fmt.Errorf("sign in: %w", err)
	}
	session, err := randomID(a.random)
	if err != nil {
		return lazuli.Secret{}, fmt.Errorf("sign in: %w", err)
	}
	return a.tokens.sign(tenant, audSession, u, session, a.now(), TokenLife)
}

// ChangeOwnPassword replaces a password by who knows it, and ends the user's
// sessions. check says what is wrong with the new one for the user.
func (a *Authenticator) ChangeOwnPassword(
	ctx context.Context, email string, current, next lazuli.Secret, remote string, check func(*lazuli.User) error,
) error {
	u, _, err := a.verify(ctx, email, current, remote)
	if err != nil {
		return err
	}
	if err := check(u); err != nil {
		return err
	}
	hash, err := a.passwords.Hash(ctx, next)
	if err != nil {
		return fmt.Errorf("change a password: %w", err)
	}
	_, err = a.change(ctx, u, func(u *lazuli.User) {
		SetPassword(u, hash)
		u.MustChangePassword = false
	})
	return err
}

// SetPassword puts the hash of a new password into a user and ends all of their
// sessions.
func SetPassword(u *lazuli.User, hash string) {
	u.PasswordHash = hash
	EndSessions(u)
}

// EndSessions ends all sessions of a user.
func EndSessions(u *lazuli.User) {
	u.Generation++
	u.Ended = nil
}

// HashPassword makes the form in which a password is stored.
func (a *Authenticator) HashPassword(ctx context.Context, password lazuli.Secret) (string, error) {
	return a.passwords.Hash(ctx, password)
}

// verify finds the user with a name and password; outdated is that the hash was
// made at smaller costs than today's.
func (a *Authenticator) verify(
	ctx context.Context, email string, password lazuli.Secret, remote string,
) (u *lazuli.User, outdated bool, err error) {
	address := AddressKey(remote)
	if err := a.throttle.admit(address, lazuli.Secret{}); err != nil {
		return nil, false, err
	}
	succeed, err := a.throttle.attempt(address, email)
	if err != nil {
		return nil, false, err
	}
	u = &lazuli.User{}
	err = a.store.ByUnique(ctx, lazuli.Fold(strings.TrimSpace(email)), u)
	if err != nil && lazuli.CodeOf(err) != lazuli.CodeNotFound {
		return nil, false, fmt.Errorf("sign in: %w", err)
	}
	hash := u.PasswordHash
	if err != nil || u.Disabled {
		hash = "" // checked all the same, which takes as long
	}
	ok, outdated, err := a.passwords.Check(ctx, password, hash)
	if err != nil {
		return nil, false, fmt.Errorf("sign in: %w", err)
	}
	if !ok {
		a.throttle.failed(address, loginCost)
		return nil, false, badSignIn()
	}
	succeed()
	return u, outdated, nil
}

// change stores a change of a user whose password was verified, unless that is
// no longer so.
func (a *Authenticator) change(ctx context.Context, verified *lazuli.User, change func(*lazuli.User)) (*lazuli.User, error) {
	u := &lazuli.User{}
	err := a.store.Update(ctx, func(tx store.Tx) error {
		if err := tx.Get(ctx, verified.UID, u); err != nil {
			return lookupError(err)
		}
		if u.Disabled || u.PasswordHash != verified.PasswordHash {
			return badSignIn()
		}
		change(u)
		return tx.Update(ctx, u)
	})
	if err != nil {
		return nil, fmt.Errorf("record a sign-in: %w", err)
	}
	return u, nil
}

// session checks a session's token and returns what it says and its user.
func (a *Authenticator) session(
	ctx context.Context, tenant *lazuli.Tenant, token lazuli.Secret,
) (*claims, *lazuli.User, error) {
	c, err := a.tokens.check(tenant, audSession, token)
	if err != nil {
		return nil, nil, err
	}
	u, err := a.user(ctx, c.Subject)
	if err != nil {
		return nil, nil, err
	}
	ended := slices.ContainsFunc(u.Ended, func(e lazuli.EndedSession) bool { return e.ID == c.Session })
	if c.Generation != u.Generation || ended || !a.now().Before(c.Began.Add(SessionLife)) {
		return nil, nil, unauthenticated()
	}
	return c, u, nil
}

// Refresh prolongs a session by a new token, for at most SessionLife since the
// password was given.
func (a *Authenticator) Refresh(ctx context.Context, token lazuli.Secret, remote string) (lazuli.Secret, error) {
	address := AddressKey(remote)
	if err := a.throttle.admit(address, token); err != nil {
		return lazuli.Secret{}, err
	}
	tenant, err := a.tokens.ensureKey(ctx, a.store)
	if err != nil {
		return lazuli.Secret{}, fmt.Errorf("prolong a session: %w", err)
	}
	c, u, err := a.session(ctx, tenant, token)
	if err != nil {
		if lazuli.CodeOf(err) == lazuli.CodeUnauthenticated {
			a.throttle.failed(address, 1)
		}
		return lazuli.Secret{}, err
	}
	life := min(TokenLife, c.Began.Add(SessionLife).Sub(a.now()))
	return a.tokens.sign(tenant, audSession, u, c.Session, c.Began.Time, life)
}

// End ends the sessions of tokens that are the actor's own; others are left
// alone, without a word.
func (a *Authenticator) End(ctx context.Context, actor Actor, list []lazuli.Secret) error {
	var tenant lazuli.Tenant
	if err := a.store.ByUnique(ctx, lazuli.TenantUnique, &tenant); err != nil {
		return fmt.Errorf("end sessions: read the tenant: %w", err)
	}
	ended := map[string]bool{}
	for _, token := range list {
		c, err := a.tokens.check(&tenant, audSession, token)
		if lazuli.CodeOf(err) == lazuli.CodeUnauthenticated {
			continue // over already, or never one
		}
		if err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
		if c.Subject == actor.UserUID {
			ended[c.Session] = true
		}
	}
	if len(ended) == 0 {
		return nil
	}
	return a.store.Update(ctx, func(tx store.Tx) error {
		var u lazuli.User
		if err := tx.Get(ctx, actor.UserUID, &u); err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
		now := a.now().UTC()
		u.Ended = slices.DeleteFunc(u.Ended, func(e lazuli.EndedSession) bool {
			return !now.Before(e.Until) || ended[e.ID]
		})
		for id := range ended {
			u.Ended = append(u.Ended, lazuli.EndedSession{ID: id, Until: now.Add(SessionLife + clockSkew)})
		}
		if len(u.Ended) > maxEnded {
			EndSessions(&u)
		}
		slices.SortFunc(u.Ended, func(x, y lazuli.EndedSession) int { return strings.Compare(x.ID, y.ID) })
		return tx.Update(ctx, &u)
	})
}

// ActivationToken makes a token with which a user's password can be set once.
// It is over with any change of the password and after ActivationLife.
func (a *Authenticator) ActivationToken(ctx context.Context, u *lazuli.User) (lazuli.Secret, error) {
	tenant, err := a.tokens.ensureKey(ctx, a.store)
	if err != nil {
		return lazuli.Secret{}, fmt.Errorf("make an activation: %w", err)
	}
	return a.tokens.sign(tenant, audActivation, u, activationSession(u), a.now(), ActivationLife)
}

// Activate sets the password of the user that an activation token is for.
// check says what is wrong with it for that user.
func (a *Authenticator) Activate(
	ctx context.Context, token, password lazuli.Secret, remote string, check func(*lazuli.User) error,
) (*lazuli.User, error) {
	address := AddressKey(remote)
	if err := a.throttle.admit(address, token); err != nil {
		return nil, err
	}
	var tenant lazuli.Tenant
	if err := a.store.ByUnique(ctx, lazuli.TenantUnique, &tenant); err != nil {
		return nil, fmt.Errorf("activate a user: read the tenant: %w", err)
	}
	refuse := func(err error) (*lazuli.User, error) {
		if lazuli.CodeOf(err) == lazuli.CodeUnauthenticated {
			a.throttle.failed(address, 1)
		}
		return nil, err
	}
	c, err := a.tokens.check(&tenant, audActivation, token)
	if err != nil {
		return refuse(err)
	}
	u, err := a.activatable(ctx, a.store, c)
	if err != nil {
		return refuse(err)
	}
	if err := check(u); err != nil {
		return nil, err
	}
	hash, err := a.passwords.Hash(ctx, password)
	if err != nil {
		return nil, fmt.Errorf("activate a user: %w", err)
	}
	err = a.store.Update(ctx, func(tx store.Tx) error {
		if u, err = a.activatable(ctx, tx, c); err != nil {
			return err
		}
		SetPassword(u, hash)
		u.MustChangePassword = false
		return tx.Update(ctx, u)
	})
	if err != nil {
		return refuse(err)
	}
	return u, nil
}

func (a *Authenticator) activatable(ctx context.Context, r store.Reader, c *claims) (*lazuli.User, error) {
	u := &lazuli.User{}
	if err := r.Get(ctx, c.Subject, u); err != nil {
		return nil, lookupError(err)
	}
	if u.Disabled || c.Generation != u.Generation || c.Session != activationSession(u) {
		return nil, unauthenticated()
	}
	return u, nil
}
