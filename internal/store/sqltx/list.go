// SPDX-License-Identifier: Apache-2.0

package sqltx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
)

// indexVersion is that of what a digest is of. It is raised with a change of
// what the listings of stored objects hold, so that they are written anew.
const indexVersion = 2

// Listed are the kinds whose listings changed in what they are found by.
func (t *Tx) Listed() []lazuli.Kind { return slices.Sorted(maps.Keys(t.listed)) }

// list writes what a new object of a listed kind is found and shown by.
func (t *Tx) list(ctx context.Context, o lazuli.Object, ix lazuli.Index) error {
	digest, err := digestOf(o, ix)
	if err != nil {
		return err
	}
	version, head, err := t.head(o)
	if err != nil {
		return err
	}
	h := o.Head()
	if _, err := t.On.Exec(ctx, sqltext.InsertListing, string(o.Kind()), h.UID, h.Project, ix.Owner, h.Name,
		lazuli.Fold(h.Name), ix.State, ix.Health, sqltext.Micros(t.Now), digest, version, head); err != nil {
		return err
	}
	t.relisted(o.Kind())
	return t.putFacets(ctx, o, ix)
}

// relist writes what changed of what an object is found by, mostly nothing.
func (t *Tx) relist(ctx context.Context, o lazuli.Object, ix lazuli.Index) error {
	digest, err := digestOf(o, ix)
	if err != nil {
		return err
	}
	version, head, err := t.head(o)
	if err != nil {
		return err
	}
	kind, h := string(o.Kind()), o.Head()
	updated := sqltext.Micros(h.UpdatedAt)
	n, err := t.On.Exec(ctx, sqltext.UpdateHead, kind, h.UID, digest, updated, h.Version, version, head)
	if err != nil || n > 0 {
		return err
	}
	if _, err := t.On.Exec(ctx, sqltext.UpdateListing, kind, h.UID, h.Project, ix.Owner, h.Name, lazuli.Fold(h.Name),
		ix.State, ix.Health, updated, h.Version, digest, version, head); err != nil {
		return err
	}
	t.relisted(o.Kind())
	if _, err := t.On.Exec(ctx, sqltext.DeleteFacets, kind, h.UID); err != nil {
		return err
	}
	return t.putFacets(ctx, o, ix)
}

func (t *Tx) relisted(kind lazuli.Kind) {
	if t.listed == nil {
		t.listed = map[lazuli.Kind]struct{}{}
	}
	t.listed[kind] = struct{}{}
}

// head makes the short form of an object; version 0 is that there is none.
func (t *Tx) head(o lazuli.Object) (version int, head string, err error) {
	l, ok := t.Listings[o.Kind()]
	if !ok || l.Head == nil {
		return 0, "", nil
	}
	raw, err := l.Head(o)
	if err != nil {
		return 0, "", fmt.Errorf("make the short form: %w", err)
	}
	return l.Version, string(raw), nil
}

// putFacets writes each value of a facet once.
func (t *Tx) putFacets(ctx context.Context, o lazuli.Object, ix lazuli.Index) error {
	for _, key := range slices.Sorted(maps.Keys(ix.Facets)) {
		for _, value := range slices.Compact(slices.Sorted(slices.Values(ix.Facets[key]))) {
			if _, err := t.On.Exec(ctx, sqltext.InsertFacet, string(o.Kind()), o.Head().UID, key, value,
				lazuli.Fold(value)); err != nil {
				return err
			}
		}
	}
	return nil
}

// digestOf is the digest of all that an object is found by, labels included.
func digestOf(o lazuli.Object, ix lazuli.Index) (string, error) {
	h := o.Head()
	raw, err := json.Marshal([]any{
		indexVersion, h.Project, ix.Owner, h.Name, ix.State, ix.Health, h.Labels, ix.Facets,
	})
	if err != nil {
		return "", fmt.Errorf("make a digest: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16]), nil
}
