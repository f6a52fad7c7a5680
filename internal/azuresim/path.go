// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"strings"
)

// target is a parsed ARM path. Ids compare without case; the casing of the path is kept for the first writer.
type target struct {
	path         string // as written, without a trailing slash
	subscription string
	group        string
	scope        string   // what stands before the last "providers"
	namespace    string   // "" for paths without a provider
	types        []string // "virtualNetworks", "subnets"
	names        []string // as many as types for a resource, one less for a collection or an action
	rest         []string // segments that belong to no provider: "locations", "resources", "operationresults", id
}

func (t target) key() string { return strings.ToLower(t.path) }

// collection says that the path ends with a type (or an action) and not with a name.
func (t target) collection() bool { return len(t.types) > len(t.names) }

func (t target) typeName() string { return t.namespace + "/" + strings.Join(t.types, "/") }

func (t target) typeKey() string { return strings.ToLower(t.typeName()) }

func (t target) name() string {
	if len(t.names) == 0 {
		return ""
	}
	return t.names[len(t.names)-1]
}

// groupID is the id of the resource group in ARM's own casing of the keywords.
func (t target) groupID() string {
	return "/subscriptions/" + t.subscription + "/resourceGroups/" + t.group
}

func (t target) subscriptionID() string { return "/subscriptions/" + t.subscription }

// parent cuts the last type and name (or the last type of a collection).
func (t target) parent() target {
	cut := 2
	if t.collection() {
		cut = 1
	}
	segs := strings.Split(t.path, "/")
	p := t
	p.path = strings.Join(segs[:len(segs)-cut], "/")
	p.types = t.types[:len(t.types)-1]
	p.names = t.names[:len(p.types)]
	return p
}

func parsePath(path string) target {
	path = "/" + strings.Trim(path, "/")
	t := target{path: path}
	segs := strings.Split(path[1:], "/")
	last := -1
	for i, s := range segs {
		if strings.EqualFold(s, "providers") {
			last = i
		}
	}
	head := segs
	if last >= 0 {
		head = segs[:last]
		t.scope = "/" + strings.Join(head, "/")
		if last+1 < len(segs) {
			t.namespace = segs[last+1]
			for i, s := range segs[last+2:] {
				if i%2 == 0 {
					t.types = append(t.types, s)
				} else {
					t.names = append(t.names, s)
				}
			}
		} else {
			t.rest = []string{"providers"}
		}
	}
	if len(head) >= 2 && strings.EqualFold(head[0], "subscriptions") {
		t.subscription = head[1]
		head = head[2:]
		if len(head) >= 2 && strings.EqualFold(head[0], "resourceGroups") {
			t.group = head[1]
			head = head[2:]
		}
	}
	if last < 0 {
		t.rest = head
	}
	return t
}
