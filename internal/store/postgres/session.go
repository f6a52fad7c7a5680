// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lazuli-dev/lazuli/internal/store/sqltx"
)

// handle is what a pool, a connection and a transaction have in common.
type handle interface {
	Query(ctx context.Context, text string, args ...any) (pgx.Rows, error)
	Exec(ctx context.Context, text string, args ...any) (pgconn.CommandTag, error)
}

// session implements sqltx.Session. pgx keeps statements prepared by their
// text, those that never come again until others push them out.
type session struct {
	on    handle
	first error // what went wrong first; a transaction is over then
}

// Query implements sqltx.Session.
func (s *session) Query(ctx context.Context, text string, args ...any) (sqltx.Rows, error) {
	bounded, cancel := context.WithTimeout(ctx, actTimeout)
	rows, err := s.on.Query(bounded, text, args...)
	if err != nil {
		cancel()
		return nil, s.note(slow(ctx, err))
	}
	return &answer{Rows: rows, s: s, caller: ctx, cancel: cancel}, nil
}

// QueryOnce implements sqltx.Session.
func (s *session) QueryOnce(ctx context.Context, text string, args ...any) (sqltx.Rows, error) {
	return s.Query(ctx, text, args...)
}

// Exec implements sqltx.Session.
func (s *session) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	bounded, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	tag, err := s.on.Exec(bounded, text, args...)
	return tag.RowsAffected(), s.note(slow(ctx, err))
}

// Fail implements sqltx.Session.
func (*session) Fail(act string, err error) error { return unavailable(act, err) }

func (s *session) note(err error) error {
	if s.first == nil {
		s.first = err
	}
	return err
}

// answer implements sqltx.Rows.
type answer struct {
	pgx.Rows
	s      *session
	caller context.Context
	cancel context.CancelFunc
}

// Err implements sqltx.Rows.
func (a *answer) Err() error { return a.s.note(slow(a.caller, a.Rows.Err())) }

// Close implements sqltx.Rows.
func (a *answer) Close() error {
	a.Rows.Close()
	a.cancel()
	return nil // what went wrong is Err's
}
