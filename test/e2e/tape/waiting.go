// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// await waits as the client did before it asked for a cluster again.
func (p *Player) await(where, path string) {
	uid := path[strings.LastIndexByte(path, '/')+1:]
	w, known := p.last[uid]
	if !known {
		return
	}
	until := func(what string, ok func() bool) {
		if !p.Await(ok) {
			p.report(where, w.operation, "the client waits in vain until "+what+": "+unsettled(p.read("/v1/spectroclusters/"+uid)))
		}
	}
	switch w.operation {
	case "v1SpectroClustersDelete":
		until("the cluster is Deleted", func() bool { return p.state(uid) == "Deleted" })
	case "v1SpectroClustersPatchProfiles":
		room := p.Model.roomy(uid)
		until("the profile is applied", func() bool { return applied(p.read("/v1/spectroclusters/"+uid), w.profile, room) })
	default:
		until("the cluster is Running", func() bool { return p.state(uid) == "Running" })
		p.ran[uid] = true
		if p.Model.networked(uid) { // nodes are never ready without
			until("the cluster is Healthy", func() bool {
				return text(p.read("/v1/dashboard/spectroclusters/"+uid+"/overview"), "status.health.state") == "Healthy"
			})
		}
	}
}

// applied reports whether a profile is in place as the client sees it: an
// add-on when nothing of the cluster is unsettled and each of the profile's
// packs is ready, a swapped profile when it can be applied. Where pods have no
// node to run on (all that were recorded are tainted), a right hub cannot say
// that a workload is available: then it has to be at work on each pack.
func applied(c any, profile string, room bool) bool {
	if can, is := at(c, "status.spcApply.canBeApplied").(bool); !is || !can {
		return false
	}
	if profile == "" {
		return true
	}
	if room && unsettled(c) != "" {
		return false
	}
	of := 0
	for _, pack := range items(c, "status.packs") {
		if text(pack, "profileUid") != profile {
			continue
		}
		of++
		if !settled(pack) && (room || text(pack, "startTime") == "") {
			return false
		}
	}
	return of > 0
}

func settled(pack any) bool {
	return text(pack, "condition.type") == "Ready" && text(pack, "condition.status") == "True"
}

// unsettled tells what of a cluster is not as it shall be.
func unsettled(c any) string {
	var out []string
	for _, cond := range items(c, "status.conditions") {
		if text(cond, "status") != "True" {
			out = append(out, text(cond, "type")+": "+text(cond, "message"))
		}
	}
	return strings.Join(out, "; ")
}

func (p *Player) state(uid string) string {
	return text(p.read("/v1/spectroclusters/"+uid), "status.state")
}

// read gets what is not part of the recording.
func (p *Player) read(path string) any {
	a, faults := p.exchange(http.MethodGet, path, map[string]string{}, nil)
	for _, f := range faults {
		p.report("while waiting", f.Operation, f.Message)
	}
	v, err := parse(a.Body)
	if err != nil || a.Status != http.StatusOK {
		return nil
	}
	return v
}

// Settle waits until each pool of the clusters that came up has the machines
// that were last asked for, which the client never waits for.
func (p *Player) Settle() {
	const operation = "v1CloudConfigsAzurePoolMachinesList"
	for _, uid := range slices.Sorted(maps.Keys(p.ran)) {
		config, pools := p.Model.poolsOf(uid)
		for _, name := range slices.Sorted(maps.Keys(pools)) {
			path := "/v1/cloudconfigs/azure/" + config + "/machinePools/" + name + "/machines"
			var got list
			if !p.Await(func() bool {
				got = items(p.read(path), "items")
				return len(got) == pools[name] && !slices.ContainsFunc(got, func(m any) bool { return text(m, "status.instanceState") != "Running" })
			}) {
				p.report("afterwards", operation, fmt.Sprintf("%s never has %d machines that run: %s", path, pools[name], show(got)))
			}
		}
	}
}

// Clean deletes what a session left, as the client would: what a cluster used
// can go the moment that the cluster reads Deleted.
func (p *Player) Clean() {
	clusters, profiles, accounts, projects := p.Model.Alive()
	for _, uid := range clusters {
		p.remove("/v1/spectroclusters/" + uid)
	}
	for _, uid := range clusters {
		if !p.Await(func() bool { return p.state(uid) == "Deleted" }) {
			p.report("afterwards", "v1SpectroClustersDelete", "the cluster is never Deleted")
		}
	}
	for path, uids := range map[string][]string{"/v1/clusterprofiles/": profiles, "/v1/cloudaccounts/azure/": accounts, "/v1/projects/": projects} {
		for _, uid := range uids {
			p.remove(path + uid)
		}
	}
	if macros := p.Model.macrosOf(p.Hub.Project); len(macros) > 0 {
		body, err := json.Marshal(object{"macros": macros})
		if err != nil {
			p.report("afterwards", "", err.Error())
		}
		p.exchange(http.MethodDelete, "/v1/projects/"+p.Hub.Project+"/macros", map[string]string{"Content-Type": "application/json"}, body)
	}
}

func (p *Player) remove(path string) {
	a, faults := p.exchange(http.MethodDelete, path, map[string]string{"Projectuid": p.Hub.Project}, nil)
	operation := p.Model.Operation(http.MethodDelete, path)
	if a.Status != http.StatusNoContent {
		p.report("afterwards", operation, fmt.Sprintf("DELETE %s: status %d: %s", path, a.Status, bytes.TrimSpace(a.Body)))
	}
	for _, f := range faults {
		p.report("afterwards", f.Operation, f.Message)
	}
}
