// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Names that Bootstrap gives.
const (
	DefaultProject = "Default" // Terraform's default project, compared with regard to case
	AdminUser      = "admin"   // what the first user signs in with
	DefaultOrg     = "Default"
	adminKeyName   = "bootstrap"
)

// BootstrapOptions configure Bootstrap.
type BootstrapOptions struct {
	Now    func() time.Time // default time.Now
	Random io.Reader        // default crypto/rand
	// Key, when not empty, becomes a key of the administrator if it is none
	// yet; then none is made.
	Key lazuli.Secret
	// Passwords are the costs of the first password's hash; zero is
	// DefaultPasswordParams.
	Passwords PasswordParams
}

// Bootstrapped is what a hub has from its first start on.
type Bootstrapped struct {
	TenantUID  string
	ProjectUID string
	UserUID    string // the first administrator
	// Key is the administrator's key when this call made one, else empty. It
	// cannot be had again.
	Key lazuli.Secret
	// Password is the administrator's first password when this call made one,
	// else empty. It cannot be had again and should be changed.
	Password lazuli.Secret
}

// Bootstrap makes sure that there are the tenant, the project Default and the
// first administrator with a password and an API key. It may be called at every
// start: what is there stays, and what an administrator removed stays away. A
// Key shorter than MinKeyLength or with characters that a header cannot carry
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
	b := bootstrap{BootstrapOptions: o}
	if err := b.prepare(ctx, s); err != nil {
		return Bootstrapped{}, fmt.Errorf("prepare the hub's first objects: %w", err)
	}
	var out Bootstrapped
	err := s.Update(ctx, func(tx store.Tx) error {
		var err error
		out, err = b.run(ctx, tx)
		return err
	})
	if err != nil {
		return Bootstrapped{}, fmt.Errorf("prepare the hub's first objects: %w", err)
	}
	return out, nil
}

type bootstrap struct {
	BootstrapOptions

	password lazuli.Secret
	hash     string
}

// prepare makes the first password, outside of the transaction since its hash
// takes long.
func (b *bootstrap) prepare(ctx context.Context, s store.Reader) error {
	err := s.ByUnique(ctx, lazuli.TenantUnique, &lazuli.Tenant{})
	if lazuli.CodeOf(err) != lazuli.CodeNotFound {
		return err // there is a tenant, or the store cannot say
	}
	hasher, err := NewPasswords(b.Passwords, b.Random)
	if err != nil {
		return err
	}
	if b.password, err = NewPassword(b.Random); err != nil {
		return err
	}
	b.hash, err = hasher.Hash(ctx, b.password)
	return err
}

func (b *bootstrap) run(ctx context.Context, tx store.Tx) (Bootstrapped, error) {
	var out Bootstrapped
	var tenant lazuli.Tenant
	err := tx.ByUnique(ctx, lazuli.TenantUnique, &tenant)
	switch {
	case lazuli.CodeOf(err) == lazuli.CodeNotFound:
		return b.first(ctx, tx)
	case err != nil:
		return out, fmt.Errorf("read the tenant: %w", err)
	}
	out.TenantUID, out.UserUID = tenant.UID, tenant.FirstAdmin
	var project lazuli.Project
	if err := tx.ByUnique(ctx, lazuli.Fold(DefaultProject), &project); err == nil {
		out.ProjectUID = project.UID
	} else if lazuli.CodeOf(err) != lazuli.CodeNotFound {
		return out, fmt.Errorf("read the project %s: %w", DefaultProject, err)
	}
	return out, b.giveKey(ctx, tx, &out)
}

