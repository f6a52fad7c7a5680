// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/cluster"
)

const (
	booted  = "[  OK  ] Reached target network-online.target.\n"
	failed  = stalled + "lazuli-bootstrap phase=kubeadm-init state=started attempt=2 node=m uptime=34.1\n"
	stalled = booted + "lazuli-bootstrap phase=image state=done attempt=1 node=m uptime=20.1\n" +
		"lazuli-bootstrap phase=kubeadm-init state=started attempt=1 node=m uptime=20.2\n" +
		"lazuli-bootstrap log: error: unknown flag: --frobnicate\n" +
		"[   24.1] cloud-init[99]: lazuli-bootstrap log: To see the stack trace of this error execute with --v=5\n" +
		"lazuli-bootstrap phase=kubeadm-init state=failed attempt=1 node=m uptime=24.1\n"
	finished = booted + "lazuli-bootstrap phase=shred state=done attempt=1 node=m uptime=70.1\n" +
		"lazuli-bootstrap phase=done state=started attempt=1 node=m uptime=70.2\nlazuli-bootstrap phase=done state=done attempt=1 node=m uptime=70.3\n"
)

// A boot that went wrong tells of itself in the condition that users look at,
// with the phase and the end of its log.
func TestFailedBootIsTold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason, console string
		within          time.Duration
		want            []string
	}{
		{"a phase that failed", failed, 7 * time.Minute, []string{"phase kubeadm-init", "attempt 1", "unknown flag: --frobnicate\nTo see the stack trace", "Kubernetes pack"}},
		{"a bootstrap that ended well, and nothing reaches it", finished, 15 * time.Minute, []string{"ended well, and nothing answers at https://", "TCP 6443", "phase=done state=done"}},
		{"a guest without a word of ours", booted, 15 * time.Minute, []string{"no word of the bootstrap", "network-online.target", "cloud-init"}},
		{"a phase that has just begun", strings.Split(failed, "lazuli-bootstrap log")[0], 15 * time.Minute, []string{"in phase kubeadm-init of the bootstrap (started)", "phase=image"}},
		{"a phase that never ends", strings.ReplaceAll(stalled, "state=failed", "state=waiting"), 15 * time.Minute, []string{"in phase kubeadm-init of the bootstrap (waiting)", "--frobnicate"}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			w, az := world(t), &azure{there: map[string]resource.Spec{}}
			looks := 0
			c := stuckFor(t, w, az, tt.within, func(in cluster.Intent) (cluster.Answer, bool) {
				switch in.Act {
				case cluster.ActReady:
					return cluster.Answer{Intent: in, Err: lazuli.Errorf(lazuli.CodeUnavailable, "no answer")}, true
				case cluster.ActBootLog:
					looks++
					return cluster.Answer{Intent: in, Text: tt.console}, true
				}
				return cluster.Answer{}, false
			})
			for _, want := range tt.want {
				if !strings.Contains(c.Message, want) {
					t.Errorf("BootstrappingDone does not say %q: %+v", want, c)
				}
			}
			if c.Status != "False" || c.Reason != "Failed" {
				t.Errorf("BootstrappingDone is %+v", c)
			}
			if looks > 5 {
				t.Errorf("the console was read %d times in %s", looks, tt.within)
			}
		})
	}
}

// A machine that does not join is asked too, and its message goes when it does.
func TestFailedJoinIsTold(t *testing.T) {
	t.Parallel()
	w, az := world(t), &azure{there: map[string]resource.Spec{}}
	worker := func() *lazuli.Machine {
		for _, m := range w.Machines {
			if !m.ControlPlane {
				return m
			}
		}
		return nil
	}
	join := strings.ReplaceAll(failed, "kubeadm-init", "kubeadm-join")
	here := false
	answer := func(in cluster.Intent) (cluster.Answer, bool) {
		switch {
		case in.Act == cluster.ActNodes && !here:
			a := az.answer(t, w, in)
			for i := range a.Nodes {
				if a.Nodes[i].Name == worker().Name {
					a.Nodes = slices.Delete(a.Nodes, i, i+1)
					break
				}
			}
			w.Waiting(worker().Name, 7*time.Minute)
			return a, true
		case in.Act == cluster.ActBootLog:
			if in.AzureID != worker().VMID {
				t.Errorf("the console of %s is read", in.AzureID)
			}
			return cluster.Answer{Intent: in, Text: join}, true
		}
		return cluster.Answer{}, false
	}
	c := stuckFor(t, w, az, 5*time.Minute, answer)
	if !strings.Contains(c.Message, "phase kubeadm-join") || !strings.Contains(c.Message, "--frobnicate") || c.Status != "False" {
		t.Errorf("BootstrappingDone is %+v", c)
	}
	here = true
	if c = stuckFor(t, w, az, 5*time.Minute, answer); c.Status != "True" || c.Message != "" {
		t.Errorf("it joined, and BootstrappingDone is %+v", c)
	}
}

// stuckFor steps for a while of virtual time and returns BootstrappingDone.
// special answers instead of Azure where it wants to.
func stuckFor(t *testing.T, w *cluster.World, az *azure, d time.Duration, special func(cluster.Intent) (cluster.Answer, bool)) lazuli.Condition {
	t.Helper()
	var news []cluster.Answer
	random := seeded()
	at := slices.MaxFunc(append(slices.Collect(maps.Values(w.Nodes)), &lazuli.Node{StartedAt: epoch}), func(a, b *lazuli.Node) int {
		return a.StartedAt.Compare(b.StartedAt)
	}).StartedAt
	for now, end := at, at.Add(d); now.Before(end); now = now.Add(5 * time.Second) {
		plan, err := cluster.Step(w, news, map[string]bool{}, now, random)
		if err != nil {
			t.Fatal(err)
		}
		news = nil
		for _, in := range plan.Intents {
			a, ok := special(in)
			if !ok {
				a = az.answer(t, w, in)
			}
			news = append(news, a)
		}
	}
	for _, c := range w.Cluster.Status.Conditions {
		if c.Type == "BootstrappingDone" {
			return c
		}
	}
	t.Fatal("there is no condition BootstrappingDone")
	return lazuli.Condition{}
}
