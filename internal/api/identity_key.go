// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// Everybody has API keys of their own; other users' need the permissions
// apiKey.* and all that the user may do.
func keyRoutes() []route {
	const keys, key = "/v1/apiKeys", "/v1/apiKeys/{uid}"
	return []route{
		{Method: methodGet, Pattern: keys, Operation: "v1ApiKeysList", Permission: auth.None, Status: ok, Handle: listKeys},
		{Method: methodPost, Pattern: keys, Operation: "v1ApiKeysCreate", Permission: auth.None, Status: created, Body: maxBody, Mutates: true, Handle: createKey},
		{Method: methodGet, Pattern: key, Operation: "v1ApiKeysUidGet", Permission: auth.None, Status: ok, Handle: getKey},
		{Method: methodPut, Pattern: key, Operation: "v1ApiKeysUidUpdate", Permission: auth.None, Status: noContent, Body: maxBody, Mutates: true, Handle: updateKey},
		{Method: methodPatch, Pattern: key, Operation: "v1ApiKeysUidActiveState", Permission: auth.None, Status: noContent, Body: maxBody, Mutates: true, Handle: setKeyState},
		{Method: methodPut, Pattern: key + "/state", Operation: "v1ApiKeysUidState", Permission: auth.None, Status: noContent, Body: maxBody, Mutates: true, Handle: setKeyState},
		{Method: methodDelete, Pattern: key, Operation: "v1ApiKeysUidDelete", Permission: auth.None, Status: noContent, Mutates: true, Handle: deleteKey},
	}
}

const (
	// annotationKeyProject binds a new key to one project. It is ours.
	annotationKeyProject = "lazuli.io/projectUid"
	// maxKeys bounds the keys of a user.
	maxKeys = 100
)

func createKey(a *API, c *call) (any, error) {
	var in wire.APIKeyEntity
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	spec := orZero(in.Spec)
	k := &lazuli.APIKey{Meta: metaOf(&f, in.Metadata, true), UserUID: orElse(spec.UserUID, c.actor.UserUID), ExpiresAt: spec.Expiry.UTC()}
	a.checkExpiry(&f, k.ExpiresAt)
	k.Project = orElse(k.Annotations[annotationKeyProject], c.actor.Project)
	if k.Project != "" && !c.actor.Sees(k.Project) {
		f.Add("metadata.annotations."+annotationKeyProject, "no project has the uid %q", shorten(k.Project))
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	key, err := auth.NewKey(a.Random)
	if err != nil {
		return nil, err
	}
	k.Hash = auth.HashKey(key)
	if k.UID, err = a.newUID(); err != nil {
		return nil, err
	}
	err = a.Store.Update(c.ctx(), func(tx store.Tx) error {
		if err := a.mayKeep(c, tx, k, auth.APIKeyCreate); err != nil {
			return err
		}
		have, err := tx.Query(c.ctx(), store.Query{
			Kind: lazuli.KindAPIKey, Where: []store.Where{{Field: store.FieldOwner, Op: store.Eq, Value: k.UserUID}}, Limit: 1,
		})
		if err != nil {
			return fmt.Errorf("count API keys: %w", err)
		}
		if have.Total >= maxKeys {
			return lazuli.Errorf(lazuli.CodeConflict, "the user has %d API keys, more are not kept; delete one first", have.Total)
		}
		if err := tx.Create(c.ctx(), k); err != nil {
			return fmt.Errorf("create API key %q: %w", k.Name, err)
		}
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindAPIKey, k.UID, k.Project))
	})
	if err != nil {
		return nil, err
	}
	return wire.APIKeyCreateResponse{APIKey: key.Reveal(), UID: k.UID}, nil
}

func (a *API) checkExpiry(f *lazuli.Fields, t time.Time) {
	if !t.IsZero() && !a.Now().Before(t) {
		f.Add("spec.expiry", "is over already")
	}
}

// mayKeep refuses a key that could do more than the credential that makes or
// changes it: of a user with other rights, in other projects, or for longer.
func (a *API) mayKeep(c *call, r store.Reader, k *lazuli.APIKey, p auth.Permission) error {
	if k.UserUID != c.actor.UserUID {
		if err := a.mayActFor(c, r, k.UserUID, p); err != nil {
			return err
		}
	}
	if c.actor.Project != "" && k.Project != c.actor.Project {
		return lazuli.Errorf(lazuli.CodeForbidden, "the caller's API key is bound to a project, and this one is not bound to the same")
	}
	if e := c.actor.Expires; !e.IsZero() && (k.ExpiresAt.IsZero() || k.ExpiresAt.After(e)) {
		return &lazuli.Error{
			Code: lazuli.CodeForbidden, Message: "the key would hold longer than the one that makes or changes it",
			Remedy: "set spec.expiry to " + e.UTC().Format(time.RFC3339) + " or before, or sign in with a password",
		}
	}
	return nil
}

// mayActFor refuses to deal with the keys of a user who has rights that the
// caller lacks: a key acts as its user.
func (a *API) mayActFor(c *call, r store.Reader, user string, p auth.Permission) error {
	if err := c.may(p, ""); err != nil {
		return err
	}
	var u lazuli.User
	err := r.Get(c.ctx(), user, &u)
	if lazuli.CodeOf(err) == lazuli.CodeNotFound {
		return reject("spec.userUid", "there is no such user")
	}
	if err != nil {
		return fmt.Errorf("read user %s: %w", user, err)
	}
	w, err := a.authority(c, r)
	if err != nil {
		return err
	}
	return w.mayManage(&u)
}

