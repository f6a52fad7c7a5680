// SPDX-License-Identifier: Apache-2.0

// Package postgres keeps the hub's state in a PostgreSQL database that several
// hub processes share.
//
// # Transactions
//
// Update and Fenced are serializable, so that what a caller reads in a
// transaction is as true as in the embedded store, where writers take turns;
// when PostgreSQL cannot keep that up, fn is run again. Sequential scans are
// priced out of those plans: they would make every writer of a table collide
// with every other. Claims, finishes and renewals are single statements under
// row locks.
//
// # Leases
//
// The end of a lease is told by the database's clock, so that processes whose
// clocks differ agree. Fenced locks its work row so that no one can claim it
// before the transaction has ended, even when the lease ends meanwhile; a
// transaction whose process stopped is ended by the database after a while.
// Fences come from one sequence. Claims are durable before they are told;
// power loss of the database may undo the last finishes and renewals.
//
// # Changes
//
//	Update commits -> Watch of this process                at once
//	               -> NOTIFY -> LISTEN -> Watch elsewhere
//	listener's connection lost or silent -> connect again -> what changed meanwhile -> Watch
//
// # A database that is away
//
// What cannot be reached, or answers too late, is lazuli.CodeUnavailable. The
// store stays open and works again as soon as the database does.
//
// It refuses to create databases and users, to run on a schema of a newer
// release, to keep a password in its messages, and to work through a pooler
// that gives each transaction another connection: LISTEN needs its own.
package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

const (
	applicationName = "lazuli"
	connectTimeout  = 5 * time.Second
	// actTimeout bounds one statement, the wait for a connection included.
	actTimeout = 10 * time.Second
	// idleInTransaction is how long the database waits, in milliseconds, for
	// the next statement of a process that stopped within a transaction and
	// holds locks that others need.
	idleInTransaction = "10000"
	// maxConns is unless the URL says maxConnsKey, which pgxpool reads.
	maxConns    = 10
	maxConnsKey = "pool_max_conns"
	originLen   = 8
)

// Options configure a Store.
type Options struct {
	// URL is postgres://user:password@host:port/database?parameters. What it
	// leaves out comes from libpq's environment and files, as PGPASSWORD or
	// ~/.pgpass; pool_max_conns bounds the connections (default 10).
	URL     string
	Logger  *slog.Logger     // default: discards
	Now     func() time.Time // default time.Now
	Random  io.Reader        // of uids of events and audits; default crypto/rand. Read by one goroutine at a time.
	Schemas store.Schemas    // JSON forms that have changed; default none
	// Listings make the short forms of listed kinds; default none.
	Listings store.Listings
}

// Store implements store.Store. All methods may be called concurrently, and
// several processes may have Stores on one database.
type Store struct {
	opts   Options
	hub    store.Hub
	pool   *pgxpool.Pool
	origin string // marks this Store's notifications
	shut   atomic.Bool
	once   sync.Once
	stop   context.CancelFunc // ends the listener
	ended  chan struct{}      // when it has ended
}

var _ store.Store = (*Store)(nil)

// ParseURL checks a URL for Options without connecting. The error names no
// password.
func ParseURL(url string) error {
	_, err := parse(url)
	return err
}

func parse(url string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		// pgx's own message may carry the URL with a password that it could not find.
		return nil, &lazuli.Error{
			Code:    lazuli.CodeInvalidField,
			Message: "the URL of the PostgreSQL database is none",
			Remedy:  "Use postgres://user:password@host:port/database; a password's special characters are percent-encoded.",
		}
	}
	return cfg, nil
}

// Open connects to the database and brings its schema up to date; of several
// processes that open one database at once, one does it and the others wait.
// A database that cannot be reached, and one that a newer release wrote, is
// lazuli.CodeUnavailable.
func Open(ctx context.Context, opts Options) (_ *Store, err error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Random == nil {
		opts.Random = rand.Reader
	}
	opts.Random = &turns{from: opts.Random}
	cfg, err := parse(opts.URL)
	if err != nil {
		return nil, err
	}
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	if err := migrate(ctx, cfg.ConnConfig.Copy(), opts.Logger); err != nil {
		return nil, err
	}
	origin := make([]byte, originLen)
	if _, err := rand.Read(origin); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	s := &Store{opts: opts, origin: hex.EncodeToString(origin), ended: make(chan struct{})}
	if !strings.Contains(opts.URL, maxConnsKey) {
		cfg.MaxConns = maxConns
	}
	params := cfg.ConnConfig.RuntimeParams
	params["application_name"] = applicationName
	listening := cfg.ConnConfig.Copy()
	params["enable_seqscan"] = "off"
	params["jit"] = "off" // the price of a sequential scan would call it in
	params["idle_in_transaction_session_timeout"] = idleInTransaction
	params["statement_timeout"] = fmt.Sprint(actTimeout.Milliseconds())
	if s.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, unavailable("open the database", err)
	}
	l := &listener{s: s, cfg: listening, alive: opts.Now()}
	if err := l.connect(ctx); err != nil {
		s.pool.Close()
		return nil, unavailable("listen for changes", err)
	}
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() {
		defer close(s.ended)
		l.run(lasting)
	}()
	return s, nil
}

// Close ends all watches, waits for the transactions under way and closes the
// connections. Later calls of other methods are lazuli.CodeUnavailable.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.shut.Store(true)
		s.hub.Close()
		s.stop()
		<-s.ended
		s.pool.Close()
	})
	return nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context) (<-chan store.Change, error) { return s.hub.Watch(ctx) }

// now is the time in the resolution of the store.
func (s *Store) now() time.Time { return s.opts.Now().UTC().Truncate(time.Microsecond) }

func errClosed() error { return lazuli.Errorf(lazuli.CodeUnavailable, "the store is closed") }

// acquire takes a connection of the pool; a context of its own bounds the wait.
func (s *Store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	if s.shut.Load() {
		return nil, errClosed()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	conn, err := s.pool.Acquire(bounded)
	if err != nil {
		return nil, slow(ctx, err)
	}
	return conn, nil
}

// turns reads for one goroutine at a time.
type turns struct {
	mu   sync.Mutex
	from io.Reader
}

// Read implements io.Reader.
func (t *turns) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.from.Read(p)
}

// closeConn ends a connection that the pool does not know.
func closeConn(ctx context.Context, conn *pgx.Conn) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	if err := conn.Close(bounded); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
