// SPDX-License-Identifier: Apache-2.0

package sqltext

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Statement is a text with its parameters.
type Statement struct {
	Text string
	Args []any
}

// Selection is a store.Query as SQL.
type Selection struct {
	// Rows selects at most one row more than the limit: uid, version, created,
	// updated, data_version and data, or, when Heads, uid, version, created,
	// updated, head_version, head, name and project; then a column per order.
	Rows Statement
	// Count counts the rows that match, over all pages. Its text and arguments
	// tell all that the count depends on.
	Count  Statement
	query  store.Query
	orders []store.Order
	before int // rows before the page
	steady bool
}

// order is a column that a query sorts by.
type order struct {
	column
	desc bool
}

// Common is how many objects a label or facet that many have is had by, at
// least. Those of a rarer one are listed before rows are looked at; whether a
// row has a common one is asked of each row, of which few are looked at then.
const Common = 500

// Select turns a query into SQL. What the query may not ask is
// lazuli.CodeInvalidField with all findings.
//
// common, for a database that does not plan by statistics, reports whether a
// statement selects Common rows; it may be nil.
func Select(q store.Query, common func(Statement) bool) (Selection, error) {
	var findings lazuli.Fields
	listed := q.Kind.Listed()
	orders, columns := ordersOf(q, listed, &findings)
	if q.Limit < 0 {
		findings.Add("limit", "%d is less than 0", q.Limit)
	}
	if q.Offset < 0 {
		findings.Add("offset", "%d is less than 0", q.Offset)
	}
	if q.Heads && !listed {
		findings.Add("heads", "objects of kind %s have none", q.Kind)
	}
	sel := Selection{query: q, orders: orders, before: q.Offset}
	from := " from object o where "
	if listed {
		from = " from listing o where "
	}
	// The count may begin wherever an index leads.
	count := builder{listed: listed}
	count.query(q, &findings)
	sel.Count = Statement{Text: "select count(*)" + from + count.text(), Args: count.args}
	sel.steady = listed && !count.volatile

	b := builder{listed: listed, walks: true, common: common}
	if len(columns) > 0 {
		b.along = columns[0].name
	}
	var again lazuli.Fields // what count found
	b.query(q, &again)
	if q.After != "" && len(columns) > 0 {
		sel.before += b.after(q.After, orders, columns, &findings)
	}
	if err := findings.Err(); err != nil {
		return Selection{}, fmt.Errorf("query %s: %w", q.Kind, err)
	}
	sel.Rows = b.rows(q, columns, from)
	return sel, nil
}

// ordersOf checks what a query sorts by; a field that comes again says nothing
// new.
func ordersOf(q store.Query, listed bool, findings *lazuli.Fields) (orders []store.Order, columns []order) {
	if q.Sort == "" {
		q.Sort = store.FieldCreated
	}
	for i, o := range append([]store.Order{{Field: q.Sort, Desc: q.Desc}}, q.Then...) {
		path := "sort"
		if i > 0 {
			path = fmt.Sprintf("then[%d].field", i-1)
		}
		col, ok := columnOf(o.Field, listed)
		if !ok {
			findings.Add(path, "%q is not a field to sort by", o.Field)
			continue
		}
		if slices.ContainsFunc(columns, func(have order) bool { return have.name == col.name }) {
			continue
		}
		orders, columns = append(orders, o), append(columns, order{column: col, desc: o.Desc})
	}
	return orders, columns
}

