// SPDX-License-Identifier: Apache-2.0

package azuresim_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

func TestRoleAssignments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := world()
		w.RoleAssignments[0].Role = "Owner"
		s := start(t, azuresim.Config{RoleDelay: true}, w)
		owner := login(t, s, client)
		const contributor = "b24988ac-6180-42a0-ab88-20f7382dd24c"
		identity := groupID + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nodes"
		id := owner.must(http.MethodPut, identity, `{"location":"westeurope"}`)
		who, _ := dig(id, "properties", "principalId").(string)
		body := func(principal string) string {
			return fmt.Sprintf(`{"properties":{"roleDefinitionId":"/subscriptions/%s/providers/Microsoft.Authorization/roleDefinitions/%s","principalId":%q,"principalType":"ServicePrincipal"}}`, sub, contributor, principal)
		}
		base := groupID + "/providers/Microsoft.Authorization/roleAssignments/"
		const one, two = "aaaaaaaa-0000-0000-0000-000000000001", "aaaaaaaa-0000-0000-0000-000000000002"
		for _, tc := range []struct {
			reason, method, path, body string
			status                     int
			code                       string
		}{
			{"the name is a GUID", "PUT", base + "x", body(who), 400, "InvalidRoleAssignmentId"},
			{"the principal is not there (yet)", "PUT", base + one, body("bbbbbbbb-0000-0000-0000-000000000000"), 400, "PrincipalNotFound"},
			{"created", "PUT", base + one, body(who), 201, ""},
			{"the same again", "PUT", base + one, body(who), 200, ""},
			{"under another name", "PUT", base + two, body(who), 409, "RoleAssignmentExists"},
			{"read", "GET", base + one, "", 200, ""},
			{"a reader becomes a contributor", "PUT", base + two, body(reader), 201, ""},
			{"removed", "DELETE", base + one, "", 200, ""},
			{"removed again", "DELETE", base + one, "", 204, ""},
		} {
			if code, out, _ := owner.arm(tc.method, tc.path, tc.body); code != tc.status || codeOf(out) != tc.code {
				t.Errorf("%s: %d %v", tc.reason, code, out)
			}
		}
		r := login(t, s, reader)
		if code, _, _ := r.arm(http.MethodPut, networkBase+"virtualNetworks/v", vnetBody()); code != 403 {
			t.Errorf("a role before it has spread: %d", code)
		}
		time.Sleep(5 * time.Minute)
		if code, _, _ := r.arm(http.MethodPut, networkBase+"virtualNetworks/v", vnetBody()); code != 201 {
			t.Errorf("after five minutes: %d", code)
		}
		list := owner.must(http.MethodGet, groupID+"/providers/Microsoft.Authorization/roleAssignments?$filter=principalId%20eq%20'"+reader+"'", "")
		if v, _ := list["value"].([]any); len(v) != 2 {
			t.Errorf("assignments of the reader: %v", list)
		}
		defs := owner.must(http.MethodGet, "/subscriptions/"+sub+"/providers/Microsoft.Authorization/roleDefinitions?$filter=roleName%20eq%20'Contributor'", "")
		if v, _ := defs["value"].([]any); len(v) != 1 || dig(v[0], "name") != contributor {
			t.Errorf("definitions: %v", defs)
		}
		s.RemoveRoleAssignments(reader)
		if code, _, _ := r.arm(http.MethodGet, groupID, ""); code != 403 {
			t.Errorf("without any role: %d", code)
		}
	})
}

func TestLocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := world()
		w.RoleAssignments[0].Role = "Owner"
		r := login(t, start(t, azuresim.Config{}, w), client)
		basics(r)
		lock := networkBase + "virtualNetworks/v/providers/Microsoft.Authorization/locks/l"
		r.must(http.MethodPut, lock, `{"properties":{"level":"CanNotDelete"}}`)
		for _, tc := range []struct {
			reason, method, path, body string
			status                     int
		}{
			{"the locked resource stays", "DELETE", networkBase + "virtualNetworks/v", "", 409},
			{"a lock inside blocks the group", "DELETE", groupID, "", 409},
			{"the neighbour can go", "DELETE", networkBase + "publicIPAddresses/p", "", 202},
			{"CanNotDelete lets writes through", "PATCH", networkBase + "virtualNetworks/v", `{"tags":{"a":"b"}}`, 200},
			{"the lock is listed", "GET", groupID + "/providers/Microsoft.Authorization/locks", "", 200},
			{"the lock goes", "DELETE", lock, "", 200},
			{"the lock is gone", "GET", lock, "", 404},
		} {
			if code, out, _ := r.arm(tc.method, tc.path, tc.body); code != tc.status {
				t.Errorf("%s: %d %v", tc.reason, code, out)
			}
		}
		settle()
		r.must(http.MethodPut, lock, `{"properties":{"level":"ReadOnly"}}`)
		if code, out, _ := r.arm(http.MethodPatch, networkBase+"virtualNetworks/v", `{"tags":{"a":"c"}}`); codeOf(out) != "ScopeLocked" {
			t.Errorf("a write below ReadOnly: %d %v", code, out)
		}
	})
}

