// SPDX-License-Identifier: Apache-2.0

package azuresim_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// TestVMProtocol is what Azure was seen to answer on a machine's create (azure-operations, E.2).
func TestVMProtocol(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newServers(t)
		s := start(t, azuresim.Config{Seed: 1, Machines: v}, world())
		r := login(t, s, client)
		basics(r)
		code, body, h := r.arm(http.MethodPut, vmID("m"), vmBody(vmOpts{zone: "2"}))
		if code != 201 || dig(body, "properties", "provisioningState") != "Creating" || h.Get("Retry-After") != "10" || h.Get("retry-after-ms") != "" {
			t.Fatalf("PUT: %d, Retry-After %q, %v", code, h.Get("Retry-After"), body)
		}
		if !strings.Contains(h.Get("x-ms-ratelimit-remaining-resource"), "Microsoft.Compute/PutVMResource;11") ||
			h.Get("x-ms-ratelimit-remaining-subscription-writes") == "" {
			t.Errorf("rate limit headers: %v", h)
		}
		poll := strings.TrimPrefix(h.Get("Azure-AsyncOperation"), "https://"+host)
		for i, want := range []string{"35", ""} {
			code, op, ph := r.send(http.MethodGet, poll, "", nil)
			if code != 200 || op["status"] != "InProgress" || ph.Get("Retry-After") != want {
				t.Errorf("poll %d: %d %v Retry-After %q, want %q", i, code, op["status"], ph.Get("Retry-After"), want)
			}
		}
		op := pollDone(t.Context(), t, r, h)
		if op["status"] != "Succeeded" || op["endTime"] == nil {
			t.Errorf("operation: %v", op)
		}
		m := v.booted[vmID("m")]
		want := azuresim.Machine{
			ID: vmID("m"), Name: "m", ComputerName: "m", SubscriptionID: sub, ResourceGroup: group, Location: "westeurope", Zone: "2",
			Size: "Standard_D2s_v3", VCPUs: 2, MemoryGB: 8, CustomData: []byte("#cloud-config\n"), AdminUser: "azureuser", SSHKeys: []string{testKey},
			PrivateIP: "10.0.1.4", Image: "Canonical:ubuntu-24_04-lts:server:latest", Tags: map[string]string{clusterT: "c1"},
		}
		want.VMID, _ = dig(r.must(http.MethodGet, vmID("m"), ""), "properties", "vmId").(string)
		if want.VMID == "" {
			t.Error("the machine has no vmId")
		}
		if d := cmp.Diff(want, m); d != "" {
			t.Errorf("what the guest sees (-want +got):\n%s", d)
		}
		r.must(http.MethodPatch, vmID("m"), `{"tags":{"changed":"yes"}}`)
		settle()
		r.must(http.MethodGet, groupID, "") // A request drives the events.
		if d := cmp.Diff(map[string]string{"changed": "yes"}, s.Tags(vmID("m"))); d != "" {
			t.Errorf("tags after a change (-want +got):\n%s", d)
		}
		uris := r.must(http.MethodPost, vmID("m")+"/retrieveBootDiagnosticsData", "")
		u, err := url.Parse(fmt.Sprint(uris["serialConsoleLogBlobUri"]))
		if err != nil || s.SerialConsole(vmID("m")) != "booting m\n" {
			t.Errorf("console: %v %q", err, s.SerialConsole(vmID("m")))
		}
		if u.Query().Get("sig") == "" {
			t.Error("the console's URL has no signature")
		}
		// The casing of the first writer stays; a path in another casing finds the resource.
		got := r.must(http.MethodGet, strings.ToUpper(vmID("m")), "")
		if got["id"] != vmID("m") {
			t.Errorf("id %v", got["id"])
		}
	})
}

func TestProvisioningFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		fail   error
		code   string
	}{
		{"the guest agent reports an error", errors.New("cloud-init: bad user data"), "OSProvisioningClientError"},
	} {
		synctest.Test(t, func(t *testing.T) {
			v := newServers(t)
			v.fail = tc.fail
			s := start(t, azuresim.Config{Machines: v}, world())
			r := login(t, s, client)
			basics(r)
			_, _, h := r.arm(http.MethodPut, vmID("m"), vmBody(vmOpts{}))
			op := pollDone(t.Context(), t, r, h)
			if op["status"] != "Failed" || dig(op, "error", "code") != tc.code {
				t.Errorf("%s: %v", tc.reason, op)
			}
			if got := r.must(http.MethodGet, vmID("m"), ""); dig(got, "properties", "provisioningState") != "Failed" {
				t.Errorf("%s: state %v", tc.reason, dig(got, "properties", "provisioningState"))
			}
		})
	}
}

// TestGuestPowersOff shuts a machine down from inside: Azure shows it, and its start starts it.
func TestGuestPowersOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newServers(t)
		s := start(t, azuresim.Config{Machines: v}, world())
		r := login(t, s, client)
		basics(r)
		_, _, h := r.arm(http.MethodPut, vmID("m"), vmBody(vmOpts{}))
		pollDone(t.Context(), t, r, h)
		power := func() string {
			return fmt.Sprint(r.must(http.MethodGet, vmID("m")+"/instanceView", "")["statuses"])
		}
		s.PoweredOff(vmID("m"))
		if got := power(); !strings.Contains(got, "PowerState/stopped") {
			t.Errorf("a machine that is off shows %s", got)
		}
		_, _, h = r.arm(http.MethodPost, vmID("m")+"/start", "")
		pollDone(t.Context(), t, r, h)
		if got := power(); v.starts != 2 || !strings.Contains(got, "PowerState/running") {
			t.Errorf("a start starts it %d times and shows %s", v.starts-1, got)
		}
		// A start of a machine that runs does nothing, unless the guest goes down meanwhile.
		_, _, h = r.arm(http.MethodPost, vmID("m")+"/start", "")
		s.PoweredOff(vmID("m"))
		pollDone(t.Context(), t, r, h)
		if got := power(); v.starts != 3 || !strings.Contains(got, "PowerState/running") {
			t.Errorf("a start of a machine that goes off starts it %d times and shows %s", v.starts-2, got)
		}
	})
}

// silent machines never report.
type silent struct{ servers }

func (*silent) Start(azuresim.Env, azuresim.Machine) {}

func TestProvisioningTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, azuresim.Config{Machines: &silent{}}, world())
		r := login(t, s, client)
		basics(r)
		_, _, h := r.arm(http.MethodPut, vmID("m"), vmBody(vmOpts{}))
		time.Sleep(19 * time.Minute)
		poll := strings.TrimPrefix(h.Get("Azure-AsyncOperation"), "https://"+host)
		if _, op, _ := r.send(http.MethodGet, poll, "", nil); op["status"] != "InProgress" {
			t.Errorf("after 19 minutes: %v", op)
		}
		time.Sleep(2 * time.Minute)
		if op := pollDone(t.Context(), t, r, h); dig(op, "error", "code") != "OSProvisioningTimedOut" {
			t.Errorf("after 21 minutes: %v", op)
		}
	})
}

