// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

// install applies one of the two daemon sets of testdata/addons.yaml.
func (l *lab) install(cp string, which int) {
	l.t.Helper()
	doc := strings.Split(l.data("addons.yaml", cp), "\n---\n")[which]
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.store(cp).Create(kubeapi.DaemonSets, u); err != nil {
		l.t.Fatal(err)
	}
}

const (
	nodeManager = 0
	network     = 1
)

func taintKeys(n *corev1.Node) string {
	var out []string
	for _, t := range n.Spec.Taints {
		out = append(out, t.Key+":"+string(t.Effect))
	}
	return strings.Join(out, " ")
}

func TestInitAndWorker(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.boot("worker-0", l.data("worker.yaml", "worker-0"))
	l.up()
	if took := l.Now().Sub(epoch); took < 25*time.Second || took > 5*time.Minute {
		t.Errorf("kubeadm init was done after %s", took)
	}
	if !l.advance(2*time.Minute, func() bool { return l.node("cp-0", "worker-0") != nil }) {
		t.Fatalf("the worker does not join:\n%s", l.console[l.id("worker-0")])
	}
	l.advance(time.Minute, nil)
	cp := l.node("cp-0", "cp-0")
	for _, want := range []string{"node-role.kubernetes.io/control-plane:NoSchedule", "node.cloudprovider.kubernetes.io/uninitialized:NoSchedule", "node.kubernetes.io/not-ready:NoSchedule"} {
		if !strings.Contains(taintKeys(cp), want) {
			t.Errorf("the control plane has no taint %s: %s", want, taintKeys(cp))
		}
	}
	if _, ok := cp.Labels["node.kubernetes.io/exclude-from-external-load-balancers"]; !ok || cp.Labels["pool"] != "control" {
		t.Errorf("labels of the control plane: %v", cp.Labels)
	}
	if l.ready("cp-0", "cp-0") != corev1.ConditionFalse {
		t.Errorf("without a network the node is Ready=%s", l.ready("cp-0", "cp-0"))
	}

	l.install("cp-0", network)
	l.advance(5*time.Minute, nil)
	if l.ready("cp-0", "worker-0") != corev1.ConditionFalse {
		t.Error("a network makes a node ready that nobody has initialised")
	}
	l.install("cp-0", nodeManager)
	begin := l.Now()
	both := func() bool {
		return l.ready("cp-0", "cp-0") == corev1.ConditionTrue && l.ready("cp-0", "worker-0") == corev1.ConditionTrue
	}
	if !l.advance(5*time.Minute, both) {
		t.Fatal("node manager and network are there, the nodes are not ready")
	}
	if took := l.Now().Sub(begin); took < 10*time.Second || took > 75*time.Second {
		t.Errorf("ready after %s", took)
	}
	l.advance(time.Minute, nil)
	n := l.node("cp-0", "worker-0")
	if n.Labels["topology.kubernetes.io/zone"] != "westeurope-2" || n.Labels["node.kubernetes.io/instance-type"] != "Standard_D2s_v3" {
		t.Errorf("labels of the worker: %v", n.Labels)
	}
	if taintKeys(n) != "" || !strings.HasSuffix(n.Spec.ProviderID, "/virtualMachines/worker-0") || n.Spec.PodCIDR == "" {
		t.Errorf("worker: taints %q, provider id %q, pod network %q", taintKeys(n), n.Spec.ProviderID, n.Spec.PodCIDR)
	}
	if got := l.node("cp-0", "cp-0").Spec.ProviderID; got != "azure://"+l.id("cp-0") {
		t.Errorf("provider id by the node manager: %q", got)
	}
	for _, u := range l.store("cp-0").List(kubeapi.Pods, "") {
		if phase, _, err := unstructured.NestedString(u.Object, "status", "phase"); err != nil || phase != "Running" {
			t.Errorf("pod %s is %s (%v)", u.GetName(), phase, err)
		}
	}
	for _, u := range l.store("cp-0").List(kubeapi.DaemonSets, "") {
		ready, _, err := unstructured.NestedInt64(u.Object, "status", "numberReady")
		if err != nil || ready != 2 {
			t.Errorf("daemon set %s has %d ready pods (%v)", u.GetName(), ready, err)
		}
	}
}

