// SPDX-License-Identifier: Apache-2.0

package palette

import (
	"encoding/json"
	"fmt"

	"github.com/lazuli-dev/lazuli"
)

// What a pool gets where the request is silent: the figures of Palette's own
// pages. They live in the view only and are never written into an answer.
const (
	DefaultDiskSizeGB = 60
	DefaultDiskType   = "Standard_LRS"
)

// AzureClusterEntity is the body that creates a cluster.
type AzureClusterEntity struct {
	Metadata *ObjectMeta       `json:"metadata"`
	Spec     *AzureClusterSpec `json:"spec"`
}

// AzureClusterSpec is what a cluster shall be.
type AzureClusterSpec struct {
	CloudAccountUID   string                         `json:"cloudAccountUid"`
	CloudConfig       *AzureClusterConfig            `json:"cloudConfig"`
	ClusterConfig     *ClusterConfigEntity           `json:"clusterConfig,omitempty"`
	ClusterTemplate   *ClusterTemplateRef            `json:"clusterTemplate,omitempty"`
	MachinePoolConfig []AzureMachinePoolConfigEntity `json:"machinepoolconfig,omitempty"`
	Policies          *ClusterPolicies               `json:"policies,omitempty"`
	Profiles          []ClusterProfileEntityRef      `json:"profiles,omitempty"`
}

// AzureClusterConfig is where a cluster goes.
type AzureClusterConfig struct {
	AADProfile               json.RawMessage         `json:"aadProfile,omitempty"`
	APIServerAccessProfile   *APIServerAccessProfile `json:"apiServerAccessProfile,omitempty"`
	ContainerName            string                  `json:"containerName,omitempty"`
	ControlPlaneSubnet       *Subnet                 `json:"controlPlaneSubnet,omitempty"`
	EnablePrivateCluster     bool                    `json:"enablePrivateCluster,omitempty"`
	InfraLBConfig            *InfraLBConfig          `json:"infraLBConfig,omitempty"`
	Location                 string                  `json:"location"`
	OverrideClusterAPIConfig string                  `json:"overrideClusterAPIConfig,omitempty"`
	ResourceGroup            string                  `json:"resourceGroup,omitempty"`
	SSHKey                   string                  `json:"sshKey"`
	StorageAccountName       string                  `json:"storageAccountName,omitempty"`
	SubscriptionID           string                  `json:"subscriptionId"`
	VNetCIDRBlock            string                  `json:"vnetCidrBlock,omitempty"`
	VNetName                 string                  `json:"vnetName,omitempty"`
	VNetResourceGroup        string                  `json:"vnetResourceGroup,omitempty"`
	WorkerSubnet             *Subnet                 `json:"workerSubnet,omitempty"`
}

// APIServerAccessProfile says who may reach the API server.
type APIServerAccessProfile struct {
	AuthorizedIPRanges             []string `json:"authorizedIPRanges,omitempty"`
	EnablePrivateCluster           bool     `json:"enablePrivateCluster,omitempty"`
	EnablePrivateClusterPublicFQDN bool     `json:"enablePrivateClusterPublicFQDN,omitempty"`
	PrivateDNSZone                 string   `json:"privateDNSZone,omitempty"`
}

// Subnet is one of the two subnets.
type Subnet struct {
	CIDRBlock         string `json:"cidrBlock,omitempty"`
	Name              string `json:"name,omitempty"`
	NSGResourceGroup  string `json:"nsgResourceGroup,omitempty"`
	SecurityGroupName string `json:"securityGroupName,omitempty"`
}

// InfraLBConfig is about the load balancers.
type InfraLBConfig struct {
	APIServerLB *LoadBalancerSpec `json:"apiServerLB,omitempty"`
}

// LBInternal is the LoadBalancerSpec.Type of a private API server.
const LBInternal = "Internal"

// LoadBalancerSpec is about the API server's load balancer.
type LoadBalancerSpec struct {
	APIServerLBStaticIP         string `json:"apiServerLBStaticIP,omitempty"`
	IPAllocationMethod          string `json:"ipAllocationMethod,omitempty"`
	PrivateDNSName              string `json:"privateDNSName,omitempty"`
	PrivateDNSZoneResourceGroup string `json:"privateDNSZoneResourceGroup,omitempty"`
	Type                        string `json:"type,omitempty"`
}

