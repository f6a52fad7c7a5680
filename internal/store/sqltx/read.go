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
	On      Session
	Schemas store.Schemas
}

// stored is one row of the table object.
type stored struct {
	uid              string
	version          int64
	created, updated int64
	dataVersion      int
	data             []byte
	sort             any
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
	sel, err := sqltext.Select(q)
	if err != nil {
		return store.Page{}, err
	}
	page, err := r.page(ctx, q.Kind, sel)
	if err != nil {
		return store.Page{}, r.On.Fail(fmt.Sprintf("query %s", q.Kind), err)
	}
	return page, nil
}

func (r Reader) page(ctx context.Context, kind lazuli.Kind, sel sqltext.Selection) (store.Page, error) {
	rows, err := r.On.QueryOnce(ctx, sel.Rows.Text, sel.Rows.Args...)
	if err != nil {
		return store.Page{}, err
	}
	all, err := scanAll(rows, func(rows Rows) (stored, error) {
		var o stored
		err := rows.Scan(&o.uid, &o.version, &o.created, &o.updated, &o.dataVersion, &o.data, &o.sort)
		return o, err
	})
	if err != nil {
		return store.Page{}, err
	}
	page := store.Page{Total: len(all)}
	if sel.NeedsCount(len(all)) {
		if page.Total, err = r.count(ctx, sel.Count); err != nil {
			return store.Page{}, err
		}
	}
	if sel.More(len(all)) {
		all = all[:sel.Limit()]
		last := all[len(all)-1]
		if page.Next, err = sel.Next(last.uid, last.sort); err != nil {
			return store.Page{}, err
		}
	}
	page.Rows = make([]store.Row, len(all))
	for i, o := range all {
		row := &page.Rows[i]
		if row.Data, err = r.Schemas.Current(kind, o.uid, o.dataVersion, o.data); err != nil {
			return store.Page{}, err
		}
		if err := store.Decode(kind, o.uid, row.Data, &row.Meta); err != nil {
			return store.Page{}, err
		}
		o.stamp(&row.Meta)
	}
	return page, nil
}

func (r Reader) count(ctx context.Context, st sqltext.Statement) (int, error) {
	rows, err := r.On.QueryOnce(ctx, st.Text, st.Args...)
	if err != nil {
		return 0, err
	}
	n, _, err := scanInt(rows)
	return int(n), err
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
