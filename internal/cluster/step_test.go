// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/bootstrap"
	"github.com/lazuli-dev/lazuli/internal/cluster"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

var update = flag.Bool("update", false, "write the golden files")

var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// golden compares got with a file that people review.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// world is a cluster of one control plane and one worker, before anything
// happened.
func world(t *testing.T) *cluster.World {
	t.Helper()
	packs, err := pack.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	var layers []lazuli.Layer
	for _, name := range []string{"ubuntu-azure", "kubernetes", "cni-calico-azure", "csi-azure"} {
		p, err := packs.Resolve(name, "", "")
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, lazuli.Layer{Name: name, Tag: p.Version, PackUID: p.UID, Type: "spectro", Layer: string(p.Layer)})
	}
	settings, err := packs.Settings(layers)
	if err != nil {
		t.Fatal(err)
	}
	c := &lazuli.Cluster{
		Meta: lazuli.Meta{
			UID: "6921d3a0f0e1d2c3b4a59687", Name: "prod", Project: "p",
			Labels: map[string]string{"env": "prod", "critical": "spectro__tag"},
		},
		Profiles: []lazuli.ProfileSnapshot{{UID: "prof", Name: "base", Type: "infra", Layers: layers}},
		Status:   lazuli.ClusterStatus{State: lazuli.StatePending},
	}
	spec := lazuli.ClusterSpec{
		SubscriptionID: "00000000-0000-0000-0000-000000000003", ResourceGroup: "rg", Location: "westeurope", SSHKey: "ssh-ed25519 AAAA",
		Pools: []lazuli.Pool{
			{Name: "workers", Size: 1, InstanceType: "Standard_D4s_v3", DiskType: "Standard_LRS", DiskSizeGB: 60, Zones: []string{"2"}},
			{Name: "cp", ControlPlane: true, Size: 1, InstanceType: "Standard_D2s_v3", DiskType: "Premium_LRS", DiskSizeGB: 60},
		},
	}
	w := cluster.NewWorld(c, spec, settings, packs)
	w.TenantID = "00000000-0000-0000-0000-000000000001"
	w.Cloud = resource.Cloud{Name: "AzurePublicCloud"}
	return w
}

func sizes() []resource.Size {
	zones := []string{"1", "2", "3"}
	return []resource.Size{
		{Name: "Standard_D2s_v3", VCPUs: 2, Zones: zones, Generations: []string{"V1", "V2"}, Arch: "x64", PremiumIO: true, AcceleratedNetworking: true},
		{Name: "Standard_D4s_v3", VCPUs: 4, Zones: zones, Generations: []string{"V1", "V2"}, Arch: "x64", PremiumIO: true, AcceleratedNetworking: true},
	}
}

// seeded is a source of the same random bytes in each run.
func seeded() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{1}) }

// azure is what a test's Azure holds, by lower-case id.
type azure struct {
	there   map[string]resource.Spec
	writes  int
	deletes int
	sizes   []resource.Size // nil are all sizes in three zones
	asked   func(cluster.Intent)
}

// answer carries out an intent at once and well.
func (az *azure) answer(t *testing.T, w *cluster.World, in cluster.Intent) cluster.Answer {
	t.Helper()
	a := cluster.Answer{Intent: in, Result: resource.Result{State: resource.StateSucceeded}}
	key := strings.ToLower(in.AzureID)
	if az.asked != nil {
		az.asked(in)
	}
	switch in.Act {
	case cluster.ActSizes:
		if a.Sizes = az.sizes; a.Sizes == nil {
			a.Sizes = sizes()
		}
	case cluster.ActMakeKeys:
		a.Secrets = &cluster.Secrets{PKI: fixturePKI(t), Tokens: map[string]bootstrap.Token{}}
		addTokens(a.Secrets, in.Joiners)
	case cluster.ActMakeToken:
		a.Secrets = w.Secrets
		addTokens(a.Secrets, in.Joiners)
	case cluster.ActMakeKubeconfig:
		a.Secrets = w.Secrets
		a.Secrets.AdminKubeconfig = []byte("kubeconfig of " + in.Server)
	case cluster.ActPut:
		if az.there[key] != nil {
			t.Errorf("%s is written twice", in.AzureID)
		}
		az.writes++
		az.there[key] = in.Spec
		a.Result.Facts = map[string]string{resource.FactIPAddress: "127.64.0.1", resource.FactPrivateIP: "10.0.0.4"}
	case cluster.ActGet:
		if az.there[key] == nil {
			a.Result = resource.Result{State: resource.StateAbsent}
		}
		a.Result.Facts = map[string]string{resource.FactIPAddress: "127.64.0.1", resource.FactPrivateIP: "10.0.0.4"}
	case cluster.ActDelete:
		az.deletes++
		delete(az.there, key)
		a.Result = resource.Result{State: resource.StateWorking}
	case cluster.ActList:
		for _, s := range az.there {
			a.Found = append(a.Found, resource.Found{ID: s.ResourceID(), Type: s.Type(), State: resource.StateSucceeded})
		}
	case cluster.ActNodes:
		for _, m := range w.Machines {
			if az.there[strings.ToLower(m.VMID)] != nil {
				a.Nodes = append(a.Nodes, workload.Node{Name: m.Name, Ready: true, Version: "v1.36.3"})
			}
		}
	case cluster.ActStatus:
		a.Ready = true
	}
	return a
}

