// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
	"github.com/lazuli-dev/lazuli/internal/bootstrap"
	"github.com/lazuli-dev/lazuli/internal/cluster"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// guests is the deployed cluster as one process sees it. It stands in for
// internal/workload, whose connections and parallel requests have an order that
// no seed decides: it calls the API of the simulated machines in the driver's
// goroutine, over the way that a packet would take.
type guests struct {
	p        *process
	machines *model.Machines
	parsed   map[string][]manifest
}

var _ cluster.Workload = (*guests)(nil)

const (
	networkTime = 20 * time.Millisecond
	deafTime    = 5 * time.Second
)

// do asks the API server that the kubeconfig leads to.
func (g *guests) do(ctx context.Context, a workload.Access, method, path, kind string, body []byte) ([]byte, error) {
	r := g.p.run
	what := "kube " + method + " " + path
	if !g.p.point("before " + what) {
		return nil, errDead
	}
	out, fault, err := g.ask(ctx, a, method, path, kind, body)
	if err != nil || method != http.MethodGet {
		r.trace.note("%s -> %v %s", what, err == nil, fault)
	}
	if !g.p.point("after " + what) {
		return nil, errDead
	}
	return out, err
}

func (g *guests) ask(ctx context.Context, a workload.Access, method, path, kind string, body []byte) ([]byte, Fault, error) {
	r := g.p.run
	unreachable := &workload.AccessError{Problem: workload.Unreachable, Message: "no answer"}
	time.Sleep(networkTime)
	if r.weather.hits(FaultAPIServer) {
		r.weather.met(FaultAPIServer)
		time.Sleep(deafTime)
		return nil, FaultAPIServer, unreachable
	}
	address, err := addressOf(a.Kubeconfig)
	if err != nil {
		return nil, "", err
	}
	machine, err := r.sim.Route(address)
	if err != nil {
		time.Sleep(deafTime)
		return nil, "", unreachable
	}
	h, serves := g.machines.Handler(machine)
	if !serves {
		return nil, "", unreachable
	}
	ctx = kubeapi.WithUser(ctx, kubeapi.User{Name: bootstrap.AdminUser, Groups: []string{bootstrap.AdminGroup}})
	req := httptest.NewRequestWithContext(ctx, method, "https://cluster"+path, bytes.NewReader(body))
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if method != http.MethodGet && r.weather.hits(FaultAPIServer) {
		r.weather.met(FaultAPIServer) // it happened, and nobody hears of it
		return nil, FaultAPIServer, unreachable
	}
	if rec.Code == http.StatusForbidden || rec.Code == http.StatusUnauthorized {
		return nil, "", &workload.AccessError{Problem: workload.Unauthorised, Message: rec.Body.String()}
	}
	if rec.Code >= http.StatusBadRequest {
		return nil, "", lazuli.Errorf(lazuli.CodeInternal, "%s %s: %d %s", method, path, rec.Code, rec.Body)
	}
	return rec.Body.Bytes(), "", nil
}

// addressOf reads the server's address; the rest of a kubeconfig is about TLS.
func addressOf(kubeconfig []byte) (string, error) {
	for line := range strings.Lines(string(kubeconfig)) {
		if server, ok := strings.CutPrefix(strings.TrimSpace(line), "server: "); ok {
			u, err := url.Parse(server)
			if err != nil {
				return "", fmt.Errorf("read the kubeconfig: %w", err)
			}
			return net.JoinHostPort(u.Hostname(), u.Port()), nil
		}
	}
	return "", &workload.AccessError{Problem: workload.BadAccess, Message: "the kubeconfig names no server"}
}

// Ready implements cluster.Workload.
func (g *guests) Ready(ctx context.Context, a workload.Access) error {
	_, err := g.do(ctx, a, http.MethodGet, "/readyz", "", nil)
	return err
}

type kubeOwner struct {
	Kind string `json:"kind"`
}

type kubeObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name       string            `json:"name"`
		Namespace  string            `json:"namespace"`
		Generation int64             `json:"generation"`
		Labels     map[string]string `json:"labels"`
		Deleted    string            `json:"deletionTimestamp"`
		Owners     []kubeOwner       `json:"ownerReferences"`
	} `json:"metadata"`
	Spec struct {
		Type     string `json:"type"`
		Replicas *int64 `json:"replicas"`
		Taints   []struct {
			Key string `json:"key"`
		} `json:"taints"`
	} `json:"spec"`
	Status struct {
		Observed   int64 `json:"observedGeneration"`
		Desired    int64 `json:"desiredNumberScheduled"`
		Current    int64 `json:"numberAvailable"`
		Available  int64 `json:"availableReplicas"`
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"conditions"`
		NodeInfo struct {
			Kubelet string `json:"kubeletVersion"`
		} `json:"nodeInfo"`
	} `json:"status"`
}

func (g *guests) list(ctx context.Context, a workload.Access, path string) ([]kubeObject, error) {
	b, err := g.do(ctx, a, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []kubeObject `json:"items"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return list.Items, nil
}

