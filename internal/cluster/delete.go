// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

const (
	prefixFound = "found/" // nodes of resources with our tag that no record knew
	// factListed is set once a resource was seen in a list: "yes" while it was in
	// the last one, else the time of the first list that lacked it. Lists lag
	// behind writes, so it takes two, some time apart, to call a resource gone.
	factListed  = "listed"
	listedThere = "yes"
	// servicesTime bounds how long the Services that hold load balancers are
	// waited for: a cluster whose API server is gone must not keep the rest.
	servicesTime = 3 * time.Minute
	// forceTime is after how long a forced deletion gives up what Azure keeps.
	forceTime = 15 * time.Minute
	listDelay = 5 * time.Second
	// listLag is after how long a list shows what was made and no more what is gone.
	listLag = 2 * time.Minute
	// staleDelete is after how long a deletion that did not end is asked for again.
	staleDelete = 10 * time.Minute
)

// remove decides the next acts towards nothing left.
func (s *step) remove() error {
	if s.Cluster.Status.State != lazuli.StateDeleting {
		s.Cluster.Status.State = lazuli.StateDeleting
		s.dirtyCluster = true
	}
	s.abandon()
	if !s.releaseServices() {
		return nil
	}
	if s.listed.IsZero() {
		s.list()
		return nil
	}
	if err := s.adopt(); err != nil {
		return err
	}
	left := s.inventory()
	for _, n := range left {
		s.removeResource(n, left)
	}
	if len(left) == 0 && s.nothingListed() {
		s.gone()
		return nil
	}
	if s.forced(left) {
		return nil
	}
	s.list()
	return nil
}

// nothingListed reports whether two lists some time apart had nothing of the
// cluster, the last one since the last record went.
func (s *step) nothingListed() bool {
	since := s.Cluster.Status.EmptySince
	if since.IsZero() || s.listed.Sub(since) < s.ProbeInterval && !mutated("emptyOnce") {
		return false
	}
	for _, n := range s.Nodes {
		if n.AzureID != "" && !n.IntentAt.IsZero() && n.EndedAt.After(s.listed) {
			return false
		}
	}
	return true
}

// abandon takes back what was never intended: there is nothing to delete.
func (s *step) abandon() {
	for _, name := range s.nodeNames() {
		n := s.Nodes[name]
		if n.State == lazuli.NodeGone || n.AzureID != "" && !n.IntentAt.IsZero() && (!mutated("forgetWorking") || n.State != lazuli.NodeWorking) {
			continue
		}
		n = s.change(name)
		n.State, n.Message, n.Remedy, n.Code = lazuli.NodeGone, "", "", ""
		n.StartedAt, n.EndedAt = s.now, s.now
	}
	for _, m := range s.Machines {
		if m.State != lazuli.MachineDeleting && m.State != lazuli.MachineDeleted {
			m.State, m.StateSince, m.Ready, m.Message = lazuli.MachineDeleting, s.now, false, ""
			s.dirtyMachines[m.Name] = true
		}
	}
}

// releaseServices has the cloud controller give back the load balancers that
// Services hold, while it still can. It reports whether the rest may go.
func (s *step) releaseServices() bool {
	joined := s.Secrets != nil && len(s.Secrets.AdminKubeconfig) > 0 && !s.Cluster.Status.RunningAt.IsZero()
	if mutated("servicesSkipped") || !joined || s.services || s.now.Sub(s.Cluster.Delete.At) > servicesTime || s.goneMachines() {
		return true
	}
	if s.busy(subjectServices) {
		return false
	}
	if due := s.probed.Add(s.ProbeInterval); due.After(s.now) {
		s.at(due)
		return false
	}
	s.want(Intent{Act: ActDeleteServices, Node: subjectServices})
	return false
}

// goneMachines reports whether the deletion of a machine has begun.
func (s *step) goneMachines() bool {
	for name, n := range s.Nodes {
		if strings.HasPrefix(name, prefixVM) && !s.ofRetired(name) && (n.State == lazuli.NodeDeleting || n.State == lazuli.NodeGone && !n.IntentAt.IsZero()) {
			return true
		}
	}
	return false
}

func (s *step) takeServices(a Answer) {
	s.probed = s.now
	switch {
	case a.Err != nil:
		s.services = true
		s.say(lazuli.SeverityWarning, "ServicesUnknown",
			"The API server does not answer, so Services of type LoadBalancer are not withdrawn first; what they hold is deleted by its tag")
	case a.Count == 0:
		s.services = true
	}
}

