// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Hub is what stands for the recorder's own places, names and secrets.
type Hub struct {
	Project  string // uid of the project Default
	Registry string // uid of the registry that the packs are from

	Tenant, Client, Secret      string // of a principal that Azure knows
	Subscription, Group, Region string
	SSHKey                      string

	Packs []Pack // that the hub offers
}

// Pack is one version of a pack.
type Pack struct{ Name, Version, UID string }

// The recorder's own names.
const (
	recordedProject  = "proj-default"
	recordedRegistry = "reg-public"
)

// recordedPacks are the recorder's, older versions after newer ones.
func recordedPacks() []Pack {
	out := []Pack{
		{Name: "ubuntu-azure", Version: "22.04"}, {Name: "kubernetes", Version: "1.32.3"}, {Name: "cni-calico-azure", Version: "3.29.2"},
		{Name: "csi-azure", Version: "1.31.2"}, {Name: "hello-universe", Version: "1.2.0"}, {Name: "hello-universe", Version: "1.1.0"},
	}
	for i := range out {
		out[i].UID = "pk-" + out[i].Name + "-" + out[i].Version
	}
	return out
}

// substitute is what the recorder's words become.
type substitute struct {
	words map[string]string            // whole strings, wherever they stand
	keys  map[string]map[string]string // whole strings that are a member's value; "" stands for any
	packs map[[2]string]Pack           // by recorded name and version
}

func newSubstitute(h *Hub) *substitute {
	anything := func(s string) map[string]string { return map[string]string{"": s} }
	s := &substitute{
		words: map[string]string{recordedProject: h.Project, recordedRegistry: h.Registry},
		keys: map[string]map[string]string{
			"tenantId": anything(h.Tenant), "clientId": anything(h.Client), "clientSecret": anything(h.Secret),
			"subscriptionId": anything(h.Subscription), "location": anything(h.Region), "sshKey": anything(h.SSHKey),
			"resourceGroup": anything(h.Group),
		},
		packs: map[[2]string]Pack{},
	}
	seen := map[string]bool{}
	for _, r := range recordedPacks() {
		offered := slices.DeleteFunc(slices.Clone(h.Packs), func(p Pack) bool { return p.Name != r.Name })
		if len(offered) == 0 {
			continue // the hub's answers will say what is missing
		}
		slices.SortFunc(offered, func(a, b Pack) int { return versions(a.Version, b.Version) })
		p := offered[len(offered)-1]
		if seen[r.Name] {
			p = offered[0]
		}
		if i := slices.IndexFunc(offered, func(o Pack) bool { return o.Version == r.Version }); i >= 0 {
			p = offered[i]
		}
		seen[r.Name] = true
		s.packs[[2]string{r.Name, r.Version}] = p
		s.words[r.UID] = p.UID
	}
	return s
}

// versions orders dotted numbers.
func versions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, _ := strconv.Atoi(as[i]) // what is no number is 0
		y, _ := strconv.Atoi(bs[i])
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

// body replaces in a body.
func (s *substitute) body(v any) any { return s.value("", v) }

func (s *substitute) value(key string, v any) any {
	switch v := v.(type) {
	case object:
		out := make(object, len(v))
		for k, e := range v {
			out[k] = s.value(k, e)
		}
		if p, is := s.packs[[2]string{text(v, "name"), text(v, "tag")}]; is {
			out["name"], out["tag"] = p.Name, p.Version
		}
		return out
	case list:
		out := make(list, 0, len(v))
		for _, e := range v {
			out = append(out, s.value(key, e))
		}
		return out
	case string:
		if to, is := s.keys[key][""]; is {
			return to
		}
		return s.word(v)
	default:
		return v
	}
}

func (s *substitute) word(w string) string {
	if to, is := s.words[w]; is {
		return to
	}
	return w
}

// path replaces whole segments.
func (s *substitute) path(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = s.word(parts[i])
	}
	return strings.Join(parts, "/")
}

var packTerms = regexp.MustCompile(`spec\.name=(.+?)ANDspec\.version=(.+?)(AND|$)`)

// query replaces the version of a pack in the filters of a list.
func (s *substitute) query(q string) string {
	values, err := url.ParseQuery(q)
	if err != nil {
		return q
	}
	if f := values.Get("filters"); f != "" {
		values.Set("filters", packTerms.ReplaceAllStringFunc(f, func(terms string) string {
			m := packTerms.FindStringSubmatch(terms)
			p, is := s.packs[[2]string{m[1], m[2]}]
			if !is {
				return terms
			}
			return "spec.name=" + p.Name + "ANDspec.version=" + p.Version + m[3]
		}))
	}
	return values.Encode()
}