func TestQuotaAndCapacity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := world()
		w.Quotas = []azuresim.Quota{{SubscriptionID: sub, Location: "westeurope", Name: "standardDSv3Family", Limit: 4}}
		w.Capacities = []azuresim.Capacity{{Location: "westeurope", Zone: "1", Family: "standardDSv3Family", VCPUs: 2}}
		s := start(t, azuresim.Config{}, w)
		r := login(t, s, client)
		basics(r)
		for _, n := range []string{"n1", "n2", "n3"} {
			r.must(http.MethodPut, networkBase+"networkInterfaces/"+n, nicBody("a"))
		}
		put := func(name string) (int, map[string]any, http.Header) {
			return r.arm(http.MethodPut, vmID("m"+name), vmBody(vmOpts{nic: "n" + name, zone: "1", detach: true}))
		}
		_, _, h := put("1")
		if op := pollDone(t.Context(), t, r, h); op["status"] != "Succeeded" {
			t.Fatalf("first: %v", op)
		}
		_, _, h = put("2")
		if op := pollDone(t.Context(), t, r, h); dig(op, "error", "code") != "ZonalAllocationFailed" {
			t.Errorf("second, the zone is full: %v", op)
		}
		code, body, _ := put("3")
		if code != 409 || codeOf(body) != "OperationNotAllowed" || !strings.Contains(fmt.Sprint(body), "exceeding approved standardDSv3Family Cores quota") {
			t.Errorf("third, the failed machine counts: %d %v", code, body)
		}
		usage := r.must(http.MethodGet, "/subscriptions/"+sub+"/providers/Microsoft.Compute/locations/westeurope/usages", "")
		found := false
		list, _ := usage["value"].([]any)
		for _, u := range list {
			found = found || dig(u, "name", "value") == "standardDSv3Family" && dig(u, "currentValue") == 4.0 && dig(u, "limit") == 4.0
		}
		if !found {
			t.Errorf("usages: %v", usage)
		}
		// The NIC of a failed machine is kept for it for 180 s after the machine went.
		_, _, h = r.arm(http.MethodDelete, vmID("m2"), "")
		pollDone(t.Context(), t, r, h)
		if code, body, _ := r.arm(http.MethodDelete, networkBase+"networkInterfaces/n2", ""); codeOf(body) != "NicReservedForAnotherVm" {
			t.Errorf("reserved NIC: %d %v", code, body)
		}
		time.Sleep(181 * time.Second)
		if code, body, _ := r.arm(http.MethodDelete, networkBase+"networkInterfaces/n2", ""); code != 202 {
			t.Errorf("after the reservation: %d %v", code, body)
		}
		_, _, h = r.arm(http.MethodDelete, vmID("m1"), "")
		pollDone(t.Context(), t, r, h)
		_, _, h = put("3")
		if op := pollDone(t.Context(), t, r, h); op["status"] != "Succeeded" {
			t.Errorf("in the room that the first left: %v", op)
		}
	})
}

func TestPower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newServers(t)
		s := start(t, azuresim.Config{Machines: v}, world())
		r := login(t, s, client)
		basics(r)
		r.must(http.MethodPut, vmID("m"), vmBody(vmOpts{}))
		settle()
		for _, tc := range []struct{ action, power string }{
			{"powerOff", "PowerState/stopped"}, {"start", "PowerState/running"}, {"deallocate", "PowerState/deallocated"},
			{"start", "PowerState/running"}, {"restart", "PowerState/running"},
		} {
			_, _, h := r.arm(http.MethodPost, vmID("m")+"/"+tc.action, "")
			pollDone(t.Context(), t, r, h)
			view := r.must(http.MethodGet, vmID("m")+"/instanceView", "")
			if !strings.Contains(fmt.Sprint(view["statuses"]), tc.power) {
				t.Errorf("after %s: %v", tc.action, view["statuses"])
			}
		}
		if v.starts != 4 {
			t.Errorf("%d starts, want 4", v.starts)
		}
	})
}

