// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// What is configured of a cluster comes back as it was sent, and what has no
// effect says so.
func TestClusterFeatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid, _ := w.running()
	base := "/v1/spectroclusters/" + uid
	patch := object{"onDemandPatchAfter": "0001-01-01T00:00:00.000Z", "patchOnBoot": false, "rebootIfRequired": false, "schedule": "0 0 * * 0"}
	host := object{"isHostCluster": true, "clusterEndpoint": object{"type": "Ingress", "config": object{
		"ingressConfig": object{"host": "*.x.com"}, "loadBalancerConfig": object{"loadBalancerSourceRanges": []any{""}},
	}}}
	withNull := object{"isHostCluster": true, "clusterEndpoint": object{"type": "Ingress", "config": object{
		"ingressConfig": object{"host": "*.x.com"}, "loadBalancerConfig": object{"externalIPs": nil, "loadBalancerSourceRanges": []any{""}},
	}}}
	for _, r := range []struct {
		method, path string
		body         any
	}{
		{"PATCH", "/metadata", object{"metadata": object{"name": "prod", "labels": object{"env": "prod"}, "annotations": object{"description": "d2"}}}},
		{"PATCH", "/clusterConfig/osPatch", object{"osPatchConfig": patch}},
		{"PATCH", "/clusterConfig/hostCluster", object{"hostClusterConfig": withNull}},
		{"PATCH", "/clusterConfig/clusterMetaAttribute", object{"clusterMetaAttribute": "{'a':'b'}"}},
		{"PATCH", "/clusterConfig/timezone", object{"timezone": "UTC"}},
		{"PATCH", "/clusterConfig/lifecycleConfig", object{"lifecycleConfig": object{"pause": true}}},
		{"PATCH", "/clusterConfig/controlPlaneHealthCheckTimeout", object{"controlPlaneHealthCheckTimeout": "10m"}},
		{"POST", "/upgrade/settings", object{"spectroComponents": "lock"}},
		{"PATCH", "/k8certificates/renew", nil},
		{"PATCH", "/repave/approve", nil},
		{"PUT", "/location", object{"location": object{"countryCode": "DE", "geoLoc": object{"latitude": 52.5, "longitude": 13.4}}}},
	} {
		w.want(http.StatusNoContent, r.method, base+r.path, r.body)
	}
	var c struct {
		Metadata palette.ObjectMeta `json:"metadata"`
		Spec     struct {
			ClusterConfig map[string]json.RawMessage `json:"clusterConfig"`
		} `json:"spec"`
		Status struct {
			Location object `json:"location"`
		} `json:"status"`
	}
	w.want(http.StatusOK, "GET", base, nil).json(t, &c)
	if diff := cmp.Diff(map[string]string{"env": "prod"}, c.Metadata.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if c.Metadata.Annotations["description"] != "d2" || c.Metadata.Annotations["spectroComponentsUpgradeForbidden"] != "true" {
		t.Errorf("annotations are %v", c.Metadata.Annotations)
	}
	for name, want := range map[string]any{
		"machineManagementConfig": object{"osPatchConfig": patch}, "hostClusterConfig": host, "clusterMetaAttribute": "{'a':'b'}",
		"timezone": "UTC", "lifecycleConfig": object{"pause": true}, "controlPlaneHealthCheckTimeout": "10m",
	} {
		sent, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if json.Unmarshal(sent, &a) != nil || json.Unmarshal(c.Spec.ClusterConfig[name], &b) != nil || cmp.Diff(a, b) != "" {
			t.Errorf("%s is %s, and %s was sent", name, c.Spec.ClusterConfig[name], sent)
		}
	}
	if c.Status.Location["countryCode"] != "DE" {
		t.Errorf("the location is %v", c.Status.Location)
	}
	var notices wire.Notices
	w.want(http.StatusOK, "GET", "/lazuli/v1/clusters/"+uid+"/notices", nil).json(t, &notices)
	var fields []string
	for _, n := range notices.Items {
		fields = append(fields, strings.TrimPrefix(n.Field, "spec.clusterConfig."))
	}
	want := []string{
		"hostClusterConfig", "lifecycleConfig.pause", "controlPlaneHealthCheckTimeout", "timezone",
		"machineManagementConfig.osPatchConfig", "k8certificates/renew",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
	w.want(http.StatusNoContent, "PATCH", base+"/clusterConfig/lifecycleConfig", object{"lifecycleConfig": object{"pause": false}})
	w.want(http.StatusOK, "GET", "/lazuli/v1/clusters/"+uid+"/notices", nil).json(t, &notices)
	if slices.ContainsFunc(notices.Items, func(n wire.Notice) bool { return strings.Contains(n.Field, "pause") }) {
		t.Error("the notice about a pause stays without one")
	}
	for _, path := range []string{"/status", "/repave/status", "/k8certificates", "/status/spcApply", "/profiles", "/variables"} {
		w.want(http.StatusOK, "GET", base+path, nil)
	}
	w.want(http.StatusOK, "GET", "/v1/dashboard/spectroclusters/"+uid, nil)
	w.want(http.StatusAccepted, "POST", base+"/status/spcApply", nil)
	w.want(http.StatusNoContent, "GET", "/v1/spectroclusters/validate/name?name=free", nil)
	w.want(http.StatusConflict, "GET", "/v1/spectroclusters/validate/name?name=prod", nil)
	w.want(http.StatusBadRequest, "GET", "/v1/spectroclusters/validate/name?name=No+Name", nil)
}

// A label that cannot be a tag of Azure is echoed, found, and told of.
func TestLabelsThatAreNoTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.body()
	labels := object{"app.kubernetes.io/name": "shop", "env": "prod", "a/flag": "spectro__tag"}
	set(t, b, "metadata.labels", labels)
	uid := w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", b).uid(t)
	check := func(want object, told ...string) {
		t.Helper()
		var c struct {
			Metadata struct{ Labels object } `json:"metadata"`
		}
		w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid, nil).json(t, &c)
		if diff := cmp.Diff(want, c.Metadata.Labels); diff != "" {
			t.Errorf("labels (-want +got):\n%s", diff)
		}
		var notices wire.Notices
		w.want(http.StatusOK, "GET", "/lazuli/v1/clusters/"+uid+"/notices", nil).json(t, &notices)
		var fields []string
		for _, n := range notices.Items {
			fields = append(fields, strings.TrimPrefix(n.Field, "metadata.labels."))
		}
		if diff := cmp.Diff(told, fields); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
	}
	check(labels, "a/flag", "app.kubernetes.io/name")
	var page struct{ Items []object }
	for tag, want := range map[string]int{"app.kubernetes.io/name:shop": 1, "a/flag": 1, "app.kubernetes.io/name:other": 0} {
		w.want(http.StatusOK, "POST", "/v1/dashboard/spectroclusters/search", object{"filter": object{"filterGroups": []any{object{"filters": []any{
			object{"property": "tags", "condition": object{"string": object{"operator": "eq", "match": object{"values": []any{tag}}}}},
		}}}}}).json(t, &page)
		if len(page.Items) != want {
			t.Errorf("%d clusters have the tag %s, want %d", len(page.Items), tag, want)
		}
	}
	w.want(http.StatusNoContent, "PATCH", "/v1/spectroclusters/"+uid+"/metadata", object{"metadata": object{"name": "prod", "labels": object{"b/c": "d"}, "annotations": object{"description": "d"}}})
	check(object{"b/c": "d"}, "b/c")
}

