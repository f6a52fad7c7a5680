// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
)

// maxEvents is how many events of an object are kept, and the most that one
// query returns.
const maxEvents = 1000

// reader implements store.Reader on a session.
type reader struct {
	on      *session
	schemas store.Schemas
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
func (r reader) Get(ctx context.Context, uid string, dst lazuli.Object) error {
	found, err := r.one(ctx, sqltext.GetObject, uid, dst)
	if err != nil {
		return unavailable(fmt.Sprintf("get %s %s", dst.Kind(), uid), err)
	}
	if !found {
		return lazuli.Errorf(lazuli.CodeNotFound, "%s %q does not exist", dst.Kind(), uid)
	}
	return nil
}

// ByUnique implements store.Reader.
func (r reader) ByUnique(ctx context.Context, unique string, dst lazuli.Object) error {
	found, err := r.one(ctx, sqltext.ObjectByUnique, unique, dst)
	if err != nil {
		return unavailable(fmt.Sprintf("find %s", dst.Kind()), err)
	}
	if !found {
		// The value is left out: for API keys it is the hash of the key.
		return lazuli.Errorf(lazuli.CodeNotFound, "no such %s", dst.Kind())
	}
	return nil
}

func (r reader) one(ctx context.Context, text, key string, dst lazuli.Object) (bool, error) {
	kind := dst.Kind()
	rows, err := r.on.query(ctx, text, string(kind), key)
	if err != nil {
		return false, err
	}
	all, err := scanAll(rows, func(rows *sql.Rows) (stored, error) {
		var o stored
		err := rows.Scan(&o.uid, &o.version, &o.created, &o.updated, &o.dataVersion, &o.data)
		return o, err //nolint:wrapcheck // the caller names the act
	})
	if err != nil || len(all) == 0 {
		return false, err
	}
	o := all[0]
	data, err := r.schemas.Current(kind, o.uid, o.dataVersion, o.data)
	if err != nil {
		return false, err //nolint:wrapcheck // it names the object
	}
	if v := reflect.ValueOf(dst); v.Kind() == reflect.Pointer {
		v.Elem().SetZero() // or fields that the row lacks would keep what the caller left in dst
	}
	if err := store.Decode(kind, o.uid, data, dst); err != nil {
		return false, err //nolint:wrapcheck // it names the object
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
func (r reader) Query(ctx context.Context, q store.Query) (store.Page, error) {
	sel, err := sqltext.Select(q)
	if err != nil {
		return store.Page{}, err //nolint:wrapcheck // it names the query
	}
	page, err := r.page(ctx, q.Kind, sel)
	if err != nil {
		return store.Page{}, unavailable(fmt.Sprintf("query %s", q.Kind), err)
	}
	return page, nil
}

func (r reader) page(ctx context.Context, kind lazuli.Kind, sel sqltext.Selection) (store.Page, error) {
	rows, err := r.on.on.QueryContext(ctx, sel.Rows.Text, sel.Rows.Args...)
	if err != nil {
		return store.Page{}, err //nolint:wrapcheck // the caller names the act
	}
	all, err := scanAll(rows, func(rows *sql.Rows) (stored, error) {
		var o stored
		err := rows.Scan(&o.uid, &o.version, &o.created, &o.updated, &o.dataVersion, &o.data, &o.sort)
		return o, err //nolint:wrapcheck // the caller names the act
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
			return store.Page{}, err //nolint:wrapcheck // it names the act
		}
	}
	page.Rows = make([]store.Row, len(all))
	for i, o := range all {
		row := &page.Rows[i]
		if row.Data, err = r.schemas.Current(kind, o.uid, o.dataVersion, o.data); err != nil {
			return store.Page{}, err //nolint:wrapcheck // it names the object
		}
		if err := store.Decode(kind, o.uid, row.Data, &row.Meta); err != nil {
			return store.Page{}, err //nolint:wrapcheck // it names the object
		}
		o.stamp(&row.Meta)
	}
	return page, nil
}

func (r reader) count(ctx context.Context, st sqltext.Statement) (int, error) {
	rows, err := r.on.on.QueryContext(ctx, st.Text, st.Args...)
	if err != nil {
		return 0, err //nolint:wrapcheck // the caller names the act
	}
	return scanInt(rows)
}

func scanInt(rows *sql.Rows) (int, error) {
	all, err := scanAll(rows, func(rows *sql.Rows) (n int, err error) { return n, rows.Scan(&n) })
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[0], nil
}

// Events implements store.Reader.
func (r reader) Events(ctx context.Context, q store.EventQuery) ([]lazuli.Event, error) {
	if q.Limit <= 0 || q.Limit > maxEvents {
		q.Limit = maxEvents
	}
	text, args := sqltext.Events, []any{string(q.Kind), q.Object, q.Limit}
	if q.Before != "" {
		text, args = sqltext.EventsBefore, append(args, q.Before)
	}
	rows, err := r.on.query(ctx, text, args...)
	if err == nil {
		var events []lazuli.Event
		if events, err = scanAll(rows, scanEvent); err == nil {
			return events, nil
		}
	}
	return nil, unavailable(fmt.Sprintf("list events of %s %s", q.Kind, q.Object), err)
}

func scanEvent(rows *sql.Rows) (e lazuli.Event, err error) {
	var at int64
	err = rows.Scan(&e.UID, &at, &e.Project, &e.Kind, &e.Object, &e.Name, &e.Severity, &e.Reason, &e.Message)
	e.At = sqltext.Time(at)
	return e, err //nolint:wrapcheck // the caller names the act
}

// reading runs fn on a session that reads one consistent state. In memory that
// is the writing connection.
func (s *Store) reading(ctx context.Context, several bool, fn func(reader) error) (err error) {
	if s.read == nil {
		if err := s.takeTurn(ctx); err != nil {
			return err
		}
		defer s.giveTurn()
		return fn(reader{on: s.write, schemas: s.opts.Schemas})
	}
	if s.shut.Load() {
		return errClosed()
	}
	if !several {
		return fn(reader{on: s.read, schemas: s.opts.Schemas})
	}
	db, ok := s.read.on.(*sql.DB)
	if !ok {
		return errors.New("read from the database: not a pool")
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return unavailable("read from the database", err)
	}
	// A transaction that only reads has nothing to commit.
	defer func() {
		if rerr := tx.Rollback(); rerr != nil && !errors.Is(rerr, sql.ErrTxDone) && err == nil {
			err = unavailable("read from the database", rerr)
		}
	}()
	return fn(reader{on: newSession(tx), schemas: s.opts.Schemas})
}

// Get implements store.Reader.
func (s *Store) Get(ctx context.Context, uid string, dst lazuli.Object) error {
	return s.reading(ctx, false, func(r reader) error { return r.Get(ctx, uid, dst) })
}

// ByUnique implements store.Reader.
func (s *Store) ByUnique(ctx context.Context, unique string, dst lazuli.Object) error {
	return s.reading(ctx, false, func(r reader) error { return r.ByUnique(ctx, unique, dst) })
}

// Query implements store.Reader.
func (s *Store) Query(ctx context.Context, q store.Query) (page store.Page, err error) {
	several := q.Limit > 0 || q.After != ""
	err = s.reading(ctx, several, func(r reader) error {
		page, err = r.Query(ctx, q)
		return err
	})
	return page, err
}

// Events implements store.Reader.
func (s *Store) Events(ctx context.Context, q store.EventQuery) (events []lazuli.Event, err error) {
	err = s.reading(ctx, false, func(r reader) error {
		events, err = r.Events(ctx, q)
		return err
	})
	return events, err
}
