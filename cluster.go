// SPDX-License-Identifier: Apache-2.0

package lazuli

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// ClusterState is where a cluster is in its life. A failure never changes it:
// failures are tasks, conditions and events.
//
//	Pending -> Provisioning -> Running
//	   \____________|___________/
//	                v
//	            Deleting -> Deleted
type ClusterState string

// The states of a cluster; the names are Palette's.
const (
	StatePending      ClusterState = "Pending"      // accepted, nothing was written to Azure
	StateProvisioning ClusterState = "Provisioning" // the first write to Azure was intended
	StateRunning      ClusterState = "Running"      // all machines joined, packs applied
	StateDeleting     ClusterState = "Deleting"     // set inside DELETE, from any state
	StateDeleted      ClusterState = "Deleted"      // nothing is left; kept for a while, the name is free
)

// Cluster is one Kubernetes cluster: what the user asked for, as sent, and
// what we know of it.
type Cluster struct {
	Meta
	// Spec is the "spec" of the create request, as later requests changed it,
	// without its profiles: each part exactly as sent, so that absent, null and
	// empty stay different. internal/palette gives a typed view of it.
	Spec           json.RawMessage   `json:"spec"`
	CloudConfigUID string            `json:"cloudConfigUid"`
	AccountUID     string            `json:"accountUid"`
	Profiles       []ProfileSnapshot `json:"profiles"`
	// Held are the profiles that stay applied while Profiles wait for the user's
	// word; nil when Profiles are applied.
	Held []ProfileSnapshot `json:"held,omitempty"`
	// Behind are the uids of the Profiles that have newer content than was taken
	// over; see internal/updates.
	Behind []string `json:"behind,omitempty"`
	// Apply is how the user wanted the last change of the profiles applied.
	Apply ApplyWish `json:"apply,omitzero"`
	// RenewAt is when the user last asked for new certificates.
	RenewAt time.Time `json:"renewAt,omitzero"`
	// Delete is the user's intent that the cluster shall be no more. Without
	// it, and without a pool that shall be smaller or gone, nothing in Azure is
	// ever deleted.
	Delete *DeleteIntent `json:"delete,omitempty"`
	// Maintenance is what users want of single machines, by the machine's uid.
	Maintenance map[string]MaintenanceWish `json:"maintenance,omitempty"`
	// Notices tell which parts of the wish have no effect in this release.
	Notices   []Notice      `json:"notices,omitempty"`
	Status    ClusterStatus `json:"status"`
	Requester string        `json:"requester,omitempty"` // uid of the user that created it
}

// Kind implements Object.
func (*Cluster) Kind() Kind { return KindCluster }

// Index implements Object: a name is unique in a project until the cluster
// reads Deleted.
func (c *Cluster) Index() Index {
	ix := Index{Owner: c.AccountUID, State: string(c.Status.State), Health: string(c.Health()), Facets: c.facets()}
	if c.Status.State != StateDeleted {
		ix.Unique = c.Project + "/" + Fold(c.Name)
	}
	return ix
}

// Facets that clusters are found by.
const (
	FacetTag         = "tag"         // key:value of each label
	FacetProfileName = "profileName" // of each attached profile
	FacetProfileUID  = "profileUid"  // of each attached profile
	FacetVersion     = "version"     // of the Kubernetes that runs, without a v
	FacetRegion      = "region"
	FacetUpdate      = "update" // UpdatePending of a cluster that is Behind
)

// UpdatePending is the one value of FacetUpdate.
const UpdatePending = "pending"

