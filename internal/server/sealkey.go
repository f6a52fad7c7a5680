// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/seal"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// openSeal opens the key that seals secrets, and makes it at the first start.
// A store with sealed values and no key, or another key, is refused at once:
// a new key would seal new values beside old ones that nobody can open again.
func (s *Server) openSeal(ctx context.Context) (*seal.Sealer, error) {
	path := filepath.Join(s.cfg.DataDir, sealKeyName)
	sample, err := s.sealedSample(ctx)
	if err != nil {
		return nil, err
	}
	const remedy = "put back the key file that belongs to the store; every hub of one database needs the same"
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && sample != nil {
		return nil, fmt.Errorf("the sealing key %s is missing, and the store holds values that were sealed with it: %s", path, remedy)
	}
	sealer, err := seal.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the sealing key: %w", err)
	}
	if sample != nil {
		if _, err := sealer.Unseal(sample.sealed, sample.aad); err != nil {
			return nil, fmt.Errorf("the sealing key %s does not open what the store holds: %s", path, remedy)
		}
	}
	return sealer, nil
}

// sealed is a value of the store that the sealing key must open.
type sealed struct {
	sealed lazuli.Sealed
	aad    string
}

// sealedSample is any sealed value of the store, nil when there is none: the
// client secret of an account, or the key that signs sessions.
func (s *Server) sealedSample(ctx context.Context) (*sealed, error) {
	page, err := s.store.Query(ctx, store.Query{Kind: lazuli.KindAccount, Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("look for sealed values: %w", err)
	}
	if len(page.Rows) > 0 {
		var a lazuli.Account
		if err := json.Unmarshal(page.Rows[0].Data, &a); err != nil {
			return nil, fmt.Errorf("read account %s: %w", page.Rows[0].Meta.UID, err)
		}
		return &sealed{a.ClientSecret, lazuli.AccountAAD(page.Rows[0].Meta.UID)}, nil
	}
	var t lazuli.Tenant
	err = s.store.ByUnique(ctx, lazuli.TenantUnique, &t)
	switch {
	case lazuli.CodeOf(err) == lazuli.CodeNotFound, err == nil && len(t.SigningKeys) == 0:
		return nil, nil //nolint:nilnil // an empty store has none
	case err != nil:
		return nil, fmt.Errorf("look for sealed values: %w", err)
	}
	k := t.SigningKeys[0]
	return &sealed{k.Sealed, lazuli.SigningKeyAAD(t.UID, k.ID)}, nil
}
