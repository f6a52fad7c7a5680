// SPDX-License-Identifier: Apache-2.0

package palette

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/lazuli-dev/lazuli"
)

// CloudConfig is the placement and the pools of a cluster. ClusterConfig is
// what the user sent, and each pool is what the user sent, flattened.
type CloudConfig struct {
	Kind     string           `json:"kind"`
	Metadata ObjectMeta       `json:"metadata"`
	Spec     *CloudConfigSpec `json:"spec"`
	Status   CloudConfigStat  `json:"status"`
}

// CloudConfigSpec is the desired side; decode ClusterConfig into
// AzureClusterConfig and each pool into AzureMachinePoolConfig.
type CloudConfigSpec struct {
	CloudAccountRef   ObjectReference   `json:"cloudAccountRef"`
	ClusterConfig     json.RawMessage   `json:"clusterConfig"`
	MachinePoolConfig []json.RawMessage `json:"machinePoolConfig"`
}

// CloudConfigStat is the observed side.
type CloudConfigStat struct {
	Conditions []ClusterCondition `json:"conditions"`
}

// AzureMachinePoolConfig is a pool in answers, for clients.
type AzureMachinePoolConfig struct {
	AdditionalAnnotations   map[string]string `json:"additionalAnnotations,omitempty"`
	AdditionalLabels        map[string]string `json:"additionalLabels,omitempty"`
	AdditionalTags          map[string]string `json:"additionalTags,omitempty"`
	AZs                     []string          `json:"azs,omitempty"`
	InstanceType            string            `json:"instanceType,omitempty"`
	IsControlPlane          bool              `json:"isControlPlane"`
	Labels                  []string          `json:"labels,omitempty"`
	Name                    string            `json:"name,omitempty"`
	OSDisk                  *AzureOSDisk      `json:"osDisk,omitempty"`
	OSType                  string            `json:"osType,omitempty"`
	Size                    int32             `json:"size,omitempty"`
	Taints                  []Taint           `json:"taints,omitempty"`
	UpdateStrategy          *UpdateStrategy   `json:"updateStrategy,omitempty"`
	UseControlPlaneAsWorker bool              `json:"useControlPlaneAsWorker,omitempty"`
}

// What a pool in an answer takes from where in the request.
var (
	fromPoolConfig = [...]string{
		"additionalAnnotations", "additionalLabels", "additionalTags", "isControlPlane", "labels",
		"machinePoolProperties", "maxSize", "minSize", "name", "nodeRepaveInterval", "overrideClusterAPIConfig",
		"overrideHealthCheckConfiguration", "overrideKubeadmConfiguration", "size", "taints", "updateStrategy",
		"useControlPlaneAsWorker",
	}
	fromCloudConfig = [...]string{"azs", "instanceType", "isSystemNodePool", "osDisk"}
)

// CloudConfigOf renders the cloud config of a cluster.
func CloudConfigOf(c *lazuli.Cluster, accountName string) (CloudConfig, error) {
	parts, err := partsOf(c)
	if err != nil {
		return CloudConfig{}, err
	}
	out := CloudConfig{
		Kind: CloudType,
		Metadata: ObjectMeta{
			Annotations: Meta(&c.Meta).Annotations, CreationTimestamp: At(c.CreatedAt),
			LastModifiedTimestamp: At(c.UpdatedAt), Name: c.Name, UID: c.CloudConfigUID,
		},
		Spec: &CloudConfigSpec{
			CloudAccountRef:   ObjectReference{Kind: CloudType, Name: accountName, UID: c.AccountUID},
			ClusterConfig:     WithoutNulls(parts.CloudConfig),
			MachinePoolConfig: make([]json.RawMessage, 0, len(parts.MachinePoolConfig)),
		},
		Status: CloudConfigStat{Conditions: []ClusterCondition{}},
	}
	for i, raw := range parts.MachinePoolConfig {
		pool, err := flattenPool(raw)
		if err != nil {
			return CloudConfig{}, fmt.Errorf("render pool %d of cluster %s: %w", i, c.UID, err)
		}
		out.Spec.MachinePoolConfig = append(out.Spec.MachinePoolConfig, WithoutNulls(pool))
	}
	return out, nil
}

