// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

func refuse(w http.ResponseWriter, status, code int, words string) {
	reply(w, status, fmt.Sprintf(`{"error":"x","error_description":"AADSTS%d: %s Trace ID: t-1","error_codes":[%d],"trace_id":"t-1","correlation_id":"c-1"}`,
		code, words, code))
}

// signIn makes a client whose Entra ID refuses: at the tenant's document, or at the token.
func signIn(atToken bool, answer http.HandlerFunc) (*azure.Client, *inProcess) {
	wire := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") == atToken {
			answer(w, r)
			return
		}
		entra(w, r)
	})}
	return azure.New(azure.Config{Transport: wire}), wire
}

func TestCheckCredentials(t *testing.T) {
	t.Parallel()
	aad := func(status, code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, code, "words "+canary) }
	}
	for _, tc := range []struct {
		reason  string
		atToken bool
		answer  http.HandlerFunc
		want    lazuli.Code
		says    string
	}{
		{"unknown tenant", false, aad(400, 90002), lazuli.CodeAzureTenant, "the tenant is wrong"},
		{"tenant that is no tenant", false, aad(400, 900023), lazuli.CodeAzureTenant, "the tenant is wrong"},
		{"unknown application", true, aad(400, 700016), lazuli.CodeAzureClient, "the client is wrong"},
		{"disabled application", true, aad(401, 7000112), lazuli.CodeAzureClient, "disabled"},
		{"wrong secret", true, aad(401, 7000215), lazuli.CodeAzureSecret, "the client secret is wrong"},
		{"missing secret", true, aad(401, 7000216), lazuli.CodeAzureSecret, "the client secret is missing"},
		{"expired secret", true, aad(401, 7000222), lazuli.CodeAzureSecretExpired, "expired"},
		{"a code that nobody knows", true, aad(400, 123456), lazuli.CodeAzureClient, "refuses"},
		{"throttled", true, always(429, `{}`, "Retry-After", "5"), lazuli.CodeAzureThrottled, "too many"},
		{"Entra is down", true, always(503, ``), lazuli.CodeAzureUnreachable, "not available"},
		{"not Entra", false, always(404, `<html>`), lazuli.CodeAzureUnreachable, "address"},
		{"no answer", true, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, lazuli.CodeAzureUnreachable, "reset"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			c, _ := signIn(tc.atToken, tc.answer)
			check := func(err error) {
				t.Helper()
				if lazuli.CodeOf(err) != tc.want || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%s: %v; want %s saying %q", lazuli.CodeOf(err), err, tc.want, tc.says)
				}
				if lazuli.RemedyOf(err) == "" {
					t.Errorf("%v has no remedy", err)
				}
				if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), canary) {
					t.Errorf("the secret is in %v", err)
				}
			}
			check(c.CheckCredentials(t.Context(), target()))
			_, err := c.Get(t.Context(), target(), idOf(resource.TypeDisk, "d"))
			check(err) // a call says the same
		})
	}
}

func TestCheckCredentialsWithoutCall(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		change func(*resource.Target)
		want   lazuli.Code
	}{
		{"no tenant", func(t *resource.Target) { t.TenantID = "" }, lazuli.CodeAzureTenant},
		{"malformed tenant", func(t *resource.Target) { t.TenantID = "a/b" }, lazuli.CodeAzureTenant},
		{"no client", func(t *resource.Target) { t.ClientID = "" }, lazuli.CodeAzureClient},
		{"no secret", func(t *resource.Target) { t.ClientSecret = lazuli.Secret{} }, lazuli.CodeAzureSecret},
		{"authority without TLS", func(t *resource.Target) { t.Cloud.AuthorityURL = "http://login.example" }, lazuli.CodeAzureUnreachable},
	} {
		c, wire := fixture(t, always(200, `{}`))
		to := target()
		tc.change(&to)
		err := c.CheckCredentials(t.Context(), to)
		if lazuli.CodeOf(err) != tc.want || lazuli.RemedyOf(err) == "" {
			t.Errorf("%s: %s %v", tc.reason, lazuli.CodeOf(err), err)
		}
		if len(wire.calls) != 0 {
			t.Errorf("%s: sent %v", tc.reason, wire.calls)
		}
	}
}

