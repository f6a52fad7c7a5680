// SPDX-License-Identifier: Apache-2.0

package sqltext

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// place is that of the last row of a page.
type place struct {
	Order  string   `json:"s"` // as spell has it
	Values []string `json:"v"` // of the columns sorted by
	UID    string   `json:"u"`
	Before int      `json:"n"` // rows up to and with this one
}

// spell names an order, so that a place is not taken for one in another.
func spell(orders []store.Order) string {
	parts := make([]string, len(orders))
	for i, o := range orders {
		parts[i] = string(o.Field)
		if o.Desc {
			parts[i] += "-"
		}
	}
	return strings.Join(parts, ",")
}

// Next is the Page.Next of a page of so many rows whose last has that uid and
// those values of the columns sorted by.
func (s Selection) Next(rows int, uid string, values []any) (string, error) {
	at := place{Order: spell(s.orders), UID: uid, Before: s.before + rows}
	for _, v := range values {
		if raw, ok := v.([]byte); ok {
			v = string(raw)
		}
		at.Values = append(at.Values, fmt.Sprint(v))
	}
	raw, err := json.Marshal(at)
	if err != nil {
		return "", fmt.Errorf("encode the place of a page: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// after adds the condition that rows lie behind a place, and returns how many
// rows lie before.
func (b *builder) after(token string, orders []store.Order, columns []order, findings *lazuli.Fields) int {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	var at place
	if err == nil {
		err = json.Unmarshal(raw, &at)
	}
	bad := err != nil || at.Order != spell(orders) || len(at.Values) != len(columns) || at.Before < 0
	values := make([]any, len(columns)+1)
	for i := 0; i < len(columns) && !bad; i++ {
		values[i] = at.Values[i]
		if columns[i].micros {
			values[i], err = strconv.ParseInt(at.Values[i], 10, 64)
			bad = err != nil
		}
	}
	if bad {
		findings.Add("after", "it is not the next place of a page in this order")
		return 0
	}
	last := columns[len(columns)-1]
	values[len(columns)] = at.UID
	b.add(b.behind(append(slices.Clip(columns), order{column: column{name: "uid"}, desc: last.desc}), values))
	return at.Before
}

// behind renders that a row comes after values in an order. One direction is a
// comparison of rows, which an index serves.
func (b *builder) behind(columns []order, values []any) string {
	same := true
	for _, c := range columns {
		same = same && c.desc == columns[0].desc
	}
	if !same {
		return b.behindMixed(columns, values)
	}
	names, args := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		names[i], args[i] = "o."+c.name, b.value(values[i])
	}
	return "(" + strings.Join(names, ", ") + ")" + columns[0].beyond() + "(" + strings.Join(args, ", ") + ")"
}

func (b *builder) behindMixed(columns []order, values []any) string {
	c, v := columns[0], b.value(values[0])
	cond := "o." + c.name + c.beyond() + v
	if len(columns) == 1 {
		return cond
	}
	return "(" + cond + " or (o." + c.name + "=" + v + " and " + b.behindMixed(columns[1:], values[1:]) + "))"
}

func (b *builder) value(v any) string {
	if n, ok := v.(int64); ok {
		return b.micros(n)
	}
	return b.arg(v)
}

func (o order) beyond() string {
	if o.desc {
		return " < "
	}
	return " > "
}
