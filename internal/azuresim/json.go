// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"encoding/json"
	"maps"
	"slices"
)

// object is a JSON object. Resources are kept as the client wrote them, so that what a client sends comes back.
type object = map[string]any

// at walks nested objects; nil when a step is absent.
func at(o object, path ...string) any {
	var v any = o
	for _, p := range path {
		m, ok := v.(object)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

func str(o object, path ...string) string {
	s, _ := at(o, path...).(string)
	return s
}

func flag(o object, path ...string) bool {
	b, _ := at(o, path...).(bool)
	return b
}

func number(o object, path ...string) (int, bool) {
	switch n := at(o, path...).(type) {
	case float64:
		return int(n), true
	case int:
		return n, true
	}
	return 0, false
}

func child(o object, path ...string) object {
	m, _ := at(o, path...).(object)
	return m
}

// ensure returns the object at a path and makes what is missing on the way.
func ensure(o object, path ...string) object {
	for _, p := range path {
		next, ok := o[p].(object)
		if !ok {
			next = object{}
			o[p] = next
		}
		o = next
	}
	return o
}

// items returns the objects of a list; anything else in it is skipped.
func items(o object, path ...string) []object {
	list, _ := at(o, path...).([]any)
	out := make([]object, 0, len(list))
	for _, v := range list {
		if m, ok := v.(object); ok {
			out = append(out, m)
		}
	}
	return out
}

// texts returns the strings of a list.
func texts(o object, path ...string) []string {
	list, _ := at(o, path...).([]any)
	out := make([]string, 0, len(list))
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func anys[T any](in []T) []any {
	out := make([]any, 0, len(in))
	for _, v := range in {
		out = append(out, v)
	}
	return out
}

// clone copies a JSON value deeply.
func clone(v any) any {
	switch t := v.(type) {
	case object:
		out := make(object, len(t))
		for k, e := range t {
			out[k] = clone(e)
		}
		return out
	case []any:
		out := make([]any, len(t))
		for i, e := range t {
			out[i] = clone(e)
		}
		return out
	default:
		return v
	}
}

func cloneObject(o object) object {
	if o == nil {
		return object{}
	}
	out, _ := clone(o).(object)
	return out
}

// mergePatch is RFC 7396.
func mergePatch(dst, patch object) object {
	if dst == nil {
		dst = object{}
	}
	for k, v := range patch {
		switch t := v.(type) {
		case nil:
			delete(dst, k)
		case object:
			dst[k] = mergePatch(child(dst, k), t)
		default:
			dst[k] = clone(v)
		}
	}
	return dst
}

func tagsOf(o object) map[string]string {
	out := map[string]string{}
	for k, v := range child(o, "tags") {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // Only JSON values that were decoded or built here reach this place.
		return []byte("null")
	}
	return b
}
