// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// The annotations in which a node tells of its bootstrap. internal/bootstrap
// writes them; a test holds the two packages together.
const (
	BootstrapPhaseAnnotation = "lazuli.io/bootstrap-phase"
	BootstrapStateAnnotation = "lazuli.io/bootstrap-state"
	BootstrapLogAnnotation   = "lazuli.io/bootstrap-log"
)

const (
	// uninitializedTaint stays until the cloud provider has seen the Node
	// (k8s.io/cloud-provider/api).
	uninitializedTaint = "node.cloudprovider.kubernetes.io/uninitialized"
	pageSize           = 500

	watchTries     = 5 // failures in a row before a watch gives up
	watchPause     = time.Second
	watchQuiet     = 30 * time.Second // a stream that lasted so long has served, even without an event
	updateConflict = 5                // attempts of a read-change-write
)

// Node is what the hub needs of a Node.
type Node struct {
	Name        string
	ProviderID  string
	Ready       bool
	Reason      string // of the Ready condition
	Message     string // of the Ready condition
	Version     string // of the kubelet, such as v1.36.3
	Zone        string // topology.kubernetes.io/zone, "<region>-<n>" on Azure
	InternalIP  string
	Initialised bool // the cloud provider has seen it
	Cordoned    bool
	CreatedAt   time.Time
	Labels      map[string]string
	Annotations map[string]string
	Taints      []Taint
	// What the machine told of its bootstrap; empty where it told nothing.
	BootstrapPhase, BootstrapState, BootstrapLog string
}

// Taint keeps pods off a Node. Key and effect identify it.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

func nodesResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
}

// Nodes lists all Nodes in the order of their names.
func (c *Clusters) Nodes(ctx context.Context, a Access) ([]Node, error) {
	k, err := c.client(a)
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	ctx, cancel := c.call(ctx)
	defer cancel()
	items, err := k.list(ctx, nodesResource(), "")
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	nodes := make([]Node, 0, len(items))
	for i := range items {
		n, err := toNode(&items[i])
		if err != nil {
			return nil, fmt.Errorf("list nodes: %w", err)
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, nil
}

// list reads all pages of a resource in all namespaces.
func (k *client) list(ctx context.Context, r schema.GroupVersionResource, selector string) ([]unstructured.Unstructured, error) {
	var items []unstructured.Unstructured
	options := metav1.ListOptions{Limit: pageSize, LabelSelector: selector}
	for {
		page, err := k.dynamic.Resource(r).List(ctx, options)
		if err != nil {
			return nil, classify(err)
		}
		items = append(items, page.Items...)
		options.Continue = page.GetContinue()
		if options.Continue == "" {
			return items, nil
		}
	}
}

func toNode(u *unstructured.Unstructured) (Node, error) {
	var o corev1.Node
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o); err != nil {
		return Node{}, fmt.Errorf("read node %s: %w", u.GetName(), err)
	}
	n := Node{
		Name: o.Name, ProviderID: o.Spec.ProviderID, Version: o.Status.NodeInfo.KubeletVersion,
		Zone: o.Labels[corev1.LabelTopologyZone], CreatedAt: o.CreationTimestamp.Time, Cordoned: o.Spec.Unschedulable,
		Labels: o.Labels, Annotations: o.Annotations, Initialised: true, Reason: "NodeStatusUnknown",
		Message:        "the kubelet has not told anything",
		BootstrapPhase: o.Annotations[BootstrapPhaseAnnotation],
		BootstrapState: o.Annotations[BootstrapStateAnnotation],
		BootstrapLog:   o.Annotations[BootstrapLogAnnotation],
	}
	for _, condition := range o.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			n.Ready = condition.Status == corev1.ConditionTrue
			n.Reason, n.Message = condition.Reason, condition.Message
		}
	}
	for _, address := range o.Status.Addresses {
		if address.Type == corev1.NodeInternalIP && n.InternalIP == "" {
			n.InternalIP = address.Address
		}
	}
	for _, t := range o.Spec.Taints {
		n.Taints = append(n.Taints, Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
		n.Initialised = n.Initialised && t.Key != uninitializedTaint
	}
	return n, nil
}

// Marks are what a pool puts on its Nodes.
type Marks struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Taints      []Taint           `json:"taints,omitempty"`
}

// MarkNode gives a Node the marks that it lacks or that have other values, takes
// away those of old that now no longer has, and leaves all others alone. It
// writes nothing when there is nothing to change. A Node that does not exist is
// an error of the API (errors.IsNotFound of apimachinery).
func (c *Clusters) MarkNode(ctx context.Context, a Access, name string, now, old Marks) error {
	k, err := c.client(a)
	if err != nil {
		return fmt.Errorf("mark node %s: %w", name, err)
	}
	ctx, cancel := c.call(ctx)
	defer cancel()
	for attempt := 1; ; attempt++ {
		err := k.markNode(ctx, name, now, old)
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) || attempt == updateConflict {
			return fmt.Errorf("mark node %s: %w", name, classify(err))
		}
	}
}

