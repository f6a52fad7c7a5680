// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// objectRef names an object of the store.
type objectRef struct {
	gr       schema.GroupResource
	ns, name string
}

// Store is the state of one cluster. It is safe for use by several goroutines. Objects that it returns are shared and
// must be copied before they are changed.
type Store struct {
	now    func() time.Time
	random func() uint64

	mu       sync.Mutex
	rev      uint64
	reg      *registry
	data     map[schema.GroupResource]*collection
	owned    map[types.UID]map[objectRef]struct{}
	changed  chan struct{}
	pending  []Change
	onChange []func(Change)
	managers *managers
	services servicePool
}

// newStore makes an empty state.
func newStore(now func() time.Time, random func() uint64, pool servicePool) *Store {
	s := &Store{
		now:      now,
		random:   random,
		rev:      1,
		reg:      newRegistry(),
		data:     map[schema.GroupResource]*collection{},
		owned:    map[types.UID]map[objectRef]struct{}{},
		changed:  make(chan struct{}),
		managers: newManagers(),
		services: pool,
	}
	for gr := range s.reg.preferred {
		s.data[gr] = newCollection(s.rev)
	}
	return s
}

// OnChange registers fn to be told of every commit, in order, after the store's lock is released, in the goroutine of
// the writer. fn must be quick and must not write to the store; it usually schedules work.
func (s *Store) OnChange(fn func(Change)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onChange = append(s.onChange, fn)
}

// Revision is the resourceVersion of the newest commit.
func (s *Store) Revision() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rev
}

// Get returns an object, or false when there is none.
func (s *Store) Get(gr schema.GroupResource, ns, name string) (*unstructured.Unstructured, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.data[gr]
	if !ok {
		return nil, false
	}
	u, ok := c.items[objectKey(ns, name)]
	return u, ok
}

// List returns the objects of a namespace ("" = all), ordered by namespace and name.
func (s *Store) List(gr schema.GroupResource, ns string) []*unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.data[gr]
	if !ok {
		return nil
	}
	return sortedItems(c.items, ns)
}

// Create stores a new object with its status, as a component of the cluster would. The kind may be left out.
// Errors are *errors.StatusError of apimachinery.
func (s *Store) Create(gr schema.GroupResource, obj runtime.Object) (*unstructured.Unstructured, error) {
	return s.internal(gr, obj, func(r *resource, u *unstructured.Unstructured, o *writeOptions) (*unstructured.Unstructured, error) {
		return s.create(r, u, o)
	})
}

// Update replaces an object, status included. A resourceVersion in obj must be the current one (409 Conflict);
// finalizers that became empty on a deleted object remove it.
func (s *Store) Update(gr schema.GroupResource, obj runtime.Object) (*unstructured.Unstructured, error) {
	return s.internal(gr, obj, func(r *resource, u *unstructured.Unstructured, o *writeOptions) (*unstructured.Unstructured, error) {
		old, err := s.find(r, u.GetNamespace(), u.GetName())
		if err != nil {
			return nil, err
		}
		return s.update(r, old, u, o)
	})
}

// Put creates an object or replaces it.
func (s *Store) Put(gr schema.GroupResource, obj runtime.Object) (*unstructured.Unstructured, error) {
	return s.internal(gr, obj, func(r *resource, u *unstructured.Unstructured, o *writeOptions) (*unstructured.Unstructured, error) {
		old, err := s.find(r, u.GetNamespace(), u.GetName())
		if err != nil {
			return s.create(r, u, o)
		}
		return s.update(r, old, u, o)
	})
}

// Delete removes an object at once (finalizers still hold it). A missing object is no error.
func (s *Store) Delete(gr schema.GroupResource, ns, name string) error {
	return s.locked(func() error {
		r, ok := s.reg.preferred[gr]
		if !ok {
			return fmt.Errorf("delete %s %q: not a served resource", gr, name)
		}
		old, err := s.find(r, ns, name)
		if err != nil {
			return nil //nolint:nilerr // absent is what the caller wants
		}
		zero := int64(0)
		_, _, err = s.remove(r, old, &metav1.DeleteOptions{GracePeriodSeconds: &zero}, &writeOptions{internal: true})
		return err
	})
}

// DeleteGracefully deletes as an API request without options would: a pod on a node keeps its grace period.
func (s *Store) DeleteGracefully(gr schema.GroupResource, ns, name string) error {
	return s.locked(func() error {
		r, ok := s.reg.preferred[gr]
		if !ok {
			return fmt.Errorf("delete %s %q: not a served resource", gr, name)
		}
		old, err := s.find(r, ns, name)
		if err != nil {
			return err
		}
		_, _, err = s.remove(r, old, &metav1.DeleteOptions{}, &writeOptions{internal: true})
		return err
	})
}

type writeFunc func(r *resource, u *unstructured.Unstructured, o *writeOptions) (*unstructured.Unstructured, error)

