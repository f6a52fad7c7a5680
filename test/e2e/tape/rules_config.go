// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"maps"
	"slices"
)

// configRules are of cloud configs, their pools and machines. The client's
// fields have no defaults of the server's, so that anything that is filled in
// is a difference to it.
func configRules() map[string]rule {
	return map[string]rule{
		"v1CloudConfigsAzureGet": {read: func(l *look) { l.cloudConfig() }},
		"v1CloudConfigsAzureUidClusterConfig": {written: func(l *look) {
			if c := l.ofConfig(); c != nil {
				c.config = at(l.sent, "clusterConfig")
			}
		}},
		"v1CloudConfigsAzureMachinePoolCreate": {written: func(l *look) {
			if c := l.ofConfig(); c != nil {
				p := poolOf(l.sent)
				if named(c.pools, "name", text(p, "name")) == nil { // else the request is a repeated one
					c.pools = append(c.pools, p)
				}
			}
		}},
		"v1CloudConfigsAzureMachinePoolUpdate": {written: func(l *look) {
			if c := l.ofConfig(); c != nil {
				for i, p := range c.pools {
					if text(p, "name") == l.vars["machinePoolName"] {
						c.pools[i] = poolOf(l.sent)
					}
				}
			}
		}},
		"v1CloudConfigsAzureMachinePoolDelete": {written: func(l *look) {
			if c := l.ofConfig(); c != nil {
				c.pools = slices.DeleteFunc(c.pools, func(p any) bool { return text(p, "name") == l.vars["machinePoolName"] })
			}
		}},
		"v1CloudConfigsAzurePoolMachinesList": {read: func(l *look) {
			l.need("items", "listmeta")
			for _, m := range items(l.got, "items") {
				l.needIn("items[]", m, "metadata.uid", "metadata.name", "spec", "status", "status.maintenanceStatus")
			}
		}},
		"v1CloudConfigsAzurePoolMachinesUidGet": {read: func(l *look) {
			l.need("metadata.uid", "metadata.name", "spec", "status", "status.maintenanceStatus")
		}},
	}
}

// ofConfig is the cluster of the cloud config that a request is about.
func (l *look) ofConfig() *cluster {
	uid, linked := l.configs[l.vars["configUid"]]
	if !linked {
		l.configs[l.vars["configUid"]] = "" // what was written is not known of its cluster
	}
	return l.clusters[uid]
}

// link pairs a cloud config with its cluster.
func (l *look) link(config, uid string) {
	if was, met := l.configs[config]; met && was == "" && l.clusters[uid] != nil {
		l.clusters[uid].poolsLost = true
	}
	l.configs[config] = uid
}

// poolOf is a pool as it must read after it was written: the two halves of the
// request in one object.
func poolOf(sent any) any {
	out := without(at(sent, "poolConfig"), "skipK8sUpgrade")
	maps.Copy(out, without(at(sent, "cloudConfig")))
	out["osType"] = at(sent, "cloudConfig.osDisk.osType")
	return copied(out)
}

func (l *look) cloudConfig() {
	l.need("spec.cloudAccountRef.uid", "spec.clusterConfig", "spec.machinePoolConfig")
	l.want(l.got, "kind", "azure")
	l.want(l.got, "metadata.uid", l.vars["configUid"])
	for _, p := range items(l.got, "spec.machinePoolConfig") {
		l.needIn("spec.machinePoolConfig[]", p, "name", "size", "isControlPlane", "osType", "osDisk.managedDisk")
	}
	c := l.ofConfig()
	if c == nil || c.poolsLost {
		return
	}
	l.want(l.got, "spec.cloudAccountRef.uid", c.account)
	l.differences(echo{}.compare("spec.clusterConfig", c.config, at(l.got, "spec.clusterConfig")))
	const pools = "spec.machinePoolConfig"
	e := echo{exact: []string{"azs"}, computed: []string{pools + "[].instanceConfig"}}
	l.differences(e.compare(pools, c.pools, at(l.got, pools)))
}
