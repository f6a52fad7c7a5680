// SPDX-License-Identifier: Apache-2.0

package azuresim_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources/v3"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armsubscriptions"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// served runs a simulator behind TLS on loopback until the test ends.
func served(t *testing.T, cfg azuresim.Config) (sim *azuresim.Simulator, base string, hc *http.Client) {
	t.Helper()
	s := start(t, cfg, world())
	a, err := azuresim.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- azuresim.Serve(ctx, l, a, s) }()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Pool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, "https://" + l.Addr().String(), &http.Client{Transport: tr}
}

// TestServeFast drives a fast simulator over TLS with the SDKs' own defaults: what Azure would make us wait 30 s for
// must take milliseconds.
func TestServeFast(t *testing.T) {
	t.Parallel()
	s, base, hc := served(t, azuresim.Config{Seed: 2, Speed: 200})
	cred, opts := sdk(t, base, hc, 3)
	res := check[*armresources.ClientFactory](t)(armresources.NewClientFactory(sub, cred, opts))
	ctx := t.Context()
	groups := res.NewResourceGroupsClient()
	check[armresources.ResourceGroupsClientCreateOrUpdateResponse](t)(groups.CreateOrUpdate(ctx, "other", armresources.ResourceGroup{Location: new("eastus")}, nil))
	if r := check[armresources.ResourceGroupsClientCheckExistenceResponse](t)(groups.CheckExistence(ctx, "other", nil)); !r.Success {
		t.Error("the new group is not there")
	}
	net := check[*armnetwork.ClientFactory](t)(armnetwork.NewClientFactory(sub, cred, opts))
	from := time.Now()
	p, err := net.NewVirtualNetworksClient().BeginCreateOrUpdate(ctx, "other", "v", armnetwork.VirtualNetwork{
		Location: new("eastus"), Properties: &armnetwork.VirtualNetworkPropertiesFormat{AddressSpace: &armnetwork.AddressSpace{AddressPrefixes: []*string{new("10.0.0.0/16")}}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.PollUntilDone(ctx, nil); err != nil {
		t.Fatal(err)
	}
	sp, err := net.NewSubnetsClient().BeginCreateOrUpdate(ctx, "other", "v", "s", armnetwork.Subnet{Properties: &armnetwork.SubnetPropertiesFormat{AddressPrefix: new("10.0.1.0/24")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := sp.PollUntilDone(ctx, nil)
	if err != nil || *got.Properties.ProvisioningState != armnetwork.ProvisioningStateSucceeded || *got.Name != "s" {
		t.Fatalf("subnet: %v %v", got.Properties, err)
	}
	gone, err := net.NewSubnetsClient().BeginDelete(ctx, "other", "v", "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.PollUntilDone(ctx, nil); err != nil {
		t.Fatal(err)
	}
	del, err := groups.BeginDelete(ctx, "other", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := del.PollUntilDone(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(from); took > 15*time.Second {
		t.Errorf("took %s of real time", took)
	}
	if n := len(s.Resources()); n != 1 {
		t.Errorf("%d resources left, want the first group only", n)
	}
}

// TestLookups are the questions that an installer asks before it creates anything.
func TestLookups(t *testing.T) {
	t.Parallel()
	_, base, hc := served(t, azuresim.Config{Seed: 2, Speed: 200})
	cred, opts := sdk(t, base, hc, 3)
	ctx := t.Context()
	subs := check[*armsubscriptions.ClientFactory](t)(armsubscriptions.NewClientFactory(cred, opts)).NewClient()
	list := check[armsubscriptions.ClientListResponse](t)(subs.NewListPager(nil).NextPage(ctx))
	places := check[armsubscriptions.ClientListLocationsResponse](t)(subs.NewListLocationsPager(sub, nil).NextPage(ctx))
	if len(list.Value) != 1 || *list.Value[0].SubscriptionID != sub || len(places.Value) != 4 {
		t.Errorf("%d subscriptions, %d locations", len(list.Value), len(places.Value))
	}
	comp := check[*armcompute.ClientFactory](t)(armcompute.NewClientFactory(sub, cred, opts))
	skus := check[armcompute.ResourceSKUsClientListResponse](t)(comp.NewResourceSKUsClient().NewListPager(&armcompute.ResourceSKUsClientListOptions{Filter: new("location eq 'northcentralus'")}).NextPage(ctx))
	sizes := map[string]int{}
	for _, k := range skus.Value {
		if *k.ResourceType == "virtualMachines" {
			sizes[*k.Name] = len(k.LocationInfo[0].Zones)
		}
	}
	if zones, sold := sizes["Standard_D2s_v3"]; !sold || zones != 0 || sizes["Standard_NC12s_v3"] != 0 {
		t.Errorf("sizes in the region without zones: %v", sizes)
	}
	use := check[armcompute.UsageClientListResponse](t)(comp.NewUsageClient().NewListPager("eastus", nil).NextPage(ctx))
	if len(use.Value) < 5 {
		t.Errorf("%d usages", len(use.Value))
	}
	auth := check[*armauthorization.ClientFactory](t)(armauthorization.NewClientFactory(sub, cred, opts))
	perms := check[armauthorization.PermissionsClientListForResourceGroupResponse](t)(auth.NewPermissionsClient().NewListForResourceGroupPager(group, nil).NextPage(ctx))
	if len(perms.Value) != 1 || *perms.Value[0].Actions[0] != "*" || len(perms.Value[0].NotActions) == 0 {
		t.Errorf("permissions: %v", perms.Value)
	}
	providers := check[*armresources.ClientFactory](t)(armresources.NewClientFactory(sub, cred, opts)).NewProvidersClient()
	p := check[armresources.ProvidersClientGetResponse](t)(providers.Get(ctx, "Microsoft.Compute", nil))
	if *p.RegistrationState != "Registered" {
		t.Errorf("provider: %s", *p.RegistrationState)
	}
}

func TestWrongSecretWithSDK(t *testing.T) {
	t.Parallel()
	_, base, hc := served(t, azuresim.Config{Speed: 200})
	cred, err := azidentity.NewClientSecretCredential(tenant, client, "wrong", &azidentity.ClientSecretCredentialOptions{
		ClientOptions: azcore.ClientOptions{Cloud: cloudOf(base), Transport: hc}, DisableInstanceDiscovery: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{base + "/.default"}})
	if err == nil || !strings.Contains(err.Error(), "AADSTS7000215") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("error: %v", err)
	}
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	s, base, hc := served(t, azuresim.Config{Speed: 200})
	call := func(method, path, body string) (int, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, raw
	}
	var inv []azuresim.Inventory
	code, raw := call(http.MethodGet, "/_sim/resources", "")
	if err := json.Unmarshal(raw, &inv); err != nil || code != 200 || len(inv) != 1 || inv[0].ID != groupID || inv[0].ProvisioningState != "Succeeded" {
		t.Errorf("resources: %d %s", code, raw)
	}
	if code, raw := call(http.MethodPut, "/_sim/faults", `[{"kind":"nonsense"}]`); code != 400 || !bytes.Contains(raw, []byte("nonsense")) {
		t.Errorf("bad fault: %d %s", code, raw)
	}
	if code, _ := call(http.MethodPut, "/_sim/faults", `[{"kind":"status","status":503,"retryAfter":"3s"}]`); code != 200 {
		t.Errorf("faults: %d", code)
	}
	if got := s.Faults(); len(got) != 1 || got[0].Status != 503 {
		t.Errorf("faults: %v", got)
	}
	if code, raw := call(http.MethodGet, "/_sim/calls", ""); code != 200 || !bytes.HasPrefix(raw, []byte("[")) {
		t.Errorf("calls: %d %s", code, raw)
	}
	if code, _ := call(http.MethodGet, "/_sim/serial?id=x&sig=y", ""); code != 403 {
		t.Errorf("serial without a signature: %d", code)
	}
	rec := &answer{header: http.Header{}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://x/_sim/calls", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.RemoteAddr = "192.0.2.7:1234"
	s.Handler().ServeHTTP(rec, req)
	if rec.code != http.StatusForbidden {
		t.Errorf("from another machine: %d", rec.code)
	}
}

type answer struct {
	header http.Header
	code   int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(code int)        { a.code = code }
func (a *answer) Write(b []byte) (int, error) { return len(b), nil }
