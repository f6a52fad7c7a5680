// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode"
	"unicode/utf8"
)

// maxRenderedBytes bounds one rendered manifest: more than any API server takes.
const maxRenderedBytes = 4 << 20

// encoded is text that is safe wherever YAML takes a value.
type encoded string

// emitFunc is appended to every action, so that only encoded text gets out.
const emitFunc = "emit"

// functions of the templates. There is no indent: quote and toYaml stay on one
// line, and a block of several lines is the one form that a value could break
// out of.
func functions() template.FuncMap {
	return template.FuncMap{
		"quote":   quoteScalar,
		"integer": integer,
		"toYaml":  toYaml,
		"b64": func(v any) (encoded, error) {
			_, err := quoteScalar(v)
			return quote(base64.StdEncoding.EncodeToString([]byte(plain(v)))), err
		},
		"default": orDefault,
		"lower":   strings.ToLower,
		"rows":    rows,
		emitFunc: func(v any) (string, error) {
			e, ok := v.(encoded)
			if !ok {
				return "", fmt.Errorf("a value of type %T leaves the template without quote, integer, toYaml or b64", v)
			}
			return string(e), nil
		},
	}
}

func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

// quote makes a double-quoted YAML scalar on one line. Every rune that YAML does
// not call printable is escaped: JSON's rules alone leave U+007F to U+009F.
func quote(v any) encoded {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(plain(v), string(utf8.RuneError)) {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff: // the end of the basic plane: \u takes four digits
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return encoded(b.String())
}

// rows splits a table that a template holds into lines and words.
func rows(table string) [][]string {
	var out [][]string
	for line := range strings.Lines(table) {
		if words := strings.Fields(line); len(words) > 0 {
			out = append(out, words)
		}
	}
	return out
}

// quoteScalar refuses what would come out as Go's notation of a map or list.
func quoteScalar(v any) (encoded, error) {
	switch v.(type) {
	case nil, string, bool, int, json.Number:
		return quote(v), nil
	default:
		return "", errors.New("a map or list stands where one value belongs")
	}
}

// integer passes whole numbers that are not negative.
func integer(v any) (encoded, error) {
	n, ok := v.(json.Number)
	if _, err := strconv.ParseUint(n.String(), 10, 31); !ok || err != nil {
		return "", fmt.Errorf("%q stands where a whole number belongs", plain(v))
	}
	return encoded(n), nil
}

// toYaml makes a flow collection or scalar on one line; its text is also JSON as
// far as quote's is.
func toYaml(v any) (encoded, error) {
	switch v := v.(type) {
	case string:
		return quote(v), nil
	case map[string]any:
		return flow("{", "}", sortedKeys(v), func(k string) (encoded, error) {
			e, err := toYaml(v[k])
			return quote(k) + ": " + e, err
		})
	case map[string]string:
		return flow("{", "}", sortedKeys(v), func(k string) (encoded, error) {
			return quote(k) + ": " + quote(v[k]), nil
		})
	case []any:
		return flow("[", "]", v, toYaml)
	case nil, bool, int, json.Number:
		raw, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("encode %v: %w", v, err)
		}
		return encoded(raw), nil
	default:
		return "", fmt.Errorf("toYaml does not take a %T", v)
	}
}

func flow[T any](open, end string, items []T, encode func(T) (encoded, error)) (encoded, error) {
	parts := make([]string, len(items))
	for i, item := range items {
		e, err := encode(item)
		if err != nil {
			return "", err
		}
		parts[i] = string(e)
	}
	return encoded(open + strings.Join(parts, ", ") + end), nil
}

// orDefault returns def for nil, "", and nothing else: false and 0 are answers.
func orDefault(def, v any) any {
	if v == nil || v == "" {
		return def
	}
	return v
}

// parseTemplate reads a manifest's template. Nested templates are refused: each
// manifest can be read by itself.
func parseTemplate(name, content string) (*template.Template, error) {
	t, err := template.New(name).Option("missingkey=error").Funcs(functions()).Parse(content)
	if err != nil {
		return nil, fmt.Errorf("parse template: %w", err)
	}
	if err := guard(t.Root); err != nil {
		return nil, fmt.Errorf("parse template %s: %w", name, err)
	}
	return t, nil
}

// guard sends the result of every action below n through emit.
func guard(n parse.Node) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, c := range n.Nodes {
			if err := guard(c); err != nil {
				return err
			}
		}
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 {
			id := parse.NewIdentifier(emitFunc).SetPos(n.Pos)
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{
				NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{id},
			})
		}
	case *parse.IfNode:
		return errors.Join(guard(n.List), guard(n.ElseList))
	case *parse.RangeNode:
		return errors.Join(guard(n.List), guard(n.ElseList))
	case *parse.WithNode:
		return errors.Join(guard(n.List), guard(n.ElseList))
	case *parse.TemplateNode:
		return errors.New("nested templates are not supported")
	}
	return nil
}

// execute renders a template within the bound.
func execute(t *template.Template, data any) ([]byte, error) {
	w := &boundedBuffer{limit: maxRenderedBytes}
	if err := t.Execute(w, data); err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	return w.Bytes(), nil
}

// boundedBuffer fails a write beyond its limit.
type boundedBuffer struct {
	bytes.Buffer
	limit int
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, fmt.Errorf("the result grew beyond %d bytes", b.limit)
	}
	return b.Buffer.Write(p) // never fails
}
