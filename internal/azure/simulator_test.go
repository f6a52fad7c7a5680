// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// simulated makes a client of a simulated cloud in which target may do what
// its role allows. Call it inside a synctest bubble.
func simulated(t *testing.T, role string, cfg azuresim.Config) (*azure.Client, *azuresim.Simulator) {
	t.Helper()
	sim, err := azuresim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	to := target()
	const object = "33333333-3333-3333-3333-333333333333"
	scope := "/subscriptions/" + subscription
	if err := sim.Seed(azuresim.World{
		Tenants:         []azuresim.Tenant{{ID: to.TenantID, DisplayName: "Test"}},
		Subscriptions:   []azuresim.Subscription{{ID: subscription, TenantID: to.TenantID, DisplayName: "Test subscription"}},
		Principals:      []azuresim.Principal{{TenantID: to.TenantID, ClientID: to.ClientID, ObjectID: object, Secret: canary}},
		RoleAssignments: []azuresim.RoleAssignment{{PrincipalID: object, Role: role, Scope: scope}},
		ResourceGroups:  []azuresim.ResourceGroup{{SubscriptionID: subscription, Name: group, Location: region}},
	}); err != nil {
		t.Fatal(err)
	}
	return azure.New(azure.Config{Transport: sim.Transport()}), sim
}

// settle polls until the operation has ended, as the engine does, and reads the
// resource when the operation is no longer known.
func settle(t *testing.T, c *azure.Client, id string, r resource.Result) resource.Result {
	t.Helper()
	for n := 0; r.State == resource.StateWorking || r.State == resource.StateDeleting; n++ {
		if n > 200 {
			t.Fatalf("%s: still %s", id, r.State)
		}
		time.Sleep(max(r.RetryAfter, time.Second))
		var err error
		if r.PollURL == "" {
			r, err = c.Get(t.Context(), target(), id)
		} else {
			r, err = c.Poll(t.Context(), target(), r.PollURL)
		}
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	return r
}

// TestClusterOnTheSimulator creates all that a small cluster is made of,
// reads it back, deletes it in the opposite order and finds nothing left.
func TestClusterOnTheSimulator(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := simulated(t, "Contributor", azuresim.Config{Seed: 1})
		specs := cluster()
		facts := map[string]map[string]string{}
		for _, s := range specs {
			r, err := c.Put(t.Context(), target(), s)
			if err != nil {
				t.Fatal(err)
			}
			if r = settle(t, c, s.ResourceID(), r); r.State != resource.StateSucceeded {
				t.Fatalf("%s is %s: %v", s.ResourceID(), r.State, r.Err)
			}
			got, err := c.Get(t.Context(), target(), s.ResourceID())
			if err != nil || got.State != resource.StateSucceeded {
				t.Fatalf("Get(%s) is %v, %v", s.ResourceID(), got, err)
			}
			facts[resource.NameOf(s.ResourceID())+"/"+string(s.Type())] = got.Facts
		}
		api := facts["demo-api/"+string(resource.TypePublicIP)]
		if api[resource.FactIPAddress] == "" || api[resource.FactFQDN] == "" {
			t.Errorf("the facts of the API's address are %v", api)
		}
		if ip := facts["demo-cp-x7k2p/"+string(resource.TypeNetworkInterface)][resource.FactPrivateIP]; ip == "" {
			t.Error("the interface has no private address")
		}
		again, err := c.Put(t.Context(), target(), specs[len(specs)-1])
		if err != nil || settle(t, c, specs[len(specs)-1].ResourceID(), again).State != resource.StateSucceeded {
			t.Errorf("putting a VM again is %v, %v", again, err)
		}
		list(t, c, specs)
		dismantle(t, c, specs)
	})
}

func list(t *testing.T, c *azure.Client, specs []resource.Spec) {
	t.Helper()
	found, err := c.List(t.Context(), target(), group, "lazuli.io-cluster", "6920f0c3a1b2c3d4e5f60718")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		if !slices.ContainsFunc(found, func(f resource.Found) bool {
			return resource.Same(f.ID, s.ResourceID()) && f.State == resource.StateSucceeded && f.Type == s.Type()
		}) {
			t.Errorf("%s is not in the list %v", s.ResourceID(), found)
		}
	}
}

