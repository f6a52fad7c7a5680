// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// without records a part of a request that is kept and does nothing, when it is
// there; what is what it would do.
func (f *findings) without(there bool, path, what string) {
	if there {
		f.warnings.Add(path, "is kept as sent and has no effect in this release: %s", what)
	}
}

// labelEffects tells which labels of a cluster do not become tags.
func labelEffects(f *findings, labels map[string]string) {
	for _, k := range sortedKeys(labels) {
		if !lazuli.AzureTag(k) {
			f.warnings.Add("metadata.labels."+shorten(k), `is a label of the cluster and no tag of its resources: a tag's name in Azure has none of < > %% & \ ? /`)
		}
	}
}

// checkEffects tells which parts of a cluster's wish have no effect. It is a
// function of the wish alone, so that it can be asked again after each change.
func checkEffects(f *findings, s *palette.AzureClusterSpec) {
	if c := s.CloudConfig; c != nil {
		const path = "spec.cloudConfig."
		f.without(c.StorageAccountName != "", path+"storageAccountName", "machines boot from images, and no copies of them are kept")
		f.without(c.ContainerName != "", path+"containerName", "machines boot from images, and no copies of them are kept")
		unmade(f, c)
		f.without(c.OverrideClusterAPIConfig != "", path+"overrideClusterAPIConfig", "there are no Cluster API resources to override")
	}
	f.without(s.ClusterTemplate != nil && s.ClusterTemplate.UID != "", "spec.clusterTemplate.uid", "templates do not change clusters yet")
	if p := s.Policies; p != nil {
		f.without(given(p.BackupPolicy), "spec.policies.backupPolicy", "no backups are made yet")
		f.without(given(p.ScanPolicy), "spec.policies.scanPolicy", "no scans are run yet")
	}
	clusterEffects(f, s.ClusterConfig)
	for i := range s.MachinePoolConfig {
		if p := s.MachinePoolConfig[i].PoolConfig; p != nil {
			poolEffects(f, fmt.Sprintf("spec.machinepoolconfig[%d].poolConfig.", i), p)
		}
	}
}

// unmade tells what keeps the engine from making anything of a cluster (see
// lazuli.ClusterSpec.Unmade, whose words these follow).
func unmade(f *findings, c *palette.AzureClusterConfig) {
	const path, until = "spec.cloudConfig.", "is not served by this release: the cluster stays Pending, and nothing is made in Azure"
	if c.VNetName != "" {
		f.warnings.Add(path+"vnetName", "names a network that exists already; static placement %s", until)
	}
	if p := c.APIServerAccessProfile; p != nil {
		f.without(p.PrivateDNSZone != "" && !c.Private(), path+"apiServerAccessProfile.privateDNSZone", "the API server is public")
	}
	if c.Private() {
		f.warnings.Add(path+"infraLBConfig", "wants a private API server, which %s", until)
	}
}

func clusterEffects(f *findings, c *palette.ClusterConfigEntity) {
	if c == nil {
		return
	}
	const path = "spec.clusterConfig."
	f.without(c.HostClusterConfig != nil && c.HostClusterConfig.IsHostCluster, path+"hostClusterConfig", "virtual clusters are not hosted yet")
	f.without(given(c.HyperShiftConfig), path+"hyperShiftConfig", "control planes run on machines of their own")
	f.without(c.LifecycleConfig != nil && c.LifecycleConfig.Pause, path+"lifecycleConfig.pause", "clusters are not paused yet")
	f.without(c.ControlPlaneHealthCheckTimeout != "", path+"controlPlaneHealthCheckTimeout", "unhealthy control planes are not replaced yet")
	f.without(c.Timezone != "", path+"timezone", "nothing runs on a schedule yet")
	f.without(c.UpdateWorkerPoolsInParallel, path+"updateWorkerPoolsInParallel", "machines are not replaced yet")
	if m := c.MachineManagementConfig; m != nil && m.OSPatchConfig != nil {
		p := m.OSPatchConfig
		f.without(p.PatchOnBoot || p.RebootIfRequired || p.Schedule != "" || !p.OnDemandPatchAfter.IsZero(),
			path+"machineManagementConfig.osPatchConfig", "machines are not patched yet")
	}
	if r := c.Resources; r != nil {
		for i, raw := range r.Namespaces {
			var n palette.NamespaceEntity
			if json.Unmarshal(raw, &n) == nil && n.Spec != nil && n.Spec.IsRegex {
				f.without(true, fmt.Sprintf("%sresources.namespaces[%d]", path, i), "namespaces that exist are not looked for by a pattern")
			}
		}
	}
}

func poolEffects(f *findings, at string, p *palette.MachinePoolConfigEntity) {
	f.without(p.OverrideClusterAPIConfig != "", at+"overrideClusterAPIConfig", "there are no Cluster API resources to override")
	f.without(p.OverrideKubeadmConfiguration != "", at+"overrideKubeadmConfiguration", "the configuration of kubeadm comes from the profile")
	f.without(p.OverrideHealthCheckConfiguration != "", at+"overrideHealthCheckConfiguration", "unhealthy machines are not replaced yet")
	scales := func(n *int32) bool { return n != nil && *n != 0 && (p.Size == nil || *n != *p.Size) }
	f.without(scales(p.MinSize), at+"minSize", "pools do not scale by themselves yet")
	f.without(scales(p.MaxSize), at+"maxSize", "pools do not scale by themselves yet")
	f.without(p.NodeRepaveInterval > 0, at+"nodeRepaveInterval", "machines are not replaced yet")
	f.without(p.SkipK8sUpgrade == "enabled", at+"skipK8sUpgrade", "machines are not upgraded yet")
	f.without(p.UpdateStrategy != nil && p.UpdateStrategy.Type == overrideScaling, at+"updateStrategy", "machines are not replaced yet")
}

