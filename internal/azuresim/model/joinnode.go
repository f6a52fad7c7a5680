// SPDX-License-Identifier: Apache-2.0

package model

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

const (
	// discoveryRetry is kubeadm's pause between two looks at cluster-info.
	discoveryRetry = 5 * time.Second
	// learnerRetry is kubeadm's pause between two attempts to add an etcd learner.
	learnerRetry = 500 * time.Millisecond
)

// errFatal marks an error that kubeadm does not retry by itself.
var errFatal = errors.New("fatal")

// joiner is one machine on its way into a cluster.
type joiner struct {
	*machine
	plan      *plan
	labels    map[string]string
	ca        *authority // control planes only
	host      string
	port      int
	discovery time.Duration
	etcdCall  time.Duration
}

// joinNode runs kubeadm join.
func (m *machine) joinNode(p *plan) {
	j, err := m.newJoiner(p)
	if err != nil {
		m.giveUp(err)
		return
	}
	j.attempt(1)
}

func (m *machine) newJoiner(p *plan) (*joiner, error) {
	if err := p.config.checkJoin(m.ComputerName); err != nil {
		return nil, err
	}
	cfg := p.config.join
	j := &joiner{machine: m, plan: p}
	var err error
	if j.labels, err = nodeLabels(&cfg.NodeRegistration); err != nil {
		return nil, err
	}
	if cfg.ControlPlane != nil {
		if j.ca, err = loadPKI(p.user.files, m.env.Outside()); err != nil {
			return nil, err
		}
	}
	if j.host, j.port, err = splitEndpoint(cfg.Discovery.BootstrapToken.APIServerEndpoint); err != nil {
		return nil, err
	}
	if j.discovery, err = optionalDuration(cfg.Timeouts.Discovery, defaultDiscovery); err != nil {
		return nil, err
	}
	j.etcdCall, err = optionalDuration(cfg.Timeouts.EtcdAPICall, defaultEtcdAPICall)
	return j, err
}

// attempt is one call of kubeadm join.
func (j *joiner) attempt(n int) {
	j.cloudInit("[preflight] Running pre-flight checks")
	j.discover(n, j.env.Now().Add(j.discovery), "")
}

func (j *joiner) fail(n int, err error) { j.again(j.plan, n, err, j.attempt) }

// discover asks for cluster-info until it can be trusted or the time is up.
func (j *joiner) discover(n int, deadline time.Time, told string) {
	c, err := j.lookAtClusterInfo()
	switch {
	case err == nil:
		j.cloudInit("[preflight] Reading configuration from the \"kubeadm-config\" ConfigMap in namespace \"kube-system\"...")
		j.discovered(n, c)
	case errors.Is(err, errFatal):
		j.fail(n, err)
	case !j.env.Now().Add(discoveryRetry).Before(deadline):
		j.fail(n, fmt.Errorf("couldn't validate the identity of the API Server: %w", err))
	default:
		if text := err.Error(); text != told {
			j.cloudInit("[discovery] Failed to request cluster-info, will try again: %v", err)
			told = text
		}
		j.after(discoveryRetry, func() { j.discover(n, deadline, told) })
	}
}

// lookAtClusterInfo is one round of token discovery.
func (j *joiner) lookAtClusterInfo() (*cluster, error) {
	d := j.plan.config.join.Discovery.BootstrapToken
	c, err := j.reachCluster()
	if err != nil {
		return nil, err
	}
	u, ok := c.store.Get(kubeapi.ConfigMaps, "kube-public", "cluster-info")
	if !ok {
		return nil, errors.New(`configmaps "cluster-info" not found`)
	}
	info, err := kubeapi.As[corev1.ConfigMap](u)
	if err != nil {
		return nil, err
	}
	id, secret, _ := strings.Cut(d.Token, ".")
	sig, ok := info.Data["jws-kubeconfig-"+id]
	if !ok {
		return nil, fmt.Errorf("the cluster-info ConfigMap does not yet contain a JWS signature for token ID %q, will try again", id)
	}
	if !hmac.Equal([]byte(sig), []byte(signature(info.Data["kubeconfig"], id, secret))) {
		return nil, fmt.Errorf("token id %q is invalid for this cluster or it has expired. Use \"kubeadm token create\" on the control-plane node to create a new valid token", id)
	}
	if len(d.CACertHashes) > 0 && !slices.Contains(d.CACertHashes, c.ca.pin()) {
		return nil, fmt.Errorf("%w: cluster CA found in cluster-info ConfigMap is invalid: none of the public keys %q are pinned", errFatal, c.ca.pin())
	}
	return c, nil
}

