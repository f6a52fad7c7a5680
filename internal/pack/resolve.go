// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lazuli-dev/lazuli"
)

// Scope is what expressions may refer to beside variables and packs.
type Scope struct {
	Macros map[string]string // see MergeMacros
	System map[string]string // without "system.", such as cluster.name
}

// ScopedProfile is a profile of a cluster with the values of its variables.
type ScopedProfile struct {
	lazuli.ProfileSnapshot

	Values map[string]string // see EffectiveValues
}

// MergeMacros lays the macros of scopes over each other, the last on top.
func MergeMacros(scopes ...[]lazuli.Macro) map[string]string {
	out := map[string]string{}
	for _, macros := range scopes {
		for _, m := range macros {
			out[m.Name] = m.Value
		}
	}
	return out
}

// ResolveProfiles replaces the expressions in the values and manifests of all
// profiles of a cluster: {{.spectro.var.NAME}} of the profile's own variables,
// {{.spectro.macro.NAME}}, {{.spectro.system.NAME}} and, in values and manifests,
// {{.spectro.pack.PACK.PATH}} of any pack of the cluster. It changes nothing of
// what it was given: what is resolved is deployed and never stored.
//
// A value can fill the place where its expression stands and no more: the text is
// read as YAML first, and only scalars are filled. An expression alone and
// without quotes may become a number or a boolean; everything else is a string.
// What was filled in is not looked at again, so that a value never becomes an
// expression.
//
// Errors: lazuli.CodeVariablesUndefined names pack and variable;
// lazuli.CodeInvalidField everything else, with pack and expression.
func (r *Registry) ResolveProfiles(profiles []ScopedProfile, s Scope) ([]lazuli.ProfileSnapshot, error) {
	infra := infraOf(profiles)
	if v := r.kubernetesOf(profiles); v != "" {
		s.System = maps.Clone(s.System)
		if s.System == nil {
			s.System = map[string]string{}
		}
		s.System["kubernetes.version"] = v
	}
	finders := make([]lookupFunc, len(profiles))
	// What packs may be asked for is what they are without such questions of their
	// own, so that there are no circles.
	first := make([]lazuli.ProfileSnapshot, len(profiles))
	for i, p := range profiles {
		first[i].Layers = slices.Clone(p.Layers)
		finders[i] = s.lookup(p, infra)
		for k := range first[i].Layers {
			if err := resolveLayer(&first[i].Layers[k], finders[i], false); err != nil {
				return nil, inProfile(p.Name, err)
			}
		}
	}
	values := r.packValues(first)
	out := make([]lazuli.ProfileSnapshot, len(profiles))
	for i, p := range profiles {
		out[i] = p.ProfileSnapshot
		out[i].Layers = slices.Clone(p.Layers)
		for k := range out[i].Layers {
			find := func(ref reference) (any, error) {
				if ref.namespace == refPack {
					return values(ref.name)
				}
				return finders[i](ref)
			}
			if err := resolveLayer(&out[i].Layers[k], find, true); err != nil {
				return nil, inProfile(p.Name, err)
			}
		}
	}
	return out, nil
}

func inProfile(name string, err error) error {
	if e, ok := errors.AsType[*lazuli.Error](err); ok && name != "" {
		e.Message = fmt.Sprintf("profile %q: %s", name, e.Message)
	}
	return err
}

// kubernetesOf is the version of Kubernetes of the profiles.
func (r *Registry) kubernetesOf(profiles []ScopedProfile) string {
	for _, p := range profiles {
		for _, l := range p.Layers {
			if b, err := r.find(l.Name, l.Tag, l.PackUID); err == nil && layerType(l) == TypeSpectro && b.Layer == LayerK8s {
				return b.Version
			}
		}
	}
	return ""
}

func infraOf(profiles []ScopedProfile) ScopedProfile {
	for _, p := range profiles {
		if p.Type != ProfileAddon {
			return p
		}
	}
	return ScopedProfile{}
}

