// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// nodesVariable turns on the tests that boot real nodes: they take minutes and
// want a machine of their own. `make e2e-vm` sets it.
const nodesVariable = "LAZULI_E2E_VM"

// stage is simulated Azure whose machines boot for real, a proxy that may spoil
// what is written to it, and a hub: each a process of its own.
type stage struct {
	*hub

	artefact string
	dir      string
	sim      *exec.Cmd
	simEnv   map[string]string
	key      string // file of the user's private SSH key
	public   string

	mu    sync.Mutex
	spoil []spoil
}

// spoil changes the body of a PUT whose path it matches.
type spoil struct {
	path   *regexp.Regexp
	change func([]byte) []byte
}

// artefactDir is where `make simnode` puts the node image.
func artefactDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("LAZULI_SIMNODE_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(cache, "lazuli", "simnode")
	}
	return filepath.Join(dir, "current")
}

func newStage(t *testing.T) *stage {
	t.Helper()
	if os.Getenv(nodesVariable) == "" {
		t.Skipf("boots real nodes for minutes: run by `make e2e-vm`, which sets %s", nodesVariable)
	}
	s := &stage{dir: t.TempDir(), artefact: artefactDir(t)}
	binary := filepath.Join(s.dir, "lazuli")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/lazuli").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	s.key = filepath.Join(s.dir, "id")
	if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.key).CombinedOutput(); err != nil {
		t.Fatalf("make an SSH key: %v\n%s", err, out)
	}
	public, err := os.ReadFile(s.key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	s.public = strings.TrimSpace(string(public))
	s.hub = &hub{t: t, log: &bytes.Buffer{}, dataDir: filepath.Join(s.dir, "data")}
	s.startSim(binary)
	s.startServe(binary, s.startProxy())
	return s
}

// startSim starts simulated Azure and waits until it is there.
func (s *stage) startSim(binary string) {
	s.t.Helper()
	envFile := filepath.Join(s.dir, "azure.env")
	if err := os.RemoveAll(envFile); err != nil { // of a simulator that was killed
		s.t.Fatal(err)
	}
	s.sim = exec.CommandContext(context.WithoutCancel(s.t.Context()), binary, "sim", "--nodes", "vm", "--listen", "127.0.0.1:0", "--env-file", envFile)
	s.sim.Stdout, s.sim.Stderr = s.out("azure"), s.out("azure")
	if err := s.sim.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.end(s.sim) })
	eventually(s.t, time.Minute, "simulated Azure", func() bool {
		content, err := os.ReadFile(envFile)
		s.simEnv = environment(string(content))
		return err == nil && s.simEnv["AZURE_ARM_URL"] != ""
	})
}

// out is a log file of the test's directory, shown when the test failed.
func (s *stage) out(name string) io.Writer {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = f.Close()
		if !s.t.Failed() {
			return
		}
		if raw, err := os.ReadFile(f.Name()); err == nil {
			s.t.Logf("the end of %s's log:\n%s", name, raw[max(0, len(raw)-6000):])
		}
	})
	return f
}

func environment(content string) map[string]string {
	env := map[string]string{}
	for line := range strings.Lines(content) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[k] = strings.Trim(v, "'")
	}
	return env
}

// end asks a process to stop, and kills it when it does not.
func (s *stage) end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		<-done
	}
}

// startProxy puts a proxy before the simulator and returns what leads to it.
func (s *stage) startProxy() map[string]string {
	s.t.Helper()
	target, err := url.Parse(s.simEnv["AZURE_ARM_URL"])
	if err != nil {
		s.t.Fatal(err)
	}
	ca, err := os.ReadFile(s.simEnv["AZURE_CA_FILE"])
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // Azure names itself by what it was called
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			s.mu.Lock()
			for _, sp := range s.spoil {
				if sp.path.MatchString(r.URL.Path) {
					body = sp.change(body)
				}
			}
			s.mu.Unlock()
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		proxy.ServeHTTP(w, r)
	}))
	s.t.Cleanup(server.Close)
	caFile := filepath.Join(s.dir, "proxy-ca.crt")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		s.t.Fatal(err)
	}
	const prefix = "LAZULI_AZURE_ENVIRONMENTS_AZUREPUBLICCLOUD_"
	return map[string]string{prefix + "ARMURL": server.URL, prefix + "AUTHORITYURL": server.URL, prefix + "CAFILE": caFile, prefix + "RESOLVEBYADDRESS": "true"}
}

