// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/cluster"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// override answers an intent in place of a test's Azure, when it reports true.
type override func(now time.Time, in cluster.Intent) (cluster.Answer, bool)

// drive steps until the cluster is as wanted or the time is over, and returns
// when that was.
func drive(t *testing.T, w *cluster.World, az *azure, now, end time.Time, want func() bool, special override) time.Time {
	t.Helper()
	var news []cluster.Answer
	random := seeded()
	for range 100_000 {
		plan, err := cluster.Step(w, news, map[string]bool{}, now, random)
		if err != nil {
			t.Fatal(err)
		}
		if want() {
			return now
		}
		news = nil
		for _, in := range plan.Intents {
			a, ok := special(now, in)
			if !ok {
				a = az.answer(t, w, in)
			}
			news = append(news, a)
		}
		if len(plan.Intents) == 0 {
			if plan.Wake.IsZero() || !plan.Wake.After(now) {
				t.Fatalf("nothing to do and no time to wait for: %s", plan.Wake)
			}
			now = plan.Wake
		}
		if now.After(end) {
			break
		}
	}
	t.Fatalf("not as wanted by %s: %s %s", end.Sub(epoch), w.Cluster.Status.State, w.Cluster.Status.Message)
	return time.Time{}
}

func runs(w *cluster.World) func() bool {
	return func() bool { return w.Cluster.Status.State == lazuli.StateRunning }
}

func failure(code lazuli.Code, azure string, retryable bool, after time.Duration) error {
	return &lazuli.Error{Code: code, Message: azure, Err: &resource.Failure{AzureCode: azure, Retryable: retryable, RetryAfter: after}}
}

// A machine for which there is no room, and no other place, gets a successor in
// the same place, again and again while there is none, and not one after the
// other: room that comes back is used within the bounded wait.
func TestRoomComesBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		shape  func(*cluster.World)
		zones  []string
	}{
		{"the only zone that the user wants", func(*cluster.World) {}, []string{"1", "2", "3"}},
		{"a region without zones", func(w *cluster.World) { w.Spec.Pools[0].Zones = nil }, nil},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			w, az := world(t), &azure{there: map[string]resource.Spec{}}
			w.ProbeInterval = 30 * time.Second
			tt.shape(w)
			const back = 40 * time.Minute
			failed := map[string]bool{}
			at := drive(t, w, az, epoch, epoch.Add(2*time.Hour), runs(w), func(now time.Time, in cluster.Intent) (cluster.Answer, bool) {
				switch {
				case in.Act == cluster.ActSizes:
					all := sizes()
					for i := range all {
						all[i].Zones = tt.zones
					}
					return cluster.Answer{Intent: in, Sizes: all}, true
				case !strings.HasPrefix(in.Node, "vm/") || !strings.Contains(in.Node, "-workers-"):
				case in.Act == cluster.ActPut && now.Sub(epoch) < back:
					failed[in.Node] = true
					fallthrough
				case in.Act == cluster.ActGet && failed[in.Node]:
					return cluster.Answer{Intent: in, Err: failure(lazuli.CodeAzureCapacity, "AllocationFailed", true, 0)}, true
				}
				return cluster.Answer{}, false
			})
			if late := at.Sub(epoch) - back; late > 16*time.Minute {
				t.Errorf("it runs %s after there was room", late)
			}
			if len(failed) < 2 || len(failed) > 6 {
				t.Errorf("%d machines were tried in %s", len(failed), back)
			}
		})
	}
}