// list asks Azure for everything with the cluster's tag, now and then.
func (s *step) list() {
	if s.busy(subjectInventory) {
		return
	}
	if due := s.listed.Add(s.listInterval()); !s.listed.IsZero() && due.After(s.now) {
		s.at(due)
		return
	}
	if s.relist.After(s.now) {
		s.at(s.relist)
		return
	}
	s.want(Intent{Act: ActList, Node: subjectInventory})
}

// listInterval follows what Azure asks for after a DELETE, so that a list is
// made about when something has changed.
func (s *step) listInterval() time.Duration {
	interval := listDelay
	for _, n := range s.Nodes {
		if n.State == lazuli.NodeDeleting && n.Operation != nil {
			if d := n.Operation.NextPoll.Sub(n.Operation.Started); d > 0 && d < interval {
				interval = d
			}
		}
	}
	return max(interval, min(s.ProbeInterval, listDelay))
}

func (s *step) takeList(a Answer) {
	if a.Err != nil {
		switch {
		case azureCode(a.Err) == "ResourceGroupNotFound":
			// The resource group itself is gone, and all that was in it.
			a.Found, a.Err = nil, nil
		case s.Cluster.Status.State == lazuli.StateDeleted:
			s.listed, s.found = s.now, nil // see lookBack
			return
		default:
			s.relist = s.now.Add(max(resource.RetryAfter(a.Err), firstBackoff))
			s.trouble("list the cluster's resources", a.Err)
			return
		}
	}
	s.listed = s.now
	s.found = map[string]resource.Found{}
	for _, f := range a.Found {
		s.found[strings.ToLower(f.ID)] = f
	}
	st := &s.Cluster.Status
	if since := st.EmptySince; since.IsZero() == (len(a.Found) == 0) {
		st.EmptySince = time.Time{}
		if since.IsZero() {
			st.EmptySince = s.now
		}
		s.dirtyCluster = true
	}
	for _, name := range s.nodeNames() {
		n := s.Nodes[name]
		if n.AzureID == "" || n.State == lazuli.NodeGone {
			continue
		}
		_, there := s.found[strings.ToLower(n.AzureID)]
		s.count(name, there)
	}
}

// count follows a resource through the lists.
func (s *step) count(name string, there bool) {
	n := s.Nodes[name]
	have := n.Facts[factListed]
	switch {
	case there && have == listedThere, !there && have == "":
	case there:
		n = s.change(name)
		if n.Facts == nil {
			n.Facts = map[string]string{}
		}
		n.Facts[factListed] = listedThere
	case have == listedThere:
		s.change(name).Facts[factListed] = s.now.Format(time.RFC3339Nano)
		if mutated("trustList") {
			s.vanished(name)
		}
	default:
		since, err := time.Parse(time.RFC3339Nano, have)
		switch {
		case err != nil || s.now.Sub(since) < s.ProbeInterval || s.later(n.NextTry):
		case since.Sub(n.IntentAt) < listLag && readable(n.AzureID):
			// Both lists may be of before the resource was made: its id decides.
			if !s.busy(name) {
				s.want(Intent{Act: ActGet, Node: name, AzureID: n.AzureID})
			}
		default:
			s.vanished(name)
		}
	}
}

// readable reports whether a resource can be read by its id: not what carries
// our tag and is of a type that we never make.
func readable(id string) bool {
	switch resource.TypeOf(id) {
	case resource.TypeSecurityGroup, resource.TypePublicIP, resource.TypeLoadBalancer, resource.TypeNATGateway,
		resource.TypeVirtualNetwork, resource.TypeNetworkInterface, resource.TypeAvailabilitySet,
		resource.TypeVirtualMachine, resource.TypeDisk:
		return true
	default:
		return false
	}
}

// vanished records that Azure no longer has a resource.
func (s *step) vanished(name string) {
	n := s.change(name)
	if n.State == lazuli.NodeDeleting {
		s.mended(n)
	}
	n.State, n.EndedAt, n.Operation = lazuli.NodeGone, s.now, nil
	if since := s.unwantedSince(name); n.StartedAt.Before(since) {
		n.StartedAt = since // it went along with what held it
	}
	n.Message, n.Remedy, n.Code, n.NextTry = "", "", "", time.Time{}
	if vm, ok := strings.CutPrefix(name, prefixVM); ok {
		// A machine that was replaced is gone with its last resource, see sweep.
		if m := s.Machines[vm]; m != nil && m.RetiredAt.IsZero() {
			m.State, m.StateSince = lazuli.MachineDeleted, s.now
			s.dirtyMachines[vm] = true
		}
	}
}

