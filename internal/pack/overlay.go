// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// HasExpression reports whether a text may have expressions in it.
func HasExpression(text string) bool { return hasMacro(text) }

// OverlayText lays one text of values over another as MergeValues does, and
// keeps the expressions of both as they are written. Where override says all
// that base does, it comes back as it is.
func OverlayText(base, override string) (string, error) {
	var marks marks
	under, err := marks.parse(base)
	if err != nil {
		return "", fmt.Errorf("read base values: %w", err)
	}
	over, err := marks.parse(override)
	if err != nil {
		return "", fmt.Errorf("read values: %w", err)
	}
	alone, err := marks.write(overlay(&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, over))
	if err != nil {
		return "", err
	}
	merged, err := marks.write(overlay(under, over))
	if err != nil || merged == alone {
		return override, err
	}
	return merged, nil
}

// marks stand for the expressions of several texts.
type marks struct {
	prefix  string
	sources []string
}

// parse reads a YAML map with marks for its expressions. Those in quotes get
// their text back at once: the encoder knows how to write them.
func (m *marks) parse(text string) (*yaml.Node, error) {
	actions, err := findActions(text)
	if err != nil {
		return nil, err
	}
	f := filler{actions: actions}
	marked := f.mark(text)
	nodes, err := parseNodes(marked)
	switch {
	case err != nil:
		return nil, err
	case len(nodes) == 0 || len(nodes) == 1 && len(nodes[0].Content) == 1 && nodes[0].Content[0].Tag == "!!null":
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, nil
	case len(nodes) > 1 || len(nodes[0].Content) != 1 || nodes[0].Content[0].Kind != yaml.MappingNode:
		return nil, errors.New("not one YAML map")
	}
	root := nodes[0].Content[0]
	offset := len(m.sources)
	for _, a := range actions {
		m.sources = append(m.sources, text[a.from:a.to])
	}
	if m.prefix == "" {
		m.prefix = f.prefix
	}
	return root, m.restore(root, f.prefix, offset)
}

// restore renumbers the marks of a text, and puts the expressions back into
// quoted scalars.
func (m *marks) restore(n *yaml.Node, prefix string, offset int) error {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Kind == yaml.AliasNode {
		return errors.New("aliases cannot be merged beside expressions; write the values out")
	}
	if n.Anchor != "" {
		n.Anchor = ""
	}
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	for i := offset; i < len(m.sources) && n.Kind == yaml.ScalarNode; i++ {
		with := m.name(i)
		if n.Style&quoted != 0 {
			with = m.sources[i]
		}
		n.Value = strings.ReplaceAll(n.Value, fmt.Sprintf("%s%dX", prefix, i-offset), with)
	}
	for _, c := range n.Content {
		if err := m.restore(c, prefix, offset); err != nil {
			return err
		}
	}
	return nil
}

func (m *marks) name(i int) string { return fmt.Sprintf("%s%dY", m.prefix, i) }

// write encodes a map and puts the expressions back that stand without quotes.
func (m *marks) write(n *yaml.Node) (string, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(yamlIndent)
	if err := enc.Encode(n); err != nil {
		return "", fmt.Errorf("write YAML: %w", err)
	}
	if err := enc.Close(); err != nil {
		return "", fmt.Errorf("write YAML: %w", err)
	}
	text := out.String()
	for i, s := range m.sources {
		text = strings.ReplaceAll(text, m.name(i), s)
	}
	return text, nil
}

// overlay merges maps key by key; null deletes.
func overlay(under, over *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: slices.Clone(under.Content)}
	for i := 0; i+1 < len(over.Content); i += 2 {
		key, value := over.Content[i], over.Content[i+1]
		at := -1
		for k := 0; k+1 < len(out.Content); k += 2 {
			if out.Content[k].Value == key.Value {
				at = k
			}
		}
		switch {
		case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
			if at >= 0 {
				out.Content = slices.Delete(out.Content, at, at+2)
			}
		case value.Kind == yaml.MappingNode:
			below := &yaml.Node{Kind: yaml.MappingNode}
			if at >= 0 && out.Content[at+1].Kind == yaml.MappingNode {
				below = out.Content[at+1]
			}
			value = overlay(below, value)
			fallthrough
		default:
			if at >= 0 {
				out.Content[at+1] = value
			} else {
				out.Content = append(out.Content, key, value)
			}
		}
	}
	return out
}
