// SPDX-License-Identifier: Apache-2.0

//go:build unix

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/pgtest"
	"github.com/lazuli-dev/lazuli/internal/store/postgres"
	"github.com/lazuli-dev/lazuli/internal/store/storetest"
)

const (
	template = "template_lazuli"
	patience = 15 * time.Second
	tick     = 5 * time.Millisecond
)

// server is the PostgreSQL of this package's tests.
var server struct {
	*pgtest.Cluster
	missing error // why there is none
	names   atomic.Int64
}

func TestMain(m *testing.M) {
	if url := os.Getenv(hubEnv); url != "" {
		os.Exit(hub(url))
	}
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx := context.Background()
	var err error
	server.Cluster, err = pgtest.Start(ctx)
	switch {
	case errors.Is(err, pgtest.ErrMissing):
		server.missing = err
		return m.Run()
	case err == nil:
		err = makeTemplate(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// makeTemplate makes the database that those of the tests are copies of.
func makeTemplate(ctx context.Context) error {
	url, err := server.Create(ctx, template, "")
	if err != nil {
		return err
	}
	s, err := postgres.Open(ctx, postgres.Options{URL: url})
	if err != nil {
		return err
	}
	return s.Close()
}

// database makes a database for one test.
func database(t testing.TB, template string) (url string) {
	t.Helper()
	if server.missing != nil {
		t.Skip(server.missing)
	}
	url, err := server.Create(t.Context(), fmt.Sprintf("test_%d", server.names.Add(1)), template)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func open(t testing.TB, opts postgres.Options) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		t.Helper()
		return open(t, postgres.Options{URL: database(t, template), Listings: storetest.Listings()})
	})
}
