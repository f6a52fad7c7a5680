// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// published makes a profile and publishes it.
func (w *world) published(body object) string {
	w.t.Helper()
	uid := w.want(http.StatusCreated, "POST", "/v1/clusterprofiles", body).uid(w.t)
	w.want(http.StatusNoContent, "PATCH", "/v1/clusterprofiles/"+uid+"/publish", nil)
	return uid
}

// attached are the profiles of a cluster, by the cluster itself.
func (w *world) attached(uid string) []string {
	w.t.Helper()
	var c palette.Cluster
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid, nil).json(w.t, &c)
	if !c.Status.SpcApply.CanBeApplied {
		w.t.Error("the profiles cannot be applied, and clients wait for that")
	}
	var out []string
	for _, p := range c.Spec.ClusterProfileTemplates {
		out = append(out, p.UID)
	}
	return out
}

// values are the values that a cluster gives to the variables of a profile.
func (w *world) values(uid, profile string) map[string]string {
	w.t.Helper()
	var vars []wire.SpectroClusterVariables
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid+"/variables", nil).json(w.t, &vars)
	out := map[string]string{}
	for _, v := range vars {
		if v.ProfileUID == profile {
			for _, x := range v.Variables {
				out[x.Name] = x.Value
			}
		}
	}
	return out
}

func addonWith(t *testing.T, name, version string) object {
	t.Helper()
	b := addonBody(name)
	set(t, b, "spec.version", version)
	spec, _ := b["spec"].(object)
	vars, _ := spec["variables"].([]any)
	spec["variables"] = append(vars, object{"name": "password", "displayName": "Password", "isSensitive": true, "format": "string", "inputType": "text"})
	return b
}

func TestClusterProfiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid, _ := w.running()
	base := "/v1/spectroclusters/" + uid + "/profiles"
	one := w.published(addonWith(t, "hello", "1.0.0"))
	two := w.published(addonWith(t, "hello", "1.1.0"))
	attach := func(profile, instead string, variables ...any) object {
		return object{
			"profiles":         []any{object{"uid": profile, "replaceWithProfile": instead, "packValues": []any{}, "variables": variables}},
			"spcApplySettings": object{"actionType": "DownloadAndInstall"},
		}
	}
	secret := canary + "-of-a-variable"
	w.want(http.StatusNoContent, "PATCH", base+"?resolveNotification=false", attach(one, "",
		object{"name": "port", "value": "9090"}, object{"name": "password", "value": secret}))
	if diff := cmp.Diff([]string{w.profile, one}, w.attached(uid)); diff != "" {
		t.Errorf("attached (-want +got):\n%s", diff)
	}
	want := map[string]string{"port": "9090", "password": "********"}
	if diff := cmp.Diff(want, w.values(uid, one)); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	w.want(http.StatusConflict, "DELETE", "/v1/clusterprofiles/"+one, nil)

	// The next version takes the place of the first, and what it knows of the
	// values stays.
	w.want(http.StatusNoContent, "PATCH", base+"?resolveNotification=true", attach(two, one, object{"name": "port", "value": "9091"}))
	w.want(http.StatusNoContent, "PATCH", base+"?resolveNotification=true", attach(two, one)) // again, by a client that did not hear
	w.want(http.StatusNoContent, "PATCH", base+"?resolveNotification=true", attach(two, two)) // as addon deployments do
	if diff := cmp.Diff([]string{w.profile, two}, w.attached(uid)); diff != "" {
		t.Errorf("after the swap (-want +got):\n%s", diff)
	}
	want["port"] = "9091"
	if diff := cmp.Diff(want, w.values(uid, two)); diff != "" {
		t.Errorf("values after the swap (-want +got):\n%s", diff)
	}
	w.want(http.StatusNoContent, "DELETE", "/v1/clusterprofiles/"+one, nil)

	w.want(http.StatusNoContent, "PATCH", "/v1/spectroclusters/"+uid+"/variables", []any{object{
		"profileUid": two, "variables": []any{object{"name": "port", "value": "1"}, object{"name": "password", "value": "********"}},
	}})
	want["port"] = "1"
	if diff := cmp.Diff(want, w.values(uid, two)); diff != "" {
		t.Errorf("values after a patch (-want +got):\n%s", diff)
	}
	stored, err := json.Marshal(w.stored(uid))
	if err != nil || strings.Contains(string(stored), secret) {
		t.Errorf("the secret value is in the store in clear (%v)", err)
	}
	if strings.Contains(w.answers.String(), secret) || strings.Contains(w.logs.String(), secret) {
		t.Error("the secret value is in an answer or in the log")
	}

	for range 2 { // detached twice is detached
		w.want(http.StatusNoContent, "DELETE", base, object{"profileUids": []any{two}})
	}
	w.want(http.StatusNoContent, "DELETE", "/v1/clusterprofiles/"+two, nil)
	if e := w.want(http.StatusBadRequest, "DELETE", base, object{"profileUids": []any{w.profile}}).err(t); !slices.Contains(paths(e), "profileUids[0]") {
		t.Errorf("detaching the infrastructure names %v", paths(e))
	}
}

func TestBadClusterProfiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid, _ := w.running()
	base := "/v1/spectroclusters/" + uid + "/profiles"
	addon := w.published(addonWith(t, "hello", "1.0.0"))
	draft := w.want(http.StatusCreated, "POST", "/v1/clusterprofiles", addonWith(t, "draft", "1.0.0")).uid(t)
	second := w.published(w.profileBody("Second"))
	older := w.profileBody("Older")
	set(t, older, "spec.template.packs[1]", w.layer("kubernetes", "1.35.x"))
	back := w.published(older)
	for _, tt := range []struct {
		reason string
		entry  object
		field  string
	}{
		{"a profile that is not there", object{"uid": uid}, "profiles[0].uid"},
		{"a draft", object{"uid": draft}, "profiles[0].uid"},
		{"a second infrastructure", object{"uid": second}, "profiles[0].uid"},
		{"in the place of nothing", object{"uid": addon, "replaceWithProfile": second}, "profiles[0].replaceWithProfile"},
		{"a variable that is not there", object{"uid": addon, "variables": []any{object{"name": "x", "value": "y"}}}, "profiles[0].variables[0].name"},
		{"values of a pack that is not there", object{"uid": addon, "packValues": []any{object{"name": "x", "values": "a: b"}}}, "profiles[0].packValues[0].name"},
		{"a way back of Kubernetes", object{"uid": back, "replaceWithProfile": w.profile}, "profiles"},
	} {
		e := w.want(http.StatusBadRequest, "PATCH", base, object{"profiles": []any{tt.entry}}).err(t)
		if !slices.Contains(paths(e), tt.field) {
			t.Errorf("%s: names %v, not %s: %s", tt.reason, paths(e), tt.field, e.Message)
		}
	}
	if diff := cmp.Diff([]string{w.profile}, w.attached(uid)); diff != "" {
		t.Errorf("bad requests attached something (-want +got):\n%s", diff)
	}
}

// A change that shall be installed later waits for the word.
func TestProfilesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid, _ := w.running()
	addon := w.published(addonWith(t, "hello", "1.0.0"))
	w.want(http.StatusNoContent, "PATCH", "/v1/spectroclusters/"+uid+"/profiles", object{
		"profiles": []any{object{"uid": addon}}, "spcApplySettings": object{"actionType": "DownloadAndInstallLater"},
	})
	applied := func() (out []string) {
		for _, p := range w.stored(uid).Applied() {
			out = append(out, p.UID)
		}
		return out
	}
	if diff := cmp.Diff([]string{w.profile, addon}, w.attached(uid)); diff != "" {
		t.Errorf("attached (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{w.profile}, applied()); diff != "" {
		t.Errorf("applied before the word (-want +got):\n%s", diff)
	}
	var apply palette.SpcApply
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid+"/status/spcApply", nil).json(t, &apply)
	if apply.ActionType != "DownloadAndInstallLater" || !apply.CanBeApplied {
		t.Errorf("spcApply is %+v", apply)
	}
	w.want(http.StatusAccepted, "POST", "/v1/spectroclusters/"+uid+"/status/spcApply", nil)
	if diff := cmp.Diff([]string{w.profile, addon}, applied()); diff != "" {
		t.Errorf("applied after the word (-want +got):\n%s", diff)
	}
	w.change(uid, func(c *lazuli.Cluster) { c.Status.State = lazuli.StateDeleted })
}
