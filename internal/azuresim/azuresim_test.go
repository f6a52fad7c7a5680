// SPDX-License-Identifier: Apache-2.0

package azuresim_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

const (
	tenant   = "11111111-1111-1111-1111-111111111111"
	sub      = "22222222-2222-2222-2222-222222222222"
	client   = "33333333-3333-3333-3333-333333333333"
	objectID = "44444444-4444-4444-4444-444444444444"
	secret   = "test-secret"
	reader   = "55555555-5555-5555-5555-555555555555"
	group    = "Prod"
	groupID  = "/subscriptions/" + sub + "/resourceGroups/" + group
	clusterT = "example.io-cluster"
	testKey  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestTestTest test"
)

func world() azuresim.World {
	return azuresim.World{
		Tenants:       []azuresim.Tenant{{ID: tenant, DisplayName: "Test", Domain: "test.example"}},
		Subscriptions: []azuresim.Subscription{{ID: sub, TenantID: tenant, DisplayName: "Test"}},
		Principals: []azuresim.Principal{
			{TenantID: tenant, ClientID: client, ObjectID: objectID, Name: "installer", Secret: secret},
			{TenantID: tenant, ClientID: reader, ObjectID: reader, Name: "reader", Secret: secret},
		},
		RoleAssignments: []azuresim.RoleAssignment{
			{PrincipalID: objectID, Role: "Contributor", Scope: "/subscriptions/" + sub},
			{PrincipalID: reader, Role: "Reader", Scope: groupID},
		},
		ResourceGroups: []azuresim.ResourceGroup{{SubscriptionID: sub, Name: group, Location: "westeurope"}},
	}
}

func start(t *testing.T, cfg azuresim.Config, w azuresim.World) *azuresim.Simulator {
	t.Helper()
	cfg.AccountingTag = clusterT
	s, err := azuresim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Seed(w); err != nil {
		t.Fatal(err)
	}
	return s
}

const host = "sim.example:8443"

func cloudOf(base string) cloud.Configuration {
	return cloud.Configuration{
		ActiveDirectoryAuthorityHost: base,
		Services:                     map[cloud.ServiceName]cloud.ServiceConfiguration{cloud.ResourceManager: {Endpoint: base, Audience: base}},
	}
}

// sdk makes a credential and the options of ARM clients that use a transport.
func sdk(t *testing.T, base string, tr policy.Transporter, retries int32) (azcore.TokenCredential, *arm.ClientOptions) {
	t.Helper()
	opts := azcore.ClientOptions{Cloud: cloudOf(base), Transport: tr, Retry: policy.RetryOptions{MaxRetries: retries}}
	cred, err := azidentity.NewClientSecretCredential(tenant, client, secret, &azidentity.ClientSecretCredentialOptions{
		ClientOptions: opts, DisableInstanceDiscovery: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return cred, &arm.ClientOptions{ClientOptions: opts, DisableRPRegistration: true}
}

// rest is a client without any library, for what SDKs do not let one send.
type rest struct {
	t     *testing.T
	sim   *azuresim.Simulator
	token string
}

func login(t *testing.T, s *azuresim.Simulator, clientID string) *rest {
	t.Helper()
	r := &rest{t: t, sim: s}
	code, body, _ := r.form(tenant, "grant_type=client_credentials&client_id="+clientID+"&client_secret="+secret)
	if code != http.StatusOK {
		t.Fatalf("token: %d %v", code, body)
	}
	r.token, _ = body["access_token"].(string)
	return r
}

func (r *rest) form(tenantName, form string) (int, map[string]any, http.Header) {
	r.t.Helper()
	return r.send(http.MethodPost, "/"+tenantName+"/oauth2/v2.0/token", form, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
}

func (r *rest) send(method, path, body string, h http.Header) (int, map[string]any, http.Header) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "https://"+host+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	maps.Copy(req.Header, h)
	if r.token != "" && req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := r.sim.Transport().Do(req)
	if err != nil {
		return 0, map[string]any{"transport": err.Error()}, nil
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]any{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			r.t.Fatalf("%s %s: body is not JSON: %v\n%s", method, path, err, raw)
		}
	}
	return resp.StatusCode, out, resp.Header
}

// arm sends a request with an api-version that every provider knows.
func (r *rest) arm(method, path, body string) (int, map[string]any, http.Header) {
	r.t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return r.send(method, path+sep+"api-version=2024-07-01", body, nil)
}

// must sends a request that has to be accepted and returns the body.
func (r *rest) must(method, path, body string) map[string]any {
	r.t.Helper()
	code, out, _ := r.arm(method, path, body)
	if code >= http.StatusBadRequest || code == 0 {
		r.t.Fatalf("%s %s: %d %v", method, path, code, out)
	}
	return out
}

func codeOf(body map[string]any) string {
	e, ok := body["error"].(map[string]any)
	if !ok {
		s, _ := body["code"].(string)
		return s
	}
	s, _ := e["code"].(string)
	return s
}

func dig(o any, path ...string) any {
	for _, p := range path {
		m, ok := o.(map[string]any)
		if !ok {
			return nil
		}
		o = m[p]
	}
	return o
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func netID(typ, name string) string {
	return groupID + "/providers/Microsoft.Network/" + typ + "/" + name
}

func vmID(name string) string {
	return groupID + "/providers/Microsoft.Compute/virtualMachines/" + name
}

// pollDone asks for an operation until it has ended.
func pollDone(ctx context.Context, t *testing.T, r *rest, h http.Header) map[string]any {
	t.Helper()
	u := h.Get("Azure-AsyncOperation")
	if u == "" {
		t.Fatal("no Azure-AsyncOperation header")
	}
	path := strings.TrimPrefix(u, "https://"+host)
	for ctx.Err() == nil {
		code, body, _ := r.send(http.MethodGet, path, "", nil)
		if code != http.StatusOK {
			t.Fatalf("poll: %d %v", code, body)
		}
		if body["status"] != "InProgress" {
			return body
		}
		pause(ctx)
	}
	t.Fatal(ctx.Err())
	return nil
}
