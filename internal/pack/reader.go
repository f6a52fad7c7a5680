// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// reader takes typed values out of a layer's map and notes what is wrong with
// them, so that a user sees every finding at once.
type reader struct {
	path   string // of the values
	values map[string]any
	found  Findings
}

func (r *reader) add(key, format string, args ...any) {
	r.found = append(r.found, FieldError{r.path + "." + key, CodeValuesInvalid, key + ": " + fmt.Sprintf(format, args...)})
}

func (r *reader) get(key string) (any, bool) {
	v, ok := lookup(r.values, key)
	if !ok || v == nil {
		r.add(key, "is missing")
		return nil, false
	}
	return v, true
}

func (r *reader) string(key string) string {
	v, ok := r.get(key)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		r.add(key, "%v is not a string; write it in quotes", v)
	}
	return s
}

func (r *reader) stringOr(key, def string) string {
	if s := r.string(key); s != "" {
		return s
	}
	return def
}

func (r *reader) matching(key string, pattern *regexp.Regexp, want string) string {
	before := len(r.found)
	s := r.string(key)
	if len(r.found) == before && !pattern.MatchString(s) {
		r.add(key, "%q is not %s", s, want)
	}
	return s
}

func (r *reader) oneOf(key string, allowed ...string) string {
	before := len(r.found)
	s := r.string(key)
	if len(r.found) == before && !slices.Contains(allowed, s) {
		r.add(key, "%q is not one of %s", s, strings.Join(allowed, ", "))
	}
	return s
}

func (r *reader) boolean(key string) bool {
	v, ok := r.get(key)
	if !ok {
		return false
	}
	b, ok := v.(bool)
	if !ok {
		r.add(key, "%v is neither true nor false", v)
	}
	return b
}

func (r *reader) integer(key string, low, high int64) {
	v, ok := r.get(key)
	if !ok {
		return
	}
	n, isNumber := v.(json.Number)
	i, err := n.Int64()
	if !isNumber || err != nil || i < low || i > high {
		r.add(key, "%v is not a whole number from %d to %d", v, low, high)
	}
}

func (r *reader) strings(key string) []string {
	v, ok := r.get(key)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		r.add(key, "%v is not a list", v)
		return nil
	}
	var out []string
	for _, item := range list {
		s, ok := item.(string)
		if !ok || s == "" {
			r.add(key, "%v is not a string", item)
			continue
		}
		out = append(out, s)
	}
	return out
}

// prefix reads an IPv4 range whose prefix has from low to high bits.
func (r *reader) prefix(key string, low, high int) string {
	before := len(r.found)
	s := r.string(key)
	if len(r.found) > before {
		return ""
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || !p.Addr().Is4():
		r.add(key, "%q is not an IPv4 range such as 192.168.0.0/16", s)
	case p != p.Masked():
		r.add(key, "%q has bits beyond its prefix; %s was meant", s, p.Masked())
	case p.Bits() < low || p.Bits() > high:
		r.add(key, "%q: the prefix must have %d to %d bits", s, low, high)
	default:
		return s
	}
	return ""
}

// url reads an optional base URL and returns it without a trailing slash.
func (r *reader) url(key string) string {
	s := r.string(key)
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" {
		r.add(key, "it has to be a base URL such as https://mirror.example.com, without credentials or a query")
		return ""
	}
	return strings.TrimRight(s, "/")
}
