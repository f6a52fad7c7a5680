// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// paged answers with one page after the other.
func paged(pages ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("$skiptoken"), &n)
		next := ""
		if n+1 < len(pages) {
			next = fmt.Sprintf(`,"nextLink":"https://%s%s?$skiptoken=%d"`, armHost, r.URL.Path, n+1)
		}
		reply(w, 200, fmt.Sprintf(`{"value":[%s]%s}`, pages[n], next))
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	vm, ip := idOf(resource.TypeVirtualMachine, "vm"), idOf(resource.TypePublicIP, "ip")
	c, wire := fixture(t, paged(
		fmt.Sprintf(`{"id":%q,"provisioningState":"Succeeded"},{"id":%q,"provisioningState":"Deleting","tags":{"a":"b"}}`, vm, ip),
		`{"id":"/subscriptions/x/resourceGroups/g/providers/Microsoft.Foo/bars/b","provisioningState":"Updating"},{"id":"/x","provisioningState":"Failed"}`,
	))
	got, err := c.List(t.Context(), target(), group, "lazuli.io-cluster", "it's")
	if err != nil {
		t.Fatal(err)
	}
	tag := map[string]string{"lazuli.io-cluster": "it's"}
	want := []resource.Found{
		{ID: vm, Type: resource.TypeVirtualMachine, State: resource.StateSucceeded, Tags: tag},
		{ID: ip, Type: resource.TypePublicIP, State: resource.StateDeleting, Tags: map[string]string{"a": "b"}},
		{ID: "/subscriptions/x/resourceGroups/g/providers/Microsoft.Foo/bars/b", Type: "Microsoft.Foo/bars", State: resource.StateWorking, Tags: tag},
		{ID: "/x", State: resource.StateFailed, Tags: tag},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	query := wire.arm()[0].Query
	for _, part := range []string{"provisioningState", "tagName%20eq%20%27lazuli.io-cluster%27%20and%20tagValue%20eq%20%27it%27%27s%27"} {
		if !strings.Contains(strings.ReplaceAll(query, "+", "%20"), part) {
			t.Errorf("%q is not in the query %q", part, query)
		}
	}
	none, _ := fixture(t, always(404, `{"error":{"code":"ResourceGroupNotFound"}}`))
	if got, err := none.List(t.Context(), target(), group, "t", "v"); err != nil || len(got) != 0 {
		t.Errorf("the list of a group that does not exist is %v, %v", got, err)
	}
}

