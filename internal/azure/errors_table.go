// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"net/http"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// Explanation is one row of the table that says what an answer of Azure means:
// the first row whose Azure, Status, Detail and Text all fit decides.
type Explanation struct {
	Azure  string // error code, with * at either end; "" is any
	Status int    // HTTP status; 0 is any
	Detail string // code that one of the details must have; "" is any
	Text   string // part of the message, without regard to case; "" is any

	Code      lazuli.Code
	Cause     string // what is the matter, in our words
	Remedy    string // what the user can do
	Retryable bool   // worth repeating by itself
	Scope     resource.Scope
	Source    string // where Azure says so

	after time.Duration // to wait where Azure does not say
}

// Names of where a fact is from.
const (
	docErrors   = "learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors"
	docThrottle = "learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling"
	docCompute  = "learn.microsoft.com/azure/virtual-machines/troubleshooting/troubleshooting-throttling-errors"
	docAlloc    = "learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/allocation-failure"
	docSKU      = "learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-sku-not-available"
	docQuota    = "learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-resource-quota"
	docEntra    = "learn.microsoft.com/entra/identity-platform/reference-error-codes"
	docRegister = "learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-register-resource-provider"
	docLocks    = "learn.microsoft.com/azure/azure-resource-manager/management/lock-resources"
	docPolicy   = "learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-policy-requestdisallowedbypolicy"
	docGuest    = "learn.microsoft.com/troubleshoot/azure/virtual-machines/linux/linux-provisioning-vm-timeout"
	seenInUse   = "github.com/hashicorp/terraform-provider-azurerm/issues/8105"
	seenSubnet  = "github.com/kubernetes-sigs/cluster-api-provider-azure/issues/172"
	seenBusy    = "github.com/Azure/terraform-provider-azapi/issues/503"
	seenRetry   = "github.com/hashicorp/terraform/issues/7986"
	seenDelete  = "github.com/sassoftware/viya4-iac-azure/issues/140"
	seenLinked  = "github.com/kubernetes-sigs/cloud-provider-azure/issues/1999"
	ofHTTP      = "rfc-editor.org/rfc/rfc9110"
)

// Explanations returns the table for answers of Resource Manager, in the order in
// which rows are tried; rows of a code come before those of a mere status.
func Explanations() []Explanation {
	return concat(accessRows(), capacityRows(), busyRows(), referenceRows(), requestRows(), statusRows())
}