func TestCheckCredentialsGood(t *testing.T) {
	t.Parallel()
	c, wire := fixture(t, always(200, `{}`))
	for range 2 {
		if err := c.CheckCredentials(t.Context(), target()); err != nil {
			t.Fatal(err)
		}
	}
	if len(wire.calls) != 4 || len(wire.arm()) != 0 {
		t.Errorf("calls are %v, want two to Entra ID each time", wire.calls)
	}
}

// TestOneCredential: all calls of an account share one token; a new secret is
// a new credential.
func TestOneCredential(t *testing.T) {
	t.Parallel()
	c, wire := fixture(t, always(200, `{"properties":{"provisioningState":"Succeeded"},"value":[]}`))
	get := func(to resource.Target) {
		t.Helper()
		if _, err := c.Get(t.Context(), to, resource.ID(to.SubscriptionID, group, resource.TypeDisk, "d")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Subscriptions(t.Context(), to); err != nil {
			t.Fatal(err)
		}
	}
	tokens := func() int {
		n := 0
		for _, call := range wire.calls {
			if strings.HasSuffix(call.Path, "/token") {
				n++
			}
		}
		return n
	}
	another := target()
	another.SubscriptionID = "00000000-0000-0000-0000-0000000000bb"
	get(target())
	get(another)
	get(target())
	if n := tokens(); n != 1 {
		t.Errorf("%d tokens for one account, want 1", n)
	}
	changed := target()
	changed.ClientSecret = lazuli.NewSecret("another-test-secret")
	get(changed)
	if n := tokens(); n != 2 {
		t.Errorf("%d tokens after the secret changed, want 2", n)
	}
	c.Forget(target())
	get(target())
	if n := tokens(); n != 3 {
		t.Errorf("%d tokens after the account was forgotten, want 3", n)
	}
}

func TestPrincipalsAreBounded(t *testing.T) {
	t.Parallel()
	wire := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !entra(w, r) {
			reply(w, 200, `{}`)
		}
	})}
	c := azure.New(azure.Config{Transport: wire, Principals: 2})
	for _, client := range []string{"a", "b", "a", "c", "a", "b"} { // c drives b out, b comes back
		to := target()
		to.ClientID = client
		if _, err := c.Get(t.Context(), to, idOf(resource.TypeDisk, "d")); err != nil {
			t.Fatal(err)
		}
	}
	var order []string
	for _, call := range wire.calls {
		if strings.HasSuffix(call.Path, "/token") {
			form := string(call.Body)
			_, rest, _ := strings.Cut(form, "client_id=")
			id, _, _ := strings.Cut(rest, "&")
			order = append(order, id)
		}
	}
	if got := strings.Join(order, ""); got != "abcb" {
		t.Errorf("tokens were asked for by %q, want %q", got, "abcb")
	}
}

