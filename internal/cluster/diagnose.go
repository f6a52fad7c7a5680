// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
)

// A machine that is waited for has its serial console read for the first time
// after half of Config.BootTimeout: a boot that goes well is over by then, stock
// images included, and reading costs a call to Azure. A phase that failed is told
// at once, everything else once the time is over.
const (
	bootLooks = 2
	// A console is read again after a sixth of Config.BootTimeout, and once that is
	// over after a quarter of what has passed since, whichever is longer.
	bootAgain    = 6
	bootSlowdown = 4

	// consoleShown is how many lines of a console without any word of ours are quoted.
	consoleShown = 12

	factLooked = "consoleLooked" // when the console was read last
	factBoot   = "boot"          // what that found, for the event that tells of it once
)

// bootReport is what a serial console tells of a bootstrap.
type bootReport struct {
	Phase   string   // the last one that was told of, "" for none
	State   string   // started, waiting, done or failed
	Attempt string   // the how manieth, in digits
	Log     []string // the log's last lines when that phase failed, or last told that it waits
}

// bootMark is the line by which a machine tells of a phase (bootstrap scripts,
// mark). The console may put its own words before it.
var bootMark = regexp.MustCompile(`lazuli-bootstrap phase=([a-z-]+) state=([a-z]+)(?: attempt=(\d+))?`)

const bootLogMark = "lazuli-bootstrap log: "

// readConsole finds the last word of the bootstrap on a console. A phase that
// was started again after a failure still counts as failed: its log says why.
func readConsole(text string) bootReport {
	var r bootReport
	var log []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if i := strings.Index(line, bootLogMark); i >= 0 {
			log = append(log, line[i+len(bootLogMark):])
			continue
		}
		m := bootMark.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		phase, state, attempt := m[1], m[2], m[3]
		switch {
		case phase == "bootstrap": // the script's end, which names no phase
		case (state == "started" || state == "waiting") && phase == r.Phase && r.State == "failed":
		default:
			r = bootReport{Phase: phase, State: state, Attempt: attempt}
			if state == "failed" || state == "waiting" {
				r.Log = log
			}
		}
		log = nil
	}
	return r
}

// diagnose reads the console of a machine that is waited for when it is time;
// node is whose message tells what it says.
func (s *step) diagnose(node string, m *lazuli.Machine, waited time.Duration) {
	if first := s.BootTimeout / bootLooks; waited < first {
		s.at(s.now.Add(first - waited))
		return
	}
	pause := max(s.BootTimeout/bootAgain, (waited-s.BootTimeout)/bootSlowdown)
	// What is not a time, or lies ahead of a clock that was set back, is long ago.
	if last, err := time.Parse(time.RFC3339, s.Nodes[node].Facts[factLooked]); err == nil && !last.After(s.now) {
		if due := last.Add(pause); due.After(s.now) {
			s.at(due)
			return
		}
	}
	s.want(Intent{Act: ActBootLog, Node: node, AzureID: m.VMID})
}

func (s *step) takeBootLog(a Answer) {
	n := s.Nodes[a.Intent.Node]
	if n == nil || n.State == lazuli.NodeDone || n.State == lazuli.NodeGone {
		return // it came up meanwhile
	}
	s.note(n, factLooked, s.now.Format(time.RFC3339))
	name, waited := s.waitedFor(n)
	late := waited >= s.BootTimeout
	if a.Err != nil {
		if late {
			s.stuck(n, "unread", fmt.Sprintf("%s has not come up for %s, and its serial console could not be read: %v", name, s.BootTimeout, a.Err), "")
		}
		return
	}
	r := readConsole(a.Text)
	switch {
	case r.State == "failed":
		s.stuck(n, r.Phase, fmt.Sprintf("phase %s of the bootstrap of %s failed (attempt %s); the end of its log:\n%s",
			r.Phase, name, cmp.Or(r.Attempt, "1"), strings.Join(r.Log, "\n")), bootRemedy(r.Phase))
	case !late: // it is slow, nothing says that it fails
	case r.Phase == "":
		s.stuck(n, "silent", fmt.Sprintf("%s has not come up for %s, and its serial console has no word of the bootstrap; its end:\n%s",
			name, s.BootTimeout, lastOf(a.Text, consoleShown)), "See whether the image runs cloud-init with Azure's data source.")
	case r.Phase == "done" && r.State == "done":
		s.stuck(n, "unreachable", fmt.Sprintf("phase done: the bootstrap of %s ended well, and nothing answers at %s for %s; the end of its console:\n%s",
			name, apiURL(s.Cluster.Status.Endpoint), s.BootTimeout, lastOf(a.Text, consoleShown)),
			"Check that a rule of the control planes' network security group lets TCP 6443 in from here and from the nodes' NAT address, and that the load balancer's probe finds the machine.")
	default:
		s.stuck(n, r.Phase, fmt.Sprintf("%s has been in phase %s of the bootstrap (%s) for long: nothing of it has come up for %s; the end of its log:\n%s",
			name, r.Phase, r.State, s.BootTimeout, cmp.Or(strings.Join(r.Log, "\n"), lastOf(a.Text, consoleShown))), bootRemedy(r.Phase))
	}
}

// waitedFor is the machine that a node waits for, and for how long.
func (s *step) waitedFor(n *lazuli.Node) (machine string, waited time.Duration) {
	if n.Name != nodeAPIServer {
		machine = machineOf(n.Name)
		return machine, s.waited[machine]
	}
	for _, m := range s.machines() {
		if m.Init {
			machine = m.Name
		}
	}
	return machine, s.now.Sub(n.StartedAt)
}

// stuck puts a finding on record; an event tells of each kind of finding once.
func (s *step) stuck(n *lazuli.Node, kind, message, remedy string) {
	if n.Message == message && n.Facts[factBoot] == kind {
		return
	}
	told := n.Facts[factBoot] == kind
	s.note(n, factBoot, kind)
	n.Code, n.Message, n.Remedy = lazuli.CodeUnavailable, message, remedy
	if told {
		return
	}
	if remedy != "" {
		message += "\n" + remedy
	}
	s.say(lazuli.SeverityError, "BootstrapStuck", "%s", message)
}

// note puts one fact of a node on record beside the others.
func (s *step) note(n *lazuli.Node, fact, value string) {
	s.change(n.Name)
	if n.Facts == nil {
		n.Facts = map[string]string{}
	}
	n.Facts[fact] = value
}

// bootRemedy says where to look for the cause of a phase that does not end.
func bootRemedy(phase string) string {
	switch phase {
	case "image":
		return "Check that the machines reach the sources of packages, binaries and images: their subnet's NAT gateway, or the mirrors of the operating system's pack."
	case "etcd-disk":
		return "Check the data disk of the control plane: it must be attached and empty."
	case "kubeadm-init":
		return "The log names the step of kubeadm that failed; the values of the Kubernetes pack decide kubeadm's configuration."
	case "kubeadm-join":
		return "Check that the machine reaches the cluster's endpoint on port 6443: a rule of the control planes' network security group must let the nodes' NAT address in."
	}
	return "The log's last lines name the step that did not end well."
}

// lastOf are the last n lines of a text.
func lastOf(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