// Nodes implements cluster.Workload.
func (g *guests) Nodes(ctx context.Context, a workload.Access) ([]workload.Node, error) {
	items, err := g.list(ctx, a, "/api/v1/nodes")
	if err != nil {
		return nil, err
	}
	var out []workload.Node
	for _, o := range items {
		n := workload.Node{Name: o.Metadata.Name, Version: o.Status.NodeInfo.Kubelet, Labels: o.Metadata.Labels, Initialised: true}
		for _, c := range o.Status.Conditions {
			if c.Type == "Ready" {
				n.Ready, n.Reason, n.Message = c.Status == "True", c.Reason, c.Message
			}
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(x, y workload.Node) int { return strings.Compare(x.Name, y.Name) })
	return out, nil
}

// MarkNode implements cluster.Workload.
func (g *guests) MarkNode(ctx context.Context, a workload.Access, name string, now, _ workload.Marks) error {
	return g.patchNode(ctx, a, name, map[string]any{"metadata": map[string]any{"labels": now.Labels, "annotations": now.Annotations}})
}

func (g *guests) patchNode(ctx context.Context, a workload.Access, name string, change map[string]any) error {
	patch, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("patch node: %w", err)
	}
	_, err = g.do(ctx, a, http.MethodPatch, "/api/v1/nodes/"+name, "application/merge-patch+json", patch)
	return err
}

// Drain implements cluster.Workload. Its pods are those of the add-ons, without
// budgets.
func (g *guests) Drain(ctx context.Context, a workload.Access, name string) (workload.Drained, error) {
	nodes, err := g.list(ctx, a, "/api/v1/nodes?fieldSelector=metadata.name="+name)
	if err != nil || len(nodes) == 0 {
		g.p.run.oracle.drained[name] = err == nil
		return workload.Drained{Gone: err == nil}, err
	}
	if err := g.patchNode(ctx, a, name, map[string]any{"spec": map[string]any{"unschedulable": true}}); err != nil {
		return workload.Drained{}, err
	}
	pods, err := g.list(ctx, a, "/api/v1/pods?fieldSelector=spec.nodeName="+name)
	if err != nil {
		return workload.Drained{}, err
	}
	var d workload.Drained
	for _, p := range pods {
		if slices.ContainsFunc(p.Metadata.Owners, func(o kubeOwner) bool { return o.Kind == "DaemonSet" || o.Kind == "Node" }) {
			continue
		}
		d.Remaining++
		path := "/api/v1/namespaces/" + p.Metadata.Namespace + "/pods/" + p.Metadata.Name
		if _, err := g.do(ctx, a, http.MethodDelete, path, "", nil); err != nil {
			return d, err
		}
	}
	g.p.run.oracle.drained[name] = d.Remaining == 0
	return d, nil
}

// Uncordon implements cluster.Workload.
func (g *guests) Uncordon(ctx context.Context, a workload.Access, name string) error {
	return g.patchNode(ctx, a, name, map[string]any{"spec": map[string]any{"unschedulable": nil}})
}

// DeleteNode implements cluster.Workload.
func (g *guests) DeleteNode(ctx context.Context, a workload.Access, name string) (err error) {
	defer func() { g.p.run.oracle.forgot[name] = g.p.run.oracle.forgot[name] || err == nil }()
	nodes, err := g.list(ctx, a, "/api/v1/nodes?fieldSelector=metadata.name="+name)
	if err != nil || len(nodes) == 0 {
		return err
	}
	_, err = g.do(ctx, a, http.MethodDelete, "/api/v1/nodes/"+name, "", nil)
	return err
}

// manifest is an object that the model's controllers act on.
type manifest struct {
	path string
	json []byte
	obj  kubeObject
}

// paths of the kinds that have an effect in the model; what only configures
// (roles, definitions, classes) costs time and decides nothing here.
func paths() map[string]string {
	return map[string]string{
		"Namespace": "/api/v1/namespaces", "ServiceAccount": "/api/v1/namespaces/%s/serviceaccounts",
		"ConfigMap": "/api/v1/namespaces/%s/configmaps", "Secret": "/api/v1/namespaces/%s/secrets",
		"DaemonSet": "/apis/apps/v1/namespaces/%s/daemonsets", "Deployment": "/apis/apps/v1/namespaces/%s/deployments",
	}
}

func (g *guests) parse(documents []byte) ([]manifest, error) {
	if m, ok := g.parsed[string(documents)]; ok {
		return m, nil
	}
	var out []manifest
	for doc := range bytes.SplitSeq(documents, []byte("\n---")) {
		if !slices.ContainsFunc(kinds(), func(k string) bool {
			return bytes.Contains(doc, []byte("kind: "+k+"\n")) || bytes.Contains(doc, []byte(`"`+k+`"`))
		}) ||
			bytes.Contains(doc, []byte("kind: CustomResourceDefinition\n")) {
			continue
		}
		b, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		m := manifest{json: b}
		if err := json.Unmarshal(b, &m.obj); err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		path, known := paths()[m.obj.Kind]
		if !known {
			continue
		}
		if strings.Contains(path, "%s") {
			namespace := m.obj.Metadata.Namespace
			if namespace == "" {
				namespace = "default"
			}
			path = fmt.Sprintf(path, namespace)
		}
		m.path = path + "/" + m.obj.Metadata.Name
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(x, y manifest) int {
		return slices.Index(kinds(), x.obj.Kind) - slices.Index(kinds(), y.obj.Kind)
	})
	g.parsed[string(documents)] = out
	return out, nil
}

