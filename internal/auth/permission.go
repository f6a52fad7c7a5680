// SPDX-License-Identifier: Apache-2.0

package auth

import "strings"

// Permission is the right to an operation; the names are Palette's.
type Permission string

// The permissions of the routes that are served.
const (
	// None is for routes that any authenticated caller may use.
	None Permission = ""

	ClusterGet    Permission = "cluster.get"
	ClusterList   Permission = "cluster.list"
	ClusterCreate Permission = "cluster.create"
	ClusterUpdate Permission = "cluster.update"
	// ClusterDelete also opens the administrator's kubeconfig, as with Palette.
	ClusterDelete Permission = "cluster.delete"

	CloudAccountGet    Permission = "cloudaccount.get"
	CloudAccountList   Permission = "cloudaccount.list"
	CloudAccountCreate Permission = "cloudaccount.create"
	CloudAccountUpdate Permission = "cloudaccount.update"
	CloudAccountDelete Permission = "cloudaccount.delete"

	CloudConfigGet Permission = "cloudconfig.get"
	MachineGet     Permission = "machine.get"
	MachineList    Permission = "machine.list"

	ClusterProfileGet     Permission = "clusterProfile.get"
	ClusterProfileList    Permission = "clusterProfile.list"
	ClusterProfileCreate  Permission = "clusterProfile.create"
	ClusterProfileUpdate  Permission = "clusterProfile.update"
	ClusterProfileDelete  Permission = "clusterProfile.delete"
	ClusterProfilePublish Permission = "clusterProfile.publish"

	PackRegistryGet  Permission = "packRegistry.get"
	PackRegistryList Permission = "packRegistry.list"

	ProjectList Permission = "project.list"
)

// reads reports whether a permission only looks.
func (p Permission) reads() bool {
	return strings.HasSuffix(string(p), ".get") || strings.HasSuffix(string(p), ".list")
}
