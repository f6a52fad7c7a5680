// SPDX-License-Identifier: Apache-2.0

package palette

import (
	"encoding/json"
	"fmt"

	"github.com/lazuli-dev/lazuli"
)

// Values of SpcApply.ActionType, of the health's state, of a condition and of a repave.
const (
	ActionInstall   = "DownloadAndInstall"
	HealthHealthy   = "Healthy"
	HealthUnhealthy = "UnHealthy"
	HealthUnknown   = "Unknown"
	ConditionReady  = "Ready"
	StatusTrue      = "True"
	StatusFalse     = "False"
	RepaveApproved  = "Approved"
)

const (
	clusterTypeManaged = "PureManage"
	apiServerPort      = 6443
)

// Cluster is a cluster.
type Cluster struct {
	Kind     string             `json:"kind,omitempty"`
	Metadata ObjectMeta         `json:"metadata"`
	Spec     *ClusterSpecView   `json:"spec"`
	Status   *ClusterStatusView `json:"status"`
}

// ClusterSpecView is the desired side of a cluster in answers.
type ClusterSpecView struct {
	CloudConfigRef          ObjectReference            `json:"cloudConfigRef"`
	CloudType               string                     `json:"cloudType"`
	ClusterConfig           map[string]json.RawMessage `json:"clusterConfig"`
	ClusterProfileTemplates []ClusterProfileTemplate   `json:"clusterProfileTemplates"`
	ClusterTemplate         json.RawMessage            `json:"clusterTemplate,omitempty"`
	ClusterType             string                     `json:"clusterType"`
}

// ClusterStatusView is the observed side of a cluster in answers. Clients
// dereference location, repave and spcApply without a look.
type ClusterStatusView struct {
	APIEndpoints []APIEndpoint       `json:"apiEndpoints"`
	Conditions   []ClusterCondition  `json:"conditions"`
	Location     json.RawMessage     `json:"location"`
	Packs        []ClusterPackStatus `json:"packs"`
	Repave       RepaveStatus        `json:"repave"`
	SpcApply     SpcApply            `json:"spcApply"`
	State        string              `json:"state"`
}

// APIEndpoint is where the API server answers.
type APIEndpoint struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

// ClusterCondition is one aspect of a cluster or pack.
type ClusterCondition struct {
	LastProbeTime      Time   `json:"lastProbeTime,omitzero"`
	LastTransitionTime Time   `json:"lastTransitionTime,omitzero"`
	Message            string `json:"message,omitempty"`
	Reason             string `json:"reason,omitempty"`
	Status             string `json:"status"`
	Type               string `json:"type"`
}

// ClusterPackStatus is how far a pack is in a cluster.
type ClusterPackStatus struct {
	Condition  ClusterCondition `json:"condition"`
	EndTime    Time             `json:"endTime,omitzero"`
	Name       string           `json:"name"`
	ProfileUID string           `json:"profileUid"`
	StartTime  Time             `json:"startTime,omitzero"`
	Type       string           `json:"type,omitempty"`
	Version    string           `json:"version,omitempty"`
}

// RepaveStatus says whether a replacement of machines awaits approval. None
// does in this release, and then the state is RepaveApproved.
type RepaveStatus struct {
	State string `json:"state"`
}

// SpcApply says whether the profiles' content can be applied.
type SpcApply struct {
	ActionType       string `json:"actionType"`
	CanBeApplied     bool   `json:"canBeApplied"`
	LastModifiedTime Time   `json:"lastModifiedTime,omitzero"`
}

// ClusterProfileTemplate is a profile's content: in a profile, or the snapshot
// that a cluster has of it.
type ClusterProfileTemplate struct {
	CloudType      string    `json:"cloudType"`
	Name           string    `json:"name"`
	Packs          []PackRef `json:"packs"`
	ProfileVersion string    `json:"profileVersion"`
	Type           string    `json:"type"`
	UID            string    `json:"uid"`
	Version        int       `json:"version"`
}

// PackRef is a layer in answers, in the user's order and with the user's text.
type PackRef struct {
	Layer       string            `json:"layer"`
	Manifests   []ObjectReference `json:"manifests"`
	Name        string            `json:"name"`
	PackUID     string            `json:"packUid"`
	RegistryUID string            `json:"registryUid,omitempty"`
	Tag         string            `json:"tag"`
	Type        string            `json:"type"`
	Values      string            `json:"values"`
	Version     string            `json:"version,omitempty"`
}

// ClusterUIDSummary is the overview of one cluster.
type ClusterUIDSummary struct {
	Metadata ObjectMeta         `json:"metadata"`
	Spec     ClusterSummarySpec `json:"spec"`
	Status   ClusterSummaryStat `json:"status"`
}