// lookup finds what is known without the packs.
func (s Scope) lookup(p, infra ScopedProfile) lookupFunc {
	own := map[string]string{
		"clusterprofile.name": p.Name, "clusterprofile.uid": p.UID, "clusterprofile.version": p.ProfileVersion,
		"clusterprofile.infra.name": infra.Name, "clusterprofile.infra.uid": infra.UID,
		"clusterprofile.infra.version": infra.ProfileVersion,
	}
	return func(ref reference) (any, error) {
		var v string
		var ok bool
		switch ref.namespace {
		case refVariable:
			v, ok = p.Values[ref.name]
		case refMacro:
			v, ok = s.Macros[ref.name]
		case refSystem:
			if v, ok = own[ref.name]; !ok || v == "" {
				v, ok = s.System[ref.name]
			}
		}
		if !ok {
			return nil, errUndefined
		}
		return v, nil
	}
}

// packValues finds values of packs, by the name of the layer and the path.
func (r *Registry) packValues(profiles []lazuli.ProfileSnapshot) func(string) (any, error) {
	merged := map[string]map[string]any{}
	return func(name string) (any, error) {
		layer, path, _ := strings.Cut(name, ".")
		values, known := merged[layer]
		for _, p := range profiles {
			for _, l := range p.Layers {
				if known || l.Name != layer {
					continue
				}
				known = true
				base := ""
				if b, err := r.find(l.Name, l.Tag, l.PackUID); err == nil && layerType(l) == TypeSpectro {
					base = b.Values
				}
				var err error
				if values, err = MergeValues(base, l.Values); err != nil {
					return nil, fmt.Errorf("values of pack %q: %w", layer, err)
				}
				merged[layer] = values
			}
		}
		v, ok := lookup(values, path)
		text := plain(v)
		switch v.(type) {
		case map[string]any, []any:
			return nil, errors.New("is a map or a list, not one value")
		}
		if !ok || hasMacro(text) {
			return "", nil // undefined is its default, or empty
		}
		return v, nil
	}
}

// resolveLayer fills the expressions of a layer. Without all, those that refer to
// a pack are left for later.
func resolveLayer(l *lazuli.Layer, find lookupFunc, all bool) error {
	var err error
	if l.Values, err = fill(l.Values, find, all); err != nil {
		return resolveError(l.Name, "values", err)
	}
	cloned := false
	for i, m := range l.Manifests {
		text, err := fill(m.Content, find, all)
		if err != nil {
			return resolveError(l.Name, fmt.Sprintf("manifest %q", m.Name), err)
		}
		if text == m.Content {
			continue
		}
		if !cloned {
			l.Manifests, cloned = slices.Clone(l.Manifests), true
		}
		l.Manifests[i].Content = text
	}
	return nil
}

func resolveError(layer, where string, err error) error {
	code := lazuli.CodeInvalidField
	if errors.Is(err, errUndefined) && strings.HasPrefix(err.Error(), reference{refVariable, ""}.String()) {
		code = lazuli.CodeVariablesUndefined
	}
	return &lazuli.Error{Code: code, Message: fmt.Sprintf("%s of pack %q: %v", where, layer, err)}
}

// fill replaces the expressions of a YAML text. A text without any comes back as
// it is.
func fill(text string, find lookupFunc, all bool) (string, error) {
	actions, err := findActions(text)
	if err != nil || len(actions) == 0 {
		return text, err
	}
	if !all {
		actions = slices.DeleteFunc(actions, func(a action) bool {
			return slices.ContainsFunc(a.refs, func(r reference) bool { return r.namespace == refPack })
		})
	}
	if len(actions) == 0 {
		return text, nil
	}
	f := filler{actions: actions, find: find}
	marked := f.mark(text)
	docs, err := parseNodes(marked)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(yamlIndent)
	for _, doc := range docs {
		if err := f.walk(doc); err != nil {
			return "", err
		}
		if len(docs) > 1 && doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 && doc.Content[0].Tag == "!!null" {
			continue
		}
		if err := enc.Encode(doc); err != nil {
			return "", fmt.Errorf("write YAML: %w", err)
		}
	}
	if err := enc.Close(); err != nil {
		return "", fmt.Errorf("write YAML: %w", err)
	}
	if strings.Contains(out.String(), f.prefix) {
		return "", errors.New("an expression stands where no value can be, such as in the name of an anchor")
	}
	return out.String(), nil
}

