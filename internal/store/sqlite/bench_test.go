// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
)

// benchListings have heads of the size that clusters have.
func benchListings() store.Listings {
	head := []byte(strings.Repeat("h", 4000))
	return store.Listings{lazuli.KindCluster: {Version: 1, Head: func(lazuli.Object) ([]byte, error) { return head, nil }}}
}

// benchStore is a file with 10,000 clusters of about 8 KB in ten projects.
func benchStore(b *testing.B) (*sqlite.Store, string) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "bench.db")
	s, err := sqlite.Open(b.Context(), sqlite.Options{Path: path, Listings: benchListings()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	spec := []byte(`{"filler":"` + strings.Repeat("x", 8000) + `"}`)
	if err := s.Update(b.Context(), func(tx store.Tx) error {
		for i := range 10_000 {
			c := &lazuli.Cluster{Spec: spec, Meta: lazuli.Meta{
				UID: fmt.Sprintf("%024x", i), Name: fmt.Sprintf("cluster-%d", i), Project: fmt.Sprint("p", i%10),
				Labels: map[string]string{"env": fmt.Sprint(i % 3), "team": fmt.Sprint("t", i%40)},
			}}
			if err := tx.Create(b.Context(), c); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	return s, path
}

// checkpoint empties the log.
func checkpoint(b *testing.B, path string) {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err == nil {
		_, err = db.ExecContext(b.Context(), "pragma wal_checkpoint(truncate)")
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkStore(b *testing.B) {
	s, path := benchStore(b)
	ctx := b.Context()
	uid := fmt.Sprintf("%024x", 77)
	b.Run("get", func(b *testing.B) {
		var c lazuli.Cluster
		for b.Loop() {
			if err := s.Get(ctx, uid, &c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("update", func(b *testing.B) {
		var c lazuli.Cluster
		if err := s.Get(ctx, uid, &c); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := s.Update(ctx, func(tx store.Tx) error { return tx.Update(ctx, &c) }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bytes of an update", func(b *testing.B) {
		var c lazuli.Cluster
		if err := s.Get(ctx, uid, &c); err != nil {
			b.Fatal(err)
		}
		const updates = 50 // fewer pages than make SQLite begin its log again
		for b.Loop() {
			checkpoint(b, path)
			for range updates {
				c.Status.SeenAt = c.Status.SeenAt.Add(time.Minute)
				if err := s.Update(ctx, func(tx store.Tx) error { return tx.Update(ctx, &c) }); err != nil {
					b.Fatal(err)
				}
			}
			info, err := os.Stat(path + "-wal")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size())/updates, "written-B/update")
		}
	})
	// Each time another one: how many match is counted anew.
	for name, filter := range map[string]func(i int) store.Expr{
		"page by any name part": func(i int) store.Expr {
			return store.Expr{Where: store.Where{Field: store.FieldName, Op: store.Contains, Value: fmt.Sprint(i % 997)}}
		},
		"page by a rare label and more": func(i int) store.Expr {
			not := store.Expr{Where: store.Where{Field: store.FieldName, Op: store.Contains, Value: fmt.Sprint(i % 9973)}}
			return store.Expr{Join: store.And, Of: []store.Expr{
				{Where: store.Where{Label: "team", Op: store.Eq, Value: fmt.Sprint("t", i%40), Case: store.CaseFolded}},
				{Where: store.Where{Field: store.FieldState, Op: store.NotEq, Value: "none"}},
				{Join: store.Nor, Of: []store.Expr{not}},
			}}
		},
	} {
		b.Run(name, func(b *testing.B) {
			i := 0
			for b.Loop() {
				i++
				f := filter(i)
				q := store.Query{Kind: lazuli.KindCluster, Filter: &f, Sort: store.FieldName, Limit: 50, Heads: true, Bare: true}
				if _, err := s.Query(ctx, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, where := range map[string]store.Where{
		"page of a project": {Field: store.FieldProject, Op: store.Eq, Value: "p3"},
		"page by name part": {Field: store.FieldName, Op: store.Contains, Value: "9"},
		"page by label":     {Label: "env", Op: store.Eq, Value: "1"},
	} {
		b.Run(name, func(b *testing.B) {
			q := store.Query{Kind: lazuli.KindCluster, Where: []store.Where{where}, Sort: store.FieldCreated, Desc: true, Limit: 50}
			for b.Loop() {
				if _, err := s.Query(ctx, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
