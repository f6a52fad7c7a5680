// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/updates"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// A cluster is told of what its profile has become, for as long as it lags.
func TestNotifications(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid := w.create("noted")
	list := func() wire.Notifications {
		var n wire.Notifications
		w.want(http.StatusOK, "GET", "/v1/notifications/spectrocluster/"+uid, nil).json(t, &n)
		return n
	}
	if n := list(); len(n.Items) != 0 {
		t.Fatalf("a cluster that has what its profile has is told of %+v", n.Items)
	}
	body := w.profileBody("infra")
	spec := body["spec"].(object)
	packs := spec["template"].(object)["packs"].([]any)
	packs[1] = w.layer("kubernetes", "1.37.x")
	body["metadata"] = object{"name": "infra", "uid": w.profile}
	w.want(http.StatusNoContent, "PUT", "/v1/clusterprofiles/"+w.profile, body)
	if n := list(); len(n.Items) != 0 {
		t.Fatalf("a draft is told: %+v", n.Items)
	}
	w.want(http.StatusNoContent, "PATCH", "/v1/clusterprofiles/"+w.profile+"/publish", nil)
	n := list()
	if len(n.Items) != 1 || n.Items[0].Type != wire.NotificationPackUpdate ||
		!strings.Contains(n.Items[0].Action.ActionMessage, "kubernetes 1.37") || n.Items[0].RelatedObject.UID != uid {
		t.Fatalf("%+v", n.Items)
	}
	w.offer()
	if got := w.search(searchPending(true)); !slices.Equal(got, []string{"noted"}) {
		t.Errorf("with an update there are %v", got)
	}
	if again := list(); again.Items[0].Metadata.UID != n.Items[0].Metadata.UID {
		t.Error("the same notification has another uid")
	}
	for _, path := range []string{"/v1/notifications/clusterprofile/" + uid, "/v1/notifications/spectrocluster/" + w.profile} {
		if e := w.want(http.StatusNotFound, "GET", path, nil).err(t); e.Code != "ResourceNotFound" {
			t.Errorf("%s: %s", path, e.Code)
		}
	}
	var events palette.List[wire.Event]
	w.want(http.StatusOK, "GET", "/v1/events/components/spectrocluster/"+uid, nil).json(t, &events)
	if len(events.Items) == 0 {
		t.Error("there are no events")
	}
}

// A cluster is marked while a profile has other content than it took over: the
// overview, lists and searches show it. The mark follows the profile and the
// cluster, and what is right is not written again.
func TestUpdatesAreMarked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tireless)
	const more = 120 // more than one transaction looks at
	uid := w.create("first")
	for i := range more {
		w.clone(uid, fmt.Sprintf("c%03d", i))
	}
	other := w.published(addonBody("other"))
	marked := func() int { return len(w.search(searchPending(true))) }
	pending := func() bool {
		var o palette.ClusterUIDSummary
		w.want(http.StatusOK, "GET", "/v1/dashboard/spectroclusters/"+uid+"/overview", nil).json(t, &o)
		return o.Status.Notifications.IsAvailable
	}
	publish := func(values string) {
		body := w.profileBody("infra")
		packs := body["spec"].(object)["template"].(object)["packs"].([]any)
		packs[0].(object)["values"] = values
		body["metadata"] = object{"name": "infra", "uid": w.profile}
		w.want(http.StatusNoContent, "PUT", "/v1/clusterprofiles/"+w.profile, body)
		w.want(http.StatusNoContent, "PATCH", "/v1/clusterprofiles/"+w.profile+"/publish", nil)
	}
	if n := w.offer(); n != 0 || pending() {
		t.Errorf("%d profiles are looked at, and each was published once", n)
	}
	first := w.stored(uid).Profiles[0].Layers[0].Values
	publish("a: 1\n")
	if n := w.offer(); n != 1 || marked() != more+1 || !pending() {
		t.Fatalf("%d profiles were looked at, %d clusters are marked", n, marked())
	}
	before := w.stored(uid)
	publish("a: 2\n")
	w.offer()
	if after := w.stored(uid); after.Version != before.Version {
		t.Error("a cluster that was marked is written again")
	}
	take := func(profile string) {
		w.want(http.StatusNoContent, "PATCH", "/v1/spectroclusters/"+uid+"/profiles?resolveNotification=true",
			object{"profiles": []any{object{"uid": profile}}, "spcApplySettings": object{"actionType": palette.ActionInstall}})
	}
	take(other)
	if !pending() {
		t.Error("another profile was attached, and the mark is gone")
	}
	take(w.profile)
	if pending() || marked() != more {
		t.Errorf("the content was taken over, and still %d are marked", marked())
	}
	publish(first)
	w.offer()
	if !pending() || marked() != 1 {
		t.Errorf("the others have what the profile has again, and %d are marked", marked())
	}
	w.want(http.StatusNoContent, "PUT", "/v1/clusterprofiles/"+w.profile, func() object {
		body := w.profileBody("infra")
		body["metadata"] = object{"name": "infra", "uid": w.profile}
		return body
	}())
	w.want(http.StatusNoContent, "PATCH", "/v1/clusterprofiles/"+w.profile+"/metadata", object{"metadata": object{"name": "infra", "labels": object{"a": "b"}}})
	if n := w.offer(); n != 0 {
		t.Errorf("neither a draft nor metadata is content, and %d profiles are looked at", n)
	}
	var events palette.List[wire.Event]
	w.want(http.StatusOK, "GET", "/v1/events/components/spectrocluster/"+uid, nil).json(t, &events)
	told := 0
	for _, e := range events.Items {
		if e.Reason == updates.EventReason {
			told++
		}
	}
	if told != 2 {
		t.Errorf("two updates came, and %d are told of", told)
	}
}

// offer does the work of profiles that is due, and says how many there were.
func (w *world) offer() int {
	w.t.Helper()
	leases, err := w.store.Claim(w.t.Context(), "test", []lazuli.Kind{lazuli.KindProfile}, 10, time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range leases {
		if o := updates.New(w.store).Reconcile(w.t.Context(), l); o.Err() != nil {
			w.t.Fatal(o.Err())
		}
		if err := w.store.Finish(w.t.Context(), []store.Finish{{Lease: l}}); err != nil {
			w.t.Fatal(err)
		}
	}
	return len(leases)
}

// clone stores a copy of a cluster with another name.
func (w *world) clone(uid, name string) {
	w.t.Helper()
	c := w.stored(uid)
	c.UID, c.Name = fmt.Sprintf("%024x", []byte(name)), name
	w.add(c)
}

// search names the clusters that a search finds.
func (w *world) search(body string) []string {
	w.t.Helper()
	var found palette.List[palette.ClusterSummary]
	w.want(http.StatusOK, "POST", searchPath+"?limit=200", body).json(w.t, &found)
	var names []string
	for _, c := range found.Items {
		names = append(names, c.Metadata.Name)
	}
	return names
}

func searchPending(is bool) string {
	return fmt.Sprintf(`{"filter":{"filterGroups":[{"filters":[{"property":"pendingUpdates","type":"bool","condition":{"bool":{"value":%t}}}]}]}}`, is)
}
