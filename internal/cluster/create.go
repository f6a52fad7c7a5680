// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/graph"
)

// create decides the next acts towards a running cluster. It is the same
// decision for a new cluster, one that is half made, and one that runs.
func (s *step) create() error {
	if s.resting() {
		s.lookNowAndThen()
		return nil
	}
	if why := s.Spec.Unmade(); why != "" {
		s.hold(why)
		return nil
	}
	if err := s.settings(); err != nil {
		return err
	}
	if err := s.name(); err != nil {
		return err
	}
	if err := s.ensureNode(graph.Node[task]{Name: nodePlacement, Title: "Placement of the machines"}); err != nil {
		return err
	}
	if s.Nodes[nodePlacement].State != lazuli.NodeDone {
		if s.ready(nodePlacement) {
			s.start(nodePlacement)
			s.want(Intent{Act: ActSizes, Node: nodePlacement})
		}
		s.status(nil)
		return nil
	}
	if err := s.keepMade(); err != nil {
		return err
	}
	if err := s.fit(); err != nil {
		return err
	}
	s.freshTokens()
	g, err := s.design()
	if err != nil {
		s.fault(nodePlacement, err)
		s.at(s.Nodes[nodePlacement].NextTry)
		s.status(nil)
		return nil
	}
	for _, n := range g.Nodes() {
		if err := s.ensureNode(n); err != nil {
			return err
		}
	}
	for _, n := range g.Nodes() {
		if err := s.advance(n); err != nil {
			return err
		}
	}
	if err := s.prune(g); err != nil {
		return err
	}
	if err := s.maintain(); err != nil {
		return err
	}
	s.sweep()
	s.watch(g)
	s.notices()
	s.status(g)
	return s.failed
}

// hold leaves a cluster as it is, and says why.
func (s *step) hold(why string) {
	if st := &s.Cluster.Status; st.Message != why {
		st.Message = why
		s.dirtyCluster = true
	}
}

// resting reports whether a cluster is what it was last asked to be, so that
// nothing need be drawn up to see that there is nothing to do.
func (w *World) resting() bool {
	st := w.Cluster.Status
	if st.State != lazuli.StateRunning || st.Settled != w.wish() || len(w.retired()) > 0 {
		return false
	}
	for _, p := range st.Packs {
		if !p.Ready {
			return false
		}
	}
	return true
}

// settleDown notes that everything asked for is there.
func (s *step) settleDown() {
	if wish := s.wish(); s.Cluster.Status.Settled != wish {
		s.Cluster.Status.Settled = wish
		s.dirtyCluster = true
	}
}

// unsettle notes that something is under way. Else a user who takes a change back
// in the middle of it would have a cluster at rest that is half changed: what was
// fulfilled once is what is asked for now.
func (s *step) unsettle() {
	if s.Cluster.Status.Settled != "" {
		s.Cluster.Status.Settled = ""
		s.dirtyCluster = true
	}
}

func (s *step) lookNowAndThen() {
	if due := s.probed.Add(s.HealthInterval); due.After(s.now) {
		s.at(due)
		return
	}
	s.want(Intent{Act: ActNodes, Node: subjectNodes})
	s.at(s.now.Add(s.HealthInterval))
}

// ensureNode makes the record of a node, so that users see what is to come.
func (s *step) ensureNode(n graph.Node[task]) error {
	if rec, ok := s.Nodes[n.Name]; ok {
		if !slices.Equal(rec.Deps, n.Deps) {
			s.change(n.Name).Deps = n.Deps // another machine took one's place
		}
		return nil
	}
	uid, err := lazuli.NewUID(s.now, s.random)
	if err != nil {
		return fmt.Errorf("draw a task's uid: %w", err)
	}
	s.Nodes[n.Name] = &lazuli.Node{
		Meta:       lazuli.Meta{UID: uid, Name: n.Name, Project: s.Cluster.Project},
		ClusterUID: s.Cluster.UID,
		Title:      n.Title,
		Deps:       n.Deps,
		AzureID:    n.Payload.azureID,
		State:      lazuli.NodeWaiting,
	}
	s.dirtyNodes[n.Name] = true
	return nil
}

// ready reports whether a node may be tried now, and else sees to it that it is
// looked at again in time.
func (s *step) ready(name string) bool {
	n := s.Nodes[name]
	if s.busy(name) {
		return false
	}
	if s.later(n.NextTry) {
		s.at(n.NextTry)
		return false
	}
	return true
}

// asked reports whether an act is under way or about to be, whatever about.
func (s *step) asked(act Act) bool {
	for key := range s.inFlight {
		if strings.HasPrefix(key, string(act)+" ") {
			return true
		}
	}
	return slices.ContainsFunc(s.intents, func(in Intent) bool { return in.Act == act })
}

