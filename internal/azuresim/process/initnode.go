// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
)

// init is kubeadm init. What fails leaves nothing, so that it can be tried again.
func (m *machine) init(ctx context.Context, user *model.Bootstrap, cfg *config) (err error) {
	c, told, err := m.prepare(ctx, user, cfg)
	if c != nil {
		defer func() {
			if err != nil {
				m.drop(c)
			}
		}()
	}
	if err != nil {
		return err
	}
	m.cloudInit("[wait-control-plane] Waiting for the kubelet to boot up the control plane as static Pods")
	if err := c.up(ctx, m); err != nil {
		return err
	}
	m.serve(c)
	m.owner.log.Info("API server healthy", "machine", m.Name, "address", c.address())
	if err := c.prepareAPI(ctx); err != nil {
		return err
	}
	if err := os.Rename(c.path("kubelet.conf"), m.kubeconfig()); err != nil {
		return fmt.Errorf("write the kubelet's kubeconfig: %w", err)
	}
	if err := m.register(ctx); err != nil {
		return err
	}
	m.warnOfVersion(ctx, c, cfg)
	return m.afterInit(ctx, c, cfg, told)
}

// warnOfVersion says on the console that another version runs than the user data asks for.
func (m *machine) warnOfVersion(ctx context.Context, c *cluster, cfg *config) {
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	wanted, _ := cfg.cluster["kubernetesVersion"].(string)
	if err := c.admin.call(ctx, http.MethodGet, "/version", "", nil, &version); err == nil && version.GitVersion != wanted {
		m.cloudInit("the simulator's programs are of %s: they run in place of %s", version.GitVersion, wanted)
	}
}

// drop undoes a cluster that did not come up.
func (m *machine) drop(c *cluster) {
	m.update(func() {
		m.serves, m.cluster = false, nil
		if m.owner.clusters[c.id] == c {
			delete(m.owner.clusters, c.id)
		}
	})
	c.release(m)
	if err := os.RemoveAll(c.dir); err != nil {
		m.owner.log.Warn("delete the files of a cluster", "error", err)
	}
}

// prepare lets kubeadm make the files of a new cluster.
func (m *machine) prepare(ctx context.Context, user *model.Bootstrap, cfg *config) (c *cluster, told string, err error) {
	node, err := registrationOf(cfg.init, m.ComputerName, true)
	if err != nil {
		return nil, "", err
	}
	var local struct {
		Endpoint struct {
			Port int `json:"bindPort"`
		} `json:"localAPIEndpoint"`
	}
	if err := convert(cfg.init, &local); err != nil {
		return nil, "", err
	}
	port := local.Endpoint.Port
	if port == 0 {
		port = defaultPort
	}
	ip, err := freeAddress(port, etcdPort, etcdPeerPort)
	if err != nil {
		return nil, "", err
	}
	m.owner.mu.Lock()
	m.owner.made++
	dir := filepath.Join(m.owner.dir, "clusters", fmt.Sprint(m.owner.made))
	m.owner.mu.Unlock()
	c = &cluster{dir: dir, ip: ip, port: port, owner: m.owner, members: map[*machine]bool{}, powered: map[*machine]bool{}}
	if err := c.writeFiles(user.Files); err != nil {
		return c, "", err
	}
	told, localText, err := cfg.initTexts(m.PrivateIP, m.ComputerName, c.pki(), ip)
	if err != nil {
		return c, "", err
	}
	if err := errors.Join(os.MkdirAll(c.dir, 0o700), os.WriteFile(c.path("local.yaml"), []byte(localText), 0o600),
		os.WriteFile(c.path("told.yaml"), []byte(told), 0o600)); err != nil {
		return c, "", fmt.Errorf("write kubeadm configuration: %w", err)
	}
	for _, phase := range [][]string{
		{"certs", "all"}, {"kubeconfig", "all", "--kubeconfig-dir", c.dir},
		{"etcd", "local", "--dry-run"}, {"control-plane", "all", "--dry-run"},
	} {
		if err := m.kubeadm(ctx, c.dir, "", append([]string{"init", "phase"}, append(phase, "--config", c.path("local.yaml"))...)...); err != nil {
			return c, "", err
		}
	}
	if err := m.found(c); err != nil {
		return c, "", err
	}
	if err := errors.Join(c.redirect("controller-manager.conf", "controller-manager.conf"), c.redirect("scheduler.conf", "scheduler.conf"),
		c.redirect("super-admin.conf", "direct.conf"), c.readCommands(user.Files)); err != nil {
		return c, "", err
	}
	admin, err := loadKubeconfig(c.path("direct.conf"))
	if err != nil {
		return c, "", err
	}
	c.admin = newClient(admin.server, admin.ca, admin.cert, nil)
	m.update(func() { m.node, m.port = node, port })
	return c, c.path("told.yaml"), nil
}