// The client looks at the repave's state of every answer, before each update and
// after an approval.
func TestRepaveIsNeverAbsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid, _ := w.running()
	base := "/v1/spectroclusters/" + uid
	state := func() any {
		var c struct {
			Status struct {
				Repave object `json:"repave"`
			} `json:"status"`
		}
		w.want(http.StatusOK, "GET", base, nil).json(t, &c)
		return c.Status.Repave["state"]
	}
	if got := state(); got != "Approved" {
		t.Errorf("nothing awaits an approval, and status.repave.state is %v", got)
	}
	var s wire.SpectroClusterRepave
	w.want(http.StatusOK, "GET", base+"/repave/status", nil).json(t, &s)
	if s.Status == nil || s.Status.State != wire.ClusterRepaveStateApproved || s.Spec == nil {
		t.Errorf("the repave's status is %+v of %+v", s.Status, s.Spec)
	}
	w.want(http.StatusNoContent, "PATCH", base+"/repave/approve", nil)
	if got := state(); got != "Approved" {
		t.Errorf("after an approval status.repave.state is %v", got)
	}
}

func TestBadFeatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid, _ := w.running()
	base := "/v1/spectroclusters/" + uid
	before := w.stored(uid)
	for _, r := range []struct {
		reason, method, path string
		body                 any
		field                string
	}{
		{"another name", "PATCH", "/metadata", object{"metadata": object{"name": "other"}}, "metadata.name"},
		{"a reserved tag", "PATCH", "/metadata", object{"metadata": object{"labels": object{"microsoft": "x"}}}, "metadata.labels.microsoft"},
		{"no metadata", "PATCH", "/metadata", object{}, "metadata"},
		{"a schedule in words", "PATCH", "/clusterConfig/osPatch", object{"osPatchConfig": object{"schedule": "soon"}}, "osPatchConfig.schedule"},
		{"a number of hours", "PATCH", "/clusterConfig/controlPlaneHealthCheckTimeout", object{"controlPlaneHealthCheckTimeout": "ten"}, "controlPlaneHealthCheckTimeout"},
		{"a time zone with blanks", "PATCH", "/clusterConfig/timezone", object{"timezone": "here and now"}, "timezone"},
		{"a lock that is none", "POST", "/upgrade/settings", object{"spectroComponents": "bolt"}, "spectroComponents"},
		{"a namespace with blanks", "PUT", "/config/namespaces", object{"namespaces": []any{object{"metadata": object{"name": "a b"}}}}, "namespaces[0].metadata.name"},
		{"a binding of nothing", "PUT", "/config/rbacs", object{"rbacs": []any{object{"spec": object{"bindings": []any{object{"type": "RoleBinding", "namespace": "x"}}}}}},
			"rbacs[0].spec.bindings[0].role.name"},
		{"a backup at some time", "POST", "/features/backup", object{"schedule": object{"scheduledRunTime": "at night"}}, "schedule.scheduledRunTime"},
		{"a scan at some time", "POST", "/features/complianceScan", object{"kubeBench": object{"schedule": object{"scheduledRunTime": "x"}}}, "kubeBench.schedule.scheduledRunTime"},
	} {
		e := w.want(http.StatusBadRequest, r.method, base+r.path, r.body).err(t)
		if !slices.Contains(paths(e), r.field) {
			t.Errorf("%s: names %v, not %s", r.reason, paths(e), r.field)
		}
	}
	if diff := cmp.Diff(string(before.Spec), string(w.stored(uid).Spec)); diff != "" {
		t.Errorf("bad requests changed the cluster:\n%s", diff)
	}
}

func TestResourcesAndPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid, _ := w.running()
	base := "/v1/spectroclusters/" + uid
	w.want(http.StatusNoContent, "PUT", base+"/config/namespaces", object{"namespaces": []any{
		object{"metadata": object{"name": "ns1"}, "spec": object{"isRegex": false, "resourceAllocation": object{"cpuCores": 2, "memoryMiB": 2048}}},
		object{"metadata": object{"name": "ns2"}},
	}})
	var namespaces struct {
		Items []struct {
			Metadata palette.ObjectMeta `json:"metadata"`
			Spec     struct {
				ResourceAllocation *palette.NamespaceAllocation `json:"resourceAllocation"`
			} `json:"spec"`
		} `json:"items"`
	}
	w.want(http.StatusOK, "GET", base+"/config/namespaces", nil).json(t, &namespaces)
	if len(namespaces.Items) != 2 || namespaces.Items[0].Metadata.Name != "ns1" || namespaces.Items[0].Spec.ResourceAllocation.CPUCores != 2 ||
		namespaces.Items[1].Spec.ResourceAllocation == nil {
		t.Fatalf("namespaces: %+v", namespaces.Items)
	}
	one := base + "/config/namespaces/" + namespaces.Items[1].Metadata.UID
	w.want(http.StatusNoContent, "PUT", one, object{"metadata": object{"name": "ns2"}, "spec": object{"resourceAllocation": object{"cpuCores": 7}}})
	w.want(http.StatusOK, "GET", base+"/config/namespaces", nil).json(t, &namespaces)
	if namespaces.Items[1].Spec.ResourceAllocation.CPUCores != 7 || namespaces.Items[0].Spec.ResourceAllocation.CPUCores != 2 {
		t.Errorf("namespaces: %+v", namespaces.Items)
	}
	w.want(http.StatusNotFound, "GET", base+"/config/namespaces/"+uid, nil)

	rbac := object{"spec": object{"bindings": []any{object{
		"type": "ClusterRoleBinding", "role": object{"kind": "ClusterRole", "name": "admin"}, "subjects": []any{object{"name": "u1", "type": "User"}},
	}}}}
	w.want(http.StatusNoContent, "PUT", base+"/config/rbacs", object{"rbacs": []any{rbac}})
	var rbacs struct {
		Items []palette.RBACEntity `json:"items"`
	}
	w.want(http.StatusOK, "GET", base+"/config/rbacs", nil).json(t, &rbacs)
	if len(rbacs.Items) != 1 || rbacs.Items[0].Spec.Bindings[0].Role.Name != "admin" {
		t.Fatalf("role bindings: %+v", rbacs.Items)
	}
	w.want(http.StatusNoContent, "PUT", base+"/config/rbacs", object{"rbacs": []any{}})
	w.want(http.StatusOK, "GET", base+"/config/rbacs", nil).json(t, &rbacs)
	if len(rbacs.Items) != 0 {
		t.Errorf("role bindings that were taken away: %+v", rbacs.Items)
	}

	backup := object{
		"backupLocationUid": "loc1", "backupPrefix": "b", "durationInHours": 7200, "includeAllDisks": true,
		"includeClusterResourceMode": "Always", "namespaces": []any{}, "schedule": object{"scheduledRunTime": "0 0 * * 0"},
	}
	first := w.want(http.StatusCreated, "POST", base+"/features/backup", backup).uid(t)
	if again := w.want(http.StatusCreated, "POST", base+"/features/backup", backup).uid(t); again != first {
		t.Errorf("the same backup policy again is %s, and it was %s", again, first)
	}
	backup["backupPrefix"] = "c"
	w.want(http.StatusConflict, "POST", base+"/features/backup", backup)
	w.want(http.StatusNoContent, "PUT", base+"/features/backup", backup)
	var got struct {
		Spec struct {
			Config object `json:"config"`
		} `json:"spec"`
	}
	w.want(http.StatusOK, "GET", base+"/features/backup", nil).json(t, &got)
	sent, err := json.Marshal(backup)
	if err != nil {
		t.Fatal(err)
	}
	var want object
	if json.Unmarshal(sent, &want) != nil || cmp.Diff(want, got.Spec.Config) != "" {
		t.Errorf("the backup policy is %v", got.Spec.Config)
	}
	w.want(http.StatusNoContent, "DELETE", base+"/features/backup", nil)
	w.want(http.StatusNotFound, "GET", base+"/features/backup", nil)

	w.want(http.StatusCreated, "POST", base+"/features/complianceScan", object{
		"kubeBench": object{"schedule": object{"scheduledRunTime": "0 0 * * 0"}}, "kubeHunter": object{"schedule": object{}}, "sonobuoy": object{},
	})
	var scan wire.ClusterComplianceScan
	w.want(http.StatusOK, "GET", base+"/features/complianceScan", nil).json(t, &scan)
	for _, driver := range []string{"kube-bench", "kube-hunter", "sonobuoy"} {
		if d := scan.Spec.DriverSpec[driver]; d.Config == nil || d.Config.Schedule == nil {
			t.Errorf("%s: %+v, and clients read the schedule without a look", driver, d)
		}
	}
	if s := scan.Spec.DriverSpec["kube-bench"].Config.Schedule.ScheduledRunTime; s != "0 0 * * 0" {
		t.Errorf("the schedule is %q", s)
	}
}