func TestThrottling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, azuresim.Config{NoLatency: true}, world())
		r := login(t, s, client)
		for i := range 250 {
			if code, body, _ := r.arm(http.MethodGet, groupID, ""); code != 200 {
				t.Fatalf("read %d: %d %v", i, code, body)
			}
		}
		code, body, h := r.arm(http.MethodGet, groupID, "")
		if code != 429 || codeOf(body) != "SubscriptionRequestsThrottled" || h.Get("Retry-After") != "1" {
			t.Errorf("read 251: %d %v", code, body)
		}
		if code, _, _ := login(t, s, reader).arm(http.MethodGet, groupID, ""); code != 200 {
			t.Errorf("another principal: %d", code)
		}
		r.arm(http.MethodGet, groupID, "")
		time.Sleep(time.Second)
		if code, _, _ := r.arm(http.MethodGet, groupID, ""); code != 200 {
			t.Errorf("after Retry-After: %d", code)
		}
		for _, c := range s.Calls() {
			if c.Principal == client && c.Class == "read" && (c.Count != 253 || c.Throttled != 2 || c.Early != 1) {
				t.Errorf("accounting: %+v", c)
			}
		}
		basics(r)
		for range 12 {
			r.arm(http.MethodPut, vmID("m"), vmBody(vmOpts{}))
		}
		code, body, _ = r.arm(http.MethodPut, vmID("m"), vmBody(vmOpts{}))
		if code != 429 || body["code"] != "OperationNotAllowed" || body["error"] != nil {
			t.Errorf("13th PUT of a machine: %d %v", code, body)
		}
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	pip := networkBase + "publicIPAddresses/p"
	for _, tc := range []struct {
		reason string
		fault  azuresim.Fault
		status int
		code   string
		exists bool
		state  string
	}{
		{"a status instead of an effect", azuresim.Fault{Kind: azuresim.FaultStatus, Status: 503, Code: "ServerTimeout"}, 503, "ServerTimeout", false, ""},
		{"429", azuresim.Fault{Kind: azuresim.FaultThrottle, RetryAfter: azuresim.Duration(7 * time.Second)}, 429, "SubscriptionRequestsThrottled", false, ""},
		{"refused before the effect", azuresim.Fault{Kind: azuresim.FaultRefuse}, 0, "", false, ""},
		{"reset after the effect", azuresim.Fault{Kind: azuresim.FaultReset}, 0, "", true, "Succeeded"},
		{"answer lost after the effect", azuresim.Fault{Kind: azuresim.FaultLost}, 0, "", true, "Succeeded"},
		{"an operation that never ends", azuresim.Fault{Kind: azuresim.FaultStuck}, 201, "", true, "Updating"},
		{"an operation that fails", azuresim.Fault{Kind: azuresim.FaultFail, Code: "InternalServerError"}, 201, "", true, "Failed"},
		{"only slow", azuresim.Fault{Kind: azuresim.FaultSlow, Delay: azuresim.Duration(time.Minute)}, 201, "", true, "Succeeded"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := tc.fault
				f.Method, f.Path, f.Principal, f.Count = "put", "/subscriptions/*/resourceGroups/**/publicipaddresses/*", "installer", 1
				s := start(t, azuresim.Config{Faults: []azuresim.Fault{f}}, world())
				r := login(t, s, client)
				from := time.Now()
				code, body, h := r.arm(http.MethodPut, pip, pipBody)
				if code != tc.status || codeOf(body) != tc.code {
					t.Errorf("%d %v", code, body)
				}
				if f.Kind == azuresim.FaultThrottle && h.Get("Retry-After") != "7" {
					t.Errorf("Retry-After %q", h.Get("Retry-After"))
				}
				if f.Kind == azuresim.FaultSlow && time.Since(from) < time.Minute {
					t.Errorf("took %s", time.Since(from))
				}
				time.Sleep(10 * time.Minute)
				code, body, _ = r.arm(http.MethodGet, pip, "")
				if (code == 200) != tc.exists || tc.exists && dig(body, "properties", "provisioningState") != tc.state {
					t.Errorf("afterwards: %d %v", code, body)
				}
			})
		})
	}
}

func TestParseFaults(t *testing.T) {
	t.Parallel()
	if _, err := azuresim.ParseFaults([]byte(`[{"kind":"slow","delay":"2s","pth":"x"}]`)); err == nil {
		t.Error("an unknown key was taken")
	}
	list, err := azuresim.ParseFaults([]byte(`[{"kind":"slow","delay":"2s"}]`))
	if err != nil || len(list) != 1 || time.Duration(list[0].Delay) != 2*time.Second {
		t.Errorf("%v %v", list, err)
	}
}

// TestReplay runs the same calls twice and wants the same bytes; another order of independent calls must not change
// what a resource draws.
func TestReplay(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) string {
		var out strings.Builder
		synctest.Test(t, func(t *testing.T) {
			s := start(t, azuresim.Config{Seed: seed}, world())
			r := login(t, s, client)
			basics(r)
			_, body, h := r.arm(http.MethodPut, vmID("m"), vmBody(vmOpts{}))
			fmt.Fprintln(&out, body, h)
			fmt.Fprintln(&out, pollDone(t.Context(), t, r, h), time.Now())
			fmt.Fprintln(&out, r.must(http.MethodGet, vmID("m"), ""))
		})
		return out.String()
	}
	one, two, other := run(11), run(11), run(12)
	if one != two {
		t.Errorf("the same seed gave two runs:\n%s", cmp.Diff(one, two))
	}
	if one == other {
		t.Error("another seed gave the same run")
	}
}