func checkLocation(f *findings, path string, raw json.RawMessage) {
	if given(raw) && strings.TrimSpace(string(raw))[0] != '{' {
		f.fault(path, "is not an object")
	}
}

func checkDuration(f *findings, path, s string) {
	if d, err := time.ParseDuration(s); err != nil || d < 0 {
		f.fault(path, "%q is not a duration such as 10m", shorten(s))
	}
}

// zoneName is the form of the names of the time zone database.
var zoneName = regexp.MustCompile(`^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$`)

func checkTimezone(f *findings, path, s string) {
	if s != "" && (len(s) > maxLabelValue || !zoneName.MatchString(s)) {
		f.fault(path, "%q is not the name of a time zone such as Europe/Berlin", shorten(s))
	}
}

// cronField is one of the five fields of a schedule.
var cronField = regexp.MustCompile(`^[0-9A-Za-z*/,?#L-]+$`)

const cronFields = 5

func checkSchedule(f *findings, path, s string) {
	if s == "" || strings.HasPrefix(s, "@") && len(s) < maxLabelValue {
		return
	}
	fields := strings.Fields(s)
	good := len(fields) == cronFields
	for _, x := range fields {
		good = good && len(x) < maxLabelValue && cronField.MatchString(x)
	}
	if !good {
		f.fault(path, "%q is not a schedule of five fields such as \"0 3 * * 0\"", shorten(s))
	}
}

const (
	maxNamespaces = 500
	maxBindings   = 500
)

var namespacePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// checkNamespaces checks the namespaces that a cluster shall have.
func checkNamespaces(f *findings, path string, raws []json.RawMessage) {
	if len(raws) > maxNamespaces {
		f.fault(path, "has more than %d entries", maxNamespaces)
		return
	}
	seen := map[string]bool{}
	for i, raw := range raws {
		at := fmt.Sprintf("%s[%d]", path, i)
		var n palette.NamespaceEntity
		if err := json.Unmarshal(raw, &n); err != nil {
			f.fault(at, "is not a namespace")
			continue
		}
		name := ""
		if n.Metadata != nil {
			name = n.Metadata.Name
		}
		regex := n.Spec != nil && n.Spec.IsRegex
		switch {
		case name == "":
			f.fault(at+".metadata.name", "is required")
		case seen[name]:
			f.fault(at+".metadata.name", "%q is there twice", shorten(name))
		case !regex && !namespacePattern.MatchString(name):
			f.fault(at+".metadata.name", "%q is not the name of a namespace", shorten(name))
		}
		if _, err := regexp.Compile(strings.Trim(name, "/")); regex && err != nil {
			f.fault(at+".metadata.name", "is not a regular expression (RE2)")
		}
		seen[name] = true
		if n.Spec != nil && n.Spec.ResourceAllocation != nil {
			if a := n.Spec.ResourceAllocation; a.CPUCores < 0 || a.MemoryMiB < 0 {
				f.fault(at+".spec.resourceAllocation", "is negative")
			}
		}
	}
}

var (
	bindingTypes = []string{palette.BindingNamespaced, palette.BindingCluster}
	subjectTypes = []string{"User", "Group", "ServiceAccount"}
	roleKinds    = []string{"Role", "ClusterRole"}
)

// checkRBACs checks the role bindings that a cluster shall have.
func checkRBACs(f *findings, path string, raws []json.RawMessage) {
	if len(raws) > maxBindings {
		f.fault(path, "has more than %d entries", maxBindings)
		return
	}
	for i, raw := range raws {
		at := fmt.Sprintf("%s[%d]", path, i)
		var r palette.RBACEntity
		if err := json.Unmarshal(raw, &r); err != nil {
			f.fault(at, "is not a set of role bindings")
			continue
		}
		if r.Spec == nil {
			continue
		}
		if len(r.Spec.Bindings) > maxBindings {
			f.fault(at+".spec.bindings", "has more than %d entries", maxBindings)
			continue
		}
		for j := range r.Spec.Bindings {
			checkBinding(f, fmt.Sprintf("%s.spec.bindings[%d].", at, j), &r.Spec.Bindings[j])
		}
	}
}

func checkBinding(f *findings, at string, b *palette.RBACBinding) {
	choice(f, at+"type", b.Type, bindingTypes)
	if b.Type == palette.BindingNamespaced && !namespacePattern.MatchString(b.Namespace) {
		f.fault(at+"namespace", "%q is not the name of a namespace", shorten(b.Namespace))
	}
	if b.Role == nil || b.Role.Name == "" {
		f.fault(at+"role.name", "is required")
		return
	}
	choice(f, at+"role.kind", b.Role.Kind, roleKinds)
	if b.Type == palette.BindingCluster && b.Role.Kind == "Role" {
		f.fault(at+"role.kind", "is Role, and a ClusterRoleBinding binds a ClusterRole")
	}
	for k, s := range b.Subjects {
		subject := fmt.Sprintf("%ssubjects[%d].", at, k)
		choice(f, subject+"type", s.Type, subjectTypes)
		checkText(&f.faults, subject+"name", s.Name, maxTextLength)
		if s.Name == "" {
			f.fault(subject+"name", "is required")
		}
		if s.Type == "ServiceAccount" && !namespacePattern.MatchString(s.Namespace) {
			f.fault(subject+"namespace", "%q is not the name of a namespace", shorten(s.Namespace))
		}
	}
}

func choice(f *findings, path, v string, known []string) {
	if !slices.Contains(known, v) {
		f.fault(path, "%q is none of %s", shorten(v), strings.Join(known, ", "))
	}
}