// Everything that a client may send at creation is kept and told of.
func TestCreateWithEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.body()
	set(t, b, "spec.clusterTemplate", object{"uid": "5f0000000000000000000001"})
	set(t, b, "spec.policies", object{"backupPolicy": object{"backupPrefix": "x"}, "scanPolicy": object{"kubeBench": object{"schedule": object{}}}})
	set(t, b, "spec.clusterConfig.machineManagementConfig", object{"osPatchConfig": object{"patchOnBoot": true}})
	set(t, b, "spec.clusterConfig.resources", object{"namespaces": []any{object{"metadata": object{"name": "a"}}}, "rbacs": []any{}})
	set(t, b, "spec.cloudConfig.overrideClusterAPIConfig", "a: b")
	set(t, b, w1+"poolConfig.overrideKubeadmConfiguration", "a: b")
	set(t, b, w1+"poolConfig.updateStrategy", object{"type": "OverrideScaling", "maxSurge": "1", "maxUnavailable": "0"})
	set(t, b, w1+"poolConfig.nodeRepaveInterval", 60)
	set(t, b, cp+"poolConfig.useControlPlaneAsWorker", true)
	uid := w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", b).uid(t)
	var c struct {
		Spec struct {
			ClusterTemplate object `json:"clusterTemplate"`
		} `json:"spec"`
		Status struct {
			Conditions []object `json:"conditions"`
		} `json:"status"`
	}
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid, nil).json(t, &c)
	if c.Spec.ClusterTemplate["uid"] != "5f0000000000000000000001" || len(c.Status.Conditions) != 0 {
		t.Errorf("the cluster is %+v", c)
	}
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid+"/features/backup", nil)
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid+"/features/complianceScan", nil)
	stored := w.stored(uid)
	if len(stored.Notices) != 8 {
		t.Errorf("%d notices: %+v", len(stored.Notices), stored.Notices)
	}
	var events palette.List[struct {
		Reason string `json:"reason"`
	}]
	w.want(http.StatusOK, "GET", "/lazuli/v1/clusters/"+uid+"/events", nil).json(t, &events)
	told := 0
	for _, e := range events.Items {
		if e.Reason == "FieldWithoutEffect" {
			told++
		}
	}
	if told != len(stored.Notices) {
		t.Errorf("%d events tell of %d notices", told, len(stored.Notices))
	}
}
