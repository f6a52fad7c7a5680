// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

const opURL = "https://" + armHost + "/subscriptions/s/providers/Microsoft.Network/locations/westeurope/operations/1?api-version=2025-05-01"

// flat leaves the error's text aside: its code is what the tables compare.
type flat struct {
	State      resource.State
	PollURL    string
	RetryAfter time.Duration
	Facts      map[string]string
	Code       lazuli.Code
}

func flatten(r resource.Result) flat {
	out := flat{State: r.State, PollURL: r.PollURL, RetryAfter: r.RetryAfter, Facts: r.Facts}
	if r.Err != nil {
		out.Code = r.Err.Code
	}
	return out
}

func TestPut(t *testing.T) {
	t.Parallel()
	ip := resource.PublicIP{Common: common(resource.TypePublicIP, "demo-api")}
	nic := resource.NetworkInterface{Common: common(resource.TypeNetworkInterface, "demo-nic")}
	for _, tc := range []struct {
		reason string
		spec   resource.Spec
		answer http.HandlerFunc
		want   flat
	}{
		{
			"a final reply has the facts at once", nic,
			always(201, `{"properties":{"provisioningState":"Succeeded","ipConfigurations":[{"properties":{"privateIPAddress":"10.0.0.4"}}]}}`,
				"Azure-AsyncOperation", opURL),
			flat{State: resource.StateSucceeded, Facts: map[string]string{resource.FactPrivateIP: "10.0.0.4"}},
		},
		{
			"no provisioningState and no header is final", ip, always(200, `{"properties":{"ipAddress":"192.0.2.1","dnsSettings":{"fqdn":"x.example"}}}`),
			flat{State: resource.StateSucceeded, Facts: map[string]string{resource.FactIPAddress: "192.0.2.1", resource.FactFQDN: "x.example"}},
		},
		{
			"the operation's header goes before Location", ip,
			always(201, `{"properties":{"provisioningState":"Updating"}}`, "Azure-AsyncOperation", opURL, "Location", "https://else.example", "Retry-After", "3"),
			flat{State: resource.StateWorking, PollURL: opURL, RetryAfter: 3 * time.Second},
		},
		{
			"milliseconds go before seconds", ip,
			always(201, `{"properties":{"provisioningState":"Updating"}}`, "Location", opURL, "Retry-After", "3", "x-ms-retry-after-ms", "200"),
			flat{State: resource.StateWorking, PollURL: opURL, RetryAfter: 200 * time.Millisecond},
		},
		{
			"a header without a state is an operation", ip, always(201, `{}`, "Azure-AsyncOperation", opURL),
			flat{State: resource.StateWorking, PollURL: opURL},
		},
		{
			"202 is never final", resource.NATGateway{Common: common(resource.TypeNATGateway, "n")}, always(202, ``, "Location", opURL),
			flat{State: resource.StateWorking, PollURL: opURL},
		},
		{
			"an operation that cannot be polled is left to Get", ip, always(201, `{"properties":{"provisioningState":"Updating"}}`),
			flat{State: resource.StateWorking},
		},
		{
			"a resource can fail at once", ip, always(200, `{"properties":{"provisioningState":"Failed"}}`),
			flat{State: resource.StateFailed, Code: lazuli.CodeAzureRejected},
		},
		{
			"availability sets are synchronous", resource.AvailabilitySet{Common: common(resource.TypeAvailabilitySet, "a"), FaultDomains: 2}, always(200, `{"properties":{}}`),
			flat{State: resource.StateSucceeded},
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			c, wire := fixture(t, tc.answer)
			got, err := c.Put(t.Context(), target(), tc.spec)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, flatten(got)); diff != "" {
				t.Error(diff)
			}
			if n := len(wire.arm()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

func TestPoll(t *testing.T) {
	t.Parallel()
	const other = "https://" + armHost + "/operations/2"
	for _, tc := range []struct {
		reason string
		answer http.HandlerFunc
		want   flat
	}{
		{
			"operation under way", always(200, `{"status":"InProgress","name":"1"}`, "Retry-After", "35"),
			flat{State: resource.StateWorking, PollURL: opURL, RetryAfter: 35 * time.Second},
		},
		{
			"operation that moved", always(200, `{"status":"Running"}`, "Azure-AsyncOperation", other),
			flat{State: resource.StateWorking, PollURL: other},
		},
		{"operation that ended well", always(200, `{"status":"Succeeded"}`, "Retry-After", "10"), flat{State: resource.StateSucceeded}},
		{
			"operation that failed", always(200, `{"status":"Failed","error":{"code":"ZonalAllocationFailed","message":"no room"}}`),
			flat{State: resource.StateFailed, Code: lazuli.CodeAzureCapacity},
		},
		{"operation that was cancelled", always(200, `{"status":"Canceled"}`), flat{State: resource.StateFailed, Code: lazuli.CodeAzureConflict}},
		{
			"location style, under way", always(202, ``, "Location", other, "Retry-After", "15"),
			flat{State: resource.StateWorking, PollURL: other, RetryAfter: 15 * time.Second},
		},
		{"location style, deleted", always(204, ``), flat{State: resource.StateSucceeded}},
		{
			"location style, the resource", always(200, `{"properties":{"provisioningState":"Succeeded","ipAddress":"192.0.2.9"}}`),
			flat{State: resource.StateSucceeded, Facts: map[string]string{resource.FactIPAddress: "192.0.2.9"}},
		},
		{
			"location style, the resource still changing", always(200, `{"properties":{"provisioningState":"Updating"}}`),
			flat{State: resource.StateWorking, PollURL: opURL},
		},
		{
			"location style, failed", always(409, `{"error":{"code":"ScopeLocked","message":"locked"}}`),
			flat{State: resource.StateFailed, Code: lazuli.CodeAzureLocked},
		},
		{"expired operation", always(404, `{"error":{"code":"NotFound","message":"gone"}}`), flat{State: resource.StateUnknown}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			c, wire := fixture(t, tc.answer)
			got, err := c.Poll(t.Context(), target(), opURL)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, flatten(got)); diff != "" {
				t.Error(diff)
			}
			if n := len(wire.arm()); n != 1 {
				t.Errorf("%d requests, want 1: a poll never loops", n)
			}
		})
	}
}

func TestPollLearnsNothing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		answer http.HandlerFunc
		want   lazuli.Code
	}{
		{"throttled", always(429, `{"code":"TooManyRequests"}`, "Retry-After", "7"), lazuli.CodeAzureThrottled},
		{"Azure is down", always(503, ``), lazuli.CodeAzureUnreachable},
		{"the token is refused", always(401, `{"error":{"code":"InvalidAuthenticationToken"}}`), lazuli.CodeAzurePermission},
		{"a proxy's page", always(200, `<html>sign in</html>`), lazuli.CodeAzureUnreachable},
		{"the answer is lost", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, lazuli.CodeAzureUnreachable},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			c, _ := fixture(t, tc.answer)
			got, err := c.Poll(t.Context(), target(), opURL)
			if lazuli.CodeOf(err) != tc.want || got.State != "" {
				t.Errorf("Poll is %v, %v, want only an error of %s", got, err, tc.want)
			}
			if !azure.Retryable(err) {
				t.Errorf("%v is not retryable", err)
			}
		})
	}
}