// TestSecretStaysIn: nothing that is logged or returned holds the secret, even
// where servers echo it.
func TestSecretStaysIn(t *testing.T) {
	t.Parallel()
	var logs bytes.Buffer
	wire := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !entra(w, r) {
			reply(w, 400, `{"error":{"code":"Echo","message":"you said `+canary+`"}}`)
		}
	})}
	c := azure.New(azure.Config{
		Transport: wire, Logger: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	to := target()
	vm := idOf(resource.TypeVirtualMachine, "vm")
	var errs []error
	add := func(err error) {
		if err == nil {
			t.Error("a call was accepted")
		}
		errs = append(errs, err)
	}
	_, err := c.Put(t.Context(), to, controlPlane())
	add(err)
	_, err = c.Get(t.Context(), to, vm)
	add(err)
	_, err = c.Delete(t.Context(), to, vm, false)
	add(err)
	polled, err := c.Poll(t.Context(), to, opURL)
	if err != nil || polled.Err == nil {
		t.Errorf("Poll is %v, %v", polled, err)
	}
	errs = append(errs, polled.Err)
	_, err = c.List(t.Context(), to, group, "t", "v")
	add(err)
	_, err = c.Sizes(t.Context(), to)
	add(err)
	_, err = c.Permissions(t.Context(), to, "")
	add(err)
	_, err = c.BootLog(t.Context(), to, vm, 0)
	add(err)
	for _, err := range errs {
		for e := err; e != nil; e = errors.Unwrap(e) {
			if s := fmt.Sprintf("%s %+v %#v", e, e, e); strings.Contains(s, canary) || !strings.Contains(err.Error(), "you said") {
				t.Errorf("the error is %s", s)
			}
		}
	}
	if s := logs.String(); s == "" || strings.Contains(s, canary) || strings.Contains(s, "a-token") {
		t.Errorf("the log is %q", s)
	}
}

// TestCAFile speaks TLS with the cloud's own CA, which changes while we run.
func TestCAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ca.pem")
	start := func() *httptest.Server {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			base := "https://" + r.Host
			switch {
			case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
				reply(w, 200, fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q,"authorization_endpoint":%q}`, base+"/t", base+"/t/token", base+"/t/a"))
			case strings.HasSuffix(r.URL.Path, "/token"):
				reply(w, 200, `{"token_type":"Bearer","expires_in":3599,"access_token":"a-token"}`)
			case strings.Contains(r.URL.Path, "/redirect"):
				http.Redirect(w, r, "https://evil.example/", http.StatusTemporaryRedirect)
			default:
				reply(w, 200, `{"properties":{"provisioningState":"Succeeded"}}`)
			}
		}))
		srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	trust := func(srv *httptest.Server) {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := azure.New(azure.Config{})
	t.Cleanup(c.Close)
	srv := start()
	to := target()
	to.Cloud = resource.Cloud{Name: "sim", ARMURL: srv.URL, AuthorityURL: srv.URL, CAFile: file}
	call := func() error {
		_, err := c.Get(t.Context(), to, idOf(resource.TypeDisk, "d"))
		return err
	}
	if err := call(); lazuli.CodeOf(err) != lazuli.CodeAzureUnreachable {
		t.Errorf("without the file: %v", err)
	}
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := call(); lazuli.CodeOf(err) != lazuli.CodeAzureUnreachable || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("with an empty file: %v", err)
	}
	if err := os.WriteFile(file, otherCA(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := call(); lazuli.CodeOf(err) != lazuli.CodeAzureUnreachable || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with another CA: %v", err)
	}
	trust(srv)
	if err := call(); err != nil {
		t.Errorf("after the CA was put right: %v", err)
	}
	if _, _, err := c.ResourceGroup(t.Context(), to, "redirect"); err == nil || strings.Contains(err.Error(), "evil") {
		t.Errorf("a redirect: %v", err)
	}
}

// otherCA makes a certificate that signed nothing here.
func otherCA(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestCallTimeout(t *testing.T) {
	t.Parallel()
	wire := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if entra(w, r) {
			return
		}
		<-r.Context().Done()
	})}
	c := azure.New(azure.Config{Transport: wire, CallTimeout: 50 * time.Millisecond})
	_, err := c.Get(t.Context(), target(), idOf(resource.TypeDisk, "d"))
	if lazuli.CodeOf(err) != lazuli.CodeAzureUnreachable || !errors.Is(err, context.DeadlineExceeded) || !azure.Retryable(err) {
		t.Errorf("a call that hangs is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Get(ctx, target(), idOf(resource.TypeDisk, "d"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was given up is %v", err)
	}
}
