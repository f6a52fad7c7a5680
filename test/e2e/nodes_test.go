// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A cluster on stock images, all of which install themselves through the
// mirror, and one with three control planes on a gallery image: real systemd,
// cloud-init, containerd, kubeadm, etcd and kubelet, from the user data that was
// written to Azure.
func TestRealNodes(t *testing.T) {
	before := marksOnMachine(t)
	s := newStage(t)
	account := s.account()
	stock, gallery := s.profile("stock", stockImage), s.profile("gallery", galleryImage)

	t.Run("stock 1+1", func(t *testing.T) {
		s.t = t
		began := time.Now()
		uid := s.create("stock", account, stock, 1, 1)
		s.running(uid, 10*time.Minute)
		t.Logf("1+1 on stock images: Running and Healthy after %s", time.Since(began).Round(time.Second))
		s.breakdown(uid)
		s.works(uid, 2)
		s.remove(uid)
	})
	t.Run("gallery 3+1", func(t *testing.T) {
		s.t = t
		began := time.Now()
		uid := s.create("gallery", account, gallery, 3, 1)
		s.running(uid, 10*time.Minute)
		t.Logf("3+1 on gallery images: Running and Healthy after %s", time.Since(began).Round(time.Second))
		s.breakdown(uid)
		s.works(uid, 4)

		s.call("PUT", "/v1/cloudconfigs/azure/"+s.cloudConfig(uid)+"/machinePools/w", pool("w", false, 2), 204)
		k := s.kube(uid)
		eventually(t, 5*time.Minute, "a second worker", func() bool { return k.ready() == 5 })
		s.loseControlPlane(uid, k)
		s.remove(uid)
	})
	s.t = t
	s.nothingLeft()
	s.end(s.cmd)
	s.end(s.sim)
	if left := marksOnMachine(t).without(before); len(left) > 0 {
		t.Errorf("left on this machine:\n%s", strings.Join(left, "\n"))
	}
}

func (s *stage) cloudConfig(uid string) string {
	s.t.Helper()
	return text(dig(s.call("GET", "/v1/spectroclusters/"+uid, "", 200), "spec", "cloudConfigRef", "uid"))
}