// startServe starts a hub that reaches Azure through the proxy.
func (s *stage) startServe(binary string, azure map[string]string) {
	s.t.Helper()
	address := freeAddress(s.t)
	env := map[string]string{
		"LAZULI_LISTEN": address, "LAZULI_DATADIR": s.dataDir, "LAZULI_PACKS_DIRECTORY": filepath.Join(s.artefact, "packs"),
		"LAZULI_BOOTTIMEOUT": bootTimeout.String(), "LAZULI_LOG_LEVEL": "debug",
	}
	maps.Copy(env, azure)
	s.cmd = exec.CommandContext(context.WithoutCancel(s.t.Context()), binary, "serve")
	s.cmd.Env = os.Environ()
	for k, v := range env {
		s.cmd.Env = append(s.cmd.Env, k+"="+v)
	}
	s.cmd.Stdout, s.cmd.Stderr = s.out("hub"), s.out("hub")
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.end(s.cmd) })
	s.env = maps.Clone(s.simEnv)
	s.env["LAZULI_URL"], s.env["LAZULI_CA_FILE"] = "https://"+address, filepath.Join(s.dataDir, "ca.crt")
	eventually(s.t, time.Minute, "the hub", func() bool {
		key, err := os.ReadFile(filepath.Join(s.dataDir, "admin.key"))
		if err != nil || len(key) == 0 {
			return false
		}
		s.env["LAZULI_API_KEY"] = strings.TrimSpace(string(key))
		if _, err := os.Stat(s.env["LAZULI_CA_FILE"]); err != nil {
			return false
		}
		s.http = checkedClientOf(s.t, s.env["LAZULI_CA_FILE"])
		resp, err := s.http.Get(s.env["LAZULI_URL"] + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// bootTimeout is the hub's: machines of this stage that come up do so in less
// than twice that.
const bootTimeout = 4 * time.Minute

// Packs of the profiles. The stock image installs everything from the mirror
// that the simulator serves; the gallery image has Kubernetes in it.
const (
	stockImage = `mirror:
  ubuntuArchive: http://mirror.sim.internal/debian
  kubernetesPackages: http://mirror.sim.internal/kubernetes
  binaries: http://mirror.sim.internal/github
  imageRegistry: http://mirror.sim.internal
`
	galleryImage = `image:
  source: gallery
  gallery:
    id: /subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/images/providers/Microsoft.Compute/galleries/simnode/images/ubuntu/versions/1.36.3
    preinstalled: true
`
	nodesVersion = "1.36.3"
)

// profile makes and publishes a profile of the stage's packs.
func (s *stage) profile(name, osValues string) string {
	s.t.Helper()
	packs := []map[string]any{}
	for _, p := range []struct{ name, tag, values string }{
		{"ubuntu-azure", "24.04", osValues}, {"kubernetes", nodesVersion, ""}, {"cni-vxlan", "1.0.0", ""}, {"csi-local", "1.0.0", ""},
	} {
		packs = append(packs, map[string]any{"name": p.name, "tag": p.tag, "type": "spectro", "values": p.values, "manifests": []any{}})
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"name": name},
		"spec":     map[string]any{"version": "1.0.0", "template": map[string]any{"cloudType": "azure", "type": "infra", "packs": packs}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	uid := text(s.call("POST", "/v1/clusterprofiles", string(body), 201)["uid"])
	s.call("PATCH", "/v1/clusterprofiles/"+uid+"/publish", "", 204)
	return uid
}

func (s *stage) account() string {
	s.t.Helper()
	return text(s.call("POST", "/v1/cloudaccounts/azure", s.expand(`{"metadata":{"name":"az","annotations":{"scope":"project"}},"spec":{"azureEnvironment":"AzurePublicCloud",
		"tenantId":"${AZURE_TENANT_ID}","clientId":"${AZURE_CLIENT_ID}","clientSecret":"${AZURE_CLIENT_SECRET}"}}`), 201)["uid"])
}

// create asks for a cluster and returns its uid.
func (s *stage) create(name, account, profile string, controlPlanes, workers int) string {
	s.t.Helper()
	return text(s.call("POST", "/v1/spectroclusters/azure", s.expand(fmt.Sprintf(`{"metadata":{"name":%q},
		"spec":{"cloudAccountUid":%q,"profiles":[{"uid":%q}],
		"cloudConfig":{"location":"${AZURE_LOCATION}","resourceGroup":"${AZURE_RESOURCE_GROUP}","subscriptionId":"${AZURE_SUBSCRIPTION_ID}","sshKey":%q},
		"machinepoolconfig":[%s,%s]}}`, name, account, profile, s.public, pool("w", false, workers), pool("cp", true, controlPlanes))), 201)["uid"])
}

func pool(name string, control bool, size int) string {
	return fmt.Sprintf(`{"cloudConfig":{"azs":[],"instanceType":"Standard_D2s_v3","osDisk":{"diskSizeGB":60,"managedDisk":{"storageAccountType":"Premium_LRS"},"osType":"Linux"}},
		"poolConfig":{"name":%q,"size":%d,"isControlPlane":%t,"labels":[],"taints":[],"updateStrategy":{"type":"RollingUpdateScaleOut"}}}`, name, size, control)
}

// running waits until a cluster runs, is healthy, and has all its conditions.
func (s *stage) running(uid string, within time.Duration) {
	s.t.Helper()
	defer func() {
		if s.t.Failed() {
			s.t.Logf("the cluster's status: %v", dig(s.call("GET", "/v1/spectroclusters/"+uid, "", 200), "status"))
			s.consoles()
		}
	}()
	eventually(s.t, within, "the cluster Running, Healthy, all conditions True", func() bool {
		c := s.call("GET", "/v1/spectroclusters/"+uid, "", 200)
		if dig(c, "status", "state") != "Running" {
			return false
		}
		conditions, _ := dig(c, "status", "conditions").([]any)
		for _, cond := range conditions {
			if dig(cond, "status") != "True" {
				return false
			}
		}
		return dig(s.call("GET", "/v1/dashboard/spectroclusters/"+uid+"/overview", "", 200), "status", "health", "state") == "Healthy"
	})
}

// condition is one of a cluster's conditions.
func (s *stage) condition(uid, kind string) (status, message string) {
	s.t.Helper()
	conditions, _ := dig(s.call("GET", "/v1/spectroclusters/"+uid, "", 200), "status", "conditions").([]any)
	for _, c := range conditions {
		if dig(c, "type") == kind {
			return text(dig(c, "status")), text(dig(c, "message"))
		}
	}
	return "", ""
}

func (s *stage) remove(uid string) {
	s.t.Helper()
	s.call("DELETE", "/v1/spectroclusters/"+uid, "", 204)
	eventually(s.t, 5*time.Minute, "the cluster Deleted", func() bool {
		return dig(s.call("GET", "/v1/spectroclusters/"+uid, "", 200), "status", "state") == "Deleted"
	})
}

// machine is a virtual machine as Azure shows it.
type machine struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Tags       map[string]string `json:"tags"`
	Properties struct {
		OSProfile struct {
			AdminUsername string `json:"adminUsername"`
		} `json:"osProfile"`
	} `json:"properties"`
}

const computeVersion = "?api-version=2024-07-01"

// machines lists the virtual machines of a cluster.
func (s *stage) machines(cluster string) []machine {
	s.t.Helper()
	var list struct {
		Value []machine `json:"value"`
	}
	s.arm("GET", s.expand("/subscriptions/${AZURE_SUBSCRIPTION_ID}/resourceGroups/${AZURE_RESOURCE_GROUP}/providers/Microsoft.Compute/virtualMachines"+computeVersion), &list)
	var out []machine
	for _, m := range list.Value {
		if m.Tags["lazuli.io-cluster"] == cluster {
			out = append(out, m)
		}
	}
	return out
}

// console is what a machine's serial console shows.
func (s *stage) console(m machine) string {
	s.t.Helper()
	var at struct {
		URL string `json:"serialConsoleLogBlobUri"`
	}
	s.arm("POST", m.ID+"/retrieveBootDiagnosticsData"+computeVersion, &at)
	resp, err := clientOf(s.t, s.simEnv["AZURE_CA_FILE"]).Get(at.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(raw)
}

// consoles shows the end of every machine's console, for a test that failed.
func (s *stage) consoles() {
	var list struct {
		Value []machine `json:"value"`
	}
	s.arm("GET", s.expand("/subscriptions/${AZURE_SUBSCRIPTION_ID}/resourceGroups/${AZURE_RESOURCE_GROUP}/providers/Microsoft.Compute/virtualMachines"+computeVersion), &list)
	for _, m := range list.Value {
		c := s.console(m)
		s.t.Logf("console of %s:\n%s", m.Name, c[max(0, len(c)-4000):])
	}
}

// arm makes a call to Azure behind the hub's back, with the account's credential.
func (s *stage) arm(method, path string, out any) {
	s.t.Helper()
	client := clientOf(s.t, s.simEnv["AZURE_CA_FILE"])
	form := url.Values{
		"grant_type": {"client_credentials"}, "scope": {"https://management.azure.com/.default"},
		"client_id": {s.simEnv["AZURE_CLIENT_ID"]}, "client_secret": {s.simEnv["AZURE_CLIENT_SECRET"]},
	}
	resp, err := client.PostForm(s.simEnv["AZURE_AUTHORITY_URL"]+"/"+s.simEnv["AZURE_TENANT_ID"]+"/oauth2/v2.0/token", form)
	if err != nil {
		s.t.Fatal(err)
	}
	var token struct {
		Token string `json:"access_token"`
	}
	err = json.NewDecoder(resp.Body).Decode(&token)
	_ = resp.Body.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(s.t.Context()), method, s.simEnv["AZURE_ARM_URL"]+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token.Token)
	resp, err = client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %d %v\n%s", method, path, resp.StatusCode, err, raw)
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			s.t.Fatal(err)
		}
	}
}

// userData spoils the user data of machines whose name matches.
func userData(name, was, is string) spoil {
	return spoil{regexp.MustCompile(`(?i)/virtualMachines/` + name), func(body []byte) []byte {
		var vm map[string]any
		if err := json.Unmarshal(body, &vm); err != nil {
			return body
		}
		profile, _ := dig(vm, "properties", "osProfile").(map[string]any)
		data, err := base64.StdEncoding.DecodeString(text(profile["customData"]))
		if err != nil {
			return body
		}
		profile["customData"] = base64.StdEncoding.EncodeToString(bytes.ReplaceAll(data, []byte(was), []byte(is)))
		spoilt, err := json.Marshal(vm)
		if err != nil {
			return body
		}
		return spoilt
	}}
}

// kube is kubectl at the end of a cluster's own kubeconfig.
type kube struct {
	s    *stage
	file string
}

func (s *stage) kube(uid string) *kube {
	s.t.Helper()
	k := &kube{s, filepath.Join(s.dir, "kubeconfig-"+uid)}
	config := text(s.call("GET", "/v1/spectroclusters/"+uid+"/assets/adminKubeconfig", "", 200)["raw"])
	if err := os.WriteFile(k.file, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return k
}

// try runs kubectl and returns what it says.
func (k *kube) try(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(k.s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(k.s.artefact, "bin", "kubectl"), append([]string{"--kubeconfig", k.file}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// must runs kubectl until it succeeds: what it asks for may take a while.
func (k *kube) must(within time.Duration, stdin string, args ...string) string {
	k.s.t.Helper()
	var out string
	var err error
	for deadline := time.Now().Add(within); ; {
		if out, err = k.try(stdin, args...); err == nil {
			return out
		}
		if time.Now().After(deadline) {
			k.s.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// ready counts the Ready nodes.
func (k *kube) ready() int {
	out, err := k.try("", "get", "nodes", "--no-headers")
	if err != nil {
		return 0
	}
	return len(regexp.MustCompile(`(?m)^\S+\s+Ready\s`).FindAllString(out, -1))
}

// withoutRules leaves only the rules of a network security group that keep wants.
func withoutRules(body []byte, keep func(name string) bool) []byte {
	var group map[string]any
	if err := json.Unmarshal(body, &group); err != nil {
		return body
	}
	properties, _ := group["properties"].(map[string]any)
	rules, _ := properties["securityRules"].([]any)
	kept := []any{}
	for _, r := range rules {
		if keep(text(dig(r, "name"))) {
			kept = append(kept, r)
		}
	}
	if properties != nil {
		properties["securityRules"] = kept
	}
	out, err := json.Marshal(group)
	if err != nil {
		return body
	}
	return out
}