func (c *Cluster) facets() map[string][]string {
	f := map[string][]string{}
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		f[FacetTag] = append(f[FacetTag], key+":"+c.Labels[key])
	}
	for i := range c.Profiles {
		f[FacetProfileName] = append(f[FacetProfileName], c.Profiles[i].Name)
		f[FacetProfileUID] = append(f[FacetProfileUID], c.Profiles[i].UID)
	}
	if v := strings.TrimPrefix(c.Status.KubeVersion, "v"); v != "" {
		f[FacetVersion] = []string{v}
	}
	if len(c.Behind) > 0 {
		f[FacetUpdate] = []string{UpdatePending}
	}
	var spec struct {
		CloudConfig struct {
			Location string `json:"location"`
		} `json:"cloudConfig"`
	}
	// What is no spec of ours has no region.
	if json.Unmarshal(c.Spec, &spec) == nil && spec.CloudConfig.Location != "" {
		f[FacetRegion] = []string{spec.CloudConfig.Location}
	}
	return f
}

// ClusterHealth is how a cluster does, which is apart from its state.
type ClusterHealth string

// The healths of a cluster; the names are Palette's.
const (
	Healthy       ClusterHealth = "Healthy"
	Unhealthy     ClusterHealth = "UnHealthy"
	HealthUnknown ClusterHealth = "Unknown" // before it runs, and after
)

// Health is how the cluster does.
func (c *Cluster) Health() ClusterHealth {
	switch {
	case c.Status.Healthy:
		return Healthy
	case c.Status.State == StateRunning:
		return Unhealthy
	default:
		return HealthUnknown
	}
}

// DeleteIntent records who wanted a cluster gone, and when.
type DeleteIntent struct {
	At    time.Time `json:"at"`
	Actor string    `json:"actor"`
	Force bool      `json:"force,omitempty"`
}

// Applied are the profiles that shall be in the cluster now.
func (c *Cluster) Applied() []ProfileSnapshot {
	if c.Held != nil {
		return c.Held
	}
	return c.Profiles
}

// ApplyWish is how a change of profiles shall be applied, and since when.
type ApplyWish struct {
	Action string    `json:"action,omitempty"` // Palette's name; "" is at once
	At     time.Time `json:"at,omitzero"`
}

// MaintenanceAction is what a user wants of one machine.
type MaintenanceAction string

// The actions; the names are Palette's.
const (
	MaintenanceCordon   MaintenanceAction = "cordon" // no new pods, and those that are there are drained
	MaintenanceUncordon MaintenanceAction = "uncordon"
)

// MaintenanceWish is what a user wants of one machine, and since when.
type MaintenanceWish struct {
	Action MaintenanceAction `json:"action"`
	At     time.Time         `json:"at"`
	Actor  string            `json:"actor"`
}

// Is reports whether two wishes are the same one.
func (w MaintenanceWish) Is(other MaintenanceWish) bool {
	return w.Action == other.Action && w.At.Equal(other.At)
}

// Notice says that a part of what a user asked for has no effect, or not on
// everything, and why.
type Notice struct {
	Field   string    `json:"field"` // path in the request
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// Made is what the machines of a cluster were made with. A later wish for
// something else needs other machines.
type Made struct {
	Settings json.RawMessage `json:"settings"` // internal/pack's Settings
	Layers   []Layer         `json:"layers"`   // of the operating system and of Kubernetes
	SSHKey   string          `json:"sshKey"`
	// Labels are the tags that the cluster's resources were made with.
	Labels map[string]string `json:"labels,omitempty"`
}

// ClusterStatus is what the engine knows of a cluster. Only the engine writes
// it, but for State, which DELETE sets to Deleting.
type ClusterStatus struct {
	State       ClusterState `json:"state"`
	Healthy     bool         `json:"healthy"`
	Message     string       `json:"message,omitempty"` // the most pressing thing to know
	Prefix      string       `json:"prefix,omitempty"`  // of the names of all Azure resources
	DNSLabel    string       `json:"dnsLabel,omitempty"`
	Endpoint    string       `json:"endpoint,omitempty"` // host name of the API server
	APIServerIP string       `json:"apiServerIp,omitempty"`
	KubeVersion string       `json:"kubeVersion,omitempty"`
	StartedAt   time.Time    `json:"startedAt,omitzero"` // first intent of a write to Azure
	RunningAt   time.Time    `json:"runningAt,omitzero"`
	SeenAt      time.Time    `json:"seenAt,omitzero"`     // last answer of the API server
	EmptySince  time.Time    `json:"emptySince,omitzero"` // first list in a row that had nothing of a cluster being deleted
	DeletedAt   time.Time    `json:"deletedAt,omitzero"`
	LooksBack   int          `json:"looksBack,omitempty"` // made after the deletion, for what came late
	Settled     string       `json:"settled,omitempty"`   // identifies the wish that was fulfilled last
	Exhausted   []Exhausted  `json:"exhausted,omitempty"`
	Conditions  []Condition  `json:"conditions,omitempty"`
	Packs       []PackStatus `json:"packs,omitempty"`
	Made        *Made        `json:"made,omitempty"` // nil until the machines were placed
	// Notices are the engine's: what of the wish the running machines do not have.
	Notices []Notice `json:"notices,omitempty"`
}

// Exhausted remembers that Azure had no room for a size in a zone.
type Exhausted struct {
	Size  string    `json:"size"`
	Zone  string    `json:"zone"` // "" outside zones
	Until time.Time `json:"until"`
}

// Condition is one aspect of a cluster, with Palette's type names.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"` // True, False
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"` // last transition of Status
}

