// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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
	empties int                         // lists without anything that the product had without one between them
	over    bool                        // the record says that the cluster is gone
	drained map[string]bool             // machines that the product saw emptied
	forgot  map[string]bool             // machines whose Nodes the product deleted
	told    bool                        // the product heard what became of the Services of type LoadBalancer
	absent  map[string]bool             // ids that a read said are not there, since their last write
}

func newOracle(r *run) *oracle {
	return &oracle{run: r, drained: map[string]bool{}, forgot: map[string]bool{}, states: map[string]lazuli.NodeState{}, made: map[string]time.Time{}, dropped: map[string]bool{}, absent: map[string]bool{}}
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
	if resource.TypeOf(c.id) == resource.TypeVirtualMachine {
		o.placed(c)
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
	if resource.TypeOf(c.id) == resource.TypeVirtualMachine {
		o.emptied(c)
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
	all := 0
	for _, n := range r.plan.sizes {
		all += n
	}
	if machines != all {
		o.blame("%d machines, want %d", machines, all)
	}
	o.spread()
	o.insideRested()
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

// placed judges where a machine is about to be made.
func (o *oracle) placed(c *call) {
	r := o.run
	var vm struct {
		Zones      []string `json:"zones"`
		Properties struct {
			Set struct {
				ID string `json:"id"`
			} `json:"availabilitySet"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(c.body, &vm); err != nil {
		o.blame("%s: read it: %v", c, err)
	}
	m := r.machineOf(c.id)
	if m == nil {
		return
	}
	allowed := r.allowed(m.Pool)
	for _, z := range vm.Zones {
		if !slices.Contains(allowed, z) {
			o.blame("zones: %s: zone %s, and the user allows %v", c, z, allowed)
		}
	}
	if len(vm.Zones) == 0 && len(allowed) > 0 {
		o.blame("zones: %s: no zone, and there are %v", c, allowed)
	}
	if set := vm.Properties.Set.ID; set != "" {
		if state, _ := r.holds(set); state != "Succeeded" {
			o.blame("order: %s: its availability set is %q", c, state)
		}
		if vm, as := r.nodeOf(c.id), r.nodeOf(set); vm == nil || as == nil || !slices.Contains(vm.Deps, as.Name) {
			o.blame("order: %s: it does not wait for its availability set", c)
		}
	}
}

// allowed are the zones in which a pool's machines may be. A pool that the user
// adds takes after the workers.
func (r *run) allowed(pool string) []string {
	if pool == poolExtra {
		pool = poolWorkers
	}
	if z := r.plan.zones[pool]; z != nil {
		return z
	}
	return zonesOf(r.plan.location)
}

// machineOf is the record of the machine that a VM or its interface belongs to.
func (r *run) machineOf(id string) *lazuli.Machine {
	name := strings.TrimSuffix(resource.NameOf(id), "-nic")
	for _, m := range r.machineRecords() {
		if strings.EqualFold(m.Name, name) {
			return m
		}
	}
	return nil
}

// spread wants the machines of a pool in all zones that were open, evenly, where
// none was replaced or dismissed meanwhile.
func (o *oracle) spread() {
	r := o.run
	count := map[string]map[string]int{}
	for _, m := range r.machineRecords() {
		if m.Going() {
			return
		}
		if count[m.Pool] == nil {
			count[m.Pool] = map[string]int{}
			for _, z := range r.allowed(m.Pool) {
				count[m.Pool][z] = 0
			}
		}
		count[m.Pool][m.Zone]++
	}
	if len(r.weather.NoRoom) > 0 {
		return
	}
	for _, pool := range slices.Sorted(maps.Keys(count)) {
		per := slices.Collect(maps.Values(count[pool]))
		if slices.Max(per)-slices.Min(per) > 1 {
			o.blame("zones: pool %s is not spread evenly: %v", pool, count[pool])
		}
	}
}

// The product's own bounds of waiting.
const (
	drainTime    = 15 * time.Minute
	servicesTime = 3 * time.Minute
)

// emptied judges what must be done before a VM goes.
func (o *oracle) emptied(c *call) {
	r := o.run
	m := r.machineOf(c.id)
	if m == nil || r.weather.Met[FaultClock] > 0 {
		return
	}
	if !r.deleted && !m.LeavingAt.IsZero() && m.KubeVersion != "" && !o.drained[m.Name] && time.Since(m.LeavingAt) < drainTime {
		o.blame("drain: %s: its node was not drained", c)
	}
	cl := r.cluster()
	if r.deleted && cl.Delete != nil && !m.Going() && !cl.Status.RunningAt.IsZero() && !o.told && time.Since(cl.Delete.At) < servicesTime {
		o.blame("services: %s: what holds load balancers was not withdrawn first", c)
	}
}

// committed compares the machines before and after a commit. What was exhausted
// before it was known to the step.
func (o *oracle) committed(before []*lazuli.Machine, exhausted []lazuli.Exhausted) {
	was := map[string]*lazuli.Machine{}
	for _, m := range before {
		was[m.Name] = m
	}
	live := map[string]int{}
	var leaves, stays []*lazuli.Machine
	for _, m := range o.run.machineRecords() {
		old := was[m.Name]
		if old != nil && old.State != lazuli.MachineDeleted && m.State == lazuli.MachineDeleted && !o.run.deleted {
			o.forgotten(m)
		}
		switch {
		case !m.Going() && old == nil:
			live[m.Pool]++
			o.roomy(m, exhausted)
		case !m.Going():
			live[m.Pool]++
			stays = append(stays, m)
		case !m.LeavingAt.IsZero() && m.RetiredAt.IsZero() && old != nil && !old.Going():
			leaves = append(leaves, m)
		}
	}
	for _, m := range leaves {
		if live[m.Pool] < o.run.plan.sizes[m.Pool] {
			o.blame("wish: %s leaves, and the user wants %d machines in pool %s", m.Name, o.run.plan.sizes[m.Pool], m.Pool)
		}
		for _, s := range stays {
			if s.Pool == m.Pool && m.Ready && !s.Ready && s.KubeVersion == "" {
				o.blame("shrink: %s is ready and leaves, %s is not and stays", m.Name, s.Name)
			}
		}
	}
}

// forgotten wants the Node of a machine that is gone deleted, whether or not the
// cluster's own cloud controller has done it.
func (o *oracle) forgotten(m *lazuli.Machine) {
	if o.run.weather.Chance[FaultAPIServer] > 0 || o.run.weather.Met[FaultClock] > 0 {
		return // the product gives up after a while
	}
	if m.KubeVersion != "" && !o.forgot[m.Name] {
		o.blame("node: %s is on record as gone, and nobody deleted its Node", m.Name)
	}
}

// roomy wants no new machine in a zone that had no room a moment ago while
// another one is open.
func (o *oracle) roomy(m *lazuli.Machine, exhausted []lazuli.Exhausted) {
	full := func(zone string) bool {
		return slices.ContainsFunc(exhausted, func(e lazuli.Exhausted) bool {
			return e.Zone == zone && strings.EqualFold(e.Size, m.InstanceType) && e.Until.After(o.run.wall())
		})
	}
	zones := o.run.allowed(m.Pool)
	if m.Zone != "" && full(m.Zone) && slices.ContainsFunc(zones, func(z string) bool { return !full(z) }) {
		o.blame("zones: %s is planned in zone %s, which had no room a moment ago, and others are open", m.Name, m.Zone)
	}
}

// listed counts the lists without anything, as the product got them.
func (o *oracle) listed(resp *http.Response) {
	if resp.StatusCode != http.StatusOK {
		return
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(b))
	var list struct {
		Value []json.RawMessage `json:"value"`
	}
	if err != nil || json.Unmarshal(b, &list) != nil {
		return
	}
	if o.empties++; len(list.Value) > 0 {
		o.empties = 0
	}
}

// ended judges the record that says that a cluster is gone.
func (o *oracle) ended(c *lazuli.Cluster) {
	const lists = 2
	if c.Status.State == lazuli.StateDeleted && !o.over && o.empties < lists {
		o.blame("deleted: after %d lists without anything, want %d", o.empties, lists)
	}
	o.over = c.Status.State == lazuli.StateDeleted
}

// keys wants no key of a cluster that is gone.
func (o *oracle) keys() {
	err := o.run.store.Get(context.Background(), o.run.uid, &lazuli.Keys{})
	if lazuli.CodeOf(err) != lazuli.CodeNotFound {
		o.blame("keys: those of a deleted cluster are still in the store")
	}
}

// insideRested compares the deployed cluster with what is on record.
func (o *oracle) insideRested() {
	live := map[string]*lazuli.Machine{}
	var door string
	for _, m := range o.run.machineRecords() {
		if !m.Going() {
			live[m.Name] = m
			if m.ControlPlane {
				door = m.VMID
			}
		}
	}
	o.tokens(door, live)
	nodes, err := o.run.peek(door, "/api/v1/nodes")
	if err != nil {
		o.blame("look at the nodes: %v", err)
	}
	for _, n := range nodes {
		m := live[n.Metadata.Name]
		switch {
		case m == nil && o.run.weather.Chance[FaultAPIServer] == 0:
			o.blame("node: that of %s is still there, and the machine is gone", n.Metadata.Name)
		case m != nil && !m.ControlPlane:
			if _, ok := n.Metadata.Labels["node-role.kubernetes.io/worker"]; !ok {
				o.blame("marks: node %s is not marked as a worker", n.Metadata.Name)
			}
		}
	}
}

// tokens wants the bootstrap tokens of machines that joined withdrawn, where
// neither a kill nor a deaf API server kept the product from it: it asks once, and
// else a token expires by itself.
func (o *oracle) tokens(door string, live map[string]*lazuli.Machine) {
	r := o.run
	if r.kills > 0 || r.ghost != nil || r.weather.Chance[FaultAPIServer] > 0 {
		return
	}
	var keys lazuli.Keys
	var known lazuli.ClusterSecrets
	err := r.store.Get(context.Background(), r.uid, &keys)
	if err == nil {
		err = json.Unmarshal(keys.Sealed, &known) // plainSeal
	}
	if err != nil {
		o.blame("tokens: read the keys: %v", err)
	}
	secrets, err := r.peek(door, "/api/v1/namespaces/kube-system/secrets")
	if err != nil {
		o.blame("tokens: look at the secrets: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(live)) {
		id, _, _ := strings.Cut(known.Tokens[name], ".")
		if id != "" && slices.ContainsFunc(secrets, func(s kubeObject) bool { return s.Metadata.Name == "bootstrap-token-"+id }) {
			o.blame("tokens: that of %s, which has joined, is still in the cluster", name)
		}
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
