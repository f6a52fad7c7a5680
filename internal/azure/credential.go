// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"context"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// credential is a client secret credential whose errors are already explained:
// the SDK's error holds the token request, and with it the secret.
type credential struct {
	inner azcore.TokenCredential
	act   string
}

func newCredential(t resource.Target, options policy.ClientOptions) (*credential, error) {
	act := fmt.Sprintf("sign in to tenant %q as client %q", t.TenantID, t.ClientID)
	switch {
	case t.TenantID == "":
		return nil, authError(act, aadTenantMissing)
	case t.ClientID == "":
		return nil, authError(act, aadClientMissing)
	case t.ClientSecret.Empty():
		return nil, authError(act, aadSecretMissing)
	}
	inner, err := azidentity.NewClientSecretCredential(t.TenantID, t.ClientID, t.ClientSecret.Reveal(),
		&azidentity.ClientSecretCredentialOptions{
			ClientOptions:            options,
			DisableInstanceDiscovery: !wellKnown(options.Cloud.ActiveDirectoryAuthorityHost),
		})
	if err != nil {
		if strings.ContainsFunc(t.TenantID, notInTenant) {
			return nil, authError(act, aadTenantMalformed)
		}
		return nil, authError(act, aadAuthorityMalformed)
	}
	return &credential{inner: inner, act: act}, nil
}

// notInTenant reports a character that neither a tenant's id nor its domain has.
func notInTenant(r rune) bool {
	return r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// GetToken implements azcore.TokenCredential.
func (c *credential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	noted, note := withTransportNote(ctx)
	token, err := c.inner.GetToken(noted, o)
	if err == nil {
		return token, nil
	}
	if cause := note.get(); cause != nil {
		err = cause
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		err = ctxErr
	}
	return azcore.AccessToken{}, explain(c.act, lazuli.Secret{}, err)
}

// CheckCredentials asks Entra ID for a token, with nothing cached, so that the
// answer is about the secret as it is now. Codes: CodeAzureTenant,
// CodeAzureClient, CodeAzureSecret, CodeAzureSecretExpired,
// CodeAzureUnreachable, CodeAzureThrottled; each message names which of tenant, client or secret is
// wrong, each has a remedy. It makes two requests, neither of them to Resource Manager.
func (c *Client) CheckCredentials(ctx context.Context, t resource.Target) error {
	options := c.clientOptions(t.Cloud)
	cred, err := newCredential(t, options)
	if err != nil {
		return err
	}
	audience := options.Cloud.Services[cloud.ResourceManager].Audience
	_, err = cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{audience + scopeSuffix}, EnableCAE: true})
	if err != nil {
		return explain("", t.ClientSecret, err)
	}
	return nil
}
