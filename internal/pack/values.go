// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

// Limits of a layer's YAML. The largest values of charts in wide use are about
// 150 KiB; the bounds keep a hostile document from costing more than a few
// milliseconds.
const (
	maxYAMLBytes = 1 << 20
	maxYAMLDepth = 64
	maxYAMLNodes = 100_000 // after aliases are followed
)

var (
	errTooLarge = fmt.Errorf("larger than %d bytes", maxYAMLBytes)
	errTooDeep  = fmt.Errorf("nested deeper than %d levels", maxYAMLDepth)
	errTooMany  = fmt.Errorf("more than %d nodes once its aliases are followed", maxYAMLNodes)
)

// MergeValues lays override over base: maps merge key by key, anything else
// replaces, and a null in override deletes the key (RFC 7396). An empty text is
// an empty map. Numbers are json.Number, so that none loses digits.
//
// Both texts are bounded in size, depth and number of nodes after following
// aliases; duplicate keys are refused.
func MergeValues(base, override string) (map[string]any, error) {
	b, err := parseValues(base)
	if err != nil {
		return nil, fmt.Errorf("read base values: %w", err)
	}
	o, err := parseValues(override)
	if err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	return merge(b, o), nil
}

// merge consumes neither argument but may share parts of both.
func merge(base, override map[string]any) map[string]any {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range override {
		switch v := v.(type) {
		case nil:
			delete(out, k)
		case map[string]any:
			below, _ := out[k].(map[string]any) // what is no map counts as an empty one
			out[k] = merge(below, v)
		default:
			out[k] = v
		}
	}
	return out
}

// parseValues reads one bounded YAML map.
func parseValues(text string) (map[string]any, error) {
	nodes, err := parseNodes(text)
	switch {
	case err != nil:
		return nil, err
	case len(nodes) > 1:
		return nil, errors.New("more than one YAML document")
	}
	v, err := decode([]byte(text))
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]any:
		return v, nil
	default:
		return nil, errors.New("not a YAML map")
	}
}

// decode reads one YAML document the way Kubernetes does.
func decode(text []byte) (any, error) {
	raw, err := sigsyaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, fmt.Errorf("read YAML: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("read YAML as JSON: %w", err)
	}
	return v, nil
}

// parseNodes reads all documents of text into syntax trees, in which aliases are
// not yet expanded, and checks what expanding them would cost.
func parseNodes(text string) ([]*yaml.Node, error) {
	if len(text) > maxYAMLBytes {
		return nil, errTooLarge
	}
	var nodes []*yaml.Node
	budget := maxYAMLNodes
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var n yaml.Node
		if err := dec.Decode(&n); errors.Is(err, io.EOF) {
			return nodes, nil
		} else if err != nil {
			return nil, fmt.Errorf("read YAML: %w", err)
		}
		if err := checkCost(&n, &budget, 0); err != nil {
			return nil, err
		}
		nodes = append(nodes, &n)
	}
}

// checkCost walks n as a decoder would, following aliases, until the budget is
// used up. An alias inside its own anchor ends at the depth.
func checkCost(n *yaml.Node, budget *int, depth int) error {
	if *budget--; *budget < 0 {
		return errTooMany
	}
	if depth > maxYAMLDepth {
		return errTooDeep
	}
	if n.Kind == yaml.AliasNode {
		return checkCost(n.Alias, budget, depth+1)
	}
	for _, c := range n.Content {
		if err := checkCost(c, budget, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// lookup follows a dotted path through maps.
func lookup(values map[string]any, dotted string) (any, bool) {
	var v any = values
	for key := range strings.SplitSeq(dotted, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[key]; !ok {
			return nil, false
		}
	}
	return v, true
}

// unknownKeys lists the paths in given that known does not have. An empty map in
// known is open: whatever is below it has an effect.
func unknownKeys(known, given map[string]any, prefix string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(given)) {
		v, ok := known[k]
		if !ok {
			out = append(out, prefix+k)
			continue
		}
		below, isMap := v.(map[string]any)
		if g, ok := given[k].(map[string]any); ok && isMap && len(below) > 0 {
			out = append(out, unknownKeys(below, g, prefix+k+".")...)
		}
	}
	return out
}
