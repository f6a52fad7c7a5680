// SPDX-License-Identifier: Apache-2.0

// Package sqlite keeps the hub's state in one SQLite file: the embedded store
// of a hub that is a single process.
//
// One connection writes, four read; the journal is a write-ahead log and every
// commit of Update and Fenced is synced, so that what was acknowledged survives
// power loss. Claims, renewals and finishes are synced with the next such
// commit: power loss may undo the last of them, which costs another look. A
// second process that opens the file is turned away by a lock on
// <path>.lock. Migrations are embedded; a file that a newer release wrote is
// refused.
//
// It refuses to ask SQLite for the time, to be shared by processes, to wait
// for locks of others for more than a moment, and to delete a row that it
// cannot read.
package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Memory is the path of a store that lives in memory, on one connection, as
// long as it is open.
const Memory = ":memory:"

const (
	fileMode    = 0o600
	dirMode     = 0o700
	readers     = 4
	busyTimeout = "5000" // milliseconds; only a backup tool can hold a lock
	// readCache is what each reader keeps of the file: 24 MiB hold the indexes
	// that lists of 10,000 clusters are found in, and what they were shown last.
	readCache = "cache_size(-24576)"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options configure a Store.
type Options struct {
	Path    string           // of the file; its directory is made when missing. Memory is for tests and demonstrations.
	Logger  *slog.Logger     // default: discards
	Now     func() time.Time // default time.Now
	Random  io.Reader        // of uids of events and audits; default crypto/rand. Read by one goroutine at a time.
	Schemas store.Schemas    // JSON forms that have changed; default none
	// Listings make the short forms of listed kinds; default none.
	Listings store.Listings
}

// Store implements store.Store. All methods may be called concurrently.
type Store struct {
	opts       Options
	hub        store.Hub
	lock       io.Closer // of the file; nil in memory
	turn       chan struct{}
	write      *session      // used by who holds turn
	durability durability    // of the next commit of write
	read       chan *session // those that no one reads with; nil in memory
	readers    int           // that were opened
	counts     counts
	dbs        []*sql.DB
	shut       atomic.Bool
	wrote      atomic.Int64 // when a change was committed last, in nanoseconds of Unix
	failing    atomic.Bool  // a write failed, and none is known to have room since
}

var _ store.Store = (*Store)(nil)

// Open opens or creates the database and brings its schema up to date. A file
// that another process has open, and one that a newer release wrote, is
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
	s := &Store{opts: opts, turn: make(chan struct{}, 1), durability: synced}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	dsn := Memory
	if opts.Path != Memory {
		if dsn, err = s.prepareFile(); err != nil {
			return nil, err
		}
	}
	if err := s.openWriter(ctx, dsn); err != nil {
		return nil, err
	}
	if opts.Path != Memory {
		if err := s.openReaders(ctx, dsn); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// prepareFile takes the lock and makes the file, so that SQLite finds it with
// the mode that its journal files inherit.
func (s *Store) prepareFile() (dsn string, err error) {
	path, err := filepath.Abs(s.opts.Path)
	if err != nil {
		return "", fmt.Errorf("open database %s: %w", s.opts.Path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return "", fmt.Errorf("open database %s: %w", path, err)
	}
	if s.lock, err = lockFile(path); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return "", fmt.Errorf("open database %s: %w", path, err)
	}
	if err := errors.Join(f.Chmod(fileMode), f.Close()); err != nil {
		return "", fmt.Errorf("open database %s: %w", path, err)
	}
	query := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			"busy_timeout(" + busyTimeout + ")",
			"journal_mode(WAL)",
			"synchronous(FULL)",
		},
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query.Encode()}).String(), nil
}

func (s *Store) openWriter(ctx context.Context, dsn string) error {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return fmt.Errorf("open database %s: %w", s.opts.Path, err)
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	s.dbs = append(s.dbs, db)
	if err := s.migrate(ctx, db); err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return unavailable("open database "+s.opts.Path, err)
	}
	s.write = newSession(conn)
	_, err = conn.ExecContext(ctx, "pragma foreign_keys=on")
	return unavailable("open database "+s.opts.Path, err)
}

func (s *Store) openReaders(ctx context.Context, dsn string) error {
	db, err := sql.Open("sqlite", dsn+"&"+url.Values{"_pragma": {"query_only(1)", readCache}}.Encode())
	if err != nil {
		return fmt.Errorf("open database %s: %w", s.opts.Path, err)
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	s.dbs = append(s.dbs, db)
	s.read = make(chan *session, readers)
	for range readers {
		conn, err := db.Conn(ctx)
		if err != nil {
			return unavailable("open database "+s.opts.Path, err)
		}
		s.read <- newSession(conn)
		s.readers++
	}
	return nil
}

// migrate applies what the file lacks.
func (s *Store) migrate(ctx context.Context, db *sql.DB) error {
	act := "migrate database " + s.opts.Path
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("%s: %w", act, err)
	}
	// The provider is not closed: that would close db.
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("%s: %w", act, err)
	}
	have, known, err := p.GetVersions(ctx)
	if err != nil {
		return unavailable(act, err)
	}
	if have > known {
		return &lazuli.Error{
			Code:    lazuli.CodeUnavailable,
			Message: fmt.Sprintf("%s: its schema has version %d, this release knows %d", act, have, known),
			Remedy:  "Run the release that wrote it or a newer one, or restore a backup of this release.",
		}
	}
	done, err := p.Up(ctx)
	if err != nil {
		return unavailable(act, err)
	}
	for _, m := range done {
		s.opts.Logger.InfoContext(ctx, "migrated the database", "path", s.opts.Path, "version", m.Source.Version)
	}
	return nil
}

// Close ends all watches, waits for the transaction under way and closes the
// file. Later calls of other methods are lazuli.CodeUnavailable.
func (s *Store) Close() error {
	s.turn <- struct{}{}
	defer s.giveTurn()
	return s.close()
}

func (s *Store) close() error {
	s.shut.Store(true)
	s.hub.Close()
	var errs []error
	for ; s.readers > 0; s.readers-- {
		errs = append(errs, (<-s.read).close()) // waits for who reads
		if s.readers == 1 {
			close(s.read)
		}
	}
	if s.write != nil {
		errs = append(errs, s.write.close())
	}
	// The writer is closed last: it folds the write-ahead log into the file.
	for _, db := range slices.Backward(s.dbs) {
		errs = append(errs, db.Close())
	}
	s.dbs = nil
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close database %s: %w", s.opts.Path, err)
	}
	return nil
}

// takeTurn waits for the right to use the writing connection.
func (s *Store) takeTurn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for the database: %w", err)
	}
	select {
	case s.turn <- struct{}{}:
		if s.shut.Load() {
			s.giveTurn()
			return errClosed()
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the database: %w", ctx.Err())
	}
}

func errClosed() error { return lazuli.Errorf(lazuli.CodeUnavailable, "the store is closed") }

func (s *Store) giveTurn() { <-s.turn }

// now is the time in the resolution of the store.
func (s *Store) now() time.Time { return s.opts.Now().UTC().Truncate(time.Microsecond) }
