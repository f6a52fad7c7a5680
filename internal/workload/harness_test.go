// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
	"github.com/lazuli-dev/lazuli/internal/bootstrap"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

const (
	uid        = "6741f1a00102030405060708"
	serverName = "api.test.example.com"
)

// cluster is the model-level API of one cluster behind TLS.
type cluster struct {
	*kubeapi.Server

	pki bootstrap.PKI
	tls *tls.Config

	mu       sync.Mutex
	requests []string                                      // "METHOD path"
	fault    func(http.ResponseWriter, *http.Request) bool // answers instead, when it returns true
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	pki, err := bootstrap.NewPKI(rand.Reader, time.Now(), "test")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(pki.CA.Cert))
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{pki: pki, tls: serving(t, pki, ca)}
	random := mathrand.New(mathrand.NewPCG(1, 2))
	c.Server, err = kubeapi.New(kubeapi.Options{Now: time.Now, Random: random.Uint64, ClientCA: ca, Version: "v1.36.3"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serving is the TLS configuration of an API server of the cluster.
func serving(t *testing.T, pki bootstrap.PKI, ca *x509.Certificate) *tls.Config {
	t.Helper()
	block, _ := pem.Decode([]byte(pki.CA.Key))
	signer, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"}, DNSNames: []string{serverName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:   tls.RequestClientCert, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	}
}

// ServeHTTP records a request and answers it.
func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.requests = append(c.requests, r.Method+" "+r.URL.Path)
	fault := c.fault
	c.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	c.Server.ServeHTTP(w, r)
}

func (c *cluster) setFault(f func(http.ResponseWriter, *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = f
}

// counted returns the number of requests of a method since the last call.
func (c *cluster) counted(method string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, r := range c.requests {
		if strings.HasPrefix(r, method+" ") {
			n++
		}
	}
	c.requests = nil
	return n
}

// start serves the cluster on loopback and returns the way in.
func (c *cluster) start(t *testing.T) workload.Access {
	t.Helper()
	web := httptest.NewUnstartedServer(c)
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	web.TLS, web.EnableHTTP2 = c.tls, true
	web.StartTLS()
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
	})
	return c.access(t, web.URL)
}

func (c *cluster) access(t *testing.T, server string) workload.Access {
	t.Helper()
	raw, err := bootstrap.AdminKubeconfig(c.pki, rand.Reader, time.Now(), server, serverName, "test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return workload.Access{Kubeconfig: raw, UID: uid}
}

func newClusters(t *testing.T) *workload.Clusters {
	t.Helper()
	clusters := workload.New(&net.Dialer{}, slog.New(slog.DiscardHandler), workload.Options{})
	t.Cleanup(clusters.Close)
	return clusters
}

// setup is a running cluster, the way in and the Clusters to use it.
func setup(t *testing.T) (*cluster, workload.Access, *workload.Clusters) {
	t.Helper()
	c := newCluster(t)
	return c, c.start(t), newClusters(t)
}

func (c *cluster) addNode(t *testing.T, n *corev1.Node) {
	t.Helper()
	if _, err := c.Store().Put(kubeapi.Nodes, n); err != nil {
		t.Fatal(err)
	}
}

func readyNode(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"topology.kubernetes.io/zone": "westeurope-2"}},
		Spec:       corev1.NodeSpec{ProviderID: "azure:///subscriptions/s/x/" + name},
		Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}, {Type: corev1.NodeInternalIP, Address: "10.0.0.4"}},
			NodeInfo:   corev1.NodeSystemInfo{KubeletVersion: "v1.36.3"},
		},
	}
}

// pipe is a Dialer and a Listener in memory.
type pipe struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipe() *pipe { return &pipe{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipe) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipe) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