// TestForeignHost: a stored URL and a link to a next page come from outside,
// and must not carry the token away.
func TestForeignHost(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"https://evil.example/operations/1", "http://" + armHost + "/operations/1", "https://" + armHost + ":8443/operations/1",
		"https://" + armHost + "@evil.example/operations/1", "https://user@" + armHost + "/operations/1",
		"https://" + armHost + ".evil.example/", "//" + armHost + "/operations/1", "", "/operations/1", "%zz",
	} {
		c, wire := fixture(t, always(200, `{"status":"Succeeded"}`))
		_, err := c.Poll(t.Context(), target(), url)
		if lazuli.CodeOf(err) != lazuli.CodeAzureRejected {
			t.Errorf("Poll(%q) is %v, want %s", url, err, lazuli.CodeAzureRejected)
		}
		if len(wire.calls) != 0 {
			t.Errorf("Poll(%q) sent %v", url, wire.calls)
		}
	}
	c, wire := fixture(t, always(200, `{"value":[],"nextLink":"https://evil.example/next"}`))
	_, err := c.List(t.Context(), target(), group, "tag", "v")
	if lazuli.CodeOf(err) != lazuli.CodeAzureRejected || !strings.Contains(err.Error(), "evil.example") {
		t.Errorf("List with a foreign next page is %v", err)
	}
	for _, call := range wire.calls {
		if call.Host == "evil.example" {
			t.Errorf("sent %v", call)
		}
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	vm := idOf(resource.TypeVirtualMachine, "demo-vm")
	for _, tc := range []struct {
		reason string
		id     string
		answer http.HandlerFunc
		want   flat
		calls  int
	}{
		{
			"absent", vm, always(404, `{"error":{"code":"ResourceNotFound","message":"no"}}`), flat{State: resource.StateAbsent}, 1,
		},
		{
			"its group is absent", vm, always(404, `{"error":{"code":"ResourceGroupNotFound","message":"no"}}`), flat{State: resource.StateAbsent}, 1,
		},
		{"being made", vm, always(200, `{"properties":{"provisioningState":"Creating"}}`), flat{State: resource.StateWorking}, 1},
		{"being deleted", vm, always(200, `{"properties":{"provisioningState":"Deleting"}}`), flat{State: resource.StateDeleting}, 1},
		{
			"an address", idOf(resource.TypePublicIP, "ip"), always(200, `{"properties":{"provisioningState":"Succeeded","ipAddress":"192.0.2.7","dnsSettings":{"fqdn":"a.b"}}}`),
			flat{State: resource.StateSucceeded, Facts: map[string]string{resource.FactIPAddress: "192.0.2.7", resource.FactFQDN: "a.b"}}, 1,
		},
		{
			"a failed VM tells why in its instance view", vm, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("$expand") != "instanceView" {
					reply(w, 200, `{"properties":{"provisioningState":"Failed"}}`)
					return
				}
				reply(w, 200, `{"properties":{"provisioningState":"Failed","instanceView":{"statuses":[
					{"code":"ProvisioningState/failed/AllocationFailed","level":"Error","message":"Allocation failed."}]}}}`)
			},
			flat{State: resource.StateFailed, Code: lazuli.CodeAzureCapacity}, 2,
		},
		{
			"a failed VM without a reason", vm, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("$expand") == "instanceView" {
					reply(w, 500, ``)
					return
				}
				reply(w, 200, `{"properties":{"provisioningState":"Failed"}}`)
			},
			flat{State: resource.StateFailed, Code: lazuli.CodeAzureRejected}, 2,
		},
		{"every other type is read, too", idOf(resource.TypeDisk, "d"), always(200, `{"properties":{"provisioningState":"Succeeded"}}`), flat{State: resource.StateSucceeded}, 1},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			c, wire := fixture(t, tc.answer)
			got, err := c.Get(t.Context(), target(), tc.id)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, flatten(got)); diff != "" {
				t.Error(diff)
			}
			if n := len(wire.arm()); n != tc.calls {
				t.Errorf("%d requests, want %d", n, tc.calls)
			}
		})
	}
}