func dismantle(t *testing.T, c *azure.Client, specs []resource.Spec) {
	t.Helper()
	_, err := c.Delete(t.Context(), target(), idOf(resource.TypeNetworkInterface, "demo-cp-x7k2p"), false)
	if lazuli.CodeOf(err) != lazuli.CodeAzureConflict || !azure.Retryable(err) {
		t.Errorf("deleting an interface in use is %v", err)
	}
	// What refers to others goes first; machines take interfaces and disks with them.
	rank := map[resource.Type]int{
		resource.TypeVirtualMachine: 0, resource.TypeNetworkInterface: 1, resource.TypeVirtualNetwork: 2,
		resource.TypeLoadBalancer: 3, resource.TypeNATGateway: 3, resource.TypePublicIP: 4, resource.TypeSecurityGroup: 4,
	}
	order := slices.Clone(specs)
	slices.SortStableFunc(order, func(a, b resource.Spec) int { return rank[a.Type()] - rank[b.Type()] })
	for i, s := range order {
		r, err := c.Delete(t.Context(), target(), s.ResourceID(), i == 0)
		if err != nil {
			t.Fatalf("delete %s: %v", s.ResourceID(), err)
		}
		if r = settle(t, c, s.ResourceID(), r); r.State != resource.StateAbsent && r.State != resource.StateSucceeded {
			t.Errorf("%s is %s: %v", s.ResourceID(), r.State, r.Err)
		}
		if got, err := c.Get(t.Context(), target(), s.ResourceID()); err != nil || got.State != resource.StateAbsent {
			t.Errorf("%s is %v, %v", s.ResourceID(), got, err)
		}
	}
	left, err := c.List(t.Context(), target(), group, "lazuli.io-cluster", "6920f0c3a1b2c3d4e5f60718")
	if err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestSimulatedSignIn meets each bad credential.
func TestSimulatedSignIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, sim := simulated(t, "Contributor", azuresim.Config{Seed: 1})
		const expired = "expired-client"
		if err := sim.AddPrincipal(azuresim.Principal{
			TenantID: target().TenantID, ClientID: expired, Secret: canary, SecretExpiry: time.Now().Add(-time.Hour),
		}); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			change func(*resource.Target)
			want   lazuli.Code
		}{
			{func(*resource.Target) {}, ""},
			{func(t *resource.Target) { t.TenantID = "44444444-4444-4444-4444-444444444444" }, lazuli.CodeAzureTenant},
			{func(t *resource.Target) { t.ClientID = "55555555-5555-5555-5555-555555555555" }, lazuli.CodeAzureClient},
			{func(t *resource.Target) { t.ClientSecret = lazuli.NewSecret("not it") }, lazuli.CodeAzureSecret},
			{func(t *resource.Target) { t.ClientID = expired }, lazuli.CodeAzureSecretExpired},
		} {
			to := target()
			tc.change(&to)
			if err := c.CheckCredentials(t.Context(), to); lazuli.CodeOf(err) != tc.want {
				t.Errorf("%s, want %s: %v", lazuli.CodeOf(err), tc.want, err)
			}
		}
	})
}

// TestSimulatedLookups reads what a create wizard and a preflight need.
func TestSimulatedLookups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := simulated(t, "Contributor", azuresim.Config{Seed: 1})
		ctx, to := t.Context(), target()
		if subs, err := c.Subscriptions(ctx, to); err != nil || len(subs) != 1 || subs[0].ID != subscription {
			t.Errorf("subscriptions: %v, %v", subs, err)
		}
		if g, found, err := c.ResourceGroup(ctx, to, group); err != nil || !found || g.Location != region {
			t.Errorf("the group: %v, %v, %v", g, found, err)
		}
		if _, found, err := c.ResourceGroup(ctx, to, "no-such-group"); err != nil || found {
			t.Errorf("a group that is not there: %v, %v", found, err)
		}
		locations, err := c.Locations(ctx, to)
		if err != nil || !slices.ContainsFunc(locations, func(l azure.Location) bool { return l.Name == region && len(l.Zones) == 3 }) {
			t.Errorf("regions: %v, %v", locations, err)
		}
		sizes, err := c.Sizes(ctx, to)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := sizes.Size("Standard_D2s_v3"); !ok || s.VCPUs != 2 || !s.PremiumIO || len(s.Zones) == 0 || s.Family == "" {
			t.Errorf("Standard_D2s_v3 is %+v", s)
		}
		if s, ok := sizes.Size("Standard_D4ps_v5"); !ok || s.Arch != "Arm64" {
			t.Errorf("Standard_D4ps_v5 is %+v", s)
		}
		if len(sizes.Disks) == 0 {
			t.Error("no disk types are sold")
		}
		usages, err := c.Usages(ctx, to)
		if err != nil || usages["cores"].Limit == 0 || usages["StandardSkuPublicIpAddresses"].Limit == 0 {
			t.Errorf("usages: %v, %v", usages, err)
		}
		for _, where := range []string{group, ""} {
			if missing, err := c.Permissions(ctx, to, where); err != nil || len(missing) != 0 {
				t.Errorf("a contributor lacks %v, %v", missing, err)
			}
		}
		reader, _ := simulated(t, "Reader", azuresim.Config{Seed: 1})
		if missing, err := reader.Permissions(ctx, to, group); err != nil || !slices.Contains(missing, "Microsoft.Compute/virtualMachines/write") {
			t.Errorf("a reader lacks %v, %v", missing, err)
		}
		_, err = reader.Put(ctx, to, cluster()[0])
		if lazuli.CodeOf(err) != lazuli.CodeAzurePermission {
			t.Errorf("a reader's write is %v", err)
		}
	})
}

