// SPDX-License-Identifier: Apache-2.0

package process

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

// kubeconfig is the one cluster and the one user of a file.
type kubeconfig struct {
	server string
	ca     []byte
	cert   *tls.Certificate
}

type kubeconfigFile struct {
	Clusters []struct {
		Cluster struct {
			Server string `json:"server"`
			CAData string `json:"certificate-authority-data"`
			CAFile string `json:"certificate-authority"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		User struct {
			CertData string `json:"client-certificate-data"`
			KeyData  string `json:"client-key-data"`
			CertFile string `json:"client-certificate"`
			KeyFile  string `json:"client-key"`
		} `json:"user"`
	} `json:"users"`
}

func parseKubeconfig(raw []byte) (*kubeconfig, error) {
	var f kubeconfigFile
	if err := yaml.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	if len(f.Clusters) != 1 {
		return nil, errors.New("read kubeconfig: it has no cluster, or several")
	}
	c := f.Clusters[0].Cluster
	ca, err := dataOrFile(c.CAData, c.CAFile)
	if err != nil {
		return nil, err
	}
	out := &kubeconfig{server: c.Server, ca: ca}
	if len(f.Users) == 0 {
		return out, nil
	}
	u := f.Users[0].User
	cert, err := dataOrFile(u.CertData, u.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := dataOrFile(u.KeyData, u.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	out.cert = &pair
	return out, nil
}

func loadKubeconfig(path string) (*kubeconfig, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return parseKubeconfig(raw)
}

func dataOrFile(data, file string) ([]byte, error) {
	if data == "" && file != "" {
		out, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read kubeconfig: %w", err)
		}
		return out, nil
	}
	out, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return out, nil
}

// tokenKubeconfig is the kubeconfig of a kubelet that has only a bootstrap token.
func tokenKubeconfig(server string, ca []byte, token string) ([]byte, error) {
	type named map[string]any
	out, err := yaml.Marshal(named{
		"apiVersion": "v1", "kind": "Config", "current-context": "bootstrap",
		"clusters": []named{{"name": "bootstrap", "cluster": named{"server": server, "certificate-authority-data": base64.StdEncoding.EncodeToString(ca)}}},
		"users":    []named{{"name": "bootstrap", "user": named{"token": token}}},
		"contexts": []named{{"name": "bootstrap", "context": named{"cluster": "bootstrap", "user": "bootstrap"}}},
	})
	if err != nil {
		return nil, fmt.Errorf("write kubeconfig: %w", err)
	}
	return out, nil
}
