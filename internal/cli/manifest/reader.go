// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lazuli-dev/lazuli"
)

// maxNodes bounds the values of one document, aliases followed, so that a few
// lines of aliases of aliases cannot fill the memory.
const maxNodes = 50_000

// reader decodes YAML nodes into structs and keeps every finding.
type reader struct {
	source   string
	lookup   func(string) string
	findings *lazuli.Fields
	lines    map[string]int // line by path
	nodes    int
}

func (r *reader) add(line int, path, format string, args ...any) {
	r.findings.Add(fmt.Sprintf("%s:%d: %s", r.source, line, path), format, args...)
}

// addAt finds the line of the path, or of what it would stand in.
func (r *reader) addAt(path, format string, args ...any) {
	r.add(lineOf(r.lines, path), path, format, args...)
}

func (r *reader) line(path string, otherwise int) int {
	if l, ok := r.lines[path]; ok {
		return l
	}
	return otherwise
}

func lineOf(lines map[string]int, path string) int {
	for path != "" {
		if l, ok := lines[path]; ok {
			return l
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 1
}

// enter follows an alias and counts the node; it is not ok past the limit.
func (r *reader) enter(n *yaml.Node, path string) (*yaml.Node, bool) {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	r.nodes++
	if r.nodes == maxNodes {
		r.add(n.Line, path, "the document has more than %d values", maxNodes)
	}
	return n, r.nodes < maxNodes
}

// eachKey calls fn for each key of a mapping.
func (r *reader) eachKey(n *yaml.Node, path string, fn func(key string, value *yaml.Node)) {
	n, ok := r.enter(n, path)
	switch {
	case !ok || n.Tag == "!!null":
		return
	case n.Kind != yaml.MappingNode:
		r.add(n.Line, orDocument(path), "expected keys and values, found %s", describe(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := under(path, key.Value)
		if seen[key.Value] {
			r.add(key.Line, at, "is given twice")
			continue
		}
		seen[key.Value] = true
		r.lines[at] = key.Line
		fn(key.Value, value)
	}
}

// decode fills the struct that out points to.
func (r *reader) decode(n *yaml.Node, path string, out any) {
	r.decodeStruct(n, path, reflect.ValueOf(out).Elem())
}

func (r *reader) decodeStruct(n *yaml.Node, path string, v reflect.Value) {
	r.eachKey(n, path, func(key string, value *yaml.Node) {
		at := under(path, key)
		for f, field := range v.Fields() {
			if f.Tag.Get("yaml") != key {
				continue
			}
			if why := f.Tag.Get("refuse"); why != "" {
				r.add(r.lines[at], at, "%s", why)
				return
			}
			r.decodeValue(value, at, field)
			return
		}
		r.add(r.lines[at], at, "unknown field; known are %s", strings.Join(known(v.Type()), ", "))
	})
}

func known(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		if f.Tag.Get("refuse") == "" {
			out = append(out, f.Tag.Get("yaml"))
		}
	}
	return out
}

func (r *reader) decodeValue(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if secret, ok := reflect.TypeAssert[*lazuli.Secret](v.Addr()); ok {
		var text string
		r.decodeText(n, path, &text)
		*secret = lazuli.NewSecret(text)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		r.decodeStruct(n, path, v)
	case reflect.Slice:
		r.decodeList(n, path, v)
	case reflect.Map:
		out := map[string]string{}
		r.eachKey(n, path, func(key string, value *yaml.Node) {
			var text string
			r.decodeText(value, under(path, key), &text)
			out[key] = text
		})
		v.Set(reflect.ValueOf(out))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.decodeValue(n, path, v.Elem())
	default:
		var text string
		if r.decodeText(n, path, &text) {
			r.set(n.Line, path, v, text)
		}
	}
}

func (r *reader) set(line int, path string, v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Bool:
		if text != "true" && text != "false" {
			r.add(line, path, "%q is neither true nor false", text)
			return
		}
		v.SetBool(text == "true")
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			r.add(line, path, "%q is not a whole number", text)
			return
		}
		v.SetInt(n)
	default:
		v.SetString(text)
	}
}

func (r *reader) decodeList(n *yaml.Node, path string, v reflect.Value) {
	n, ok := r.enter(n, path)
	if !ok {
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.add(n.Line, path, "expected a list, found %s", describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		r.lines[at] = item.Line
		r.decodeValue(item, at, v.Index(i))
	}
}

// decodeText reads a scalar as the text that stands in the file, so that the
// tag 24.10 keeps its zero, and expands variables.
func (r *reader) decodeText(n *yaml.Node, path string, out *string) bool {
	n, ok := r.enter(n, path)
	switch {
	case !ok:
		return false
	case n.Kind != yaml.ScalarNode:
		r.add(n.Line, path, "expected one value, found %s", describe(n))
		return false
	case n.Tag == "!!null":
		return false
	}
	text, err := expand(n.Value, r.lookup)
	if err != nil {
		r.add(n.Line, path, "%s", err)
		return false
	}
	*out = text
	return true
}

var variable = regexp.MustCompile(`\$?\$\{[^}\n]*\}?`)

var variableName = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// expand replaces ${NAME}. A name without a value is an error, so that a
// forgotten variable never becomes an empty secret.
func expand(text string, lookup func(string) string) (string, error) {
	var fail error
	out := variable.ReplaceAllStringFunc(text, func(m string) string {
		if strings.HasPrefix(m, "$$") {
			return m[1:]
		}
		name := variableName.FindStringSubmatch(m)
		if name == nil {
			fail = fmt.Errorf("%s is not ${NAME}; write $${ for a literal ${", m)
			return ""
		}
		value := lookup(name[1])
		if value == "" && fail == nil {
			fail = fmt.Errorf("the environment variable %s is not set", name[1])
		}
		return value
	})
	return out, fail
}

func under(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orDocument(path string) string {
	if path == "" {
		return "document"
	}
	return path
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "one value"
	}
}