func TestControlPlanesJoinOneAtATime(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.boot("cp-1", l.data("controlplane.yaml", "cp-1"))
	l.boot("cp-2", l.data("controlplane.yaml", "cp-2"))
	l.up()
	joined := func(name string) bool {
		return l.machines.Probe(l.id(name), 6443, "/readyz") && l.node("cp-0", name) != nil
	}
	if !l.advance(5*time.Minute, func() bool { return joined("cp-1") && joined("cp-2") }) {
		t.Fatalf("control planes do not join:\n%s\n%s", l.console[l.id("cp-1")], l.console[l.id("cp-2")])
	}
	if waited := l.console[l.id("cp-1")] + l.console[l.id("cp-2")]; !strings.Contains(waited, "too many learner members") {
		t.Error("both were etcd learners at the same time")
	}
	l.machines.Stop(l.id("cp-0"))
	l.machines.Forget(l.id("cp-0"))
	if l.ready("cp-1", "cp-2") == "" {
		t.Error("the state went with one of three control planes")
	}
	if !l.advance(2*time.Minute, func() bool { return l.ready("cp-1", "cp-0") == corev1.ConditionUnknown }) {
		t.Errorf("the node of a machine that is gone is Ready=%s", l.ready("cp-1", "cp-0"))
	}
}

func TestBootFailures(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		data   func(l *lab) string
		want   string
	}{
		{"no user data", func(*lab) string { return "" }, "no user data"},
		{"a shell script", func(*lab) string { return "#!/bin/sh\nkubeadm init\n" }, "unhandled non-multipart"},
		{"YAML that does not parse", func(*lab) string { return "#cloud-config\nruncmd: [\n" }, "failed loading yaml blob"},
		{"nothing runs kubeadm", func(l *lab) string {
			return strings.ReplaceAll(l.data("init.yaml", "cp-0"), "- [/usr/local/bin/bootstrap]", "- echo kubeadm init --config /run/kubeadm/kubeadm.yaml")
		}, "no command runs kubeadm"},
		{"the script may not run", func(l *lab) string {
			return strings.ReplaceAll(l.data("init.yaml", "cp-0"), `"0755"`, `"0644"`)
		}, "Permission denied"},
		{"the configuration is elsewhere", func(l *lab) string {
			return strings.ReplaceAll(l.data("init.yaml", "cp-0"), "CONFIG=/run/kubeadm", "CONFIG=/run")
		}, "no such file or directory"},
		{"a version that is too old", func(l *lab) string {
			return strings.ReplaceAll(l.data("init.yaml", "cp-0"), "v1.36.2", "v1.30.0")
		}, "outside the supported versions"},
		{"1.37 does not read v1beta3", func(l *lab) string {
			return strings.ReplaceAll(strings.ReplaceAll(l.data("init.yaml", "cp-0"), "v1.36.2", "v1.37.1"), "v1beta4", "v1beta3")
		}, "old API spec"},
		{"extra arguments as a map", func(l *lab) string {
			return strings.ReplaceAll(l.data("init.yaml", "cp-0"), "apiServer:", "controllerManager: {extraArgs: {a: b}}\n    apiServer:")
		}, "extra args"},
		{"a pod subnet that is none", func(l *lab) string {
			return strings.ReplaceAll(l.data("init.yaml", "cp-0"), "192.168.0.0/16", "192.168.0.0")
		}, "podSubnet"},
		{"a token of another form", func(l *lab) string {
			return strings.ReplaceAll(l.data("init.yaml", "cp-0"), "aaaaaa.0123456789abcdef", "aaaaaa.short")
		}, "bootstrap token was not of the form"},
		{"another node name", func(l *lab) string {
			return strings.ReplaceAll(l.data("init.yaml", "cp-0"), "name: cp-0", "name: other")
		}, "is not the host's name"},
		{"a label that a kubelet may not have", func(l *lab) string {
			return strings.ReplaceAll(l.data("init.yaml", "cp-0"), "pool=control", "node-role.kubernetes.io/worker=")
		}, "unknown 'kubernetes.io'"},
		{"a CA key of another CA", func(l *lab) string {
			l.pki["ca.key"] = l.pki["etcd/ca.key"]
			return l.data("init.yaml", "cp-0")
		}, "ca.key does not belong to ca.crt"},
		{"a missing key", func(l *lab) string {
			return strings.ReplaceAll(l.data("init.yaml", "cp-0"), "pki/sa.pub", "pki/sa.public")
		}, "sa.pub: no such file"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.boot("cp-0", tc.data(l))
			l.advance(30*time.Minute, nil)
			id := l.id("cp-0")
			if err, reported := l.provisioned[id]; !reported || err != nil {
				t.Errorf("Azure heard %v (%v): the OS is provisioned whatever the user data says", err, reported)
			}
			if l.machines.Probe(id, 6443, "/readyz") {
				t.Error("an API server runs")
			}
			if !strings.Contains(l.console[id], tc.want) {
				t.Errorf("the console does not say %q:\n%s", tc.want, l.console[id])
			}
		})
	}
}