// satisfied reports whether those that wait for a node may go on.
func (s *step) satisfied(name string) bool {
	n := s.Nodes[name]
	if n == nil {
		return false
	}
	if n.State == lazuli.NodeDone {
		return true
	}
	return n.State == lazuli.NodeWorking && strings.HasPrefix(name, prefixVM)
}

func (s *step) unlocked(n graph.Node[task]) bool {
	return !slices.ContainsFunc(n.Deps, func(d string) bool { return !s.satisfied(d) })
}

// advance decides the next act of one node.
func (s *step) advance(n graph.Node[task]) error {
	rec := s.Nodes[n.Name]
	s.renew(n, rec)
	if rec.State == lazuli.NodeDone || !s.unlocked(n) {
		return nil
	}
	switch {
	case n.Payload.spec != nil:
		return s.advanceResource(n, rec)
	case n.Payload.release != nil:
		if s.ready(n.Name) {
			s.start(n.Name).Hash = n.Payload.release.hash()
			s.want(Intent{Act: ActApply, Node: n.Name, Release: *n.Payload.release})
		}
	case n.Name == nodeKeys:
		if s.ready(n.Name) {
			s.start(n.Name)
			s.want(Intent{Act: ActMakeKeys, Node: n.Name, Joiners: s.joiners()})
		}
	case n.Name == nodeKubeconfig:
		if s.ready(n.Name) {
			s.start(n.Name)
			s.want(s.kubeconfig())
		}
	case strings.HasPrefix(n.Name, prefixToken):
		// One at a time: each adds to the same sealed record.
		if s.ready(n.Name) && !s.asked(ActMakeToken) {
			s.start(n.Name)
			s.want(Intent{Act: ActMakeToken, Node: n.Name, Joiners: []string{strings.TrimPrefix(n.Name, prefixToken)}})
		}
	case n.Name == nodeAPIServer:
		s.advanceAPIServer()
	default: // a machine's node: ActNodes tells, see watch
		if rec.State == lazuli.NodeWaiting {
			s.start(n.Name)
		}
	}
	return nil
}

// advanceResource writes a resource, or finds out what became of a write.
func (s *step) advanceResource(n graph.Node[task], rec *lazuli.Node) error {
	if s.busy(n.Name) {
		return nil
	}
	switch rec.State {
	case lazuli.NodeWaiting:
		return s.put(n)
	case lazuli.NodeIntended, lazuli.NodeFailed:
		if !s.ready(n.Name) {
			return nil
		}
		if s.absent[n.Name] {
			delete(s.absent, n.Name)
			return s.put(n)
		}
		if mutated("putBlind") {
			return s.put(n)
		}
		// A write may have reached Azure though its answer did not reach us.
		s.want(Intent{Act: ActGet, Node: n.Name, AzureID: rec.AzureID})
	case lazuli.NodeWorking:
		s.poll(rec)
	case lazuli.NodeDone, lazuli.NodeDeleting, lazuli.NodeGone:
	}
	return nil
}

func (s *step) poll(rec *lazuli.Node) {
	op := rec.Operation
	switch {
	case mutated("forgetPoll"):
	case op == nil:
		s.want(Intent{Act: ActGet, Node: rec.Name, AzureID: rec.AzureID})
	case s.later(op.NextPoll):
		s.at(op.NextPoll)
	case op.PollURL == "":
		s.want(Intent{Act: ActGet, Node: rec.Name, AzureID: rec.AzureID})
	default:
		s.want(Intent{Act: ActPoll, Node: rec.Name, AzureID: rec.AzureID, PollURL: op.PollURL})
	}
}

// put records the intent of a write and names it.
func (s *step) put(n graph.Node[task]) error {
	spec := n.Payload.spec()
	if vm, ok := spec.(resource.VirtualMachine); ok {
		data, err := s.userData(n.Payload.machine)
		if err != nil {
			s.fault(n.Name, err)
			s.at(s.Nodes[n.Name].NextTry)
			return nil
		}
		vm.UserData = data
		spec = vm
		s.bootMarks(n.Payload.machine)
	}
	rec := s.start(n.Name)
	rec.Hash = resource.Hash(spec)
	st := &s.Cluster.Status
	if st.State == lazuli.StatePending {
		st.State, st.StartedAt = lazuli.StateProvisioning, s.now
		s.dirtyCluster = true
		s.say(lazuli.SeverityInfo, "Provisioning", "Creating the cluster's resources in resource group %s", s.Spec.ResourceGroup)
	}
	s.want(Intent{Act: ActPut, Node: n.Name, AzureID: rec.AzureID, Spec: spec})
	return nil
}