// first makes the objects of the first start. A store of a release that had no
// tenant yet has some of them.
func (b *bootstrap) first(ctx context.Context, tx store.Tx) (Bootstrapped, error) {
	var out Bootstrapped
	project := &lazuli.Project{Meta: lazuli.Meta{Name: DefaultProject}, Description: "The first project."}
	if err := b.ensure(ctx, tx, project, &lazuli.Project{}, &out.ProjectUID); err != nil {
		return out, err
	}
	user := &lazuli.User{Meta: lazuli.Meta{Name: AdminUser}, Email: AdminUser}
	if err := b.ensure(ctx, tx, user, &lazuli.User{}, &out.UserUID); err != nil {
		return out, err
	}
	if err := tx.Get(ctx, out.UserUID, user); err != nil {
		return out, fmt.Errorf("read the user %s: %w", AdminUser, err)
	}
	user.Email = AdminUser
	if role := BuiltinUID(RoleTenantAdmin); !slices.Contains(user.Roles, role) {
		user.Roles = append(user.Roles, role)
	}
	SetPassword(user, b.hash)
	user.MustChangePassword = true
	out.Password = b.password
	if err := tx.Update(ctx, user); err != nil {
		return out, fmt.Errorf("give the user %s a password: %w", AdminUser, err)
	}
	tenant := &lazuli.Tenant{Meta: lazuli.Meta{Name: DefaultOrg}, FirstAdmin: user.UID}
	if err := b.ensure(ctx, tx, tenant, &lazuli.Tenant{}, &out.TenantUID); err != nil {
		return out, err
	}
	return out, b.giveKey(ctx, tx, &out)
}

// giveKey gives the administrator the operator's key, or a new one at the first
// start.
func (b *bootstrap) giveKey(ctx context.Context, tx store.Tx, out *Bootstrapped) error {
	key := b.Key
	switch {
	case key.Empty() && out.Password.Empty():
		return nil // not the first start
	case key.Empty():
		page, err := tx.Query(ctx, store.Query{
			Kind:  lazuli.KindAPIKey,
			Where: []store.Where{{Field: store.FieldOwner, Op: store.Eq, Value: out.UserUID}},
			Limit: 1,
		})
		if err != nil {
			return fmt.Errorf("look for a key of the administrator: %w", err)
		}
		if len(page.Rows) > 0 {
			return nil
		}
		if key, err = NewKey(b.Random); err != nil {
			return err
		}
		out.Key = key
	default:
		if err := b.haveAdmin(ctx, tx, out); err != nil {
			return err
		}
	}
	k := &lazuli.APIKey{Meta: lazuli.Meta{Name: adminKeyName}, UserUID: out.UserUID, Hash: HashKey(key)}
	var uid string
	return b.ensure(ctx, tx, k, &lazuli.APIKey{}, &uid)
}

// haveAdmin makes the first administrator again when the operator gives a key
// and somebody removed the user: who can start the hub can enter it.
func (b *bootstrap) haveAdmin(ctx context.Context, tx store.Tx, out *Bootstrapped) error {
	err := tx.Get(ctx, out.UserUID, &lazuli.User{})
	if lazuli.CodeOf(err) != lazuli.CodeNotFound {
		return err
	}
	user := &lazuli.User{
		Meta: lazuli.Meta{Name: AdminUser}, Email: AdminUser,
		Assignment: lazuli.Assignment{Roles: []string{BuiltinUID(RoleTenantAdmin)}},
	}
	if user.UID, err = lazuli.NewUID(b.Now(), b.Random); err != nil {
		return err
	}
	if err := tx.Create(ctx, user); err != nil {
		return fmt.Errorf("create the user %s again: %w", AdminUser, err)
	}
	var tenant lazuli.Tenant
	if err := tx.ByUnique(ctx, lazuli.TenantUnique, &tenant); err != nil {
		return fmt.Errorf("read the tenant: %w", err)
	}
	tenant.FirstAdmin, out.UserUID = user.UID, user.UID
	return tx.Update(ctx, &tenant)
}

// ensure creates o unless there is an object with its unique value, and tells
// the uid. found is where the object is decoded into.
func (b *bootstrap) ensure(ctx context.Context, tx store.Tx, o, found lazuli.Object, uid *string) error {
	err := tx.ByUnique(ctx, o.Index().Unique, found)
	switch {
	case err == nil:
		*uid = found.Head().UID
		return nil
	case lazuli.CodeOf(err) != lazuli.CodeNotFound:
		return fmt.Errorf("look for %s %q: %w", o.Kind(), o.Head().Name, err)
	}
	if *uid, err = lazuli.NewUID(b.Now(), b.Random); err != nil {
		return err
	}
	o.Head().UID = *uid
	if err := tx.Create(ctx, o); err != nil {
		return fmt.Errorf("create %s %q: %w", o.Kind(), o.Head().Name, err)
	}
	return nil
}