func kinds() []string {
	return []string{"Namespace", "ServiceAccount", "Secret", "ConfigMap", "DaemonSet", "Deployment"}
}

// Apply implements cluster.Workload.
func (g *guests) Apply(ctx context.Context, a workload.Access, set workload.Set) (workload.Result, error) {
	all, err := g.parse(set.Documents)
	if err != nil {
		return workload.Result{}, err
	}
	for _, m := range all {
		if _, err := g.do(ctx, a, http.MethodPatch, m.path+"?fieldManager=lazuli&force=true", "application/apply-patch+yaml", m.json); err != nil {
			return workload.Result{}, err
		}
	}
	return workload.Result{}, nil
}

// Status implements cluster.Workload.
func (g *guests) Status(ctx context.Context, a workload.Access, set workload.Set) (ready bool, waiting []string, err error) {
	all, err := g.parse(set.Documents)
	if err != nil {
		return false, nil, err
	}
	for _, m := range all {
		if m.obj.Kind != "DaemonSet" && m.obj.Kind != "Deployment" {
			continue
		}
		b, err := g.do(ctx, a, http.MethodGet, m.path, "", nil)
		if err != nil {
			return false, nil, err
		}
		var o kubeObject
		if err := json.Unmarshal(b, &o); err != nil {
			return false, nil, fmt.Errorf("read %s: %w", m.path, err)
		}
		want, have := o.Status.Desired, o.Status.Current
		if o.Kind == "Deployment" {
			want, have = 1, o.Status.Available
			if o.Spec.Replicas != nil {
				want = *o.Spec.Replicas
			}
		}
		if o.Status.Observed < o.Metadata.Generation || have < want {
			waiting = append(waiting, o.Kind+" "+o.Metadata.Name)
		}
	}
	return len(waiting) == 0, waiting, nil
}

// EnsureTokens implements cluster.Workload.
func (g *guests) EnsureTokens(ctx context.Context, a workload.Access, tokens []workload.BootstrapToken) error {
	for _, t := range tokens {
		body, err := json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
			"metadata": map[string]any{"name": "bootstrap-token-" + t.ID, "namespace": "kube-system"},
			"stringData": map[string]string{
				"token-id": t.ID, "token-secret": t.Secret, "expiration": t.Expires.UTC().Format(time.RFC3339),
				"usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
				"auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
			},
		})
		if err != nil {
			return fmt.Errorf("ensure token: %w", err)
		}
		path := "/api/v1/namespaces/kube-system/secrets/bootstrap-token-" + t.ID + "?fieldManager=lazuli&force=true"
		if _, err := g.do(ctx, a, http.MethodPatch, path, "application/apply-patch+yaml", body); err != nil {
			return err
		}
	}
	return nil
}

// DeleteToken implements cluster.Workload.
func (g *guests) DeleteToken(ctx context.Context, a workload.Access, id string) error {
	_, err := g.do(ctx, a, http.MethodDelete, "/api/v1/namespaces/kube-system/secrets/bootstrap-token-"+id, "", nil)
	return err
}

// DeleteLoadBalancerServices implements cluster.Workload.
func (g *guests) DeleteLoadBalancerServices(ctx context.Context, a workload.Access) (remaining int, err error) {
	defer func() { g.p.run.oracle.told = g.p.run.oracle.told || err != nil || remaining == 0 }()
	all, err := g.list(ctx, a, "/api/v1/services")
	if err != nil {
		return 0, err
	}
	for _, o := range all {
		if o.Spec.Type != "LoadBalancer" {
			continue
		}
		remaining++
		path := "/api/v1/namespaces/" + o.Metadata.Namespace + "/services/" + o.Metadata.Name
		if _, err := g.do(ctx, a, http.MethodDelete, path, "", nil); err != nil {
			return remaining, err
		}
	}
	return remaining, nil
}

// peek is the oracle's own look into the deployed cluster.
func (r *run) peek(vm, path string) ([]kubeObject, error) {
	h, serves := r.machines.Handler(vm)
	if !serves {
		return nil, lazuli.Errorf(lazuli.CodeUnavailable, "%s does not serve", vm)
	}
	ctx := kubeapi.WithUser(context.Background(), kubeapi.User{Name: bootstrap.AdminUser, Groups: []string{bootstrap.AdminGroup}})
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, "https://cluster"+path, nil))
	var list struct {
		Items []kubeObject `json:"items"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &list); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return list.Items, nil
}

// Forget implements cluster.Workload.
func (g *guests) Forget(string) {}
