// SPDX-License-Identifier: Apache-2.0

// Package manifest reads the YAML that `lazuli apply` takes and turns it into
// requests of the public API.
//
// It is strict: an unknown field, a key given twice, a value of the wrong type
// and a missing variable are findings with file and line, all of them told at
// once. ${NAME} stands for an environment variable, in values only and after
// parsing, so that no variable can change the structure of a document; $${ is
// a literal ${.
//
// It refuses to do I/O, to fill what the API fills by itself, and to know
// which objects exist: the caller resolves names to uids.
package manifest

import (
	"github.com/lazuli-dev/lazuli"
)

// APIVersion is the version of the documents.
const APIVersion = "lazuli.io/v1alpha1"

// The kinds of documents.
const (
	KindCloudAccount   = "CloudAccount"
	KindClusterProfile = "ClusterProfile"
	KindCluster        = "Cluster"
)

// Defaults of what a document leaves out.
const (
	DefaultProfileVersion = "1.0.0"
	DefaultProfileType    = "cluster"
	DefaultInstanceType   = "Standard_D2s_v3"
	ControlPlanePool      = "cp"
	DefaultWorkerPool     = "worker"
)

// Document is one object of a file. Exactly one of Account, Profile and
// Cluster is set.
type Document struct {
	Source  string // file name, or "-"
	Line    int    // of its first key
	Kind    string
	Name    string
	Account *CloudAccount
	Profile *ClusterProfile
	Cluster *Cluster

	lines map[string]int // line by path
}

// CloudAccount is the spec of a kind CloudAccount: an application registration
// in Entra ID.
type CloudAccount struct {
	TenantID     string        `yaml:"tenantId"`
	ClientID     string        `yaml:"clientId"`
	ClientSecret lazuli.Secret `yaml:"clientSecret"`
	Environment  string        `yaml:"environment"`
}

// ClusterProfile is the spec of a kind ClusterProfile.
type ClusterProfile struct {
	Type        string `yaml:"type"` // cluster (all layers), infra, add-on
	Version     string `yaml:"version"`
	Description string `yaml:"description"`
	Packs       []Pack `yaml:"packs"`
}

// Pack is one layer of a profile.
type Pack struct {
	Name   string `yaml:"name"`
	Tag    string `yaml:"tag"`
	Values string `yaml:"values"` // YAML as text; empty takes the pack's own
}

// Cluster is the spec of a kind Cluster.
type Cluster struct {
	Account        string            `yaml:"account"`  // name or uid
	Profiles       []string          `yaml:"profiles"` // name, name@version or uid
	SubscriptionID string            `yaml:"subscriptionId"`
	ResourceGroup  string            `yaml:"resourceGroup"` // must exist
	Location       string            `yaml:"location"`
	SSHKey         string            `yaml:"sshKey"`     // public key, OpenSSH form
	SSHKeyFile     string            `yaml:"sshKeyFile"` // relative to the file of the document
	Description    string            `yaml:"description"`
	Tags           map[string]string `yaml:"tags"`
	ControlPlane   ControlPlane      `yaml:"controlPlane"`
	Workers        []WorkerPool      `yaml:"workers"` // left out: one pool of one; an empty list: none
}

// ControlPlane is the pool of control-plane nodes.
type ControlPlane struct {
	Size           *int   `yaml:"size"` // 1, 3 or 5
	InstanceType   string `yaml:"instanceType"`
	DiskSizeGB     int    `yaml:"diskSizeGB"`
	DiskType       string `yaml:"diskType"`
	AllowWorkloads bool   `yaml:"allowWorkloads"`
	Zones          any    `yaml:"zones" refuse:"zones are chosen for worker pools only; control-plane nodes are spread over all zones that sell their size"`
}

// WorkerPool is a set of like worker nodes.
type WorkerPool struct {
	Name         string            `yaml:"name"`
	Size         *int              `yaml:"size"` // 1 or more
	InstanceType string            `yaml:"instanceType"`
	DiskSizeGB   int               `yaml:"diskSizeGB"`
	DiskType     string            `yaml:"diskType"`
	Zones        []string          `yaml:"zones"` // empty: all that sell the size
	Labels       map[string]string `yaml:"labels"`
	Taints       []Taint           `yaml:"taints"`
}

// Taint keeps pods off the nodes of a pool.
type Taint struct {
	Key    string `yaml:"key"`
	Value  string `yaml:"value"`
	Effect string `yaml:"effect"`
}

// Normalize fills the defaults of this package.
func (c *Cluster) Normalize() {
	one := 1
	if c.ControlPlane.Size == nil {
		c.ControlPlane.Size = &one
	}
	if c.ControlPlane.InstanceType == "" {
		c.ControlPlane.InstanceType = DefaultInstanceType
	}
	if c.Workers == nil {
		c.Workers = []WorkerPool{{Name: DefaultWorkerPool}}
	}
	for i := range c.Workers {
		if c.Workers[i].Size == nil {
			c.Workers[i].Size = &one
		}
		if c.Workers[i].InstanceType == "" {
			c.Workers[i].InstanceType = DefaultInstanceType
		}
	}
}
