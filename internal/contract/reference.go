// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// Markdown renders the document as docs/api.md: what is served, what is not,
// and the shapes of all bodies.
func (c *Contract) Markdown() string {
	var b strings.Builder
	b.WriteString(`# The API

This page is generated from ` + "`internal/contract/openapi.yaml`" + `, which a running hub serves at ` + "`/lazuli/v1/openapi.yaml`" + `.
Paths under ` + "`/v1`" + ` speak Palette's wire protocol, so its Terraform provider and SDKs work unchanged; ` + "`/lazuli/v1`" + ` is our own.
Send an API key in the header ` + "`ApiKey`" + `, or the token of ` + "`/v1/auth/authenticate`" + ` in ` + "`Authorization`" + `. Errors are in [errors.md](errors.md).
`)
	byTag := map[string][]Operation{}
	for _, op := range c.all {
		byTag[op.Tag] = append(byTag[op.Tag], op)
	}
	for _, tag := range slices.Sorted(maps.Keys(byTag)) {
		fmt.Fprintf(&b, "\n## %s\n\n| Method and path | What it does | Body | Answer |\n|---|---|---|---|\n", tag)
		for _, op := range byTag[tag] {
			spec := c.byID[op.ID]
			fmt.Fprintf(&b, "| `%s %s` | %s | %s | %d%s |\n", op.Method, op.Path, spec.Summary,
				schemaName(c.requestSchema(op.ID)), op.Status, answerName(spec, op.Status))
		}
	}
	c.unserved(&b)
	c.shapes(&b)
	return b.String()
}

func answerName(op *openapi3.Operation, status int) string {
	res := op.Responses.Status(status)
	if res == nil {
		return ""
	}
	for _, kind := range slices.Sorted(maps.Keys(res.Value.Content)) {
		if kind != "application/json" {
			return " " + kind
		}
		if n := schemaName(res.Value.Content[kind].Schema); n != "" {
			return " " + n
		}
	}
	return ""
}

func schemaName(ref *openapi3.SchemaRef) string {
	switch {
	case ref == nil:
		return ""
	case ref.Ref != "":
		return ref.Ref[strings.LastIndexByte(ref.Ref, '/')+1:]
	case ref.Value.Type.Is(openapi3.TypeArray) && ref.Value.Items != nil:
		return "list of " + schemaName(ref.Value.Items)
	case ref.Value.AdditionalProperties.Schema != nil:
		return "map of " + schemaName(ref.Value.AdditionalProperties.Schema)
	case ref.Value.Format != "":
		return ref.Value.Format
	case ref.Value.Type == nil || len(*ref.Value.Type) == 0:
		return "any"
	default:
		return (*ref.Value.Type)[0]
	}
}

func (c *Contract) unserved(b *strings.Builder) {
	groups := map[string]int{}
	total := 0
	for _, op := range Operations() {
		if c.byID[op.ID] == nil {
			groups[strings.Join(strings.SplitN(op.Path, "/", 4)[:3], "/")]++
			total++
		}
	}
	fmt.Fprintf(b, "\n## What is not served\n\n%d of Palette's %d operations answer 400 with the code `OperationNotServed` and their name.\n\n"+
		"| Under | Operations |\n|---|---|\n", total, len(Operations()))
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		fmt.Fprintf(b, "| `%s` | %d |\n", g, groups[g])
	}
}

// shapes lists the members of every named schema; a star is for what must be
// there.
func (c *Contract) shapes(b *strings.Builder) {
	b.WriteString("\n## Shapes\n\nA star marks what must be there.\n\n")
	for _, name := range slices.Sorted(maps.Keys(c.doc.Components.Schemas)) {
		s := c.doc.Components.Schemas[name].Value
		fmt.Fprintf(b, "- **%s**", name)
		if s.Description != "" {
			fmt.Fprintf(b, " – %s", s.Description)
		}
		if text := members(s); text != "" {
			fmt.Fprintf(b, "  \n  %s", text)
		}
		b.WriteByte('\n')
	}
}

func members(s *openapi3.Schema) string {
	if len(s.Properties) == 0 {
		return strings.TrimSpace(schemaName(&openapi3.SchemaRef{Value: s}) + choices(s))
	}
	out := make([]string, 0, len(s.Properties))
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		star := ""
		if slices.Contains(s.Required, name) {
			star = "*"
		}
		p := s.Properties[name]
		text := schemaName(p)
		if p.Ref == "" && len(p.Value.Properties) > 0 {
			text = "{ " + members(p.Value) + " }"
		}
		out = append(out, "`"+name+"`"+star+": "+text+choices(p.Value))
	}
	return strings.Join(out, ", ")
}

func choices(s *openapi3.Schema) string {
	if len(s.Enum) == 0 {
		return ""
	}
	out := make([]string, 0, len(s.Enum))
	for _, e := range s.Enum {
		out = append(out, fmt.Sprint(e))
	}
	return " (" + strings.Join(out, ", ") + ")"
}
