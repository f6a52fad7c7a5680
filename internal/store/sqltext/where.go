// SPDX-License-Identifier: Apache-2.0

package sqltext

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

const (
	maxDepth = 8      // of an expression
	maxArgs  = 10_000 // of a statement; both databases take more
)

// column is what a Field is compared and sorted by.
type column struct {
	name   string
	exact  string // of the same text with its case, where name holds folded text
	micros bool   // holds a time
}

func columnOf(f store.Field, listed bool) (column, bool) {
	switch f {
	case store.FieldUID, store.FieldProject, store.FieldOwner, store.FieldState:
		return column{name: string(f)}, true
	case store.FieldHealth:
		return column{name: string(f)}, listed
	case store.FieldName:
		return column{name: "name_folded", exact: "name"}, true
	case store.FieldCreated, store.FieldUpdated:
		return column{name: string(f), micros: true}, true
	default:
		return column{}, false
	}
}

type builder struct {
	conds  []string
	args   []any
	listed bool
	// walks is that rows are to be found in the order of an index on the column
	// along: a condition on another column is a look at each row, so that
	// SQLite, which takes any equality for a rare one, does not sort thousands
	// of rows that have a state in common.
	walks  bool
	along  string
	common func(Statement) bool
	// apart is that what is rendered now need not hold for every row found: it is
	// one of several, or what must not hold.
	apart bool
	// few is that every row found has a rare label or facet: such rows are fetched
	// by their uids and sorted then, which is less than to walk past all that lie
	// between them.
	few bool
	// volatile is that a condition is on what every update changes.
	volatile bool
}

func (b *builder) add(cond string) { b.conds = append(b.conds, cond) }

func (b *builder) text() string { return strings.Join(b.conds, " and ") }

func (b *builder) arg(v any) string {
	b.args = append(b.args, v)
	return "$" + strconv.Itoa(len(b.args))
}

// query renders the conditions of a query.
func (b *builder) query(q store.Query, findings *lazuli.Fields) {
	b.add("o.kind=" + b.arg(string(q.Kind)))
	for i, w := range q.Where {
		b.add(b.where(w, fmt.Sprintf("where[%d]", i), findings))
	}
	if q.Filter != nil {
		b.add(b.expr(*q.Filter, "filter", 1, findings))
	}
	if len(b.args) > maxArgs {
		findings.Add("filter", "compares with more than %d values", maxArgs)
	}
}

// Conditions that need no column. Neither database has literals of both.
const (
	always = "1=1"
	never  = "1=0"
)

func (b *builder) expr(e store.Expr, path string, depth int, findings *lazuli.Fields) string {
	if depth > maxDepth {
		findings.Add(path, "is deeper than %d joins", maxDepth)
		return never
	}
	if e.Join == "" {
		return b.where(e.Where, path, findings)
	}
	conds := make([]string, len(e.Of))
	defer func(was bool) { b.apart = was }(b.apart)
	b.apart = b.apart || e.Join != store.And
	for i, of := range e.Of {
		conds[i] = b.expr(of, fmt.Sprintf("%s.of[%d]", path, i), depth+1, findings)
	}
	switch {
	case e.Join == store.And && len(conds) == 0, e.Join == store.Nor && len(conds) == 0:
		return always
	case e.Join == store.Or && len(conds) == 0:
		return never
	case e.Join == store.And:
		return "(" + strings.Join(conds, " and ") + ")"
	case e.Join == store.Or:
		return "(" + strings.Join(conds, " or ") + ")"
	case e.Join == store.Nor:
		return "not (" + strings.Join(conds, " or ") + ")"
	default:
		findings.Add(path+".join", "%q is not a join", e.Join)
		return never
	}
}

func (b *builder) where(w store.Where, path string, findings *lazuli.Fields) string {
	switch w.Case {
	case store.CaseUsual, store.CaseExact, store.CaseFolded:
	default:
		findings.Add(path+".case", "%q is not a way to compare", w.Case)
		return never
	}
	if w.Label != "" || w.Facet != "" {
		return b.keyed(w, path, findings)
	}
	col, ok := columnOf(w.Field, b.listed)
	switch {
	case !ok:
		findings.Add(path+".field", "%q is not a field to filter by", w.Field)
		return never
	case col.micros:
		return b.time(w, col, path, findings)
	}
	cond, ok := b.compare(b.render(col, &w), w)
	if !ok {
		findings.Add(path+".op", "%q is not a comparison of texts", w.Op)
	}
	return cond
}

