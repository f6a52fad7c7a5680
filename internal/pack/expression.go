// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode/utf8"
)

// The namespaces that an expression may refer to, as in {{.spectro.var.NAME}}.
const (
	refVariable = "var"
	refMacro    = "macro"
	refSystem   = "system"
	refPack     = "pack"
)

const (
	openMark, closeMark = "{{", "}}"

	// maxExpressions bounds the expressions of one text, maxExpressionBytes the
	// result of one.
	maxExpressions     = 10_000
	maxExpressionBytes = 256 << 10
	refFunc            = "lazuliReference"
)

// reference is one name in an expression: var port, or pack hello.replicas.
type reference struct{ namespace, name string }

func (r reference) String() string { return ".spectro." + r.namespace + "." + r.name }

// action is one {{...}} of a text that belongs to this language.
type action struct {
	from, to int // of the marks, in bytes
	source   string
	refs     []reference
	tolerant bool // has an answer to a name that is not defined
}

// errUndefined is a name that stands for nothing.
var errUndefined = errors.New("is not defined")

var referencePattern = regexp.MustCompile(`\.spectro\.([A-Za-z]+)((?:\.[A-Za-z0-9_-]+)*)`)

// findActions lists the expressions of a text. Other {{...}}, such as those of
// Helm or Prometheus in a manifest, are not ours and stay as they are.
func findActions(text string) ([]action, error) {
	var out []action
	for at := 0; ; {
		i := strings.Index(text[at:], openMark)
		if i < 0 {
			return out, nil
		}
		from := at + i
		at = from + len(openMark)
		n, body := actionBody(text[at:])
		if n < 0 || !strings.Contains(body, ".spectro.") {
			continue
		}
		to := at + n + len(closeMark)
		at = to
		a, err := readAction(body)
		if err != nil {
			return nil, fmt.Errorf("{{%s}}: %w", clip(body), err)
		}
		if len(a.refs) == 0 {
			continue // the name stands inside quotes only
		}
		a.from, a.to = from, to
		if out = append(out, a); len(out) > maxExpressions {
			return nil, fmt.Errorf("more than %d expressions", maxExpressions)
		}
	}
}

// actionBody returns the text up to the closing mark, and how long that is in s.
// Inside a double-quoted YAML scalar, quotes are written with a backslash.
func actionBody(s string) (int, string) {
	line, _, _ := strings.Cut(s, "\n")
	naive := strings.Index(line, closeMark)
	if naive >= 0 && strings.Contains(line[:naive], `\"`) {
		if _, err := readAction(line[:naive]); err != nil {
			return naive, strings.ReplaceAll(line[:naive], `\"`, `"`)
		}
	}
	n := actionEnd(line)
	if n < 0 {
		return n, ""
	}
	return n, line[:n]
}

// actionEnd finds the closing mark outside of quotes.
func actionEnd(s string) int {
	quote := byte(0)
	for i := 0; i < len(s) && i < maxVariableText; i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\' && quote == '"':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '`':
			quote = c
		case strings.HasPrefix(s[i:], openMark):
			return -1
		case strings.HasPrefix(s[i:], closeMark):
			return i
		}
	}
	return -1
}

// readAction turns names into calls of refFunc, outside of quotes. That way names
// may have hyphens, and the template gets no data at all: there is no value
// whose fields or methods it could reach.
func readAction(body string) (action, error) {
	body = strings.TrimSuffix(strings.TrimPrefix(body, "- "), " -")
	a := action{}
	if strings.Contains(body, refFunc) {
		return a, fmt.Errorf("%s is not a function that is served", refFunc)
	}
	var b strings.Builder
	for len(body) > 0 {
		if c := body[0]; c == '"' || c == '`' {
			n := quotedLength(body)
			b.WriteString(body[:n])
			body = body[n:]
			continue
		}
		m := referencePattern.FindStringSubmatchIndex(body)
		if m == nil || m[0] > 0 {
			b.WriteByte(body[0])
			body = body[1:]
			continue
		}
		r := reference{body[m[2]:m[3]], strings.TrimPrefix(body[m[4]:m[5]], ".")}
		if !slices.Contains([]string{refVariable, refMacro, refSystem, refPack}, r.namespace) || r.name == "" {
			return a, fmt.Errorf("%s: .spectro.var.NAME, .spectro.macro.NAME, .spectro.system.NAME and .spectro.pack.PACK.PATH are known",
				clip(body[m[0]:m[1]]))
		}
		a.refs = append(a.refs, r)
		fmt.Fprintf(&b, "(%s %q %q)", refFunc, r.namespace, r.name)
		body = body[m[1]:]
	}
	a.source = b.String()
	t, err := compile(a.source, nil)
	if err == nil {
		a.tolerant = callsAny(t.Root.Nodes[0], "default", "coalesce")
	}
	return a, err
}

func quotedLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && s[0] == '"':
			i++
		case s[i] == s[0]:
			return i + 1
		}
	}
	return len(s)
}

// lookupFunc finds what a reference stands for; nil is "not defined".
type lookupFunc func(reference) (any, error)

// compile parses one expression. Only the functions below may be called: none of
// them loops, does I/O or makes a result beyond maxExpressionBytes.
func compile(source string, find lookupFunc) (*template.Template, error) {
	funcs := expressionFunctions()
	funcs[refFunc] = func(namespace, name string) (any, error) { return find(reference{namespace, name}) }
	t, err := template.New("").Funcs(funcs).Parse(openMark + source + closeMark)
	if err != nil {
		return nil, errors.New("is not an expression: " + strings.TrimPrefix(err.Error(), "template: :1: "))
	}
	if t.Tree == nil || len(t.Root.Nodes) != 1 {
		return nil, errors.New("is not one expression")
	}
	node, ok := t.Root.Nodes[0].(*parse.ActionNode)
	if !ok || len(node.Pipe.Decl) > 0 {
		return nil, errors.New("is not one expression: conditions, loops and declarations are not served")
	}
	return t, onlyFunctions(node.Pipe, funcs)
}

