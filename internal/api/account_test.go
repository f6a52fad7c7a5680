// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

func TestAccountLife(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.want(http.StatusNoContent, "POST", "/v1/clouds/azure/account/validate", accountBody("", "")["spec"])
	uid := h.want(http.StatusCreated, "POST", "/v1/cloudaccounts/azure", accountBody("az", "project")).uid(t)
	names := map[string]string{uid: "<account>", h.project: "<project>"}
	for _, part := range []struct{ file, path string }{
		{"account.json", "/v1/cloudaccounts/azure/" + uid},
		{"accounts.json", "/v1/cloudaccounts/azure?limit=0"},
		{"account-summaries.json", "/v1/cloudaccounts/summary?limit=0"},
	} {
		a := h.want(http.StatusOK, "GET", part.path, nil)
		golden(t, part.file, a.body, names)
	}
	// An empty secret keeps the stored one, and Azure is asked with that.
	change := accountBody("renamed", "project")
	set(t, change, "spec.clientSecret", "")
	set(t, change, "spec.tenantName", "Example")
	set(t, change, "spec.tls", object{"cert": "a certificate"})
	h.want(http.StatusNoContent, "PUT", "/v1/cloudaccounts/azure/"+uid, change)
	if last := h.prober.asked[len(h.prober.asked)-1]; last.ClientSecret.Reveal() != canary {
		t.Error("Azure was not asked with the stored secret")
	}
	var acc lazuli.Account
	if err := h.store.Get(t.Context(), uid, &acc); err != nil {
		t.Fatal(err)
	}
	plain, err := h.seal.Unseal(acc.ClientSecret, lazuli.AccountAAD(uid))
	if err != nil || string(plain) != canary || acc.Name != "renamed" || acc.TenantName != "Example" || acc.TLSCert != "a certificate" {
		t.Errorf("stored: %+v, %v", acc, err)
	}
	// Another one replaces it.
	set(t, change, "spec.clientSecret", "another-secret")
	h.want(http.StatusNoContent, "PUT", "/v1/cloudaccounts/azure/"+uid, change)
	if err := h.store.Get(t.Context(), uid, &acc); err != nil {
		t.Fatal(err)
	}
	if plain, err = h.seal.Unseal(acc.ClientSecret, lazuli.AccountAAD(uid)); err != nil || string(plain) != "another-secret" {
		t.Errorf("the new secret is not stored: %v", err)
	}
	// Project and tenant.
	set(t, change, "metadata.annotations.scope", "tenant")
	h.want(http.StatusNoContent, "PUT", "/v1/cloudaccounts/azure/"+uid, change)
	var got palette.AzureAccount
	h.want(http.StatusOK, "GET", "/v1/cloudaccounts/azure/"+uid, nil).json(t, &got)
	if got.Metadata.Annotations["scope"] != "tenant" {
		t.Errorf("scope %v", got.Metadata.Annotations)
	}
	h.want(http.StatusNoContent, "DELETE", "/v1/cloudaccounts/azure/"+uid, nil)
	for _, m := range []string{"GET", "DELETE", "PUT"} {
		if e := h.want(http.StatusNotFound, m, "/v1/cloudaccounts/azure/"+uid, change).err(t); e.Code != "ResourceNotFound" {
			t.Errorf("%s: %s", m, e.Code)
		}
	}
}

func TestScopeOfAccounts(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, tt := range []struct{ reason, scope, header, want string }{
		{"project", "project", h.project, "project"},
		{"tenant, though the header names a project", "tenant", h.project, "tenant"},
		{"the header decides when the body says nothing", "", h.project, "project"},
		{"nothing at all is the tenant", "", "", "tenant"},
		{"a project without a name is the only one", "project", "", "project"},
	} {
		uid := h.want(http.StatusCreated, "POST", "/v1/cloudaccounts/azure", accountBody("a-"+tt.want+tt.scope+tt.header, tt.scope),
			"ProjectUid", tt.header).uid(t)
		var got palette.AzureAccount
		h.want(http.StatusOK, "GET", "/v1/cloudaccounts/azure/"+uid, nil, "ProjectUid", "").json(t, &got)
		if s := got.Metadata.Annotations["scope"]; s != tt.want {
			t.Errorf("%s: scope %s", tt.reason, s)
		}
	}
	h.add(&lazuli.Project{Meta: lazuli.Meta{UID: strings.Repeat("c", 24), Name: "Other"}}) // now it could be either
	e := h.want(http.StatusBadRequest, "POST", "/v1/cloudaccounts/azure", accountBody("x", "project"), "ProjectUid", "").err(t)
	if !slices.Contains(paths(e), "metadata.annotations.scope") {
		t.Errorf("%+v", e)
	}
}