// AzureMachinePoolConfigEntity is one pool of a request.
type AzureMachinePoolConfigEntity struct {
	CloudConfig       *AzureMachinePoolCloudConfig `json:"cloudConfig"`
	ManagedPoolConfig json.RawMessage              `json:"managedPoolConfig,omitempty"` // of AKS only
	PoolConfig        *MachinePoolConfigEntity     `json:"poolConfig,omitempty"`
}

// AzureMachinePoolCloudConfig is what Azure shall make a pool of.
type AzureMachinePoolCloudConfig struct {
	AZs              []string     `json:"azs,omitempty"`
	InstanceType     string       `json:"instanceType,omitempty"`
	IsSystemNodePool bool         `json:"isSystemNodePool,omitempty"`
	OSDisk           *AzureOSDisk `json:"osDisk,omitempty"`
}

// AzureOSDisk is the disk of the operating system.
type AzureOSDisk struct {
	DiskSizeGB  *int32       `json:"diskSizeGB,omitempty"`
	ManagedDisk *ManagedDisk `json:"managedDisk,omitempty"`
	OSType      string       `json:"osType,omitempty"`
}

// ManagedDisk is a type of disk.
type ManagedDisk struct {
	StorageAccountType string `json:"storageAccountType,omitempty"`
}

// MachinePoolConfigEntity is what Kubernetes makes of a pool.
type MachinePoolConfigEntity struct {
	AdditionalAnnotations            map[string]string      `json:"additionalAnnotations,omitempty"`
	AdditionalLabels                 map[string]string      `json:"additionalLabels,omitempty"`
	AdditionalTags                   map[string]string      `json:"additionalTags,omitempty"`
	IsControlPlane                   bool                   `json:"isControlPlane"`
	Labels                           []string               `json:"labels"`
	MachinePoolProperties            *MachinePoolProperties `json:"machinePoolProperties,omitempty"`
	MaxSize                          *int32                 `json:"maxSize,omitempty"`
	MinSize                          *int32                 `json:"minSize,omitempty"`
	Name                             string                 `json:"name"`
	NodeRepaveInterval               int32                  `json:"nodeRepaveInterval,omitempty"`
	OverrideClusterAPIConfig         string                 `json:"overrideClusterAPIConfig,omitempty"`
	OverrideHealthCheckConfiguration string                 `json:"overrideHealthCheckConfiguration,omitempty"`
	OverrideKubeadmConfiguration     string                 `json:"overrideKubeadmConfiguration,omitempty"`
	Size                             *int32                 `json:"size"`
	SkipK8sUpgrade                   string                 `json:"skipK8sUpgrade,omitempty"`
	Taints                           []Taint                `json:"taints,omitempty"`
	UpdateStrategy                   *UpdateStrategy        `json:"updateStrategy,omitempty"`
	UseControlPlaneAsWorker          bool                   `json:"useControlPlaneAsWorker"`
}

// MachinePoolProperties are wishes about the machines of a pool.
type MachinePoolProperties struct {
	ArchType string `json:"archType,omitempty"`
}

// Taint keeps pods off.
type Taint struct {
	Effect    string `json:"effect,omitempty"`
	Key       string `json:"key,omitempty"`
	TimeAdded Time   `json:"timeAdded,omitzero"`
	Value     string `json:"value,omitempty"`
}

// UpdateStrategy says how a pool's machines are replaced.
type UpdateStrategy struct {
	MaxSurge       string `json:"maxSurge,omitempty"`
	MaxUnavailable string `json:"maxUnavailable,omitempty"`
	Type           string `json:"type,omitempty"`
}

