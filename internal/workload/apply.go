// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

const (
	inventoryPrefix = "set-"
	inventoryKey    = "objects"
	// parallel requests of one Apply or Status; kinds of one rank do not refer to
	// each other.
	parallel = 8

	pruneTries = 5 // of an object that changes all the time

	definitionPause   = 250 * time.Millisecond
	definitionTimeout = 30 * time.Second
)

// Action says what an Apply did to an object.
type Action string

// The actions.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
	Pruned     Action = "pruned"
	Kept       Action = "kept" // no longer in the set, but annotated to stay, or another set has it
)

// Change is what happened to one object.
type Change struct {
	Ref    Ref
	Action Action
}

// Result is what an Apply did, in the order in which kinds are applied.
type Result struct {
	Changes []Change
}

// Count is the number of objects with this action.
func (r Result) Count(a Action) int {
	n := 0
	for _, c := range r.Changes {
		if c.Action == a {
			n++
		}
	}
	return n
}

// String renders r as "3 created, 1 configured, ...".
func (r Result) String() string {
	var parts []string
	for _, a := range []Action{Created, Configured, Unchanged, Pruned, Kept} {
		if n := r.Count(a); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, a))
		}
	}
	if len(parts) == 0 {
		return "nothing to apply"
	}
	return strings.Join(parts, ", ")
}

// Apply makes the cluster hold the objects of set as they are written, taking
// over fields that others own, and prunes when the set says so. It may be repeated
// at any time; a repetition of a finished Apply changes nothing.
//
// It stops after the first rank of kinds with a failure, prunes nothing then, and
// returns what it did with the error, which names the objects. A kind that the
// cluster does not know (yet) is such a failure; see meta.IsNoMatchError of
// apimachinery.
func (c *Clusters) Apply(ctx context.Context, a Access, set Set) (Result, error) {
	result, err := c.apply(ctx, a, set)
	if err != nil {
		return result, fmt.Errorf("apply set %s: %w", set.Name, err)
	}
	c.log.DebugContext(ctx, "set applied", "cluster", a.UID, "set", set.Name, "result", result.String())
	return result, nil
}

func (c *Clusters) apply(ctx context.Context, a Access, set Set) (Result, error) {
	objects, err := set.parse()
	if err != nil {
		return Result{}, err
	}
	k, err := c.client(a)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.ApplyTimeout)
	defer cancel()
	run := &application{client: k, call: c.call, set: set.Name, manager: set.FieldManager}
	if run.manager == "" {
		run.manager = FieldManager
	}
	// A manager for each set: what one set no longer says of an object does not
	// take away what another says of it.
	run.manager += "/" + set.Name
	if err := run.start(ctx, objects); err != nil {
		return Result{}, err
	}
	var result Result
	for group := range groups(objects) {
		changes, err := run.applyAll(ctx, group)
		result.Changes = append(result.Changes, changes...)
		if err != nil {
			return result, err
		}
		if err := run.served(ctx, group); err != nil {
			return result, err
		}
	}
	if set.Prune {
		changes, err := run.prune(ctx, objects)
		result.Changes = append(result.Changes, changes...)
		if err != nil {
			return result, err
		}
	}
	return result, run.finish(ctx, objects, set.Prune)
}

// groups yields runs of objects of one rank.
func groups(objects []object) func(yield func([]object) bool) {
	return func(yield func([]object) bool) {
		for len(objects) > 0 {
			n := slices.IndexFunc(objects, func(o object) bool { return rank(o.ref) != rank(objects[0].ref) })
			if n < 0 {
				n = len(objects)
			}
			if !yield(objects[:n]) {
				return
			}
			objects = objects[n:]
		}
	}
}

// application is one Apply under way.
type application struct {
	*client

	call    func(context.Context) (context.Context, context.CancelFunc)
	set     string
	manager string
	old     []Ref // the inventory before

	read struct {
		sync.Once

		all map[string][]Ref
		err error
	}
}

// start reads the inventory and adds what is about to be applied to it.
func (p *application) start(ctx context.Context, objects []object) error {
	var err error
	if p.old, err = p.readInventory(ctx, p.set); err != nil {
		return err
	}
	// Namespaces are completed only when kinds are known, which for some is
	// after the definitions of this very set: the union holds them as written.
	union := slices.Clone(p.old)
	for _, o := range objects {
		if !containsRef(union, o.ref) {
			union = append(union, o.ref)
		}
	}
	if len(union) == len(p.old) {
		return nil
	}
	return p.writeInventory(ctx, p.set, union)
}

