// SPDX-License-Identifier: Apache-2.0

//go:build unix

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/postgres"
)

func user(uid string) *lazuli.User {
	return &lazuli.User{Meta: lazuli.Meta{UID: uid, Name: "name of " + uid}}
}

func create(t *testing.T, s store.Store, objects ...lazuli.Object) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		for _, o := range objects {
			if err := tx.Create(t.Context(), o); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func execute(t *testing.T, url, text string) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.Exec(t.Context(), text)
	return err
}

// TestDatabaseGoesAwayAndComesBack is not parallel: it stops the server of all
// tests.
func TestDatabaseGoesAwayAndComesBack(t *testing.T) {
	url := database(t, template)
	s := open(t, postgres.Options{URL: url})
	create(t, s, user("u1"))
	changes, err := s.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan store.Lease, 100)
	start(t, s, "hub", func(_ context.Context, l store.Lease) reconcile.Outcome {
		ran <- l
		return reconcile.Done()
	})
	touch(t, s, "before")
	wait(t, ran, "a run before")

	if err := server.Down(); err != nil {
		t.Fatal(err)
	}
	for act, err := range everyAct(t, s) {
		if lazuli.CodeOf(err) != lazuli.CodeUnavailable {
			t.Errorf("%s without a database: %v", act, err)
		}
	}
	if _, err := postgres.Open(t.Context(), postgres.Options{URL: url}); lazuli.CodeOf(err) != lazuli.CodeUnavailable ||
		strings.Contains(err.Error(), "password") {
		t.Errorf("open without a database: %v", err)
	}
	if err := server.Up(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Another process writes at once; the first one still waits to listen again.
	other := open(t, postgres.Options{URL: url})
	create(t, other, user("u2"))
	touch(t, other, "after")
	for act, err := range everyAct(t, s) {
		if err != nil {
			t.Errorf("%s when the database is back: %v", act, err)
		}
	}
	for l := wait(t, ran, "a run after"); l.ID != "after"; {
		l = wait(t, ran, "a run after")
	}
	for c := wait(t, changes, "the change that was missed"); c.UID != "u2"; {
		c = wait(t, changes, "the change that was missed")
	}
}

// everyAct does all that a store can, on a database with the user u1.
func everyAct(t *testing.T, s store.Store) map[string]error {
	t.Helper()
	ctx := t.Context()
	var u lazuli.User
	_, query := s.Query(ctx, store.Query{Kind: lazuli.KindUser, Limit: 1})
	_, events := s.Events(ctx, store.EventQuery{Kind: kind, Object: "x"})
	_, claim := s.Claim(ctx, "other", []lazuli.Kind{"other"}, 1, time.Minute)
	_, _, due := s.NextDue(ctx, []lazuli.Kind{"other"})
	return map[string]error{
		"get": s.Get(ctx, "u1", &u), "query": query, "events": events, "claim": claim, "next due": due,
		"update": s.Update(ctx, func(tx store.Tx) error {
			if err := tx.Get(ctx, "u1", &u); err != nil {
				return err
			}
			return tx.Update(ctx, &u)
		}),
		"finish":  s.Finish(ctx, []store.Finish{{Lease: store.Lease{WorkKey: store.WorkKey{Kind: "other"}}}}),
		"release": s.Release(ctx, "other"),
	}
}

func TestChangesOfOtherProcesses(t *testing.T) {
	t.Parallel()
	url := database(t, template)
	one, two := open(t, postgres.Options{URL: url}), open(t, postgres.Options{URL: url})
	changes, err := two.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	touch(t, one, "c1")
	if c := wait(t, changes, "a touch"); c != (store.Change{Kind: kind, UID: "c1", Work: true}) {
		t.Errorf("got %+v", c)
	}
	const many = 1000 // more than one notification carries
	var all []lazuli.Object
	for i := range many {
		all = append(all, user(fmt.Sprintf("%024d", i)))
	}
	create(t, one, all...)
	got := map[string]bool{}
	for len(got) < many {
		c := wait(t, changes, "a change")
		if c.Kind != lazuli.KindUser || c.Work {
			t.Fatalf("got %+v", c)
		}
		got[c.UID] = true
	}
}