// freshTokens has the tokens of machines that have not joined made anew before
// they end: a machine may wait for quota, for room or for its boot for longer
// than a token lives. The first ones were made with the cluster.
func (s *step) freshTokens() {
	api := s.Nodes[nodeAPIServer]
	if api == nil || api.State != lazuli.NodeDone {
		return
	}
	for _, m := range s.machines() {
		if m.Init || m.KubeVersion != "" {
			continue
		}
		rec := s.Nodes[prefixToken+m.Name]
		switch {
		case !m.Late && s.stale(api.EndedAt):
			m.Late = true // from now on it has a token of its own, see design
			s.dirtyMachines[m.Name] = true
		case m.Late && rec != nil && rec.State == lazuli.NodeDone && s.stale(rec.EndedAt):
			s.reopen(rec.Name, lazuli.NodeWaiting)
		}
	}
}

// stale reports whether a token that was made then is past half its life, or was
// made by another clock.
func (s *step) stale(made time.Time) bool {
	age := s.now.Sub(made)
	return age > tokenLife/2 || age < -tokenLife/2
}

// joiners are the machines that need a token.
func (s *step) joiners() []string {
	var out []string
	for _, m := range s.machines() {
		if !m.Init {
			out = append(out, m.Name)
		}
	}
	return out
}

func (s *step) kubeconfig() Intent {
	st := s.Cluster.Status
	in := Intent{Act: ActMakeKubeconfig, Node: nodeKubeconfig, Server: apiURL(st.Endpoint)}
	if s.Cloud.ResolveByAddress {
		in.Server = apiURL(s.Nodes[nodeAPIAddress].Facts[resource.FactIPAddress])
		in.TLSName = st.Endpoint
	}
	return in
}

func apiURL(host string) string { return "https://" + net.JoinHostPort(host, strconv.Itoa(apiPort)) }

// advanceAPIServer asks the API server until it answers. That it does not, yet,
// is no failure before its machine had time to boot.
func (s *step) advanceAPIServer() {
	rec := s.Nodes[nodeAPIServer]
	if rec.State == lazuli.NodeWaiting {
		rec = s.start(nodeAPIServer)
	}
	if !s.ready(nodeAPIServer) {
		return
	}
	for _, m := range s.machines() {
		if m.Init {
			s.diagnose(nodeAPIServer, m, s.now.Sub(rec.StartedAt))
		}
	}
	s.want(Intent{Act: ActReady, Node: nodeAPIServer})
}

func (s *step) takeReady(a Answer) {
	s.probed = s.now
	if a.Err == nil {
		s.done(nodeAPIServer)
		return
	}
	// The record stays as it is: a write per probe would tell nobody anything.
	n := s.Nodes[nodeAPIServer]
	n.NextTry = s.now.Add(s.ProbeInterval)
}

// learn takes over what Azure tells of a resource that is there.
func (s *step) learn(n *lazuli.Node) {
	switch {
	case n.Name == nodeAPIAddress:
		st := &s.Cluster.Status
		if ip := n.Facts[resource.FactIPAddress]; ip != "" && st.APIServerIP != ip {
			st.APIServerIP = ip
			s.dirtyCluster = true
		}
	case strings.HasPrefix(n.Name, prefixNIC):
		if m := s.Machines[strings.TrimPrefix(n.Name, prefixNIC)]; m != nil && m.PrivateIP != n.Facts[resource.FactPrivateIP] {
			m.PrivateIP = n.Facts[resource.FactPrivateIP]
			s.dirtyMachines[m.Name] = true
		}
	case strings.HasPrefix(n.Name, prefixVM):
		s.machineState(strings.TrimPrefix(n.Name, prefixVM), lazuli.MachineProvisioned)
	}
}

// accepted notes that Azure is at work on a resource.
func (s *step) accepted(n *lazuli.Node) {
	if name, ok := strings.CutPrefix(n.Name, prefixVM); ok {
		s.machineState(name, lazuli.MachineProvisioning)
	}
}

// machineState moves a machine on, never back from Running.
func (s *step) machineState(name string, to lazuli.MachineState) {
	m := s.Machines[name]
	if m == nil || m.State == to || m.State == lazuli.MachineRunning && to == lazuli.MachineProvisioned {
		return
	}
	m.State, m.StateSince = to, s.now
	s.dirtyMachines[name] = true
}

// azureCode is the code that Azure gave a failure, "" without one.
func azureCode(err error) string {
	if f, ok := errors.AsType[*resource.Failure](err); ok {
		return f.AzureCode
	}
	return ""
}
