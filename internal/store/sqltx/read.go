// SPDX-License-Identifier: Apache-2.0

package sqltx

import (
	"context"
	"fmt"
	"reflect"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
)

// MaxEvents is how many events of an object are kept, and the most that one
// query returns.
const MaxEvents = 1000

// Reader implements store.Reader on a session.
type Reader struct {
	On       Session
	Schemas  store.Schemas
	Listings store.Listings
	// Counts, where there is one, remembers how many rows match.
	Counts Counter
	// Planless is that the database plans without statistics.
	Planless bool
}

// Counter answers how many rows of the listed kind of a query a statement
// counts, asking the database when it must. What is counted changes only with
// what Tx.Listed tells of.
type Counter interface {
	Count(st sqltext.Statement, ask func() (int, error)) (int, error)
}

// stored is one row of the table object, or of listing.
type stored struct {
	uid              string
	version          int64
	created, updated int64
	dataVersion      int // of the head, where head is asked for
	data             []byte
	name, project    string // of heads alone
	sort             []any
}

// Get implements store.Reader.
func (r Reader) Get(ctx context.Context, uid string, dst lazuli.Object) error {
	found, err := r.one(ctx, sqltext.GetObject, uid, dst)
	if err != nil {
		return r.On.Fail(fmt.Sprintf("get %s %s", dst.Kind(), uid), err)
	}
	if !found {
		return lazuli.Errorf(lazuli.CodeNotFound, "%s %q does not exist", dst.Kind(), uid)
	}
	return nil
}

// ByUnique implements store.Reader.
func (r Reader) ByUnique(ctx context.Context, unique string, dst lazuli.Object) error {
	found, err := r.one(ctx, sqltext.ObjectByUnique, unique, dst)
	if err != nil {
		return r.On.Fail(fmt.Sprintf("find %s", dst.Kind()), err)
	}
	if !found {
		// The value is left out: for API keys it is the hash of the key.
		return lazuli.Errorf(lazuli.CodeNotFound, "no such %s", dst.Kind())
	}
	return nil
}

func (r Reader) one(ctx context.Context, text, key string, dst lazuli.Object) (bool, error) {
	kind := dst.Kind()
	rows, err := r.On.Query(ctx, text, string(kind), key)
	if err != nil {
		return false, err
	}
	all, err := scanAll(rows, func(rows Rows) (stored, error) {
		var o stored
		err := rows.Scan(&o.uid, &o.version, &o.created, &o.updated, &o.dataVersion, &o.data)
		return o, err
	})
	if err != nil || len(all) == 0 {
		return false, err
	}
	o := all[0]
	data, err := r.Schemas.Current(kind, o.uid, o.dataVersion, o.data)
	if err != nil {
		return false, err
	}
	if v := reflect.ValueOf(dst); v.Kind() == reflect.Pointer {
		v.Elem().SetZero() // or fields that the row lacks would keep what the caller left in dst
	}
	if err := store.Decode(kind, o.uid, data, dst); err != nil {
		return false, err
	}
	o.stamp(dst.Head())
	return true, nil
}

// stamp sets what the columns know better than the JSON.
func (o stored) stamp(m *lazuli.Meta) {
	m.UID = o.uid
	m.Version = o.version
	m.CreatedAt = sqltext.Time(o.created)
	m.UpdatedAt = sqltext.Time(o.updated)
}

// Query implements store.Reader.
func (r Reader) Query(ctx context.Context, q store.Query) (store.Page, error) {
	sel, err := r.selection(ctx, q)
	if err != nil {
		return store.Page{}, err
	}
	page, err := r.page(ctx, q.Kind, sel)
	if err != nil {
		return store.Page{}, r.On.Fail(fmt.Sprintf("query %s", q.Kind), err)
	}
	return page, nil
}

func (r Reader) selection(ctx context.Context, q store.Query) (sqltext.Selection, error) {
	if !r.Planless {
		return sqltext.Select(q, nil)
	}
	var failed error
	sel, err := sqltext.Select(q, func(st sqltext.Statement) bool {
		rows, err := r.On.QueryOnce(ctx, st.Text, st.Args...)
		if err != nil {
			failed = err
			return false
		}
		n := 0
		_, err = scanAll(rows, func(Rows) (struct{}, error) {
			n++
			return struct{}{}, nil
		})
		failed = err
		return n == sqltext.Common
	})
	if err == nil && failed != nil {
		err = r.On.Fail(fmt.Sprintf("query %s", q.Kind), failed)
	}
	return sel, err
}

