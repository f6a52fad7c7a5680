// SPDX-License-Identifier: Apache-2.0

package azuresim_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

const (
	networkBase = groupID + "/providers/Microsoft.Network/"
	computeBase = groupID + "/providers/Microsoft.Compute/"
)

func vnetBody(subnets ...string) string {
	return `{"location":"westeurope","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},"subnets":[` + strings.Join(subnets, ",") + `]}}`
}

func subnetBody(name, prefix string) string {
	return fmt.Sprintf(`{"name":%q,"properties":{"addressPrefix":%q}}`, name, prefix)
}

func nicBody(subnet string) string {
	return fmt.Sprintf(`{"location":"westeurope","properties":{"ipConfigurations":[{"name":"ip","properties":{"subnet":{"id":%q}}}]}}`,
		networkBase+"virtualNetworks/v/subnets/"+subnet)
}

type vmOpts struct {
	size, zone, data, nic, disk, image string
	detach                             bool
}

func vmBody(o vmOpts) string {
	if o.size == "" {
		o.size = "Standard_D2s_v3"
	}
	if o.data == "" {
		o.data = b64("#cloud-config\n")
	}
	if o.nic == "" {
		o.nic = "n"
	}
	if o.disk == "" {
		o.disk = "Premium_LRS"
	}
	if o.image == "" {
		o.image = "server"
	}
	zones := ""
	if o.zone != "" {
		zones = fmt.Sprintf(`"zones":[%q],`, o.zone)
	}
	option := "Delete"
	if o.detach {
		option = "Detach"
	}
	return fmt.Sprintf(`{"location":"westeurope",%s"tags":{%q:"c1"},"properties":{"hardwareProfile":{"vmSize":%q},
	"osProfile":{"computerName":"m","adminUsername":"azureuser","customData":%q,"linuxConfiguration":{"ssh":{"publicKeys":[
	{"path":"/home/azureuser/.ssh/authorized_keys","keyData":%q}]}}},
	"storageProfile":{"imageReference":{"publisher":"Canonical","offer":"ubuntu-24_04-lts","sku":%q,"version":"latest"},
	"osDisk":{"createOption":"FromImage","deleteOption":"Delete","managedDisk":{"storageAccountType":%q}}},
	"diagnosticsProfile":{"bootDiagnostics":{"enabled":true}},
	"networkProfile":{"networkInterfaces":[{"id":%q,"properties":{"deleteOption":%q}}]}}}`,
		zones, clusterT, o.size, o.data, testKey, o.image, o.disk, networkBase+"networkInterfaces/"+o.nic, option)
}

const pipBody = `{"location":"westeurope","sku":{"name":"Standard"},"properties":{"publicIPAllocationMethod":"Static","dnsSettings":{"domainNameLabel":"lab"}}}`

func rule(name string, priority int) string {
	return fmt.Sprintf(`{"name":%q,"properties":{"priority":%d,"direction":"Inbound","access":"Allow","protocol":"Tcp","sourceAddressPrefix":"*",
	"sourcePortRange":"*","destinationAddressPrefix":"*","destinationPortRange":"22"}}`, name, priority)
}

// settle lets what is under way end.
func settle() { time.Sleep(5 * time.Minute) }

// basics makes a network, a NIC and a public address.
func basics(r *rest) {
	r.must(http.MethodPut, networkBase+"virtualNetworks/v", vnetBody(subnetBody("a", "10.0.1.0/24"), subnetBody("tiny", "10.0.2.0/29")))
	r.must(http.MethodPut, networkBase+"publicIPAddresses/p", pipBody)
	settle()
	r.must(http.MethodPut, networkBase+"networkInterfaces/n", nicBody("a"))
}

type errorCase struct {
	name, reason string
	setup        func(r *rest)
	method, path string
	body         string
	status       int
	code         string
}