// ClusterSummary is a cluster in lists.
type ClusterSummary struct {
	Metadata    ObjectMeta         `json:"metadata"`
	SpecSummary ClusterSummarySpec `json:"specSummary"`
	Status      ClusterListStat    `json:"status"`
}

// ClusterListStat is the observed side in lists, which tell less than the
// overview.
type ClusterListStat struct {
	Health        ClusterHealth      `json:"health"`
	Location      json.RawMessage    `json:"location"`
	Notifications NotificationStatus `json:"notifications"`
	State         string             `json:"state"`
}

// ClusterSummarySpec is the desired side in summaries. CloudAccount serves the
// overview, CloudAccountMeta the lists: the wire calls them differently.
type ClusterSummarySpec struct {
	CloudAccount            *ObjectEntity                `json:"cloudaccount,omitempty"`
	CloudAccountMeta        *ObjectEntity                `json:"cloudAccountMeta,omitempty"`
	CloudConfig             CloudConfigMeta              `json:"cloudConfig"`
	ClusterProfileTemplates []ClusterProfileTemplateMeta `json:"clusterProfileTemplates"`
	ProjectMeta             *ObjectEntity                `json:"projectMeta,omitempty"`
}

// CloudConfigMeta names the cloud config and its pools.
type CloudConfigMeta struct {
	CloudType    string            `json:"cloudType"`
	MachinePools []MachinePoolMeta `json:"machinePools"`
	UID          string            `json:"uid"`
}

// MachinePoolMeta counts a pool.
type MachinePoolMeta struct {
	Healthy        int  `json:"healthy"`
	IsControlPlane bool `json:"isControlPlane"`
	Size           int  `json:"size"`
}

// ClusterProfileTemplateMeta names an attached profile.
type ClusterProfileTemplateMeta struct {
	CloudType string    `json:"cloudType"`
	Name      string    `json:"name"`
	Packs     []PackRef `json:"packs"`
	Type      string    `json:"type"`
	UID       string    `json:"uid"`
}

// ClusterSummaryStat is the observed side in summaries.
type ClusterSummaryStat struct {
	APIEndpoints  []APIEndpoint       `json:"apiEndpoints"`
	Conditions    []ClusterCondition  `json:"conditions"`
	Health        ClusterHealth       `json:"health"`
	KubeMeta      KubeMeta            `json:"kubeMeta"`
	Location      json.RawMessage     `json:"location"`
	Notifications NotificationStatus  `json:"notifications"`
	Packs         []ClusterPackStatus `json:"packs"`
	SpcApply      SpcApply            `json:"spcApply"`
	State         string              `json:"state"`
}

// ClusterHealth is health, which is apart from the state.
type ClusterHealth struct {
	Conditions             []HealthCondition `json:"conditions"`
	LastHeartBeatTimestamp Time              `json:"lastHeartBeatTimestamp,omitzero"`
	State                  string            `json:"state"`
}

// HealthCondition is why a cluster is not healthy.
type HealthCondition struct {
	Message string `json:"message"`
	Type    string `json:"type"`
}

// KubeMeta tells of the Kubernetes that runs.
type KubeMeta struct {
	HasKubeConfig     bool   `json:"hasKubeConfig"`
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
}

// NotificationStatus marks a cluster for which an update is there.
type NotificationStatus struct {
	IsAvailable bool `json:"isAvailable"`
}

// clusterConfigEcho are the members of the request's clusterConfig that the
// answer has too; location and resources live elsewhere.
var clusterConfigEcho = [...]string{
	"clusterMetaAttribute", "controlPlaneHealthCheckTimeout", "hostClusterConfig", "hyperShiftConfig",
	"lifecycleConfig", "machineManagementConfig", "timezone", "updateWorkerPoolsInParallel",
}

// specParts are the members of a stored spec, not looked into.
type specParts struct {
	CloudAccountUID   string            `json:"cloudAccountUid"`
	CloudConfig       json.RawMessage   `json:"cloudConfig"`
	ClusterConfig     json.RawMessage   `json:"clusterConfig"`
	MachinePoolConfig []json.RawMessage `json:"machinepoolconfig"`
}

func partsOf(c *lazuli.Cluster) (specParts, error) {
	var p specParts
	if err := json.Unmarshal(c.Spec, &p); err != nil {
		return p, fmt.Errorf("read the stored spec of cluster %s: %w", c.UID, err)
	}
	return p, nil
}

