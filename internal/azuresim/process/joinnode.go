// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
)

// discoveryRetry is kubeadm's pause between two looks at cluster-info.
const discoveryRetry = 5 * time.Second

// join is kubeadm join.
func (m *machine) join(ctx context.Context, user *model.Bootstrap, cfg *config) error {
	j, err := joiningOf(cfg.join)
	if err != nil {
		return err
	}
	node, err := registrationOf(cfg.join, m.ComputerName, j.controlPlane)
	if err != nil {
		return err
	}
	m.update(func() { m.node, m.port = node, j.port })
	m.cloudInit("[preflight] Running pre-flight checks")
	info, err := m.discover(ctx, j)
	if err != nil {
		return fmt.Errorf("couldn't validate the identity of the API Server: %w", err)
	}
	id, err := identity(info.ca)
	if err != nil {
		return err
	}
	if j.controlPlane {
		own, err := identity([]byte(user.Files[pkiDir+"ca.crt"]))
		if err != nil {
			return err
		}
		if own != id {
			return errors.New("certificate ca.crt on disk is not the cluster's CA")
		}
	}
	if err := m.tlsBootstrap(ctx, j, info); err != nil {
		return err
	}
	if j.controlPlane {
		return m.joinControlPlane(ctx, id)
	}
	if err := m.register(ctx); err != nil {
		return err
	}
	m.cloudInit("This node has joined the cluster:")
	return nil
}

// joinControlPlane makes the cluster's API server answer on this machine too.
func (m *machine) joinControlPlane(ctx context.Context, id string) error {
	m.owner.mu.Lock()
	c := m.owner.clusters[id]
	m.owner.mu.Unlock()
	if c == nil {
		return errors.New("the cluster is gone")
	}
	if err := m.register(ctx); err != nil {
		return err
	}
	if err := c.up(ctx, m); err != nil {
		return err
	}
	m.serve(c)
	m.owner.log.Info("API server healthy", "machine", m.Name, "address", c.address())
	if err := m.mark(ctx, c); err != nil {
		return err
	}
	m.cloudInit("This node has joined the cluster and a new control plane instance was created:")
	return nil
}

// discover waits for a cluster-info that the token vouches for. Pauses are the cloud's, the bound is real: what it waits for
// are processes.
func (m *machine) discover(ctx context.Context, j joining) (*kubeconfig, error) {
	ctx, cancel := context.WithTimeout(ctx, j.discovery)
	defer cancel()
	least := time.NewTicker(healthPause) // However fast the cloud's time is.
	defer least.Stop()
	for told := ""; ; {
		info, err := m.clusterInfo(ctx, j)
		if err == nil || errors.Is(err, errFatal) {
			return info, err
		}
		if text := err.Error(); text != told {
			m.cloudInit("[discovery] Failed to request cluster-info, will try again: %v", err)
			told = text
		}
		if !m.wait(ctx, discoveryRetry) {
			return nil, err
		}
		<-least.C
	}
}

// clusterInfo is one round of token discovery: read, believe because of the token's signature and the pinned CA, and read
// again over a connection that this CA vouches for.
func (m *machine) clusterInfo(ctx context.Context, j joining) (*kubeconfig, error) {
	base := "https://" + j.endpoint
	first, err := m.readClusterInfo(ctx, base, nil)
	if err != nil {
		return nil, err
	}
	id, secret, _ := strings.Cut(j.token, ".")
	signature, ok := first["jws-kubeconfig-"+id]
	if !ok {
		return nil, fmt.Errorf("the cluster-info ConfigMap does not yet contain a JWS signature for token ID %q, will try again", id)
	}
	if !vouches(signature, first["kubeconfig"], id, secret) {
		return nil, fmt.Errorf("token id %q is invalid for this cluster or it has expired. Use \"kubeadm token create\" on the control-plane node to create a new valid token", id)
	}
	info, err := parseKubeconfig([]byte(first["kubeconfig"]))
	if err != nil {
		return nil, err
	}
	pin, err := pinOf(info.ca)
	if err != nil {
		return nil, err
	}
	if len(j.pins) > 0 && !slices.Contains(j.pins, pin) {
		return nil, fmt.Errorf("%w: cluster CA found in cluster-info ConfigMap is invalid: none of the public keys %q are pinned", errFatal, pin)
	}
	second, err := m.readClusterInfo(ctx, base, info.ca)
	if err != nil {
		return nil, err
	}
	if second["kubeconfig"] != first["kubeconfig"] {
		return nil, errors.New("the second kubeconfig from the cluster-info ConfigMap (using validated TLS) was different from the first")
	}
	return info, nil
}