// unwantedSince is when a node's resource became one to be removed.
func (s *step) unwantedSince(name string) time.Time {
	if d := s.Cluster.Delete; d != nil {
		return d.At
	}
	if m := s.Machines[machineOf(name)]; m != nil && strings.Contains(name, "/") {
		return m.RetiredAt
	}
	return time.Time{}
}

// adopt makes records of resources that carry our tag and have none: what the
// cloud controller made for the cluster, or what a restored store forgot.
func (s *step) adopt() error {
	if mutated("adoptNothing") {
		s.Cluster.Status.EmptySince = s.now.Add(-s.ProbeInterval)
		return nil
	}
	known := map[string]bool{}
	for _, n := range s.Nodes {
		known[strings.ToLower(n.AzureID)] = true
	}
	ids := make([]string, 0, len(s.found))
	for id := range s.found {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if known[id] {
			s.returned(id)
			continue
		}
		uid, err := lazuli.NewUID(s.now, s.random)
		if err != nil {
			return fmt.Errorf("draw a task's uid: %w", err)
		}
		f := s.found[id]
		name := prefixFound + strings.TrimPrefix(f.ID[strings.LastIndex(f.ID, "/providers/")+1:], "providers/")
		s.Nodes[name] = &lazuli.Node{
			Meta:       lazuli.Meta{UID: uid, Name: name, Project: s.Cluster.Project},
			ClusterUID: s.Cluster.UID, Title: string(f.Type) + " " + resource.NameOf(f.ID), AzureID: f.ID,
			State: lazuli.NodeIntended, IntentAt: s.madeAt(f), StartedAt: s.now,
			Facts: map[string]string{factListed: listedThere},
		}
		s.dirtyNodes[name] = true
	}
	return nil
}

// madeAt is when a resource without a record was made: with its machine, when it
// is a machine's disk, or else perhaps just now.
func (s *step) madeAt(f resource.Found) time.Time {
	for name := range s.Machines {
		vm := s.Nodes[prefixVM+name]
		if vm != nil && strings.EqualFold(string(f.Type), string(resource.TypeDisk)) && strings.HasPrefix(resource.NameOf(f.ID), name+"-") {
			return vm.IntentAt
		}
	}
	return s.now
}

// returned takes back that a resource is gone when lists still show it after
// they have had time to forget.
func (s *step) returned(id string) {
	if mutated("trustList") || mutated("forgetWorking") {
		return // the two defects show only where nothing mends them
	}
	for _, name := range s.nodeNames() {
		n := s.Nodes[name]
		if n.State != lazuli.NodeGone || strings.ToLower(n.AzureID) != id || s.now.Sub(n.EndedAt) < listLag {
			continue
		}
		n = s.change(name)
		n.State, n.IntentAt, n.EndedAt = lazuli.NodeIntended, s.now, time.Time{}
		n.Facts = map[string]string{factListed: listedThere}
	}
}

// inventory returns the records of what may still be in Azure.
func (s *step) inventory() []*lazuli.Node {
	var left []*lazuli.Node
	for _, name := range s.nodeNames() {
		if n := s.Nodes[name]; n.AzureID != "" && n.State != lazuli.NodeGone {
			left = append(left, n)
		}
	}
	return left
}

// holders are the types that Azure wants gone before a type can go (azure
// errors NicInUse, InUseSubnetCannotBeDeleted, PublicIPAddressCannotBeDeleted,
// InUseNetworkSecurityGroupCannotBeDeleted).
func holders(t resource.Type) []resource.Type {
	if mutated("deleteBlind") {
		return nil
	}
	switch t {
	case resource.TypeNetworkInterface, resource.TypeDisk, resource.TypeAvailabilitySet:
		return []resource.Type{resource.TypeVirtualMachine}
	case resource.TypeLoadBalancer, resource.TypeVirtualNetwork:
		return []resource.Type{resource.TypeVirtualMachine, resource.TypeNetworkInterface}
	case resource.TypeNATGateway, resource.TypeSecurityGroup:
		return []resource.Type{resource.TypeVirtualMachine, resource.TypeNetworkInterface, resource.TypeVirtualNetwork}
	case resource.TypePublicIP:
		return []resource.Type{resource.TypeLoadBalancer, resource.TypeNATGateway}
	default:
		return nil
	}
}

