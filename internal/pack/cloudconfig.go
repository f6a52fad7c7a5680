// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/lazuli-dev/lazuli"
)

// Where the cloud configuration lies in a cluster. The name, the namespace and
// the key are those that the Azure disk driver looks up by default
// (azuredisk-csi-driver, docs/read-from-secret.md).
const (
	CloudConfigName      = "azure-cloud-provider"
	CloudConfigNamespace = "kube-system"
	CloudConfigKey       = "cloud-config"
)

// azureJSON is the cloud provider's configuration: field names and meanings from
// cloud-provider-azure, pkg/provider/config and pkg/azclient.
type azureJSON struct {
	Cloud                      string            `json:"cloud"`
	TenantID                   string            `json:"tenantId"`
	SubscriptionID             string            `json:"subscriptionId"`
	ClientID                   string            `json:"aadClientId,omitempty"`
	ClientSecret               string            `json:"aadClientSecret,omitempty"`
	UseManagedIdentity         bool              `json:"useManagedIdentityExtension,omitempty"`
	IdentityClientID           string            `json:"userAssignedIdentityID,omitempty"`
	ResourceGroup              string            `json:"resourceGroup"`
	Location                   string            `json:"location"`
	VMType                     string            `json:"vmType"`
	VNetName                   string            `json:"vnetName,omitempty"`
	VNetResourceGroup          string            `json:"vnetResourceGroup,omitempty"`
	SubnetName                 string            `json:"subnetName,omitempty"`
	SecurityGroupName          string            `json:"securityGroupName,omitempty"`
	SecurityGroupResourceGroup string            `json:"securityGroupResourceGroup,omitempty"`
	RouteTableName             string            `json:"routeTableName,omitempty"`
	LoadBalancerSku            string            `json:"loadBalancerSku"`
	LoadBalancerName           string            `json:"loadBalancerName,omitempty"`
	MaximumLoadBalancerRules   int               `json:"maximumLoadBalancerRuleCount"`
	ExcludeControlPlaneFromLB  bool              `json:"excludeMasterFromStandardLB"`
	DisableOutboundSNAT        bool              `json:"disableOutboundSNAT"`
	UseInstanceMetadata        bool              `json:"useInstanceMetadata"`
	Tags                       string            `json:"tags"`
	TagsMap                    map[string]string `json:"tagsMap,omitempty"`
}

// maxLoadBalancerRules is CAPZ's value; Azure allows a Standard load balancer more.
const maxLoadBalancerRules = 250

// CloudConfig returns the manifest of the Secret from which the cloud controller
// and the disk driver take their configuration. The bytes contain the client
// secret in clear: they go to the cluster's API server and nowhere else.
//
// Without a client secret the configuration names a managed identity instead:
// clientID is then the client id of the VMs' user-assigned identity, or empty
// for their system-assigned one.
//
// Errors have lazuli.CodeInternal: facts of the cluster are missing.
func CloudConfig(c Cluster, clientID string, clientSecret lazuli.Secret) ([]byte, error) {
	for name, v := range map[string]string{
		"tenant": c.TenantID, "subscription": c.SubscriptionID, "resource group": c.ResourceGroup,
		"location": c.Location, "uid": c.UID,
	} {
		if v == "" {
			return nil, lazuli.Errorf(lazuli.CodeInternal, "write the cloud configuration: the %s is not known", name)
		}
	}
	if !clientSecret.Empty() && clientID == "" {
		return nil, lazuli.Errorf(lazuli.CodeInternal, "write the cloud configuration: a client secret without its client id")
	}
	a := azureJSON{
		Cloud: "AzurePublicCloud", TenantID: c.TenantID, SubscriptionID: c.SubscriptionID,
		ResourceGroup: c.ResourceGroup, Location: c.Location, VMType: "standard",
		VNetName: c.VNet, VNetResourceGroup: c.VNetResourceGroup, SubnetName: c.WorkerSubnet,
		SecurityGroupName: c.WorkerNSG, SecurityGroupResourceGroup: c.WorkerNSGGroup, RouteTableName: c.RouteTable,
		// An IP configuration may be behind one public load balancer, and a control plane is behind the API's.
		LoadBalancerSku: "Standard", LoadBalancerName: c.LoadBalancerName,
		MaximumLoadBalancerRules: maxLoadBalancerRules, ExcludeControlPlaneFromLB: true,
		// The subnets have a NAT gateway: outbound rules on the Services' load balancer would only spend its ports.
		DisableOutboundSNAT: true, UseInstanceMetadata: true,
		// "tags" splits at commas and equal signs, so it carries only our own; the user's may hold anything.
		Tags: lazuli.ClusterTag + "=" + c.UID, TagsMap: c.AzureTags(),
	}
	if clientSecret.Empty() {
		a.UseManagedIdentity, a.IdentityClientID = true, clientID
	} else {
		a.ClientID, a.ClientSecret = clientID, clientSecret.Reveal()
	}
	config, err := json.Marshal(a) //nolint:gosec // the Secret that this makes is where the client secret belongs
	if err != nil {
		return nil, fmt.Errorf("encode the cloud configuration: %w", err)
	}
	return fmt.Appendf(nil, `apiVersion: v1
kind: Secret
metadata:
  name: %s
  namespace: %s
  labels:
    app.kubernetes.io/managed-by: lazuli
type: Opaque
data:
  %s: %s
`, CloudConfigName, CloudConfigNamespace, CloudConfigKey, base64.StdEncoding.EncodeToString(config)), nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