// TestDrawsAreIndependent: what one resource draws does not depend on what happens to others before it.
func TestDrawsAreIndependent(t *testing.T) {
	t.Parallel()
	run := func(names ...string) map[string]time.Duration {
		out := map[string]time.Duration{}
		synctest.Test(t, func(t *testing.T) {
			r := login(t, start(t, azuresim.Config{Seed: 4}, world()), client)
			for _, n := range names {
				_, _, h := r.arm(http.MethodPut, networkBase+"routeTables/"+n, `{"location":"westeurope"}`)
				op := pollDone(t.Context(), t, r, h)
				from, err := time.Parse(time.RFC3339Nano, fmt.Sprint(op["startTime"]))
				if err != nil {
					t.Fatal(err)
				}
				to, err := time.Parse(time.RFC3339Nano, fmt.Sprint(op["endTime"]))
				if err != nil {
					t.Fatal(err)
				}
				out[n] = to.Sub(from)
			}
		})
		return out
	}
	if d := cmp.Diff(run("a", "b", "c"), run("c", "a", "b")); d != "" {
		t.Errorf("durations depend on the order:\n%s", d)
	}
}

func TestAccounting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, azuresim.Config{}, world())
		r := login(t, s, client)
		basics(r)
		s.Reset()
		_, _, h := r.arm(http.MethodPut, vmID("m"), vmBody(vmOpts{}))
		poll := strings.TrimPrefix(h.Get("Azure-AsyncOperation"), "https://"+host)
		r.send(http.MethodGet, poll, "", nil)
		r.must(http.MethodGet, vmID("m"), "")
		r.must(http.MethodGet, computeBase+"virtualMachines", "")
		const vm = "Microsoft.Compute/virtualMachines"
		want := []azuresim.CallCount{
			{Principal: client, Class: "read", Type: vm, Count: 1},
			{Principal: client, Class: "poll", Type: vm, Cluster: "c1", Count: 1},
			{Principal: client, Class: "read", Type: vm, Cluster: "c1", Count: 1},
			{Principal: client, Class: "write", Type: vm, Cluster: "c1", Count: 1},
		}
		if d := cmp.Diff(want, s.Calls()); d != "" {
			t.Errorf("calls (-want +got):\n%s", d)
		}
	})
}

// TestClockIsOnlyLookedAt: reading the time between two requests must not move the events between them.
func TestClockIsOnlyLookedAt(t *testing.T) {
	t.Parallel()
	run := func(look bool) (end any) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, azuresim.Config{Seed: 9}, world())
			r := login(t, s, client)
			_, _, h := r.arm(http.MethodPut, networkBase+"routeTables/a", `{"location":"westeurope"}`)
			time.Sleep(20 * time.Minute)
			if look {
				s.Now()
			}
			end = pollDone(t.Context(), t, r, h)["endTime"]
		})
		return end
	}
	if a, b := run(false), run(true); a != b {
		t.Errorf("the operation ended at %v, and at %v after a look at the clock", a, b)
	}
}

// TestClocksOutside: a fast simulator scales durations, and is not at another
// date than who talks to it.
func TestClocksOutside(t *testing.T) {
	t.Parallel()
	for _, speed := range []float64{1, 50} {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, azuresim.Config{Seed: 9, Speed: speed}, world())
			began, inside := time.Now(), s.Now()
			time.Sleep(10 * time.Minute)
			passed := time.Duration(float64(10*time.Minute) * speed)
			if got := s.Now().Sub(inside); got != passed {
				t.Errorf("at speed %v %s pass inside, want %s", speed, got, passed)
			}
			if got := s.Outside().Sub(began); got.Round(time.Millisecond) != 10*time.Minute {
				t.Errorf("at speed %v %s pass outside, want 10 min", speed, got)
			}
			if got, want := s.Until(time.Now().Add(time.Hour)), time.Duration(speed*float64(time.Hour)); got.Round(time.Millisecond) != want {
				t.Errorf("at speed %v an hour outside is %s, want %s", speed, got, want)
			}
			if got := s.Until(began.AddDate(200, 0, 0)); got < 50*365*24*time.Hour {
				t.Errorf("at speed %v two centuries outside are %s", speed, got)
			}
		})
	}
}
