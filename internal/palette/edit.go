// SPDX-License-Identifier: Apache-2.0

package palette

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/lazuli-dev/lazuli"
)

// Members of a stored spec, as paths for Member and SetMember.
const (
	MemberCloudConfig   = "cloudConfig"
	MemberClusterConfig = "clusterConfig"
	MemberPools         = "machinepoolconfig" // the wire writes it so
	MemberPolicies      = "policies"
	MemberResources     = "resources" // of the clusterConfig
	MemberNamespaces    = "namespaces"
	MemberRBACs         = "rbacs"
	MemberBackup        = "backupPolicy"
	MemberScan          = "scanPolicy"
	MemberLocation      = "location"
)

// Member returns the member of a JSON object at a path, nil when there is none
// or when it is null.
func Member(raw json.RawMessage, path ...string) (json.RawMessage, error) {
	for _, name := range path {
		o, err := rawObject(raw)
		if err != nil {
			return nil, err
		}
		raw = o[name]
	}
	if string(bytes.TrimSpace(raw)) == "null" {
		return nil, nil
	}
	return raw, nil
}

// SetMember returns a JSON object with the member at a path set; nil removes it.
// All other members stay as they were sent, to the letter.
func SetMember(raw, value json.RawMessage, path ...string) (json.RawMessage, error) {
	if len(path) == 0 {
		return value, nil
	}
	o, err := rawObject(raw)
	if err != nil {
		return nil, err
	}
	if o == nil {
		o = map[string]json.RawMessage{}
	}
	inner, err := SetMember(o[path[0]], value, path[1:]...)
	if err != nil {
		return nil, err
	}
	if inner == nil {
		delete(o, path[0])
	} else {
		o[path[0]] = inner
	}
	out, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write an object: %w", err)
	}
	return out, nil
}

// Pools are the pools of a stored spec, each as sent, in their order.
func Pools(spec json.RawMessage) ([]json.RawMessage, error) {
	raw, err := Member(spec, MemberPools)
	if err != nil || raw == nil {
		return nil, err
	}
	var out []json.RawMessage
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("read the pools: %w", err)
	}
	return out, nil
}

// SetPools returns the spec with these pools.
func SetPools(spec json.RawMessage, pools []json.RawMessage) (json.RawMessage, error) {
	raw, err := json.Marshal(pools)
	if err != nil {
		return nil, fmt.Errorf("write the pools: %w", err)
	}
	return SetMember(spec, raw, MemberPools)
}

// Spec reads the whole stored spec of a cluster with the types of the wire.
func Spec(c *lazuli.Cluster) (AzureClusterSpec, error) {
	var out AzureClusterSpec
	if err := json.Unmarshal(c.Spec, &out); err != nil {
		return out, fmt.Errorf("read the stored spec of cluster %s: %w", c.UID, err)
	}
	return out, nil
}

// Equal reports whether two JSON values say the same: order of keys and blanks
// apart, and null, "", false, 0, {} and [] being as good as absent.
func Equal(a, b json.RawMessage) bool {
	x, errX := plainValue(a)
	y, errY := plainValue(b)
	if errX != nil || errY != nil {
		return bytes.Equal(a, b)
	}
	p, errP := json.Marshal(x)
	q, errQ := json.Marshal(y)
	return errP == nil && errQ == nil && bytes.Equal(p, q)
}

func plainValue(raw json.RawMessage) (any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil //nolint:nilnil // nothing is a value
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("read a value: %w", err)
	}
	return prune(v), nil
}

// prune takes away what says nothing.
func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, m := range v {
			if p := prune(m); p != nil {
				out[k] = p
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		if len(v) == 0 {
			return nil
		}
		out := make([]any, len(v))
		for i, m := range v {
			out[i] = prune(m)
		}
		return out
	case string:
		if v == "" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	case json.Number:
		if v.String() == "0" {
			return nil
		}
	}
	return v
}

// WithoutNulls takes members that are null out of a JSON value, at any depth:
// clients may send null for an absent member, and no answer has one.
func WithoutNulls(raw json.RawMessage) json.RawMessage {
	if !bytes.Contains(raw, []byte("null")) {
		return raw
	}
	switch trimmed := bytes.TrimSpace(raw); {
	case len(trimmed) > 0 && trimmed[0] == '{':
		var o map[string]json.RawMessage
		if json.Unmarshal(raw, &o) != nil {
			return raw
		}
		for k, v := range o {
			if string(v) == "null" {
				delete(o, k)
			} else {
				o[k] = WithoutNulls(v)
			}
		}
		return encodedOr(o, raw)
	case len(trimmed) > 0 && trimmed[0] == '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return raw
		}
		for i, v := range list {
			list[i] = WithoutNulls(v)
		}
		return encodedOr(list, raw)
	default:
		return raw
	}
}

func encodedOr(v any, otherwise json.RawMessage) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // read a moment ago: cannot happen
		return otherwise
	}
	return b
}