// ClusterOf renders a cluster. It fails only when the stored spec cannot be
// read.
func ClusterOf(c *lazuli.Cluster) (Cluster, error) {
	parts, err := partsOf(c)
	if err != nil {
		return Cluster{}, err
	}
	sent, err := rawObject(parts.ClusterConfig)
	if err != nil {
		return Cluster{}, err
	}
	echo := make(map[string]json.RawMessage, len(clusterConfigEcho))
	for _, k := range clusterConfigEcho {
		if v, ok := sent[k]; ok && string(v) != "null" {
			echo[k] = WithoutNulls(v)
		}
	}
	template, err := Member(c.Spec, "clusterTemplate")
	if err != nil {
		return Cluster{}, err
	}
	location, err := locationOf(parts, sent)
	if err != nil {
		return Cluster{}, err
	}
	out := Cluster{
		Kind:     KindCluster,
		Metadata: Meta(&c.Meta),
		Spec: &ClusterSpecView{
			CloudConfigRef:          ObjectReference{Kind: CloudType, UID: c.CloudConfigUID},
			CloudType:               CloudType,
			ClusterConfig:           echo,
			ClusterProfileTemplates: make([]ClusterProfileTemplate, 0, len(c.Profiles)),
			ClusterTemplate:         template,
			ClusterType:             clusterTypeManaged,
		},
		Status: &ClusterStatusView{
			APIEndpoints: endpoints(c),
			Conditions:   conditions(c),
			Location:     location,
			Packs:        packStatuses(c),
			Repave:       RepaveStatus{State: RepaveApproved},
			SpcApply:     SpcApplyOf(c),
			State:        string(c.Status.State),
		},
	}
	for i := range c.Profiles {
		out.Spec.ClusterProfileTemplates = append(out.Spec.ClusterProfileTemplates, snapshot(&c.Profiles[i]))
	}
	return out, nil
}

// Overview renders the overview of a cluster; machines are its own.
func Overview(c *lazuli.Cluster, account *lazuli.Account, machines []lazuli.Machine) (ClusterUIDSummary, error) {
	spec, status, err := summary(c, machines)
	if err != nil {
		return ClusterUIDSummary{}, err
	}
	spec.CloudAccount = &ObjectEntity{Name: account.Name, UID: c.AccountUID}
	return ClusterUIDSummary{Metadata: Meta(&c.Meta), Spec: spec, Status: status}, nil
}

// Summary renders a cluster for a list; project may be nil.
func Summary(c *lazuli.Cluster, project *lazuli.Project) (ClusterSummary, error) {
	spec, status, err := summary(c, nil)
	if err != nil {
		return ClusterSummary{}, err
	}
	spec.CloudAccountMeta = &ObjectEntity{UID: c.AccountUID}
	if project != nil {
		spec.ProjectMeta = &ObjectEntity{Name: project.Name, UID: project.UID}
	}
	return ClusterSummary{Metadata: Meta(&c.Meta), SpecSummary: spec, Status: ClusterListStat{
		Health: status.Health, Location: status.Location, Notifications: status.Notifications, State: status.State,
	}}, nil
}

func summary(c *lazuli.Cluster, machines []lazuli.Machine) (ClusterSummarySpec, ClusterSummaryStat, error) {
	full, err := ClusterOf(c)
	if err != nil {
		return ClusterSummarySpec{}, ClusterSummaryStat{}, err
	}
	view, err := ClusterSpec(c.Spec)
	if err != nil {
		return ClusterSummarySpec{}, ClusterSummaryStat{}, fmt.Errorf("view cluster %s: %w", c.UID, err)
	}
	ready := make(map[string]int, len(view.Pools))
	for i := range machines {
		if machines[i].Ready {
			ready[machines[i].Pool]++
		}
	}
	spec := ClusterSummarySpec{
		CloudConfig: CloudConfigMeta{
			CloudType: CloudType, UID: c.CloudConfigUID, MachinePools: make([]MachinePoolMeta, 0, len(view.Pools)),
		},
		ClusterProfileTemplates: make([]ClusterProfileTemplateMeta, 0, len(c.Profiles)),
	}
	for _, p := range view.Pools {
		spec.CloudConfig.MachinePools = append(spec.CloudConfig.MachinePools,
			MachinePoolMeta{Healthy: ready[p.Name], IsControlPlane: p.ControlPlane, Size: p.Size})
	}
	for _, t := range full.Spec.ClusterProfileTemplates {
		spec.ClusterProfileTemplates = append(spec.ClusterProfileTemplates, ClusterProfileTemplateMeta{
			CloudType: t.CloudType, Name: t.Name, Packs: withoutValues(t.Packs), Type: t.Type, UID: t.UID,
		})
	}
	return spec, ClusterSummaryStat{
		APIEndpoints: full.Status.APIEndpoints,
		Conditions:   full.Status.Conditions,
		Health:       health(c),
		KubeMeta: KubeMeta{
			HasKubeConfig:     !c.Status.RunningAt.IsZero(),
			KubernetesVersion: c.Status.KubeVersion,
		},
		Location:      metaLocation(full.Status.Location),
		Notifications: NotificationStatus{IsAvailable: len(c.Behind) > 0},
		Packs:         full.Status.Packs,
		SpcApply:      full.Status.SpcApply,
		State:         full.Status.State,
	}, nil
}

