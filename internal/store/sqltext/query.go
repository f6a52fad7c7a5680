// SPDX-License-Identifier: Apache-2.0

package sqltext

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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
	// Rows selects uid, version, created, updated, data_version, data and the
	// sort column of at most one row more than the limit.
	Rows Statement
	// Count counts the rows that match, over all pages.
	Count Statement
	query store.Query
}

// column is what a Field is compared and sorted by.
type column struct {
	name   string
	folded bool // holds folded text
	micros bool // holds a time
}

func columnOf(f store.Field) (column, bool) {
	switch f {
	case store.FieldUID, store.FieldProject, store.FieldOwner, store.FieldState:
		return column{name: string(f)}, true
	case store.FieldName:
		return column{name: "name_folded", folded: true}, true
	case store.FieldCreated, store.FieldUpdated:
		return column{name: string(f), micros: true}, true
	default:
		return column{}, false
	}
}

// Select turns a query into SQL. What the query may not ask is
// lazuli.CodeInvalidField with all findings.
func Select(q store.Query) (Selection, error) {
	if q.Sort == "" {
		q.Sort = store.FieldCreated
	}
	var (
		b        builder
		findings lazuli.Fields
	)
	b.add("o.kind=" + b.arg(string(q.Kind)))
	for i, w := range q.Where {
		b.where(w, fmt.Sprintf("where[%d]", i), &findings)
	}
	if q.Limit < 0 {
		findings.Add("limit", "%d is less than 0", q.Limit)
	}
	sort, ok := columnOf(q.Sort)
	if !ok {
		findings.Add("sort", "%q is not a field to sort by", q.Sort)
	}
	count := Statement{
		Text: "select count(*) from object o where " + b.text(),
		Args: slices.Clip(b.args),
	}
	if q.After != "" && ok {
		b.after(q, sort, &findings)
	}
	if err := findings.Err(); err != nil {
		return Selection{}, fmt.Errorf("query %s: %w", q.Kind, err)
	}
	dir := ""
	if q.Desc {
		dir = " desc"
	}
	text := "select o.uid, o.version, o.created, o.updated, o.data_version, o.data, o." + sort.name +
		" from object o where " + b.text() +
		" order by o." + sort.name + dir + ", o.uid" + dir
	if q.Limit > 0 {
		text += " limit " + b.arg(q.Limit+1)
	}
	return Selection{Rows: Statement{Text: text, Args: b.args}, Count: count, query: q}, nil
}

// NeedsCount reports whether the total cannot be told from rows, the number
// that Rows yielded.
func (s Selection) NeedsCount(rows int) bool {
	return s.query.After != "" || (s.query.Limit > 0 && rows > s.query.Limit)
}

// More reports whether a page follows that of rows.
func (s Selection) More(rows int) bool { return s.query.Limit > 0 && rows > s.query.Limit }

// Limit is the number of rows of a page; 0 is all.
func (s Selection) Limit() int { return s.query.Limit }

// Next is the Page.Next of a page whose last row has that uid and value of the
// sort column.
func (s Selection) Next(uid string, value any) (string, error) {
	if b, ok := value.([]byte); ok {
		value = string(b)
	}
	raw, err := json.Marshal(cursor{Sort: s.query.Sort, Value: fmt.Sprint(value), UID: uid})
	if err != nil {
		return "", fmt.Errorf("encode the place of a page: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// cursor is the place of the last row of a page.
type cursor struct {
	Sort  store.Field `json:"s"`
	Value string      `json:"v"`
	UID   string      `json:"u"`
}

type builder struct {
	conds []string
	args  []any
}

func (b *builder) add(cond string) { b.conds = append(b.conds, cond) }

func (b *builder) text() string { return strings.Join(b.conds, " and ") }

func (b *builder) arg(v any) string {
	b.args = append(b.args, v)
	return "$" + strconv.Itoa(len(b.args))
}

func (b *builder) where(w store.Where, path string, findings *lazuli.Fields) {
	if w.Label != "" {
		b.label(w, path, findings)
		return
	}
	col, ok := columnOf(w.Field)
	switch {
	case !ok:
		findings.Add(path+".field", "%q is not a field to filter by", w.Field)
	case col.micros:
		b.time(w, col, path, findings)
	default:
		if col.folded {
			w.Value = lazuli.Fold(w.Value)
		}
		cond, ok := b.compare("o."+col.name, w)
		if !ok {
			findings.Add(path+".op", "%q is not a comparison", w.Op)
		}
		b.add(cond)
	}
}

func (b *builder) time(w store.Where, col column, path string, findings *lazuli.Fields) {
	at, err := time.Parse(time.RFC3339Nano, w.Value)
	if err != nil {
		findings.Add(path+".value", "%q is not a time in RFC 3339 form", w.Value)
		return
	}
	switch w.Op {
	case store.Eq:
		b.add("o." + col.name + "=" + b.arg(Micros(at)))
	case store.NotEq:
		b.add("o." + col.name + "<>" + b.arg(Micros(at)))
	default:
		findings.Add(path+".op", "%q does not compare times", w.Op)
	}
}

func (b *builder) label(w store.Where, path string, findings *lazuli.Fields) {
	not := ""
	if w.Op == store.NotEq {
		not, w.Op = "not ", store.Eq
	}
	key := b.arg(w.Label)
	cond, ok := b.compare("l.value", w)
	if !ok {
		findings.Add(path+".op", "%q is not a comparison", w.Op)
	}
	// The kind is $1 again, not o.kind: the list is then made once, not per row.
	b.add("o.uid " + not + "in (select l.uid from label l where l.kind=$1 and l.key=" + key + " and " + cond + ")")
}

// compare renders a comparison of a text column; ok is false for an unknown Op.
func (b *builder) compare(col string, w store.Where) (cond string, ok bool) {
	switch w.Op {
	case store.Eq:
		return col + "=" + b.arg(w.Value), true
	case store.NotEq:
		return col + "<>" + b.arg(w.Value), true
	case store.Contains:
		return "lower(" + col + ") like " + b.arg("%"+escape(w.Value)+"%") + ` escape '\'`, true
	case store.Prefix:
		return "lower(" + col + ") like " + b.arg(escape(w.Value)+"%") + ` escape '\'`, true
	default:
		return "", false
	}
}

func (b *builder) after(q store.Query, sort column, findings *lazuli.Fields) {
	raw, err := base64.RawURLEncoding.DecodeString(q.After)
	var c cursor
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil || c.Sort != q.Sort {
		findings.Add("after", "it is not the next place of a page in this order")
		return
	}
	var value string
	if sort.micros {
		n, err := strconv.ParseInt(c.Value, 10, 64)
		if err != nil {
			findings.Add("after", "it is not the next place of a page in this order")
			return
		}
		value = "cast(" + b.arg(n) + " as bigint)"
	} else {
		value = b.arg(c.Value)
	}
	op := " > "
	if q.Desc {
		op = " < "
	}
	b.add("(o." + sort.name + ", o.uid)" + op + "(" + value + ", " + b.arg(c.UID) + ")")
}

// escape makes a LIKE pattern that means s itself, in lower case as far as a
// database's lower() goes for text that is compared byte by byte: ASCII.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\' || r == '%' || r == '_':
			b.WriteByte('\\')
		case r >= 'A' && r <= 'Z':
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
