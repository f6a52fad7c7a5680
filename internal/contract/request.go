// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// maxFaults bounds what one request is told.
const maxFaults = 100

// reading reads a request against its schema as the wire's clients do, which
// the library's visitor cannot: see the package doc.
type reading struct {
	faults []Fault // what speaks against it
	// dropped says that members were taken out which the schema does not name.
	dropped bool
}

func (f *reading) add(path, format string, args ...any) {
	if len(f.faults) < maxFaults {
		f.faults = append(f.faults, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

// check holds a value that is not null against a schema.
func (f *reading) check(path string, s *openapi3.Schema, v any) {
	if s == nil {
		return
	}
	switch {
	case s.Type.Is(openapi3.TypeObject):
		f.object(path, s, v)
	case s.Type.Is(openapi3.TypeArray):
		f.array(path, s, v)
	case s.Type.Is(openapi3.TypeString):
		f.text(path, s, v)
	case s.Type.Is(openapi3.TypeInteger), s.Type.Is(openapi3.TypeNumber):
		f.number(path, s, v)
	case s.Type.Is(openapi3.TypeBoolean):
		if _, ok := v.(bool); !ok {
			f.add(path, "is %s, where true or false is needed", kindOf(v))
		}
	}
}

func (f *reading) object(path string, s *openapi3.Schema, v any) {
	o, ok := v.(map[string]any)
	if !ok {
		f.add(path, "is %s, where an object is needed", kindOf(v))
		return
	}
	for _, name := range s.Required {
		p := s.Properties[name]
		if given, there := o[name]; (!there || given == nil) && (p == nil || !p.Value.Type.Is(openapi3.TypeArray)) {
			f.add(join(path, name), "is missing")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		switch p := s.Properties[name]; {
		case p == nil && closed(s):
			delete(o, name)
			f.dropped = true
		case o[name] == nil:
		case p != nil:
			f.check(join(path, name), p.Value, o[name])
		case s.AdditionalProperties.Schema != nil:
			f.check(join(path, name), s.AdditionalProperties.Schema.Value, o[name])
		}
	}
}

func (f *reading) array(path string, s *openapi3.Schema, v any) {
	list, ok := v.([]any)
	if !ok {
		f.add(path, "is %s, where a list is needed", kindOf(v))
		return
	}
	if s.Items == nil {
		return
	}
	for i, item := range list {
		at := path + "[" + strconv.Itoa(i) + "]"
		if item == nil {
			f.add(at, "is null")
			continue
		}
		f.check(at, s.Items.Value, item)
	}
}

// timePattern is what answers are held to: what was stored as it was sent is
// answered so, and clients refuse what they cannot read.
var timePattern = regexp.MustCompile(openapi3.FormatOfStringDateTime)

func (f *reading) text(path string, s *openapi3.Schema, v any) {
	t, ok := v.(string)
	if !ok {
		f.add(path, "is %s, where a string is needed", kindOf(v))
		return
	}
	if s.Format == "date-time" && !timePattern.MatchString(t) {
		f.add(path, "%q is no time of the form 2026-11-27T12:00:00Z", shorten(t))
		return
	}
	if t == "" || len(s.Enum) == 0 || slices.Contains(s.Enum, any(t)) {
		return
	}
	names := make([]string, 0, len(s.Enum))
	for _, e := range s.Enum {
		names = append(names, fmt.Sprint(e))
	}
	f.add(path, "%q is none of %s", shorten(t), strings.Join(names, ", "))
}

func (f *reading) number(path string, s *openapi3.Schema, v any) {
	n, ok := v.(json.Number)
	if !ok {
		f.add(path, "is %s, where a number is needed", kindOf(v))
		return
	}
	if !s.Type.Is(openapi3.TypeInteger) {
		if _, err := n.Float64(); err != nil {
			f.add(path, "%s is out of range", shorten(n.String()))
		}
		return
	}
	if _, err := strconv.ParseInt(n.String(), 10, size(s.Format)); err != nil {
		f.add(path, "%s is not a whole number of %d bits", shorten(n.String()), size(s.Format))
	}
}

// size is how many bits an integer has on the wire.
func size(format string) int {
	if format == "int32" {
		return 32
	}
	return 64
}

func join(path, name string) string {
	if path == "" {
		return shorten(name)
	}
	return path + "." + shorten(name)
}

func kindOf(v any) string {
	switch v.(type) {
	case bool:
		return "a bool"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	case nil:
		return "null"
	default:
		return "an object"
	}
}

const shortText = 200

func shorten(s string) string {
	if len(s) <= shortText {
		return s
	}
	return s[:shortText] + "…"
}
