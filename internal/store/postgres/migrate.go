// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/lazuli-dev/lazuli"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrateLock is the advisory lock of a session that looks after the schema:
// "lazuli" in ASCII. The lock goes with the session, however it ends.
const migrateLock int64 = 0x6c617a756c69

// migrate applies what the database lacks. goose's own lock begins after it
// has looked at the versions, and asks for it every second; this one spans
// both and waits.
func migrate(ctx context.Context, cfg *pgx.ConnConfig, log *slog.Logger) (err error) {
	const act = "migrate the database"
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("%s: %w", act, err)
	}
	db := stdlib.OpenDB(*cfg)
	defer func() { err = errors.Join(err, unavailable(act, db.Close())) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return unavailable(act, err)
	}
	defer func() {
		if cerr := conn.Close(); err == nil && !errors.Is(cerr, sql.ErrConnDone) {
			err = unavailable(act, cerr)
		}
	}()
	if _, err := conn.ExecContext(ctx, "select pg_advisory_lock($1)", migrateLock); err != nil {
		return unavailable(act, err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files,
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
	if have == known {
		return nil
	}
	done, err := p.Up(ctx)
	if err != nil {
		return unavailable(act, err)
	}
	for _, m := range done {
		log.InfoContext(ctx, "migrated the database", "database", cfg.Database, "version", m.Source.Version)
	}
	return nil
}
