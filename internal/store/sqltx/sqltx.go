// SPDX-License-Identifier: Apache-2.0

// Package sqltx is what the SQL drivers of the store have in common: how
// objects, events and work rows become the statements of sqltext, and how
// their answers become objects and errors again. A driver brings connections,
// transactions and the codes of its errors.
//
// It refuses to open, begin, commit, roll back and retry anything: those are
// the driver's.
package sqltx

import (
	"context"
	"errors"

	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
)

// Session runs statements, where the driver says: on a connection, in a
// transaction or on a pool. It is used by one goroutine at a time unless the
// driver says otherwise.
type Session interface {
	// Query runs a statement whose text comes again and again.
	Query(ctx context.Context, text string, args ...any) (Rows, error)
	// QueryOnce runs a statement whose text may never come again.
	QueryOnce(ctx context.Context, text string, args ...any) (Rows, error)
	// Exec runs a statement and returns the number of rows affected.
	Exec(ctx context.Context, text string, args ...any) (int64, error)
	// Fail gives an error of the session its code and names the act; nil stays
	// nil.
	Fail(act string, err error) error
}

// Rows are the answer to a query; *sql.Rows are Rows.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// scanAll reads rows to their end and closes them.
func scanAll[T any](rows Rows, scan func(Rows) (T, error)) (all []T, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

func scanInt(rows Rows) (n int64, found bool, err error) {
	all, err := scanAll(rows, func(rows Rows) (n int64, err error) { return n, rows.Scan(&n) })
	if err != nil || len(all) == 0 {
		return 0, false, err
	}
	return all[0], true, nil
}

// Runner carries out the statements on work rows in a dialect.
type Runner struct {
	On      Session
	Dialect sqltext.Dialect
}

var _ store.Tx = (*Tx)(nil)