func concat(parts ...[]Explanation) []Explanation {
	var out []Explanation
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

const (
	remedyWait    = "Nothing: the request is repeated."
	remedyRole    = "Give the account's application the role that `lazuli azure setup` prints on the resource group; a new assignment takes up to five minutes to work."
	remedyToken   = "Check that the account's cloud, tenant and subscription belong together, then enter the client secret again."
	remedyQuota   = "Ask for a higher quota (Azure portal, Quotas), use a smaller or another size, or another region."
	remedyZone    = "Nothing if the pool allows another zone: that one is tried. Otherwise allow more zones, another size or another region."
	remedyVersion = "Check that the account's cloud offers the resource type; a private cloud may lack the API version that is used."
	remedyReport  = "Read Azure's words; if the cluster's settings are right, report this with the correlation id."
)

func accessRows() []Explanation {
	return []Explanation{
		{
			Azure: "InvalidAuthenticationTokenTenant", Code: lazuli.CodeAzureTenant, Scope: resource.ScopePrincipal, Source: docErrors,
			Cause: "the subscription belongs to another tenant than the account's", Remedy: "Enter the tenant that the subscription belongs to.",
		},
		{
			Azure: "ExpiredAuthenticationToken", Code: lazuli.CodeAzureUnreachable, Retryable: true, Scope: resource.ScopePrincipal, Source: docErrors,
			Cause: "the access token has expired", Remedy: remedyWait,
		},
		{
			Azure: "InvalidAuthenticationToken", Code: lazuli.CodeAzurePermission, Retryable: true, Scope: resource.ScopePrincipal, Source: docErrors,
			Cause: "Azure does not accept the access token", Remedy: remedyToken,
		},
		{
			Azure: "AuthenticationFailed", Code: lazuli.CodeAzurePermission, Retryable: true, Scope: resource.ScopePrincipal, Source: docErrors,
			Cause: "Azure does not accept the authentication", Remedy: remedyToken,
		},
		{ // retryable: a fresh role assignment is not known everywhere at once
			Azure: "LinkedAuthorizationFailed", Code: lazuli.CodeAzurePermission, Retryable: true, Scope: resource.ScopePrincipal, Source: seenLinked,
			Cause:  "the account may not use a resource that this one refers to",
			Remedy: "Give the account's application the join permission on the resource named in Azure's words (subnet, security group, backend pool); it may be in another resource group.",
		},
		{
			Azure: "AuthorizationFailed", Code: lazuli.CodeAzurePermission, Retryable: true, Scope: resource.ScopePrincipal, Source: docErrors,
			Cause: "the account may not do this", Remedy: remedyRole,
		},
		{
			Azure: "RequestDisallowedByPolicy", Code: lazuli.CodeAzureLocked, Scope: resource.ScopeResource, Source: docPolicy,
			Cause: "an Azure Policy of the subscription forbids this", Remedy: "Change the cluster so that the policy named in Azure's words allows it (often tags, regions or sizes), or ask for an exemption.",
		},
		{
			Azure: "ScopeLocked", Code: lazuli.CodeAzureLocked, Scope: resource.ScopeResource, Source: docLocks,
			Cause: "a resource lock forbids this", Remedy: "Remove the lock named in Azure's words, then try again.",
		},
		{
			Azure: "ReadOnlyDisabledSubscription", Code: lazuli.CodeAzureLocked, Scope: resource.ScopeSubscription, Source: docErrors,
			Cause: "the subscription is disabled", Remedy: "Enable the subscription (billing) in the Azure portal.",
		},
		{
			Azure: "SubscriptionNotFound", Code: lazuli.CodeAzureNotFound, Scope: resource.ScopeSubscription, Source: docErrors,
			Cause: "the subscription does not exist, or the account may not see it", Remedy: "Check the subscription id and that the account's application has a role in it.",
		},
		{
			Azure: "InvalidSubscriptionId", Code: lazuli.CodeAzureNotFound, Scope: resource.ScopeSubscription, Source: docErrors,
			Cause: "the subscription id is malformed", Remedy: "Check the subscription id.",
		},
		{
			Azure: "MissingSubscriptionRegistration", Code: lazuli.CodeAzureRejected, Scope: resource.ScopeSubscription, Source: docRegister,
			Cause: "a resource provider is not registered in the subscription", Remedy: "Run `az provider register --namespace` with the provider named in Azure's words (Microsoft.Compute, Microsoft.Network).",
		},
		{
			Azure: "PrincipalNotFound", Code: lazuli.CodeAzurePermission, Retryable: true, Scope: resource.ScopeResource, Source: "learn.microsoft.com/azure/role-based-access-control/troubleshooting",
			Cause: "the identity is not known everywhere yet", Remedy: remedyWait,
		},
		{
			Azure: "RoleAssignmentExists", Code: lazuli.CodeAzureConflict, Scope: resource.ScopeResource, Source: "learn.microsoft.com/azure/role-based-access-control/troubleshooting",
			Cause: "the role is assigned already", Remedy: "Nothing.",
		},
	}
}

func capacityRows() []Explanation {
	return []Explanation{
		{
			Azure: "OperationNotAllowed", Text: "quota", Code: lazuli.CodeAzureQuota, Scope: resource.ScopeSubscription, Source: docQuota,
			Cause: "the subscription's quota of cores is used up", Remedy: remedyQuota,
		},
		{
			Azure: "PublicIPCountLimitReached", Code: lazuli.CodeAzureQuota, Scope: resource.ScopeSubscription, Source: docErrors,
			Cause: "the subscription's quota of public addresses is used up", Remedy: "Ask for a higher quota or release public addresses that nobody needs.",
		},
		{
			Azure: "ResourceQuotaExceeded", Code: lazuli.CodeAzureQuota, Scope: resource.ScopeSubscription, Source: docErrors,
			Cause: "a quota of the subscription or resource group is used up", Remedy: remedyQuota,
		},
		{
			Azure: "QuotaExceeded", Code: lazuli.CodeAzureQuota, Scope: resource.ScopeSubscription, Source: docQuota,
			Cause: "a quota of the subscription is used up", Remedy: remedyQuota,
		},
		{
			Azure: "SkuNotAvailable", Code: lazuli.CodeAzureCapacity, Scope: resource.ScopeSizeZone, Source: docSKU,
			Cause: "the VM size is not sold here for now", Remedy: remedyZone,
		},
		{
			Azure: "OverconstrainedZonalAllocationRequest", Code: lazuli.CodeAzureCapacity, Retryable: true, Scope: resource.ScopeSizeZone, Source: docAlloc,
			Cause: "the zone has no room for a VM of this size with these settings", Remedy: remedyZone,
		},
		{
			Azure: "OverconstrainedAllocationRequest", Code: lazuli.CodeAzureCapacity, Retryable: true, Scope: resource.ScopeSizeZone, Source: docAlloc,
			Cause: "the region has no room for a VM of this size with these settings", Remedy: remedyZone,
		},
		{
			Azure: "ZonalAllocationFailed", Code: lazuli.CodeAzureCapacity, Retryable: true, Scope: resource.ScopeSizeZone, Source: docAlloc,
			Cause: "the zone has no room for a VM of this size now", Remedy: remedyZone,
		},
		{
			Azure: "AllocationFailed", Code: lazuli.CodeAzureCapacity, Retryable: true, Scope: resource.ScopeSizeZone, Source: docAlloc,
			Cause: "the region has no room for a VM of this size now", Remedy: remedyZone,
		},
		{
			Azure: "SubnetIsFull", Code: lazuli.CodeAzureQuota, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the subnet has no free address", Remedy: "Remove nodes, or use a larger subnet (Azure keeps five addresses of each).",
		},
	}
}

func busyRows() []Explanation {
	return []Explanation{
		{
			Azure: "OperationNotAllowed", Detail: "TooManyRequests", Code: lazuli.CodeAzureThrottled, Retryable: true, Scope: resource.ScopeSubscription, Source: docCompute,
			Cause: "Azure Compute has had too many requests of this subscription", Remedy: remedyWait, after: defaultThrottle,
		},
		{
			Azure: "OperationNotAllowed", Text: "marked for deletion", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: seenDelete,
			Cause: "the VM is being deleted", Remedy: remedyWait,
		},
		{
			Azure: "TooManyRequests", Code: lazuli.CodeAzureThrottled, Retryable: true, Scope: resource.ScopeSubscription, Source: docThrottle,
			Cause: "Azure has had too many requests", Remedy: remedyWait, after: defaultThrottle,
		},
		{
			Azure: "*RequestsThrottled", Code: lazuli.CodeAzureThrottled, Retryable: true, Scope: resource.ScopeSubscription, Source: docThrottle,
			Cause: "Azure has had too many requests of this account in the subscription", Remedy: remedyWait, after: defaultThrottle,
		},
		{
			Azure: "RetryableError", Detail: "ReferencedResourceNotProvisioned", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeRequest, Source: seenRetry,
			Cause: "a resource that this one refers to is still being changed", Remedy: remedyWait,
		},
		{
			Azure: "ReferencedResourceNotProvisioned", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeRequest, Source: seenRetry,
			Cause: "a resource that this one refers to is not ready yet", Remedy: remedyWait,
		},
		{
			Azure: "RetryableErrorDueToAnotherOperation", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeRequest, Source: docErrors,
			Cause: "another operation is in the way for now", Remedy: remedyWait,
		},
		{
			Azure: "RetryableError", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeRequest, Source: docErrors,
			Cause: "Azure asks to repeat the request", Remedy: remedyWait,
		},
		{
			Azure: "AnotherOperationInProgress", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: seenBusy,
			Cause: "another operation on this or a dependent resource is under way", Remedy: remedyWait,
		},
		{
			Azure: "OperationPreempted", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "a later operation took this one's place", Remedy: remedyWait,
		},
		{
			Azure: "Cancel*", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the operation was cancelled", Remedy: remedyWait,
		},
		{
			Azure: "AttachDiskWhileBeingDetached", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the disk is still being detached", Remedy: remedyWait,
		},
		{
			Azure: "ResourceGroupBeingDeleted", Code: lazuli.CodeAzureConflict, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the resource group is being deleted", Remedy: "Use another resource group, or make it again when it is gone.",
		},
		{
			Azure: "PreconditionFailed", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeRequest, Source: docErrors,
			Cause: "the resource changed meanwhile", Remedy: remedyWait,
		},
	}
}

func referenceRows() []Explanation {
	return []Explanation{
		{
			Azure: "ResourceGroupNotFound", Code: lazuli.CodeAzureNotFound, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the resource group does not exist", Remedy: "Make the resource group, or name one that exists.",
		},
		{
			Azure: "ParentResourceNotFound", Code: lazuli.CodeAzureNotFound, Retryable: true, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the resource that should hold this one does not exist", Remedy: remedyWait,
		},
		{ // retryable: a resource may be unknown to another provider for a moment after it was made
			Azure: "InvalidResourceReference", Code: lazuli.CodeAzureNotFound, Retryable: true, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "a resource that this one refers to does not exist", Remedy: remedyReport,
		},
		{
			Azure: "PlatformImageNotFound", Code: lazuli.CodeAzureNotFound, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the marketplace does not have the node image in this region", Remedy: "Choose another version of the operating system pack.",
		},
		{
			Azure: "ImageNotFound", Code: lazuli.CodeAzureNotFound, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the node image does not exist", Remedy: "Choose another image, or replicate it to the region.",
		},
		{
			Azure: "ResourceNotFound", Code: lazuli.CodeAzureNotFound, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the resource does not exist", Remedy: remedyReport,
		},
		{
			Azure: "NotFound", Code: lazuli.CodeAzureNotFound, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the resource does not exist", Remedy: remedyReport,
		},
		{
			Azure: "InUseSubnetCannotBeDeleted", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: seenSubnet,
			Cause: "the subnet is in use", Remedy: "Delete what Azure's words name if it is not the cluster's own; the rest goes by itself.",
		},
		{
			Azure: "InUseNetworkSecurityGroupCannotBeDeleted", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the network security group is in use", Remedy: "Take it off the subnet or interface that Azure's words name if that is not the cluster's own.",
		},
		{
			Azure: "InUse*", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the resource is in use", Remedy: "Take it out of use if what uses it is not the cluster's own.",
		},
		{
			Azure: "PublicIPAddressCannotBeDeleted", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: "github.com/hashicorp/terraform-provider-azurerm/issues/688",
			Cause: "the public address is in use", Remedy: "Take it off what Azure's words name if that is not the cluster's own.",
		},
		{
			Azure: "NicReservedForAnotherVm", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: seenInUse,
			Cause: "Azure keeps the network interface for a VM that failed or was just deleted", Remedy: remedyWait, after: nicReservedIn,
		},
		{
			Azure: "NicInUse", Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: seenInUse,
			Cause: "the network interface is in use by a VM", Remedy: remedyWait,
		},
	}
}

func requestRows() []Explanation {
	return []Explanation{
		{
			Azure: "PropertyChangeNotAllowed", Code: lazuli.CodeAzureRejected, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "a property of the resource cannot be changed", Remedy: "Replace the machine or the resource instead of changing it.",
		},
		{
			Azure: "ResourceAvailabilityZonesCannotBeModified", Code: lazuli.CodeAzureRejected, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the zones of a resource cannot be changed", Remedy: "Replace the resource instead of changing it.",
		},
		{
			Azure: "InvalidResourceGroupLocation", Code: lazuli.CodeAzureRejected, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the resource group exists in another region", Remedy: "Name the group's own region, or another group.",
		},
		{
			Azure: "InvalidResourceLocation", Code: lazuli.CodeAzureRejected, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "a resource of this name exists in another region", Remedy: "Delete that resource, or use another name.",
		},
		{
			Azure: "NoRegisteredProviderFound", Code: lazuli.CodeAzureRejected, Scope: resource.ScopeSubscription, Source: docErrors,
			Cause: "the cloud does not offer this resource type in this region and API version", Remedy: remedyVersion,
		},
		{
			Azure: "InvalidApiVersionParameter", Code: lazuli.CodeAzureRejected, Scope: resource.ScopeSubscription, Source: docErrors,
			Cause: "the cloud does not know the API version", Remedy: remedyVersion,
		},
		{
			Azure: "MissingApiVersionParameter", Code: lazuli.CodeAzureRejected, Scope: resource.ScopeRequest, Source: docErrors,
			Cause: "the request names no API version", Remedy: remedyReport,
		},
		{
			Azure: "PrivateIPAddressNotInSubnet", Code: lazuli.CodeAzureRejected, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "the private address is not in the subnet", Remedy: "Choose an address of the subnet.",
		},
		{
			Azure: "PrivateIPAddressInReservedRange", Code: lazuli.CodeAzureRejected, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "Azure keeps the private address for itself", Remedy: "Choose an address beyond the first four and before the last of the subnet.",
		},
		{
			Azure: "DnsRecordInUse", Code: lazuli.CodeAzureConflict, Scope: resource.ScopeResource, Source: docErrors,
			Cause: "somebody else has the DNS label", Remedy: "Nothing: another label is chosen.",
		},
		{ // the guest's own failure: a new machine may do better, this one will not
			Azure: "OSProvisioning*", Code: lazuli.CodeAzureRejected, Scope: resource.ScopeResource, Source: docGuest,
			Cause: "the VM's operating system did not report that it is up", Remedy: "Read the boot log; the machine is replaced.",
		},
	}
}

// statusRows hold for codes that no other row knows.
func statusRows() []Explanation {
	return []Explanation{
		{
			Status: http.StatusUnauthorized, Code: lazuli.CodeAzurePermission, Retryable: true, Scope: resource.ScopePrincipal, Source: ofHTTP,
			Cause: "Azure does not know who asks", Remedy: remedyToken,
		},
		{
			Status: http.StatusForbidden, Code: lazuli.CodeAzurePermission, Scope: resource.ScopePrincipal, Source: ofHTTP,
			Cause: "Azure forbids this", Remedy: remedyRole,
		},
		{
			Status: http.StatusNotFound, Code: lazuli.CodeAzureNotFound, Scope: resource.ScopeResource, Source: ofHTTP,
			Cause: "Azure does not know the address", Remedy: remedyVersion,
		},
		{
			Status: http.StatusRequestTimeout, Code: lazuli.CodeAzureUnreachable, Retryable: true, Scope: resource.ScopeRequest, Source: ofHTTP,
			Cause: "Azure waited too long for the request", Remedy: remedyWait,
		},
		{
			Status: http.StatusConflict, Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeResource, Source: ofHTTP,
			Cause: "the resource's state forbids this for now", Remedy: remedyReport,
		},
		{
			Status: http.StatusPreconditionFailed, Code: lazuli.CodeAzureConflict, Retryable: true, Scope: resource.ScopeRequest, Source: ofHTTP,
			Cause: "the resource was changed by somebody else", Remedy: remedyWait,
		},
		{
			Status: http.StatusTooManyRequests, Code: lazuli.CodeAzureThrottled, Retryable: true, Scope: resource.ScopeSubscription, Source: docThrottle,
			Cause: "Azure asks for fewer requests", Remedy: remedyWait, after: defaultThrottle,
		},
		{
			Status: http.StatusInternalServerError, Code: lazuli.CodeAzureUnreachable, Retryable: true, Scope: resource.ScopeRequest, Source: ofHTTP,
			Cause: "Azure has an internal error", Remedy: remedyWait,
		},
		{
			Status: http.StatusBadGateway, Code: lazuli.CodeAzureUnreachable, Retryable: true, Scope: resource.ScopeRequest, Source: ofHTTP,
			Cause: "a gateway before Azure got no good answer", Remedy: remedyWait,
		},
		{
			Status: http.StatusServiceUnavailable, Code: lazuli.CodeAzureUnreachable, Retryable: true, Scope: resource.ScopeSubscription, Source: ofHTTP,
			Cause: "Azure is not available", Remedy: remedyWait,
		},
		{
			Status: http.StatusGatewayTimeout, Code: lazuli.CodeAzureUnreachable, Retryable: true, Scope: resource.ScopeRequest, Source: ofHTTP,
			Cause: "a gateway before Azure waited too long", Remedy: remedyWait,
		},
		{ // an operation's own words for the statuses above
			Azure: "InternalServerError", Code: lazuli.CodeAzureUnreachable, Retryable: true, Scope: resource.ScopeRequest, Source: docErrors,
			Cause: "Azure had an internal error during the operation", Remedy: remedyWait,
		},
		{
			Azure: "Internal*Error", Code: lazuli.CodeAzureUnreachable, Retryable: true, Scope: resource.ScopeRequest, Source: docErrors,
			Cause: "a part of Azure had an internal error during the operation", Remedy: remedyWait,
		},
	}
}

// Rows that are chosen by the kind of error, not by what Azure said. They are
// functions' constants in all but name: nothing ever assigns them.
var (
	rowRejected = Explanation{
		Code: lazuli.CodeAzureRejected, Scope: resource.ScopeResource, Cause: "Azure refuses the request", Remedy: remedyReport, Source: docErrors,
	}
	rowCanceled = Explanation{
		Code: lazuli.CodeUnavailable, Retryable: true, Scope: resource.ScopeRequest, Cause: "the call was given up", Remedy: remedyWait,
	}
	rowTimeout = Explanation{
		Code: lazuli.CodeAzureUnreachable, Retryable: true, Scope: resource.ScopeRequest, Cause: "no answer in time",
		Remedy: "Check that the server reaches the cloud's addresses (proxy, firewall, DNS).",
	}
	rowNetwork = Explanation{
		Code: lazuli.CodeAzureUnreachable, Retryable: true, Scope: resource.ScopeRequest, Cause: "no answer that can be understood",
		Remedy: "Check that the server reaches the cloud's addresses (proxy, firewall, DNS) and trusts their certificates.",
	}
	rowSignInRefused = Explanation{
		Code: lazuli.CodeAzureClient, Scope: resource.ScopePrincipal, Cause: "Entra ID refuses the application",
		Remedy: "Look the code up at https://login.microsoftonline.com/error; a sign-in policy may forbid this application.",
	}
)