// render is the text to compare, for which it may fold what w compares it with.
func (b *builder) render(col column, w *store.Where) string {
	text := "o." + col.name
	switch {
	case col.exact != "" && w.Case == store.CaseExact:
		return "o." + col.exact
	case col.exact != "":
		fold(w, lazuli.Fold)
		return text
	case w.Case == store.CaseFolded, w.Case == store.CaseUsual && (w.Op == store.Contains || w.Op == store.Prefix):
		fold(w, asciiLower)
		return "lower(" + text + ")"
	case b.walks && col.name != "uid" && col.name != b.along:
		return text + " || ''"
	default:
		return text
	}
}

var timeOps = map[store.Op]string{
	store.Eq: "=", store.NotEq: "<>", store.Less: "<", store.LessEq: "<=", store.Greater: ">", store.GreaterEq: ">=",
}

func (b *builder) time(w store.Where, col column, path string, findings *lazuli.Fields) string {
	at, err := time.Parse(time.RFC3339Nano, w.Value)
	if err != nil {
		findings.Add(path+".value", "%q is not a time in RFC 3339 form", w.Value)
		return never
	}
	b.volatile = b.volatile || w.Field == store.FieldUpdated
	op, ok := timeOps[w.Op]
	if !ok {
		findings.Add(path+".op", "%q does not compare times", w.Op)
		return never
	}
	return "o." + col.name + op + b.micros(Micros(at))
}

// keyed renders a condition on a label or a facet: either a list of uids, which
// is made once, not per row, as its kind is $1 again and not o.kind; or, of what
// is common, a look per row.
func (b *builder) keyed(w store.Where, path string, findings *lazuli.Fields) string {
	table, key := "label", w.Label
	if w.Facet != "" {
		table, key = "facet", w.Facet
	}
	if table == "facet" && (!b.listed || w.Label != "") {
		findings.Add(path+".facet", "facets are of listed kinds, and no label is one")
		return never
	}
	not := ""
	if w.Op == store.NotEq {
		not, w.Op = "not ", store.Eq
	}
	if b.isCommon(table, key, w) {
		cond := b.ofKey(table, key, w, path, findings)
		return not + "exists (select 1" + cond + " and l.uid=o.uid)"
	}
	uid := "o.uid"
	switch {
	case b.walks && b.common != nil && !b.few && !b.apart && not == "":
		b.few = true
	case b.walks:
		uid += " || ''"
	}
	return uid + " " + not + "in (select l.uid" + b.ofKey(table, key, w, path, findings) + ")"
}

// ofKey renders where the rows of a label or facet are that are as w says.
func (b *builder) ofKey(table, key string, w store.Where, path string, findings *lazuli.Fields) string {
	from := " from " + table + " l where l.kind=$1 and l.key=" + b.arg(key)
	if w.Op == store.Has {
		return from
	}
	text := "l.value"
	switch {
	case w.Case == store.CaseFolded:
		fold(&w, lazuli.Fold)
		text = "l.folded"
	case w.Case == store.CaseUsual && (w.Op == store.Contains || w.Op == store.Prefix):
		fold(&w, asciiLower)
		text = "lower(l.value)"
	}
	cond, ok := b.compare(text, w)
	if !ok {
		findings.Add(path+".op", "%q is not a comparison of texts", w.Op)
	}
	return from + " and " + cond
}

func (b *builder) isCommon(table, key string, w store.Where) bool {
	if b.common == nil {
		return false
	}
	probe := builder{args: b.args[:1:1]}
	var findings lazuli.Fields
	text := "select 1" + probe.ofKey(table, key, w, "", &findings)
	text += " limit " + probe.arg(Common)
	return b.common(Statement{Text: text, Args: probe.args})
}

// compare renders a comparison of a text; ok is false for an Op that is none.
func (b *builder) compare(text string, w store.Where) (cond string, ok bool) {
	switch w.Op {
	case store.Eq:
		return text + "=" + b.arg(w.Value), true
	case store.NotEq:
		return text + "<>" + b.arg(w.Value), true
	case store.In:
		if len(w.Values) == 0 {
			return never, true
		}
		list := make([]string, len(w.Values))
		for i, v := range w.Values {
			list[i] = b.arg(v)
		}
		return text + " in (" + strings.Join(list, ", ") + ")", true
	case store.Contains:
		return "instr(" + text + ", " + b.arg(w.Value) + ") > 0", true
	case store.Prefix:
		return "instr(" + text + ", " + b.arg(w.Value) + ") = 1", true
	default:
		return never, false
	}
}

// fold changes what a condition compares with.
func fold(w *store.Where, how func(string) string) {
	w.Value = how(w.Value)
	values := make([]string, len(w.Values))
	for i, v := range w.Values {
		values[i] = how(v)
	}
	w.Values = values
}

// asciiLower lowers as far as a database's lower() goes for text that is
// compared byte by byte.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