// PackStatus is how far a pack's manifests are in the cluster.
type PackStatus struct {
	Name       string    `json:"name"`
	ProfileUID string    `json:"profileUid"`
	Version    string    `json:"version"`
	Type       string    `json:"type"`
	Ready      bool      `json:"ready"`
	Message    string    `json:"message,omitempty"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	EndedAt    time.Time `json:"endedAt,omitzero"`
}

// ClusterSpec is the typed view of what the user asked for.
type ClusterSpec struct {
	AccountUID         string
	SubscriptionID     string
	ResourceGroup      string
	Location           string
	SSHKey             string
	VNetName           string // "" where we make one
	VNetResourceGroup  string // "" is ResourceGroup
	VNetCIDR           string
	ControlPlaneSubnet Subnet
	WorkerSubnet       Subnet
	AllowedCIDRs       []string // that may reach the API server; empty is everyone
	PrivateAPIServer   bool
	Pools              []Pool
	Namespaces         []Namespace
	Bindings           []Binding
}

// Namespace is a namespace that a cluster shall have, and what its pods may ask
// for; 0 is no bound.
type Namespace struct {
	Name      string
	CPUCores  float64
	MemoryMiB float64
}

// Binding gives a role to subjects, in a namespace or everywhere.
type Binding struct {
	Namespace string // "" is a binding of the whole cluster
	RoleKind  string // Role, ClusterRole
	RoleName  string
	Subjects  []Subject
}

// Subject is who gets a role.
type Subject struct {
	Kind      string // User, Group, ServiceAccount
	Name      string
	Namespace string // of a ServiceAccount
}

// Unmade tells what of the wish no step can make yet, and none may leave out: the
// cluster would be another than the one that was asked for, in a network of ours
// or open to the Internet. Nothing is made of such a cluster; "" is for all
// others.
func (s *ClusterSpec) Unmade() string {
	switch {
	case s.VNetName != "":
		return "a network that exists already (static placement) is not served by this release"
	case s.PrivateAPIServer:
		return "a private API server is not served by this release"
	default:
		return ""
	}
}

// Subnet is a wish for one of the two subnets; empty fields are ours to choose.
type Subnet struct {
	Name          string
	CIDR          string
	SecurityGroup string
}

// Pool is a set of like machines.
type Pool struct {
	Name         string
	ControlPlane bool
	Size         int // number of machines
	UseAsWorker  bool
	InstanceType string
	DiskType     string // managed disk of the OS: Standard_LRS, StandardSSD_LRS, Premium_LRS, ...
	DiskSizeGB   int
	Zones        []string
	Labels       map[string]string
	Annotations  map[string]string
	Taints       []Taint
	Tags         map[string]string
}

// Taint keeps pods off the machines of a pool.
type Taint struct {
	Key, Value, Effect string
}
