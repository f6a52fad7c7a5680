// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/process"
	"github.com/lazuli-dev/lazuli/internal/bootstrap"
)

const (
	endpoint = "real-060708-1a2b3c4d.westeurope.cloudapp.azure.com"
	apiPort  = 6443
	// speed is how much faster than real time the cloud is; processes take their own time.
	speed = 20
)

// cloud is an Env: one load balancer in front of all machines whose API server is healthy, one virtual network.
type cloud struct {
	t        *testing.T
	machines *process.Machines
	began    time.Time
	events   sync.Mutex // events run one after the other

	mu       sync.Mutex
	ids      []string
	closed   map[string]bool // machines that no packet leaves
	told     map[string]error
	consoles map[string]string
	changed  chan struct{} // closed when something above changes
}

func newCloud(t *testing.T, dir string) *cloud {
	t.Helper()
	artefact := os.Getenv("LAZULI_SIMNODE_CACHE")
	if artefact == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skipf("no cache directory: %v", err)
		}
		artefact = filepath.Join(cache, "lazuli", "simnode")
	}
	ms, err := process.New(process.Options{Artefact: filepath.Join(artefact, "current"), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ms.Close(); err != nil {
			t.Error(err)
		}
	})
	if missing := ms.Missing(t.Context()); len(missing) > 0 {
		t.Skipf("this machine lacks %s", strings.Join(missing, "; "))
	}
	return &cloud{
		t: t, machines: ms, began: time.Now(), closed: map[string]bool{}, told: map[string]error{}, consoles: map[string]string{},
		changed: make(chan struct{}),
	}
}

func (c *cloud) Now() time.Time { return c.began.Add(speed * time.Since(c.began)) }

func (*cloud) Outside() time.Time { return time.Now() }

func (*cloud) Until(t time.Time) time.Duration { return speed * time.Until(t) }

func (c *cloud) After(d time.Duration, fn func()) {
	time.AfterFunc(d/speed, func() {
		c.events.Lock()
		defer c.events.Unlock()
		fn()
	})
}

func (c *cloud) Rand(string) *mathrand.Rand { return mathrand.New(mathrand.NewPCG(7, 7)) }

func (c *cloud) Reach(from, host string, port int) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed[from] || host != endpoint {
		return "", azuresim.ErrUnreachable
	}
	for _, id := range c.ids {
		if c.machines.Probe(id, port, "/readyz") {
			return id, nil
		}
	}
	return "", fmt.Errorf("no healthy backend: %w", azuresim.ErrUnreachable)
}

func (c *cloud) RouteFrom(from string, to netip.AddrPort) (string, int, error) {
	id, err := c.Reach(from, endpoint, int(to.Port()))
	return id, int(to.Port()), err
}

func (c *cloud) LookupHost(string) (netip.Addr, error) { return netip.MustParseAddr("127.64.0.9"), nil }

func (c *cloud) Attachment(string) (azuresim.Attachment, error) {
	return azuresim.Attachment{}, azuresim.ErrUnreachable
}

func (c *cloud) Provisioned(id string, err error) { c.change(func() { c.told[id] = err }) }

func (*cloud) Tags(string) map[string]string { return nil }

func (*cloud) PoweredOff(string) {}

func (c *cloud) Console(id, line string) { c.change(func() { c.consoles[id] += line + "\n" }) }

func (c *cloud) change(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn()
	close(c.changed)
	c.changed = make(chan struct{})
}

// console waits until a machine's console has a text.
func (c *cloud) console(name, text string, most time.Duration) {
	c.t.Helper()
	over := time.After(most)
	for {
		c.mu.Lock()
		now, changed := c.consoles[id(name)], c.changed
		c.mu.Unlock()
		if strings.Contains(now, text) {
			return
		}
		select {
		case <-changed:
		case <-over:
			c.t.Fatalf("%s does not say %q:\n%s", name, text, now)
		}
	}
}

func id(name string) string {
	return "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/" + name
}

// site is one cluster's secrets.
type site struct {
	*cloud
	pki    bootstrap.PKI
	tokens []bootstrap.Token
	config bootstrap.Cluster
}

func newSite(t *testing.T, dir string, tokens int) *site {
	t.Helper()
	s := &site{cloud: newCloud(t, dir)}
	s.pki = newPKI(t)
	for range tokens {
		s.tokens = append(s.tokens, newToken(t))
	}
	s.config = bootstrap.Cluster{
		Name: "real", UID: "0123456789abcdef01060708", KubernetesVersion: "1.36.3", Endpoint: endpoint, PodCIDR: "192.168.0.0/16",
		ServiceCIDR: "10.96.0.0/12", Location: "westeurope", SubscriptionID: "s", ResourceGroup: "g", AllocateNodeCIDRs: true,
	}
	return s
}

