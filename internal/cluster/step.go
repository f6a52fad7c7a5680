// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
)

const (
	firstBackoff = 2 * time.Second
	longestWait  = 2 * time.Minute
	// hopelessRetry is for what is not retryable: it may be mended from outside, a
	// quota grows, a role is given. One node of those that fail for one cause, the
	// scout, goes ahead after scoutRetry, so that what was mended is noticed soon;
	// after scoutTime without luck it goes slower.
	hopelessRetry = 5 * time.Minute
	scoutRetry    = 20 * time.Second
	scoutTime     = 24 * time.Hour
	// longestPause is longer than anything here ever waits on purpose: what waits
	// for longer was put on record by a clock that was ahead.
	longestPause = 2 * time.Hour
	defaultPoll  = 2 * time.Second
	// vmPollFactor stretches the polls of VM operations: readiness comes from
	// the cluster itself, so these polls only find failures, and Azure allows
	// few of them (15 a minute and VM).
	vmPollFactor = 6
	vmPollMost   = time.Minute
)

// Plan is what a step decided beside the records that it changed.
type Plan struct {
	Intents []Intent
	Wake    time.Time // when to step again though no answer came; zero is not needed
	Outcome reconcile.Outcome
}

// Step decides what to do next. It is pure but for the records in w, which it
// changes in place: it makes no call, and time and randomness are arguments.
// inFlight holds the keys of the intents that have no answer yet.
func Step(w *World, answers []Answer, inFlight map[string]bool, now time.Time, random io.Reader) (Plan, error) {
	s := &step{World: w, inFlight: inFlight, now: now, random: random}
	for _, a := range answers {
		s.take(a)
	}
	err := s.failed
	switch {
	case err != nil:
	case w.Cluster.Status.State == lazuli.StateDeleted:
		err = s.deleted()
	case w.Cluster.Delete != nil:
		err = s.remove()
	default:
		err = s.create()
	}
	if err != nil {
		return Plan{}, err
	}
	return s.plan(), nil
}

// step is one decision in the making.
type step struct {
	*World
	inFlight map[string]bool
	now      time.Time
	random   io.Reader
	intents  []Intent
	wake     time.Time
	over     bool // nothing will ever be due again
	failed   error
}

func (s *step) plan() Plan {
	p := Plan{Intents: s.intents, Wake: s.wake}
	switch {
	case s.over:
		p.Outcome = reconcile.Remove()
	case s.wake.IsZero():
		p.Outcome = reconcile.Done()
	default:
		p.Outcome = reconcile.At(s.wake)
	}
	return p
}

// want names an intent unless the same is in flight.
func (s *step) want(in Intent) {
	if s.inFlight[in.Key()] {
		return
	}
	for _, have := range s.intents {
		if have.Key() == in.Key() {
			return
		}
	}
	s.intents = append(s.intents, in)
}

// at asks for another step at that time; the earliest wins.
func (s *step) at(t time.Time) {
	if s.wake.IsZero() || t.Before(s.wake) {
		s.wake = t
	}
}

func (s *step) say(severity lazuli.Severity, reason, format string, args ...any) {
	s.events = append(s.events, event{severity, reason, fmt.Sprintf(format, args...)})
}

// busy reports whether any intent about a node is in flight.
func (s *step) busy(node string) bool {
	for key := range s.inFlight {
		if strings.HasSuffix(key, " "+node) {
			return true
		}
	}
	return false
}

// change marks a node as changed and returns it.
func (s *step) change(name string) *lazuli.Node {
	s.dirtyNodes[name] = true
	return s.Nodes[name]
}

// start records the intent of a node.
func (s *step) start(name string) *lazuli.Node {
	if mutated("skipIntent") {
		return s.Nodes[name]
	}
	n := s.change(name)
	n.State = lazuli.NodeIntended
	if n.StartedAt.IsZero() {
		n.StartedAt = s.now
	}
	n.IntentAt = s.now
	return n
}

// done ends a node well.
func (s *step) done(name string) {
	n := s.change(name)
	s.mended(n)
	n.State, n.EndedAt, n.NextTry = lazuli.NodeDone, s.now, time.Time{}
	n.Operation, n.Message, n.Remedy, n.Code = nil, "", "", ""
}

