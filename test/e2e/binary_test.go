// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/lazuli-dev/lazuli/internal/contract"
)

// hub is the built binary, running hub and simulator, and a client that knows
// nothing of our code but the contract, which it holds every answer against.
type hub struct {
	t       *testing.T
	cmd     *exec.Cmd
	log     *bytes.Buffer
	dataDir string
	env     map[string]string
	http    *http.Client
	answers bytes.Buffer // all bodies that were ever received
}

func startHub(t *testing.T) *hub {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "lazuli")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/lazuli")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	h := &hub{t: t, log: &bytes.Buffer{}, dataDir: filepath.Join(dir, "data")}
	envFile := filepath.Join(dir, "env")
	h.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary, "demo", "--serve-only",
		"--listen", freeAddress(t), "--speed", "50", "--env-file", envFile, "--data-dir", h.dataDir)
	h.cmd.Stdout, h.cmd.Stderr = h.log, h.log
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.cmd.Process.Kill() })
	eventually(t, time.Minute, "the environment file", func() bool {
		content, err := os.ReadFile(envFile)
		if err != nil {
			return false
		}
		h.env = map[string]string{}
		for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
			k, v, _ := strings.Cut(lines.Text(), "=")
			h.env[k] = v
		}
		return true
	})
	for _, name := range []string{
		"LAZULI_URL", "LAZULI_API_KEY", "LAZULI_CA_FILE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET",
		"AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZURE_LOCATION", "AZURE_ARM_URL", "AZURE_AUTHORITY_URL", "AZURE_CA_FILE",
	} {
		if h.env[name] == "" {
			t.Errorf("the environment file lacks %s", name)
		}
	}
	h.http = checkedClientOf(t, h.env["LAZULI_CA_FILE"])
	return h
}

func clientOf(t *testing.T, caFile string) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
	}
}

// checkedClientOf is a client of the hub; every answer to it is held against the
// contract.
func checkedClientOf(t *testing.T, caFile string) *http.Client {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	out := clientOf(t, caFile)
	out.Transport = c.Transport(out.Transport, func(err error) { t.Errorf("not as the contract has it: %v", err) })
	return out
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// eventually waits for a condition of another process.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for tick := time.NewTicker(200 * time.Millisecond); ; <-tick.C {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s", what, within)
		}
	}
}

// call makes one request and decodes the answer.
func (h *hub) call(method, path, body string, want int) map[string]any {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.env["LAZULI_URL"]+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("ApiKey", h.env["LAZULI_API_KEY"])
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := h.http.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	h.answers.Write(raw)
	if resp.StatusCode != want {
		h.t.Fatalf("%s %s: %d, want %d\n%s", method, path, resp.StatusCode, want, raw)
	}
	var out map[string]any
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(raw, &out); err != nil {
			h.t.Fatalf("%s %s: %v", method, path, err)
		}
	} else {
		out = map[string]any{"raw": string(raw)}
	}
	return out
}

func (h *hub) expand(s string) string {
	return os.Expand(s, func(name string) string { return h.env[name] })
}