func addTokens(s *cluster.Secrets, machines []string) {
	for _, name := range machines {
		s.Tokens[name] = bootstrap.Token(fmt.Sprintf("abcd%02x.0123456789abcdef", len(s.Tokens)))
	}
}

// play steps until nothing is left to do, answers everything at once, and
// returns one line a step.
func play(t *testing.T, w *cluster.World, az *azure, until lazuli.ClusterState, now time.Time) []string {
	t.Helper()
	var waves []string
	var news []cluster.Answer
	random := seeded()
	for i := range 100 {
		plan, err := cluster.Step(w, news, map[string]bool{}, now, random)
		if err != nil {
			t.Fatal(err)
		}
		news = nil
		var line []string
		for _, in := range plan.Intents {
			line = append(line, in.Key())
			news = append(news, az.answer(t, w, in))
		}
		slices.Sort(line)
		waves = append(waves, strings.Join(line, ", "))
		if w.Cluster.Status.State == until {
			return waves
		}
		if len(plan.Intents) == 0 {
			if plan.Wake.IsZero() {
				t.Fatalf("step %d: nothing to do and nothing to wait for in state %s", i, w.Cluster.Status.State)
			}
			now = plan.Wake
		}
	}
	t.Fatalf("not %s after 100 steps; the last: %v", until, waves[len(waves)-5:])
	return nil
}

func TestCreateGraph(t *testing.T) {
	t.Parallel()
	w := world(t)
	az := &azure{there: map[string]resource.Spec{}}
	waves := play(t, w, az, lazuli.StateRunning, epoch)
	drawing, err := w.Mermaid()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "create.mermaid", strings.ReplaceAll(drawing, ":::done", ""))
	golden(t, "create.waves", strings.Join(waves, "\n")+"\n")
	if want := 7 + 2*2; az.writes != want {
		t.Errorf("%d writes, want 7 and 2 a machine: %d", az.writes, want)
	}
	for _, c := range w.Cluster.Status.Conditions {
		if c.Status != "True" {
			t.Errorf("condition %s is %s (%s) in a running cluster", c.Type, c.Status, c.Message)
		}
	}
}

// The zones of a pool are those that are allowed; what of them cannot be had is
// told, and refused only when nothing remains.
func TestZonesThatCannotBeHad(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		sold   []string // of the workers' size
		here   []string // of the other
		asked  []string
		want   []string // zones of the machines; nil is that there are none
		says   string
	}{
		{"all are sold", []string{"1", "2", "3"}, []string{"1", "2", "3"}, []string{"1", "2"}, []string{"1", "2"}, ""},
		{"not all are", []string{"1", "2"}, []string{"1", "2", "3"}, []string{"2", "3"}, []string{"2", "2"}, "is not sold in zone 3 of westeurope"},
		{"a region without zones", nil, nil, []string{"1", "2"}, []string{"", ""}, "westeurope has no availability zones"},
		{"none is sold", []string{"1"}, []string{"1", "2", "3"}, []string{"2", "3"}, nil, ""},
	} {
		for _, plane := range []bool{false, true} {
			w := world(t)
			az := &azure{there: map[string]resource.Spec{}, sizes: sizes()}
			az.sizes[0].Zones, az.sizes[1].Zones = tt.here, tt.sold
			pool := &w.Spec.Pools[0]
			pool.Size, pool.Zones = 2, tt.asked
			if plane {
				w.Spec.Pools[1].ControlPlane, pool.ControlPlane = false, true
			}
			says, news, random := "", []cluster.Answer(nil), seeded()
			for range 3 {
				plan, err := cluster.Step(w, news, map[string]bool{}, epoch, random)
				if err != nil {
					t.Fatal(err)
				}
				says = strings.Join(w.Says(), "\n")
				news = nil
				for _, in := range plan.Intents {
					news = append(news, az.answer(t, w, in))
				}
			}
			var got []string
			for _, m := range w.Machines {
				if m.Pool == pool.Name {
					got = append(got, m.Zone)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s, control plane %t: zones (-want +got):\n%s", tt.reason, plane, diff)
			}
			if !strings.Contains(says, tt.says) || tt.says == "" && strings.Contains(says, "Pool workers") {
				t.Errorf("%s, control plane %t: it says %q", tt.reason, plane, says)
			}
			if plane && tt.want != nil && tt.want[0] == "" {
				set := false
				for _, s := range az.there {
					set = set || s.Type() == resource.TypeAvailabilitySet
				}
				if !set {
					t.Errorf("%s: there is no availability set", tt.reason)
				}
			}
		}
	}
}

