// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"net/http"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// Our own names for credentials that need no call to be refused.
const (
	aadTenantMissing      = "tenant missing"
	aadTenantMalformed    = "tenant malformed"
	aadClientMissing      = "client missing"
	aadSecretMissing      = "secret missing"
	aadAuthorityMalformed = "authority malformed"
)

const (
	remedyTenant = "Enter the directory (tenant) ID as the Azure portal shows it under Microsoft Entra ID, Overview."
	remedyClient = "Enter the application (client) ID of an app registration in this tenant; `lazuli azure setup` makes one."
	remedySecret = "Enter the secret's value, not its ID; if it is lost, make a new secret under Certificates & secrets."
)

// SignInExplanations returns the table for answers of Entra ID, in the order in
// which rows are tried. Azure holds the AADSTS code.
func SignInExplanations() []Explanation {
	row := func(code lazuli.Code, azure, cause, remedy string) Explanation {
		return Explanation{
			Azure: azure, Code: code, Cause: cause, Remedy: remedy, Scope: resource.ScopePrincipal, Source: docEntra,
		}
	}
	busy := func(status int, azure, cause string, code lazuli.Code) Explanation {
		return Explanation{
			Azure: azure, Status: status, Code: code, Cause: cause, Remedy: remedyWait, Retryable: true,
			Scope: resource.ScopePrincipal, Source: docEntra,
		}
	}
	return []Explanation{
		row(lazuli.CodeAzureTenant, "AADSTS90002", "the tenant is wrong: Entra ID knows no tenant of this ID", remedyTenant),
		row(lazuli.CodeAzureTenant, "AADSTS900023", "the tenant is wrong: it is neither an ID nor a domain name", remedyTenant),
		row(lazuli.CodeAzureTenant, "AADSTS900021", "the tenant is wrong: it is not one that can be signed in to", remedyTenant),
		row(lazuli.CodeAzureTenant, aadTenantMissing, "the tenant is missing", remedyTenant),
		row(lazuli.CodeAzureTenant, aadTenantMalformed, "the tenant is wrong: it has characters that no tenant ID or domain name has", remedyTenant),
		row(lazuli.CodeAzureClient, "AADSTS700016", "the client is wrong: the tenant has no application of this ID", remedyClient),
		row(lazuli.CodeAzureClient, "AADSTS7000112", "the client is wrong: the application is disabled", "Enable the application in Entra ID, or use another one."),
		row(lazuli.CodeAzureClient, "AADSTS90013", "the client is wrong: its ID is malformed", remedyClient),
		row(lazuli.CodeAzureClient, "AADSTS900144", "the client is missing", remedyClient),
		row(lazuli.CodeAzureClient, "AADSTS53003", "the client is refused: a Conditional Access policy forbids it", "Let the policy allow this application from the server's address."),
		row(lazuli.CodeAzureClient, aadClientMissing, "the client is missing", remedyClient),
		row(lazuli.CodeAzureSecretExpired, "AADSTS7000222", "the client secret has expired", "Make a new secret under Certificates & secrets and enter its value."),
		row(lazuli.CodeAzureSecret, "AADSTS7000215", "the client secret is wrong", remedySecret),
		row(lazuli.CodeAzureSecret, "AADSTS7000216", "the client secret is missing", remedySecret),
		row(lazuli.CodeAzureSecret, "AADSTS7000218", "the client secret is missing from the request", remedySecret),
		row(lazuli.CodeAzureSecret, aadSecretMissing, "the client secret is not given", remedySecret),
		row(lazuli.CodeAzureUnreachable, aadAuthorityMalformed, "the cloud's authority address is not an https URL", "Correct the account's cloud."),
		row(lazuli.CodeAzureRejected, "AADSTS500011", "Entra ID does not know this cloud's Resource Manager", "Check that the authority and Resource Manager addresses are of one cloud."),
		busy(0, "AADSTS90033", "Entra ID has a passing problem", lazuli.CodeAzureUnreachable),
		busy(http.StatusTooManyRequests, "", "Entra ID has had too many requests", lazuli.CodeAzureThrottled),
		busy(http.StatusInternalServerError, "", "Entra ID has an internal error", lazuli.CodeAzureUnreachable),
		busy(http.StatusBadGateway, "", "a gateway before Entra ID got no good answer", lazuli.CodeAzureUnreachable),
		busy(http.StatusServiceUnavailable, "", "Entra ID is not available", lazuli.CodeAzureUnreachable),
		busy(http.StatusGatewayTimeout, "", "a gateway before Entra ID waited too long", lazuli.CodeAzureUnreachable),
		{ // an address that answers, but not as Entra ID does
			Status: http.StatusNotFound, Code: lazuli.CodeAzureUnreachable, Cause: "the authority's address is not Entra ID's",
			Remedy: "Correct the account's cloud.", Scope: resource.ScopePrincipal, Source: docEntra,
		},
	}
}