// keyToRead reads a key that is the caller's or that they may see.
func (a *API) keyToRead(c *call, r store.Reader, p auth.Permission) (*lazuli.APIKey, error) {
	uid := c.param("uid")
	k := &lazuli.APIKey{}
	if !lazuli.ValidUID(uid) {
		return nil, notFound(k.Kind(), uid)
	}
	err := r.Get(c.ctx(), uid, k)
	switch {
	case lazuli.CodeOf(err) == lazuli.CodeNotFound,
		err == nil && !c.seesKey(k) && !c.actor.May(auth.APIKeyGet, "") && !c.actor.May(p, ""):
		return nil, notFound(k.Kind(), uid)
	case err != nil:
		return nil, fmt.Errorf("read API key %s: %w", uid, err)
	}
	return k, nil
}

// seesKey reports whether a key is the caller's own; a bound key sees those of
// its project alone.
func (c *call) seesKey(k *lazuli.APIKey) bool {
	return k.UserUID == c.actor.UserUID && (c.actor.Project == "" || c.actor.Project == k.Project)
}

// keyToChange is keyToRead for a key that the caller is going to change.
func (a *API) keyToChange(c *call, r store.Reader, p auth.Permission) (*lazuli.APIKey, error) {
	k, err := a.keyToRead(c, r, p)
	if err != nil || k.UserUID == c.actor.UserUID {
		return k, err
	}
	return k, a.mayActFor(c, r, k.UserUID, p)
}

func listKeys(a *API, c *call) (any, error) {
	keys, err := storedByName[lazuli.APIKey](a, c)
	if err != nil {
		return nil, err
	}
	users, err := storedByName[lazuli.User](a, c)
	if err != nil {
		return nil, err
	}
	byUID := map[string]*lazuli.User{}
	for i := range users {
		byUID[users[i].UID] = &users[i]
	}
	all := c.actor.May(auth.APIKeyList, "")
	out := wire.APIKeys{Items: []wire.APIKey{}}
	for i := range keys {
		if all || c.seesKey(&keys[i]) {
			out.Items = append(out.Items, a.keyOf(&keys[i], byUID[keys[i].UserUID]))
		}
	}
	return out, nil
}

// keyOf renders what is known of a key, which is not the key itself.
func (a *API) keyOf(k *lazuli.APIKey, u *lazuli.User) wire.APIKey {
	user := &wire.APIKeyUser{UID: k.UserUID}
	if u != nil {
		user.FirstName, user.LastName = orElse(u.FirstName, u.Name), u.LastName
	}
	over := !k.ExpiresAt.IsZero() && !a.Now().Before(k.ExpiresAt)
	return wire.APIKey{
		Metadata: identityMeta(&k.Meta),
		Spec:     &wire.APIKeySpec{Expiry: wire.At(k.ExpiresAt), User: user},
		Status:   &wire.APIKeyStatus{IsActive: !k.Disabled && !over},
	}
}

func getKey(a *API, c *call) (any, error) {
	k, err := a.keyToRead(c, a.Store, auth.APIKeyGet)
	if err != nil {
		return nil, err
	}
	u := &lazuli.User{}
	if err := a.Store.Get(c.ctx(), k.UserUID, u); err != nil && lazuli.CodeOf(err) != lazuli.CodeNotFound {
		return nil, fmt.Errorf("read user %s: %w", k.UserUID, err)
	}
	return a.keyOf(k, u), nil
}

// changeKey changes a key in a transaction and notes it.
func (a *API) changeKey(c *call, change func(store.Tx, *lazuli.APIKey) error) error {
	return a.Store.Update(c.ctx(), func(tx store.Tx) error {
		k, err := a.keyToChange(c, tx, auth.APIKeyUpdate)
		if err != nil {
			return err
		}
		if err := change(tx, k); err != nil {
			return err
		}
		if err := tx.Update(c.ctx(), k); err != nil {
			return fmt.Errorf("update API key %s: %w", k.UID, err)
		}
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindAPIKey, k.UID, k.Project))
	})
}

func updateKey(a *API, c *call) (any, error) {
	var in wire.APIKeyUpdate
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	meta := metaOf(&f, in.Metadata, in.Metadata != nil)
	expiry := orZero(in.Spec).Expiry.UTC()
	a.checkExpiry(&f, expiry)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return nil, a.changeKey(c, func(tx store.Tx, k *lazuli.APIKey) error {
		if in.Metadata != nil {
			k.Name, k.Labels, k.Annotations = meta.Name, meta.Labels, meta.Annotations
		}
		if in.Spec == nil || expiry.Equal(k.ExpiresAt) {
			return nil
		}
		k.ExpiresAt = expiry
		return a.mayKeep(c, tx, k, auth.APIKeyUpdate)
	})
}

func setKeyState(a *API, c *call) (any, error) {
	var in wire.APIKeyActiveState
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, a.changeKey(c, func(tx store.Tx, k *lazuli.APIKey) error {
		if k.Disabled = !in.IsActive; k.Disabled {
			return nil
		}
		return a.mayKeep(c, tx, k, auth.APIKeyUpdate)
	})
}

func deleteKey(a *API, c *call) (any, error) {
	return nil, a.Store.Update(c.ctx(), func(tx store.Tx) error {
		k, err := a.keyToChange(c, tx, auth.APIKeyDelete)
		if err != nil {
			return err
		}
		if err := tx.Delete(c.ctx(), lazuli.KindAPIKey, k.UID); err != nil {
			return fmt.Errorf("delete API key %s: %w", k.UID, err)
		}
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindAPIKey, k.UID, k.Project))
	})
}
