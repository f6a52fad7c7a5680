// SPDX-License-Identifier: Apache-2.0

package tape_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/test/e2e/tape"
)

type (
	object = map[string]any
	list   = []any
)

// spoken is one exchange of a conversation in which every answer is right.
type spoken struct {
	name, method, path, query string
	sent                      any
	status                    int
	got                       any // a string is a file
}

const (
	accountUID = "a00000000000000000000000"
	profileUID = "b00000000000000000000000"
	addonUID   = "b10000000000000000000000"
	clusterUID = "c00000000000000000000000"
	configUID  = "d00000000000000000000000"
	projectUID = "e00000000000000000000000"
	packUID    = "f00000000000000000000000"
	configFile = "application/octet-stream"
)

func meta(name, uid string) object {
	return object{"name": name, "uid": uid, "labels": object{"k": "v"}, "annotations": object{"scope": "project", "description": "d",
		"overlordUid": "", "projectUid": projectUID}}
}

func sentMeta(name string) object {
	return object{"name": name, "labels": object{"k": "v"}, "annotations": object{"scope": "project", "description": "d", "overlordUid": ""},
		"creationTimestamp": "0001-01-01T00:00:00.000Z"}
}

func poolSent(name string, azs list) object {
	return object{
		"cloudConfig": object{"azs": azs, "instanceType": "D4", "osDisk": object{"diskSizeGB": 60, "managedDisk": object{"storageAccountType": "S"}, "osType": "Linux"}},
		"poolConfig": object{"name": name, "size": 2, "isControlPlane": false, "labels": list{"worker"}, "skipK8sUpgrade": "disabled",
			"taints":         list{object{"key": "a", "value": "b", "effect": "NoSchedule", "timeAdded": "0001-01-01T00:00:00.000Z"}},
			"updateStrategy": object{"type": "RollingUpdateScaleOut"}},
		"managedPoolConfig": object{"isSystemNodePool": false},
	}
}

func poolGot(name string, azs list) object {
	return object{
		"name": name, "size": 2, "isControlPlane": false, "useControlPlaneAsWorker": false, "labels": list{"worker"}, "azs": azs, "instanceType": "D4",
		"osDisk": object{"diskSizeGB": 60, "managedDisk": object{"storageAccountType": "S"}, "osType": "Linux"}, "osType": "Linux",
		"taints":         list{object{"key": "a", "value": "b", "effect": "NoSchedule"}},
		"updateStrategy": object{"type": "RollingUpdateScaleOut"}, "instanceConfig": object{"numCPUs": 4},
	}
}

func packGot(values string) object {
	return object{"name": "kubernetes", "tag": "1.2.3", "type": "spectro", "layer": "k8s", "packUid": packUID, "values": values}
}

func addonGot() object {
	return object{"name": "extra", "type": "manifest", "layer": "addon", "packUid": "spectro-manifest-pack",
		"manifests": list{object{"kind": "manifest", "name": "ns", "uid": "1"}}}
}

func template(uid, name, kind string, pack object) object {
	return object{"uid": uid, "name": name, "type": kind, "cloudType": "azure", "profileVersion": "1.0.0", "packs": list{pack}}
}

func profileGot(uid, name, kind string, pack object) object {
	return object{"metadata": meta(name, uid), "spec": object{"version": "1.0.0", "versions": list{object{"uid": uid, "version": "1.0.0"}},
		"published": template(uid, name, kind, pack)}}
}