// removeResource decides the next act towards a resource's absence.
func (s *step) removeResource(n *lazuli.Node, left []*lazuli.Node) {
	if s.busy(n.Name) {
		return
	}
	held := holders(resource.TypeOf(n.AzureID))
	if slices.ContainsFunc(left, func(o *lazuli.Node) bool {
		return slices.Contains(held, resource.TypeOf(o.AzureID)) && !s.unlisted(o)
	}) {
		return
	}
	// What the resource waited for while it was wanted holds nothing up.
	fresh := n.StartedAt.Before(s.unwantedSince(n.Name))
	if s.later(n.NextTry) && !fresh {
		s.at(n.NextTry)
		return
	}
	// A deletion whose answer was lost is asked for again: that does no harm.
	if op := n.Operation; n.State == lazuli.NodeDeleting && op != nil && (s.now.Sub(op.Started) < staleDelete || mutated("deleteAskedOnce")) {
		// Lists tell when it is gone; one that never was in a list is asked for by its id.
		switch {
		case n.Facts[factListed] != "":
		case s.later(op.NextPoll):
			s.at(op.NextPoll)
		default:
			s.want(Intent{Act: ActGet, Node: n.Name, AzureID: n.AzureID})
		}
		return
	}
	if s.unlisted(n) && cascades(n.AzureID) {
		return // it went with its machine; the next list confirms it
	}
	rec := s.change(n.Name)
	rec.State, rec.EndedAt, rec.Operation = lazuli.NodeDeleting, time.Time{}, nil
	if fresh {
		rec.StartedAt, rec.NextTry, rec.Attempts = s.now, time.Time{}, 0
		rec.Code, rec.Message, rec.Remedy = "", "", ""
	}
	s.want(Intent{Act: ActDelete, Node: n.Name, AzureID: n.AzureID, Force: true})
}

// cascades reports whether a resource goes with its machine (deleteOption).
func cascades(id string) bool {
	t := resource.TypeOf(id)
	return t == resource.TypeNetworkInterface || t == resource.TypeDisk
}

// unlisted reports whether a resource was seen in a list and is missing from
// the last one: enough to try to delete what it held, not to call it gone.
func (s *step) unlisted(n *lazuli.Node) bool {
	have := n.Facts[factListed]
	return have != "" && have != listedThere
}

func (s *step) takeDelete(a Answer) {
	name := a.Intent.Node
	n, ok := s.Nodes[name]
	if !ok || n.State == lazuli.NodeGone {
		return
	}
	if a.Err != nil {
		s.fault(name, a.Err)
		s.Nodes[name].State = lazuli.NodeIntended // to be deleted again, see removeResource
		return
	}
	switch a.Result.State {
	case resource.StateAbsent, resource.StateSucceeded:
		s.vanished(name)
	case resource.StateWorking, resource.StateDeleting, resource.StateFailed:
		n = s.change(name)
		s.mended(n)
		wait := a.Result.RetryAfter
		if wait <= 0 {
			wait = listDelay
		}
		n.Operation = &lazuli.Operation{
			Kind: string(ActDelete), PollURL: a.Result.PollURL, Started: s.now, NextPoll: s.now.Add(wait), Attempts: 1,
		}
	}
}

// takeLate puts on record what a call that was under way when the deletion
// began, or a read during it, says.
func (s *step) takeLate(a Answer) {
	name := a.Intent.Node
	if a.Err == nil && a.Intent.Act == ActGet {
		if a.Result.State == resource.StateAbsent {
			s.vanished(name)
			return
		}
		n := s.change(name)
		n.NextTry = s.now.Add(max(a.Result.RetryAfter, s.ProbeInterval))
		if a.Result.State == resource.StateFailed || a.Result.State == resource.StateSucceeded {
			n.State = lazuli.NodeIntended // the deletion did not take: once more
		}
	}
	if a.Err != nil && a.Intent.Act == ActGet {
		s.Nodes[name].NextTry = s.now.Add(max(resource.RetryAfter(a.Err), firstBackoff))
	}
}

