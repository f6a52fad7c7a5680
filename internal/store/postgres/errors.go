// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/lazuli-dev/lazuli"
)

// SQLSTATEs (PostgreSQL documentation, appendix A).
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
	// The keys that Create and Update look for before they write; with two
	// serializable writers at once the violation may come before the failure.
	objectKey    = "object_pkey"
	objectUnique = "object_uniq"
)

// awayClasses are the classes of SQLSTATEs that say that the database cannot
// answer now, whatever was asked.
func awayClasses() []string {
	return []string{
		"08",                      // connection
		"25006", "25P03", "25P04", // a standby took over; the session waited too long
		"28", "3D", // rejected, or no such database: for the operator to mend
		"40",         // rolled back, too often
		"53",         // out of connections, memory, disk
		"55P03",      // a lock was not to be had
		"57", "57P0", // shut down, starting, cancelled by a time-out
		"58", // the system below
	}
}

// slowError is an error whose cause is the store's own time-out.
type slowError struct{ err error }

// Error implements error.
func (e slowError) Error() string { return "the database does not answer in time: " + e.err.Error() }

// slow tells the store's own time-out from the end of the caller's context.
func slow(caller context.Context, err error) error {
	if err != nil && caller.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return slowError{err}
	}
	return err
}

// unavailable turns what pgx says into an error with a code. An ended context
// stays what it is, and an error that has a code keeps it.
func unavailable(act string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*lazuli.Error](err); ok {
		return fmt.Errorf("%s: %w", act, err)
	}
	if away(err) {
		return &lazuli.Error{Code: lazuli.CodeUnavailable, Message: act + ": the database cannot answer now", Err: err}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", act, err)
	}
	return &lazuli.Error{Code: lazuli.CodeInternal, Message: act, Err: err}
}

// away reports whether the database could not answer.
func away(err error) bool {
	if _, ok := errors.AsType[slowError](err); ok {
		return true
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		for _, class := range awayClasses() {
			if strings.HasPrefix(e.Code, class) {
				return true
			}
		}
		return false
	}
	return broken(err)
}

// broken reports whether a connection could not be made or has ended.
func broken(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(e.Code, "57P0") || strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "25P0")
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, puddle.ErrClosedPool) || errors.Is(err, pgx.ErrTxClosed) || pgconn.SafeToRetry(err) ||
		strings.Contains(err.Error(), "conn closed")
}

// collided reports whether a transaction gave way to another and may be run
// again.
func collided(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch e.Code {
	case serializationFailure, deadlockDetected:
		return true
	case uniqueViolation:
		return e.ConstraintName == objectKey || e.ConstraintName == objectUnique
	default:
		return false
	}
}
