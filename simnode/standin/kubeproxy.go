// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// KubeProxyArguments puts a copy of the configuration into the arguments of kube-proxy, os.Args, that leaves the size of the
// connection table alone: it belongs to the host, a simulated machine may not write it, and kube-proxy ends when it cannot.
func KubeProxyArguments(arguments []string) ([]string, error) {
	out := slices.Clone(arguments)
	for i, a := range out {
		name, found := strings.CutPrefix(a, "--config=")
		if a == "--config" && i+1 < len(out) {
			name, found, i = out[i+1], true, i+1
		}
		if !found {
			continue
		}
		copied, err := withoutConntrack(name)
		if err != nil {
			return nil, err
		}
		out[i] = strings.TrimSuffix(out[i], name) + copied
	}
	return out, nil
}

// withoutConntrack writes the copy and returns its name.
func withoutConntrack(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read the configuration: %w", err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(text, &config); err != nil {
		return "", fmt.Errorf("read the configuration %s: %w", name, err)
	}
	conntrack, ok := config["conntrack"].(map[string]any)
	if !ok {
		conntrack = map[string]any{}
	}
	conntrack["maxPerCore"] = 0 // "leave it"
	config["conntrack"] = conntrack
	if text, err = yaml.Marshal(config); err != nil {
		return "", fmt.Errorf("encode the configuration: %w", err)
	}
	file, err := os.CreateTemp("", "kube-proxy-*.yaml")
	if err != nil {
		return "", fmt.Errorf("copy the configuration: %w", err)
	}
	defer file.Close()
	if _, err := file.Write(text); err != nil {
		return "", fmt.Errorf("copy the configuration: %w", err)
	}
	return file.Name(), nil
}