const yamlIndent = 2

// filler puts the results of expressions in place of marks.
type filler struct {
	actions []action
	find    lookupFunc
	prefix  string // of the marks; the text does not contain it
	results []string
	done    []bool
}

// mark replaces the expressions by words that YAML takes as they are wherever a
// scalar can be.
func (f *filler) mark(text string) string {
	sum := sha256.Sum256([]byte(text))
	for n := 8; ; n++ {
		f.prefix = "LZ" + hex.EncodeToString(sum[:])[:min(n, 2*len(sum))] + "X"
		if !strings.Contains(text, f.prefix) || n > 2*len(sum) {
			break
		}
	}
	f.results, f.done = make([]string, len(f.actions)), make([]bool, len(f.actions))
	var b strings.Builder
	at := 0
	for i, a := range f.actions {
		b.WriteString(text[at:a.from])
		fmt.Fprintf(&b, "%s%dX", f.prefix, i)
		at = a.to
	}
	b.WriteString(text[at:])
	return b.String()
}

func (f *filler) walk(n *yaml.Node) error {
	for _, comment := range []*string{&n.HeadComment, &n.LineComment, &n.FootComment} {
		if strings.Contains(*comment, f.prefix) {
			*comment = "" // what is in a comment has no effect
		}
	}
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, f.prefix) {
		return f.scalar(n)
	}
	for _, c := range n.Content {
		if err := f.walk(c); err != nil {
			return err
		}
	}
	return nil
}

// scalar fills one scalar.
func (f *filler) scalar(n *yaml.Node) error {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	var b strings.Builder
	alone := false
	for rest := n.Value; ; {
		before, after, ok := strings.Cut(rest, f.prefix)
		b.WriteString(before)
		if !ok {
			break
		}
		number, behind, _ := strings.Cut(after, "X")
		var i int
		if _, err := fmt.Sscanf(number, "%d", &i); err != nil || i < 0 || i >= len(f.actions) {
			return fmt.Errorf("read the mark %q: %w", clip(number), err)
		}
		result, err := f.result(i)
		if err != nil {
			return err
		}
		alone = rest == n.Value && before == "" && behind == ""
		b.WriteString(result)
		rest = behind
	}
	n.Value = b.String()
	if len(n.Value) > maxYAMLBytes {
		return errTooLarge
	}
	if n.Style&quoted != 0 {
		return nil
	}
	n.Tag, n.Style = "!!str", yaml.DoubleQuotedStyle
	if alone && literalTag(n.Value) {
		n.Tag, n.Style = "", 0
	}
	return nil
}

// jsonNumber leaves out what YAML reads in surprising ways, such as 0644.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$`)

// literalTag reports whether text is a number or a boolean for YAML.
func literalTag(text string) bool {
	return text == "true" || text == "false" || jsonNumber.MatchString(text)
}

func (f *filler) result(i int) (string, error) {
	if f.done[i] {
		return f.results[i], nil
	}
	var err error
	f.results[i], err = f.actions[i].evaluate(f.find)
	f.done[i] = err == nil
	return f.results[i], err
}

// References are the names that a layer's expressions refer to, sorted, such as
// var.port. An error is about an expression that cannot be read.
func References(l lazuli.Layer) ([]string, error) {
	seen := map[string]bool{}
	texts := []string{l.Values}
	for _, m := range l.Manifests {
		texts = append(texts, m.Content)
	}
	for _, text := range texts {
		_, err := fill(text, func(r reference) (any, error) {
			seen[r.namespace+"."+r.name] = true
			return "", nil
		}, true)
		if err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}