// trouble says once per cause what keeps a deletion from going on.
func (s *step) trouble(act string, err error) {
	st := &s.Cluster.Status
	text := fmt.Sprintf("%s: %v", act, err)
	if remedy := lazuli.RemedyOf(err); remedy != "" {
		text += ". " + remedy
	}
	if st.Message != text {
		st.Message = text
		s.dirtyCluster = true
		s.say(lazuli.SeverityWarning, "DeleteBlocked", "%s", text)
	}
}

// gone ends the cluster: Azure says that nothing of it is left.
func (s *step) gone() {
	s.finish()
	s.say(lazuli.SeverityInfo, typeReasonDeleted, "All resources of the cluster are gone; the resource group %s stays as it was",
		s.Spec.ResourceGroup)
}

func (s *step) finish() {
	st := &s.Cluster.Status
	st.State, st.DeletedAt, st.Healthy, st.Message = lazuli.StateDeleted, s.now, false, ""
	s.dirtyCluster = true
	for _, m := range s.Machines {
		if m.State != lazuli.MachineDeleted {
			m.State, m.StateSince = lazuli.MachineDeleted, s.now
			s.dirtyMachines[m.Name] = true
		}
	}
	s.condition(lazuli.Condition{Type: condWorkersGone, Status: statusTrue, Reason: typeReasonDeleted})
	s.condition(lazuli.Condition{Type: condControlGone, Status: statusTrue, Reason: typeReasonDeleted})
	s.at(s.now.Add(min(s.KeepDeleted, looksBack()[0])))
}

// forced ends a forced deletion that Azure does not let end, with the exact
// list of what remains.
func (s *step) forced(left []*lazuli.Node) bool {
	d := s.Cluster.Delete
	if !d.Force || s.now.Sub(d.At) < forceTime || len(left) == 0 {
		return false
	}
	ids := make([]string, 0, len(left))
	for _, n := range left {
		ids = append(ids, n.AzureID)
	}
	s.finish()
	s.Cluster.Status.LooksBack = len(looksBack()) // what comes late is the user's, too
	s.say(lazuli.SeverityWarning, "ResourcesLeft", "The deletion was forced; these resources remain and are yours to delete: %s",
		strings.Join(ids, ", "))
	return true
}

// deleted keeps the records of a deleted cluster for a while, then drops them.
func (s *step) deleted() error {
	due := s.Cluster.Status.DeletedAt.Add(s.KeepDeleted)
	if due.After(s.now) {
		s.at(due)
		return s.lookBack()
	}
	if !s.over {
		s.want(Intent{Act: ActPurge, Node: subjectInventory})
	}
	return nil
}

// looksBack is how long after its end a cluster's tag is looked for again. A
// write that had left its process when that was stopped, or that the network
// held back, takes effect whenever it arrives: no fence and no guard reaches
// it. The first look comes when lists have had time to forget, see listLag.
func looksBack() []time.Duration { return []time.Duration{150 * time.Second, 15 * time.Minute} }

// lookBack deletes what came after the cluster's end. The cluster stays Deleted.
func (s *step) lookBack() error {
	st := &s.Cluster.Status
	looks := looksBack()
	if st.LooksBack >= len(looks) {
		return nil
	}
	if s.target.SubscriptionID == "" { // nobody knows where any more
		st.LooksBack, s.dirtyCluster = len(looks), true
		return nil
	}
	due := st.DeletedAt.Add(looks[st.LooksBack])
	switch {
	case due.After(s.now):
		s.at(due)
		return nil
	case s.listed.Before(due):
		s.list()
		return nil
	case s.found == nil: // the list failed: again, less and less often
		s.at(s.listed.Add(max(hopelessRetry, s.listed.Sub(due))))
		return nil
	}
	if err := s.adopt(); err != nil {
		return err
	}
	left := s.inventory()
	for _, n := range left {
		if n.State == lazuli.NodeIntended && n.Attempts == 0 {
			s.say(lazuli.SeverityWarning, "CameLate", "%s was made after the cluster's end, and is deleted", n.Title)
		}
		s.removeResource(n, left)
	}
	if len(left) > 0 {
		s.list()
		return nil
	}
	st.LooksBack++
	s.dirtyCluster = true
	return s.lookBack() // for when the next one is due
}
