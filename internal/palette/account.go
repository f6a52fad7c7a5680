// SPDX-License-Identifier: Apache-2.0

package palette

import "github.com/lazuli-dev/lazuli"

// Values of AzureCloudAccount.AzureEnvironment.
const (
	EnvironmentPublic     = "AzurePublicCloud"
	EnvironmentChina      = "AzureChinaCloud"
	EnvironmentGovernment = "AzureUSGovernmentCloud"
	// EnvironmentGovernmentOld is an older spelling of EnvironmentGovernment.
	EnvironmentGovernmentOld = "AzureUSGovernment"
	EnvironmentSecret        = "AzureUSSecretCloud"
)

const accountStateRunning = "Running"

// AzureAccount is a cloud account.
type AzureAccount struct {
	APIVersion string              `json:"apiVersion,omitempty"`
	Kind       string              `json:"kind,omitempty"`
	Metadata   ObjectMeta          `json:"metadata"`
	Spec       *AzureCloudAccount  `json:"spec"`
	Status     *CloudAccountStatus `json:"status,omitempty"`
}

// AzureCloudAccount is the credential of an account. Answers carry an empty
// ClientSecret; an update with an empty one keeps the stored one.
type AzureCloudAccount struct {
	AzureEnvironment string                `json:"azureEnvironment,omitempty"`
	ClientID         string                `json:"clientId"`
	ClientSecret     string                `json:"clientSecret"`
	Settings         *CloudAccountSettings `json:"settings,omitempty"`
	TenantID         string                `json:"tenantId"`
	TenantName       string                `json:"tenantName,omitempty"`
	TLS              *AzureSecretTLSConfig `json:"tls,omitempty"`
}

// CloudAccountSettings are switches of an account. Clients dereference them
// without a look: answers always have them.
type CloudAccountSettings struct {
	DisablePropertiesRequest bool `json:"disablePropertiesRequest"`
}

// AzureSecretTLSConfig is the certificate that AzureUSSecretCloud needs.
type AzureSecretTLSConfig struct {
	Cert string `json:"cert,omitempty"`
}

// CloudAccountStatus is the state of an account.
type CloudAccountStatus struct {
	State string `json:"state,omitempty"`
}

// CloudAccountSummary is an account in the list over all clouds.
type CloudAccountSummary struct {
	Kind        string              `json:"kind"`
	Metadata    ObjectMeta          `json:"metadata"`
	SpecSummary CloudAccountAccount `json:"specSummary"`
	Status      *CloudAccountStatus `json:"status,omitempty"`
}

// CloudAccountAccount names the account at the cloud: the tenant.
type CloudAccountAccount struct {
	AccountID string `json:"accountId"`
}

// Account renders an account, never with its secret.
func Account(a *lazuli.Account) AzureAccount {
	out := AzureAccount{
		Kind:     CloudType,
		Metadata: accountMeta(a),
		Spec: &AzureCloudAccount{
			AzureEnvironment: a.Environment,
			ClientID:         a.ClientID,
			Settings:         &CloudAccountSettings{DisablePropertiesRequest: a.DisablePropertiesRequest},
			TenantID:         a.TenantID,
			TenantName:       a.TenantName,
		},
		Status: &CloudAccountStatus{State: accountStateRunning},
	}
	if a.TLSCert != "" {
		out.Spec.TLS = &AzureSecretTLSConfig{Cert: a.TLSCert}
	}
	return out
}

// AccountSummary renders an account in the list over all clouds.
func AccountSummary(a *lazuli.Account) CloudAccountSummary {
	return CloudAccountSummary{
		Kind:        CloudType,
		Metadata:    accountMeta(a),
		SpecSummary: CloudAccountAccount{AccountID: a.TenantID},
		Status:      &CloudAccountStatus{State: accountStateRunning},
	}
}

// accountMeta adds the gateway annotation, which clients read always.
func accountMeta(a *lazuli.Account) ObjectMeta {
	m := Meta(&a.Meta)
	if _, ok := m.Annotations[AnnotationGateway]; !ok {
		m.Annotations[AnnotationGateway] = ""
	}
	return m
}
