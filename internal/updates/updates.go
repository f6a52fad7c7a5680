// SPDX-License-Identifier: Apache-2.0

package updates

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// batch is how many clusters one transaction looks at.
const batch = 50

// EventReason is that of the event of a cluster that a profile has newer
// content for.
const EventReason = "UpdateAvailable"

// Of returns the uids of the profiles that have other content than their
// snapshots. A profile that is no more has none.
func Of(ctx context.Context, r store.Reader, snaps []lazuli.ProfileSnapshot) ([]string, error) {
	var behind []string
	for i := range snaps {
		var p lazuli.Profile
		switch err := r.Get(ctx, snaps[i].UID, &p); {
		case lazuli.CodeOf(err) == lazuli.CodeNotFound:
			continue
		case err != nil:
			return nil, fmt.Errorf("read profile %s: %w", snaps[i].UID, err)
		}
		if snaps[i].Content != p.Content() {
			behind = append(behind, p.UID)
		}
	}
	return behind, nil
}

// Changes tells in a sentence what a profile has that a snapshot of it has not:
// the packs that came, went or have other versions, values or manifests, and
// whether its variables changed. It is empty when nothing did.
func Changes(snap *lazuli.ProfileSnapshot, p *lazuli.Profile) string {
	if snap.Content == p.Content() {
		return ""
	}
	had := map[string]lazuli.Layer{}
	for _, l := range snap.Layers {
		if !l.Implied {
			had[l.Name] = l
		}
	}
	var out []string
	for _, l := range p.Published {
		old, there := had[l.Name]
		delete(had, l.Name)
		if !there || l.Release() != old.Release() {
			out = append(out, l.Name+" "+l.Release())
		}
	}
	for _, l := range snap.Layers {
		if _, gone := had[l.Name]; gone {
			out = append(out, l.Name+" removed")
		}
	}
	if len(out) == 0 {
		// The snapshot has the cluster's own values in place of the profile's, so
		// what differs in them cannot be told.
		out = append(out, "values, manifests or variables")
	}
	return fmt.Sprintf("Profile %s has changed: %s.", p.Name, strings.Join(out, ", "))
}

// Reconciler marks the clusters of a profile. It is a reconcile.Handler of
// lazuli.KindProfile.
type Reconciler struct{ store store.Store }

// New makes a Reconciler.
func New(s store.Store) *Reconciler { return &Reconciler{store: s} }

// Reconcile implements reconcile.Handler.
func (r *Reconciler) Reconcile(ctx context.Context, lease store.Lease) reconcile.Outcome {
	for after := ""; ; {
		next, err := r.mark(ctx, lease, after)
		switch {
		case lazuli.CodeOf(err) == lazuli.CodeNotFound:
			return reconcile.Remove()
		case err != nil:
			return reconcile.Failed(err)
		case next == "":
			return reconcile.Done()
		}
		after = next
	}
}

// mark looks at one page of the clusters and returns where the next one begins,
// "" after the last. It fails with lazuli.CodeNotFound when the profile is no
// more.
func (r *Reconciler) mark(ctx context.Context, lease store.Lease, after string) (next string, err error) {
	err = r.store.Fenced(ctx, lease, func(tx store.Tx) error {
		var p lazuli.Profile
		if err := tx.Get(ctx, lease.ID, &p); err != nil {
			return err //nolint:wrapcheck // says all
		}
		page, err := tx.Query(ctx, store.Query{
			Kind: lazuli.KindCluster, After: after, Limit: batch,
			Where: []store.Where{
				{Facet: lazuli.FacetProfileUID, Op: store.Eq, Value: p.UID},
				{Field: store.FieldState, Op: store.NotEq, Value: string(lazuli.StateDeleted)},
			},
		})
		if err != nil {
			return fmt.Errorf("list the clusters of profile %s: %w", p.UID, err)
		}
		next = page.Next
		for i := range page.Rows {
			if err := markOne(ctx, tx, &page.Rows[i], &p); err != nil {
				return err
			}
		}
		return nil
	})
	return next, err //nolint:wrapcheck // says all
}

// markOne marks a cluster, or takes a mark away that is not true any more, and
// writes nothing when the mark is right.
func markOne(ctx context.Context, tx store.Tx, row *store.Row, p *lazuli.Profile) error {
	var cl lazuli.Cluster
	if err := json.Unmarshal(row.Data, &cl); err != nil {
		return fmt.Errorf("decode cluster %s: %w", row.Meta.UID, err)
	}
	*cl.Head() = row.Meta
	at := slices.IndexFunc(cl.Profiles, func(s lazuli.ProfileSnapshot) bool { return s.UID == p.UID })
	if at < 0 {
		return nil // detached, and applied until the user says so
	}
	marked := slices.Index(cl.Behind, p.UID)
	changes := Changes(&cl.Profiles[at], p)
	switch {
	case changes != "" && marked < 0:
		cl.Behind = append(cl.Behind, p.UID)
	case changes == "" && marked >= 0:
		cl.Behind = slices.Delete(cl.Behind, marked, marked+1)
	default:
		return nil
	}
	if err := tx.Update(ctx, &cl); err != nil {
		return fmt.Errorf("mark cluster %s: %w", cl.UID, err)
	}
	if changes == "" {
		return nil
	}
	err := tx.AppendEvent(ctx, lazuli.Event{
		Project: cl.Project, Kind: lazuli.KindCluster, Object: cl.UID, Name: cl.Name,
		Severity: lazuli.SeverityInfo, Reason: EventReason, Message: changes,
	})
	if err != nil {
		return fmt.Errorf("tell cluster %s of an update: %w", cl.UID, err)
	}
	return nil
}