// ClusterConfigEntity is the rest of what a cluster shall be. Parts that have
// no effect yet stay raw: api looks only whether they are there.
type ClusterConfigEntity struct {
	ClusterMetaAttribute           string                   `json:"clusterMetaAttribute,omitempty"`
	ControlPlaneHealthCheckTimeout string                   `json:"controlPlaneHealthCheckTimeout,omitempty"`
	HostClusterConfig              *HostClusterConfig       `json:"hostClusterConfig,omitempty"`
	HyperShiftConfig               json.RawMessage          `json:"hyperShiftConfig,omitempty"`
	LifecycleConfig                *LifecycleConfig         `json:"lifecycleConfig,omitempty"`
	Location                       json.RawMessage          `json:"location,omitempty"`
	MachineManagementConfig        *MachineManagementConfig `json:"machineManagementConfig,omitempty"`
	Resources                      *ClusterResourcesEntity  `json:"resources,omitempty"`
	Timezone                       string                   `json:"timezone,omitempty"`
	UpdateWorkerPoolsInParallel    bool                     `json:"updateWorkerPoolsInParallel,omitempty"`
}

// HostClusterConfig says whether virtual clusters may live in a cluster.
type HostClusterConfig struct {
	IsHostCluster bool `json:"isHostCluster"`
}

// LifecycleConfig pauses a cluster.
type LifecycleConfig struct {
	Pause bool `json:"pause"`
}

// MachineManagementConfig is about patching machines.
type MachineManagementConfig struct {
	OSPatchConfig *OSPatchConfig `json:"osPatchConfig,omitempty"`
}

// OSPatchConfig says when machines are patched.
type OSPatchConfig struct {
	OnDemandPatchAfter Time   `json:"onDemandPatchAfter,omitzero"`
	PatchOnBoot        bool   `json:"patchOnBoot,omitempty"`
	RebootIfRequired   bool   `json:"rebootIfRequired,omitempty"`
	Schedule           string `json:"schedule,omitempty"`
}

// ClusterResourcesEntity are namespaces and role bindings to make.
type ClusterResourcesEntity struct {
	Namespaces []json.RawMessage `json:"namespaces"`
	RBACs      []json.RawMessage `json:"rbacs"`
}

// ClusterTemplateRef points at a template.
type ClusterTemplateRef struct {
	UID string `json:"uid,omitempty"`
}

// ClusterPolicies are schedules of backups and scans.
type ClusterPolicies struct {
	BackupPolicy json.RawMessage `json:"backupPolicy,omitempty"`
	ScanPolicy   json.RawMessage `json:"scanPolicy,omitempty"`
}

// ClusterProfileEntityRef attaches a profile to a cluster.
type ClusterProfileEntityRef struct {
	PackValues         []PackValuesEntity `json:"packValues,omitempty"`
	ReplaceWithProfile string             `json:"replaceWithProfile,omitempty"`
	UID                string             `json:"uid"`
	Variables          []ClusterVariable  `json:"variables,omitempty"`
}

// PackValuesEntity overrides the values and manifests of one layer.
type PackValuesEntity struct {
	Manifests []ManifestRefUpdateEntity `json:"manifests,omitempty"`
	Name      string                    `json:"name"`
	Tag       string                    `json:"tag,omitempty"`
	Type      string                    `json:"type,omitempty"`
	Values    string                    `json:"values,omitempty"`
}

// ManifestRefUpdateEntity is a manifest; an empty UID makes a new one.
type ManifestRefUpdateEntity struct {
	Content string `json:"content,omitempty"`
	Name    string `json:"name"`
	UID     string `json:"uid,omitempty"`
}