// finish records what the set now consists of. Without pruning the old stays
// known, so that a later Apply can still prune it.
func (p *application) finish(ctx context.Context, objects []object, prune bool) error {
	var now []Ref
	if !prune {
		now = slices.Clone(p.old)
	}
	for _, o := range objects {
		if !containsRef(now, o.ref) {
			now = append(now, o.ref)
		}
	}
	if slices.Equal(now, p.old) {
		return nil
	}
	return p.writeInventory(ctx, p.set, now)
}

func containsRef(refs []Ref, r Ref) bool {
	return slices.ContainsFunc(refs, func(o Ref) bool { return o.same() == r.same() })
}

func (p *application) applyAll(ctx context.Context, objects []object) ([]Change, error) {
	changes, errs := make([]Change, len(objects)), make([]error, len(objects))
	each(len(objects), func(i int) {
		changes[i], errs[i] = p.applyOne(ctx, objects[i])
	})
	changes = slices.DeleteFunc(changes, func(c Change) bool { return c.Action == "" })
	return changes, errors.Join(errs...)
}

// each runs f for 0..n-1, some at a time.
func each(n int, f func(i int)) {
	var g errgroup.Group
	g.SetLimit(parallel)
	for i := range n {
		g.Go(func() error {
			f(i)
			return nil
		})
	}
	_ = g.Wait() // f reports for itself
}

func (p *application) applyOne(ctx context.Context, o object) (Change, error) {
	ctx, cancel := p.call(ctx)
	defer cancel()
	r, ref, err := p.locate(ctx, o.ref)
	if err != nil {
		return Change{}, fmt.Errorf("%s: %w", o.ref, err)
	}
	u := o.u.DeepCopy()
	u.SetNamespace(ref.Namespace)
	before, err := r.Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return Change{}, fmt.Errorf("read %s: %w", ref, classify(err))
	}
	if apierrors.IsNotFound(err) {
		before = nil
	}
	labels := u.GetLabels()
	delete(labels, SetLabel)
	if others, err := p.anothers(ctx, before, ref); err != nil {
		return Change{}, err
	} else if !others {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[SetLabel] = p.set
	}
	u.SetLabels(labels)
	after, err := r.Apply(ctx, ref.Name, u, metav1.ApplyOptions{FieldManager: p.manager, Force: true})
	if err != nil {
		if apierrors.IsNotFound(err) {
			p.forgetMapping() // the kind may be gone, with its definition
		}
		return Change{}, fmt.Errorf("%s: %w", ref, classify(err))
	}
	change := Change{Ref: ref, Action: Configured}
	switch {
	case before == nil || before.GetUID() != after.GetUID():
		change.Action = Created
	case before.GetResourceVersion() == after.GetResourceVersion():
		change.Action = Unchanged
	}
	return change, nil
}

// locate finds the resource of an object, and completes its namespace.
func (k *client) locate(ctx context.Context, r Ref) (dynamic.ResourceInterface, Ref, error) {
	m, err := k.mapping(ctx, r.gvk())
	if err != nil {
		return nil, r, err
	}
	all := k.dynamic.Resource(m.Resource)
	if m.Scope.Name() != meta.RESTScopeNameNamespace {
		r.Namespace = ""
		return all, r, nil
	}
	if r.Namespace == "" {
		r.Namespace = defaultNamespace
	}
	return all.Namespace(r.Namespace), r, nil
}

// served waits until the definitions among objects are established and
// discovery shows their kinds.
func (p *application) served(ctx context.Context, objects []object) error {
	ctx, cancel := context.WithTimeout(ctx, definitionTimeout)
	defer cancel()
	for _, o := range objects {
		if !definition(o.ref) {
			continue
		}
		for {
			err := p.definitionServed(ctx, o)
			if err == nil {
				break
			}
			if pauseErr := pause(ctx, definitionPause); pauseErr != nil {
				return fmt.Errorf("wait for %s: %w", o.ref, err)
			}
		}
	}
	return nil
}