// fault records that an attempt at a node did not work out, and when to try
// again. The first time that a node fails for a reason, an event says so.
func (s *step) fault(name string, err error) {
	var room time.Duration // to wait for until there is some
	if strings.HasPrefix(name, prefixVM) && s.Cluster.Delete == nil {
		replaced, wait, fail := s.replaceFailed(name, err)
		if fail != nil {
			s.failed = fail
		}
		if replaced {
			return
		}
		room = wait
	}
	n := s.change(name)
	code := lazuli.CodeOf(err)
	if n.Code != code {
		severity := lazuli.SeverityWarning
		if !passing(err) {
			severity = lazuli.SeverityError
		}
		text := err.Error()
		if remedy := lazuli.RemedyOf(err); remedy != "" {
			text += ". " + remedy
		}
		s.say(severity, "TaskFailed", "%s: %s", n.Title, text)
	}
	n.Attempts++
	n.Code, n.Message, n.Remedy = code, err.Error(), lazuli.RemedyOf(err)
	n.Operation = nil
	if n.State != lazuli.NodeDeleting {
		n.State = lazuli.NodeFailed
		if passing(err) {
			n.State = lazuli.NodeIntended
		}
	}
	wait := s.pause(n, err)
	if room > 0 {
		wait = room
	}
	n.NextTry = s.now.Add(wait)
}

// pause is after how long a node that failed is tried again.
func (s *step) pause(n *lazuli.Node, err error) time.Duration {
	if mutated("neverRetry") {
		return longestWait * 10000
	}
	wait := hopelessRetry
	if passing(err) {
		wait = backoff(n.Attempts)
	}
	if s.scout(n) {
		retry := scoutRetry
		if s.now.Sub(n.StartedAt) > scoutTime {
			retry = longestWait
		}
		wait = min(wait, retry)
	}
	return min(max(resource.RetryAfter(err), wait), longestPause)
}

// scout reports whether a node is the one to find out whether the cause of its
// failure is gone: the first by name of those that wait for the same.
func (s *step) scout(n *lazuli.Node) bool {
	for _, o := range s.Nodes {
		if o.Name < n.Name && o.Code == n.Code && s.later(o.NextTry) {
			return false
		}
	}
	return true
}

// mended has the others that failed for a node's cause tried at once: what was
// in the way is gone.
func (s *step) mended(n *lazuli.Node) {
	if n.Code == "" {
		return
	}
	for name, o := range s.Nodes {
		if o != n && o.Code == n.Code && s.later(o.NextTry) {
			s.change(name).NextTry = time.Time{}
		}
	}
}

// later reports whether a time on record lies ahead. One that lies further ahead
// than anything is put off on purpose is due.
func (s *step) later(t time.Time) bool {
	return t.After(s.now) && (t.Sub(s.now) <= longestPause || mutated("neverRetry"))
}

// passing reports whether a failure is likely to go away by itself.
func passing(err error) bool {
	if mutated("neverRetry") {
		return false
	}
	if f, ok := errors.AsType[*resource.Failure](err); ok {
		return f.Retryable
	}
	switch lazuli.CodeOf(err) {
	case lazuli.CodeAzureThrottled, lazuli.CodeAzureConflict, lazuli.CodeAzureUnreachable,
		lazuli.CodeUnavailable, lazuli.CodeTooManyRequests, lazuli.CodeInternal, lazuli.CodeConflict:
		return true
	default:
		return false
	}
}

func backoff(attempts int) time.Duration {
	d := firstBackoff << min(attempts-1, 10) // far beyond longestWait
	return min(d, longestWait)
}

// take puts an answer on record.
func (s *step) take(a Answer) {
	switch a.Intent.Act {
	case ActSizes:
		s.takeSizes(a)
	case ActMakeKeys, ActMakeKubeconfig, ActMakeToken:
		if a.Err != nil {
			s.fault(a.Intent.Node, a.Err)
			return
		}
		s.Secrets = a.Secrets
		s.done(a.Intent.Node)
	case ActPut, ActGet, ActPoll:
		s.takeResource(a)
	case ActDelete:
		s.takeDelete(a)
	case ActList:
		s.takeList(a)
	case ActReady:
		s.takeReady(a)
	case ActNodes:
		s.takeNodes(a)
	case ActApply:
		s.takeApply(a)
	case ActMark:
		s.takeMark(a)
	case ActDrain:
		s.takeDrain(a)
	case ActUncordon:
		s.takeMaintenance(a)
	case ActDropNode:
		s.takeDropNode(a)
	case ActStatus:
		s.takeStatus(a)
	case ActBootLog:
		s.takeBootLog(a)
	case ActDeleteToken:
		// A token that could not be withdrawn expires by itself.
	case ActDeleteServices:
		s.takeServices(a)
	case ActPurge:
		s.over = a.Err == nil
	}
}