// internal runs a write of the Go API: converts, finds the resource, locks.
func (s *Store) internal(gr schema.GroupResource, obj runtime.Object, write writeFunc) (*unstructured.Unstructured, error) {
	u, err := toUnstructured(obj)
	if err != nil {
		return nil, err
	}
	var out *unstructured.Unstructured
	err = s.locked(func() error {
		r, ok := s.reg.preferred[gr]
		if !ok {
			return fmt.Errorf("write %s: not a served resource", gr)
		}
		u.SetGroupVersionKind(r.gvk())
		var werr error
		out, werr = write(r, u, &writeOptions{internal: true, typed: isOf(r, obj)})
		return werr
	})
	return out, err
}

// isOf says whether an object is of the Go type of a resource.
func isOf(r *resource, obj runtime.Object) bool {
	if _, ok := obj.(runtime.Unstructured); ok {
		return false
	}
	kinds, _, err := scheme.Scheme.ObjectKinds(obj)
	return err == nil && slices.Contains(kinds, r.gvk())
}

// locked runs fn under the lock and then tells the listeners what was committed.
func (s *Store) locked(fn func() error) error {
	s.mu.Lock()
	err := fn()
	changes, listeners := s.pending, s.onChange
	s.pending = nil
	s.mu.Unlock()
	for _, ch := range changes {
		for _, tell := range listeners {
			tell(ch)
		}
	}
	return err
}

// find returns a stored object or a 404 Status.
func (s *Store) find(r *resource, ns, name string) (*unstructured.Unstructured, error) {
	if c, ok := s.data[r.GroupResource()]; ok {
		if u, ok := c.items[objectKey(ns, name)]; ok {
			return u, nil
		}
	}
	return nil, apierrors.NewNotFound(r.GroupResource(), name)
}

// commit stores a change and assigns its revision. The object must not be touched afterwards.
func (s *Store) commit(ct ChangeType, r *resource, u, previous *unstructured.Unstructured) *unstructured.Unstructured {
	s.rev++
	u.SetResourceVersion(strconv.FormatUint(s.rev, 10))
	gr := r.GroupResource()
	ch := Change{Type: ct, Resource: gr, Revision: s.rev, Object: u, Previous: previous}
	s.data[gr].record(ch)
	s.indexOwners(gr, u, previous, ct)
	s.pending = append(s.pending, ch)
	close(s.changed)
	s.changed = make(chan struct{})
	return u
}

// indexOwners keeps the map from an owner's uid to its dependents.
func (s *Store) indexOwners(gr schema.GroupResource, u, previous *unstructured.Unstructured, ct ChangeType) {
	ref := objectRef{gr: gr, ns: u.GetNamespace(), name: u.GetName()}
	if previous != nil {
		for _, o := range previous.GetOwnerReferences() {
			delete(s.owned[o.UID], ref)
			if len(s.owned[o.UID]) == 0 {
				delete(s.owned, o.UID)
			}
		}
	}
	if ct == Deleted {
		return
	}
	for _, o := range u.GetOwnerReferences() {
		if s.owned[o.UID] == nil {
			s.owned[o.UID] = map[objectRef]struct{}{}
		}
		s.owned[o.UID][ref] = struct{}{}
	}
}

// dependents of an owner, ordered.
func (s *Store) dependents(uid types.UID) []objectRef {
	out := make([]objectRef, 0, len(s.owned[uid]))
	for ref := range s.owned[uid] {
		out = append(out, ref)
	}
	slices.SortFunc(out, compareRefs)
	return out
}

func compareRefs(a, b objectRef) int {
	for _, pair := range [][2]string{
		{a.gr.Group, b.gr.Group}, {a.gr.Resource, b.gr.Resource}, {a.ns, b.ns}, {a.name, b.name},
	} {
		if pair[0] != pair[1] {
			if pair[0] < pair[1] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// newUID makes a version 4 UUID from the server's random stream.
func (s *Store) newUID() types.UID {
	hi, lo := s.random(), s.random()
	const version, versionMask = uint64(0x4000), ^uint64(0xf000)
	const variant, variantMask = uint64(1) << 63, ^(uint64(3) << 62)
	hi = hi&versionMask | version
	lo = lo&variantMask | variant
	return types.UID(fmt.Sprintf("%08x-%04x-%04x-%04x-%012x",
		hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&0xffffffffffff))
}

// suffix makes the five characters that generateName appends, of Kubernetes' vowel-free alphabet.
func (s *Store) suffix() string {
	const alphabet, length = "bcdfghjklmnpqrstvwxz2456789", 5
	b := make([]byte, length)
	for i := range b {
		b[i] = alphabet[s.random()%uint64(len(alphabet))]
	}
	return string(b)
}

// toUnstructured copies any object into the store's form.
func toUnstructured(obj runtime.Object) (*unstructured.Unstructured, error) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return u.DeepCopy(), nil
	}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("convert object: %w", err)
	}
	return &unstructured.Unstructured{Object: m}, nil
}

// As reads a stored object as a Go type of k8s.io/api.
func As[T any](u *unstructured.Unstructured) (*T, error) {
	out := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, out); err != nil {
		return nil, fmt.Errorf("read %s %q: %w", u.GetKind(), u.GetName(), err)
	}
	return out, nil
}