func TestTags(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := login(t, start(t, azuresim.Config{}, world()), client)
		basics(r)
		path := networkBase + "virtualNetworks/v/providers/Microsoft.Resources/tags/default"
		for _, tc := range []struct{ method, body, want string }{
			{"PUT", `{"properties":{"tags":{"a":"1","b":"2"}}}`, "map[a:1 b:2]"},
			{"PATCH", `{"operation":"Merge","properties":{"tags":{"b":"3","c":"4"}}}`, "map[a:1 b:3 c:4]"},
			{"PATCH", `{"operation":"Delete","properties":{"tags":{"a":"1"}}}`, "map[b:3 c:4]"},
			{"PATCH", `{"operation":"Replace","properties":{"tags":{"z":"9"}}}`, "map[z:9]"},
			{"GET", "", "map[z:9]"},
		} {
			out := r.must(tc.method, path, tc.body)
			if got := fmt.Sprint(dig(out, "properties", "tags")); got != tc.want {
				t.Errorf("%s %s: %s, want %s", tc.method, tc.body, got, tc.want)
			}
		}
		if got := r.must(http.MethodGet, networkBase+"virtualNetworks/v", ""); fmt.Sprint(got["tags"]) != "map[z:9]" {
			t.Errorf("the network's tags: %v", got["tags"])
		}
		r.must(http.MethodPatch, groupID, `{"tags":{"g":"1"}}`)
		groups := r.must(http.MethodGet, "/subscriptions/"+sub+"/resourcegroups?$filter=tagName%20eq%20'g'", "")
		if v, _ := groups["value"].([]any); len(v) != 1 {
			t.Errorf("groups by tag: %v", groups)
		}
	})
}

func TestProviders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, azuresim.Config{}, world())
		s.SetProvider(sub, "Microsoft.Network", "NotRegistered")
		r := login(t, s, client)
		base := "/subscriptions/" + sub + "/providers"
		r.must(http.MethodPost, base+"/Microsoft.Network/register", "")
		if got := r.must(http.MethodGet, base+"/Microsoft.Network", ""); got["registrationState"] != "Registering" {
			t.Errorf("at once: %v", got["registrationState"])
		}
		settle()
		if got := r.must(http.MethodGet, base+"/Microsoft.Network", ""); got["registrationState"] != "Registered" {
			t.Errorf("later: %v", got["registrationState"])
		}
		if v, _ := r.must(http.MethodGet, base, "")["value"].([]any); len(v) != 5 {
			t.Errorf("%d providers", len(v))
		}
		if v, _ := r.must(http.MethodGet, "/tenants", "")["value"].([]any); len(v) != 1 {
			t.Errorf("%d tenants", len(v))
		}
	})
}