// TestSimulatedFailures meets what goes wrong on the way.
func TestSimulatedFailures(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		fault  azuresim.Fault
		want   lazuli.Code
		scope  resource.Scope
	}{
		{
			"throttled", azuresim.Fault{Kind: azuresim.FaultThrottle, Method: "PUT", RetryAfter: azuresim.Duration(30 * time.Second)},
			lazuli.CodeAzureThrottled, resource.ScopeSubscription,
		},
		{"the answer is lost", azuresim.Fault{Kind: azuresim.FaultReset, Method: "PUT"}, lazuli.CodeAzureUnreachable, resource.ScopeRequest},
		{"no answer in time", azuresim.Fault{Kind: azuresim.FaultLost, Method: "PUT"}, lazuli.CodeAzureUnreachable, resource.ScopeRequest},
		{
			"locked", azuresim.Fault{Kind: azuresim.FaultStatus, Method: "PUT", Status: 409, Code: "ScopeLocked", Message: "locked"},
			lazuli.CodeAzureLocked, resource.ScopeResource,
		},
		{
			"the operation fails", azuresim.Fault{Kind: azuresim.FaultFail, Method: "PUT", Code: "ZonalAllocationFailed", Message: "no room"},
			lazuli.CodeAzureCapacity, resource.ScopeSizeZone,
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, sim := simulated(t, "Contributor", azuresim.Config{Seed: 1})
				specs := cluster()
				last := specs[len(specs)-1]
				for _, s := range specs[:len(specs)-1] {
					r, err := c.Put(t.Context(), target(), s)
					if err != nil {
						t.Fatal(err)
					}
					settle(t, c, s.ResourceID(), r)
				}
				tc.fault.Count = 1
				if err := sim.SetFaults([]azuresim.Fault{tc.fault}); err != nil {
					t.Fatal(err)
				}
				r, err := c.Put(t.Context(), target(), last)
				got := err
				if err == nil {
					if r = settle(t, c, last.ResourceID(), r); r.Err != nil {
						got = r.Err
					}
				}
				if lazuli.CodeOf(got) != tc.want || resource.ScopeOf(got) != tc.scope || lazuli.RemedyOf(got) == "" {
					t.Errorf("%s, %s: %v", lazuli.CodeOf(got), resource.ScopeOf(got), got)
				}
				if tc.fault.Kind == azuresim.FaultFail {
					seen, err := c.Get(t.Context(), target(), last.ResourceID())
					if err != nil || seen.State != resource.StateFailed || lazuli.CodeOf(seen.Err) != tc.want {
						t.Errorf("the failed machine is %v, %v (%s)", seen, err, fmt.Sprint(seen.Err))
					}
				}
				if tc.fault.Kind == azuresim.FaultReset {
					seen, err := c.Get(t.Context(), target(), last.ResourceID())
					if err != nil || seen.State != resource.StateWorking {
						t.Errorf("after a lost answer the machine is %v, %v", seen, err)
					}
				}
			})
		})
	}
}

// TestSimulatedBootLog fetches a serial console through the wire.
func TestSimulatedBootLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, sim := simulated(t, "Contributor", azuresim.Config{Seed: 1})
		for _, s := range cluster() {
			r, err := c.Put(t.Context(), target(), s)
			if err != nil {
				t.Fatal(err)
			}
			settle(t, c, s.ResourceID(), r)
		}
		vm := idOf(resource.TypeVirtualMachine, "demo-cp-x7k2p")
		sim.Console(vm, "first line")
		sim.Console(vm, "second line")
		log, err := c.BootLog(t.Context(), target(), vm, 1)
		if err != nil || log != "second line" {
			t.Errorf("the log ends in %q, %v", log, err)
		}
	})
}
