// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// tokenLife is how long an access token is good for, in real time: clients compute its end with their own clock.
const tokenLife = time.Hour

// serveEntra answers what MSAL asks of an authority: the OpenID document, instance discovery and the client
// credentials grant (RFC 6749, 4.4; learn.microsoft.com, client credentials flow).
func (s *Simulator) serveEntra(w http.ResponseWriter, r *http.Request) {
	s.advance()
	base := baseOf(r)
	tenant, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	path := strings.ToLower(r.URL.Path)
	switch {
	case path == "/common/discovery/instance":
		writeJSON(w, http.StatusOK, object{
			"tenant_discovery_endpoint": base + "/common/v2.0/.well-known/openid-configuration",
			"api-version":               "1.1",
			"metadata":                  []any{object{"preferred_network": r.Host, "preferred_cache": r.Host, "aliases": []any{r.Host}}},
		})
	case strings.HasSuffix(path, "/token"):
		s.serveToken(w, r, tenant)
	default:
		id, known := s.tenantID(tenant)
		if !known {
			s.refuse(w, http.StatusBadRequest, "invalid_tenant", 90002, unknownTenant(tenant))
			return
		}
		root := base + "/" + tenant
		writeJSON(w, http.StatusOK, object{
			"issuer": base + "/" + id + "/v2.0", "token_endpoint": root + "/oauth2/v2.0/token",
			"authorization_endpoint": root + "/oauth2/v2.0/authorize", "jwks_uri": root + "/discovery/v2.0/keys",
			"token_endpoint_auth_methods_supported": []any{"client_secret_post"}, "response_types_supported": []any{"code"},
			"tenant_region_scope": "EU", "cloud_instance_name": r.Host,
		})
	}
}

func unknownTenant(tenant string) string {
	return fmt.Sprintf("Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. "+
		"Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", tenant)
}

// tenantID finds a tenant by id or domain. "common" and "organizations" have an OpenID document but no directory.
func (s *Simulator) tenantID(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name = strings.ToLower(name)
	if name == "common" || name == "organizations" {
		return "{tenantid}", true
	}
	if t := s.world.tenants[name]; t != nil {
		return t.ID, true
	}
	for _, k := range sortedKeys(s.world.tenants) {
		if t := s.world.tenants[k]; t.Domain != "" && strings.EqualFold(t.Domain, name) {
			return t.ID, true
		}
	}
	return "", false
}

// refuse answers as Entra does.
func (s *Simulator) refuse(w http.ResponseWriter, code int, kind string, number int, text string) {
	s.mu.Lock()
	trace, correlation, now := s.guid(), s.guid(), s.now().Format("2006-01-02 15:04:05Z")
	s.mu.Unlock()
	writeJSON(w, code, object{
		"error":             kind,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", number, text, trace, correlation, now),
		"error_codes":       []any{number}, "timestamp": now, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", number),
	})
}

func (s *Simulator) serveToken(w http.ResponseWriter, r *http.Request, tenantName string) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<16) // a token form is small
	if err := r.ParseForm(); err != nil {
		s.refuse(w, http.StatusBadRequest, "invalid_request", 900144, "The request body could not be read.")
		return
	}
	clientID, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if id, pass, basic := r.BasicAuth(); basic {
		clientID, secret = id, pass
	}
	s.mu.Lock()
	dist := s.draw("token", clientID)
	s.mu.Unlock()
	if err := s.sleep(r.Context(), dist); err != nil {
		return
	}
	tenant, known := s.tenantID(tenantName)
	s.mu.Lock()
	p := s.world.principals[strings.ToLower(tenant+"|"+clientID)]
	s.mu.Unlock()
	switch {
	case !known:
		s.refuse(w, http.StatusBadRequest, "invalid_request", 90002, unknownTenant(tenantName))
	case r.PostForm.Get("grant_type") != "client_credentials":
		s.refuse(w, http.StatusBadRequest, "unsupported_grant_type", 70003,
			"The app requested an unsupported grant type '"+r.PostForm.Get("grant_type")+"'.")
	case p == nil:
		s.refuse(w, http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf(
			"Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been "+
				"installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your "+
				"authentication request to the wrong tenant.", clientID, tenantName))
	case secret == "" || secret != p.Secret:
		s.refuse(w, http.StatusUnauthorized, "invalid_client", 7000215, fmt.Sprintf(
			"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client "+
				"secret ID, for a secret added to app '%s'.", clientID))
	case !p.SecretExpiry.IsZero() && !time.Now().Before(p.SecretExpiry):
		s.refuse(w, http.StatusUnauthorized, "invalid_client", 7000222, fmt.Sprintf(
			"The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app: "+
				"https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds.", clientID))
	default:
		s.issue(w, p)
	}
}

// issue makes an opaque token. It comes from the seed, so that a run can be replayed; nothing here guards a secret.
func (s *Simulator) issue(w http.ResponseWriter, p *Principal) {
	s.mu.Lock()
	token := base64.RawURLEncoding.EncodeToString([]byte(s.guid() + s.guid()))
	now := time.Now()
	for t, ses := range s.world.tokens {
		if !now.Before(ses.expires.Add(tokenLife)) { // An expired token is told apart from an invented one for a while.
			delete(s.world.tokens, t)
		}
	}
	s.world.tokens[token] = session{principal: p, expires: now.Add(tokenLife)}
	s.calls.add(&call{principal: p, class: classToken, typ: "Entra/token"}, http.StatusOK)
	s.mu.Unlock()
	seconds := int(tokenLife.Seconds())
	writeJSON(w, http.StatusOK, object{
		"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
	})
}

// ExpireTokens makes every token that was issued so far expire now.
func (s *Simulator) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t, ses := range s.world.tokens {
		ses.expires = time.Now()
		s.world.tokens[t] = ses
	}
}

// endpoints is ARM's metadata (api-version 2022-09-01), which az and other clients read to find the authority.
func endpoints(base string) object {
	return object{
		"portal": base, "resourceManager": base, "graph": base, "name": "AzureSimulator",
		"authentication": object{
			"loginEndpoint": base + "/", "audiences": []any{base + "/", "https://management.azure.com/"},
			"tenant": "common", "identityProvider": "AAD",
		},
		"suffixes": object{},
	}
}