// reachCluster opens the endpoint: what answers there decides which cluster it is.
func (j *joiner) reachCluster() (*cluster, error) {
	to, err := j.env.Reach(j.ID, j.host, j.port)
	if err != nil {
		return nil, fmt.Errorf("dial tcp %s:%d: %w", j.host, j.port, err)
	}
	c := j.owner.clusterAt(to)
	if c == nil {
		return nil, fmt.Errorf("dial tcp %s:%d: connect: connection refused", j.host, j.port)
	}
	return c, nil
}

// discovered goes on with what the cluster says about itself.
func (j *joiner) discovered(n int, c *cluster) {
	if err := j.plan.config.checkVersion(c.minor); err != nil {
		j.fail(n, err)
		return
	}
	if j.ca == nil {
		j.after(j.timing.join, func() { j.joinWorker(n, c) })
		return
	}
	if j.ca.fingerprint() != c.id {
		j.fail(n, errors.New("certificate ca.crt on disk is not the cluster's CA"))
		return
	}
	if c.config.ControlPlaneEndpoint == "" {
		j.fail(n, errors.New("unable to add a new control plane instance to a cluster that doesn't have a stable controlPlaneEndpoint address"))
		return
	}
	j.cloudInit("[certs] Generating certificates, [control-plane] Creating static Pod manifests")
	j.after(j.timing.joinPrepare, func() { j.etcdJoin(n, c, j.env.Now().Add(j.etcdCall), false) })
}

// tlsBootstrap checks the token with which the kubelet asks for its certificate.
func (j *joiner) tlsBootstrap(c *cluster) error {
	token := j.plan.config.join.Discovery.TLSBootstrapToken
	if token == "" {
		token = j.plan.config.join.Discovery.BootstrapToken.Token
	}
	if _, err := j.reachCluster(); err != nil {
		return err
	}
	if err := c.checkToken(token); err != nil {
		return err
	}
	if u, ok := c.store.Get(kubeapi.Nodes, "", j.ComputerName); ok {
		node, err := kubeapi.As[corev1.Node](u)
		if err == nil && nodeCondition(node, corev1.NodeReady) == corev1.ConditionTrue {
			return fmt.Errorf("a Node with name %q and status \"Ready\" already exists in the cluster", j.ComputerName)
		}
	}
	return nil
}

func (j *joiner) joinWorker(n int, c *cluster) {
	if err := j.tlsBootstrap(c); err != nil {
		j.fail(n, fmt.Errorf("kubelet TLS bootstrap: %w", err))
		return
	}
	j.cloudInit("[kubelet-start] Starting the kubelet")
	j.update(func() { j.cluster = c })
	j.finishJoin(n, "This node has joined the cluster:")
}

func (j *joiner) finishJoin(n int, words string) {
	j.after(j.timing.register, func() {
		if err := j.register(&j.plan.config.join.NodeRegistration, j.labels); err != nil {
			j.fail(n, err)
			return
		}
		j.cloudInit("%s", words)
		j.done()
	})
}

// etcdJoin waits for its turn: etcd has one learner at a time, and kubeadm tries until timeouts.etcdAPICall.
func (j *joiner) etcdJoin(n int, c *cluster, deadline time.Time, told bool) {
	if err := j.tlsBootstrap(c); err != nil {
		j.fail(n, fmt.Errorf("kubelet TLS bootstrap: %w", err))
		return
	}
	if !c.takeLearner(j.machine) {
		if j.env.Now().After(deadline) {
			j.fail(n, errors.New("etcd: too many learner members in cluster"))
			return
		}
		if !told {
			j.cloudInit("[etcd] Failed to add etcd member, will retry: etcdserver: too many learner members in cluster")
		}
		j.after(learnerRetry, func() { j.etcdJoin(n, c, deadline, true) })
		return
	}
	j.cloudInit("[etcd] Adding etcd member as learner")
	j.after(j.timing.learner, func() {
		c.releaseLearner(j.machine)
		j.cloudInit("[etcd] Promoted the learner to voting member")
		if err := j.becomeControlPlane(c, j.plan.config.join.ControlPlane.LocalAPIEndpoint); err != nil {
			j.fail(n, err)
			return
		}
		j.after(j.timing.joinHealthy, func() {
			j.serveAPI()
			j.finishJoin(n, "This node has joined the cluster and a new control plane instance was created:")
		})
	})
}