// found names the cluster after its CA: there is one of each.
func (m *machine) found(c *cluster) error {
	ca, err := os.ReadFile(filepath.Join(c.pki(), "ca.crt"))
	if err != nil {
		return fmt.Errorf("read the CA certificate: %w", err)
	}
	if c.id, err = identity(ca); err != nil {
		return err
	}
	m.owner.mu.Lock()
	defer m.owner.mu.Unlock()
	if m.owner.clusters[c.id] != nil {
		return errors.New("etcd: another control plane has initialised a cluster with this CA; two clusters with one CA are not simulated")
	}
	m.owner.clusters[c.id] = c
	return nil
}

// afterInit is what kubeadm init does when the API server is healthy.
func (m *machine) afterInit(ctx context.Context, c *cluster, cfg *config, told string) error {
	if err := m.mark(ctx, c); err != nil {
		return err
	}
	// Administrators' kubeconfigs name the endpoint, which the first control plane is to itself.
	endpoint, _ := cfg.cluster["controlPlaneEndpoint"].(string)
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		host = endpoint
	}
	url, secret := m.owner.proxy.open(m.dial(host))
	defer m.owner.proxy.shut(secret)
	skip := stringsOf(cfg.init["skipPhases"])
	for _, p := range []struct {
		phase      []string
		kubeconfig string
		proxy      string
	}{
		{[]string{"upload-config", "all"}, "direct.conf", ""},
		{[]string{"bootstrap-token", "--skip-token-print"}, "super-admin.conf", url},
		{[]string{"addon", "coredns"}, "direct.conf", ""},
		{[]string{"addon", "kube-proxy"}, "direct.conf", ""},
	} {
		name := p.phase[0]
		if len(p.phase) > 1 && name == "addon" && slices.Contains(skip, name+"/"+p.phase[1]) || slices.Contains(skip, name) {
			continue
		}
		if err := m.kubeadm(ctx, c.dir, p.proxy, append(append([]string{"init", "phase"}, p.phase...),
			"--config", told, "--kubeconfig", c.path(p.kubeconfig))...); err != nil {
			return err
		}
	}
	m.cloudInit("Your Kubernetes control-plane has initialized successfully!")
	return nil
}

func stringsOf(list any) []string {
	all, _ := list.([]any)
	var out []string
	for _, x := range all {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// object is JSON.
type object = map[string]any

// create makes an object unless it is there.
func (c *cluster) create(ctx context.Context, path string, o object) error {
	if err := c.admin.call(ctx, http.MethodPost, path, plainJSON, o, nil); err != nil && !hasCode(err, http.StatusConflict) {
		return fmt.Errorf("create %v %s: %w", o["kind"], path, err)
	}
	return nil
}

// prepareAPI makes the administrators' binding, as kubeadm does, and the policies for hollow kubelets.
func (c *cluster) prepareAPI(ctx context.Context) error {
	const rbac = "rbac.authorization.k8s.io"
	if err := c.create(ctx, "/apis/"+rbac+"/v1/clusterrolebindings", object{
		"apiVersion": rbac + "/v1", "kind": "ClusterRoleBinding", "metadata": object{"name": "kubeadm:cluster-admins"},
		"roleRef":  object{"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
		"subjects": []object{{"kind": "Group", "apiGroup": rbac, "name": "kubeadm:cluster-admins"}},
	}); err != nil {
		return err
	}
	for _, p := range policies() {
		if err := c.createPolicy(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
