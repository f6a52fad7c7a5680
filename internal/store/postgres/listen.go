// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqltx"
)

const (
	channel = "lazuli"
	// silence is after how long without a notification the listener's
	// connection is asked whether it is still there.
	silence = 5 * time.Second
	// reconnectPause is between attempts to listen again.
	reconnectPause = 500 * time.Millisecond
	// lookBack is how much further than the last sign of life the listener
	// looks for changes that it missed: transactions take their time between
	// stamp and commit, and the clocks of processes differ.
	lookBack = time.Minute
	// maxPayload is below the 8000 bytes that NOTIFY takes (PostgreSQL
	// documentation, NOTIFY).
	maxPayload = 7900

	workMark, otherMark = "w", "-"
	newline             = "\n"
	tab                 = "\t"
)

// payloads renders changes as texts that a NOTIFY can carry: the origin, then
// a line per change.
func payloads(origin string, changes []store.Change) (all []string) {
	var b strings.Builder
	seen := map[store.Change]bool{}
	for _, c := range changes {
		if seen[c] {
			continue
		}
		seen[c] = true
		mark := otherMark
		if c.Work {
			mark = workMark
		}
		line := newline + mark + tab + string(c.Kind) + tab + c.UID
		if b.Len() > 0 && b.Len()+len(line) > maxPayload {
			all = append(all, b.String())
			b.Reset()
		}
		if b.Len() == 0 {
			b.WriteString(origin)
		}
		b.WriteString(line)
	}
	if b.Len() > 0 {
		all = append(all, b.String())
	}
	return all
}

// parsePayload is the inverse of payloads; what it does not understand, which
// another release may have sent, it leaves out.
func parsePayload(payload string) (origin string, changes []store.Change) {
	origin, rest, _ := strings.Cut(payload, newline)
	for line := range strings.SplitSeq(rest, newline) {
		mark, object, ok := strings.Cut(line, tab)
		kind, uid, both := strings.Cut(object, tab)
		if ok && both {
			changes = append(changes, store.Change{Kind: lazuli.Kind(kind), UID: uid, Work: mark == workMark})
		}
	}
	return origin, changes
}

// listener feeds the Watch with what other processes change.
type listener struct {
	s     *Store
	cfg   *pgx.ConnConfig
	conn  *pgx.Conn
	alive time.Time // when nothing had been missed yet, by the store's clock
}

func (l *listener) connect(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(bounded, l.cfg)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(bounded, "listen "+channel); err != nil {
		return errors.Join(err, closeConn(ctx, conn))
	}
	l.conn = conn
	return nil
}

// run listens until ctx ends.
func (l *listener) run(ctx context.Context) {
	log := l.s.opts.Logger
	for {
		err := l.receive(ctx)
		if cerr := closeConn(ctx, l.conn); cerr != nil {
			log.DebugContext(ctx, "the listening connection did not end well", "error", cerr)
		}
		if ctx.Err() != nil {
			return
		}
		log.WarnContext(ctx, "the connection that tells changes is lost", "error", err)
		if !l.again(ctx) {
			return
		}
		log.InfoContext(ctx, "changes are told again")
	}
}

// again connects until it works and publishes what was missed; false is that
// ctx has ended.
func (l *listener) again(ctx context.Context) bool {
	for {
		err := l.connect(ctx)
		if err == nil {
			if err = l.catchUp(ctx); err == nil {
				return true
			}
			err = errors.Join(err, closeConn(ctx, l.conn))
		}
		l.s.opts.Logger.DebugContext(ctx, "cannot listen for changes yet", "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(reconnectPause):
		}
	}
}

// receive publishes notifications until the connection fails or ctx ends.
func (l *listener) receive(ctx context.Context) error {
	for {
		bounded, cancel := context.WithTimeout(ctx, silence)
		n, err := l.conn.WaitForNotification(bounded)
		quiet := bounded.Err() != nil
		cancel()
		switch {
		case err == nil:
			l.alive = l.s.opts.Now()
			if origin, changes := parsePayload(n.Payload); origin != l.s.origin {
				l.s.hub.Publish(changes)
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case !quiet:
			return err
		default:
			if err := l.ping(ctx); err != nil {
				return err
			}
		}
	}
}

func (l *listener) ping(ctx context.Context) error {
	now := l.s.opts.Now()
	bounded, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	if err := l.conn.Ping(bounded); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	l.alive = now // notifications from before have been queued by pgx
	return nil
}

// The statements that find what was missed. Objects that are gone leave no
// trace: who watches an object reads it again when its relatives change.
const (
	missedObjects = `select kind, uid from object where updated >= $1`
	missedEvents  = `select distinct kind, object from event where at >= $1`
	missedWork    = `select kind, id from work where due <= $1`
)

// catchUp publishes what may have changed while nobody listened.
func (l *listener) catchUp(ctx context.Context) error {
	now := l.s.now()
	since := l.alive.Add(-lookBack).UnixMicro()
	var changes []store.Change
	for _, q := range []struct {
		text string
		arg  int64
		work bool
	}{{missedObjects, since, false}, {missedEvents, since, false}, {missedWork, now.UnixMicro(), true}} {
		err := l.s.reading(ctx, false, func(r sqltx.Reader) error {
			rows, err := r.On.Query(ctx, q.text, q.arg)
			if err != nil {
				return err
			}
			for rows.Next() {
				c := store.Change{Work: q.work}
				if err := rows.Scan(&c.Kind, &c.UID); err != nil {
					return errors.Join(err, rows.Close())
				}
				changes = append(changes, c)
			}
			return errors.Join(rows.Err(), rows.Close())
		})
		if err != nil {
			return err
		}
	}
	l.alive = now
	l.s.hub.Publish(changes)
	return nil
}