func errorCases() []errorCase {
	vm := computeBase + "virtualMachines/m"
	lock := func(r *rest) {
		owner := login(r.t, r.sim, client)
		owner.must(http.MethodPut, groupID+"/providers/Microsoft.Authorization/locks/l", `{"properties":{"level":"CanNotDelete"}}`)
	}
	return []errorCase{
		{name: "no group", reason: "azure-protocol 3.2", method: "GET", path: "/subscriptions/" + sub + "/resourceGroups/nope/resources", status: 404, code: "ResourceGroupNotFound"},
		{name: "no group on put", reason: "3.2", method: "PUT", path: strings.Replace(networkBase, group, "nope", 1) + "virtualNetworks/v", body: vnetBody(), status: 404, code: "ResourceGroupNotFound"},
		{name: "no resource", reason: "3.2", method: "GET", path: networkBase + "virtualNetworks/v", status: 404, code: "ResourceNotFound"},
		{name: "delete absent", reason: "3.1: idempotent", method: "DELETE", path: networkBase + "virtualNetworks/v", status: 204},
		{name: "no parent", reason: "3.2", method: "PUT", path: networkBase + "virtualNetworks/v/subnets/s", body: subnetBody("s", "10.0.1.0/24"), status: 404, code: "ParentResourceNotFound"},
		{name: "unknown subscription", reason: "3.2", method: "GET", path: "/subscriptions/99999999-2222-2222-2222-222222222222/resources", status: 404, code: "SubscriptionNotFound"},
		{name: "bad json", reason: "the body is not an object", method: "PUT", path: networkBase + "virtualNetworks/v", body: `{"location":`, status: 400, code: "InvalidRequestContent"},
		{name: "no location", reason: "tracked resources have one", method: "PUT", path: networkBase + "virtualNetworks/v", body: `{"properties":{}}`, status: 400, code: "LocationRequired"},
		{name: "unknown location", reason: "not one of ours", method: "PUT", path: networkBase + "virtualNetworks/v", body: `{"location":"moon"}`, status: 400, code: "LocationNotAvailableForResourceType"},
		{name: "other location", reason: "a resource does not move", setup: basics, method: "PUT", path: networkBase + "virtualNetworks/v", body: strings.Replace(vnetBody(), "westeurope", "eastus", 1), status: 409, code: "InvalidResourceLocation"},
		{name: "group moves", reason: "3.4", method: "PUT", path: groupID, body: `{"location":"eastus"}`, status: 409, code: "InvalidResourceGroupLocation"},
		{name: "unknown type", reason: "refused, not faked", method: "GET", path: networkBase + "expressRouteCircuits/x", status: 404, code: "InvalidResourceType"},
		{name: "unknown namespace", reason: "refused", method: "GET", path: groupID + "/providers/Microsoft.Nothing/things/x", status: 404, code: "InvalidResourceNamespace"},
		{name: "subnet outside", reason: "it must lie in the address space", method: "PUT", path: networkBase + "virtualNetworks/v", body: vnetBody(subnetBody("a", "10.1.0.0/24")), status: 400, code: "NetcfgInvalidSubnet"},
		{name: "subnets overlap", reason: "they may not", method: "PUT", path: networkBase + "virtualNetworks/v", body: vnetBody(subnetBody("a", "10.0.0.0/24"), subnetBody("b", "10.0.0.128/25")), status: 400, code: "NetcfgSubnetRangesOverlap"},
		{name: "parallel subnets", reason: "azapi#503", setup: func(r *rest) {
			basics(r)
			r.must(http.MethodPut, networkBase+"virtualNetworks/v/subnets/b", subnetBody("b", "10.0.3.0/24"))
		}, method: "PUT", path: networkBase + "virtualNetworks/v/subnets/c", body: subnetBody("c", "10.0.4.0/24"), status: 409, code: "AnotherOperationInProgress"},
		{name: "reference not ready", reason: "terraform#7986", setup: func(r *rest) {
			r.must(http.MethodPut, networkBase+"virtualNetworks/v", vnetBody(subnetBody("a", "10.0.1.0/24")))
		}, method: "PUT", path: networkBase + "networkInterfaces/n", body: nicBody("a"), status: 429, code: "RetryableError"},
		{name: "reference missing", reason: "3.2", method: "PUT", path: networkBase + "networkInterfaces/n", body: nicBody("a"), status: 400, code: "InvalidResourceReference"},
		{name: "subnet in use", reason: "CAPZ#172", setup: basics, method: "DELETE", path: networkBase + "virtualNetworks/v/subnets/a", status: 400, code: "InUseSubnetCannotBeDeleted"},
		{name: "put drops used subnet", reason: "CAPZ#172", setup: basics, method: "PUT", path: networkBase + "virtualNetworks/v", body: vnetBody(), status: 400, code: "InUseSubnetCannotBeDeleted"},
		{name: "subnet full", reason: "8 addresses, 5 are Azure's", setup: func(r *rest) {
			basics(r)
			for i := range 3 {
				r.must(http.MethodPut, fmt.Sprintf("%snetworkInterfaces/t%d", networkBase, i), nicBody("tiny"))
			}
		}, method: "PUT", path: networkBase + "networkInterfaces/t3", body: nicBody("tiny"), status: 400, code: "SubnetIsFull"},
		{name: "rules collide", reason: "priority is unique per direction", method: "PUT", path: networkBase + "networkSecurityGroups/g", body: `{"location":"westeurope","properties":{"securityRules":[` + rule("a", 100) + `,` + rule("b", 100) + `]}}`, status: 400, code: "SecurityRuleConflict"},
		{name: "rule priority", reason: "100 to 4096", method: "PUT", path: networkBase + "networkSecurityGroups/g", body: `{"location":"westeurope","properties":{"securityRules":[` + rule("a", 99) + `]}}`, status: 400, code: "SecurityRuleInvalidPriority"},
		{name: "label taken", reason: "labels are unique in a region", setup: basics, method: "PUT", path: networkBase + "publicIPAddresses/q", body: pipBody, status: 400, code: "DnsRecordInUse"},
		{name: "address in use", reason: "terraform-provider-azurerm#688", setup: func(r *rest) {
			basics(r)
			r.must(http.MethodPut, networkBase+"natGateways/g", `{"location":"westeurope","sku":{"name":"Standard"},"properties":{"publicIpAddresses":[{"id":"`+networkBase+`publicIPAddresses/p"}]}}`)
			settle()
		}, method: "DELETE", path: networkBase + "publicIPAddresses/p", status: 400, code: "PublicIPAddressCannotBeDeleted"},
		{name: "etag", reason: "optimistic concurrency", setup: basics, method: "PUT*", path: networkBase + "networkInterfaces/n", body: nicBody("a"), status: 412, code: "PreconditionFailed"},
		{name: "size unknown", reason: "compute refuses", setup: basics, method: "PUT", path: vm, body: vmBody(vmOpts{size: "Standard_Z9"}), status: 400, code: "InvalidParameter"},
		{name: "size restricted", reason: "azuresandbox#70", setup: basics, method: "PUT", path: vm, body: vmBody(vmOpts{size: "Standard_NC12s_v3"}), status: 409, code: "SkuNotAvailable"},
		{name: "premium disk on plain size", reason: "D2_v2 has no premium IO", setup: basics, method: "PUT", path: vm, body: vmBody(vmOpts{size: "Standard_D2_v2"}), status: 400, code: "InvalidParameter"},
		{name: "arm size, x64 image", reason: "architecture", setup: basics, method: "PUT", path: vm, body: vmBody(vmOpts{size: "Standard_D4ps_v5"}), status: 400, code: "BadRequest"},
		{name: "gen1 image on v6", reason: "generation", setup: basics, method: "PUT", path: vm, body: vmBody(vmOpts{size: "Standard_D4s_v6", image: "server-gen1"}), status: 400, code: "BadRequest"},
		{name: "custom data not base64", reason: "custom-data.md", setup: basics, method: "PUT", path: vm, body: vmBody(vmOpts{data: "!!"}), status: 400, code: "InvalidParameter"},
		{name: "custom data too long", reason: "65535 decoded", setup: basics, method: "PUT", path: vm, body: vmBody(vmOpts{data: b64(strings.Repeat("x", 65536))}), status: 400, code: "InvalidParameter"},
		{name: "zone unknown", reason: "three zones", setup: basics, method: "PUT", path: vm, body: vmBody(vmOpts{zone: "4"}), status: 400, code: "LocationNotSupportAvailabilityZones"},
		{name: "nic missing", reason: "3.2", setup: basics, method: "PUT", path: vm, body: vmBody(vmOpts{nic: "x"}), status: 400, code: "InvalidResourceReference"},
		{name: "nic of a machine", reason: "3.2", setup: func(r *rest) {
			basics(r)
			r.must(http.MethodPut, vm, vmBody(vmOpts{}))
		}, method: "DELETE", path: networkBase + "networkInterfaces/n", status: 400, code: "NicInUse"},
		{name: "machine marked for deletion", reason: "viya4-iac-azure#140", setup: func(r *rest) {
			basics(r)
			r.must(http.MethodPut, vm, vmBody(vmOpts{}))
			settle()
			r.must(http.MethodDelete, vm, "")
		}, method: "PUT", path: vm, body: vmBody(vmOpts{}), status: 409, code: "OperationNotAllowed"},
		{name: "custom data is for create", reason: "custom-data.md", setup: func(r *rest) {
			basics(r)
			r.must(http.MethodPut, vm, vmBody(vmOpts{}))
			settle()
		}, method: "PUT", path: vm, body: vmBody(vmOpts{data: b64("other")}), status: 409, code: "PropertyChangeNotAllowed"},
		{name: "locked group", reason: "apiops#606", setup: lock, method: "DELETE", path: groupID, status: 409, code: "ScopeLocked"},
		{name: "provider", reason: "not registered", setup: func(r *rest) { r.sim.SetProvider(sub, "Microsoft.Network", "NotRegistered") }, method: "PUT", path: networkBase + "virtualNetworks/v", body: vnetBody(), status: 409, code: "MissingSubscriptionRegistration"},
		{name: "filter", reason: "tags do not combine", method: "GET", path: "/subscriptions/" + sub + "/resources?$filter=tagName%20eq%20'a'%20and%20resourceType%20eq%20'b'", status: 400, code: "InvalidFilterInQueryString"},
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range errorCases() {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := world()
				w.RoleAssignments[0].Role = "Owner"
				s := start(t, azuresim.Config{Seed: 3}, w)
				r := login(t, s, client)
				if tc.setup != nil {
					tc.setup(r)
				}
				h := http.Header{}
				if tc.method == "PUT*" {
					tc.method = http.MethodPut
					h.Set("If-Match", `W/"something else"`)
				}
				sep := "?"
				if strings.Contains(tc.path, "?") {
					sep = "&"
				}
				code, body, _ := r.send(tc.method, tc.path+sep+"api-version=2024-07-01", tc.body, h)
				if code != tc.status || codeOf(body) != tc.code {
					t.Errorf("%s %s: %d %s, want %d %s (%s)\n%v", tc.method, tc.path, code, codeOf(body), tc.status, tc.code, tc.reason, body)
				}
			})
		})
	}
}

func TestVersionsAndTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, azuresim.Config{}, world())
		r := login(t, s, client)
		for _, tc := range []struct {
			reason, query, token string
			status               int
			code                 string
		}{
			{"no version", "", "", 400, "MissingApiVersionParameter"},
			{"not a date", "?api-version=latest", "", 400, "InvalidApiVersionParameter"},
			{"too old", "?api-version=2012-01-01", "", 400, "NoRegisteredProviderFound"},
			{"invented token", "?api-version=2024-07-01", "Bearer x", 401, "InvalidAuthenticationToken"},
			{"no bearer", "?api-version=2024-07-01", "Basic x", 401, "AuthenticationFailed"},
			{"good", "?api-version=2024-07-01", "", 200, ""},
		} {
			h := http.Header{}
			if tc.token != "" {
				h.Set("Authorization", tc.token)
			}
			code, body, head := r.send(http.MethodGet, networkBase+"virtualNetworks"+tc.query, "", h)
			if code != tc.status || codeOf(body) != tc.code {
				t.Errorf("%s: %d %s", tc.reason, code, codeOf(body))
			}
			if code == http.StatusUnauthorized && !strings.Contains(head.Get("WWW-Authenticate"), tenant) {
				t.Errorf("%s: challenge %q", tc.reason, head.Get("WWW-Authenticate"))
			}
			if head.Get("x-ms-request-id") == "" || head.Get("x-ms-correlation-request-id") == "" {
				t.Errorf("%s: no request ids", tc.reason)
			}
		}
		time.Sleep(2 * time.Hour)
		if code, body, _ := r.arm(http.MethodGet, groupID, ""); code != 401 || codeOf(body) != "ExpiredAuthenticationToken" {
			t.Errorf("after two hours: %d %v", code, body)
		}
	})
}

func TestEntraErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := world()
		w.Principals = append(w.Principals, azuresim.Principal{TenantID: tenant, ClientID: "old", ObjectID: "old", Secret: "s", SecretExpiry: time.Now().Add(-time.Hour)})
		s := start(t, azuresim.Config{}, w)
		r := &rest{t: t, sim: s}
		for _, tc := range []struct {
			reason, tenant, form string
			status               int
			code                 float64
		}{
			{"tenant unknown", "nowhere", "grant_type=client_credentials&client_id=" + client, 400, 90002},
			{"client not in the tenant", tenant, "grant_type=client_credentials&client_id=x&client_secret=y", 400, 700016},
			{"bad secret", tenant, "grant_type=client_credentials&client_secret=bad&client_id=" + client, 401, 7000215},
			{"expired secret", tenant, "grant_type=client_credentials&client_secret=s&client_id=old", 401, 7000222},
		} {
			code, body, _ := r.form(tc.tenant, tc.form)
			list, _ := body["error_codes"].([]any)
			if code != tc.status || len(list) != 1 || list[0] != tc.code || !strings.Contains(fmt.Sprint(body["error_description"]), "AADSTS") {
				t.Errorf("%s: %d %v", tc.reason, code, body)
			}
		}
	})
}

func TestRights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, azuresim.Config{}, world())
		contributor, read := login(t, s, client), login(t, s, reader)
		assign := groupID + "/providers/Microsoft.Authorization/roleAssignments/aaaaaaaa-0000-0000-0000-000000000000"
		lock := groupID + "/providers/Microsoft.Authorization/locks/l"
		for _, tc := range []struct {
			reason       string
			who          *rest
			method, path string
			body         string
			status       int
		}{
			{"a reader reads", read, "GET", groupID, "", 200},
			{"a reader does not write", read, "PUT", networkBase + "virtualNetworks/v", vnetBody(), 403},
			{"a reader of a group does not see the subscription's resources", read, "GET", "/subscriptions/" + sub + "/resources", "", 403},
			{"but it sees the subscription", read, "GET", "/subscriptions/" + sub, "", 200},
			{"a contributor writes", contributor, "PUT", networkBase + "virtualNetworks/v", vnetBody(), 201},
			{"a contributor does not assign roles", contributor, "PUT", assign, `{"properties":{}}`, 403},
			{"a contributor does not lock", contributor, "PUT", lock, `{"properties":{"level":"ReadOnly"}}`, 403},
			{"a contributor reads locks", contributor, "GET", groupID + "/providers/Microsoft.Authorization/locks", "", 200},
		} {
			if code, body, _ := tc.who.arm(tc.method, tc.path, tc.body); code != tc.status {
				t.Errorf("%s: %d %v", tc.reason, code, body)
			}
		}
		perms := contributor.must(http.MethodGet, groupID+"/providers/Microsoft.Authorization/permissions", "")
		list, _ := perms["value"].([]any)
		if len(list) != 1 || fmt.Sprint(dig(list[0], "actions")) != "[*]" || !strings.Contains(fmt.Sprint(dig(list[0], "notActions")), "Microsoft.Authorization/*/Write") {
			t.Errorf("permissions: %v", perms)
		}
	})
}

// TestLinkedRight is the join that is checked on the resource referred to, with a custom role that lacks it.
func TestLinkedRight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := world()
		w.Roles = []azuresim.Role{{Name: "nic only", Actions: []string{"Microsoft.Network/networkInterfaces/*"}}}
		w.RoleAssignments[1].Role = "nic only"
		s := start(t, azuresim.Config{}, w)
		basics(login(t, s, client))
		code, body, _ := login(t, s, reader).arm(http.MethodPut, networkBase+"networkInterfaces/x", nicBody("a"))
		if code != 403 || codeOf(body) != "LinkedAuthorizationFailed" || !strings.Contains(fmt.Sprint(body), "subnets/join/action") {
			t.Errorf("%d %v", code, body)
		}
	})
}

func TestBodyTooLarge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, azuresim.Config{}, world())
		code, body, _ := login(t, s, client).arm(http.MethodPut, networkBase+"virtualNetworks/v", `{"x":"`+strings.Repeat("y", 4<<20)+`"}`)
		if code != http.StatusRequestEntityTooLarge {
			t.Errorf("%d %v", code, body)
		}
	})
}