// conversation is a hub's life as the client likes it.
func conversation() []spoken {
	accountSpec := func(secret string) object {
		return object{"tenantId": "t", "clientId": "c", "clientSecret": secret, "settings": object{"disablePropertiesRequest": false}}
	}
	const cluster, config, profile, addon = "/v1/spectroclusters/" + clusterUID, "/v1/cloudconfigs/azure/" + configUID, "/v1/clusterprofiles/" + profileUID, "/v1/clusterprofiles/" + addonUID
	backup := object{"backupPrefix": "b", "namespaces": nil, "schedule": object{"scheduledRunTime": "0 0 * * 0"}}
	clusterGot := object{"metadata": meta("azc", clusterUID), "spec": object{
		"cloudType": "azure", "cloudConfigRef": object{"kind": "azure", "uid": configUID}, "clusterConfig": object{"timezone": "UTC"},
		"clusterProfileTemplates": list{template(profileUID, "infra", "infra", packGot("own: 1")), template(addonUID, "hello", "add-on", addonGot())},
	}, "status": object{"state": "Running", "location": object{}, "repave": object{"state": "Approved"}, "spcApply": object{"canBeApplied": true}, "packs": list{},
		"conditions": list{object{"type": "Ready", "status": "True"}}}}
	return []spoken{
		{"", "POST", "/v1/cloudaccounts/azure", "", object{"metadata": sentMeta("az"), "spec": accountSpec("s")}, 201, object{"uid": accountUID}},
		{"account", "GET", "/v1/cloudaccounts/azure/" + accountUID, "", nil, 200, object{"metadata": meta("az", accountUID), "spec": accountSpec("")}},
		{"pack", "GET", "/v1/packs/" + packUID, "", nil, 200, object{"name": "kubernetes", "registryUid": "r", "packValues": list{object{"packUid": packUID}},
			"tags": list{object{"packUid": packUID, "version": "1.2.3"}}}},
		{"packs", "GET", "/v1/packs", "filters=spec.name%3DkubernetesANDspec.version%3D1.2.3ANDspec.cloudTypes_in_azure", nil, 200, object{"listmeta": object{},
			"items": list{object{"metadata": object{"uid": packUID}, "spec": object{"name": "kubernetes", "version": "1.2.3", "registryUid": "r", "values": "", "cloudTypes": list{"azure"}}}}}},
		{"pack search", "POST", "/v1/packs/search", "", object{"filter": object{"name": object{"eq": "kubernetes"}}}, 200, object{"listmeta": object{},
			"items": list{object{"spec": object{"name": "kubernetes", "layer": "k8s", "registries": list{object{"uid": "r", "latestVersion": "1.2.3"}}}}}}},
		{"registries", "GET", "/v1/registries/metadata", "", nil, 200, object{"items": list{object{"uid": "r", "name": "Public Repo", "kind": "pack"}}}},
		{"projects", "GET", "/v1/dashboard/projects/metadata", "", nil, 200, object{"items": list{object{"metadata": object{"uid": projectUID, "name": "Default"}}}}},
		{"", "POST", "/v1/clusterprofiles", "", object{"metadata": sentMeta("infra"), "spec": object{"version": "1.0.0", "variables": nil, "template": object{
			"cloudType": "azure", "type": "infra", "packs": list{object{"name": "kubernetes", "tag": "1.2.3", "type": "spectro", "uid": packUID, "values": "a: b", "manifests": list{}}}}}}, 201, object{"uid": profileUID}},
		{"", "PATCH", profile + "/publish", "", nil, 204, nil},
		{"profile", "GET", profile, "", nil, 200, profileGot(profileUID, "infra", "infra", packGot("a: b\n"))},
		{"", "POST", "/v1/clusterprofiles", "", object{"metadata": sentMeta("hello"), "spec": object{"version": "1.0.0", "variables": list{object{"name": "port", "defaultValue": "80"}},
			"template": object{"cloudType": "azure", "type": "add-on", "packs": list{object{"name": "extra", "type": "manifest", "uid": "spectro-manifest-pack",
				"manifests": list{object{"name": "ns", "content": "kind: Namespace"}}}}}}}, 201, object{"uid": addonUID}},
		{"", "PATCH", addon + "/publish", "", nil, 204, nil},
		{"addon", "GET", addon, "", nil, 200, profileGot(addonUID, "hello", "add-on", addonGot())},
		{"profile variables", "GET", addon + "/variables", "", nil, 200, object{"variables": list{object{"name": "port", "defaultValue": "80", "inputType": "text"}}}},
		{"manifests", "GET", addon + "/packs/extra/manifests", "", nil, 200, object{"items": list{object{"metadata": object{"name": "ns", "uid": "1"},
			"spec": object{"published": object{"content": "kind: Namespace"}}}}}},
		{"", "POST", "/v1/spectroclusters/azure", "", object{"metadata": sentMeta("azc"), "spec": object{"cloudAccountUid": accountUID,
			"cloudConfig": object{"location": "l", "sshKey": "k"}, "clusterConfig": object{"timezone": "UTC", "machineManagementConfig": object{}, "resources": object{"rbacs": list{}}},
			"machinepoolconfig": list{poolSent("w1", list{})}, "profiles": list{object{"uid": profileUID, "packValues": list{object{"name": "kubernetes", "values": "own: 1\n"}}}}}}, 201, object{"uid": clusterUID}},
		{"", "PATCH", cluster + "/profiles", "", object{"profiles": list{object{"uid": addonUID, "variables": list{object{"name": "port", "value": "90"}}}}}, 204, nil},
		{"cluster", "GET", cluster, "", nil, 200, clusterGot},
		{"overview", "GET", "/v1/dashboard/spectroclusters/" + clusterUID + "/overview", "", nil, 200, object{"metadata": meta("azc", clusterUID), "status": object{"health": object{"state": "Healthy"}}}},
		{"kubeconfig", "GET", cluster + "/assets/adminKubeconfig", "", nil, 200, "kind: Config\nclusters: [{cluster: {server: x}}]"},
		{"variables", "GET", cluster + "/variables", "", nil, 200, list{object{"profileUid": addonUID, "variables": list{object{"name": "port", "value": "90"}, object{"name": "other", "value": "1"}}}}},
		{"", "POST", config + "/machinePools", "", poolSent("w2", list{"1"}), 201, object{"uid": "w2"}},
		{"config", "GET", config, "", nil, 200, object{"kind": "azure", "metadata": object{"uid": configUID}, "spec": object{"cloudAccountRef": object{"uid": accountUID},
			"clusterConfig": object{"location": "l", "sshKey": "k"}, "machinePoolConfig": list{poolGot("w1", list{}), poolGot("w2", list{"1"})}}}},
		{"machines", "GET", config + "/machinePools/w1/machines", "", nil, 200, object{"listmeta": object{}, "items": list{object{"metadata": object{"uid": "1", "name": "m"},
			"spec": object{}, "status": object{"maintenanceStatus": object{}}}}}},
		{"search", "POST", "/v1/dashboard/spectroclusters/search", "", object{"filter": object{"filterGroups": list{object{"filters": list{object{"property": "clusterName",
			"condition": object{"string": object{"operator": "eq", "match": object{"values": list{"azc"}}}}}}}}}}, 200,
			object{"items": list{object{"metadata": object{"uid": clusterUID, "name": "azc"}}}, "listmeta": object{"continue": ""}}},
		{"no backup", "GET", cluster + "/features/backup", "", nil, 404, object{"code": "ResourceNotFound", "message": "m"}},
		{"", "POST", cluster + "/features/backup", "", backup, 201, object{"uid": "1"}},
		{"backup", "GET", cluster + "/features/backup", "", nil, 200, object{"metadata": object{}, "spec": object{"clusterUid": clusterUID, "config": backup}}},
		{"", "POST", cluster + "/features/complianceScan", "", object{"kubeBench": object{"schedule": object{"scheduledRunTime": "1"}}, "sonobuoy": object{"schedule": object{}}}, 201, object{"uid": "1"}},
		{"scan", "GET", cluster + "/features/complianceScan", "", nil, 200, object{"spec": object{"driverSpec": object{
			"kube-bench": object{"config": object{"schedule": object{"scheduledRunTime": "1"}}}}}}},
		{"", "PUT", cluster + "/config/namespaces", "", object{"namespaces": list{object{"metadata": object{"name": "n"}, "spec": object{"isRegex": false, "resourceAllocation": object{"cpuCores": 2}}}}}, 204, nil},
		{"namespaces", "GET", cluster + "/config/namespaces", "", nil, 200, object{"items": list{object{"metadata": object{"name": "n"}, "spec": object{"resourceAllocation": object{"cpuCores": 2}}}}}},
		{"", "PUT", cluster + "/config/rbacs", "", object{"rbacs": list{object{"spec": object{"bindings": list{object{"type": "RoleBinding", "role": object{"name": "r"}}}}}}}, 204, nil},
		{"rbacs", "GET", cluster + "/config/rbacs", "", nil, 200, object{"items": list{object{"spec": object{"bindings": list{object{"type": "RoleBinding", "role": object{"name": "r"}}}}}}}},
		{"", "POST", "/v1/projects/" + projectUID + "/macros", "", object{"macros": list{object{"name": "k", "value": "v"}}}, 204, nil},
		{"macros", "GET", "/v1/projects/" + projectUID + "/macros", "", nil, 200, object{"macros": list{object{"name": "k", "value": "v"}}}},
		{"", "POST", "/v1/projects", "", object{"metadata": sentMeta("p2")}, 201, object{"uid": projectUID}},
		{"project", "GET", "/v1/projects/" + projectUID, "", nil, 200, object{"metadata": meta("p2", projectUID)}},
		{"", "DELETE", cluster, "", nil, 204, nil},
		{"deleted", "GET", cluster, "", nil, 200, deleting(clusterGot)},
	}
}

