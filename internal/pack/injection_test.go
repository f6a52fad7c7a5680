// SPDX-License-Identifier: Apache-2.0

package pack_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
)

// hostile texts try to end the scalar, the line, the document or the template.
func hostile() []string {
	return []string{
		"x\nkind: Secret", "x\r\nkind: Secret", "\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: evil}\n---\n",
		`" # `, `"}`, `' : '`, "}}", "{{ .Values }}", "{{", "`}}{{`", "*alias", "&anchor x", "!!binary x", "!!python/object x",
		"|\n  x", ">-\n x", "? x\n: y", "- x", "[x, y]", "{x: y}", "#", "%YAML 1.1", "...", "---", "null", "~", "true", "1e3", "0o17", "=", "<<: *x",
		"\\", `\"`, `\u0022`, "\t", "\x00", "\x1b[31m", "\x7f", "\u0085", "\u2028", "\u2029", "\ufeff", "\U0001F600", "\u200b", "\uffff", "\xff\xfe", "",
		strings.Repeat("A", 10_000), "$(rm -rf /)", "a,b=c", "../../../etc/passwd", "{\"a\": 1}",
	}
}

// leaves calls f for every text in v, and lets it put another in its place.
func leaves(v any, path string, f func(path string, set func(string))) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if _, ok := v[k].(string); ok {
				old := v[k]
				f(path+"."+k, func(s string) { v[k] = s })
				v[k] = old
			} else {
				leaves(v[k], path+"."+k, f)
			}
		}
	case []any:
		for i := range v {
			leaves(v[i], fmt.Sprintf("%s[%d]", path, i), f)
		}
	}
}

// shape is a document without its scalars: keys, and lengths of lists.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k := range v {
			m[k] = shape(v[k])
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = shape(v[i])
		}
		return l
	default:
		return nil
	}
}

// shapes remembers documents that it has seen: most do not hold the value.
func shapes(t testing.TB, seen map[string]any, releases []pack.Release) string {
	t.Helper()
	var out []any
	for _, rel := range releases {
		for _, doc := range documents(t, rel.Documents) {
			if s, ok := seen[string(doc)]; ok {
				out = append(out, s)
				continue
			}
			var v any
			if err := yaml.UnmarshalStrict(doc, &v); err != nil {
				t.Fatalf("not YAML: %v\n%s", err, doc)
			}
			seen[string(doc)] = shape(v)
			out = append(out, seen[string(doc)])
		}
	}
	return encode(t, out)
}

func TestValuesCannotChangeStructure(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	done := map[string]bool{}
	for _, p := range r.Packs() {
		// Versions of a pack share their templates, but for the layout of images.
		key := p.Name + p.Annotations["imageLayout"]
		if done[key] {
			continue
		}
		done[key] = true
		t.Run(p.Name+"/"+p.Version, func(t *testing.T) {
			t.Parallel()
			layer := lazuli.Layer{Name: p.Name, Tag: p.Version}
			plain, err := r.Render(layer, sample())
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]any{}
			want := shapes(t, seen, plain)
			values, err := pack.MergeValues(p.Values, "")
			if err != nil {
				t.Fatal(err)
			}
			tried := 0
			leaves(values, "", func(path string, set func(string)) {
				for _, h := range hostile() {
					set(h)
					layer.Values = encode(t, values)
					releases, err := r.Render(layer, sample())
					if err != nil {
						if code := lazuli.CodeOf(err); code != lazuli.CodeInvalidField {
							t.Errorf("%s = %.40q: %v", path, h, err)
						}
						continue
					}
					if shapes(t, seen, releases) != want {
						t.Errorf("%s = %.40q changed the structure", path, h)
					}
					tried++
				}
			})
			if tried == 0 && len(p.Stages) > 0 {
				t.Error("no hostile value was rendered: the test tests nothing")
			}
		})
	}
}

// What goes in comes out: the text in the document is the text in the values.
func TestQuoteIsExact(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	rapid.Check(t, func(t *rapid.T) {
		image := strings.ToValidUTF8(rapid.String().Draw(t, "image"), "?")
		layer := lazuli.Layer{Name: "hello-lazuli", Values: "hello: {image: " + strconv.QuoteToASCII(image) + "}"}
		releases, err := r.Render(layer, sample())
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Spec struct {
				Template struct {
					Spec struct {
						Containers []struct{ Image string }
					}
				}
			}
		}
		docs := strings.Split(string(releases[0].Documents), "\n---\n")
		if len(docs) != 3 {
			t.Fatalf("%d documents", len(docs))
		}
		if err := yaml.Unmarshal([]byte(docs[1]), &d); err != nil {
			t.Fatal(err)
		}
		if got := d.Spec.Template.Spec.Containers[0].Image; got != image {
			t.Fatalf("%q came out as %q", image, got)
		}
	})
}
