// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lazuli-dev/lazuli/internal/palette"
)

// osLinux is the only operating system of nodes.
const osLinux = "Linux"

// Labels that Palette's clients put on pools, by role.
const (
	roleControlPlane = "control-plane"
	roleWorker       = "worker"
)

// AccountRequest is the body that creates or replaces the account. It holds
// the client secret in clear, as the wire wants it.
func (d Document) AccountRequest() palette.AzureAccount {
	a := d.Account
	env := a.Environment
	if env == "" {
		env = palette.EnvironmentPublic
	}
	return palette.AzureAccount{
		Metadata: palette.ObjectMeta{
			Name:        d.Name,
			Annotations: map[string]string{palette.AnnotationScope: palette.ScopeProject},
		},
		Spec: &palette.AzureCloudAccount{
			AzureEnvironment: env, TenantID: a.TenantID, ClientID: a.ClientID,
			ClientSecret: a.ClientSecret.Reveal(), Settings: &palette.CloudAccountSettings{},
		},
	}
}

// ClusterRefs are the uids that a Cluster's names stand for.
type ClusterRefs struct {
	AccountUID  string
	ProfileUIDs []string // in the order of the document
}

// ClusterRequest is the body that creates the cluster. The SSH key must have
// been read.
func (d Document) ClusterRequest(refs ClusterRefs) palette.AzureClusterEntity {
	c := d.Cluster
	meta := &palette.ObjectMeta{Name: d.Name, Labels: labels(c.Tags)}
	if c.Description != "" {
		meta.Annotations = map[string]string{palette.AnnotationDescription: c.Description}
	}
	pools := []palette.AzureMachinePoolConfigEntity{controlPlane(c.ControlPlane)}
	for _, w := range c.Workers {
		pools = append(pools, worker(w))
	}
	profiles := make([]palette.ClusterProfileEntityRef, 0, len(refs.ProfileUIDs))
	for _, uid := range refs.ProfileUIDs {
		profiles = append(profiles, palette.ClusterProfileEntityRef{UID: uid})
	}
	return palette.AzureClusterEntity{
		Metadata: meta,
		Spec: &palette.AzureClusterSpec{
			CloudAccountUID: refs.AccountUID,
			CloudConfig: &palette.AzureClusterConfig{
				SubscriptionID: c.SubscriptionID, ResourceGroup: c.ResourceGroup,
				Location: c.Location, SSHKey: strings.TrimSpace(c.SSHKey),
			},
			MachinePoolConfig: pools,
			Profiles:          profiles,
		},
	}
}

// labels renders tags as the wire's labels: a tag without value is a flag.
func labels(tags map[string]string) map[string]string {
	out := maps.Clone(tags)
	for k, v := range out {
		if v == "" {
			out[k] = palette.FlagTag
		}
	}
	return out
}

func controlPlane(c ControlPlane) palette.AzureMachinePoolConfigEntity {
	return palette.AzureMachinePoolConfigEntity{
		CloudConfig: machine(c.InstanceType, c.DiskSizeGB, c.DiskType),
		PoolConfig: &palette.MachinePoolConfigEntity{
			Name: ControlPlanePool, Size: int32Of(*c.Size), IsControlPlane: true,
			UseControlPlaneAsWorker: c.AllowWorkloads, Labels: []string{roleControlPlane},
		},
	}
}

func worker(w WorkerPool) palette.AzureMachinePoolConfigEntity {
	cloud := machine(w.InstanceType, w.DiskSizeGB, w.DiskType)
	cloud.AZs = w.Zones
	taints := make([]palette.Taint, 0, len(w.Taints))
	for _, t := range w.Taints {
		taints = append(taints, palette.Taint{Key: t.Key, Value: t.Value, Effect: t.Effect})
	}
	return palette.AzureMachinePoolConfigEntity{
		CloudConfig: cloud,
		PoolConfig: &palette.MachinePoolConfigEntity{
			Name: w.Name, Size: int32Of(*w.Size), Labels: []string{roleWorker},
			AdditionalLabels: w.Labels, Taints: taints,
		},
	}
}

