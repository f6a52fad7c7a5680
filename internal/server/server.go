// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/api"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/cluster"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/postgres"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
	"github.com/lazuli-dev/lazuli/internal/updates"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// Bounds of a connection to the API. A watch stream lasts longer: the API
// moves its write deadline with each message.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = time.Minute
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	dialTimeout   = 10 * time.Second
	keepAlive     = 30 * time.Second
	ownerLen      = 8 // random letters in the name of a process
)

// Server is a hub that is ready to run.
type Server struct {
	cfg      Config
	log      *slog.Logger
	store    store.Store
	azure    *azure.Client
	api      *api.API
	engine   *reconcile.Engine
	listener net.Listener
	tls      *tls.Config
	handler  http.Handler
	password lazuli.Secret
}

// New opens everything that the hub needs, in the data directory and on the
// network, and fails before it serves rather than later. version is what the
// API tells of the release. The log goes to logTo. Close what New returns, or
// Run it.
func New(ctx context.Context, cfg Config, version string, logTo io.Writer) (_ *Server, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, privateDir); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	s := &Server{cfg: cfg, log: cfg.Log.logger(logTo)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.tls, err = tlsConfig(cfg); err != nil {
		return nil, err
	}
	fresh, err := s.openStore(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if err := s.bootstrap(ctx, fresh); err != nil {
		return nil, err
	}
	if err := s.compose(ctx, version); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(ctx, "tcp", cfg.Listen); err != nil {
		return nil, &lazuli.Error{
			Code: lazuli.CodeUnavailable, Message: "serve the API", Err: err,
			Remedy: "choose a free address with --listen or LAZULI_LISTEN",
		}
	}
	return s, nil
}

// openStore opens the database that is configured; fresh is that no hub has
// used it before.
func (s *Server) openStore(ctx context.Context) (fresh bool, err error) {
	if s.cfg.Database.URL == "" {
		path := filepath.Join(s.cfg.DataDir, databaseName)
		_, statErr := os.Stat(path)
		db, err := sqlite.Open(ctx, sqlite.Options{Path: path, Logger: s.log, Listings: api.Listings()})
		if err != nil {
			return false, err
		}
		s.store = db
		return errors.Is(statErr, fs.ErrNotExist), nil
	}
	db, err := postgres.Open(ctx, postgres.Options{
		URL: s.cfg.Database.URL, Logger: s.log.With("part", "store"), Listings: api.Listings(),
	})
	if err != nil {
		return false, err
	}
	s.store = db
	keys, err := db.Query(ctx, store.Query{Kind: lazuli.KindAPIKey, Limit: 1})
	if err != nil {
		return false, err
	}
	if keys.Total == 0 {
		return true, nil
	}
	// A new sealing key would open nothing of what the other hubs sealed.
	if _, err := os.Stat(filepath.Join(s.cfg.DataDir, sealKeyName)); errors.Is(err, fs.ErrNotExist) {
		return false, &lazuli.Error{
			Code:    lazuli.CodeUnavailable,
			Message: "the database holds what other hubs have sealed, and there is no " + sealKeyName + " in " + s.cfg.DataDir,
			Remedy:  "Copy " + sealKeyName + " from the data directory of a hub on this database.",
		}
	}
	return false, nil
}

func (l LogConfig) logger(w io.Writer) *slog.Logger {
	level, err := l.level()
	if err != nil {
		level = slog.LevelInfo // Validate refused it already
	}
	opts := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// bootstrap makes sure that the hub's first objects are there. The first key
// is on disk before the store knows it, so that a start that is cut short
// never leaves a hub that nobody can enter.
func (s *Server) bootstrap(ctx context.Context, fresh bool) error {
	key := lazuli.NewSecret(s.cfg.Admin.APIKey)
	if key.Empty() && fresh {
		var err error
		if key, err = s.firstKey(); err != nil {
			return err
		}
	}
	made, err := auth.Bootstrap(ctx, s.store, auth.BootstrapOptions{Key: key})
	if err != nil {
		return err
	}
	s.password = made.Password
	if made.Key.Empty() {
		return nil
	}
	return WriteFile(s.cfg.AdminKeyFile(), []byte(made.Key.Reveal()+"\n"))
}

// FirstPassword is what the user admin signs in with for the first time, when
// this start of the hub was the first one. It is not kept in clear anywhere.
func (s *Server) FirstPassword() lazuli.Secret { return s.password }

// firstKey reads the key that an earlier first start wrote, or makes it.
func (s *Server) firstKey() (lazuli.Secret, error) {
	b, err := os.ReadFile(s.cfg.AdminKeyFile())
	if err == nil {
		return lazuli.NewSecret(strings.TrimSpace(string(b))), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return lazuli.Secret{}, fmt.Errorf("read the first API key: %w", err)
	}
	key, err := auth.NewKey(rand.Reader)
	if err != nil {
		return lazuli.Secret{}, err
	}
	s.log.Info("made the first API key", "file", s.cfg.AdminKeyFile())
	return key, WriteFile(s.cfg.AdminKeyFile(), []byte(key.Reveal()+"\n"))
}

// compose connects the parts.
func (s *Server) compose(ctx context.Context, version string) error {
	sealer, err := s.openSeal(ctx)
	if err != nil {
		return err
	}
	packs, err := openPacks(s.cfg.Packs.Directory)
	if err != nil {
		return err
	}
	s.azure = azure.New(azure.Config{Logger: s.log.With("part", "azure")})
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	clusters, err := cluster.New(cluster.Config{
		Store: s.store, Azure: s.azure, Seal: sealer, Packs: packs, Cloud: s.cfg.Cloud,
		Workload:      workload.New(dialer, s.log.With("part", "workload"), workload.Options{}),
		Logger:        s.log.With("part", "cluster"),
		Random:        rand.Reader,
		ProbeInterval: s.cfg.ProbeInterval, HealthInterval: s.cfg.HealthInterval, BootTimeout: s.cfg.BootTimeout,
	})
	if err != nil {
		return fmt.Errorf("make the cluster reconciler: %w", err)
	}
	s.engine, err = reconcile.New(reconcile.Config{
		Store:    s.store,
		Handlers: map[lazuli.Kind]reconcile.Handler{lazuli.KindCluster: clusters, lazuli.KindProfile: updates.New(s.store)},
		Owner:    owner(),
		Logger:   s.log.With("part", "engine"),
	})
	if err != nil {
		return fmt.Errorf("make the engine: %w", err)
	}
	s.api, err = api.New(api.Config{
		Store: s.store, Seal: sealer, Packs: packs, Prober: prober{cloud: s.cfg.Cloud, azure: s.azure},
		Logger: s.log.With("part", "api"), Version: version, Environments: s.cfg.environments(),
	})
	if err != nil {
		return fmt.Errorf("make the API: %w", err)
	}
	s.handler = s.api.Handler()
	return nil
}

// openPacks reads the built-in packs and those of a directory.
func openPacks(directory string) (*pack.Registry, error) {
	if directory == "" {
		return pack.Builtin()
	}
	root, err := os.OpenRoot(directory)
	if err != nil {
		return nil, fmt.Errorf("open the directory of packs: %w", err)
	}
	defer root.Close() //nolint:errcheck // it was read only
	packs, err := pack.With(root.FS())
	if err != nil {
		return nil, fmt.Errorf("read the packs of %s: %w", directory, err)
	}
	return packs, nil
}

// collectLess has the garbage collector run a quarter as often, unless whoever
// started the process chose: what a hub keeps is small, what it answers is large
// and soon forgotten, and collecting took a sixth of its time.
func collectLess() {
	const percent = 400
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(percent)
	}
}

// owner names this process among all that share a database. A hub that starts
// again is another one: what it left is taken over when its leases are over, or
// at once where the database is the hub's alone.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "hub"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:ownerLen]))
}