// ClusterVariable gives a profile's variable a value.
type ClusterVariable struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// ClusterSpec gives the typed view of the "spec" of a create request, with
// defaults where the request is silent. It validates the shape alone and fails
// with lazuli.CodeInvalidField when raw is not such an object.
func ClusterSpec(raw json.RawMessage) (lazuli.ClusterSpec, error) {
	var in AzureClusterSpec
	if err := json.Unmarshal(raw, &in); err != nil {
		return lazuli.ClusterSpec{}, &lazuli.Error{
			Code: lazuli.CodeInvalidField, Message: "read the spec of a cluster", Err: err,
		}
	}
	if in.CloudConfig == nil {
		return lazuli.ClusterSpec{}, lazuli.Errorf(lazuli.CodeInvalidField, "spec.cloudConfig: is required")
	}
	c := in.CloudConfig
	out := lazuli.ClusterSpec{
		AccountUID:         in.CloudAccountUID,
		SubscriptionID:     c.SubscriptionID,
		ResourceGroup:      c.ResourceGroup,
		Location:           c.Location,
		SSHKey:             c.SSHKey,
		VNetName:           c.VNetName,
		VNetResourceGroup:  c.VNetResourceGroup,
		VNetCIDR:           c.VNetCIDRBlock,
		ControlPlaneSubnet: c.ControlPlaneSubnet.view(),
		WorkerSubnet:       c.WorkerSubnet.view(),
		PrivateAPIServer:   c.Private(),
	}
	if p := c.APIServerAccessProfile; p != nil {
		out.AllowedCIDRs = p.AuthorizedIPRanges
	}
	for i, p := range in.MachinePoolConfig {
		if p.CloudConfig == nil || p.PoolConfig == nil {
			return lazuli.ClusterSpec{}, lazuli.Errorf(lazuli.CodeInvalidField,
				"spec.machinepoolconfig[%d]: needs cloudConfig and poolConfig", i)
		}
		out.Pools = append(out.Pools, p.view())
	}
	if r := in.ClusterConfig; r != nil && r.Resources != nil {
		out.Namespaces, out.Bindings = r.Resources.view()
	}
	return out, nil
}

// Private reports whether the request wants an API server without a public
// address, by any of the wire's ways to say so.
func (c *AzureClusterConfig) Private() bool {
	lb := c.InfraLBConfig
	p := c.APIServerAccessProfile
	return c.EnablePrivateCluster ||
		lb != nil && lb.APIServerLB != nil && lb.APIServerLB.Type == LBInternal ||
		p != nil && p.EnablePrivateCluster
}

func (s *Subnet) view() lazuli.Subnet {
	if s == nil {
		return lazuli.Subnet{}
	}
	return lazuli.Subnet{Name: s.Name, CIDR: s.CIDRBlock, SecurityGroup: s.SecurityGroupName}
}

func (p *AzureMachinePoolConfigEntity) view() lazuli.Pool {
	out := lazuli.Pool{
		Name:         p.PoolConfig.Name,
		ControlPlane: p.PoolConfig.IsControlPlane,
		UseAsWorker:  p.PoolConfig.UseControlPlaneAsWorker,
		InstanceType: p.CloudConfig.InstanceType,
		DiskType:     DefaultDiskType,
		DiskSizeGB:   DefaultDiskSizeGB,
		Zones:        p.CloudConfig.AZs,
		Labels:       p.PoolConfig.AdditionalLabels,
		Annotations:  p.PoolConfig.AdditionalAnnotations,
		Tags:         p.PoolConfig.AdditionalTags,
	}
	if p.PoolConfig.Size != nil {
		out.Size = int(*p.PoolConfig.Size)
	}
	if d := p.CloudConfig.OSDisk; d != nil {
		if d.DiskSizeGB != nil && *d.DiskSizeGB != 0 {
			out.DiskSizeGB = int(*d.DiskSizeGB)
		}
		if d.ManagedDisk != nil && d.ManagedDisk.StorageAccountType != "" {
			out.DiskType = d.ManagedDisk.StorageAccountType
		}
	}
	for _, t := range p.PoolConfig.Taints {
		out.Taints = append(out.Taints, lazuli.Taint{Key: t.Key, Value: t.Value, Effect: t.Effect})
	}
	return out
}

// Tags renders labels as Azure tags: k:v is k=v, and a label that is a flag is
// an empty tag.
func Tags(labels map[string]string) map[string]string {
	out := make(map[string]string, len(labels))
	for k, v := range labels {
		if v == FlagTag {
			v = ""
		}
		out[k] = v
	}
	return out
}

// rawObject reads an object of which only some members are wanted; null and
// absent are an empty one.
func rawObject(raw json.RawMessage) (map[string]json.RawMessage, error) {
	if len(raw) == 0 {
		return nil, nil //nolint:nilnil // an empty map is a good map
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("read an object: %w", err)
	}
	return m, nil
}