func newPKI(t *testing.T) bootstrap.PKI {
	t.Helper()
	pki, err := bootstrap.NewPKI(rand.Reader, time.Now(), "real")
	if err != nil {
		t.Fatal(err)
	}
	return pki
}

func newToken(t *testing.T) bootstrap.Token {
	t.Helper()
	token, err := bootstrap.NewToken(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// boot starts a machine with the user data that the product would send.
func (s *site) boot(n bootstrap.Node) {
	s.t.Helper()
	n.EtcdDiskLUN = bootstrap.NoEtcdDisk
	n.Labels = map[string]string{"pool": "general"}
	data, err := bootstrap.UserData(s.config, s.pki, n, s.tokens)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.ids = append(s.ids, id(n.Name))
	number := len(s.ids)
	s.mu.Unlock()
	s.machines.Start(s, azuresim.Machine{
		ID: id(n.Name), Name: n.Name, ComputerName: n.Name, Location: "westeurope", Zone: "2", Size: "Standard_D4s_v3", VCPUs: 4,
		MemoryGB: 16, PrivateIP: fmt.Sprintf("10.0.0.%d", 3+number), Image: "/CommunityGalleries/x", CustomData: data,
	})
}

// admin speaks with the API server of a machine.
type admin struct {
	t    *testing.T
	http *http.Client
}

func (s *site) admin(machine string) *admin {
	s.t.Helper()
	raw, err := bootstrap.AdminKubeconfig(s.pki, rand.Reader, time.Now(), "https://"+endpoint+":6443", "", "real", time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	var k struct {
		Users []struct {
			User struct {
				Cert []byte `json:"client-certificate-data"`
				Key  []byte `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}
	if err := yaml.Unmarshal(raw, &k); err != nil {
		s.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(k.Users[0].User.Cert, k.Users[0].User.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.pki.CA.Cert))
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.machines.Dial(ctx, id(machine), apiPort)
		},
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &admin{t: s.t, http: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

func (a *admin) do(method, path string, in, out any) error {
	a.t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		a.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(a.t.Context(), method, "https://"+endpoint+":6443"+path, bytes.NewReader(raw))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", res.Status, body)
	}
	return json.Unmarshal(body, out)
}

type node struct {
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		ProviderID string `json:"providerID"`
		PodCIDR    string `json:"podCIDR"`
		Taints     []struct {
			Key string `json:"key"`
		} `json:"taints"`
	} `json:"spec"`
	Status struct {
		Capacity  map[string]string `json:"capacity"`
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

func (n *node) ready() string {
	for _, c := range n.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status
		}
	}
	return ""
}

func (n *node) taints() string {
	var out []string
	for _, t := range n.Spec.Taints {
		out = append(out, t.Key)
	}
	return strings.Join(out, " ")
}

// nodes waits until all nodes satisfy a condition.
func (a *admin) nodes(what string, most time.Duration, cond func(all map[string]*node) bool) map[string]*node {
	a.t.Helper()
	all := map[string]*node{}
	a.until(what, most, func() error {
		var list struct {
			Items []*node `json:"items"`
		}
		if err := a.do(http.MethodGet, "/api/v1/nodes", nil, &list); err != nil {
			return err
		}
		clear(all)
		var said []string
		for _, n := range list.Items {
			all[n.Metadata.Name] = n
			said = append(said, fmt.Sprintf("%s ready=%s taints=%s %v", n.Metadata.Name, n.ready(), n.taints(), n.Status.Addresses))
		}
		if !cond(all) {
			return errors.New(strings.Join(said, "\n"))
		}
		return nil
	})
	return all
}

// until tries again and again, within a bound.
func (a *admin) until(what string, most time.Duration, try func() error) {
	a.t.Helper()
	over := time.After(most)
	pause := time.NewTicker(200 * time.Millisecond)
	defer pause.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-pause.C:
		case <-over:
			a.t.Fatalf("%s: %v", what, err)
		}
	}
}

// nodeManager is a DaemonSet as the cloud node manager's.
func nodeManager() map[string]any {
	type o = map[string]any
	labels := o{"k8s-app": "cloud-node-manager"}
	return o{
		"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": o{"name": "cloud-node-manager", "namespace": "kube-system"},
		"spec": o{"selector": o{"matchLabels": labels}, "template": o{"metadata": o{"labels": labels}, "spec": o{
			"hostNetwork": true, "tolerations": []o{{"operator": "Exists"}},
			"containers": []o{{"name": "cloud-node-manager", "image": "mcr.microsoft.com/oss/kubernetes/azure-cloud-node-manager:v1.34.0"}},
		}}},
	}
}

// TestRealCluster boots a control plane, workers and one more control plane with the product's own user data.
func TestRealCluster(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a real control plane in a short run")
	}
	s := newSite(t, "", 3)
	began := time.Now()
	s.boot(bootstrap.Node{Name: "real-init", Role: bootstrap.Init})
	s.boot(bootstrap.Node{Name: "real-w1", Role: bootstrap.Worker, Token: s.tokens[0]})
	s.boot(bootstrap.Node{Name: "real-w2", Role: bootstrap.Worker, Token: s.tokens[1]})
	s.console("real-init", "initialized successfully", 3*time.Minute)
	t.Logf("initialised after %s", time.Since(began).Round(time.Millisecond))
	a := s.admin("real-init")
	for _, name := range []string{"real-w1", "real-w2"} {
		s.console(name, "This node has joined the cluster", 2*time.Minute)
	}
	allReady := func(want int) func(map[string]*node) bool {
		return func(all map[string]*node) bool {
			for _, n := range all {
				if n.ready() != "True" {
					return false
				}
			}
			return len(all) == want
		}
	}
	all := a.nodes("three nodes report and are not Ready before they are initialised", time.Minute, func(all map[string]*node) bool {
		for _, n := range all {
			if n.ready() != "False" {
				return false
			}
		}
		return len(all) == 3
	})
	t.Logf("3 nodes after %s", time.Since(began).Round(time.Millisecond))
	w := all["real-w1"]
	if !strings.Contains(w.taints(), "uninitialized") || w.Metadata.Labels["pool"] != "general" || w.Status.Capacity["cpu"] != "4" ||
		!strings.HasPrefix(w.Spec.ProviderID, "azure:///subscriptions/s/") {
		t.Errorf("worker before it is initialised: %+v", w)
	}
	if cp := all["real-init"]; !strings.Contains(cp.taints(), "control-plane") {
		t.Errorf("control plane has taints %s", cp.taints())
	}
	if err := a.do(http.MethodPost, "/apis/apps/v1/namespaces/kube-system/daemonsets", nodeManager(), &struct{}{}); err != nil {
		t.Fatal(err)
	}
	a.nodes("all nodes are initialised", time.Minute, func(all map[string]*node) bool {
		for _, n := range all {
			if strings.Contains(n.taints(), "uninitialized") || len(n.Status.Addresses) != 2 {
				return false
			}
		}
		return true
	})
	all = a.nodes("three nodes are Ready", 20*time.Second, allReady(3))
	t.Logf("3 nodes Ready after %s", time.Since(began).Round(time.Millisecond))
	w = all["real-w1"]
	if w.Metadata.Labels["topology.kubernetes.io/zone"] != "westeurope-2" || w.Metadata.Labels["node.kubernetes.io/instance-type"] != "Standard_D4s_v3" {
		t.Errorf("labels %v", w.Metadata.Labels)
	}
	if w.Spec.PodCIDR == "" {
		t.Error("no pod network although the controller manager is to allocate them")
	}
	s.refuseForeigners()
	s.secondControlPlane(a, allReady)
}

// refuseForeigners boots machines that must not join.
func (s *site) refuseForeigners() {
	s.t.Helper()
	s.boot(bootstrap.Node{Name: "real-foreign", Role: bootstrap.Worker, Token: newToken(s.t)})
	s.console("real-foreign", "does not yet contain a JWS signature", time.Minute)
	good := s.tokens[2]
	forged := bootstrap.Token(strings.Replace(string(good), string(good)[7:], strings.Repeat("x", len(string(good))-7), 1))
	s.boot(bootstrap.Node{Name: "real-forged", Role: bootstrap.Worker, Token: forged})
	s.console("real-forged", "is invalid for this cluster", time.Minute)
	own := s.pki
	s.pki = newPKI(s.t)
	s.boot(bootstrap.Node{Name: "real-pinned", Role: bootstrap.Worker, Token: good})
	s.console("real-pinned", "are pinned", time.Minute)
	s.pki = own
	s.mu.Lock()
	s.closed[id("real-shut")] = true
	s.mu.Unlock()
	s.boot(bootstrap.Node{Name: "real-shut", Role: bootstrap.Worker, Token: good})
	s.console("real-shut", "connection timed out", time.Minute)
	for _, name := range []string{"real-foreign", "real-forged", "real-pinned", "real-shut"} {
		s.machines.Forget(id(name))
	}
}

// secondControlPlane adds a control plane, stops the first and then all.
func (s *site) secondControlPlane(a *admin, allReady func(int) func(map[string]*node) bool) {
	t := s.t
	t.Helper()
	s.boot(bootstrap.Node{Name: "real-cp2", Role: bootstrap.ControlPlane, Token: s.tokens[2]})
	s.console("real-cp2", "a new control plane instance was created", 2*time.Minute)
	a.nodes("four nodes are Ready", time.Minute, allReady(4))
	s.machines.Stop(id("real-init"))
	if _, err := s.machines.Dial(t.Context(), id("real-init"), apiPort); !errors.Is(err, azuresim.ErrUnreachable) {
		t.Errorf("dial a machine that is stopped: %v", err)
	}
	b := s.admin("real-cp2")
	b.nodes("the second control plane serves alone", time.Minute, func(all map[string]*node) bool { return len(all) == 4 })
	s.machines.Stop(id("real-cp2"))
	if _, err := s.machines.Dial(t.Context(), id("real-cp2"), apiPort); !errors.Is(err, azuresim.ErrUnreachable) {
		t.Errorf("dial a machine that is stopped: %v", err)
	}
	s.machines.Start(s, azuresim.Machine{ID: id("real-init"), Name: "real-init", ComputerName: "real-init", PrivateIP: "10.0.0.4"})
	a.nodes("the cluster comes back with its data", 2*time.Minute, func(all map[string]*node) bool {
		return len(all) == 4 && all["real-init"].ready() == "True"
	})
	if _, err := s.machines.Dial(t.Context(), id("real-w1"), apiPort); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial the API server's port of a worker: %v", err)
	}
}

// doomedDir tells a test process that it is the simulator that will be killed.
const doomedDir = "LAZULI_TEST_DOOMED_DIR"

// TestDoomed is the other half of TestKilledSimulator.
func TestDoomed(t *testing.T) {
	dir := os.Getenv(doomedDir)
	if dir == "" {
		t.Skip("runs as a part of TestKilledSimulator")
	}
	s := newSite(t, dir, 0)
	s.boot(bootstrap.Node{Name: "doomed", Role: bootstrap.Init})
	s.console("doomed", "Started kubelet.service", 3*time.Minute)
	fmt.Println("UP")
	_, _ = io.Copy(io.Discard, os.Stdin) // Until it is killed.
}

// TestKilledSimulator kills a simulator hard: nothing of it runs on, and the next one clears its folder.
func TestKilledSimulator(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a real control plane in a short run")
	}
	newCloud(t, "") // Skips where the level cannot run.
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestDoomed$")
	cmd.Env = append(os.Environ(), doomedDir+"="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, up := "", false
	for lines := bufio.NewScanner(out); !up && lines.Scan(); {
		said += lines.Text() + "\n"
		up = lines.Text() == "UP"
	}
	before := len(processes(t, dir))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !up || before < 5 { // the control plane and a kubelet
		t.Fatalf("it runs %d processes and says:\n%s", before, said)
	}
	a := &admin{t: t}
	a.until("its processes end", time.Minute, func() error {
		if left := processes(t, dir); len(left) > 0 {
			return errors.New(strings.Join(left, "\n"))
		}
		return nil
	})
	next, err := process.New(process.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 { // the lock
		t.Errorf("left in its folder: %v, %v", left, err)
	}
}

// TestTemporaryFolders makes simulators without a folder of their own beside what others left, and one that lives.
func TestTemporaryFolders(t *testing.T) {
	base := t.TempDir()
	t.Setenv("TMPDIR", base)
	folders := func() []string {
		found, err := filepath.Glob(filepath.Join(base, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	living, err := process.New(process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := folders()
	if len(want) != 1 || !strings.HasPrefix(filepath.Base(want[0]), "lazuli-process-") {
		t.Fatalf("its folder is one of %v", want)
	}
	own := want[0]
	for file, stays := range map[string]bool{
		"lazuli-process-killed/lock": false, "lazuli-process-killed/clusters/1/ca.key": false, "lazuli-process-half/machines/1/kubelet.key": false,
		"lazuli-process": true, "lazuli-processor/lock": true,
	} {
		path := filepath.Join(base, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if stays {
			first, _, _ := strings.Cut(file, "/")
			want = append(want, filepath.Join(base, first))
		}
	}
	next, err := process.New(process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	slices.Sort(want)
	if got := folders(); !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
	if err := living.Close(); err != nil {
		t.Error(err)
	}
	if got := folders(); slices.Contains(got, own) {
		t.Errorf("a simulator that ended leaves its folder: %v", got)
	}
}

// processes are the command lines that name a folder.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if line := strings.ReplaceAll(string(raw), "\x00", " "); err == nil && strings.Contains(line, dir) {
			out = append(out, line)
		}
	}
	return out
}