// rows renders the statement of a page.
//
// Of a listed kind it is found first, in an index alone, and then joined to what
// is shown: a row that is looked at and left takes half as long. "cross join" is
// SQLite's way to say which comes first.
func (b *builder) rows(q store.Query, columns []order, from string) Statement {
	if !b.listed {
		what := "o.uid, o.version, o.created, o.updated, o.data_version, o.data"
		return b.page(q, columns, what, from)
	}
	found := b.page(q, columns, "o.uid", from)
	what, shown := "h.version, h.created, h.updated, h.data_version, h.data", "object"
	if q.Heads {
		what, shown = "h.version, h.created, h.updated, h.head_version, h.head, h.name, h.project", "listing"
	}
	for _, c := range columns {
		what += ", p." + c.name
	}
	return Statement{
		Text: "select p.uid, " + what + " from (" + found.Text + ") p cross join " + shown +
			" h where h.kind=$1 and h.uid=p.uid order by " + by("p.", columns),
		Args: found.Args,
	}
}

// page renders the statement of a page of one table.
func (b *builder) page(q store.Query, columns []order, what, from string) Statement {
	for _, c := range columns {
		if c.name != "uid" || !b.listed {
			what += ", o." + c.name
		}
	}
	text := "select " + what + from + b.text() + " order by "
	if b.few {
		text += byValue("o.", columns)
	} else {
		text += by("o.", columns)
	}
	switch {
	case q.Limit > 0:
		text += " limit " + b.arg(q.Limit+1)
	case q.Offset > 0:
		text += " limit " + b.arg(Never) // SQLite has no offset without a limit
	}
	if q.Offset > 0 {
		text += " offset " + b.arg(q.Offset)
	}
	return Statement{Text: text, Args: b.args}
}

// by lists what to order by; the uid, in the direction of the last, comes last.
func by(table string, columns []order) string {
	all := make([]string, 0, len(columns)+1)
	desc := ""
	for _, c := range columns {
		desc = c.direction()
		all = append(all, table+c.name+desc)
	}
	return strings.Join(append(all, table+"uid"+desc), ", ")
}

// byValue is by without the help of an index: of the few rows that there are,
// SQLite would rather walk along one in the right order and look for them.
func byValue(table string, columns []order) string {
	all := make([]string, 0, len(columns)+1)
	desc := ""
	for _, c := range columns {
		desc = c.direction()
		plus := " || ''"
		if c.micros {
			plus = " + 0"
		}
		all = append(all, table+c.name+plus+desc)
	}
	return strings.Join(append(all, table+"uid"+desc), ", ")
}

func (o order) direction() string {
	if o.desc {
		return " desc"
	}
	return ""
}

// Steady reports whether Count changes only with what objects are found by, of
// which sqltx.Tx.Listed tells.
func (s Selection) Steady() bool { return s.steady }

// Heads reports whether Rows selects heads.
func (s Selection) Heads() bool { return s.query.Heads }

// Bare reports whether the rows' Meta is not to be decoded.
func (s Selection) Bare() bool { return s.query.Bare }

// Fixed reports whether the text of Rows is one of a few, whatever users ask:
// one condition at most, and that on a column.
func (s Selection) Fixed() bool {
	q := s.query
	if q.Filter != nil || q.After != "" || q.Limit > 0 || q.Offset > 0 || len(q.Then) > 0 || len(q.Where) > 1 {
		return false
	}
	return len(q.Where) == 0 || q.Where[0].Op == store.Eq && q.Where[0].Label == "" && q.Where[0].Facet == ""
}

// Orders is the number of columns that Rows selects to sort by.
func (s Selection) Orders() int { return len(s.orders) }

// NeedsCount reports whether the total cannot be told from rows, the number
// that Rows yielded.
func (s Selection) NeedsCount(rows int) bool {
	return s.query.After != "" || s.More(rows) || s.query.Offset > 0 && rows == 0
}

// Total is the total when it can be told from rows.
func (s Selection) Total(rows int) int { return s.query.Offset + rows }

// Before is the number of rows before the page.
func (s Selection) Before() int { return s.before }

// More reports whether a page follows that of rows.
func (s Selection) More(rows int) bool { return s.query.Limit > 0 && rows > s.query.Limit }

// Limit is the number of rows of a page; 0 is all.
func (s Selection) Limit() int { return s.query.Limit }