func TestBadAccounts(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	before := h.counts()
	for _, tt := range []bad{
		{"no tenant", "spec.tenantId", remove{}, ""},
		{"a tenant that is a path", "spec.tenantId", "../common", ""},
		{"a tenant of one letter", "spec.tenantId", "t", ""},
		{"a client that is no GUID", "spec.clientId", "c", ""},
		{"no secret", "spec.clientSecret", "", ""},
		{"a secret with a line break", "spec.clientSecret", "a\nb", ""},
		{"a secret that is a number", "spec.clientSecret", 5, ""},
		{"a cloud that is none", "spec.azureEnvironment", "AzureMoon", ""},
		{"a cloud that is not served", "spec.azureEnvironment", "AzureUSSecretCloud", ""},
		{"a certificate that is too long", "spec.tls", object{"cert": strings.Repeat("x", 65<<10)}, "spec.tls.cert"},
		{"a gateway", "metadata.annotations.overlordUid", "x", ""},
		{"a scope that is none", "metadata.annotations.scope", "world", ""},
		{"no name", "metadata.name", "", ""},
		{"a name with a colon", "metadata.name", "a:b", ""},
		{"a name that is long", "metadata.name", strings.Repeat("a", 64), ""},
		{"no spec", "spec", remove{}, ""},
		{"a spec that is null", "spec", nil, ""},
	} {
		b := accountBody("az", "project")
		set(t, b, tt.path, tt.value)
		field := tt.field
		if field == "" {
			field = tt.path
		}
		e := h.want(http.StatusBadRequest, "POST", "/v1/cloudaccounts/azure", b).err(t)
		if e.Code != "InvalidField" || !slices.Contains(paths(e), field) {
			t.Errorf("%s: %s names %v: %s", tt.reason, e.Code, paths(e), e.Message)
		}
	}
	if h.counts()[lazuli.KindAccount] != before[lazuli.KindAccount] {
		t.Error("a bad account was stored")
	}
}

func TestBadCredentials(t *testing.T) {
	t.Parallel()
	for _, code := range []lazuli.Code{
		lazuli.CodeAzureTenant, lazuli.CodeAzureClient, lazuli.CodeAzureSecret, lazuli.CodeAzureSecretExpired, lazuli.CodeAzurePermission,
	} {
		w := newWorld(t)
		w.prober.account = lazuli.Errorf(code, "Entra ID says no")
		w.prober.err = w.prober.account
		for _, r := range []struct {
			method, path string
			body         any
		}{
			{"POST", "/v1/clouds/azure/account/validate", accountBody("", "")["spec"]},
			{"POST", "/v1/cloudaccounts/azure", accountBody("new", "project")},
			{"PUT", "/v1/cloudaccounts/azure/" + w.account, accountBody("az", "project")},
			{"POST", "/v1/spectroclusters/azure", w.body()},
		} {
			e := w.want(http.StatusBadRequest, r.method, r.path, r.body).err(t)
			if e.Code != string(code) || e.Details.Remedy == "" {
				t.Errorf("%s %s: %+v", r.method, r.path, e)
			}
		}
		if c := w.counts(); c[lazuli.KindAccount] != 1 || c[lazuli.KindCluster] != 0 {
			t.Errorf("%s: something was stored: %v", code, c)
		}
	}
}

