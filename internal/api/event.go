// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/http"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/updates"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// eventRoutes are what tells people of what happened.
func eventRoutes() []route {
	const get = http.MethodGet
	return []route{
		{Method: get, Pattern: "/v1/events/components/{objectKind}/{objectUid}", Operation: "v1EventsComponentsObjTypeUidList", Permission: auth.ClusterGet, Status: ok, Handle: listComponentEvents},
		{Method: get, Pattern: "/v1/notifications/{objectKind}/{objectUid}", Operation: "v1NotificationsObjTypeUidList", Permission: auth.ClusterGet, Status: ok, Handle: listNotifications},
	}
}

// listComponentEvents is listEvents on Palette's wire.
func listComponentEvents(a *API, c *call) (any, error) {
	if kind := c.param("objectKind"); kind != palette.KindCluster {
		return nil, lazuli.Errorf(lazuli.CodeNotFound, "there are no events of objects of kind %q", shorten(kind))
	}
	events, meta, err := a.events(c, c.param("objectUid"))
	if err != nil {
		return nil, err
	}
	items := make([]palette.Event, 0, len(events))
	for i := range events {
		items = append(items, palette.EventOf(&events[i]))
	}
	return palette.NewList(items, meta), nil
}

// listNotifications answers what newer content the profiles of a cluster have.
// It is computed when asked: a notification is there for as long as the cluster
// lags behind a profile that it uses.
func listNotifications(a *API, c *call) (any, error) {
	if kind := c.param("objectKind"); kind != palette.KindCluster {
		return nil, lazuli.Errorf(lazuli.CodeNotFound, "there are no notifications of objects of kind %q", shorten(kind))
	}
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("objectUid"))
	if err != nil {
		return nil, err
	}
	w, err := c.window()
	if err != nil {
		return nil, err
	}
	items := []wire.Notification{}
	for i := range cl.Profiles {
		p := &lazuli.Profile{}
		switch err := a.Store.Get(c.ctx(), cl.Profiles[i].UID, p); {
		case lazuli.CodeOf(err) == lazuli.CodeNotFound:
			continue // deleted since; the cluster keeps its snapshot
		case err != nil:
			return nil, fmt.Errorf("read profile %s: %w", cl.Profiles[i].UID, err)
		}
		if changes := updates.Changes(&cl.Profiles[i], p); changes != "" && c.query("isDone") != "true" {
			items = append(items, packUpdate(cl, p, changes))
		}
	}
	items, meta, err := cut(w, items)
	if err != nil {
		return nil, err
	}
	return palette.NewList(items, meta), nil
}

func packUpdate(cl *lazuli.Cluster, p *lazuli.Profile, changes string) wire.Notification {
	at := wire.At(p.UpdatedAt)
	return wire.Notification{
		Metadata: &wire.ObjectMeta{
			UID: notificationUID(cl.UID, p.UID), Name: p.Name, CreationTimestamp: at, LastModifiedTimestamp: at,
		},
		Type: wire.NotificationPackUpdate,
		Action: &wire.NotificationAction{
			ActionType:    wire.NotifyActionClusterProfileUpdate,
			ActionMessage: changes,
		},
		RelatedObject: &wire.RelatedObject{Kind: wire.RelatedObjectKindSpectrocluster, Name: cl.Name, UID: cl.UID},
		Source:        &wire.NotificationSource{Component: "lazuli"},
	}
}

// notificationUID is the same for the same cluster and profile.
func notificationUID(cluster, profile string) string { return cluster[:12] + profile[12:] }
