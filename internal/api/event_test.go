// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/internal/palette"
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
