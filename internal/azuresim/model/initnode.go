// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"net/netip"
	"slices"
)

// initNode runs kubeadm init. What kubeadm refuses stays refused however often a script calls it.
func (m *machine) initNode(p *plan) {
	err := p.config.checkInit(m.ComputerName)
	var ca *authority
	if err == nil {
		ca, err = loadPKI(p.user.files, m.env.Outside())
	}
	var labels map[string]string
	if err == nil {
		labels, err = nodeLabels(&p.config.init.NodeRegistration)
	}
	if err == nil && m.owner.clusterOf(ca) != nil {
		err = errors.New("etcd: another control plane has initialised a cluster with this CA; two clusters with one CA are not modelled")
	}
	if err != nil {
		m.giveUp(err)
		return
	}
	for _, phase := range []string{"[init] Using Kubernetes version: " + p.config.cluster.KubernetesVersion,
		"[preflight] Running pre-flight checks", `[certs] Using certificateDir folder "/etc/kubernetes/pki"`,
		"[certs] Using existing ca certificate authority", "[certs] Generating \"apiserver\" certificate and key",
		`[kubeconfig] Using kubeconfig folder "/etc/kubernetes"`, "[etcd] Creating static Pod manifest for local etcd",
		`[control-plane] Using manifest folder "/etc/kubernetes/manifests"`} {
		m.cloudInit("%s", phase)
	}
	m.after(m.timing.prepare, func() {
		m.cloudInit("[kubelet-start] Starting the kubelet")
		m.cloudInit("[wait-control-plane] Waiting for the kubelet to boot up the control plane as static Pods")
		m.after(m.timing.apiHealthy, func() { m.initHealthy(p, ca, labels) })
	})
}

// initHealthy is the moment when the API server of a new cluster answers.
func (m *machine) initHealthy(p *plan, ca *authority, labels map[string]string) {
	c, err := newCluster(m, p.config, ca)
	if err == nil {
		err = m.becomeControlPlane(c, p.config.init.LocalAPIEndpoint)
	}
	if err != nil {
		m.giveUp(err)
		return
	}
	m.owner.addCluster(c)
	m.cloudInit("[control-plane-check] kube-apiserver is healthy after %s", m.timing.apiHealthy)
	m.serveAPI()
	m.after(m.timing.register, func() {
		if err := m.register(&p.config.init.NodeRegistration, labels); err != nil {
			m.giveUp(err)
			return
		}
		m.cloudInit(`[upload-config] Storing the configuration used in ConfigMap "kubeadm-config" in the "kube-system" Namespace`)
		m.cloudInit("[mark-control-plane] Marking the node %s as control-plane", m.node)
		m.after(m.timing.upload, func() { m.initUpload(p) })
	})
}

// initUpload stores what joining nodes ask for, cluster-info last.
func (m *machine) initUpload(p *plan) {
	if err := m.cluster.upload(p.config); err != nil {
		m.giveUp(err)
		return
	}
	m.cloudInit("[bootstrap-token] Using token: <value withheld>")
	m.cloudInit(`[bootstrap-token] Creating the "cluster-info" ConfigMap in the "kube-public" namespace`)
	m.after(m.timing.addons, func() {
		skip := p.config.init.SkipPhases
		if err := m.cluster.installAddons(slices.Contains(skip, "addon/coredns") || slices.Contains(skip, "addon"),
			slices.Contains(skip, "addon/kube-proxy") || slices.Contains(skip, "addon")); err != nil {
			m.giveUp(err)
			return
		}
		m.cloudInit("[addons] Applied essential addons")
		m.cloudInit("Your Kubernetes control-plane has initialized successfully!")
		m.done()
	})
}

// done is the end of a bootstrap.
func (m *machine) done() {
	m.owner.log.Info("machine joined", "machine", m.Name, "after", m.env.Now().Sub(m.began))
	m.cloudInit("Cloud-init v. 25.2-0ubuntu1~24.04.1 finished. Datasource DataSourceAzure [seed=/dev/sr0].  Up %.2f seconds",
		m.env.Now().Sub(m.began).Seconds())
}

// becomeControlPlane makes the serving certificate of a control plane and notes its role.
func (m *machine) becomeControlPlane(c *cluster, local endpointOf) error {
	names := []string{m.ComputerName, m.PrivateIP, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc." + c.dnsDomain(), c.serviceIP(1), local.AdvertiseAddress}
	if host, _, err := splitEndpoint(c.config.ControlPlaneEndpoint); err == nil {
		names = append(names, host)
	}
	names = append(names, c.config.APIServer.CertSANs...)
	cert, err := c.ca.serving(names, m.env.Outside())
	if err != nil {
		return err
	}
	port := local.BindPort
	if port == 0 {
		port = defaultBindPort
	}
	m.update(func() {
		m.cluster, m.controlPlane, m.serving, m.apiPort = c, true, cert, port
	})
	return nil
}

// serviceIP is the nth address of the service subnet.
func (c *cluster) serviceIP(n int) string {
	p, err := netip.ParsePrefix(c.serviceCIDR())
	if err != nil {
		return ""
	}
	a := p.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a.String()
}
