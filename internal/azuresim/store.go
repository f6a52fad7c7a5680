// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"slices"
	"strings"
	"time"
)

// Provisioning states (learn.microsoft.com, asynchronous operations of Azure Resource Manager).
const (
	stateCreating  = "Creating"
	stateUpdating  = "Updating"
	stateDeleting  = "Deleting"
	stateSucceeded = "Succeeded"
	stateFailed    = "Failed"
)

// resource is one resource as ARM keeps it. Nested resources (subnets, rules, pools) live in their parent's body.
type resource struct {
	id       string // casing of the first writer
	target   target
	kind     *kind
	location string
	body     object // what the client wrote, completed by the kind
	state    string
	etag     string
	created  time.Time
	changed  time.Time
	op       *operation // the running one
	refs     []ref
	usage    map[string]int // quota name -> amount
	// managedBy is the VM that a disk belongs to.
	managedBy string
	// reserved is who alone may use a NIC until the time; see nicReservation.
	reservedFor   string
	reservedUntil time.Time
}

func (r *resource) key() string { return r.target.key() }

// ref is a reference from a resource (or a part of it) to another (or a part of it).
type ref struct{ from, to string }

// store keeps resources by lower-cased id, in order, with the references between them turned round.
type store struct {
	byKey    map[string]*resource
	keys     []string                     // sorted
	incoming map[string]map[string]string // key of the target -> key of the source -> id of the source
}

func newStore() *store {
	return &store{byKey: map[string]*resource{}, incoming: map[string]map[string]string{}}
}

func (st *store) get(id string) *resource { return st.byKey[keyOf(id)] }

// put stores a resource and replaces its references.
func (st *store) put(r *resource, refs []ref) {
	k := r.key()
	if _, known := st.byKey[k]; !known {
		i, _ := slices.BinarySearch(st.keys, k)
		st.keys = slices.Insert(st.keys, i, k)
	}
	st.byKey[k] = r
	st.unlink(r)
	r.refs = refs
	for _, x := range refs {
		to := keyOf(x.to)
		if st.incoming[to] == nil {
			st.incoming[to] = map[string]string{}
		}
		st.incoming[to][keyOf(x.from)] = x.from
	}
}

func (st *store) unlink(r *resource) {
	for _, x := range r.refs {
		to := keyOf(x.to)
		delete(st.incoming[to], keyOf(x.from))
		if len(st.incoming[to]) == 0 {
			delete(st.incoming, to)
		}
	}
	r.refs = nil
}

func (st *store) remove(r *resource) {
	st.unlink(r)
	k := r.key()
	delete(st.byKey, k)
	if i, ok := slices.BinarySearch(st.keys, k); ok {
		st.keys = slices.Delete(st.keys, i, i+1)
	}
}

// below lists the resources whose id starts with prefix, in order of their keys.
func (st *store) below(prefix string) []*resource {
	prefix = strings.ToLower(prefix)
	i, _ := slices.BinarySearch(st.keys, prefix)
	var out []*resource
	for ; i < len(st.keys) && strings.HasPrefix(st.keys[i], prefix); i++ {
		out = append(out, st.byKey[st.keys[i]])
	}
	return out
}

// referrers lists the ids that refer to id, in order; only those that contain part when it is not empty.
func (st *store) referrers(id, part string) []string {
	in := st.incoming[keyOf(id)]
	var out []string
	for _, k := range sortedKeys(in) {
		if part == "" || strings.Contains(k, strings.ToLower(part)) {
			out = append(out, in[k])
		}
	}
	return out
}

// owner is the stored resource that an id, or the part of a resource that an id names, belongs to.
func (st *store) owner(id string) *resource {
	k := keyOf(id)
	for k != "" {
		if r := st.byKey[k]; r != nil {
			return r
		}
		i := strings.LastIndexByte(k, '/')
		if i < 0 {
			return nil
		}
		k = k[:i]
	}
	return nil
}