func TestReleaseEndsTheOwnersLeasesAlone(t *testing.T) {
	t.Parallel()
	s := open(t, postgres.Options{URL: database(t, template)})
	touch(t, s, "a", "b")
	claim := func(owner string) store.Lease {
		t.Helper()
		leases, err := s.Claim(t.Context(), owner, []lazuli.Kind{kind}, 1, time.Hour)
		if err != nil || len(leases) != 1 {
			t.Fatalf("claimed %v, %v", leases, err)
		}
		return leases[0]
	}
	mine, others := claim("me"), claim("other")
	if err := s.Release(t.Context(), "me"); err != nil {
		t.Fatal(err)
	}
	if err := note(t.Context(), s, mine); lazuli.CodeOf(err) != lazuli.CodeFenced {
		t.Errorf("under the lease that was released: %v", err)
	}
	if err := note(t.Context(), s, others); err != nil {
		t.Errorf("under another's lease: %v", err)
	}
	if again := claim("third"); again.ID != mine.ID {
		t.Errorf("claimed %+v, want what was released", again)
	}
}

// TestLeasesFollowTheDatabasesClock has a process whose clock is far ahead.
func TestLeasesFollowTheDatabasesClock(t *testing.T) {
	t.Parallel()
	const ahead, length = 24 * time.Hour, time.Hour
	url := database(t, template)
	right := open(t, postgres.Options{URL: url})
	wrong := open(t, postgres.Options{URL: url, Now: func() time.Time { return time.Now().Add(ahead) }})
	kinds := []lazuli.Kind{kind}
	touch(t, right, "c1")
	leases, err := right.Claim(t.Context(), "right", kinds, 1, length)
	if err != nil || len(leases) != 1 {
		t.Fatalf("claimed %v, %v", leases, err)
	}
	if taken, err := wrong.Claim(t.Context(), "wrong", kinds, 1, length); err != nil || len(taken) != 0 {
		t.Errorf("the clock ahead took a lease away: %v, %v", taken, err)
	}
	due, ok, err := wrong.NextDue(t.Context(), kinds)
	if want := time.Now().Add(ahead + length); err != nil || !ok || due.Sub(want).Abs() > time.Minute {
		t.Errorf("due %s, %v, want %s by the clock of who asks", due, err, want)
	}
	if err := right.Finish(t.Context(), []store.Finish{{Lease: leases[0], Due: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	leases, err = wrong.Claim(t.Context(), "wrong", kinds, 1, length)
	if err != nil || len(leases) != 1 || time.Until(leases[0].Until) < ahead {
		t.Fatalf("claimed %v, %v, whose end is by the clock of who asks", leases, err)
	}
	if _, err := wrong.Renew(t.Context(), leases[0], 0); err != nil {
		t.Errorf("the clock ahead lost its own lease: %v", err)
	}
	if taken, err := right.Claim(t.Context(), "right", kinds, 1, length); err != nil || len(taken) != 1 {
		t.Errorf("the lease was over by the database's clock: %v, %v", taken, err)
	}
}

// TestClaimWaitsForTheHoldersTransaction has a lease end while its holder
// writes.
func TestClaimWaitsForTheHoldersTransaction(t *testing.T) {
	t.Parallel()
	url := database(t, template)
	s, other := open(t, postgres.Options{URL: url}), open(t, postgres.Options{URL: url})
	kinds := []lazuli.Kind{kind}
	touch(t, s, "c1")
	leases, err := s.Claim(t.Context(), "me", kinds, 1, time.Hour)
	if err != nil || len(leases) != 1 {
		t.Fatalf("claimed %v, %v", leases, err)
	}
	runs := 0
	if err := s.Fenced(t.Context(), leases[0], func(store.Tx) error {
		if runs++; runs > 1 {
			return nil
		}
		touch(t, other, "c1") // does not wait
		if _, err := other.Renew(t.Context(), leases[0], 0); err != nil {
			return err
		}
		taken, err := other.Claim(t.Context(), "other", kinds, 1, time.Hour)
		if err != nil || len(taken) != 0 {
			t.Errorf("claimed %v, %v while the holder writes", taken, err)
		}
		return nil
	}); err != nil && lazuli.CodeOf(err) != lazuli.CodeFenced {
		t.Fatal(err)
	}
	if taken, err := other.Claim(t.Context(), "other", kinds, 1, time.Hour); err != nil || len(taken) != 1 {
		t.Errorf("claimed %v, %v afterwards", taken, err)
	}
}

func TestSeveralOpenAnEmptyDatabaseAtOnce(t *testing.T) {
	t.Parallel()
	url := database(t, "")
	var group errgroup.Group
	for range 3 {
		group.Go(func() error {
			s, err := postgres.Open(t.Context(), postgres.Options{URL: url})
			if err != nil {
				return err
			}
			return s.Close()
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	open(t, postgres.Options{URL: url})
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	url := database(t, template)
	if err := execute(t, url, "insert into goose_db_version (version_id, is_applied) values (9999, true)"); err != nil {
		t.Fatal(err)
	}
	_, err := postgres.Open(t.Context(), postgres.Options{URL: url})
	if lazuli.CodeOf(err) != lazuli.CodeUnavailable || !strings.Contains(err.Error(), "9999") || lazuli.RemedyOf(err) == "" {
		t.Errorf("opened a newer schema: %v", err)
	}
	if err := execute(t, url, "delete from goose_db_version where version_id=9999"); err != nil {
		t.Fatal(err)
	}
	open(t, postgres.Options{URL: url}) // the refusal let go of the lock
}

func TestAuditsAndEventsCannotBeChanged(t *testing.T) {
	t.Parallel()
	url := database(t, template)
	s := open(t, postgres.Options{URL: url})
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.AppendAudit(t.Context(), lazuli.Audit{Actor: "someone"}); err != nil {
			return err
		}
		return tx.AppendEvent(t.Context(), lazuli.Event{Kind: kind, Object: "c1"})
	}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"update audit set actor='someone else'", "delete from audit", "truncate audit", "update event set message='another'",
	} {
		if err := execute(t, url, text); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v, want that it is refused", text, err)
		}
	}
}

// TestFailureThatFnSwallowsCommitsNothing has a statement that PostgreSQL
// refuses and a fn that takes no notice.
func TestFailureThatFnSwallowsCommitsNothing(t *testing.T) {
	t.Parallel()
	s := open(t, postgres.Options{URL: database(t, template)})
	err := s.Update(t.Context(), func(tx store.Tx) error {
		bad := user("bad")
		bad.Name = "NUL \x00 is no text"
		if err := tx.Create(t.Context(), bad); err == nil {
			t.Error("a NUL was stored")
		}
		return nil
	})
	if err == nil {
		t.Error("the transaction was acknowledged")
	}
}

func TestLostConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	url := database(t, template)
	s := open(t, postgres.Options{URL: url})
	create(t, s, user("u1"))
	for range 3 {
		if err := execute(t, url, "select pg_terminate_backend(pid) from pg_stat_activity where datname=current_database() and pid<>pg_backend_pid()"); err != nil {
			t.Fatal(err)
		}
		for act, err := range everyAct(t, s) {
			if err != nil && (act == "get" || act == "query" || act == "update") {
				t.Errorf("%s: %v", act, err)
			}
		}
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"postgres://u:hidden@host:99999999/db", "postgres://u:hidden@host/db?sslmode=what", "postgres://u:hid%zzden@host/db", "nonsense hidden",
	} {
		err := postgres.ParseURL(bad)
		if lazuli.CodeOf(err) != lazuli.CodeInvalidField || strings.Contains(err.Error(), "hid") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := postgres.ParseURL("postgres://u:p@host:5432/db?pool_max_conns=3"); err != nil {
		t.Error(err)
	}
}

func TestEndedContextStaysWhatItIs(t *testing.T) {
	t.Parallel()
	s := open(t, postgres.Options{URL: database(t, template)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var u lazuli.User
	if err := s.Get(ctx, "u1", &u); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
}