// URL is where clients reach the hub from this host.
func (s *Server) URL() string {
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return "https://" + s.listener.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "https://" + net.JoinHostPort(host, port)
}

// Wrap puts a handler around all that is served. It is for tests, which look at
// every answer there, and has no effect once Run was called.
func (s *Server) Wrap(around func(http.Handler) http.Handler) { s.handler = around(s.handler) }

// Run serves until ctx ends, then lets requests and reconciles under way end
// and closes everything. It returns nil after an orderly stop.
func (s *Server) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	collectLess()
	web := &http.Server{
		Handler:           unhurried(s.handler),
		TLSConfig:         s.tls,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.With("part", "http").Handler(), slog.LevelDebug),
	}
	s.log.Info("serving", "url", s.URL())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := web.ServeTLS(s.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		err := s.engine.Run(ctx)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // stopped before it had begun
		}
		return err
	})
	group.Go(func() error { return s.upkeep(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		s.log.Info("stopping")
		s.api.Close() // ends the watch streams, which Shutdown would wait for
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
		defer cancel()
		if err := web.Shutdown(limit); err != nil {
			return errors.Join(fmt.Errorf("stop serving: %w", err), web.Close())
		}
		return nil
	})
	return group.Wait()
}

// unhurried lifts the read deadline of GET requests, whose bodies nobody reads:
// net/http takes its passing for a caller that left, which would end a watch
// stream over HTTP/1.1.
func unhurried(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.ProtoMajor == 1 {
			// Without a connection to set it on, there is none to lift.
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		}
		h.ServeHTTP(w, r)
	})
}

// Close releases what New opened. It may be called twice.
func (s *Server) Close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close the listener: %w", err))
		}
	}
	if s.api != nil {
		s.api.Close()
	}
	if s.azure != nil {
		s.azure.Close()
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close the store: %w", err))
		}
		s.store = nil
	}
	return errors.Join(errs...)
}