// dig walks into nested objects.
func dig(v any, path ...string) any {
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// deploy makes account, profile and cluster with nothing but the API, and
// returns their uids.
func (h *hub) deploy() (account, profile, cluster string) {
	h.t.Helper()
	const spec = `{"azureEnvironment":"AzurePublicCloud","tenantId":"${AZURE_TENANT_ID}","clientId":"${AZURE_CLIENT_ID}","clientSecret":"${AZURE_CLIENT_SECRET}","settings":{"disablePropertiesRequest":false}}`
	h.call("POST", "/v1/clouds/azure/account/validate", h.expand(spec), 204)
	account = text(h.call("POST", "/v1/cloudaccounts/azure", h.expand(`{"metadata":{"name":"az","annotations":{"scope":"project"}},"spec":`+spec+`}`), 201)["uid"])
	if got := dig(h.call("GET", "/v1/cloudaccounts/azure/"+account, "", 200), "spec", "clientSecret"); got != "" && got != nil {
		h.t.Errorf("the account's secret reads %q", got)
	}
	var packs []string
	for _, name := range []string{"ubuntu-azure", "kubernetes", "cni-calico-azure", "csi-azure"} {
		items, _ := h.call("GET", "/v1/packs?limit=50&filters=spec.name%3D"+name, "", 200)["items"].([]any)
		if len(items) == 0 {
			h.t.Fatalf("no pack %s", name)
		}
		p := items[len(items)-1]
		packs = append(packs, fmt.Sprintf(`{"name":%q,"tag":%q,"type":"spectro","uid":%q,"values":"","manifests":[]}`,
			name, text(dig(p, "spec", "version")), text(dig(p, "metadata", "uid"))))
	}
	profile = text(h.call("POST", "/v1/clusterprofiles", `{"metadata":{"name":"infra","labels":{"owner":"me"}},"spec":{"version":"1.0.0","variables":null,
		"template":{"cloudType":"azure","type":"infra","packs":[`+strings.Join(packs, ",")+`]}}}`, 201)["uid"])
	h.call("PATCH", "/v1/clusterprofiles/"+profile+"/publish", "", 204)
	cluster = text(h.call("POST", "/v1/spectroclusters/azure", h.expand(`{"metadata":{"name":"foreign","labels":{"env":"dev","flag":"spectro__tag"}},
		"spec":{"cloudAccountUid":"`+account+`","profiles":[{"uid":"`+profile+`","packValues":[],"variables":[]}],
		"cloudConfig":{"location":"${AZURE_LOCATION}","resourceGroup":"${AZURE_RESOURCE_GROUP}","subscriptionId":"${AZURE_SUBSCRIPTION_ID}",
		"sshKey":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOAgUzN2qjFauUmQRzphRZbQAw5VpMOpR2qcU7yRy2lX nobody@example"},
		"machinepoolconfig":[
		{"cloudConfig":{"azs":["1"],"instanceType":"Standard_D4s_v3","osDisk":{"diskSizeGB":60,"managedDisk":{"storageAccountType":"Standard_LRS"},"osType":"Linux"}},
		"poolConfig":{"name":"w1","size":1,"isControlPlane":false,"labels":["worker"],"taints":[],"updateStrategy":{"type":"RollingUpdateScaleOut"}}},
		{"cloudConfig":{"azs":[],"instanceType":"Standard_D2s_v3","osDisk":{"diskSizeGB":60,"managedDisk":{"storageAccountType":"Premium_LRS"},"osType":"Linux"}},
		"poolConfig":{"name":"cp","size":1,"isControlPlane":true,"labels":["control-plane"],"taints":[],"updateStrategy":{"type":"RollingUpdateScaleOut"}}}]}}`), 201)["uid"])
	return account, profile, cluster
}

// The whole life of a cluster through the public API of the built binary, with
// kubectl and client-go at the end of the kubeconfig, and no trace of the
// client secret anywhere.
func TestForeignClient(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	account, profile, cluster := h.deploy()
	path := "/v1/spectroclusters/" + cluster
	overview := "/v1/dashboard/spectroclusters/" + cluster + "/overview"
	eventually(t, 2*time.Minute, "the cluster Running and Healthy", func() bool {
		return dig(h.call("GET", path, "", 200), "status", "state") == "Running" &&
			dig(h.call("GET", overview, "", 200), "status", "health", "state") == "Healthy"
	})
	kubeconfig := text(h.call("GET", path+"/assets/adminKubeconfig", "", 200)["raw"])
	h.nodes(kubeconfig)
	h.kubectl(kubeconfig)
	h.call("GET", path, "", 200)
	h.call("GET", "/v1/events/components/spectrocluster/"+cluster, "", 200)
	h.call("GET", "/lazuli/v1/clusters/"+cluster+"/tasks", "", 200)
	// A wrong secret is refused, named, and not repeated.
	const canary = "canary~wrong-secret-4711"
	refused := h.call("POST", "/v1/clouds/azure/account/validate", h.expand(`{"tenantId":"${AZURE_TENANT_ID}","clientId":"${AZURE_CLIENT_ID}","clientSecret":"`+canary+`"}`), 400)
	if !strings.Contains(strings.ToLower(text(refused["message"])), "secret") {
		t.Errorf("the refusal does not name the secret: %v", refused)
	}
	h.call("DELETE", "/v1/cloudaccounts/azure/"+account, "", 409)
	h.call("DELETE", path, "", 204)
	if state := dig(h.call("GET", path, "", 200), "status", "state"); state != "Deleting" && state != "Deleted" {
		t.Errorf("after DELETE the state is %v", state)
	}
	eventually(t, 2*time.Minute, "the cluster Deleted", func() bool {
		return dig(h.call("GET", path, "", 200), "status", "state") == "Deleted"
	})
	h.call("DELETE", "/v1/cloudaccounts/azure/"+account, "", 204)
	h.call("DELETE", "/v1/clusterprofiles/"+profile, "", 204)
	h.nothingLeft()
	h.terminate()
	for _, secret := range []string{h.env["AZURE_CLIENT_SECRET"], canary} {
		h.nowhere(secret)
	}
}

// nodes lists the nodes with client-go.
func (h *hub) nodes(kubeconfig string) {
	h.t.Helper()
	cfg, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		h.t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	list, err := client.CoreV1().Nodes().List(h.t.Context(), metav1.ListOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	if len(list.Items) != 2 {
		h.t.Errorf("%d nodes, want 2", len(list.Items))
	}
}

func (h *hub) kubectl(kubeconfig string) {
	h.t.Helper()
	if _, err := exec.LookPath("kubectl"); err != nil {
		h.t.Log("kubectl is not installed: its part is not run")
		return
	}
	file := filepath.Join(h.t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(kubeconfig), 0o600); err != nil {
		h.t.Fatal(err)
	}
	out, err := exec.CommandContext(h.t.Context(), "kubectl", "--kubeconfig", file, "get", "nodes").CombinedOutput()
	if err != nil {
		h.t.Fatalf("kubectl get nodes: %v\n%s", err, out)
	}
	if got := strings.Count(string(out), " Ready "); got != 2 {
		h.t.Errorf("kubectl shows %d Ready nodes, want 2:\n%s", got, out)
	}
}

// nothingLeft asks the simulator, with the account's own credential, what is in
// the resource group.
func (h *hub) nothingLeft() {
	h.t.Helper()
	resp, err := clientOf(h.t, h.env["AZURE_CA_FILE"]).Get(h.env["AZURE_ARM_URL"] + "/_sim/resources")
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if strings.Contains(string(raw), "lazuli.io-cluster") || strings.Contains(string(raw), "Microsoft.Network") {
		h.t.Errorf("left in Azure: %s", raw)
	}
	if !strings.Contains(string(raw), "resourceGroups/"+h.env["AZURE_RESOURCE_GROUP"]) {
		h.t.Errorf("the resource group is gone: %s", raw)
	}
}

func (h *hub) terminate() {
	h.t.Helper()
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		h.t.Fatal(err)
	}
	if err := h.cmd.Wait(); err != nil {
		h.t.Errorf("after SIGTERM: %v\n%s", err, h.log)
	}
}

// nowhere looks for a secret in all that the hub ever said or wrote.
func (h *hub) nowhere(secret string) {
	h.t.Helper()
	if bytes.Contains(h.log.Bytes(), []byte(secret)) {
		h.t.Error("the log has the secret")
	}
	if bytes.Contains(h.answers.Bytes(), []byte(secret)) {
		h.t.Error("an answer of the API has the secret")
	}
	seen := 0
	err := filepath.WalkDir(h.dataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen++
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(content, []byte(secret)) {
			h.t.Errorf("%s has the secret", path)
		}
		return nil
	})
	if err != nil {
		h.t.Error(err)
	}
	if seen == 0 {
		h.t.Error("the data directory is empty: nothing was looked through")
	}
}