func (m *machine) readClusterInfo(ctx context.Context, base string, ca []byte) (map[string]string, error) {
	c := newClient(base, ca, nil, m.dial())
	defer c.close()
	var o struct {
		Data map[string]string `json:"data"`
	}
	err := c.call(ctx, http.MethodGet, "/api/v1/namespaces/kube-public/configmaps/cluster-info", "", nil, &o)
	return o.Data, err
}

// vouches checks a detached JWS: HMAC-SHA256 with the token's secret.
func vouches(signature, payload, id, secret string) bool {
	header, sum, ok := strings.Cut(signature, "..")
	enc := base64.RawURLEncoding
	if !ok || header != enc.EncodeToString([]byte(`{"alg":"HS256","kid":"`+id+`"}`)) {
		return false
	}
	got, err := enc.DecodeString(sum)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(header + "." + enc.EncodeToString([]byte(payload)))) // Never fails.
	return hmac.Equal(got, mac.Sum(nil))
}

// pinOf is a CA's hash as in caCertHashes: SHA-256 of the subject public key info.
func pinOf(ca []byte) (string, error) {
	block, _ := pem.Decode(ca)
	if block == nil {
		return "", errors.New("the CA of cluster-info is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("read the CA of cluster-info: %w", err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// tlsBootstrap lets the kubelet's own code ask for the machine's certificate with the token: the hollow program does that
// before anything else, whichever part it is to play, and is stopped when it has one. The part of a proxy does nothing that
// anybody sees, where a kubelet would register a Node that is not the machine's.
func (m *machine) tlsBootstrap(ctx context.Context, j joining, info *kubeconfig) error {
	if err := m.checkName(ctx, j, info); err != nil {
		return err
	}
	m.cloudInit("[kubelet-start] Starting the kubelet")
	m.cloudInit("[kubelet-start] Waiting for the kubelet to perform the TLS Bootstrap...")
	raw, err := tokenKubeconfig(info.server, info.ca, j.tlsToken)
	if err != nil {
		return err
	}
	bootstrap := filepath.Join(m.dir, "bootstrap-kubelet.conf")
	if err := os.WriteFile(bootstrap, raw, 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	url, secret := m.owner.proxy.open(m.dial())
	defer m.owner.proxy.shut(secret)
	k, err := m.owner.start(command{
		program: hollowProgram, dir: m.dir, log: filepath.Join(m.dir, "bootstrap.log"), proxy: url,
		args: []string{
			"--morph=proxy", "--name=" + m.node.name, "--bootstrap-kubeconfig=" + bootstrap,
			"--kubeconfig=" + m.kubeconfig(), "--cert-dir=" + m.dir,
		},
	})
	if err != nil {
		return err
	}
	defer k.kill()
	err = poll(ctx, healthPause, j.tls, func(context.Context) error {
		select {
		case <-k.done:
			if _, err := loadKubeconfig(m.kubeconfig()); err == nil {
				return nil
			}
			return fmt.Errorf("%w: kubelet TLS bootstrap: %s", errFatal, lastWords(k.log))
		default:
		}
		got, err := loadKubeconfig(m.kubeconfig())
		if err == nil && got.cert == nil {
			err = errors.New("no certificate yet")
		}
		return err
	})
	if err != nil && !errors.Is(err, errFatal) {
		err = fmt.Errorf("kubelet TLS bootstrap: timed out: %w", err)
	}
	return errors.Join(err, os.Remove(bootstrap))
}

// checkName refuses the name of a Node that is Ready.
func (m *machine) checkName(ctx context.Context, j joining, info *kubeconfig) error {
	c := newClient(info.server, info.ca, nil, m.dial())
	defer c.close()
	c.token = j.tlsToken
	var n node
	err := c.call(ctx, http.MethodGet, "/api/v1/nodes/"+m.node.name, "", nil, &n)
	switch {
	case hasCode(err, http.StatusNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("cannot get Node %q: %w", m.node.name, err)
	case n.ready():
		return fmt.Errorf("a Node with name %q and status \"Ready\" already exists in the cluster", m.node.name)
	}
	return nil
}
