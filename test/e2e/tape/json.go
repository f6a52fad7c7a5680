// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// object and list are what JSON is read into.
type (
	object = map[string]any
	list   = []any
)

// parse reads JSON, whose numbers keep their digits; nothing reads as nil.
func parse(b []byte) (any, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, nil //nolint:nilnil // nothing is a value
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	return v, nil
}

// at walks into objects; a path is names with dots between.
func at(v any, path string) any {
	if path == "" {
		return v
	}
	for name := range strings.SplitSeq(path, ".") {
		o, ok := v.(object)
		if !ok {
			return nil
		}
		v = o[name]
	}
	return v
}

// text is the string at a path, "" for none.
func text(v any, path string) string {
	s, _ := at(v, path).(string)
	return s
}

// items is the list at a path, empty for none.
func items(v any, path string) list {
	l, _ := at(v, path).(list)
	return l
}

// named is the member of a list whose value at a path is given.
func named(l list, path, value string) any {
	for _, v := range l {
		if text(v, path) == value {
			return v
		}
	}
	return nil
}

// copied is a deep copy.
func copied(v any) any {
	switch v := v.(type) {
	case object:
		out := make(object, len(v))
		for k, e := range v {
			out[k] = copied(e)
		}
		return out
	case list:
		out := make(list, 0, len(v))
		for _, e := range v {
			out = append(out, copied(e))
		}
		return out
	default:
		return v
	}
}

// without is a shallow copy of an object without some members.
func without(v any, names ...string) object {
	o, _ := v.(object)
	out := make(object, len(o))
	maps.Copy(out, o)
	for _, n := range names {
		delete(out, n)
	}
	return out
}