// What makes the cluster is not replaced for what Azure says of its VM once the
// API server answered: another would make a second cluster.
func TestNoSecondInit(t *testing.T) {
	t.Parallel()
	w, az := world(t), &azure{there: map[string]resource.Spec{}}
	w.Spec.Pools[1].Size = 3
	ready := func(now time.Time) bool { return now.Sub(epoch) > 20*time.Minute }
	drive(t, w, az, epoch, epoch.Add(time.Hour), runs(w), func(now time.Time, in cluster.Intent) (cluster.Answer, bool) {
		m := w.Machines[strings.TrimPrefix(in.Node, "vm/")]
		switch {
		case in.Act == cluster.ActNodes && !ready(now):
			var nodes []workload.Node
			for _, m := range w.Machines {
				nodes = append(nodes, workload.Node{Name: m.Name, Version: "v1.36.3", Ready: !m.Init, Reason: "KubeletNotReady"})
			}
			return cluster.Answer{Intent: in, Nodes: nodes}, true
		case m != nil && m.Init && in.Act == cluster.ActPut:
			az.there[strings.ToLower(in.AzureID)] = in.Spec
			return cluster.Answer{Intent: in, Result: resource.Result{State: resource.StateWorking, RetryAfter: time.Minute}}, true
		case m != nil && m.Init && !ready(now):
			return cluster.Answer{Intent: in, Err: failure(lazuli.CodeAzureRejected, "OSProvisioningTimedOut", false, 0)}, true
		}
		return cluster.Answer{}, false
	})
	if len(w.Machines) != 4 {
		t.Errorf("there are %d machines, and none was to be replaced", len(w.Machines))
	}
}

// The tokens of machines that wait are made anew while they wait.
func TestTokensOutliveTheWait(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		waits  cluster.Act // which act of the worker's machine takes long
	}{
		{"for quota", cluster.ActPut},
		{"for its boot", cluster.ActNodes},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			w, az := world(t), &azure{there: map[string]resource.Spec{}}
			w.ProbeInterval = 30 * time.Second
			const wait = 200 * time.Minute
			made := epoch // the first token's, with the cluster
			var booted time.Time
			drive(t, w, az, epoch, epoch.Add(5*time.Hour), runs(w), func(now time.Time, in cluster.Intent) (cluster.Answer, bool) {
				for _, m := range w.Machines {
					if !m.ControlPlane {
						w.Waiting(m.Name, 0) // its boot is not held against it
					}
				}
				worker := strings.HasPrefix(in.Node, "vm/") && strings.Contains(in.Node, "-workers-")
				switch {
				case in.Act == cluster.ActMakeToken:
					made = now
					return cluster.Answer{Intent: in, Secrets: w.Secrets}, true
				case worker && in.Act == cluster.ActPut && tt.waits == in.Act && now.Sub(epoch) < wait:
					return cluster.Answer{Intent: in, Err: failure(lazuli.CodeAzureQuota, "QuotaExceeded", false, 0)}, true
				case worker && in.Act == cluster.ActPut:
					booted = now
				case in.Act == cluster.ActNodes && tt.waits == in.Act && now.Sub(epoch) < wait:
					a := az.answer(t, w, in)
					for i, n := range a.Nodes {
						if strings.Contains(n.Name, "-workers-") {
							a.Nodes = append(a.Nodes[:i], a.Nodes[i+1:]...)
							break
						}
					}
					booted = now
					return a, true
				}
				if age := now.Sub(made); worker && age >= time.Hour {
					t.Fatalf("%s after the token was made", age)
				}
				return cluster.Answer{}, false
			})
			if age := booted.Sub(made); age > 40*time.Minute {
				t.Errorf("the machine boots %s after its token was made", age)
			}
		})
	}
}

// A list that failed proves nothing: Deleted takes two that had nothing.
func TestDeletedTakesTwoLists(t *testing.T) {
	t.Parallel()
	w, az := world(t), &azure{there: map[string]resource.Spec{}}
	w.Cluster.Delete = &lazuli.DeleteIntent{At: epoch, Actor: "somebody"}
	lists, good := 0, 0
	drive(t, w, az, epoch, epoch.Add(time.Hour), func() bool { return w.Cluster.Status.State == lazuli.StateDeleted },
		func(_ time.Time, in cluster.Intent) (cluster.Answer, bool) {
			if in.Act != cluster.ActList {
				return cluster.Answer{}, false
			}
			if lists++; lists%3 != 1 {
				return cluster.Answer{Intent: in, Err: failure(lazuli.CodeAzureThrottled, "TooManyRequests", true, 20*time.Second)}, true
			}
			good++
			return cluster.Answer{Intent: in}, true
		})
	if good != 2 {
		t.Errorf("Deleted after %d good lists of %d", good, lists)
	}
}