// TestNestedResources are the parts of network resources by their own paths.
func TestNestedResources(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := login(t, start(t, azuresim.Config{}, world()), client)
		basics(r)
		r.must(http.MethodPut, networkBase+"networkSecurityGroups/g", `{"location":"westeurope"}`)
		r.must(http.MethodPut, networkBase+"routeTables/rt", `{"location":"westeurope"}`)
		settle()
		code, body, h := r.arm(http.MethodPut, networkBase+"networkSecurityGroups/g/securityRules/ssh", rule("ssh", 200))
		if code != 201 || dig(body, "name") != "ssh" || dig(body, "properties", "provisioningState") != "Updating" || h.Get("Azure-AsyncOperation") == "" {
			t.Errorf("rule: %d %v", code, body)
		}
		settle()
		if v, _ := r.must(http.MethodGet, networkBase+"networkSecurityGroups/g/securityRules", "")["value"].([]any); len(v) != 1 || dig(v[0], "properties", "provisioningState") != "Succeeded" {
			t.Errorf("rules: %v", v)
		}
		sub := fmt.Sprintf(`{"properties":{"addressPrefixes":["10.0.9.0/24"],"networkSecurityGroup":{"id":"%[1]snetworkSecurityGroups/g"},"routeTable":{"id":"%[1]srouteTables/rt"}}}`, networkBase)
		r.must(http.MethodPut, networkBase+"virtualNetworks/v/subnets/nine", sub)
		settle()
		for _, tc := range []struct{ path, code string }{
			{"networkSecurityGroups/g", "InUseNetworkSecurityGroupCannotBeDeleted"}, {"routeTables/rt", "InUseRouteTableCannotBeDeleted"},
			{"virtualNetworks/v", "InUseSubnetCannotBeDeleted"},
		} {
			if code, out, _ := r.arm(http.MethodDelete, networkBase+tc.path, ""); codeOf(out) != tc.code {
				t.Errorf("delete %s: %d %v", tc.path, code, out)
			}
		}
		got := r.must(http.MethodGet, networkBase+"virtualNetworks/v/subnets/a", "")
		if v, _ := dig(got, "properties", "ipConfigurations").([]any); len(v) != 1 || !strings.HasSuffix(fmt.Sprint(dig(v[0], "id")), "/networkInterfaces/n/ipConfigurations/ip") {
			t.Errorf("subnet's users: %v", got)
		}
		if code, _, _ := r.arm(http.MethodDelete, networkBase+"virtualNetworks/v/subnets/nine", ""); code != 202 {
			t.Errorf("delete subnet: %d", code)
		}
		settle()
		if code, out, _ := r.arm(http.MethodGet, networkBase+"virtualNetworks/v/subnets/nine", ""); code != 404 {
			t.Errorf("deleted subnet: %d %v", code, out)
		}
		if code, _, _ := r.arm(http.MethodDelete, networkBase+"networkSecurityGroups/g", ""); code != 202 {
			t.Errorf("group after its subnet: %d", code)
		}
	})
}

func TestDisksAndIdentity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := login(t, start(t, azuresim.Config{}, world()), client)
		basics(r)
		disk := computeBase + "disks/d"
		code, _, h := r.arm(http.MethodPut, disk, `{"location":"westeurope","sku":{"name":"Premium_LRS"},"properties":{"diskSizeGB":64,"creationData":{"createOption":"Empty"}}}`)
		if code != 202 {
			t.Errorf("disk: %d, table 3.1 wants 202", code)
		}
		pollDone(t.Context(), t, r, h)
		identity := groupID + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nodes"
		body := strings.Replace(vmBody(vmOpts{}), `"properties":{"hardwareProfile"`, fmt.Sprintf(`"identity":{"type":"UserAssigned","userAssignedIdentities":{%q:{}}},"properties":{"hardwareProfile"`, identity), 1)
		body = strings.Replace(body, `"osDisk":`, fmt.Sprintf(`"dataDisks":[{"lun":0,"createOption":"Attach","managedDisk":{"id":%q}}],"osDisk":`, disk), 1)
		if code, out, _ := r.arm(http.MethodPut, vmID("m"), body); codeOf(out) != "FailedIdentityOperation" {
			t.Errorf("unknown identity: %d %v", code, out)
		}
		r.must(http.MethodPut, identity, `{"location":"westeurope"}`)
		_, _, h = r.arm(http.MethodPut, vmID("m"), body)
		if op := pollDone(t.Context(), t, r, h); op["status"] != "Succeeded" {
			t.Fatalf("machine: %v", op)
		}
		got := r.must(http.MethodGet, vmID("m"), "")
		if dig(got, "identity", "userAssignedIdentities", identity, "clientId") == nil {
			t.Errorf("identity: %v", got["identity"])
		}
		d := r.must(http.MethodGet, disk, "")
		if d["managedBy"] != vmID("m") || dig(d, "properties", "diskState") != "Attached" {
			t.Errorf("attached disk: %v", d)
		}
		if code, out, _ := r.arm(http.MethodDelete, disk, ""); codeOf(out) != "OperationNotAllowed" {
			t.Errorf("delete an attached disk: %d %v", code, out)
		}
		if code, out, _ := r.arm(http.MethodPut, disk, `{"location":"westeurope","sku":{"name":"Premium_LRS"},"properties":{"diskSizeGB":32,"creationData":{"createOption":"Empty"}}}`); codeOf(out) != "OperationNotAllowed" {
			t.Errorf("shrink a disk: %d %v", code, out)
		}
		// Force deletion is quicker, and the delete of a machine that still boots wins over its create.
		r.must(http.MethodPut, networkBase+"networkInterfaces/n2", nicBody("a"))
		_, _, create := r.arm(http.MethodPut, vmID("m2"), vmBody(vmOpts{nic: "n2"}))
		from := time.Now()
		_, _, del := r.arm(http.MethodDelete, vmID("m2")+"?forceDeletion=true", "")
		if op := pollDone(t.Context(), t, r, del); op["status"] != "Succeeded" || time.Since(from) > 2*time.Minute {
			t.Errorf("forced delete: %v after %s", op, time.Since(from))
		}
		if op := pollDone(t.Context(), t, r, create); op["status"] != "Canceled" {
			t.Errorf("the create: %v", op)
		}
	})
}