func (r Reader) page(ctx context.Context, kind lazuli.Kind, sel sqltext.Selection) (store.Page, error) {
	query := r.On.QueryOnce
	if sel.Fixed() {
		query = r.On.Query
	}
	rows, err := query(ctx, sel.Rows.Text, sel.Rows.Args...)
	if err != nil {
		return store.Page{}, err
	}
	all, err := scanAll(rows, func(rows Rows) (stored, error) { return scanRow(rows, sel) })
	if err != nil {
		return store.Page{}, err
	}
	page := store.Page{Total: sel.Total(len(all)), Offset: sel.Before()}
	if sel.NeedsCount(len(all)) {
		if page.Total, err = r.count(ctx, sel); err != nil {
			return store.Page{}, err
		}
	}
	if sel.More(len(all)) {
		all = all[:sel.Limit()]
		last := all[len(all)-1]
		if page.Next, err = sel.Next(len(all), last.uid, last.sort); err != nil {
			return store.Page{}, err
		}
	}
	page.Rows = make([]store.Row, len(all))
	for i := range all {
		if err := r.row(kind, sel, &all[i], &page.Rows[i]); err != nil {
			return store.Page{}, err
		}
	}
	return page, nil
}

func scanRow(rows Rows, sel sqltext.Selection) (stored, error) {
	o := stored{sort: make([]any, sel.Orders())}
	dest := []any{&o.uid, &o.version, &o.created, &o.updated, &o.dataVersion, &o.data}
	if sel.Heads() {
		dest = append(dest, &o.name, &o.project)
	}
	for i := range o.sort {
		dest = append(dest, &o.sort[i])
	}
	return o, rows.Scan(dest...)
}

func (r Reader) row(kind lazuli.Kind, sel sqltext.Selection, o *stored, row *store.Row) (err error) {
	if sel.Heads() {
		row.Meta.Name, row.Meta.Project = o.name, o.project
		if l, ok := r.Listings[kind]; ok && l.Version == o.dataVersion {
			row.Head = o.data
		}
		o.stamp(&row.Meta)
		return nil
	}
	if row.Data, err = r.Schemas.Current(kind, o.uid, o.dataVersion, o.data); err != nil {
		return err
	}
	if !sel.Bare() {
		if err := store.Decode(kind, o.uid, row.Data, &row.Meta); err != nil {
			return err
		}
	}
	o.stamp(&row.Meta)
	return nil
}

func (r Reader) count(ctx context.Context, sel sqltext.Selection) (int, error) {
	st := sel.Count
	ask := func() (int, error) {
		rows, err := r.On.QueryOnce(ctx, st.Text, st.Args...)
		if err != nil {
			return 0, err
		}
		n, _, err := scanInt(rows)
		return int(n), err
	}
	if r.Counts == nil || !sel.Steady() {
		return ask()
	}
	return r.Counts.Count(st, ask)
}

// Events implements store.Reader.
func (r Reader) Events(ctx context.Context, q store.EventQuery) ([]lazuli.Event, error) {
	if q.Limit <= 0 || q.Limit > MaxEvents {
		q.Limit = MaxEvents
	}
	text, args := sqltext.Events, []any{string(q.Kind), q.Object, q.Limit}
	if q.Before != "" {
		text, args = sqltext.EventsBefore, append(args, q.Before)
	}
	rows, err := r.On.Query(ctx, text, args...)
	if err == nil {
		var events []lazuli.Event
		if events, err = scanAll(rows, scanEvent); err == nil {
			return events, nil
		}
	}
	return nil, r.On.Fail(fmt.Sprintf("list events of %s %s", q.Kind, q.Object), err)
}

func scanEvent(rows Rows) (e lazuli.Event, err error) {
	var at int64
	err = rows.Scan(&e.UID, &at, &e.Project, &e.Kind, &e.Object, &e.Name, &e.Severity, &e.Reason, &e.Message)
	e.At = sqltext.Time(at)
	return e, err
}
