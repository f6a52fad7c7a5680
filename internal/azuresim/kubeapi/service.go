// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// DefaultServiceCIDR is kubeadm's default service subnet.
const DefaultServiceCIDR = "10.96.0.0/12"

// firstDynamicIP is the offset in the service subnet where addresses are handed out: .1 is the service kubernetes and
// .10 the cluster DNS of kubeadm.
const firstDynamicIP = 16

// Node ports are taken from Kubernetes' default range.
const (
	firstNodePort = int64(30000)
	lastNodePort  = int64(32767)
)

// servicePool is the service subnet.
type servicePool struct{ prefix netip.Prefix }

func parseServicePool(cidr string) (servicePool, error) {
	if cidr == "" {
		cidr = DefaultServiceCIDR
	}
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return servicePool{}, fmt.Errorf("parse service subnet %q: %w", cidr, err)
	}
	return servicePool{prefix: p.Masked()}, nil
}

// allocate gives a service its cluster address and node ports.
func (s *Store) allocate(r *resource, u, old *unstructured.Unstructured) error {
	if r.GroupResource() != Services {
		return nil
	}
	kind := nestedString(u, "spec", "type")
	if kind == "ExternalName" {
		return nil
	}
	ip := nestedString(u, "spec", "clusterIP")
	if old != nil && ip == "" {
		ip = nestedString(old, "spec", "clusterIP")
	}
	if old != nil {
		if before := nestedString(old, "spec", "clusterIP"); before != "" && before != ip {
			return invalid(r, u.GetName(), "spec.clusterIPs", ip, "may not change once set")
		}
	}
	if ip == "" {
		ip = s.freeIP()
	} else if a, err := netip.ParseAddr(ip); old == nil && ip != "None" && (err != nil || !s.services.prefix.Contains(a)) {
		return invalid(r, u.GetName(), "spec.clusterIPs", ip, "the provided IP is not in the valid range "+s.services.prefix.String())
	}
	setNested(u, ip, "spec", "clusterIP")
	setNested(u, []any{ip}, "spec", "clusterIPs")
	defaultTo(u, []any{"IPv4"}, "spec", "ipFamilies")
	defaultTo(u, "SingleStack", "spec", "ipFamilyPolicy")
	if kind == "NodePort" || kind == "LoadBalancer" {
		s.allocateNodePorts(u)
	}
	return nil
}

// freeIP returns the lowest address above the reserved ones that no service uses.
func (s *Store) freeIP() string {
	used := map[string]bool{}
	for _, u := range s.data[Services].items {
		used[nestedString(u, "spec", "clusterIP")] = true
	}
	a := s.services.prefix.Addr()
	for range firstDynamicIP {
		a = a.Next()
	}
	for ; s.services.prefix.Contains(a); a = a.Next() {
		if !used[a.String()] {
			return a.String()
		}
	}
	return "None"
}

func (s *Store) allocateNodePorts(u *unstructured.Unstructured) {
	used := map[int64]bool{}
	for _, other := range s.data[Services].items {
		for _, p := range servicePorts(other) {
			if n, ok := p["nodePort"].(int64); ok {
				used[n] = true
			}
		}
	}
	ports := servicePorts(u)
	list := make([]any, 0, len(ports))
	next := firstNodePort
	for _, p := range ports {
		if n, ok := p["nodePort"].(int64); !ok || n == 0 {
			for used[next] && next < lastNodePort {
				next++
			}
			used[next] = true
			p["nodePort"] = next
		}
		list = append(list, p)
	}
	setNested(u, list, "spec", "ports")
}

func servicePorts(u *unstructured.Unstructured) []map[string]any {
	items, _, err := unstructured.NestedSlice(u.Object, "spec", "ports")
	if err != nil {
		return nil
	}
	out := make([]map[string]any, 0, len(items))
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