// flattenPool turns a pool of a request into a pool of an answer, member by
// member and each as sent. Two members are special: isControlPlane is required
// in answers, and osType moves out of the disk.
func flattenPool(raw json.RawMessage) (json.RawMessage, error) {
	var in struct {
		CloudConfig map[string]json.RawMessage `json:"cloudConfig"`
		PoolConfig  map[string]json.RawMessage `json:"poolConfig"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("read a pool: %w", err)
	}
	out := make(map[string]json.RawMessage, len(in.CloudConfig)+len(in.PoolConfig))
	take(out, in.PoolConfig, fromPoolConfig[:])
	take(out, in.CloudConfig, fromCloudConfig[:])
	if _, ok := out["isControlPlane"]; !ok {
		out["isControlPlane"] = json.RawMessage("false")
	}
	disk, err := rawObject(in.CloudConfig["osDisk"])
	if err != nil {
		return nil, err
	}
	if v, ok := disk["osType"]; ok {
		out["osType"] = v
	}
	pool, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("render a pool: %w", err)
	}
	return pool, nil
}

func take(dst, src map[string]json.RawMessage, names []string) {
	for _, n := range names {
		if v, ok := src[n]; ok {
			dst[n] = v
		}
	}
}

// Machine is one machine of a pool.
type Machine struct {
	Kind     string        `json:"kind"`
	Metadata ObjectMeta    `json:"metadata"`
	Spec     MachineSpec   `json:"spec"`
	Status   MachineStatus `json:"status"`
}

// MachineSpec is what a machine is made of.
type MachineSpec struct {
	AvailabilityZone MachineZone     `json:"availabilityZone"`
	InstanceType     string          `json:"instanceType"`
	Location         string          `json:"location"`
	NICs             []MachineNIC    `json:"nics"`
	OSDisk           json.RawMessage `json:"osDisk"`
}

// MachineZone is the availability zone of a machine.
type MachineZone struct {
	Enabled bool   `json:"enabled"`
	ID      string `json:"id,omitempty"`
}

// MachineNIC is one network interface.
type MachineNIC struct {
	Index      int      `json:"index"`
	PrivateIPs []string `json:"privateIPs"`
}

// MachineStatus is how a machine is. Clients dereference maintenanceStatus
// without a look.
type MachineStatus struct {
	Addresses               []MachineAddress         `json:"addresses"`
	Health                  MachineHealth            `json:"health"`
	InstanceState           string                   `json:"instanceState"`
	InstanceStateLastUpdate Time                     `json:"instanceStateLastUpdate,omitzero"`
	MaintenanceStatus       MachineMaintenanceStatus `json:"maintenanceStatus"`
	Ready                   bool                     `json:"ready"`
}

// MachineAddress is an address of a machine.
type MachineAddress struct {
	Address string `json:"address"`
	Type    string `json:"type"`
}

// MachineHealth is the health of a machine's node.
type MachineHealth struct {
	Conditions             []MachineHealthCondition `json:"conditions"`
	LastHeartBeatTimestamp Time                     `json:"lastHeartBeatTimestamp,omitzero"`
	State                  string                   `json:"state"`
}

// MachineHealthCondition is one aspect of it.
type MachineHealthCondition struct {
	Message string `json:"message,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Status  string `json:"status"`
	Type    string `json:"type"`
}

// MachineMaintenanceStatus says how far a cordon or uncordon is.
type MachineMaintenanceStatus struct {
	Action  string `json:"action"`
	Message string `json:"message"`
	State   string `json:"state"`
}

// CloudClusterConfigBody replaces the Azure side of a cluster.
type CloudClusterConfigBody struct {
	ClusterConfig *AzureClusterConfig `json:"clusterConfig"`
}

// MachineOf renders a machine of a cluster.
func MachineOf(m *lazuli.Machine, cl *lazuli.Cluster) (Machine, error) {
	view, err := ClusterSpec(cl.Spec)
	if err != nil {
		return Machine{}, fmt.Errorf("view cluster %s: %w", cl.UID, err)
	}
	disk := AzureOSDisk{OSType: "Linux"}
	for _, p := range view.Pools {
		if p.Name == m.Pool {
			size := int32(cmp.Or(m.DiskSizeGB, p.DiskSizeGB)) // came from an int32
			disk.DiskSizeGB, disk.ManagedDisk = &size, &ManagedDisk{StorageAccountType: cmp.Or(m.DiskType, p.DiskType)}
		}
	}
	rawDisk, err := json.Marshal(disk)
	if err != nil {
		return Machine{}, fmt.Errorf("render the disk of machine %s: %w", m.UID, err)
	}
	out := Machine{
		Kind:     "machine",
		Metadata: Meta(&m.Meta),
		Spec: MachineSpec{
			AvailabilityZone: MachineZone{Enabled: m.Zone != "", ID: m.Zone},
			InstanceType:     m.InstanceType,
			Location:         view.Location,
			NICs:             []MachineNIC{},
			OSDisk:           rawDisk,
		},
		Status: MachineStatus{
			Addresses:               []MachineAddress{},
			Health:                  machineHealth(m),
			InstanceState:           string(m.State),
			InstanceStateLastUpdate: At(m.StateSince),
			MaintenanceStatus:       maintenanceOf(m, cl),
			Ready:                   m.Ready,
		},
	}
	if m.PrivateIP != "" {
		out.Spec.NICs = append(out.Spec.NICs, MachineNIC{PrivateIPs: []string{m.PrivateIP}})
		out.Status.Addresses = append(out.Status.Addresses, MachineAddress{Address: m.PrivateIP, Type: "InternalIP"})
	}
	return out, nil
}

// maintenanceOf is how far the last wish about a machine is: before the engine
// saw it, it is Initiated.
func maintenanceOf(m *lazuli.Machine, cl *lazuli.Cluster) MachineMaintenanceStatus {
	out := MachineMaintenanceStatus{}
	if have := m.Maintenance; have != nil {
		out = MachineMaintenanceStatus{Action: string(have.Action), Message: have.Message, State: string(have.State)}
	}
	if wish, ok := cl.Maintenance[m.UID]; ok && (m.Maintenance == nil || !m.Maintenance.Is(wish)) {
		out = MachineMaintenanceStatus{Action: string(wish.Action), State: string(lazuli.MaintenanceInitiated)}
	}
	return out
}

func machineHealth(m *lazuli.Machine) MachineHealth {
	h := MachineHealth{
		Conditions: []MachineHealthCondition{}, LastHeartBeatTimestamp: At(m.SeenAt), State: HealthUnknown,
	}
	cond := MachineHealthCondition{Type: ConditionReady, Status: StatusFalse, Message: m.Message}
	switch {
	case m.Ready:
		h.State, cond.Status = HealthHealthy, StatusTrue
	case m.State == lazuli.MachineFailed:
		h.State = HealthUnhealthy
	}
	h.Conditions = append(h.Conditions, cond)
	return h
}