// A label that Azure takes for no tag's name stays off every resource and out of
// the cloud controller's configuration.
func TestLabelsThatAreNoTags(t *testing.T) {
	t.Parallel()
	w := world(t)
	w.Cluster.Labels = map[string]string{"app.kubernetes.io/name": "shop", "env": "prod"}
	az := &azure{there: map[string]resource.Spec{}}
	az.asked = func(in cluster.Intent) {
		if in.Act == cluster.ActApply && strings.Contains(string(in.Release.Set.Documents), "app.kubernetes.io/name: shop") {
			t.Errorf("release %s has the label", in.Node)
		}
	}
	play(t, w, az, lazuli.StateRunning, epoch)
	for id, s := range az.there {
		if text := fmt.Sprintf("%+v", s); strings.Contains(text, "app.kubernetes.io") || !strings.Contains(text, "env:prod") {
			t.Errorf("%s is %s", id, text)
		}
	}
}

// What a kubelet may not say of itself is no part of what its machine boots with,
// and put on the Node by an administrator instead.
func TestLabelsThatAKubeletMayNotSet(t *testing.T) {
	t.Parallel()
	w := world(t)
	w.Spec.Pools[0].Labels = map[string]string{
		"tier": "front", "node-role.kubernetes.io/worker": "mine", "node-role.kubernetes.io/gpu": "", "app.kubernetes.io/part-of": "shop",
	}
	az := &azure{there: map[string]resource.Spec{}}
	var marked map[string]string
	az.asked = func(in cluster.Intent) {
		if m := w.Machines[strings.TrimPrefix(in.Node, "node/")]; in.Act == cluster.ActMark && m != nil && m.Pool == "workers" {
			marked = in.Marks.Labels
		}
	}
	play(t, w, az, lazuli.StateRunning, epoch)
	if diff := cmp.Diff(w.Spec.Pools[0].Labels, marked); diff != "" {
		t.Errorf("labels of the Node (-want +got):\n%s", diff)
	}
	for _, s := range az.there {
		vm, ok := s.(resource.VirtualMachine)
		if !ok || w.Machines[vm.ComputerName].Pool != "workers" {
			continue
		}
		text := string(vm.UserData)
		if !strings.Contains(text, "tier=front") || strings.Contains(text, "gpu") || strings.Contains(text, "part-of") || strings.Contains(text, "worker=mine") {
			t.Errorf("the machine boots with\n%s", text)
		}
	}
}