// TestListIsWhole: a list without an end is an error, not a shorter list.
func TestListIsWhole(t *testing.T) {
	t.Parallel()
	c, wire := fixture(t, func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, fmt.Sprintf(`{"value":[{"id":"/x"}],"nextLink":"https://%s%s?more"}`, armHost, r.URL.Path))
	})
	if got, err := c.List(t.Context(), target(), group, "t", "v"); err == nil || got != nil {
		t.Errorf("the list is %d long, %v", len(got), err)
	}
	if n := len(wire.arm()); n > 600 {
		t.Errorf("%d requests", n)
	}
	broken, _ := fixture(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "more" {
			reply(w, 500, ``)
			return
		}
		reply(w, 200, fmt.Sprintf(`{"value":[{"id":"/x"}],"nextLink":"https://%s%s?more"}`, armHost, r.URL.Path))
	})
	if got, err := broken.List(t.Context(), target(), group, "t", "v"); err == nil || got != nil {
		t.Errorf("a list whose second page is missing is %v, %v", got, err)
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	all := slices.Sorted(slices.Values(append(azure.GroupActions(), azure.SubscriptionActions()...)))
	without := func(parts ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(a string) bool {
			return !slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(a, p) })
		})
	}
	for _, tc := range []struct {
		reason  string
		granted string
		missing []string
	}{
		{"Owner", `{"actions":["*"],"notActions":[]}`, nil},
		{"Contributor", `{"actions":["*"],"notActions":["Microsoft.Authorization/*/Delete","Microsoft.Authorization/*/Write"]}`, nil},
		{"nothing", ``, all},
		{
			"Reader", `{"actions":["*/read"]}`,
			slices.DeleteFunc(slices.Clone(all), func(a string) bool { return strings.HasSuffix(a, "/read") }),
		},
		{"case does not matter", `{"actions":["MICROSOFT.*"]}`, nil},
		{"not actions take away", `{"actions":["*"],"notActions":["Microsoft.Network/natGateways/*"]}`, without("natGateways")},
		{
			"another role gives it back", `{"actions":["*"],"notActions":["Microsoft.Network/natGateways/*"]},{"actions":["Microsoft.Network/natGateways/*"]}`, nil,
		},
		{"wildcards in the middle", `{"actions":["*"],"notActions":["Microsoft.*/publicIPAddresses/*/action"]}`, without("publicIPAddresses/join")},
		{"a type's wildcard", `{"actions":["Microsoft.Compute/*","Microsoft.Network/*","Microsoft.Resources/*","Microsoft.Authorization/*/read"]}`, nil},
		{"a longer name is another name", `{"actions":["*"],"notActions":["Microsoft.Compute/disk","Microsoft.Compute/disks/rea"]}`, nil},
	} {
		for _, where := range []string{group, ""} {
			c, wire := fixture(t, paged(tc.granted))
			got, err := c.Permissions(t.Context(), target(), where)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.missing, got); diff != "" {
				t.Errorf("%s: %s", tc.reason, diff)
			}
			path := "/subscriptions/" + subscription + "/resourcegroups/" + group + "/providers/Microsoft.Authorization/permissions"
			if where == "" {
				path = "/subscriptions/" + subscription + "/providers/Microsoft.Authorization/permissions"
			}
			if call := wire.arm()[0]; call.Path != path || !strings.Contains(call.Query, "api-version=2022-04-01") {
				t.Errorf("the request is %v?%s, want %s", call, call.Query, path)
			}
		}
	}
	two, _ := fixture(t, paged(`{"actions":["*/read"]}`, `{"actions":["*"]}`))
	if got, err := two.Permissions(t.Context(), target(), ""); err != nil || len(got) != 0 {
		t.Errorf("over two pages: %v, %v", got, err)
	}
	golden(t, "actions.txt", []byte(strings.Join(all, "\n")+"\n"))
}