// TestAbsenceIsKnowledge: only Azure's own word that a resource is not there
// makes it absent.
func TestAbsenceIsKnowledge(t *testing.T) {
	t.Parallel()
	for _, answer := range []http.HandlerFunc{
		always(404, `{"error":{"code":"SubscriptionNotFound","message":"no"}}`),
		always(404, `<html>not here</html>`),
		always(404, ``),
		always(403, `{"error":{"code":"AuthorizationFailed","message":"no"}}`),
	} {
		c, _ := fixture(t, answer)
		id := idOf(resource.TypeDisk, "d")
		if got, err := c.Get(t.Context(), target(), id); err == nil {
			t.Errorf("Get is %v, want an error", got)
		}
		if got, err := c.Delete(t.Context(), target(), id, false); err == nil {
			t.Errorf("Delete is %v, want an error", got)
		}
		if got, err := c.List(t.Context(), target(), group, "tag", "v"); err == nil {
			t.Errorf("List is %v, want an error", got)
		}
		if _, found, err := c.ResourceGroup(t.Context(), target(), group); err == nil || found {
			t.Errorf("ResourceGroup is %v, %v, want an error", found, err)
		}
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		typ    resource.Type
		answer http.HandlerFunc
		want   flat
	}{
		{"absent", resource.TypeDisk, always(204, ``), flat{State: resource.StateAbsent}},
		{"absent with its group", resource.TypeDisk, always(404, `{"error":{"code":"ResourceGroupNotFound"}}`), flat{State: resource.StateAbsent}},
		{"synchronous", resource.TypeAvailabilitySet, always(200, ``), flat{State: resource.StateAbsent}},
		{
			"accepted", resource.TypeVirtualNetwork, always(202, ``, "Location", opURL, "Retry-After", "10"),
			flat{State: resource.StateDeleting, PollURL: opURL, RetryAfter: 10 * time.Second},
		},
		{"accepted without an address to poll", resource.TypeVirtualMachine, always(202, ``), flat{State: resource.StateDeleting}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			c, _ := fixture(t, tc.answer)
			got, err := c.Delete(t.Context(), target(), idOf(tc.typ, "x"), false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, flatten(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDeleteForce(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{false, true} {
		c, wire := fixture(t, always(204, ``))
		if _, err := c.Delete(t.Context(), target(), idOf(resource.TypeVirtualMachine, "x"), force); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(wire.arm()[0].Query, "forceDeletion=true"); got != force {
			t.Errorf("force %v: the query is %q", force, wire.arm()[0].Query)
		}
	}
}

// TestIDsAreChecked: an id decides what is deleted, so it is not guessed at.
func TestIDsAreChecked(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"", "x", idOf(resource.TypeVirtualNetwork, "v") + "/subnets/s", idOf("Microsoft.Storage/storageAccounts", "s"),
		resource.ID("another", group, resource.TypeDisk, "d"), "/subscriptions/" + subscription + "/resourceGroups/" + group,
	} {
		c, wire := fixture(t, always(200, `{}`))
		if _, err := c.Get(t.Context(), target(), id); err == nil {
			t.Errorf("Get(%q) is accepted", id)
		}
		if _, err := c.Delete(t.Context(), target(), id, false); err == nil {
			t.Errorf("Delete(%q) is accepted", id)
		}
		if _, err := c.BootLog(t.Context(), target(), id, 1); err == nil {
			t.Errorf("BootLog(%q) is accepted", id)
		}
		if n := len(wire.calls); n != 0 {
			t.Errorf("%q: %d requests were sent", id, n)
		}
	}
}