func machine(instanceType string, diskGB int, diskType string) *palette.AzureMachinePoolCloudConfig {
	disk := &palette.AzureOSDisk{OSType: osLinux}
	if diskGB > 0 {
		disk.DiskSizeGB = int32Of(diskGB)
	}
	if diskType != "" {
		disk.ManagedDisk = &palette.ManagedDisk{StorageAccountType: diskType}
	}
	return &palette.AzureMachinePoolCloudConfig{InstanceType: instanceType, OSDisk: disk}
}

func int32Of(n int) *int32 {
	v := int32(n)
	return &v
}

// renames maps the wire's paths to the document's, longest first.
var renames = []struct{ wire, doc string }{
	{"spec.cloudConfig.", "spec."},
	{"spec.cloudAccountUid", "spec.account"},
	{"spec.template.", "spec."},
	{"spec.azureEnvironment", "spec.environment"},
	{"metadata.annotations.description", "spec.description"},
	{"metadata.labels", "spec.tags"},
}

// poolFields maps what follows machinepoolconfig[i].
var poolFields = map[string]string{
	"cloudConfig.osDisk.diskSizeGB":                     "diskSizeGB",
	"cloudConfig.osDisk.managedDisk.storageAccountType": "diskType",
	"cloudConfig.azs":                                   "zones",
	"cloudConfig.instanceType":                          "instanceType",
	"poolConfig.useControlPlaneAsWorker":                "allowWorkloads",
	"poolConfig.additionalLabels":                       "labels",
}

// Locate turns the path of a field on the wire into "file:line: path" of this
// document, so that a refusal by the server names what the user wrote. A
// document that no file holds has the path alone.
func (d Document) Locate(wire string) string {
	path := wire
	for _, n := range renames {
		if rest, ok := strings.CutPrefix(path, n.wire); ok {
			path = n.doc + rest
			break
		}
	}
	if rest, ok := strings.CutPrefix(path, "spec.machinepoolconfig["); ok {
		path = poolPath(rest)
	}
	if d.Source == "" {
		return path
	}
	line := d.Line
	if l := lineOf(d.lines, path); l > 1 {
		line = l
	}
	return fmt.Sprintf("%s:%d: %s", d.Source, line, path)
}

// poolPath takes "1].poolConfig.size"; pool 0 is the control plane.
func poolPath(rest string) string {
	index, field, _ := strings.Cut(rest, "]")
	field = strings.TrimPrefix(field, ".")
	for _, wire := range slices.Sorted(maps.Keys(poolFields)) {
		if tail, ok := strings.CutPrefix(field, wire); ok {
			field = poolFields[wire] + tail
		}
	}
	field = strings.TrimPrefix(strings.TrimPrefix(field, "poolConfig."), "cloudConfig.")
	pool := "spec.controlPlane"
	if i, err := strconv.Atoi(index); err == nil && i > 0 {
		pool = fmt.Sprintf("spec.workers[%d]", i-1)
	}
	if field == "" {
		return pool
	}
	return pool + "." + field
}

// ProfileRequest is the body that creates the profile.
func (d Document) ProfileRequest() palette.ClusterProfileEntity {
	p := d.Profile
	cloud := palette.CloudType
	if p.Type == palette.TypeAddOn {
		cloud = palette.CloudTypeAll
	}
	meta := &palette.ObjectMeta{Name: d.Name}
	if p.Description != "" {
		meta.Annotations = map[string]string{palette.AnnotationDescription: p.Description}
	}
	packs := make([]palette.PackManifestEntity, 0, len(p.Packs))
	for _, x := range p.Packs {
		packs = append(packs, palette.PackManifestEntity{
			Name: x.Name, Tag: x.Tag, Type: palette.PackTypeSpectro, Values: strings.TrimSpace(x.Values),
			Manifests: []palette.ManifestRefUpdateEntity{},
		})
	}
	return palette.ClusterProfileEntity{
		Metadata: meta,
		Spec: &palette.ClusterProfileEntitySpec{
			Version:  p.Version,
			Template: &palette.ProfileTemplateDraft{CloudType: cloud, Type: p.Type, Packs: packs},
		},
	}
}
