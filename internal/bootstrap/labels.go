// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"regexp"
	"slices"
	"strings"
)

const (
	labelLength  = 63
	prefixLength = 253
)

var (
	labelName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$`)
	dnsName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	dnsLabel  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
)

// KubeletMaySet reports whether a kubelet may put a label with this key on its
// own Node. Below kubernetes.io and k8s.io only a few may, everything else
// may (Kubernetes, admission controller NodeRestriction; a kubelet refuses to
// start with another one in --node-labels). The labels that it may not set,
// node-role.kubernetes.io/worker for instance, are for the hub to apply.
func KubeletMaySet(key string) bool {
	prefix, _, found := strings.Cut(key, "/")
	if !found {
		return true
	}
	if !within(prefix, "kubernetes.io") && !within(prefix, "k8s.io") {
		return true
	}
	if within(prefix, "kubelet.kubernetes.io") || within(prefix, "node.kubernetes.io") {
		return true
	}
	return slices.Contains([]string{
		"beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type", "beta.kubernetes.io/os",
		"failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
		"kubernetes.io/arch", "kubernetes.io/hostname", "kubernetes.io/os",
		"topology.kubernetes.io/region", "topology.kubernetes.io/zone",
	}, key)
}

// HubLabels returns those labels that a kubelet may not set itself.
func HubLabels(labels map[string]string) map[string]string {
	rest := map[string]string{}
	for k, v := range labels {
		if !KubeletMaySet(k) {
			rest[k] = v
		}
	}
	return rest
}

func within(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

func validLabelKey(key string) bool {
	prefix, name, found := strings.Cut(key, "/")
	if !found {
		prefix, name = "", key
	}
	return len(name) <= labelLength && labelName.MatchString(name) &&
		(!found || len(prefix) <= prefixLength && dnsName.MatchString(prefix))
}

func validLabelValue(v string) bool {
	return v == "" || len(v) <= labelLength && labelName.MatchString(v)
}

func validDNSName(s string) bool {
	if len(s) > prefixLength || !dnsName.MatchString(s) {
		return false
	}
	return !slices.ContainsFunc(strings.Split(s, "."), func(l string) bool { return len(l) > labelLength })
}

func validDNSLabel(s string) bool { return len(s) <= labelLength && dnsLabel.MatchString(s) }