// Every resource that a cluster is made of, as it would be written.
func TestCreateResources(t *testing.T) {
	t.Parallel()
	w := world(t)
	az := &azure{there: map[string]resource.Spec{}}
	play(t, w, az, lazuli.StateRunning, epoch)
	var out strings.Builder
	for _, id := range slices.Sorted(keys(az.there)) {
		s := az.there[id]
		fmt.Fprintf(&out, "%s\n  %+v\n", s.ResourceID(), s)
	}
	golden(t, "create.resources", out.String())
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// A hub that dies after any commit, with all answers lost, looks before it
// writes again: nothing is made twice, and the cluster comes up.
func TestCrashAfterEveryStep(t *testing.T) {
	t.Parallel()
	steps := len(play(t, world(t), &azure{there: map[string]resource.Spec{}}, lazuli.StateRunning, epoch))
	for crash := range steps {
		t.Run(fmt.Sprint(crash), func(t *testing.T) {
			t.Parallel()
			w, az, random := world(t), &azure{there: map[string]resource.Spec{}}, seeded()
			var news []cluster.Answer
			for range crash + 1 {
				plan, err := cluster.Step(w, news, map[string]bool{}, epoch, random)
				if err != nil {
					t.Fatal(err)
				}
				news = nil
				for _, in := range plan.Intents {
					news = append(news, az.answer(t, w, in))
				}
			}
			// The answers are lost with the process; the keys are on disk.
			if secrets := w.Secrets; secrets == nil {
				for _, a := range news {
					if a.Secrets != nil {
						w.Secrets = a.Secrets
					}
				}
			}
			play(t, reload(w), az, lazuli.StateRunning, epoch.Add(time.Minute))
			if want := 7 + 2*2; len(az.there) != want {
				t.Errorf("%d resources, want %d", len(az.there), want)
			}
		})
	}
}

// Deletion ends with nothing left from any moment of a create.
func TestDeleteFromEveryStep(t *testing.T) {
	t.Parallel()
	steps := len(play(t, world(t), &azure{there: map[string]resource.Spec{}}, lazuli.StateRunning, epoch))
	for at := range steps {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			w, az, random := world(t), &azure{there: map[string]resource.Spec{}}, seeded()
			foreign := resource.PublicIP{Common: resource.Common{ID: resource.ID("s", "rg", resource.TypePublicIP, "theirs")}}
			var news []cluster.Answer
			for range at + 1 {
				plan, err := cluster.Step(w, news, map[string]bool{}, epoch, random)
				if err != nil {
					t.Fatal(err)
				}
				news = nil
				for _, in := range plan.Intents {
					news = append(news, az.answer(t, w, in))
				}
			}
			w = reload(w)
			w.Cluster.Delete = &lazuli.DeleteIntent{At: epoch.Add(time.Minute), Actor: "somebody"}
			waves := play(t, w, az, lazuli.StateDeleted, epoch.Add(time.Minute))
			if len(az.there) != 0 {
				t.Errorf("left: %v", slices.Sorted(keys(az.there)))
			}
			for _, wave := range waves {
				if strings.Contains(wave, foreign.ID) || strings.Contains(wave, "put ") {
					t.Errorf("a deletion does %s", wave)
				}
			}
			if at == steps-1 {
				golden(t, "delete.waves", strings.Join(waves, "\n")+"\n")
			}
		})
	}
}

// What a write that was held back makes after the end is found and deleted, at
// the next of two looks, and the cluster stays Deleted. Each look that finds
// nothing is one list.
func TestLooksBackAfterTheEnd(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		at     time.Duration // after the end
		known  bool          // a record has the id
		where  bool          // the account is still there
		deaf   int           // lists that fail first
		lists  int           // at least two for what was found, one that sees nothing more
		left   int
	}{
		{"nothing", time.Hour, true, true, 0, 2, 1},
		{"late", time.Second, true, true, 0, 4, 0},
		{"later", 5 * time.Minute, true, true, 0, 4, 0},
		{"without a record", time.Second, false, true, 0, 4, 0},
		{"lists fail", time.Second, true, true, 2, 6, 0},
		{"the account is gone", time.Second, true, false, 0, 0, 1},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			w, az, random := world(t), &azure{there: map[string]resource.Spec{}}, seeded()
			play(t, w, az, lazuli.StateRunning, epoch)
			var spec resource.Spec
			for _, s := range az.there {
				if s.Type() == resource.TypeSecurityGroup {
					spec = s
				}
			}
			if !tc.known {
				spec = resource.PublicIP{Common: resource.Common{ID: resource.ID("s", "rg", resource.TypePublicIP, "unknown")}}
			}
			w = reload(w)
			w.Cluster.Delete = &lazuli.DeleteIntent{At: epoch.Add(time.Hour), Actor: "somebody"}
			now, lists := epoch.Add(time.Hour), 0
			var end time.Time
			var news []cluster.Answer
			for end.IsZero() || now.Before(end.Add(time.Hour)) {
				if len(news) == 0 && !end.IsZero() { // a run of its own
					w = reload(w)
					if tc.where {
						w.Reaches(resource.Target{SubscriptionID: "s"})
					}
				}
				plan, err := cluster.Step(w, news, map[string]bool{}, now, random)
				if err != nil {
					t.Fatal(err)
				}
				switch deleted := w.Cluster.Status.State == lazuli.StateDeleted; {
				case deleted && end.IsZero():
					end = now
				case !deleted && !end.IsZero():
					t.Fatalf("the cluster is %s again", w.Cluster.Status.State)
				}
				news = nil
				for _, in := range plan.Intents {
					if in.Act == cluster.ActList && !end.IsZero() {
						lists++
					}
					a := az.answer(t, w, in)
					if in.Act == cluster.ActList && !end.IsZero() && lists <= tc.deaf {
						a = cluster.Answer{Intent: in, Err: lazuli.Errorf(lazuli.CodeAzureUnreachable, "no answer")}
					}
					news = append(news, a)
				}
				if len(news) > 0 {
					continue
				}
				if !end.IsZero() && now.Before(end.Add(tc.at)) && !plan.Wake.Before(end.Add(tc.at)) {
					az.there[strings.ToLower(spec.ResourceID())] = spec
				}
				now = plan.Wake
			}
			if want := end.Add(w.KeepDeleted); !now.Equal(want) {
				t.Errorf("the next look is at %s, want the end of the records %s", now.Sub(end), want.Sub(end))
			}
			if len(az.there) != tc.left {
				t.Errorf("left: %v", slices.Sorted(keys(az.there)))
			}
			if lists < tc.lists || lists > tc.lists+2 {
				t.Errorf("%d lists, want about %d", lists, tc.lists)
			}
		})
	}
}

