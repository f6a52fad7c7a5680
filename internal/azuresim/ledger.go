// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// CallCount is how often something was called.
type CallCount struct {
	Principal string `json:"principal"` // client id
	Class     string `json:"class"`     // read, write, delete, poll, token
	Type      string `json:"type"`      // resource type
	// Cluster is the value of Config.AccountingTag on the resource; "" when it has none, and for lists.
	Cluster string `json:"cluster"`
	Count   int    `json:"count"`
	// Errors are answers of 400 and above; Throttled those of 429; Early the calls on a bucket before the time that its
	// last Retry-After named.
	Errors    int `json:"errors"`
	Throttled int `json:"throttled"`
	Early     int `json:"early"`
}

type ledger struct{ rows map[string]*CallCount }

func newLedger() *ledger { return &ledger{rows: map[string]*CallCount{}} }

func (l *ledger) add(c *call, code int) {
	client := ""
	if c.principal != nil {
		client = c.principal.ClientID
	}
	key := strings.Join([]string{client, c.class, c.typ, c.cluster}, "\x00")
	row := l.rows[key]
	if row == nil {
		row = &CallCount{Principal: client, Class: c.class, Type: c.typ, Cluster: c.cluster}
		l.rows[key] = row
	}
	row.Count++
	if code >= http.StatusBadRequest {
		row.Errors++
	}
	if c.throttled {
		row.Throttled++
	}
	if c.early {
		row.Early++
	}
}

// Calls is the accounting since the start or the last Reset, ordered by cluster, principal, class and type.
func (s *Simulator) Calls() []CallCount {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]CallCount, 0, len(s.calls.rows))
	for _, r := range s.calls.rows {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b CallCount) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Principal, b.Principal),
			cmp.Compare(a.Class, b.Class), cmp.Compare(a.Type, b.Type))
	})
	return out
}

// Reset starts the accounting anew. It changes nothing else.
func (s *Simulator) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = newLedger()
}

// accountType names what a call is about, and finds the cluster that it is for.
func (c *call) accountType() string {
	s := c.sim
	tag := func(o object) string { return tagsOf(o)[s.cfg.AccountingTag] }
	if id := c.pollID(); id != "" {
		c.class = classPoll
		if op := s.ops[id]; op != nil {
			c.cluster = op.cluster
			return op.typ
		}
		return "operations"
	}
	if c.target.namespace == "" {
		if c.target.group != "" && len(c.target.rest) == 0 {
			return groupType
		}
		return "Microsoft.Resources/" + strings.Join(c.target.rest, "/")
	}
	if s.cfg.AccountingTag != "" {
		c.cluster = tag(c.body)
		if r := s.store.owner(c.target.path); c.cluster == "" && r != nil {
			c.cluster = tag(r.body)
		}
	}
	types := slices.Clone(c.target.types)
	if k := s.kinds[keyOf(c.target.typeName())]; k != nil {
		return k.typ
	}
	if c.target.collection() && c.class == classRead && len(types) > 1 && strings.EqualFold(types[0], "locations") {
		return c.target.namespace + "/locations/" + types[len(types)-1]
	}
	return c.target.namespace + "/" + strings.Join(types, "/")
}