func (k *client) markNode(ctx context.Context, name string, want, old Marks) error {
	nodes := k.dynamic.Resource(nodesResource())
	u, err := nodes.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	now, err := toNode(u)
	if err != nil {
		return err
	}
	metadata, spec := map[string]any{}, map[string]any{}
	if diff := difference(now.Labels, want.Labels, old.Labels); len(diff) > 0 {
		metadata["labels"] = diff
	}
	if diff := difference(now.Annotations, want.Annotations, old.Annotations); len(diff) > 0 {
		metadata["annotations"] = diff
	}
	if merged := mergeTaints(now.Taints, want.Taints, old.Taints); !slices.Equal(merged, now.Taints) {
		// Taints are one atomic list, and others write it too: only over the Node that was read.
		metadata["resourceVersion"] = u.GetResourceVersion()
		if merged == nil {
			merged = []Taint{}
		}
		spec["taints"] = merged
	}
	if len(metadata) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata, "spec": spec})
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	_, err = nodes.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
	return err
}

// difference is the merge patch from have to want, null for what only old has.
func difference(have, want, old map[string]string) map[string]any {
	diff := map[string]any{}
	for k, v := range want {
		if now, ok := have[k]; !ok || now != v {
			diff[k] = v
		}
	}
	for k := range old {
		_, wanted := want[k]
		if _, there := have[k]; there && !wanted {
			diff[k] = nil
		}
	}
	return diff
}

// mergeTaints lays want over have, without what only old has. Key and effect
// identify a taint.
func mergeTaints(have, want, old []Taint) []Taint {
	same := func(t Taint) func(Taint) bool {
		return func(o Taint) bool { return o.Key == t.Key && o.Effect == t.Effect }
	}
	merged := slices.DeleteFunc(slices.Clone(have), func(t Taint) bool {
		return slices.ContainsFunc(old, same(t)) && !slices.ContainsFunc(want, same(t))
	})
	for _, t := range want {
		if i := slices.IndexFunc(merged, same(t)); i >= 0 {
			merged[i] = t
		} else {
			merged = append(merged, t)
		}
	}
	return merged
}

// DeleteNode deletes a Node. One that does not exist is no error.
func (c *Clusters) DeleteNode(ctx context.Context, a Access, name string) error {
	k, err := c.client(a)
	if err != nil {
		return fmt.Errorf("delete node %s: %w", name, err)
	}
	ctx, cancel := c.call(ctx)
	defer cancel()
	err = k.dynamic.Resource(nodesResource()).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete node %s: %w", name, classify(err))
	}
	return nil
}

// WatchNodes calls changed once it sees the Nodes and after every event about
// one, always from the same goroutine, until ctx ends (it then returns ctx's
// error) or the access is lost (an *AccessError: at once when the credential is
// refused, else after five failures in a row with growing pauses). A watch that
// the server ends, as it does now and then, is resumed where it ended. changed
// must not block for long.
func (c *Clusters) WatchNodes(ctx context.Context, a Access, changed func()) error {
	k, err := c.client(a)
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	version, failures := "", 0
	for {
		var progress bool
		version, progress, err = c.watchOnce(ctx, k, version, changed)
		if ctx.Err() != nil {
			return fmt.Errorf("watch nodes: %w", ctx.Err())
		}
		if progress {
			failures = 0
		}
		if err == nil {
			continue
		}
		failures++
		if ProblemOf(err) == Unauthorised || failures >= watchTries {
			return fmt.Errorf("watch nodes: %w", err)
		}
		c.log.DebugContext(ctx, "watch of nodes interrupted", "cluster", a.UID, "failures", failures, "error", err)
		if err := pause(ctx, watchPause<<(failures-1)); err != nil {
			return fmt.Errorf("watch nodes: %w", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

var errStreamEnded = errors.New("the stream ended before its first event")

// watchOnce lists when version is empty, then watches until the stream ends. It
// returns the version to go on from ("" is: list again) and whether the server
// said anything.
func (c *Clusters) watchOnce(ctx context.Context, k *client, version string, changed func()) (next string, progress bool, err error) {
	nodes := k.dynamic.Resource(nodesResource())
	if version == "" {
		call, cancel := c.call(ctx)
		all, err := nodes.List(call, metav1.ListOptions{Limit: 1})
		cancel()
		if err != nil {
			return "", false, classify(err)
		}
		version, progress = all.GetResourceVersion(), true
		changed()
	}
	w, err := nodes.Watch(ctx, metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true})
	if err != nil {
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return "", progress, nil
		}
		return version, progress, classify(err)
	}
	defer w.Stop()
	seen, started := false, time.Now()
	for event := range w.ResultChan() {
		if event.Type == watch.Error {
			err := apierrors.FromObject(event.Object)
			if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
				return "", true, nil
			}
			return version, progress, classify(err)
		}
		if u, ok := event.Object.(*unstructured.Unstructured); ok {
			version, progress, seen = u.GetResourceVersion(), true, true
		}
		if event.Type != watch.Bookmark {
			changed()
		}
	}
	if !seen && time.Since(started) < watchQuiet {
		// A server that ends every stream at once must not be asked in a tight loop.
		return version, false, &AccessError{Problem: Unreachable, Err: errStreamEnded}
	}
	return version, true, nil
}