func TestJoinFailures(t *testing.T) {
	t.Parallel()
	other := newPKI(t, epoch)
	for _, tc := range []struct {
		reason string
		late   time.Duration
		pairs  []string
		want   string
	}{
		{"another CA is pinned", 0, []string{"pin", other["pin"]}, "none of the public keys"},
		{"a token that nobody made", 0, []string{"token", "bbbbbb"}, "does not yet contain a JWS signature"},
		{"a token that has expired", 10 * time.Minute, []string{"token", "cccccc"}, "does not yet contain a JWS signature"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.up()
			l.advance(tc.late, nil)
			l.boot("worker-0", l.data("worker.yaml", "worker-0", tc.pairs...))
			l.advance(30*time.Minute, nil)
			if l.node("cp-0", "worker-0") != nil {
				t.Error("it joined")
			}
			if !strings.Contains(l.console[l.id("worker-0")], tc.want) {
				t.Errorf("the console does not say %q:\n%s", tc.want, l.console[l.id("worker-0")])
			}
		})
	}
}

func TestOuterLoopJoinsLater(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.boot("worker-0", strings.ReplaceAll(l.data("worker.yaml", "worker-0"), "discovery: 10m0s", "discovery: 20s"))
	l.advance(4*time.Minute, nil)
	l.up()
	if !l.advance(3*time.Minute, func() bool { return l.node("cp-0", "worker-0") != nil }) {
		t.Errorf("the script's loop gave up:\n%s", l.console[l.id("worker-0")])
	}
}

func TestMachinesComeAndGo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.boot("worker-0", l.data("worker.yaml", "worker-0"))
	l.up()
	l.install("cp-0", nodeManager)
	l.install("cp-0", network)
	ready := func(want corev1.ConditionStatus) func() bool {
		return func() bool { return l.ready("cp-0", "worker-0") == want }
	}
	if !l.advance(5*time.Minute, ready(corev1.ConditionTrue)) {
		t.Fatal("the worker is not ready")
	}
	l.machines.Stop(l.id("worker-0"))
	stopped := l.Now()
	if !l.advance(5*time.Minute, ready(corev1.ConditionUnknown)) {
		t.Fatal("nobody notices that the worker is silent")
	}
	if took := l.Now().Sub(stopped); took < 40*time.Second || took > 50*time.Second {
		t.Errorf("noticed after %s, want 40 s", took)
	}
	l.machines.Start(l, l.machine("worker-0", ""))
	if !l.advance(2*time.Minute, ready(corev1.ConditionTrue)) {
		t.Error("a worker that comes back is not ready")
	}
	l.machines.Stop(l.id("cp-0"))
	if l.machines.Probe(l.id("cp-0"), 6443, "/readyz") {
		t.Error("the API outlives its last control plane")
	}
	l.machines.Start(l, l.machine("cp-0", ""))
	if !l.advance(2*time.Minute, func() bool { return l.machines.Probe(l.id("cp-0"), 6443, "/readyz") }) {
		t.Fatal("a control plane that comes back serves no API")
	}
	if l.node("cp-0", "worker-0") == nil {
		t.Error("a reboot lost the state")
	}
	l.machines.Forget(l.id("cp-0"))
	if _, ok := l.machines.Handler(l.id("cp-0")); ok {
		t.Error("a machine that is gone serves an API")
	}
}

// TestLateMachineOfAFastCloud: whoever makes a token has a clock that goes at
// its own pace, and a cloud that is up for long is not at another date.
func TestLateMachineOfAFastCloud(t *testing.T) {
	t.Parallel()
	const speed, life = 50, time.Hour
	l := newLab(t)
	l.speed = speed
	l.up()
	// From here on, a token of the hub's would be past its life at the machines' own time.
	l.advance(2*speed*life/(speed-1), nil)
	made := l.Outside()
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
		"metadata": map[string]any{"namespace": "kube-system", "name": "bootstrap-token-dddddd"},
		"data":     map[string]any{},
	}}
	for key, value := range map[string]string{
		"token-id": "dddddd", "token-secret": "0123456789abcdef", "expiration": made.Add(life).UTC().Format(time.RFC3339),
		"usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
		"auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
	} {
		if err := unstructured.SetNestedField(secret.Object, base64.StdEncoding.EncodeToString([]byte(value)), "data", key); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.store("cp-0").Create(kubeapi.Secrets, secret); err != nil {
		t.Fatal(err)
	}
	l.boot("worker-0", l.data("worker.yaml", "worker-0", "token", "dddddd"))
	if !l.advance(10*time.Minute, func() bool { return l.node("cp-0", "worker-0") != nil }) {
		t.Fatalf("the worker does not join:\n%s", l.console[l.id("worker-0")])
	}
	gone := func() bool {
		_, there := l.store("cp-0").Get(kubeapi.Secrets, "kube-system", "bootstrap-token-dddddd")
		return !there
	}
	if !l.advance(2*speed*life, gone) {
		t.Fatal("the token is never cleaned up")
	}
	if lived := l.Outside().Sub(made); lived < life-time.Second || lived > life+time.Second {
		t.Errorf("the token lived for %s outside, want %s", lived, life)
	}
}