// onlyFunctions refuses text/template's own functions, of which printf can make
// any amount of output, and every way to data.
func onlyFunctions(p *parse.PipeNode, funcs template.FuncMap) error {
	for _, c := range p.Cmds {
		for _, arg := range c.Args {
			switch n := arg.(type) {
			case *parse.IdentifierNode:
				if _, ok := funcs[n.Ident]; !ok {
					return fmt.Errorf("%s is not a function that is served", n.Ident)
				}
			case *parse.PipeNode:
				if err := onlyFunctions(n, funcs); err != nil {
					return err
				}
			case *parse.StringNode, *parse.NumberNode, *parse.BoolNode:
			default:
				return fmt.Errorf("%s is not served", clip(arg.String()))
			}
		}
	}
	return nil
}

// callsAny reports whether an expression calls one of the functions.
func callsAny(n parse.Node, names ...string) bool {
	switch n := n.(type) {
	case *parse.ActionNode:
		return callsAny(n.Pipe, names...)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			for _, arg := range c.Args {
				if callsAny(arg, names...) {
					return true
				}
			}
		}
	case *parse.IdentifierNode:
		return slices.Contains(names, n.Ident)
	}
	return false
}

// evaluate runs one expression and returns its text.
func (a *action) evaluate(find lookupFunc) (string, error) {
	var missing error
	t, err := compile(a.source, func(r reference) (any, error) {
		v, err := find(r)
		if errors.Is(err, errUndefined) && a.tolerant {
			return nil, nil //nolint:nilnil // default takes nil for "there is none"
		}
		if err != nil {
			missing = fmt.Errorf("%s %w", r, err)
		}
		return v, err
	})
	if err != nil {
		return "", err
	}
	out := &boundedBuffer{limit: maxExpressionBytes}
	err = t.Execute(out, nil)
	switch {
	case missing != nil:
		return "", missing
	case err != nil:
		return "", fmt.Errorf("{{%s}} cannot be evaluated: %w", clip(a.source), err)
	case out.String() == "<no value>":
		return "", nil
	}
	return out.String(), nil
}

var errExpressionSize = fmt.Errorf("a result is larger than %d bytes", maxExpressionBytes)

// expressionFunctions have the names and the order of arguments that users know
// from Sprig; the value comes last, so that it can come from a pipe.
func expressionFunctions() template.FuncMap {
	bound := func(s string) (string, error) {
		if len(s) > maxExpressionBytes {
			return "", errExpressionSize
		}
		return s, nil
	}
	return template.FuncMap{
		"default":  orDefault,
		"coalesce": coalesce,
		"ternary": func(yes, no any, cond bool) any {
			if cond {
				return yes
			}
			return no
		},
		"empty":      func(v any) bool { return v == nil || v == "" || v == false },
		"toString":   plain,
		"quote":      func(v any) (string, error) { return bound(string(quote(v))) },
		"squote":     func(v any) (string, error) { return bound("'" + strings.ReplaceAll(plain(v), "'", "''") + "'") },
		"upper":      func(v any) (string, error) { return bound(strings.ToUpper(plain(v))) },
		"lower":      func(v any) (string, error) { return bound(strings.ToLower(plain(v))) },
		"trim":       func(v any) string { return strings.TrimSpace(plain(v)) },
		"trimPrefix": func(prefix string, v any) string { return strings.TrimPrefix(plain(v), prefix) },
		"trimSuffix": func(suffix string, v any) string { return strings.TrimSuffix(plain(v), suffix) },
		"contains":   func(part string, v any) bool { return strings.Contains(plain(v), part) },
		"hasPrefix":  func(prefix string, v any) bool { return strings.HasPrefix(plain(v), prefix) },
		"hasSuffix":  func(suffix string, v any) bool { return strings.HasSuffix(plain(v), suffix) },
		"trunc":      trunc,
		"replace":    replaceAll,
		"b64enc":     func(v any) (string, error) { return bound(base64.StdEncoding.EncodeToString([]byte(plain(v)))) },
		"b64dec":     decodeBase64,
		"sha256sum": func(v any) string {
			sum := sha256.Sum256([]byte(plain(v)))
			return hex.EncodeToString(sum[:])
		},
	}
}

func coalesce(values ...any) any {
	for _, v := range values {
		if v != nil && v != "" {
			return v
		}
	}
	return nil
}

// trunc keeps the first n characters, or the last for a negative n.
func trunc(n int, v any) string {
	s := []rune(plain(v))
	switch {
	case n >= 0 && n < len(s):
		s = s[:n]
	case n < 0 && -n < len(s):
		s = s[len(s)+n:]
	}
	return string(s)
}

func replaceAll(old, with string, v any) (string, error) {
	s := plain(v)
	if n := strings.Count(s, old); len(s)+n*max(0, len(with)-len(old)) > maxExpressionBytes {
		return "", errExpressionSize
	}
	return strings.ReplaceAll(s, old, with), nil
}

func decodeBase64(v any) (string, error) {
	b, err := base64.StdEncoding.DecodeString(plain(v))
	if err != nil || !utf8.Valid(b) {
		return "", errors.New("b64dec: not the base64 of a text")
	}
	return string(b), nil
}