// works uses a cluster as its users do.
func (s *stage) works(uid string, nodes int) {
	s.t.Helper()
	k := s.kube(uid)
	if got := k.ready(); got != nodes {
		s.t.Errorf("%d nodes are Ready, want %d", got, nodes)
	}
	k.must(time.Minute, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {node-role.kubernetes.io/worker: ""}
      containers: [{name: hello, image: "simnode.local/hello:v1", imagePullPolicy: IfNotPresent, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: elsewhere}
spec:
  nodeSelector: {node-role.kubernetes.io/control-plane: ""}
  tolerations: [{operator: Exists}]
  containers: [{name: hello, image: "simnode.local/hello:v1", imagePullPolicy: IfNotPresent}]
`, "apply", "-f", "-")
	k.must(2*time.Minute, "", "rollout", "status", "deployment/web", "--timeout=50s")
	k.must(2*time.Minute, "", "wait", "--for=condition=Ready", "pod/elsewhere", "--timeout=50s")
	web := k.must(time.Minute, "", "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
	address := k.must(time.Minute, "", "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	where := k.must(time.Minute, "", "get", "pods", "-o", "custom-columns=NAME:.metadata.name,NODE:.spec.nodeName,IP:.status.podIP")
	s.t.Logf("pods:\n%s", where)
	for what, host := range map[string]string{"by its address": address, "by its name in the cluster's DNS": "web.default.svc.cluster.local"} {
		if got := k.must(time.Minute, "", "exec", "elsewhere", "--", "hello", "get", "http://"+host+"/"); got != web {
			s.t.Errorf("the service reached %s from another node says %q, want %q", what, got, web)
		}
	}
	if log := k.must(time.Minute, "", "logs", "deployment/web"); !strings.Contains(log, "hello from "+web) {
		s.t.Errorf("kubectl logs shows %q", log)
	}
	for _, m := range s.machines(uid) {
		s.ssh(k, m)
	}
}

// ssh signs in to a machine inside its virtual network, with the user's key.
func (s *stage) ssh(k *kube, m machine) {
	s.t.Helper()
	address := k.must(time.Minute, "", "get", "node", m.Name, "-o", `jsonpath={.status.addresses[?(@.type=="InternalIP")].address}`)
	out, err := exec.CommandContext(s.t.Context(), "ip", "netns", "exec", s.network(address), "ssh", "-i", s.key, "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR", m.Properties.OSProfile.AdminUsername+"@"+address,
		"sudo sh -c 'hostname; ls -A /etc/lazuli; stat -c %a /var/lib/lazuli/bootstrap.done'").CombinedOutput()
	if want := m.Name + "\nbootstrap.env\n600\n"; err != nil || string(out) != want { // no key, no token, no configuration stays
		s.t.Errorf("ssh to %s at %s: %v\n%s, want\n%s", m.Name, address, err, out, want)
	}
}

// network is the namespace of the virtual network that an address is in.
func (s *stage) network(address string) string {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), "ip", "netns", "list").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(name, "lz") || !strings.Contains(name, "-n") {
			continue
		}
		route, err := exec.CommandContext(s.t.Context(), "ip", "-n", name, "route", "show", address).Output()
		if err == nil && len(route) > 0 {
			return name
		}
	}
	s.t.Fatalf("no network of the simulator has %s:\n%s", address, out)
	return ""
}

// loseControlPlane deletes a control plane's machine in Azure, behind the hub's
// back, and sees that etcd goes on serving.
func (s *stage) loseControlPlane(uid string, k *kube) {
	s.t.Helper()
	var lost machine
	for _, m := range s.machines(uid) {
		if strings.Contains(m.Name, "-cp-") {
			lost = m // the last one: whichever it is, a majority stays
		}
	}
	s.arm("DELETE", lost.ID+computeVersion+"&forceDeletion=true", nil)
	eventually(s.t, 3*time.Minute, lost.Name+" NotReady", func() bool {
		out, err := k.try("", "get", "node", lost.Name, "--no-headers")
		return err == nil && strings.Contains(out, "NotReady")
	})
	for i := range 5 { // through the load balancer, whichever control plane answers
		name := "after-" + strconv.Itoa(i)
		k.must(time.Minute, "", "create", "configmap", name, "--from-literal=lost="+lost.Name)
		if got := k.must(time.Minute, "", "get", "configmap", name, "-o", "jsonpath={.data.lost}"); got != lost.Name {
			s.t.Errorf("etcd gives back %q", got)
		}
	}
	s.t.Logf("%s is gone; etcd serves", lost.Name)
}

// What goes wrong in a boot shows in the API, with the phase and the end of its log.
func TestBrokenBoots(t *testing.T) {
	s := newStage(t)
	account, gallery := s.account(), s.profile("gallery", galleryImage)
	rule := func(keep func(string) bool) func([]byte) []byte {
		return func(body []byte) []byte { return withoutRules(body, keep) }
	}
	cases := []struct {
		name, reason string
		spoil        spoil
		within       time.Duration
		want         []string
	}{
		{"flag", "a flag that kubeadm does not know", userData("flag-", "kubeadm init --config", "kubeadm init --frobnicate --config"), bootTimeout/2 + time.Minute,
			[]string{"kubeadm-init", "unknown flag: --frobnicate"}},
		{"endpoint", "an endpoint that the worker cannot reach",
			userData(`endpoint-[^/]*-w-`, ".westeurope.cloudapp.azure.com:6443", ".westeurope.cloudapp.azure.com:6444"), 2*bootTimeout + time.Minute,
			[]string{"kubeadm-join", "6444"}},
		{"rule", "no rule lets anybody in to the API server", spoil{regexp.MustCompile(`(?i)/networkSecurityGroups/rule-`), rule(func(string) bool { return false })},
			bootTimeout + time.Minute, []string{"nothing answers", "TCP 6443"}},
	}
	for _, c := range cases {
		s.spoil = append(s.spoil, c.spoil)
	}
	uids := map[string]string{}
	began := time.Now()
	for _, c := range cases {
		uids[c.name] = s.create(c.name, account, gallery, 1, 1)
	}
	for _, c := range cases {
		var message string
		shown := func() bool {
			var status string
			status, message = s.condition(uids[c.name], "BootstrappingDone")
			return status == "False" && !slices.ContainsFunc(c.want, func(w string) bool { return !strings.Contains(message, w) })
		}
		tick := time.NewTicker(time.Second)
		for ; !shown(); <-tick.C {
			if time.Since(began) > c.within {
				t.Fatalf("%s does not show in BootstrappingDone after %s; it says:\n%s", c.reason, c.within, message)
			}
		}
		tick.Stop()
		t.Logf("%s, told after %s:\n%s", c.reason, time.Since(began).Round(time.Second), message)
	}
	for _, uid := range uids {
		s.remove(uid)
	}
	s.nothingLeft()
}

// A simulator that is killed leaves guests behind for nobody: they die with it,
// and the next one clears away what they used.
func TestKilledSimulatorIsClearedUp(t *testing.T) {
	before := marksOnMachine(t)
	s := newStage(t)
	s.create("short", s.account(), s.profile("gallery", galleryImage), 1, 1)
	eventually(t, 2*time.Minute, "guests that boot", func() bool { return len(marksOnMachine(t).without(before)) > 5 })
	if err := s.sim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.sim.Wait()
	if left := marksOnMachine(t).without(before); len(left) == 0 {
		t.Error("nothing was there to clear up: this proves nothing")
	}
	s.end(s.cmd)
	s.startSim(filepath.Join(s.dir, "lazuli"))
	s.end(s.sim)
	if left := marksOnMachine(t).without(before); len(left) > 0 {
		t.Errorf("left on this machine:\n%s", strings.Join(left, "\n"))
	}
}

// marks are what simulated machines leave on the one they run on.
type marks map[string]bool

func (m marks) without(others marks) []string {
	var out []string
	for k := range m {
		if !others[k] {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

var ours = regexp.MustCompile(`lazuli-sim|/lz[0-9a-z]+|systemd-nspawn`)

// marksOnMachine lists namespaces, mounts, loop devices, cgroups and processes.
func marksOnMachine(t *testing.T) marks {
	t.Helper()
	out := marks{}
	ctx := context.WithoutCancel(t.Context())
	if list, err := exec.CommandContext(ctx, "ip", "netns", "list").Output(); err == nil {
		for line := range strings.Lines(string(list)) {
			name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			out["namespace "+name] = true
		}
	}
	if list, err := exec.CommandContext(ctx, "losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").Output(); err == nil {
		for line := range strings.Lines(string(list)) {
			out["loop device "+strings.TrimSpace(line)] = true
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err == nil {
		for line := range strings.Lines(string(mounts)) {
			if ours.MatchString(line) {
				out["mount "+strings.Fields(line)[1]] = true
			}
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*/*", "/sys/fs/cgroup/*"} {
		groups, _ := filepath.Glob(pattern)
		for _, g := range groups {
			if st, err := os.Stat(g); err == nil && st.IsDir() {
				out["cgroup "+g] = true
			}
		}
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range processes {
		line, err := os.ReadFile(p)
		command := strings.ReplaceAll(string(line), "\x00", " ")
		if err == nil && ours.MatchString(command) && !strings.Contains(command, "e2e.test") {
			out["process "+filepath.Base(filepath.Dir(p))+" "+command[:min(len(command), 80)]] = true
		}
	}
	return out
}

var phaseMark = regexp.MustCompile(`lazuli-bootstrap phase=([a-z-]+) state=([a-z]+) attempt=\d+ node=\S+ uptime=([0-9.]+)`)

// The parts of the way to Ready that are no phases of the bootstrap.
const (
	phaseBoot    = "boot and cloud-init"     // until the bootstrap starts
	phaseNetwork = "initialiser and network" // from the Node to its being Ready
)

// modelled are the latency model's figures for the same phases (azuresim/data
// and model/draw.go), in seconds.
func modelled() map[string]string {
	return map[string]string{
		phaseBoot:      "34 (8 to 110) to the report, then 4 to 12",
		phaseNetwork:   "node manager 4 to 15 where its image is pulled, its work 1 to 3, the network 10 to 40",
		"image":        "30 to 90 on stock, 0 in a gallery's",
		"kubeadm-init": "18 to 45",
		"kubeadm-join": "worker 3 to 11; control plane 14 to 43, one learner at a time",
	}
}

// breakdown prints where the time of each machine's boot went, as its console
// tells it, beside what the model level would have drawn.
func (s *stage) breakdown(uid string) {
	s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%-28s %-34s %9s   %s\n", "machine", "phase", "seconds", "latency model")
	k := s.kube(uid)
	for _, m := range s.machines(uid) {
		began := map[string]float64{}
		first := true
		row := func(phase string, took float64) {
			fmt.Fprintf(&b, "%-28s %-34s %9.1f   %s\n", m.Name, phase, took, cmp.Or(modelled()[phase], "-"))
		}
		for _, mark := range phaseMark.FindAllStringSubmatch(s.console(m), -1) {
			at, err := strconv.ParseFloat(mark[3], 64)
			if err != nil {
				continue
			}
			switch phase := mark[1]; mark[2] {
			case "started":
				if first {
					row(phaseBoot, at-s.bootedAt(m))
					first = false
				}
				if _, again := began[phase]; !again {
					began[phase] = at
				}
			case "done":
				row(phase, at-began[phase])
			}
		}
		row(phaseNetwork, s.readyAfter(k, m))
	}
	s.t.Logf("where the time went:\n%s", b.String())
}

// readyAfter is how long after its Node was made a machine became Ready, in
// whole seconds.
func (s *stage) readyAfter(k *kube, m machine) float64 {
	s.t.Helper()
	made, ready, _ := strings.Cut(k.must(time.Minute, "", "get", "node", m.Name, "-o",
		`jsonpath={.metadata.creationTimestamp} {.status.conditions[?(@.type=="Ready")].lastTransitionTime}`), " ")
	from, err := time.Parse(time.RFC3339, made)
	if err != nil {
		s.t.Fatal(err)
	}
	to, err := time.Parse(time.RFC3339, ready)
	if err != nil {
		s.t.Fatal(err)
	}
	return to.Sub(from).Seconds()
}

// bootedAt is the uptime of this machine, which its guests share, when a guest
// was started: the first line of its console says so.
func (s *stage) bootedAt(m machine) float64 {
	s.t.Helper()
	found := regexp.MustCompile(`started at uptime=([0-9.]+)`).FindStringSubmatch(s.console(m))
	if found == nil {
		return 0
	}
	at, _ := strconv.ParseFloat(found[1], 64)
	return at
}
