// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// oracle judges calls while they are made and Azure when all is over.
type oracle struct {
	run    *run
	faults []string // what must not have happened

	made    map[string]time.Time        // last accepted write of an id
	states  map[string]lazuli.NodeState // of nodes by uid, as last committed
	dropped map[string]bool             // ids whose deletion was asked for
	absent  map[string]bool             // ids that a read said are not there, since their last write
}

func newOracle(r *run) *oracle {
	return &oracle{run: r, states: map[string]lazuli.NodeState{}, made: map[string]time.Time{}, dropped: map[string]bool{}, absent: map[string]bool{}}
}

const mostFaults = 20

func (o *oracle) blame(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	o.run.trace.note("BLAME %s", text)
	if len(o.faults) < mostFaults {
		o.faults = append(o.faults, text)
	}
}

// before judges a call that leaves the process.
func (o *oracle) before(w *wire, c *call) {
	if until := w.closed[c.bucket]; time.Now().Before(until) {
		o.blame("%s: %s before the time that Azure asked for", c, time.Until(until))
	}
	if w.p.zombie && c.method != http.MethodGet {
		o.blame("%s: a process without the lease writes", c)
	}
	switch c.method {
	case http.MethodPut:
		o.beforePut(c)
	case http.MethodDelete:
		o.beforeDelete(c)
	}
}

func (o *oracle) beforePut(c *call) {
	r := o.run
	n := r.nodeOf(c.id)
	if n == nil {
		o.blame("%s: no record names it", c)
		return
	}
	if n.IntentAt.IsZero() || n.State == lazuli.NodeWaiting || n.State == lazuli.NodeGone {
		o.blame("%s: the record does not say that it is intended (%s)", c, n.State)
	}
	if o.dropped[c.id] && once(c.id) {
		o.blame("%s: the name was used before", c)
	}
	if state, there := r.holds(c.id); there && state == "Succeeded" && !o.absent[c.id] {
		o.blame("%s: written twice", c)
	}
	if r.deleted && !r.late {
		o.blame("%s: the user wants the cluster gone", c)
	}
	if label := labelOf(c.body); label != "" && label != r.cluster().Status.DNSLabel {
		o.blame("%s: the DNS label %s is not on record", c, label)
	}
}

// once reports whether names of a type are never used again.
func once(id string) bool {
	t := resource.TypeOf(id)
	return t == resource.TypeVirtualMachine || t == resource.TypeNetworkInterface || t == resource.TypeDisk
}

func labelOf(body []byte) string {
	var b struct {
		Properties struct {
			DNS struct {
				Label string `json:"domainNameLabel"`
			} `json:"dnsSettings"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return ""
	}
	return b.Properties.DNS.Label
}

func (o *oracle) beforeDelete(c *call) {
	r := o.run
	if !r.deleted && !o.dropped[c.id] && (!once(c.id) || !r.failed(c.id) && !r.dismissed(c.id)) {
		o.blame("%s: nobody asked for a deletion", c)
	}
	if strings.EqualFold(c.id, r.foreign) || c.id == "" {
		o.blame("%s: it is not ours", c)
	}
	if n := r.nodeOf(c.id); n == nil {
		o.blame("%s: no record names it", c)
	}
}

// reaches notes that a call gets to Azure, whatever becomes of its answer.
func (o *oracle) reaches(c *call) {
	switch c.method {
	case http.MethodDelete:
		o.dropped[c.id] = true
	case http.MethodPut:
		delete(o.absent, c.id)
	}
}

func (o *oracle) after(c *call, resp *http.Response) {
	switch {
	case c.method == http.MethodPut && resp.StatusCode < http.StatusBadRequest:
		o.made[c.id] = time.Now()
	case c.method == http.MethodDelete && resp.StatusCode == http.StatusConflict:
		if strings.Contains(strings.ToLower(c.id), "/microsoft.network/") {
			o.run.conflicts++
		}
	case c.method == http.MethodGet && resp.StatusCode == http.StatusNotFound:
		o.absent[c.id] = true
	}
}

// young reports whether a resource was written so short a time ago that reads
// may not know it.
func (o *oracle) young(id string) bool {
	at, ok := o.made[id]
	const lag = 20 * time.Second
	return ok && time.Since(at) < lag
}

// done wants what is on record as made to be made.
func (o *oracle) done(n *lazuli.Node) {
	was := o.states[n.UID]
	o.states[n.UID] = n.State
	if n.State != lazuli.NodeDone || was == n.State || n.AzureID == "" || o.run.deleted {
		return
	}
	if state, _ := o.run.holds(n.AzureID); state != "Succeeded" {
		if resource.TypeOf(n.AzureID) == resource.TypeVirtualMachine && state != "" && state != "Failed" {
			return // its node has joined: that is all that is asked of it
		}
		o.blame("%s is on record as made, and Azure says %q", n.Name, state)
	}
}

func (o *oracle) toldAbsent(id string) { o.absent[id] = true }

// inventory compares what Azure holds with what is on record.
func (o *oracle) inventory() {
	r := o.run
	want := map[string]bool{}
	machines := 0
	for _, n := range r.nodes() {
		if n.AzureID != "" && n.State != lazuli.NodeGone {
			want[strings.ToLower(n.AzureID)] = true
		}
	}
	for _, m := range r.machineRecords() {
		if !m.RetiredAt.IsZero() {
			continue
		}
		machines++
		if !m.Ready {
			o.blame("machine %s is not ready: %s", m.Name, m.Message)
		}
		disks := []string{"-os"}
		if m.EtcdDisk {
			disks = append(disks, "-etcd")
		}
		for _, d := range disks {
			want[strings.ToLower(resource.ID(subscription, group, resource.TypeDisk, m.Name+d))] = true
		}
	}
	if machines != r.plan.controlPlanes+r.plan.workers {
		o.blame("%d machines, want %d", machines, r.plan.controlPlanes+r.plan.workers)
	}
	for _, id := range r.extra {
		want[strings.ToLower(id)] = true
	}
	have := r.left()
	for _, id := range have {
		if !want[strings.ToLower(id)] {
			o.blame("orphan in Azure: %s", id)
		}
		delete(want, strings.ToLower(id))
	}
	for _, id := range sorted(want) {
		o.blame("on record and not in Azure: %s", id)
	}
}

// empty wants nothing left but what is not ours.
func (o *oracle) empty() {
	for _, id := range o.run.left() {
		o.blame("left in Azure: %s", id)
	}
	if _, there := o.run.holds(o.run.foreign); !there {
		o.blame("the resource of somebody else is gone")
	}
	if _, there := o.run.holds("/subscriptions/" + subscription + "/resourceGroups/" + group); !there {
		o.blame("the resource group is gone")
	}
}

func sorted(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