// takeResource puts Azure's answer about a resource that shall be there on
// record.
func (s *step) takeResource(a Answer) {
	name := a.Intent.Node
	n, ok := s.Nodes[name]
	if !ok || n.State == lazuli.NodeGone {
		return
	}
	if s.Cluster.Delete != nil || s.ofRetired(name) {
		s.takeLate(a)
		return
	}
	if name == nodeAPIAddress && azureCode(a.Err) == "DnsRecordInUse" {
		n = s.change(name)
		n.State, n.Message = lazuli.NodeWaiting, "the DNS label was taken; trying another"
		s.Cluster.Status.DNSLabel = "" // the next step draws and records another before it writes
		s.dirtyCluster = true
		return
	}
	if a.Err != nil && a.Intent.Act == ActPut && mutated("lostIsDone") {
		s.done(name)
		return
	}
	if a.Err != nil {
		if a.Intent.Act == ActPoll && passing(a.Err) && n.Operation != nil {
			// The operation goes on whether we can see it or not.
			n = s.change(name)
			n.Operation.Attempts++
			n.Operation.NextPoll = s.now.Add(max(resource.RetryAfter(a.Err), backoff(n.Operation.Attempts)))
			return
		}
		s.fault(name, a.Err)
		return
	}
	s.settle(name, a.Intent, a.Result)
}

// settle moves a node on by what Azure says of its resource.
func (s *step) settle(name string, in Intent, res resource.Result) {
	n := s.change(name)
	for k, v := range res.Facts {
		if n.Facts == nil {
			n.Facts = map[string]string{}
		}
		n.Facts[k] = v
	}
	switch res.State {
	case resource.StateSucceeded:
		s.learn(n)
		if s.missesFacts(n) {
			n.Operation = nil
			s.absent[name] = false
			n.State = lazuli.NodeIntended // read it once more, by its id
			return
		}
		s.done(name)
	case resource.StateWorking:
		if mutated("doneEarly") {
			s.done(name)
			return
		}
		n.State = lazuli.NodeWorking
		if res.PollURL != "" || n.Operation == nil {
			n.Operation = &lazuli.Operation{Kind: string(in.Act), PollURL: res.PollURL, Started: s.now}
		}
		n.Operation.Attempts++
		n.Operation.NextPoll = s.now.Add(pollDelay(n, res.RetryAfter))
		if n.Code != lazuli.CodeAzureCapacity { // whether there is room shows later
			s.mended(n)
		}
		s.accepted(n)
	case resource.StateAbsent, resource.StateUnknown:
		n.Operation = nil
		n.State = lazuli.NodeIntended
		// An expired operation tells nothing: only a read of the id proves absence.
		s.absent[name] = in.Act == ActGet && res.State == resource.StateAbsent
	case resource.StateFailed:
		var err error = res.Err
		if res.Err == nil {
			err = lazuli.Errorf(lazuli.CodeAzureRejected, "Azure reports that %s is in a failed state", n.Title)
		}
		s.fault(name, err)
	case resource.StateDeleting:
		n.Operation = nil
		n.State = lazuli.NodeIntended
		n.NextTry = s.now.Add(defaultPoll)
	}
}

func pollDelay(n *lazuli.Node, asked time.Duration) time.Duration {
	if asked <= 0 {
		asked = defaultPoll
	}
	if resource.TypeOf(n.AzureID) == resource.TypeVirtualMachine {
		return max(asked, min(asked*vmPollFactor, vmPollMost))
	}
	return asked
}

// missesFacts reports whether something must still be read from a resource
// that is there.
func (s *step) missesFacts(n *lazuli.Node) bool {
	return n.Name == nodeAPIAddress && n.Facts[resource.FactIPAddress] == ""
}