// TestInternalBalancer is a private API: reached inside the network only, and not by a member through itself.
func TestInternalBalancer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newServers(t)
		s := start(t, azuresim.Config{Machines: v, NoLatency: true}, world())
		r := login(t, s, client)
		r.must(http.MethodPut, networkBase+"virtualNetworks/v", vnetBody(subnetBody("a", "10.0.1.0/24")))
		settle()
		front := fmt.Sprintf(`"subnet":{"id":"%svirtualNetworks/v/subnets/a"},"privateIPAllocationMethod":"Static","privateIPAddress":"10.0.1.100"`, networkBase)
		public := fmt.Sprintf(`"publicIPAddress":{"id":"%spublicIPAddresses/p"}`, networkBase)
		r.must(http.MethodPut, networkBase+"loadBalancers/lb", strings.Replace(lbBody(), public, front, 1))
		machine(r, "m1")
		nic := r.must(http.MethodPut, networkBase+"networkInterfaces/w", nicBody("a"))
		r.must(http.MethodPut, vmID("w"), vmBody(vmOpts{nic: "w"}))
		settle()
		r.must(http.MethodGet, groupID, "")
		if to, err := s.Reach(vmID("w"), "10.0.1.100", 6443); err != nil || to != vmID("m1") {
			t.Errorf("from a worker: %q %v (%v)", to, err, nic["id"])
		}
		if _, err := s.Reach(vmID("m1"), "10.0.1.100", 6443); !errors.Is(err, azuresim.ErrUnreachable) {
			t.Errorf("a hairpin: %v", err)
		}
		if _, err := s.Reach(vmID("w"), "10.0.1.200", 6443); !errors.Is(err, azuresim.ErrUnreachable) {
			t.Errorf("nobody there: %v", err)
		}
		r.must(http.MethodDelete, networkBase+"loadBalancers/lb", "")
		settle()
		got := r.must(http.MethodGet, networkBase+"networkInterfaces/m1", "")
		cfgs, _ := dig(got, "properties", "ipConfigurations").([]any)
		if pools, _ := dig(cfgs[0], "properties", "loadBalancerBackendAddressPools").([]any); len(pools) != 0 {
			t.Errorf("pools of a member after the load balancer went: %v", pools)
		}
	})
}

// TestGroupBlocked is a group that cannot go because somebody else uses a part of it.
func TestGroupBlocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := login(t, start(t, azuresim.Config{}, world()), client)
		basics(r)
		other := strings.Replace(groupID, group, "other", 1)
		r.must(http.MethodPut, other, `{"location":"westeurope"}`)
		r.must(http.MethodPut, other+"/providers/Microsoft.Network/networkInterfaces/x", nicBody("a"))
		_, _, h := r.arm(http.MethodDelete, groupID, "")
		if h.Get("Azure-AsyncOperation") != "" || h.Get("Retry-After") != "15" {
			t.Errorf("headers: %v", h)
		}
		if code, out, _ := r.arm(http.MethodPut, networkBase+"publicIPAddresses/z", pipBody); codeOf(out) != "ResourceGroupBeingDeleted" {
			t.Errorf("write meanwhile: %d %v", code, out)
		}
		path := strings.TrimPrefix(h.Get("Location"), "https://"+host)
		for range 60 {
			code, out, _ := r.send(http.MethodGet, path, "", nil)
			if code == 202 {
				pause(t.Context())
				continue
			}
			if codeOf(out) != "ResourceGroupDeletionBlocked" || !strings.Contains(fmt.Sprint(out), "virtualNetworks/v") {
				t.Errorf("the delete: %d %v", code, out)
			}
			break
		}
		if got := r.must(http.MethodGet, groupID, ""); dig(got, "properties", "provisioningState") != "Succeeded" {
			t.Errorf("the group: %v", got)
		}
	})
}