func TestGroupAndLocations(t *testing.T) {
	t.Parallel()
	c, _ := fixture(t, always(200, `{"name":"RG-Test","location":"westeurope"}`))
	got, found, err := c.ResourceGroup(t.Context(), target(), group)
	if err != nil || !found || got != (azure.Group{Name: "RG-Test", Location: region}) {
		t.Errorf("the group is %v, %v, %v", got, found, err)
	}
	none, _ := fixture(t, always(404, `{"error":{"code":"ResourceGroupNotFound"}}`))
	if _, found, err := none.ResourceGroup(t.Context(), target(), group); err != nil || found {
		t.Errorf("a group that is not there: %v, %v", found, err)
	}
	l, _ := fixture(t, paged(`
		{"name":"westeurope","displayName":"West Europe","metadata":{"regionType":"Physical"},
		 "availabilityZoneMappings":[{"logicalZone":"2"},{"logicalZone":"1"},{"logicalZone":"3"}]},
		{"name":"europe","displayName":"Europe","metadata":{"regionType":"Logical"}},
		{"name":"ukwest","displayName":"UK West","metadata":{"regionType":"Physical"}}`))
	locations, err := l.Locations(t.Context(), target())
	want := []azure.Location{
		{Name: "ukwest", DisplayName: "UK West"},
		{Name: "westeurope", DisplayName: "West Europe", Zones: []string{"1", "2", "3"}},
	}
	if diff := cmp.Diff(want, locations); err != nil || diff != "" {
		t.Error(err, diff)
	}
	s, _ := fixture(t, paged(`{"subscriptionId":"2","displayName":"b","state":"Enabled"}`, `{"subscriptionId":"1","displayName":"a","state":"Disabled"}`))
	subs, err := s.Subscriptions(t.Context(), target())
	wantSubs := []azure.Subscription{{ID: "1", Name: "a", State: "Disabled"}, {ID: "2", Name: "b", State: "Enabled"}}
	if diff := cmp.Diff(wantSubs, subs); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestUsages(t *testing.T) {
	t.Parallel()
	c, _ := fixture(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "Microsoft.Compute") {
			reply(w, 200, `{"value":[{"currentValue":8,"limit":10,"name":{"value":"cores"}}]}`)
			return
		}
		reply(w, 200, `{"value":[{"currentValue":2,"limit":1000,"name":{"value":"PublicIPAddresses"}}]}`)
	})
	got, err := c.Usages(t.Context(), target())
	want := map[string]azure.Usage{"cores": {Current: 8, Limit: 10}, "PublicIPAddresses": {Current: 2, Limit: 1000}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

const skus = `
{"resourceType":"virtualMachines","name":"Standard_D4s_v3","family":"standardDSv3Family","locations":["WestEurope"],
 "locationInfo":[{"location":"WestEurope","zones":["3","1","2"]}],
 "capabilities":[{"name":"vCPUs","value":"4"},{"name":"MemoryGB","value":"16"},{"name":"HyperVGenerations","value":"V1,V2"},
  {"name":"CpuArchitectureType","value":"x64"},{"name":"PremiumIO","value":"True"},{"name":"MaxDataDiskCount","value":"8"},
  {"name":"AcceleratedNetworkingEnabled","value":"True"}],
 "restrictions":[{"type":"Zone","values":["WestEurope"],"reasonCode":"NotAvailableForSubscription","restrictionInfo":{"locations":["WestEurope"],"zones":["2"]}}]},
{"resourceType":"virtualMachines","name":"Standard_D4ps_v6","family":"f6","locations":["westeurope"],
 "locationInfo":[{"location":"westeurope","zones":["1"]}],
 "capabilities":[{"name":"vCPUs","value":"4"},{"name":"MemoryGB","value":"0.75"},{"name":"HyperVGenerations","value":"V2"},
  {"name":"CpuArchitectureType","value":"Arm64"},{"name":"DiskControllerTypes","value":"NVMe, SCSI"}],
 "restrictions":[{"type":"Location","values":["northeurope"],"reasonCode":"QuotaId","restrictionInfo":{"locations":["northeurope"]}}]},
{"resourceType":"virtualMachines","name":"Standard_NC12s_v3","locations":["westeurope"],"locationInfo":[{"location":"westeurope","zones":["1"]}],
 "restrictions":[{"type":"Location","values":["westeurope"],"reasonCode":"QuotaId","restrictionInfo":{"locations":["westeurope"]}}]},
{"resourceType":"virtualMachines","name":"Standard_Elsewhere","locations":["northeurope"]},
{"resourceType":"disks","name":"Premium_LRS","size":"P10","locations":["westeurope"],"locationInfo":[{"location":"westeurope","zones":["1","2"]}]},
{"resourceType":"disks","name":"Premium_LRS","size":"P20","locations":["westeurope"],"locationInfo":[{"location":"westeurope","zones":["1","2"]}]},
{"resourceType":"snapshots","name":"Standard_LRS","locations":["westeurope"]}`

func TestSizes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, wire := fixture(t, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(2 * time.Second)
			paged(skus)(w, r)
		})
		var all sync.WaitGroup
		for range 5 { // they share one question
			all.Go(func() {
				if _, err := c.Sizes(t.Context(), target()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		got, err := c.Sizes(t.Context(), target())
		if err != nil {
			t.Fatal(err)
		}
		want := []azure.Size{
			{
				Name: "Standard_D4ps_v6", Family: "f6", VCPUs: 4, MemoryGB: 0.75, Zones: []string{"1"}, Generations: []string{"V2"},
				Arch: "Arm64", DiskControllers: []string{"NVMe", "SCSI"},
			},
			{
				Name: "Standard_D4s_v3", Family: "standardDSv3Family", VCPUs: 4, MemoryGB: 16, Zones: []string{"1", "3"},
				Generations: []string{"V1", "V2"}, Arch: "x64", PremiumIO: true, MaxDataDisks: 8, DiskControllers: []string{"SCSI"},
				AcceleratedNetworking: true, Restriction: "NotAvailableForSubscription",
			},
			{
				Name: "Standard_NC12s_v3", Generations: []string{"V1"}, Arch: "x64", DiskControllers: []string{"SCSI"},
				Restricted: true, Restriction: "QuotaId",
			},
		}
		if diff := cmp.Diff(want, got.Sizes); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]azure.DiskType{{Name: "Premium_LRS", Zones: []string{"1", "2"}}}, got.Disks); diff != "" {
			t.Error(diff)
		}
		if s, ok := got.Size("standard_d4S_V3"); !ok || s.VCPUs != 4 {
			t.Errorf("Size finds %v, %v", s, ok)
		}
		if n := len(wire.arm()); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		list, err := c.SizeList(t.Context(), target())
		if err != nil || len(list) != len(want) {
			t.Fatal(list, err)
		}
		if list[0].NVMeOnly || list[2].Restricted == "" || list[1].Restricted != "" || list[1].VCPUs != 4 {
			t.Errorf("the list is %+v", list)
		}
		other := target()
		other.ClientID = "another"
		if _, err := c.Sizes(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if n := len(wire.arm()); n != 2 {
			t.Errorf("another principal: %d requests, want 2", n)
		}
		time.Sleep(10 * time.Minute)
		if _, err := c.Sizes(t.Context(), target()); err != nil {
			t.Fatal(err)
		}
		if n := len(wire.arm()); n != 3 {
			t.Errorf("after ten minutes: %d requests, want 3", n)
		}
	})
}

