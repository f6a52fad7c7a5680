// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// initialisePause is how often the level looks for nodes to initialise.
	initialisePause = 2 * time.Second
	// nodeManagerName marks the Azure cloud node manager.
	nodeManagerName = "cloud-node-manager"
	labelExclude    = "node.kubernetes.io/exclude-from-external-load-balancers"
)

// node is what the level reads of a Node.
type node struct {
	Metadata struct {
		Name            string            `json:"name"`
		ResourceVersion string            `json:"resourceVersion"`
		Labels          map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		ProviderID string  `json:"providerID"`
		Taints     []taint `json:"taints"`
	} `json:"spec"`
	Status struct {
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

func (n *node) ready() bool {
	for _, c := range n.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

func (n *node) hasTaint(key string) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t taint) bool { return t.Key == key })
}

// armSize matches the sizes with an arm64 processor: a "p" among the letters after the number of cores.
var armSize = regexp.MustCompile(`^(?i:standard)_[A-Z]+\d+(?:-\d+)?[a-z]*p[a-z]*_`)

func arch(size string) string {
	if armSize.MatchString(size) {
		return "arm64"
	}
	return "amd64"
}

// register creates the Node with the machine's own certificate, as its kubelet would, with what the kubelet's arguments and
// the machine's size say. A Node that is there stays as it is.
func (m *machine) register(ctx context.Context) error {
	k, err := loadKubeconfig(m.kubeconfig())
	if err != nil {
		return err
	}
	c := newClient(k.server, k.ca, k.cert, m.dial())
	defer c.close()
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := c.call(ctx, http.MethodGet, "/version", "", nil, &version); err != nil {
		return fmt.Errorf("ask for the version: %w", err)
	}
	a := arch(m.Size)
	labels := map[string]string{
		"kubernetes.io/os": "linux", "kubernetes.io/arch": a, "kubernetes.io/hostname": m.node.name,
		"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": a,
	}
	maps.Copy(labels, m.node.labels)
	taints := slices.Clone(m.node.taints)
	addresses := []object{{"type": "Hostname", "address": m.node.name}}
	if m.node.external {
		taints = append(taints, taint{Key: uninitialized, Value: "true", Effect: "NoSchedule"})
	} else {
		addresses = append(addresses, object{"type": "InternalIP", "address": m.PrivateIP})
	}
	body := object{
		"apiVersion": "v1", "kind": "Node",
		"metadata": object{"name": m.node.name, "labels": labels, "annotations": map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"}},
		"spec":     object{"providerID": m.node.providerID, "taints": taints},
		"status": object{
			"addresses": addresses, "capacity": m.resources(0), "allocatable": m.resources(reservedMemoryGB),
			"nodeInfo": object{
				"machineID": m.key[max(0, len(m.key)-32):], "systemUUID": m.VMID, "bootID": "", "kernelVersion": "6.14.0-1017-azure",
				"osImage": "Ubuntu 24.04.3 LTS", "containerRuntimeVersion": "containerd://2.2.1", "kubeletVersion": version.GitVersion,
				"kubeProxyVersion": "", "operatingSystem": "linux", "architecture": a,
			},
		},
	}
	err = c.call(ctx, http.MethodPost, "/api/v1/nodes", plainJSON, body, nil)
	if err != nil && !hasCode(err, http.StatusConflict) {
		return fmt.Errorf("register node: %w", err)
	}
	m.cloudInit("kubelet: Successfully registered node %s", m.node.name)
	return nil
}

// reservedMemoryGB is what the kubelet's defaults keep from pods, rounded.
const reservedMemoryGB = 0.1

func (m *machine) resources(reservedGB float64) map[string]string {
	const kiPerGB = 1 << 20
	return map[string]string{
		"cpu": fmt.Sprint(m.VCPUs), "memory": fmt.Sprintf("%dKi", int64(max(0, m.MemoryGB-reservedGB)*kiPerGB)), "pods": "110",
		"ephemeral-storage": "29Gi",
	}
}

// mark is kubeadm's mark-control-plane: labels and taints.
func (m *machine) mark(ctx context.Context, c *cluster) error {
	m.cloudInit("[mark-control-plane] Marking the node %s as control-plane", m.node.name)
	patch := object{"metadata": object{"labels": map[string]string{controlPlaneRole: "", labelExclude: ""}}}
	if err := c.admin.call(ctx, http.MethodPatch, "/api/v1/nodes/"+m.node.name, mergePatch, patch, nil); err != nil {
		return fmt.Errorf("mark control plane: %w", err)
	}
	return nil
}

// initialiseNodes does the cloud node manager's work where its pods run, until the cluster goes down.
func (c *cluster) initialiseNodes(ctx context.Context) {
	pause := time.NewTicker(initialisePause)
	defer pause.Stop()
	for {
		if err := c.initialiseOnce(ctx); err != nil && ctx.Err() == nil {
			c.owner.log.Debug("initialise nodes", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

func (c *cluster) initialiseOnce(ctx context.Context) error {
	var nodes struct {
		Items []node `json:"items"`
	}
	if err := c.admin.call(ctx, http.MethodGet, "/api/v1/nodes?resourceVersion=0", "", nil, &nodes); err != nil {
		return err
	}
	for i := range nodes.Items {
		n := &nodes.Items[i]
		m := c.machineOf(n)
		if m == nil || !n.hasTaint(uninitialized) {
			continue
		}
		manager, err := c.runsNodeManager(ctx, n.Metadata.Name)
		if err != nil {
			return err
		}
		if !manager {
			continue
		}
		if err := c.initialise(ctx, n, m); err != nil {
			return err
		}
		c.owner.log.Info("node initialised", "node", n.Metadata.Name)
	}
	return nil
}

// machineOf finds the machine of a Node: by provider id, or by name.
func (c *cluster) machineOf(n *node) *machine {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	if id, ok := strings.CutPrefix(n.Spec.ProviderID, "azure://"); ok {
		return c.owner.machines[strings.ToLower(id)]
	}
	for _, m := range c.owner.machines {
		if m.node.name == n.Metadata.Name && n.Spec.ProviderID == "" {
			return m
		}
	}
	return nil
}

// runsNodeManager says whether a pod of the Azure cloud node manager runs on a node.
func (c *cluster) runsNodeManager(ctx context.Context, name string) (bool, error) {
	var pods struct {
		Items []struct {
			Spec struct {
				Containers []struct {
					Name  string `json:"name"`
					Image string `json:"image"`
				} `json:"containers"`
			} `json:"spec"`
		} `json:"items"`
	}
	query := "/api/v1/pods?fieldSelector=" + url.QueryEscape("spec.nodeName="+name+",status.phase=Running")
	if err := c.admin.call(ctx, http.MethodGet, query, "", nil, &pods); err != nil {
		return false, err
	}
	for _, p := range pods.Items {
		for _, ctr := range p.Spec.Containers {
			if strings.Contains(ctr.Name, nodeManagerName) || strings.Contains(ctr.Image, nodeManagerName) {
				return true, nil
			}
		}
	}
	return false, nil
}

// initialise is the cloud node manager's work on one node (cloud-provider-azure, pkg/nodemanager). The addresses come
// first: who waits for the taint to go may rely on them.
func (c *cluster) initialise(ctx context.Context, n *node, m *machine) error {
	path := "/api/v1/nodes/" + n.Metadata.Name
	status := object{"status": object{"addresses": []object{
		{"type": "InternalIP", "address": m.PrivateIP}, {"type": "Hostname", "address": n.Metadata.Name},
	}}}
	var now node
	if err := c.admin.call(ctx, http.MethodPatch, path+"/status", mergePatch, status, &now); err != nil {
		return fmt.Errorf("set addresses of node %s: %w", n.Metadata.Name, err)
	}
	zone := "0" // the fault domain of a machine outside zones
	if m.Zone != "" {
		zone = strings.ToLower(m.Location) + "-" + m.Zone
	}
	region := strings.ToLower(m.Location)
	taints := slices.DeleteFunc(slices.Clone(now.Spec.Taints), func(t taint) bool { return t.Key == uninitialized })
	spec := object{"taints": taints}
	if now.Spec.ProviderID == "" {
		spec["providerID"] = "azure://" + m.ID
	}
	patch := object{
		// A change in between is a conflict, and the next look tries again.
		"metadata": object{"resourceVersion": now.Metadata.ResourceVersion, "labels": map[string]string{
			"topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": region, "node.kubernetes.io/instance-type": m.Size,
			"failure-domain.beta.kubernetes.io/zone": zone, "failure-domain.beta.kubernetes.io/region": region, "beta.kubernetes.io/instance-type": m.Size,
		}},
		"spec": spec,
	}
	if err := c.admin.call(ctx, http.MethodPatch, path, mergePatch, patch, nil); err != nil {
		return fmt.Errorf("initialise node %s: %w", n.Metadata.Name, err)
	}
	// The kubelet has nothing against being ready and would say so at its next report, in at most ten seconds.
	ready := object{"status": object{"conditions": []object{
		{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"},
	}}}
	if err := c.admin.call(ctx, http.MethodPatch, path+"/status", strategicPatch, ready, nil); err != nil {
		return fmt.Errorf("make node %s ready: %w", n.Metadata.Name, err)
	}
	return nil
}
