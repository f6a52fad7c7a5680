// SPDX-License-Identifier: Apache-2.0

//go:build unix

// Package pgtest starts a throw-away PostgreSQL for tests, of the binaries that
// are installed, on a free port of loopback, and can stop and start it again.
//
// It refuses to touch any other PostgreSQL of the machine, to be used outside
// tests, and to keep what was written: it does not sync.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrMissing is that PostgreSQL, or a user to run it as, is not installed.
var ErrMissing = errors.New("PostgreSQL is not installed")

const (
	patience = 30 * time.Second
	pause    = 20 * time.Millisecond
	role     = "lazuli"
	// serverUser runs the server when the tests are root's, which PostgreSQL
	// refuses to be.
	serverUser = "postgres"
)

const (
	shell = "/bin/sh"
	// guard runs a server until its own standard input ends, which it does
	// with the process of the tests, however that ends. SIGQUIT is PostgreSQL's
	// immediate shutdown; SIGKILL would leave its children.
	guard = `exec 3<&0; "$@" 3<&- & server=$!; { read -r line <&3; kill -QUIT $server; } 2>/dev/null & wait $server`
)

// Cluster is a PostgreSQL server of its own. It is used by one goroutine at a
// time, except for URL and Create.
type Cluster struct {
	dir    string
	bin    string
	port   int
	as     *syscall.Credential // nil: the user of the tests
	alive  io.Closer           // held open while the server is to run; nil when it is down
	exited chan error          // how it ended
}

// Start makes a cluster and starts it. Without an installed PostgreSQL the
// error is ErrMissing.
func Start(ctx context.Context) (_ *Cluster, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin}
	if c.dir, err = os.MkdirTemp("", "lazuli-pg"); err != nil {
		return nil, fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := c.own(); err != nil {
		return nil, err
	}
	if c.port, err = freePort(ctx); err != nil {
		return nil, err
	}
	cmd := c.command(ctx, "initdb", "--pgdata", c.data(), "--username", role, "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a PostgreSQL cluster: %w: %s", err, out)
	}
	return c, c.Up(ctx)
}

// binaries finds the newest installed release; Debian keeps them out of PATH.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%w: no initdb in PATH nor in /usr/lib/postgresql", ErrMissing)
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// own gives the directory to the user who will run the server.
func (c *Cluster) own() error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup(serverUser)
	if err != nil {
		return fmt.Errorf("%w: root may not run it, and there is no user %s", ErrMissing, serverUser)
	}
	uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uerr, gerr); err != nil {
		return fmt.Errorf("read the ids of user %s: %w", serverUser, err)
	}
	c.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chown(c.dir, int(uid), int(gid)); err != nil {
		return fmt.Errorf("give the directory of PostgreSQL to its user: %w", err)
	}
	return nil
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close() //nolint:errcheck // it was only to be free
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("find a free port: %s", l.Addr())
	}
	return addr.Port, nil
}

func (c *Cluster) logFile() string { return filepath.Join(c.dir, "log") }

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...) //nolint:gosec // the binaries that are installed
	cmd.Dir = c.dir
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	return cmd
}

// Up starts the server and waits until it answers.
func (c *Cluster) Up(ctx context.Context) error {
	log, err := os.Create(c.logFile())
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	defer log.Close() //nolint:errcheck // the server has its own
	// The server outlives ctx: Down, Close and the end of this process end it.
	cmd := c.command(context.WithoutCancel(ctx), "postgres", "-D", c.data(), "-p", strconv.Itoa(c.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
		"-c", "max_connections=200", "-c", "shared_buffers=32MB")
	cmd.Path, cmd.Args = shell, append([]string{shell, "-c", guard, shell, cmd.Path}, cmd.Args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if c.alive, err = cmd.StdinPipe(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	c.exited = make(chan error, 1)
	go func(exited chan<- error) { exited <- cmd.Wait() }(c.exited)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case werr := <-c.exited:
			c.alive = nil
			said, rerr := os.ReadFile(c.logFile())
			return errors.Join(fmt.Errorf("start PostgreSQL: it ended: %w: %s", werr, said), rerr)
		case <-ctx.Done():
			return fmt.Errorf("start PostgreSQL: it does not answer: %w", err)
		case <-time.After(pause):
		}
	}
}

// Down ends the server at once, as a crash would: connections break, nothing
// is said to them. The data stay.
func (c *Cluster) Down() error {
	if c.alive == nil {
		return nil
	}
	if err := c.alive.Close(); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	c.alive = nil
	select {
	case <-c.exited: //nolint:errcheck // it ended, however
		return nil
	case <-time.After(patience):
		return errors.New("stop PostgreSQL: it does not end")
	}
}

// Close ends the server and removes its files.
func (c *Cluster) Close() error {
	if err := errors.Join(c.Down(), os.RemoveAll(c.dir)); err != nil {
		return fmt.Errorf("remove the PostgreSQL of tests: %w", err)
	}
	return nil
}

// URL is that of a database. Any password does.
func (c *Cluster) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, "obviously-a-test-password"),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)), Path: "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Create makes a database, as a copy of a template or, without one, empty, and
// returns its URL.
func (c *Cluster) Create(ctx context.Context, name, template string) (_ string, err error) {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	text := "create database " + pgx.Identifier{name}.Sanitize()
	if template != "" {
		text += " template " + pgx.Identifier{template}.Sanitize()
	}
	if _, err := conn.Exec(ctx, text); err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return c.URL(name), nil
}