// What a resource waited for while it was wanted does not hold its removal up.
func TestDeletionDoesNotWaitForTheCreate(t *testing.T) {
	t.Parallel()
	w, az := world(t), &azure{there: map[string]resource.Spec{}}
	blocked := func(_ time.Time, in cluster.Intent) (cluster.Answer, bool) {
		if in.Act == cluster.ActPut && strings.HasPrefix(in.Node, "vm/") {
			return cluster.Answer{Intent: in, Err: failure(lazuli.CodeAzureQuota, "QuotaExceeded", false, time.Hour)}, true
		}
		return cluster.Answer{}, false
	}
	now := drive(t, w, az, epoch, epoch.Add(time.Hour), func() bool { return w.Nodes["vnet"] != nil && w.Cluster.Status.Message != "" || attempts(w) > 1 }, blocked)
	w = reload(w)
	w.Cluster.Delete = &lazuli.DeleteIntent{At: now, Actor: "somebody"}
	end := drive(t, w, az, now, now.Add(time.Hour), func() bool { return w.Cluster.Status.State == lazuli.StateDeleted }, blocked)
	if took := end.Sub(now); took > 2*time.Minute {
		t.Errorf("the deletion took %s", took)
	}
	if len(az.there) > 0 {
		t.Errorf("%d resources are left", len(az.there))
	}
}

func attempts(w *cluster.World) (most int) {
	for name, n := range w.Nodes {
		if strings.HasPrefix(name, "vm/") {
			most = max(most, n.Attempts)
		}
	}
	return most
}

// What was mended from outside is noticed soon, by one look at a time.
func TestMendedIsNoticed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		act    cluster.Act
		code   lazuli.Code
		azure  string
	}{
		{"a policy that denies", cluster.ActPut, lazuli.CodeAzureLocked, "RequestDisallowedByPolicy"},
		{"a role that was taken away", cluster.ActPut, lazuli.CodeAzurePermission, "AuthorizationFailed"},
		{"a lock", cluster.ActDelete, lazuli.CodeAzureLocked, "ScopeLocked"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			w, az := world(t), &azure{there: map[string]resource.Spec{}}
			w.Spec.Pools[0].Size = 5
			begin := epoch
			state := lazuli.StateRunning
			if tt.act == cluster.ActDelete {
				state = lazuli.StateDeleted
				play(t, w, az, lazuli.StateRunning, epoch)
				begin = epoch.Add(time.Hour)
				w = reload(w)
				w.Cluster.Delete = &lazuli.DeleteIntent{At: begin, Actor: "somebody"}
			}
			const mended = 50 * time.Minute
			calls := 0
			end := drive(t, w, az, begin, begin.Add(3*time.Hour), func() bool { return w.Cluster.Status.State == state },
				func(now time.Time, in cluster.Intent) (cluster.Answer, bool) {
					if in.Act != tt.act || now.Sub(begin) >= mended {
						return cluster.Answer{}, false
					}
					calls++
					return cluster.Answer{Intent: in, Err: failure(tt.code, tt.azure, false, 0)}, true
				})
			if late := end.Sub(begin) - mended; late > time.Minute {
				t.Errorf("it goes on %s after it could", late)
			}
			if calls > 400 {
				t.Errorf("%d calls in %s", calls, mended)
			}
		})
	}
}

