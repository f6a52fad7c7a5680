// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// Kubernetes' rules of names (apimachinery, pkg/util/validation).
var (
	labelNamePattern   = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$`)
	labelPrefixPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

const (
	maxLabelPrefix = 253
	maxLabelValue  = 63
	maxLabels      = 64
	maxTaints      = 64
	maxZones       = 9
)

// controlPlaneSizes keep etcd's majority with the fewest machines.
var controlPlaneSizes = []int32{1, 3, 5}

func checkPools(f *findings, s *palette.AzureClusterSpec) {
	const path = "spec.machinepoolconfig"
	if len(s.MachinePoolConfig) > maxPools {
		f.fault(path, "has more than %d pools", maxPools)
		return
	}
	names := map[string]int{}
	var controlPlanes []int
	workers := false
	for i := range s.MachinePoolConfig {
		p := &s.MachinePoolConfig[i]
		at := fmt.Sprintf("%s[%d]", path, i)
		checkPool(f, at, p)
		if p.PoolConfig == nil {
			continue
		}
		if first, twice := names[p.PoolConfig.Name]; twice {
			f.fault(at+".poolConfig.name", "%q is also the name of pool %d", shorten(p.PoolConfig.Name), first)
		} else {
			names[p.PoolConfig.Name] = i
		}
		switch {
		case p.PoolConfig.IsControlPlane:
			controlPlanes = append(controlPlanes, i)
			workers = workers || p.PoolConfig.UseControlPlaneAsWorker
		default:
			workers = true
		}
	}
	switch {
	case len(controlPlanes) == 0:
		f.fault(path, "needs a pool with poolConfig.isControlPlane true")
	case len(controlPlanes) > 1:
		f.fault(fmt.Sprintf("%s[%d].poolConfig.isControlPlane", path, controlPlanes[1]),
			"a cluster has one control-plane pool; pool %d is one already", controlPlanes[0])
	case !workers:
		f.fault(path, "has no pool that runs workloads: add a worker pool, or set useControlPlaneAsWorker of the control plane")
	}
}

func checkPool(f *findings, at string, p *palette.AzureMachinePoolConfigEntity) {
	if p.CloudConfig == nil {
		f.fault(at+".cloudConfig", "is required")
	} else {
		checkPoolCloud(f, at+".cloudConfig.", p.CloudConfig)
	}
	k := p.PoolConfig
	if k == nil {
		f.fault(at+".poolConfig", "is required")
		return
	}
	at += ".poolConfig."
	if !lazuli.ValidPoolName(k.Name) {
		f.fault(at+"name", "%q is not 1 to %d lower-case letters, digits and hyphens, with a letter first and no hyphen last",
			shorten(k.Name), lazuli.MaxPoolNameLength)
	}
	checkPoolSize(f, at, k)
	checkLabels(f, at+"additionalLabels", k.AdditionalLabels)
	checkQualifiedKeys(f, at+"additionalAnnotations", k.AdditionalAnnotations)
	checkTags(f, at+"additionalTags", k.AdditionalTags)
	checkTaints(f, at+"taints", k.Taints)
	if k.NodeRepaveInterval < 0 {
		f.fault(at+"nodeRepaveInterval", "is %d; it is a number of seconds from 0 on", k.NodeRepaveInterval)
	}
	checkUpdateStrategy(f, at+"updateStrategy.", k.UpdateStrategy)
}

// overrideScaling is the strategy whose figures the user gives.
const overrideScaling = "OverrideScaling"

var (
	updateStrategies = []string{"", "RollingUpdateScaleOut", "RollingUpdateScaleIn", overrideScaling}
	surgePattern     = regexp.MustCompile(`^[0-9]{1,4}%?$`)
)

func checkUpdateStrategy(f *findings, at string, u *palette.UpdateStrategy) {
	if u == nil {
		return
	}
	if !slices.Contains(updateStrategies, u.Type) {
		f.fault(at+"type", "%q is none of %s", shorten(u.Type), strings.Join(updateStrategies[1:], ", "))
	}
	idle := true
	for _, x := range []struct{ name, v string }{{"maxSurge", u.MaxSurge}, {"maxUnavailable", u.MaxUnavailable}} {
		if x.v != "" && !surgePattern.MatchString(x.v) {
			f.fault(at+x.name, "%q is neither a number nor a percentage", shorten(x.v))
		}
		idle = idle && strings.Trim(x.v, "0%") == ""
	}
	if idle && u.Type == overrideScaling {
		f.fault(at+"maxSurge", "and maxUnavailable are both nothing, and no machine could ever be replaced")
	}
}

func checkPoolSize(f *findings, at string, k *palette.MachinePoolConfigEntity) {
	switch {
	case k.Size == nil:
		f.fault(at+"size", "is required: the number of machines")
	case k.IsControlPlane && !slices.Contains(controlPlaneSizes, *k.Size):
		f.fault(at+"size", "is %d; a control plane has 1, 3 or 5 machines", *k.Size)
	case *k.Size < 1 || *k.Size > maxPoolSize:
		f.fault(at+"size", "is %d; a pool has 1 to %d machines", *k.Size, maxPoolSize)
	}
	for _, b := range []struct {
		name  string
		bound *int32
	}{{"minSize", k.MinSize}, {"maxSize", k.MaxSize}} {
		if b.bound != nil && (*b.bound < 0 || *b.bound > maxPoolSize) {
			f.fault(at+b.name, "is %d; a pool has up to %d machines", *b.bound, maxPoolSize)
		}
	}
	if k.MinSize != nil && k.MaxSize != nil && *k.MaxSize != 0 && *k.MinSize > *k.MaxSize {
		f.fault(at+"minSize", "is %d, more than maxSize", *k.MinSize)
	}
}

func checkPoolCloud(f *findings, at string, c *palette.AzureMachinePoolCloudConfig) {
	if !sizePattern.MatchString(c.InstanceType) {
		f.fault(at+"instanceType", "%q is not a VM size, such as Standard_D4s_v5", shorten(c.InstanceType))
	}
	if len(c.AZs) > maxZones {
		f.fault(at+"azs", "has more than %d entries", maxZones)
		return
	}
	seen := map[string]bool{}
	for j, z := range c.AZs {
		zone := fmt.Sprintf("%sazs[%d]", at, j)
		switch {
		case !zonePattern.MatchString(z):
			f.fault(zone, "%q is not a zone, such as 1", shorten(z))
		case seen[z]:
			f.fault(zone, "zone %s is there twice", z)
		}
		seen[z] = true
	}
	d := c.OSDisk
	if d == nil {
		return
	}
	// Zero and absent are Palette's default.
	if g := d.DiskSizeGB; g != nil && *g != 0 && (*g < minDiskGB || *g > maxDiskGB) {
		f.fault(at+"osDisk.diskSizeGB", "is %d; an OS disk has %d to %d GB", *g, minDiskGB, maxDiskGB)
	}
	if d.ManagedDisk != nil && d.ManagedDisk.StorageAccountType != "" &&
		!slices.Contains(osDiskTypes, d.ManagedDisk.StorageAccountType) {
		f.fault(at+"osDisk.managedDisk.storageAccountType", "%q is no type of OS disk; they are %s",
			shorten(d.ManagedDisk.StorageAccountType), strings.Join(osDiskTypes, ", "))
	}
	if d.OSType != "" && d.OSType != "Linux" {
		f.fault(at+"osDisk.osType", "%q is not served; Linux is", shorten(d.OSType))
	}
}

// checkLabels checks labels of nodes. What a kubelet may not say of itself the
// engine puts on the Node when it has joined; only what the system says of a Node
// is refused.
func checkLabels(f *findings, path string, labels map[string]string) {
	checkQualifiedKeys(f, path, labels)
	for _, k := range sortedKeys(labels) {
		at := path + "." + shorten(k)
		if v := labels[k]; v != "" && (len(v) > maxLabelValue || !labelNamePattern.MatchString(v)) {
			f.fault(at, "%q is not a label's value of Kubernetes", shorten(v))
		}
		if systemLabel(k) {
			f.fault(at, "is a label that the system gives to nodes; choose another key")
		}
	}
}

// systemLabel reports whether kubelets, the cloud controller, kubeadm or the hub
// itself write a label of nodes, so that another value would be overwritten or
// mislead them (Kubernetes, "Well-Known Labels, Annotations and Taints").
func systemLabel(key string) bool {
	switch key {
	case "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "node.kubernetes.io/instance-type",
		"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master":
		return true
	}
	prefix, _, ok := strings.Cut(key, "/")
	return ok && slices.ContainsFunc([]string{
		"topology.kubernetes.io", "beta.kubernetes.io", "lazuli.io", // failure-domain.beta.kubernetes.io too
	}, func(domain string) bool { return underDomain(prefix, domain) })
}

func underDomain(s, domain string) bool { return s == domain || strings.HasSuffix(s, "."+domain) }

func checkQualifiedKeys(f *findings, path string, m map[string]string) {
	if len(m) > maxLabels {
		f.fault(path, "has more than %d entries", maxLabels)
		return
	}
	for _, k := range sortedKeys(m) {
		if !qualifiedName(k) {
			f.fault(path+"."+shorten(k), "is not a key of Kubernetes: an optional prefix and a slash, then a name of at most 63 characters")
		}
	}
}

func qualifiedName(k string) bool {
	prefix, name, ok := strings.Cut(k, "/")
	if !ok {
		return labelNamePattern.MatchString(k)
	}
	return len(prefix) <= maxLabelPrefix && labelPrefixPattern.MatchString(prefix) && labelNamePattern.MatchString(name)
}

var taintEffects = []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}

func checkTaints(f *findings, path string, taints []palette.Taint) {
	if len(taints) > maxTaints {
		f.fault(path, "has more than %d entries", maxTaints)
		return
	}
	seen := map[string]bool{}
	for j, t := range taints {
		at := fmt.Sprintf("%s[%d].", path, j)
		if !qualifiedName(t.Key) {
			f.fault(at+"key", "%q is not a taint's key of Kubernetes", shorten(t.Key))
		}
		if t.Value != "" && (len(t.Value) > maxLabelValue || !labelNamePattern.MatchString(t.Value)) {
			f.fault(at+"value", "%q is not a taint's value of Kubernetes", shorten(t.Value))
		}
		if !slices.Contains(taintEffects, t.Effect) {
			f.fault(at+"effect", "%q is none of %s", shorten(t.Effect), strings.Join(taintEffects, ", "))
		}
		if id := t.Key + ":" + t.Effect; seen[id] {
			f.fault(at+"key", "%s is there twice", shorten(id))
		} else {
			seen[id] = true
		}
	}
}
