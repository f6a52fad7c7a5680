// SPDX-License-Identifier: Apache-2.0

package lazuli

import "time"

// MachineState has the names of Palette's instanceState.
type MachineState string

// The states of a machine.
const (
	MachinePending      MachineState = "Pending"
	MachineProvisioning MachineState = "Provisioning" // the VM was asked for
	MachineProvisioned  MachineState = "Provisioned"  // the VM runs, its node has not joined
	MachineRunning      MachineState = "Running"      // its node is Ready
	MachineDeleting     MachineState = "Deleting"
	MachineDeleted      MachineState = "Deleted"
	MachineFailed       MachineState = "Failed"
)

// Machine is one virtual machine of a pool and the node that it becomes. Its
// name is the VM's, the computer's and the Node's, has a random suffix, and is
// never used twice.
type Machine struct {
	Meta
	ClusterUID   string `json:"clusterUid"`
	Pool         string `json:"pool"`
	ControlPlane bool   `json:"controlPlane"`
	Init         bool   `json:"init,omitempty"` // the one that runs kubeadm init
	Zone         string `json:"zone,omitempty"`
	InstanceType string `json:"instanceType"`
	VMID         string `json:"vmId"`  // Azure id, known before creation
	NICID        string `json:"nicId"` // Azure id, known before creation
	// Of the size, as it was sold when the machine was placed.
	Generation            string `json:"generation"` // of Hyper-V: V1, V2
	Arch                  string `json:"arch"`       // x64, Arm64
	AcceleratedNetworking bool   `json:"acceleratedNetworking,omitempty"`
	EtcdDisk              bool   `json:"etcdDisk,omitempty"` // etcd has a data disk of its own
	// Of the operating system's disk; 0 and "" of a machine that an older release
	// placed: they are then its pool's.
	DiskType    string       `json:"diskType,omitempty"`
	DiskSizeGB  int          `json:"diskSizeGb,omitempty"`
	State       MachineState `json:"state"`
	Ready       bool         `json:"ready"`
	PrivateIP   string       `json:"privateIp,omitempty"`
	KubeVersion string       `json:"kubeVersion,omitempty"`
	Message     string       `json:"message,omitempty"`
	// LeavingAt is when the machine became one too many for its pool: it is
	// drained, and retired when that is done.
	LeavingAt time.Time `json:"leavingAt,omitzero"`
	// Maintenance is how far the last cordon or uncordon is.
	Maintenance *Maintenance `json:"maintenance,omitempty"`
	// RetiredAt is when the machine lost its place in the cluster, to another one
	// or for good; it is removed.
	RetiredAt time.Time `json:"retiredAt,omitzero"`
	// Late machines came after the cluster's first keys: their token is made in
	// the running cluster.
	Late       bool      `json:"late,omitempty"`
	SeenAt     time.Time `json:"seenAt,omitzero"` // last time its Node was seen
	StateSince time.Time `json:"stateSince,omitzero"`
}

// Kind implements Object.
func (*Machine) Kind() Kind { return KindMachine }

// Index implements Object.
func (m *Machine) Index() Index { return Index{Owner: m.ClusterUID, State: string(m.State)} }

// Going reports whether a machine shall be no more.
func (m *Machine) Going() bool { return !m.LeavingAt.IsZero() || !m.RetiredAt.IsZero() }

// MaintenanceState has the names of Palette's maintenanceStatus.
type MaintenanceState string

// The states of a cordon or uncordon.
const (
	MaintenanceInitiated  MaintenanceState = "Initiated" // asked for
	MaintenanceInProgress MaintenanceState = "InProgress"
	MaintenanceCompleted  MaintenanceState = "Completed"
	MaintenanceFailed     MaintenanceState = "Failed"
)

// Maintenance is how far the wish of a time is.
type Maintenance struct {
	MaintenanceWish

	State   MaintenanceState `json:"state"`
	Message string           `json:"message,omitempty"`
	Started time.Time        `json:"started"`
}

// NodeState is how far a node of a cluster's graph is.
type NodeState string

// The states of a node. Intended is recorded before the effect is attempted,
// so that after a crash the effect is looked for, never forgotten.
const (
	NodeWaiting  NodeState = "Waiting"  // a dependency is not done
	NodeIntended NodeState = "Intended" // recorded; the effect may or may not have happened
	NodeWorking  NodeState = "Working"  // accepted; an operation is under way
	NodeDone     NodeState = "Done"
	NodeFailed   NodeState = "Failed"   // not retried before something changes; Message and Remedy say why
	NodeDeleting NodeState = "Deleting" // its deletion was accepted
	NodeGone     NodeState = "Gone"     // Azure says that it is not there
)

// Node is the record of one node of a cluster's graph: at once the inventory
// of what we made in Azure, and the task that users watch.
type Node struct {
	Meta                 // Name is the node's name in the graph, such as nic/prod-3f9a1c-w-x7k2p
	ClusterUID string    `json:"clusterUid"`
	Title      string    `json:"title"`             // for people: "Network interface prod-3f9a1c-w-x7k2p"
	Deps       []string  `json:"deps,omitempty"`    // names of the nodes that this one waits for
	AzureID    string    `json:"azureId,omitempty"` // "" for nodes that are not Azure resources
	State      NodeState `json:"state"`
	Hash       string    `json:"hash,omitempty"` // of the desired resource at the last write
	IntentAt   time.Time `json:"intentAt,omitzero"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	EndedAt    time.Time `json:"endedAt,omitzero"`
	NextTry    time.Time `json:"nextTry,omitzero"` // not before
	Attempts   int       `json:"attempts,omitempty"`
	Message    string    `json:"message,omitempty"`
	Remedy     string    `json:"remedy,omitempty"`
	Code       Code      `json:"code,omitempty"`
	// Operation is the long-running operation under way, if any.
	Operation *Operation        `json:"operation,omitempty"`
	Facts     map[string]string `json:"facts,omitempty"` // what Azure told: ipAddress, fqdn, privateIp
}

// Kind implements Object.
func (*Node) Kind() Kind { return KindNode }

// Index implements Object: a name is unique in a cluster.
func (n *Node) Index() Index {
	return Index{Owner: n.ClusterUID, State: string(n.State), Unique: n.ClusterUID + "/" + n.Name}
}

// Operation is a long-running operation of Azure that any replica can poll.
type Operation struct {
	Kind     string    `json:"kind"` // put, delete
	PollURL  string    `json:"pollUrl"`
	Started  time.Time `json:"started"`
	NextPoll time.Time `json:"nextPoll"`
	Attempts int       `json:"attempts"`
}
