// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// echo says how what was written may differ from what is read.
type echo struct {
	trimmed  []string // names of members whose outer white space is nothing
	exact    []string // names of members where an empty list is not an absent one
	computed []string // paths of members that a hub may add
}

// compare names where got is not what was sent. To the client, absent, null,
// false, 0, "", the zero time and an empty list or object are one: it reads
// them all into Go's zero value.
func (e echo) compare(path string, sent, got any) []string {
	var out []string
	e.value(path, sent, got, &out)
	return out
}

func (e echo) value(path string, sent, got any, out *[]string) {
	name := path[strings.LastIndexByte(path, '.')+1:]
	if slices.Contains(e.exact, name) {
		if _, is := sent.(list); is != isList(got) {
			*out = append(*out, fmt.Sprintf("%s reads %s, written was %s", path, show(got), show(sent)))
			return
		}
	}
	if zero(sent) && zero(got) {
		return
	}
	switch s := sent.(type) {
	case object:
		e.object(path, s, got, out)
	case list:
		e.list(path, s, got, out)
	default:
		if !e.same(name, sent, got) {
			*out = append(*out, fmt.Sprintf("%s reads %s, written was %s", path, show(got), show(sent)))
		}
	}
}

func (e echo) object(path string, sent object, got any, out *[]string) {
	g, _ := got.(object)
	for _, k := range slices.Sorted(maps.Keys(sent)) {
		e.value(path+"."+k, sent[k], g[k], out)
	}
	for _, k := range slices.Sorted(maps.Keys(g)) {
		if _, was := sent[k]; !was && !zero(g[k]) && !slices.Contains(e.computed, path+"."+k) {
			*out = append(*out, fmt.Sprintf("%s.%s reads %s, which nobody wrote", path, k, show(g[k])))
		}
	}
}

func (e echo) list(path string, sent list, got any, out *[]string) {
	g, _ := got.(list)
	if len(g) != len(sent) {
		*out = append(*out, fmt.Sprintf("%s has %d entries, written were %d: %s for %s", path, len(g), len(sent), show(got), show(sent)))
		return
	}
	for i := range sent {
		e.value(path+"[]", sent[i], g[i], out)
	}
}

func (e echo) same(name string, sent, got any) bool {
	if slices.Contains(e.trimmed, name) {
		s, _ := sent.(string)
		g, _ := got.(string)
		return strings.TrimSpace(s) == strings.TrimSpace(g)
	}
	return sent == got
}

func isList(v any) bool {
	_, is := v.(list)
	return is
}

// zero reports whether the client reads a value as if it were not there.
func zero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case json.Number:
		f, err := v.Float64()
		return err == nil && f == 0
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return t.IsZero()
		}
		return v == ""
	case list:
		return len(v) == 0
	case object:
		for _, e := range v {
			if !zero(e) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// shown bounds how much of a value a fault repeats.
const shown = 300

func show(v any) string {
	if v == nil {
		return "nothing"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if len(b) > shown {
		return string(b[:shown]) + "…"
	}
	return string(b)
}
