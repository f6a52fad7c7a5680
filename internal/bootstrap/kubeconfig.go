// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net/url"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	// AdminGroup is the organization of our client certificates. kubeadm binds
	// it to cluster-admin during init in every version that we support (since
	// 1.29), and whoever runs the cluster can take that binding away. The other
	// choice, system:masters, passes over authorization: a leaked certificate of
	// it could be stopped by nothing but new CAs. The price is that the API server
	// answers 403 for the seconds between its first readyz and that binding;
	// callers retry it like a server that is not ready.
	AdminGroup = "kubeadm:cluster-admins"
	// AdminUser is the common name of our client certificates, which audit logs
	// show as the user.
	AdminUser = "lazuli-admin"

	maxKubeconfigLife = 365 * 24 * time.Hour
)

type kubeconfig struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	Clusters       []namedCluster `json:"clusters"`
	Contexts       []namedContext `json:"contexts"`
	CurrentContext string         `json:"current-context"`
	Users          []namedUser    `json:"users"`
}

type namedCluster struct {
	Name    string            `json:"name"`
	Cluster kubeconfigCluster `json:"cluster"`
}

type kubeconfigCluster struct {
	Server        string `json:"server"`
	CA            []byte `json:"certificate-authority-data"`
	TLSServerName string `json:"tls-server-name,omitempty"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

type namedUser struct {
	Name string `json:"name"`
	User struct {
		Cert []byte `json:"client-certificate-data"`
		Key  []byte `json:"client-key-data"`
	} `json:"user"`
}

// AdminKubeconfig makes a kubeconfig with a new client certificate of
// [AdminGroup] that is valid from five minutes before now until life after it.
// server is an https URL; tlsServerName, when not empty, is the name that the
// server's certificate is checked against instead of the host in server. life
// is at most a year. The result is a credential.
func AdminKubeconfig(
	p PKI, random io.Reader, now time.Time, server, tlsServerName, clusterName string, life time.Duration,
) ([]byte, error) {
	if u, err := url.Parse(server); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server: %q is not an https URL", server)
	}
	if life <= 0 || life > maxKubeconfigLife {
		return nil, fmt.Errorf("life: %s is not within (0, %s]", life, maxKubeconfigLife)
	}
	pair, err := clientCert(p.CA, random, now, life)
	if err != nil {
		return nil, fmt.Errorf("make admin certificate: %w", err)
	}
	k := kubeconfig{APIVersion: "v1", Kind: "Config", CurrentContext: clusterName}
	k.Clusters = []namedCluster{{Name: clusterName, Cluster: kubeconfigCluster{
		Server: server, CA: []byte(p.CA.Cert), TLSServerName: tlsServerName,
	}}}
	user := namedUser{Name: AdminUser + "@" + clusterName}
	user.User.Cert, user.User.Key = []byte(pair.Cert), []byte(pair.Key)
	k.Users = []namedUser{user}
	context := namedContext{Name: clusterName}
	context.Context.Cluster, context.Context.User = clusterName, user.Name
	k.Contexts = []namedContext{context}
	out, err := yaml.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encode kubeconfig: %w", err)
	}
	return out, nil
}

func clientCert(ca KeyPair, random io.Reader, now time.Time, life time.Duration) (KeyPair, error) {
	parent, err := parseCert(ca.Cert)
	if err != nil {
		return KeyPair{}, fmt.Errorf("read cluster CA: %w", err)
	}
	signer, err := parseKey(ca.Key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("read cluster CA key: %w", err)
	}
	key, err := newKey(random)
	if err != nil {
		return KeyPair{}, err
	}
	serial, err := newSerial(random)
	if err != nil {
		return KeyPair{}, err
	}
	end := now.Add(life).UTC()
	if end.After(parent.NotAfter) {
		end = parent.NotAfter
	}
	return sign(&x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: AdminUser, Organization: []string{AdminGroup}},
		NotBefore:    now.Add(-clockSkew).UTC(),
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, parent, key, signer)
}
