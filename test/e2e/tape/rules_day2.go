// SPDX-License-Identifier: Apache-2.0

package tape

import "maps"

// dayTwoRules are of what is set on a cluster that runs.
func dayTwoRules() map[string]rule {
	out := map[string]rule{
		"v1SpectroClustersUidConfigNamespacesGet": {read: func(l *look) { l.namespaces() }},
		"v1SpectroClustersUidConfigNamespacesUpdate": {written: func(l *look) {
			l.change(func(c *cluster) { c.namespaces = items(l.sent, "namespaces") })
		}},
		"v1SpectroClustersUidConfigRbacsGet": {read: func(l *look) { l.rbacs() }},
		"v1SpectroClustersUidConfigRbacsUpdate": {written: func(l *look) {
			l.change(func(c *cluster) { c.rbacs = items(l.sent, "rbacs") })
		}},
		"v1ClusterFeatureBackupGet":         {read: func(l *look) { l.backup() }},
		"v1ClusterFeatureComplianceScanGet": {read: func(l *look) { l.scan() }},
		"v1SpectroClustersUidUpgradeSettings": {written: func(l *look) {
			l.change(func(c *cluster) { c.locked = text(l.sent, "spectroComponents") == "lock" })
		}},
		"v1SpectroClustersUidOsPatchUpdate": {written: func(l *look) {
			l.change(func(c *cluster) { c.clusterConfig["machineManagementConfig"] = l.sent })
		}},
		// What it changes, the certificates, is behind another read.
		"v1SpectroClustersCertificatesRenew": {written: func(*look) {}},
	}
	setBackup := rule{written: func(l *look) { l.change(func(c *cluster) { c.backup = l.sent }) }}
	setScan := rule{written: func(l *look) { l.change(func(c *cluster) { c.scan = l.sent }) }}
	setMember := rule{written: func(l *look) {
		l.change(func(c *cluster) { maps.Copy(c.clusterConfig, without(l.sent)) })
	}}
	maps.Copy(out, map[string]rule{
		"v1ClusterFeatureBackupCreate": setBackup, "v1ClusterFeatureBackupUpdate": setBackup,
		"v1ClusterFeatureComplianceScanCreate": setScan, "v1ClusterFeatureComplianceScanUpdate": setScan,
		"v1SpectroClustersUidClusterMetaAttributeUpdate": setMember, "v1SpectroClustersUidTimezoneUpdate": setMember,
		"V1HostClusterConfigUpdate": setMember, "v1SpectroClustersUidLifecycleConfigUpdate": setMember,
		"V1ControlPlaneHealthCheckTimeoutUpdate": setMember,
	})
	return out
}

func (l *look) change(f func(*cluster)) {
	if c := l.clusters[l.vars["uid"]]; c != nil {
		f(c)
	}
}

func (l *look) namespaces() {
	l.need("items")
	got := items(l.got, "items")
	for _, n := range got {
		l.needIn("items[]", n, "metadata.name", "spec.resourceAllocation")
	}
	c := l.clusters[l.vars["uid"]]
	if c == nil {
		return
	}
	if len(got) != len(c.namespaces) {
		l.fault("%d namespaces, written were %d", len(got), len(c.namespaces))
		return
	}
	for i, n := range c.namespaces {
		l.want(got[i], "metadata.name", at(n, "metadata.name"))
		e := echo{computed: []string{"items[].spec.relatedObject"}}
		l.differences(e.compare("items[].spec", at(n, "spec"), at(got[i], "spec")))
	}
}

func (l *look) rbacs() {
	l.need("items")
	got := items(l.got, "items")
	for _, r := range got {
		l.needIn("items[]", r, "spec")
		for _, b := range items(r, "spec.bindings") {
			l.needIn("items[].spec.bindings[]", b, "role")
		}
	}
	c := l.clusters[l.vars["uid"]]
	if c == nil {
		return
	}
	if len(got) != len(c.rbacs) {
		l.fault("%d role bindings, written were %d", len(got), len(c.rbacs))
		return
	}
	for i, r := range c.rbacs {
		e := echo{computed: []string{"items[].spec.relatedObject"}}
		l.differences(e.compare("items[].spec", at(r, "spec"), at(got[i], "spec")))
	}
}

func (l *look) backup() {
	l.need("spec")
	if at(l.got, "spec.config") != nil {
		l.need("spec.config.schedule")
	}
	c := l.clusters[l.vars["uid"]]
	if c == nil || c.backup == nil {
		return
	}
	const path = "spec.config"
	e := echo{computed: []string{path + ".backupName", path + ".backupLocationName", path + ".locationType"}}
	l.differences(e.compare(path, c.backup, at(l.got, path)))
}

func (l *look) scan() {
	l.need("spec")
	drivers, _ := at(l.got, "spec.driverSpec").(object)
	for _, d := range []struct{ sent, got string }{{"kubeBench", "kube-bench"}, {"kubeHunter", "kube-hunter"}, {"sonobuoy", "sonobuoy"}} {
		got, there := drivers[d.got]
		if there && at(got, "config.schedule") == nil {
			l.fault("spec.driverSpec.%s.config.schedule is absent", d.got)
		}
		c := l.clusters[l.vars["uid"]]
		if c == nil || c.scan == nil {
			continue
		}
		was, is := text(c.scan, d.sent+".schedule.scheduledRunTime"), text(got, "config.schedule.scheduledRunTime")
		if was != is {
			l.fault("the schedule of %s is %q, written was %q", d.got, is, was)
		}
	}
}
