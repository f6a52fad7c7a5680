// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// historyLimit is how many changes of one resource are kept for watches and continued lists. A watch that falls
// further behind gets 410 Gone, as after an etcd compaction.
const historyLimit = 2048

// ChangeType says what happened to an object.
type ChangeType string

// The values are those of watch events.
const (
	Added    ChangeType = "ADDED"
	Modified ChangeType = "MODIFIED"
	Deleted  ChangeType = "DELETED"
)

// Change is one committed write. Object and Previous are shared and must not be modified.
type Change struct {
	Type     ChangeType
	Resource schema.GroupResource
	Revision uint64
	// Object is the state after the change; for Deleted the last state, at the revision of the deletion.
	Object *unstructured.Unstructured
	// Previous is nil for Added.
	Previous *unstructured.Unstructured
}

// collection holds the objects of one group-resource and their recent history.
type collection struct {
	items   map[string]*unstructured.Unstructured
	history []Change
	// trimmed is the revision of the newest change that is no longer in history.
	trimmed uint64
}

func newCollection(rev uint64) *collection {
	return &collection{items: map[string]*unstructured.Unstructured{}, trimmed: rev}
}

func objectKey(ns, name string) string {
	if ns == "" {
		return name
	}
	return ns + "/" + name
}

func keyOf(u *unstructured.Unstructured) string {
	return objectKey(u.GetNamespace(), u.GetName())
}

// record applies a change and appends it to the history.
func (c *collection) record(ch Change) {
	if ch.Type == Deleted {
		delete(c.items, keyOf(ch.Object))
	} else {
		c.items[keyOf(ch.Object)] = ch.Object
	}
	c.history = append(c.history, ch)
	if len(c.history) > historyLimit+historyLimit/4 {
		cut := len(c.history) - historyLimit
		c.trimmed = c.history[cut-1].Revision
		c.history = slices.Clone(c.history[cut:])
	}
}

// since returns the changes after rev, or false when some of them are forgotten.
func (c *collection) since(rev uint64) ([]Change, bool) {
	if rev < c.trimmed {
		return nil, false
	}
	i, _ := slices.BinarySearchFunc(c.history, rev+1, func(ch Change, want uint64) int {
		switch {
		case ch.Revision < want:
			return -1
		case ch.Revision > want:
			return 1
		}
		return 0
	})
	return c.history[i:], true
}

// at returns the objects as they were at rev, or false when that is forgotten. The map must not be modified.
func (c *collection) at(rev uint64) (map[string]*unstructured.Unstructured, bool) {
	changes, ok := c.since(rev)
	if !ok {
		return nil, false
	}
	if len(changes) == 0 {
		return c.items, true
	}
	items := make(map[string]*unstructured.Unstructured, len(c.items))
	maps.Copy(items, c.items)
	for _, ch := range slices.Backward(changes) {
		if ch.Previous == nil {
			delete(items, keyOf(ch.Object))
			continue
		}
		items[keyOf(ch.Object)] = ch.Previous
	}
	return items, true
}

// sortedItems returns objects of a namespace ("" = all) ordered by key, which is namespace, then name.
func sortedItems(items map[string]*unstructured.Unstructured, ns string) []*unstructured.Unstructured {
	keys := make([]string, 0, len(items))
	for k := range items {
		if ns == "" || strings.HasPrefix(k, ns+"/") {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	out := make([]*unstructured.Unstructured, 0, len(keys))
	for _, k := range keys {
		out = append(out, items[k])
	}
	return out
}
