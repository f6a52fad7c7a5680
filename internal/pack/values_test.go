// SPDX-License-Identifier: Apache-2.0

package pack_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lazuli-dev/lazuli/internal/pack"
)

func TestMergeValues(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ reason, base, override, want string }{
		{"nothing", "", "", `{}`},
		{"comments only", "# a", "\n# b\n", `{}`},
		{"keys of both", "a: 1", "b: 2", `{"a":1,"b":2}`},
		{"the override wins", "a: 1", "a: x", `{"a":"x"}`},
		{"maps merge at every depth", "a: {b: {c: 1, d: 2}}", "a: {b: {c: 3}}", `{"a":{"b":{"c":3,"d":2}}}`},
		{"lists replace", "a: [1, 2, 3]", "a: [4]", `{"a":[4]}`},
		{"an empty list replaces", "a: [1]", "a: []", `{"a":[]}`},
		{"null deletes", "a: {b: 1, c: 2}", "a: {b: null}", `{"a":{"c":2}}`},
		{"null of what is not there", "a: 1", "b: {c: null}", `{"a":1,"b":{}}`},
		{"a map over a value", "a: 1", "a: {b: 2}", `{"a":{"b":2}}`},
		{"a value over a map", "a: {b: 2}", "a: 1", `{"a":1}`},
		{"large numbers keep their digits", "", "a: 9007199254740993", `{"a":9007199254740993}`},
		{"false and zero are values", "a: true\nb: 3", "a: false\nb: 0", `{"a":false,"b":0}`},
		{"aliases within bounds", "", "a: &x {k: v}\nb: *x", `{"a":{"k":"v"},"b":{"k":"v"}}`},
		{"YAML 1.1, as Kubernetes reads it", "", "a: on\nb: 017", `{"a":true,"b":15}`},
		{"a document marker", "", "---\na: 1\n", `{"a":1}`},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			got, err := pack.MergeValues(tc.base, tc.override)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, encode(t, got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeValuesRefuses(t *testing.T) {
	t.Parallel()
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), ","))
	}
	for _, tc := range []struct{ reason, values, want string }{
		{"not YAML", "a: [", "YAML"},
		{"a list", "- a", "not a YAML map"},
		{"a scalar", "text", "not a YAML map"},
		{"two documents", "a: 1\n---\nb: 2", "more than one"},
		{"a duplicate key", "a: 1\na: 2", "already"},
		{"too large", "a: " + strings.Repeat("x", 2<<20), "larger than"},
		{"too deep", "a: " + strings.Repeat("[", 200) + strings.Repeat("]", 200), "deeper than"},
		{"very deep", strings.Repeat("[", 500_000), ""},
		{"an alias bomb", bomb.String(), "once its aliases are followed"},
		{"an alias to itself", "a: &a [*a]", ""},
		{"NUL", "a: \x00", ""},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			if got, err := pack.MergeValues("", tc.values); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %.80v, %v; want an error with %q", got, err, tc.want)
			}
		})
	}
}

func TestMergeValuesLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base, override := drawMap(t, "base", 3), drawMap(t, "override", 3)
		b, o := encode(t, base), encode(t, override)
		merged, err := pack.MergeValues(b, o)
		if err != nil {
			t.Fatal(err)
		}
		again, err := pack.MergeValues(encode(t, merged), o)
		if err != nil || encode(t, again) != encode(t, merged) {
			t.Fatalf("merging twice differs: %s, then %s (%v)", encode(t, merged), encode(t, again), err)
		}
		if same, err := pack.MergeValues(b, "{}"); err != nil || encode(t, same) != b {
			t.Fatalf("an empty override changed %s to %s (%v)", b, encode(t, same), err)
		}
		checkMerged(t, base, override, merged)
	})
}

// checkMerged states what a merge is, key by key.
func checkMerged(t *rapid.T, base, override, merged map[string]any) {
	for k := range merged {
		_, inBase := base[k]
		_, inOverride := override[k]
		if !inBase && !inOverride {
			t.Fatalf("key %q came from nowhere", k)
		}
	}
	for k, v := range base {
		if _, ok := override[k]; !ok && encode(t, merged[k]) != encode(t, v) {
			t.Fatalf("key %q is not the base's", k)
		}
	}
	for k, v := range override {
		got, there := merged[k]
		switch v := v.(type) {
		case nil:
			if there {
				t.Fatalf("key %q was not deleted", k)
			}
		case map[string]any:
			below, ok := base[k].(map[string]any)
			if !ok {
				below = map[string]any{}
			}
			gotMap, ok := got.(map[string]any)
			if !ok {
				t.Fatalf("key %q is no map", k)
			}
			checkMerged(t, below, v, gotMap)
		default:
			if encode(t, got) != encode(t, v) {
				t.Fatalf("key %q is not the override's", k)
			}
		}
	}
}

func drawMap(t *rapid.T, label string, depth int) map[string]any {
	m := map[string]any{}
	for _, k := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e e", "\"", "{{"}), 0, 4, rapid.ID[string]).Draw(t, label) {
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			m[k] = nil
		case 1:
			m[k] = rapid.StringOf(rapid.RuneFrom([]rune("ab:'\"\\{}[]#&*!|>%@`\n\t -,?é世"))).Draw(t, "text")
		case 2:
			m[k] = []any{rapid.Int32().Draw(t, "n"), "x"}
		case 3:
			m[k] = rapid.Bool().Draw(t, "bool")
		default:
			if depth > 0 {
				m[k] = drawMap(t, label, depth-1)
			}
		}
	}
	return m
}

// encode is canonical JSON: the keys of maps are sorted.
func encode(t interface{ Fatal(args ...any) }, v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
