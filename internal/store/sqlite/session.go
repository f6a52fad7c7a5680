// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store/sqltx"
)

// handle is what *sql.Conn has of a database.
type handle interface {
	PrepareContext(ctx context.Context, text string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
}

// session runs statements on a handle and keeps the fixed ones prepared:
// SQLite would otherwise parse each every time.
type session struct {
	on    handle
	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

// maxKept and maxKeptText bound what is kept of statements that may never come
// again.
const (
	maxKept     = 500
	maxKeptText = 4 << 10
)

func newSession(on handle) *session { return &session{on: on, stmts: map[string]*sql.Stmt{}} }

func (s *session) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, ok := s.stmts[text]; ok {
		return st, nil
	}
	st, err := s.on.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	s.stmts[text] = st
	return st, nil
}

// Query implements sqltx.Session.
func (s *session) Query(ctx context.Context, text string, args ...any) (sqltx.Rows, error) {
	st, err := s.prepared(ctx, text)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

// QueryOnce implements sqltx.Session. What users ask is mostly what they asked
// before: to parse it takes as long as to find a page.
func (s *session) QueryOnce(ctx context.Context, text string, args ...any) (sqltx.Rows, error) {
	if s.keeps(text) {
		return s.Query(ctx, text, args...)
	}
	return s.on.QueryContext(ctx, text, args...) // the caller closes them
}

// keeps reports whether a statement is kept or there is room for it.
func (s *session) keeps(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.stmts[text]
	return ok || len(s.stmts) < maxKept && len(text) <= maxKeptText
}

// Exec implements sqltx.Session.
func (s *session) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	st, err := s.prepared(ctx, text)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (s *session) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, st := range s.stmts {
		errs = append(errs, st.Close())
	}
	s.stmts = map[string]*sql.Stmt{}
	if c, ok := s.on.(*sql.Conn); ok {
		if err := c.Close(); !errors.Is(err, sql.ErrConnDone) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Fail implements sqltx.Session.
func (*session) Fail(act string, err error) error { return unavailable(act, err) }

// unavailable turns what the driver says into an error with a code. An ended
// context stays what it is, and an error that has a code keeps it.
func unavailable(act string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*lazuli.Error](err); ok {
		return fmt.Errorf("%s: %w", act, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", act, err)
	}
	if errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) {
		return &lazuli.Error{Code: lazuli.CodeUnavailable, Message: act, Err: err}
	}
	code := lazuli.CodeInternal
	if e, ok := errors.AsType[*sqlitedriver.Error](err); ok {
		const primary = 0xff
		switch e.Code() & primary {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
			sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM:
			code = lazuli.CodeUnavailable
		}
	}
	return &lazuli.Error{Code: code, Message: act, Err: err}
}