// Without an answer of Azure a cluster is accepted, and the event says so.
func TestAzureDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		lazuli.Errorf(lazuli.CodeAzureUnreachable, "no route"), lazuli.Errorf(lazuli.CodeAzureThrottled, "later"), context.DeadlineExceeded,
	} {
		w := newWorld(t)
		w.prober.err, w.prober.account = err, err
		uid := w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", w.body()).uid(t)
		acc := w.want(http.StatusCreated, "POST", "/v1/cloudaccounts/azure", accountBody("later", "project")).uid(t)
		for kind, uid := range map[lazuli.Kind]string{lazuli.KindCluster: uid, lazuli.KindAccount: acc} {
			events, qerr := w.store.Events(t.Context(), store.EventQuery{Kind: kind, Object: uid})
			if qerr != nil {
				t.Fatal(qerr)
			}
			if !slices.ContainsFunc(events, func(e lazuli.Event) bool { return e.Reason == "AzureNotAsked" && e.Severity == lazuli.SeverityWarning }) {
				t.Errorf("%v: no event of the %s tells that Azure was not asked: %+v", err, kind, events)
			}
		}
		a := w.send("POST", "/v1/clouds/azure/account/validate", accountBody("", "")["spec"])
		if a.status < 400 || a.status >= 500 || a.header.Get("Retry-After") == "" {
			t.Errorf("%v: validate has status %d and Retry-After %q", err, a.status, a.header.Get("Retry-After"))
		}
	}
}

func TestAzureHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.prober.hang = true
		w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", w.body()) // after five virtual seconds
		if e := w.want(http.StatusFailedDependency, "POST", "/v1/clouds/azure/account/validate", accountBody("", "")["spec"]).err(t); e.Code != "AzureUnreachable" {
			t.Errorf("%+v", e)
		}
	})
}

// A secret must not be found anywhere but in the vault of its object.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inFile)
	const kubeCanary = "CANARY-kubeconfig-key-91c2"
	uid := w.create("prod")
	sealed, err := w.seal.Seal([]byte(`{"pki":"`+kubeCanary+`","tokens":{"a":"`+kubeCanary+`"}}`), lazuli.KeysAAD(uid))
	if err != nil {
		t.Fatal(err)
	}
	w.add(&lazuli.Keys{Meta: lazuli.Meta{UID: uid}, Sealed: sealed})
	w.want(http.StatusInternalServerError, "GET", "/v1/spectroclusters/"+uid+"/assets/adminKubeconfig", nil)
	w.prober.account = &lazuli.Error{Code: lazuli.CodeAzureSecret, Message: "wrong"}
	w.send("POST", "/v1/clouds/azure/account/validate", accountBody("", "")["spec"])
	w.send("PUT", "/v1/cloudaccounts/azure/"+w.account, accountBody("az", "project"))
	b := accountBody("other", "project")
	set(t, b, "spec.clientSecret", canary+"\n")
	w.send("POST", "/v1/cloudaccounts/azure", b)
	set(t, b, "spec.clientSecret", []any{canary})
	w.send("POST", "/v1/cloudaccounts/azure", b)
	w.send("POST", "/v1/cloudaccounts/azure", `{"spec":{"clientSecret":"`+canary+`"`)
	w.send("GET", "/v1/spectroclusters", nil, "ApiKey", canary)
	for _, path := range []string{"/v1/cloudaccounts/azure", "/v1/cloudaccounts/summary", "/v1/spectroclusters/" + uid,
		"/v1/dashboard/spectroclusters/" + uid + "/overview", "/lazuli/v1/clusters/" + uid + "/tasks", "/lazuli/v1/clusters/" + uid + "/events"} {
		w.want(http.StatusOK, "GET", path, nil)
	}
	places := map[string]string{"the log": w.logs.String(), "the answers": w.answers.String()}
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(w.dbPath + suffix)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		places["the database"+suffix] = string(data)
	}
	if !strings.Contains(places["the database"]+places["the database-wal"], w.account) {
		t.Fatal("the database was not read")
	}
	for place, text := range places {
		for _, secret := range []string{canary, kubeCanary, adminKey} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds the secret %s", place, secret)
			}
		}
	}
}