func TestBootLog(t *testing.T) {
	t.Parallel()
	const signed = "https://logs.blob.example/vm.log?sig=SIGNATURE"
	vm := idOf(resource.TypeVirtualMachine, "vm")
	serve := func(data string, blob http.HandlerFunc) (*azure.Client, *inProcess) {
		return fixture(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Host == armHost {
				reply(w, 200, data)
				return
			}
			blob(w, r)
		})
	}
	data := fmt.Sprintf(`{"serialConsoleLogBlobUri":%q}`, signed)
	lines := strings.Repeat("line\n", 400_000) + "before last\nlast\x00 \xff\n"
	c, wire := serve(data, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("sig") != "SIGNATURE" {
			t.Errorf("the query is %q", r.URL.RawQuery)
		}
		_, _ = w.Write([]byte(lines))
	})
	got, err := c.BootLog(t.Context(), target(), vm, 2)
	if err != nil || got != "before last\nlast ?" {
		t.Errorf("the log ends in %q, %v", got, err)
	}
	if all, err := c.BootLog(t.Context(), target(), vm, 0); err != nil || len(all) > 1<<20 || len(all) < 1<<19 {
		t.Errorf("the whole log has %d bytes, %v", len(all), err)
	}
	for _, call := range wire.calls {
		if call.Host == "logs.blob.example" && call.Header.Get("Authorization") != "" {
			t.Error("the token went to the storage account")
		}
	}
	empty, _ := serve(`{}`, nil)
	if got, err := empty.BootLog(t.Context(), target(), vm, 5); err != nil || got != "" {
		t.Errorf("no log yet: %q, %v", got, err)
	}
	unwritten, _ := serve(data, always(404, ``))
	if got, err := unwritten.BootLog(t.Context(), target(), vm, 5); err != nil || got != "" {
		t.Errorf("nothing written yet: %q, %v", got, err)
	}
	for _, blob := range []http.HandlerFunc{always(403, ``), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }} {
		bad, _ := serve(data, blob)
		_, err := bad.BootLog(t.Context(), target(), vm, 5)
		if lazuli.CodeOf(err) != lazuli.CodeAzureUnreachable || strings.Contains(fmt.Sprintf("%+v", err), "SIGNATURE") {
			t.Errorf("a log that cannot be had: %v", err)
		}
	}
	plain, _ := serve(`{"serialConsoleLogBlobUri":"http://logs.blob.example/vm.log?sig=SIGNATURE"}`, always(200, `x`))
	if _, err := plain.BootLog(t.Context(), target(), vm, 5); err == nil || strings.Contains(err.Error(), "SIGNATURE") {
		t.Errorf("a log without TLS: %v", err)
	}
}
