// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// repeatWindow is how long after a creation the same request is taken for one
// whose answer was lost. Palette's clients repeat for many minutes, but a name
// that is asked for again a day later is meant anew.
const repeatWindow = 15 * time.Minute

// A POST that names an object which is there already is answered in one of two
// ways. When it comes from the same user, with the same body for the same scope,
// while the object is younger than repeatWindow and nobody changed it, the
// answer to the first one was lost: it gets 201 and the uid again. Everything
// else is DuplicateName.
//
// A handler uses it like this, with an object whose name and project are set:
//
//	uid, err := repeated(a, c, o)            before Azure is asked; err says DuplicateName
//	if uid != "" || err != nil { return palette.UID{UID: uid}, err }
//	o.UID = ...
//	uid, err = createOnce(a, c, o, func(tx store.Tx) error { events, audit, work })
//
// What is kept is a digest of the request, sealed: without the hub's key nobody
// can try secrets against it.

// repeated looks whether the object that a request wants to create is there. It
// returns "" when the name is free, the uid when the request is a repetition,
// and else lazuli.CodeDuplicateName.
func repeated[T any, P object[T]](a *API, c *call, o P) (string, error) {
	old := P(new(T))
	err := a.Store.ByUnique(c.ctx(), o.Index().Unique, old)
	switch {
	case lazuli.CodeOf(err) == lazuli.CodeNotFound:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("look whether the name of the %s is free: %w", o.Kind(), err)
	}
	same, err := a.repeats(c, old)
	if err != nil {
		return "", err
	}
	if !same {
		return "", titleTaken(lazuli.Errorf(lazuli.CodeDuplicateName, "taken"), o)
	}
	return old.Head().UID, nil
}

// createOnce stores a new object, whose uid is set, and what write adds in the
// same transaction. It returns the uid of the object, or of the one that the
// same request made a moment ago.
func createOnce[T any, P object[T]](a *API, c *call, o P, write func(store.Tx) error) (string, error) {
	if err := a.sign(c, o); err != nil {
		return "", err
	}
	err := a.Store.Update(c.ctx(), func(tx store.Tx) error {
		if err := tx.Create(c.ctx(), o); err != nil {
			return fmt.Errorf("create %s %q: %w", o.Kind(), o.Head().Name, err)
		}
		return write(tx)
	})
	switch {
	case err == nil:
		return o.Head().UID, nil
	case lazuli.CodeOf(err) != lazuli.CodeDuplicateName:
		return "", err
	}
	uid, again := repeated[T, P](a, c, o)
	if uid == "" && again == nil { // deleted meanwhile
		again = titleTaken(err, o)
	}
	return uid, again
}

// titleTaken is nameTaken for a new object.
func titleTaken(err error, o lazuli.Object) error {
	if u, ok := o.(*lazuli.User); ok {
		return taken(err, emailPath, u.Email)
	}
	return nameTaken(err, title(o))
}

// title is what a name has to be unique as.
func title(o lazuli.Object) string {
	if p, ok := o.(*lazuli.Profile); ok {
		return p.Name + " " + p.ProfileVersion
	}
	return o.Head().Name
}

// sign puts into an object what a repetition of its request is known by.
func (a *API) sign(c *call, o lazuli.Object) error {
	digest, err := a.requestDigest(c)
	if err != nil {
		return err
	}
	m := o.Head()
	sealed, err := a.Seal.Seal(digest, lazuli.CreationAAD(m.UID))
	if err != nil {
		return fmt.Errorf("seal the digest of a request: %w", err)
	}
	m.Creation = &lazuli.Creation{By: c.actor.UserUID, Digest: sealed}
	m.Creation.Wish, err = wish(o)
	return err
}

// repeats reports whether the request is the one that created an object which
// nobody changed since.
func (a *API) repeats(c *call, o lazuli.Object) (bool, error) {
	m := o.Head()
	if m.Creation == nil || m.Creation.By != c.actor.UserUID || a.Now().Sub(m.CreatedAt) >= repeatWindow {
		return false, nil
	}
	now, err := wish(o)
	if err != nil || now != m.Creation.Wish {
		return false, err
	}
	if now == "" && m.Version != 1 {
		return false, nil
	}
	was, err := a.Seal.Unseal(m.Creation.Digest, lazuli.CreationAAD(m.UID))
	if err != nil {
		return false, fmt.Errorf("open the digest of the request that made %s %s: %w", o.Kind(), m.UID, err)
	}
	is, err := a.requestDigest(c)
	return err == nil && subtle.ConstantTimeCompare(was, is) == 1, err
}

// wish identifies what users want of an object that the engine writes too. For
// objects that only users write it is "": their version tells of every change.
func wish(o lazuli.Object) (string, error) {
	cl, ok := o.(*lazuli.Cluster)
	if !ok {
		return "", nil
	}
	b, err := json.Marshal([]any{cl.Name, cl.Labels, cl.Annotations, cl.Spec, cl.AccountUID, cl.Profiles, cl.Delete})
	if err != nil {
		return "", fmt.Errorf("encode the wish of cluster %s: %w", cl.UID, err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// requestDigest is the same for requests that say the same: the operation, the
// scope and the body, whatever the order of its keys and its blanks.
func (a *API) requestDigest(c *call) ([]byte, error) {
	project, err := a.scope(c)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(c.body))
	dec.UseNumber()
	var body any
	if err := dec.Decode(&body); err != nil {
		return nil, fmt.Errorf("read a body that was checked: %w", err)
	}
	canonical, err := json.Marshal([]any{c.op, project, c.r.URL.Query(), body})
	if err != nil {
		return nil, fmt.Errorf("encode a body that was read: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return sum[:], nil
}