// A clock that was ahead for a while holds nothing up for as long.
func TestClockThatWasAhead(t *testing.T) {
	t.Parallel()
	w, az := world(t), &azure{there: map[string]resource.Spec{}}
	drive(t, w, az, epoch.AddDate(10, 0, 0), epoch.AddDate(10, 0, 1), func() bool { return attempts(w) > 3 },
		func(_ time.Time, in cluster.Intent) (cluster.Answer, bool) {
			if in.Act == cluster.ActPut && strings.HasPrefix(in.Node, "vm/") {
				return cluster.Answer{Intent: in, Err: failure(lazuli.CodeAzureThrottled, "TooManyRequests", true, time.Hour)}, true
			}
			return cluster.Answer{}, false
		})
	end := drive(t, reload(w), az, epoch, epoch.Add(time.Hour), runs(w), func(time.Time, cluster.Intent) (cluster.Answer, bool) {
		return cluster.Answer{}, false
	})
	if took := end.Sub(epoch); took > time.Minute {
		t.Errorf("after the clock was right again it took %s", took)
	}
}

// Of a pool that shall be smaller the machine leaves that never joined.
func TestWhoNeverJoinedLeavesFirst(t *testing.T) {
	t.Parallel()
	w, az := world(t), &azure{there: map[string]resource.Spec{}}
	w.Spec.Pools[0].Size = 2
	play(t, w, az, lazuli.StateRunning, epoch)
	old := map[string]bool{}
	for name := range w.Machines {
		old[name] = true
	}
	absent := func(_ time.Time, in cluster.Intent) (cluster.Answer, bool) {
		if in.Act != cluster.ActNodes {
			return cluster.Answer{}, false
		}
		a := az.answer(t, w, in)
		a.Nodes = slices.DeleteFunc(a.Nodes, func(n workload.Node) bool { return !old[n.Name] })
		return a, true
	}
	w.Spec.Pools[0].Size = 3
	w.Cluster.Labels["another"] = "wish"
	now := drive(t, w, az, epoch.Add(time.Hour), epoch.Add(2*time.Hour), func() bool { return len(az.there) == 7+2*4 }, absent)
	w.Spec.Pools[0].Size = 2
	w.Cluster.Labels["another"] = "one"
	leaves := func() string {
		for name, m := range w.Machines {
			if m.Going() {
				return name
			}
		}
		return ""
	}
	drive(t, w, az, now, now.Add(time.Hour), func() bool { return leaves() != "" }, absent)
	if name := leaves(); old[name] {
		t.Errorf("%s leaves, which is ready", name)
	}
}

// A change that is taken back while it is under way is seen through: what was
// fulfilled before it is not what is there.
func TestAChangeTakenBack(t *testing.T) {
	t.Parallel()
	w, az := world(t), &azure{there: map[string]resource.Spec{}}
	play(t, w, az, lazuli.StateRunning, epoch)
	before := len(az.there)
	noRoom := func(_ time.Time, in cluster.Intent) (cluster.Answer, bool) {
		return cluster.Answer{Intent: in, Err: failure(lazuli.CodeAzureQuota, "QuotaExceeded", false, 0)}, in.Act == cluster.ActPut && strings.HasPrefix(in.Node, "vm/")
	}
	none := func(time.Time, cluster.Intent) (cluster.Answer, bool) { return cluster.Answer{}, false }
	settled := func() bool { return w.Cluster.Status.Settled != "" }
	now := drive(t, w, az, epoch.Add(time.Hour), epoch.Add(2*time.Hour), settled, none)
	w.Spec.Pools[0].Size++
	w.Cluster.Labels["size"] = "2" // part of the wish
	now = drive(t, w, az, now, now.Add(time.Hour), func() bool { return len(az.there) > before }, noRoom)
	w.Spec.Pools[0].Size--
	delete(w.Cluster.Labels, "size")
	drive(t, w, az, now, now.Add(time.Hour), func() bool { return len(az.there) == before && settled() }, none)
	for _, c := range w.Cluster.Status.Conditions {
		if c.Status != "True" {
			t.Errorf("condition %s is %s: %s", c.Type, c.Status, c.Message)
		}
	}
}