// A wish that no release serves yet is kept, and nothing is made of it: the
// cluster would be another. It can be deleted.
func TestWhatCannotBeMadeWaits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		wish   func(*lazuli.ClusterSpec)
		want   string
	}{
		{"never a network of ours in place of the user's", func(s *lazuli.ClusterSpec) { s.VNetName = "theirs" }, "static placement"},
		{"never an open API server in place of a private one", func(s *lazuli.ClusterSpec) { s.PrivateAPIServer = true }, "private API server"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			w, az := world(t), &azure{there: map[string]resource.Spec{}}
			tt.wish(&w.Spec)
			for range 3 {
				plan, err := cluster.Step(w, nil, map[string]bool{}, epoch, seeded())
				if err != nil {
					t.Fatal(err)
				}
				if len(plan.Intents) > 0 || !plan.Wake.IsZero() {
					t.Fatalf("it does %v, and wakes at %s", plan.Intents, plan.Wake)
				}
			}
			if st := w.Cluster.Status; st.State != lazuli.StatePending || !strings.Contains(st.Message, tt.want) || len(w.Nodes) > 0 {
				t.Errorf("it is %s with %d nodes: %s", st.State, len(w.Nodes), st.Message)
			}
			w.Cluster.Delete = &lazuli.DeleteIntent{At: epoch, Actor: "somebody"}
			play(t, w, az, lazuli.StateDeleted, epoch)
			if az.writes > 0 || az.deletes > 0 {
				t.Errorf("%d writes and %d deletes", az.writes, az.deletes)
			}
		})
	}
}

// Without a user's intent nothing is ever deleted, whatever Azure answers.
func TestNothingIsDeletedUnasked(t *testing.T) {
	t.Parallel()
	w, az := world(t), &azure{there: map[string]resource.Spec{}}
	play(t, w, az, lazuli.StateRunning, epoch)
	az.there = map[string]resource.Spec{} // a stale or lying Azure
	now := epoch.Add(time.Hour)
	var news []cluster.Answer
	for range 20 {
		plan, err := cluster.Step(w, news, map[string]bool{}, now, seeded())
		if err != nil {
			t.Fatal(err)
		}
		news = nil
		for _, in := range plan.Intents {
			if in.Act == cluster.ActDelete {
				t.Fatalf("deletes %s", in.AzureID)
			}
			news = append(news, cluster.Answer{Intent: in, Err: lazuli.Errorf(lazuli.CodeAzureUnreachable, "no answer")})
		}
		now = now.Add(time.Minute)
	}
}

// reload is the world after a crash: what was recorded, and nothing else.
func reload(w *cluster.World) *cluster.World {
	fresh := cluster.NewWorld(w.Cluster, w.Spec, w.Settings, w.Packs)
	fresh.TenantID, fresh.Cloud, fresh.Secrets = w.TenantID, w.Cloud, w.Secrets
	fresh.Machines, fresh.Nodes = w.Machines, w.Nodes
	return fresh
}

// fixturePKI makes a PKI once per test: its keys are never checked here.
func fixturePKI(t *testing.T) bootstrap.PKI {
	t.Helper()
	pki, err := bootstrap.NewPKI(seeded(), epoch, "prod")
	if err != nil {
		t.Fatal(err)
	}
	return pki
}