func (p *application) definitionServed(ctx context.Context, o object) error {
	r, ref, err := p.locate(ctx, o.ref)
	if err != nil {
		return err
	}
	u, err := r.Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return classify(err)
	}
	if ready, why := readiness(u); !ready {
		return errors.New(why)
	}
	group, _, _ := unstructured.NestedString(u.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(u.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(u.Object, "spec", "versions")
	for _, v := range versions {
		version, ok := v.(map[string]any)
		if !ok || version["served"] != true {
			continue
		}
		name, _ := version["name"].(string)
		if _, err := p.mapping(ctx, schema.GroupVersionKind{Group: group, Version: name, Kind: kind}); err != nil {
			return err
		}
	}
	return nil
}

// prune deletes what the old inventory has and the set does not, last kinds
// first.
func (p *application) prune(ctx context.Context, objects []object) ([]Change, error) {
	now := make([]Ref, 0, 2*len(objects)) // as written and completed
	for _, o := range objects {
		now = append(now, o.ref)
		if _, ref, err := p.locate(ctx, o.ref); err == nil {
			now = append(now, ref)
		}
	}
	var gone []Ref
	for _, r := range p.old {
		full := r
		if _, located, err := p.locate(ctx, r); err == nil {
			full = located
		} else if ProblemOf(err) != "" {
			return nil, err
		}
		if !containsRef(now, r) && !containsRef(now, full) {
			gone = append(gone, full)
		}
	}
	slices.SortStableFunc(gone, func(a, b Ref) int { return rank(b) - rank(a) })
	var changes []Change
	for _, r := range gone {
		action, err := p.pruneOne(ctx, r)
		for n := 0; apierrors.IsConflict(err) && n < pruneTries; n++ {
			action, err = p.pruneOne(ctx, r) // it changed since it was seen
		}
		if err != nil {
			return changes, fmt.Errorf("prune %s: %w", r, err)
		}
		if action != "" {
			changes = append(changes, Change{Ref: r, Action: action})
		}
	}
	return changes, nil
}

// pruneOne deletes an object that is still of this set alone, in the state in
// which that was seen. It returns "" when there is none.
func (p *application) pruneOne(ctx context.Context, ref Ref) (Action, error) {
	if ref.Kind == kindNamespace && slices.Contains([]string{
		Namespace, defaultNamespace, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease,
	}, ref.Name) {
		return Kept, nil
	}
	ctx, cancel := p.call(ctx)
	defer cancel()
	r, ref, err := p.locate(ctx, ref)
	if meta.IsNoMatchError(err) {
		return "", nil // the kind's definition is gone, and its objects with it
	}
	if err != nil {
		return "", err
	}
	u, err := r.Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", classify(err)
	}
	// Read after the object: a set that declares it later changes it, and then the
	// deletion of what was seen conflicts.
	inventories, err := p.readInventories(ctx)
	if err != nil {
		return "", err
	}
	if heir := p.heir(inventories, ref); heir != "" {
		return Kept, p.leave(ctx, r, u, heir)
	}
	if u.GetLabels()[SetLabel] != p.set || u.GetAnnotations()[KeepAnnotation] == "true" {
		return Kept, nil
	}
	uid, version, background := u.GetUID(), u.GetResourceVersion(), metav1.DeletePropagationBackground
	err = r.Delete(ctx, ref.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}, PropagationPolicy: &background,
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return "", classify(err)
	}
	return Pruned, nil
}

func configMaps() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
}

// readInventory reads what a set consists of. A set that was never applied
// consists of nothing; an inventory that cannot be read is an error.
func (p *application) readInventory(ctx context.Context, set string) ([]Ref, error) {
	ctx, cancel := p.call(ctx)
	defer cancel()
	u, err := p.dynamic.Resource(configMaps()).Namespace(Namespace).Get(ctx, inventoryPrefix+set, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read inventory: %w", classify(err))
	}
	return inventory(u)
}

func inventory(u *unstructured.Unstructured) ([]Ref, error) {
	text, _, err := unstructured.NestedString(u.Object, "data", inventoryKey)
	if err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	var refs []Ref
	if err := json.Unmarshal([]byte(text), &refs); err != nil {
		return nil, fmt.Errorf("read inventory %s/%s: %w", Namespace, u.GetName(), err)
	}
	return refs, nil
}

func (p *application) writeInventory(ctx context.Context, set string, refs []Ref) error {
	ctx, cancel := p.call(ctx)
	defer cancel()
	if refs == nil {
		refs = []Ref{}
	}
	text, err := json.Marshal(refs)
	if err != nil {
		return fmt.Errorf("encode inventory: %w", err)
	}
	options := metav1.ApplyOptions{FieldManager: FieldManager, Force: true}
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": kindNamespace, "metadata": map[string]any{"name": Namespace},
	}}
	namespaces := p.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	if _, err := namespaces.Apply(ctx, Namespace, namespace, options); err != nil {
		return fmt.Errorf("make namespace %s: %w", Namespace, classify(err))
	}
	inventory := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": inventoryPrefix + set, "namespace": Namespace},
		"data":     map[string]any{inventoryKey: string(text)},
	}}
	maps := p.dynamic.Resource(configMaps()).Namespace(Namespace)
	if _, err := maps.Apply(ctx, inventoryPrefix+set, inventory, options); err != nil {
		return fmt.Errorf("write inventory: %w", classify(err))
	}
	return nil
}