func deleting(c object) object {
	out := maps.Clone(c)
	out["status"] = object{"state": "Deleting", "location": object{}, "repave": object{"state": "Approved"}, "spcApply": object{}, "packs": list{}, "conditions": list{}}
	return out
}

// hear has a model observe the conversation, whose answer of a name is edited,
// and returns what that breaks.
func hear(t *testing.T, name string, edit func(*tape.Exchange)) []tape.Fault {
	t.Helper()
	m := tape.NewModel()
	var out []tape.Fault
	for _, s := range conversation() {
		e := &tape.Exchange{Method: s.method, Path: s.path, Query: s.query, Project: projectUID, Status: s.status, Header: http.Header{}}
		if s.sent != nil {
			e.Sent = encode(t, s.sent)
		}
		switch got := s.got.(type) {
		case nil:
		case string:
			e.Got = []byte(got)
			e.Header.Set("Content-Type", configFile)
		default:
			e.Got = encode(t, got)
			e.Header.Set("Content-Type", "application/json")
		}
		if name != "" && s.name == name {
			edit(e)
		}
		out = append(out, m.Observe(e)...)
	}
	return out
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRightAnswersPass(t *testing.T) {
	t.Parallel()
	for _, f := range hear(t, "", nil) {
		t.Error(f)
	}
}

// Each row spoils one right answer.
func TestWrongAnswersAreFound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason, answer, old, instead string
		want                         string // part of a fault
	}{
		{"the client panics without settings", "account", `"settings":{"disablePropertiesRequest":false},`, ``, "spec.settings is absent"},
		{"a secret is never told", "account", `"clientSecret":""`, `"clientSecret":"s"`, "clientSecret is told"},
		{"a tenant name that nobody wrote", "account", `"tenantId":"t"`, `"tenantId":"t","tenantName":"T"`, "spec.tenantName reads"},
		{"the scope decides on the context", "account", `"scope":"project"`, `"scope":"tenant"`, "metadata.annotations.scope"},
		{"a label that the server adds", "account", `"labels":{"k":"v"}`, `"labels":{"k":"v","x":"y"}`, "metadata.labels.x"},
		{"two packs of one version", "packs", `"items":[{`, `"items":[{"metadata":{"uid":"1"},"spec":{"name":"kubernetes","version":"1.2.3","registryUid":"r","values":"","cloudTypes":[]}},{`, "exactly one"},
		{"another version than asked for", "packs", `"version":"1.2.3"`, `"version":"1.2.4"`, "asked was"},
		{"values are a pointer to the client", "packs", `"values":"",`, ``, "spec.values"},
		{"no public registry", "registries", `Public Repo`, `public`, "no registry"},
		{"a project without a name", "projects", `"name":"Default",`, ``, "metadata.name is absent"},
		{"a known pack that a search does not find", "pack search", `{"spec":{"layer":"k8s","name":"kubernetes","registries":[{"latestVersion":"1.2.3","uid":"r"}]}}`, ``, "0 packs are called"},
		{"values in another order", "profile", `a: b\n`, `b: a`, "values reads"},
		{"a tag that was resolved", "profile", `"tag":"1.2.3"`, `"tag":"1.2.x"`, "tag reads"},
		{"another pack's uid", "profile", packUID, accountUID, "packUid"},
		{"a profile without its version", "profile", `"versions":[{"uid":"` + profileUID + `","version":"1.0.0"}]`, `"versions":[]`, "spec.versions"},
		{"no published template", "profile", `"published"`, `"draft"`, "spec.published is absent"},
		{"a manifest that is missing", "addon", `"manifests":[{"kind":"manifest","name":"ns","uid":"1"}]`, `"manifests":[]`, "has the manifests"},
		{"a variable's default changed", "profile variables", `"80"`, `"81"`, "defaultValue"},
		{"a manifest without content", "manifests", `"published":{"content":"kind: Namespace"}`, `"published":{}`, "content is absent"},
		{"no location", "cluster", `"location":{},`, ``, "status.location is absent"},
		{"the client panics without a repave", "cluster", `"repave":{"state":"Approved"},`, ``, "status.repave.state is absent"},
		{"a state that ends an apply", "cluster", `"state":"Running"`, `"state":"Error"`, "takes for an error"},
		{"the cluster's own values of a pack", "cluster", `own: 1`, `a: b`, "values reads"},
		{"profiles in another order", "cluster", `"uid":"` + addonUID + `"`, `"uid":"` + accountUID + `"`, "uid is"},
		{"a condition without a status", "cluster", `"status":"True",`, ``, "status.conditions[].status"},
		{"a default in the cluster's configuration", "cluster", `{"timezone":"UTC"}`, `{"timezone":"UTC","updateWorkerPoolsInParallel":true}`, "updateWorkerPoolsInParallel"},
		{"no health", "overview", `"health":{"state":"Healthy"}`, ``, "health"},
		{"a kubeconfig of a type that the client cannot read", "kubeconfig", "", "application/yaml", "octet-stream"},
		{"a variable lost", "variables", `"90"`, `"80"`, "variable port"},
		{"the config's kind is part of a path", "config", `"kind":"azure",`, ``, "kind is"},
		{"a default of a load balancer", "config", `"location":"l"`, `"location":"l","infraLBConfig":{"apiServerLB":{"type":"Public"}}`, "infraLBConfig"},
		{"an empty list of zones that is gone", "config", `"azs":[],`, ``, "azs reads nothing"},
		{"a zone that was chosen", "config", `"azs":[]`, `"azs":["1"]`, "azs"},
		{"no OS", "config", `"osType":"Linux"`, `"osType":"Windows"`, "osType"},
		{"a disk without its type", "config", `"managedDisk":{"storageAccountType":"S"}`, `"x":1`, "managedDisk"},
		{"the live count of nodes", "config", `"size":2`, `"size":1`, "size reads 1"},
		{"pools in another order", "config", `"w1"`, `"w2"`, "name reads"},
		{"no maintenance status", "machines", `"maintenanceStatus":{}`, ``, "maintenanceStatus is absent"},
		{"no list's end", "search", `"continue":""`, ``, "continue"},
		{"no cluster of the name", "search", `{"metadata":{"name":"azc","uid":"` + clusterUID + `"}}`, ``, "clusters are called azc"},
		{"a code that is not taken for absence", "no backup", `ResourceNotFound`, `NotFound`, "not taken for absence"},
		{"a backup without schedule", "backup", `"schedule"`, `"plan"`, "schedule is absent"},
		{"a scan's schedule lost", "scan", `"scheduledRunTime":"1"`, ``, "the schedule of kube-bench"},
		{"a namespace without allocation", "namespaces", `"resourceAllocation"`, `"allocation"`, "resourceAllocation is absent"},
		{"a binding without role", "rbacs", `"role"`, `"rule"`, "role is absent"},
		{"a macro of another value", "macros", `"v"`, `"w"`, "the macro k"},
		{"a project's description lost", "project", `"description":"d"`, `"description":""`, "description"},
		{"still running after DELETE", "deleted", `Deleting`, `Running`, "after DELETE"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			faults := hear(t, tt.answer, func(e *tape.Exchange) {
				if tt.old == "" {
					e.Header.Set("Content-Type", tt.instead)
					return
				}
				spoilt := strings.ReplaceAll(string(e.Got), tt.old, tt.instead)
				if spoilt == string(e.Got) {
					t.Fatalf("%s is not in %s", tt.old, e.Got)
				}
				spoilt = strings.NewReplacer(",}", "}", "{,", "{", ",]", "]", "[,", "[", ",,", ",").Replace(spoilt)
				e.Got = []byte(spoilt)
			})
			for _, f := range faults {
				if strings.Contains(f.Message, tt.want) {
					return
				}
			}
			t.Errorf("no fault has %q: %v", tt.want, faults)
		})
	}
}

// What a model does not know does not judge.
func TestAnUnknownChangeIsForgotten(t *testing.T) {
	t.Parallel()
	m := tape.NewModel()
	say := func(method, path string, sent any, got any, status int) []tape.Fault {
		e := &tape.Exchange{Method: method, Path: path, Status: status, Header: http.Header{"Content-Type": {"application/json"}}}
		if sent != nil {
			e.Sent = encode(t, sent)
		}
		if got != nil {
			e.Got = encode(t, got)
		}
		return m.Observe(e)
	}
	const path = "/v1/projects/" + projectUID
	say("POST", "/v1/projects", object{"metadata": sentMeta("p")}, object{"uid": projectUID}, 201)
	if f := say("GET", path, nil, object{"metadata": meta("q", projectUID)}, 200); len(f) == 0 {
		t.Error("another name passes")
	}
	say("PUT", path+"/users", object{"x": 1}, nil, 204)
	if f := say("GET", path, nil, object{"metadata": meta("q", projectUID)}, 200); len(f) > 0 {
		t.Errorf("after a change that the model cannot follow it says %v", f)
	}
}