// metaLocation is a location as summaries have it: the point on the map is a
// pair there.
func metaLocation(raw json.RawMessage) json.RawMessage {
	var in struct {
		CountryCode string `json:"countryCode"`
		CountryName string `json:"countryName"`
		RegionCode  string `json:"regionCode"`
		RegionName  string `json:"regionName"`
		GeoLoc      *struct {
			Latitude  float64 `json:"latitude"`
			Longitude float64 `json:"longitude"`
		} `json:"geoLoc"`
	}
	if json.Unmarshal(raw, &in) != nil {
		return json.RawMessage("{}") // of no form that is known
	}
	out := map[string]any{}
	for k, v := range map[string]string{
		"countryCode": in.CountryCode, "countryName": in.CountryName, "regionCode": in.RegionCode, "regionName": in.RegionName,
	} {
		if v != "" {
			out[k] = v
		}
	}
	if in.GeoLoc != nil {
		out["coordinates"] = []float64{in.GeoLoc.Latitude, in.GeoLoc.Longitude}
	}
	return encodedOr(out, raw)
}

// withoutValues keeps summaries small.
func withoutValues(packs []PackRef) []PackRef {
	for i := range packs {
		packs[i].Values = ""
	}
	return packs
}

// Health is the state of a cluster's health as the wire calls it.
func Health(c *lazuli.Cluster) string { return string(c.Health()) }

func health(c *lazuli.Cluster) ClusterHealth {
	out := ClusterHealth{
		Conditions: []HealthCondition{}, LastHeartBeatTimestamp: At(c.Status.SeenAt), State: Health(c),
	}
	if !c.Status.Healthy && c.Status.Message != "" {
		out.Conditions = append(out.Conditions, HealthCondition{Type: out.State, Message: c.Status.Message})
	}
	return out
}

func endpoints(c *lazuli.Cluster) []APIEndpoint {
	if c.Status.Endpoint == "" {
		return []APIEndpoint{}
	}
	return []APIEndpoint{{Host: c.Status.Endpoint, Port: apiServerPort}}
}

func conditions(c *lazuli.Cluster) []ClusterCondition {
	out := make([]ClusterCondition, 0, len(c.Status.Conditions))
	for _, x := range c.Status.Conditions {
		out = append(out, ClusterCondition{
			LastTransitionTime: At(x.Since), Message: x.Message, Reason: x.Reason, Status: x.Status, Type: x.Type,
		})
	}
	return out
}

func packStatuses(c *lazuli.Cluster) []ClusterPackStatus {
	out := make([]ClusterPackStatus, 0, len(c.Status.Packs))
	for _, p := range c.Status.Packs {
		cond := ClusterCondition{
			Type: ConditionReady, Status: StatusFalse, Message: p.Message, LastTransitionTime: At(p.EndedAt),
		}
		if p.Ready {
			cond.Status = StatusTrue
		}
		out = append(out, ClusterPackStatus{
			Condition: cond, EndTime: At(p.EndedAt), Name: p.Name, ProfileUID: p.ProfileUID,
			StartTime: At(p.StartedAt), Type: p.Type, Version: p.Version,
		})
	}
	return out
}

// SpcApplyOf says that content can always be applied: nothing is downloaded
// ahead, so there is nothing to wait for.
func SpcApplyOf(c *lazuli.Cluster) SpcApply {
	out := SpcApply{ActionType: ActionInstall, CanBeApplied: true, LastModifiedTime: At(c.CreatedAt)}
	if c.Apply.Action != "" {
		out.ActionType = c.Apply.Action
	}
	if !c.Apply.At.IsZero() {
		out.LastModifiedTime = At(c.Apply.At)
	}
	return out
}

// locationOf is the location that the user sent, else one made of the region:
// an absent location is a change that Terraform plans for ever.
func locationOf(parts specParts, sent map[string]json.RawMessage) (json.RawMessage, error) {
	if v, ok := sent["location"]; ok && string(v) != "null" {
		return WithoutNulls(v), nil
	}
	cloud, err := rawObject(parts.CloudConfig)
	if err != nil {
		return nil, err
	}
	region := cloud["location"]
	if len(region) == 0 {
		region = json.RawMessage(`""`)
	}
	out, err := json.Marshal(map[string]json.RawMessage{"regionCode": region, "regionName": region})
	if err != nil {
		return nil, fmt.Errorf("render the location: %w", err)
	}
	return out, nil
}

func snapshot(p *lazuli.ProfileSnapshot) ClusterProfileTemplate {
	return ClusterProfileTemplate{
		CloudType: p.CloudType, Name: p.Name, Packs: packRefs(p.Layers), ProfileVersion: p.ProfileVersion,
		Type: p.Type, UID: p.UID, Version: 1,
	}
}
