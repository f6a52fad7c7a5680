// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/sqlite"
	"github.com/lazuli-dev/lazuli/internal/store/storetest"
)

// holdEnv makes the test binary open the file that it names and hold it until
// its standard input ends.
const holdEnv = "LAZULI_TEST_HOLD_DATABASE"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		os.Exit(hold(path))
	}
	if path := os.Getenv(fullEnv); path != "" {
		os.Exit(fullDisk(path))
	}
	goleak.VerifyTestMain(m)
}

func hold(path string) int {
	s, err := sqlite.Open(context.Background(), sqlite.Options{Path: path})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("open")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	if err := s.Close(); err != nil {
		return 1
	}
	return 0
}

func open(t *testing.T, opts sqlite.Options) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), opts)
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

func file(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "made ?%20 for", "hub.db")
}

func TestConformanceInMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		t.Helper()
		return open(t, sqlite.Options{Path: sqlite.Memory, Listings: storetest.Listings()})
	})
}

func TestConformanceOnFile(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		t.Helper()
		return open(t, sqlite.Options{Path: file(t), Listings: storetest.Listings()})
	})
}

func user(uid string) *lazuli.User {
	return &lazuli.User{Meta: lazuli.Meta{UID: uid, Name: "name of " + uid}}
}

func create(t *testing.T, s store.Store, o lazuli.Object) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.Touch(t.Context(), store.WorkKey{Kind: o.Kind(), ID: o.Head().UID}, time.Time{}); err != nil {
			return err
		}
		return tx.Create(t.Context(), o)
	}); err != nil {
		t.Fatal(err)
	}
}

func TestReopeningFindsWhatWasWritten(t *testing.T) {
	t.Parallel()
	path := file(t)
	first := open(t, sqlite.Options{Path: path})
	create(t, first, user("u1"))
	if _, err := first.Claim(t.Context(), "old", []lazuli.Kind{lazuli.KindUser}, 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, sqlite.Options{Path: path})
	var got lazuli.User
	if err := again.Get(t.Context(), "u1", &got); err != nil || got.Name != "name of u1" || got.Version != 1 {
		t.Errorf("read %+v, %v", got, err)
	}
	if err := again.Release(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	leases, err := again.Claim(t.Context(), "new", []lazuli.Kind{lazuli.KindUser}, 1, time.Hour)
	if err != nil || len(leases) != 1 || leases[0].Fence != 2 {
		t.Errorf("a release ends the leases of every owner: claimed %+v, %v", leases, err)
	}
}

// TestKilledProcessLosesNothing copies the files as they are on disk while the
// store is open, which is what a killed process leaves behind.
func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, sqlite.Options{Path: path})
	copied := filepath.Join(t.TempDir(), "copy.db")
	for i := range 20 {
		create(t, s, user(fmt.Sprint("u", i)))
	}
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+suffix, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	page, err := open(t, sqlite.Options{Path: copied}).Query(t.Context(), store.Query{Kind: lazuli.KindUser})
	if err != nil || page.Total != 20 {
		t.Errorf("found %d of 20 users, %v", page.Total, err)
	}
}

func TestFileModes(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("file modes mean little here")
	}
	path := file(t)
	s := open(t, sqlite.Options{Path: path})
	create(t, s, user("u1"))
	for name, want := range map[string]os.FileMode{
		filepath.Dir(path): 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, path + ".lock": 0o600,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s: %o, want %o", name, got, want)
		}
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, sqlite.Options{Path: path})
	check := func(err error) {
		t.Helper()
		if lazuli.CodeOf(err) != lazuli.CodeUnavailable || !strings.Contains(err.Error(), path) ||
			!strings.Contains(err.Error(), "in use") || lazuli.RemedyOf(err) == "" {
			t.Errorf("opened twice: %v", err)
		}
	}
	_, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	check(err)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.CommandContext(t.Context(), exe)
	other.Env = append(os.Environ(), holdEnv+"="+path)
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "open\n" {
		t.Errorf("the other process says %q, %v", line, err)
	}
	_, err = sqlite.Open(t.Context(), sqlite.Options{Path: path})
	check(err)
	if want := fmt.Sprint("process ", other.Process.Pid); err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if err := errors.Join(in.Close(), other.Wait()); err != nil {
		t.Error(err)
	}
	open(t, sqlite.Options{Path: path})
}

// raw opens the file beside the store, as a person with a tool would.
func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f").Replace(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestAuditsAndEventsCannotBeChanged(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, sqlite.Options{Path: path})
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.AppendAudit(t.Context(), lazuli.Audit{Actor: "someone", Outcome: "ok"}); err != nil {
			return err
		}
		return tx.AppendEvent(t.Context(), lazuli.Event{Kind: lazuli.KindUser, Object: "u1"})
	}); err != nil {
		t.Fatal(err)
	}
	db := raw(t, path)
	for _, text := range []string{
		"update audit set actor='someone else'", "delete from audit", "update event set message='another'",
	} {
		if _, err := db.ExecContext(t.Context(), text); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v, want that it is refused", text, err)
		}
	}
	var actor, outcome string
	if err := db.QueryRowContext(t.Context(), "select actor, outcome from audit").Scan(&actor, &outcome); err != nil || actor != "someone" || outcome != "ok" {
		t.Errorf("the audit reads %q, %q, %v", actor, outcome, err)
	}
}

func TestAuditsGoWithWhatIsGone(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, sqlite.Options{Path: path})
	create(t, s, user("u1"))
	create(t, s, user("u2"))
	for _, act := range []func(store.Tx) error{
		func(tx store.Tx) error {
			for _, uid := range []string{"u1", "u2"} {
				if err := tx.AppendAudit(t.Context(), lazuli.Audit{Kind: lazuli.KindUser, Object: uid}); err != nil {
					return err
				}
			}
			return nil
		},
		func(tx store.Tx) error { return tx.Delete(t.Context(), lazuli.KindUser, "u1") },
	} {
		if err := s.Update(t.Context(), act); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Upkeep(t.Context(), store.Upkeep{Batch: 10}); err != nil {
		t.Fatal(err)
	}
	var n int
	var left string
	if err := raw(t, path).QueryRowContext(t.Context(), "select count(*), max(object) from audit").Scan(&n, &left); err != nil || n != 1 || left != "u2" {
		t.Errorf("%d audits are left, of %q, %v; want that of u2", n, left, err)
	}
}

// TestListingsOfAnotherReleaseAreMadeAnew opens a database whose listings know
// no heads and nothing to be found by, as a migration leaves them.
func TestListingsOfAnotherReleaseAreMadeAnew(t *testing.T) {
	t.Parallel()
	path := file(t)
	old := open(t, sqlite.Options{Path: path})
	things := make([]*storetest.Thing, 5)
	for i := range things {
		things[i] = &storetest.Thing{
			KindName: lazuli.KindCluster, Meta: lazuli.Meta{UID: fmt.Sprint("c", i), Name: fmt.Sprint("n", i), Labels: map[string]string{"k": "É"}},
			IndexIs: lazuli.Index{Health: "Good", Facets: map[string][]string{"f": {"x"}}},
		}
		create(t, old, things[i])
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	db := raw(t, path)
	for _, text := range []string{"update listing set digest='', health=''", "delete from facet", "update label set folded=lower(value)"} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, sqlite.Options{Path: path, Listings: storetest.Listings()})
	q := store.Query{Kind: lazuli.KindCluster, Heads: true, Sort: store.FieldName, Where: []store.Where{
		{Field: store.FieldHealth, Op: store.Eq, Value: "Good"},
		{Facet: "f", Op: store.Eq, Value: "x"},
		{Label: "k", Op: store.Eq, Value: "é", Case: store.CaseFolded},
	}}
	for more, batches := true, 0; more; batches++ {
		var err error
		if more, err = s.Upkeep(t.Context(), store.Upkeep{Batch: 2}); err != nil || batches > 5 {
			t.Fatalf("batch %d: %v", batches, err)
		}
	}
	page, err := s.Query(t.Context(), q)
	if err != nil || page.Total != len(things) {
		t.Fatalf("found %d, %v", page.Total, err)
	}
	for i, row := range page.Rows {
		m := things[i].Meta
		if len(row.Head) == 0 || row.Meta.Version != m.Version || !row.Meta.UpdatedAt.Equal(m.UpdatedAt) {
			t.Errorf("row %+v, of an object that did not change: %+v", row, m)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, sqlite.Options{Path: path})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db := raw(t, path)
	if _, err := db.ExecContext(t.Context(), "insert into goose_db_version (version_id, is_applied) values (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	_, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	if lazuli.CodeOf(err) != lazuli.CodeUnavailable || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "9999") {
		t.Errorf("opened a newer schema: %v", err)
	}
	if _, err := db.ExecContext(t.Context(), "delete from goose_db_version where version_id=9999"); err != nil {
		t.Fatal(err)
	}
	open(t, sqlite.Options{Path: path}) // the refusal let go of the lock
}

func TestUnreadableRowIsAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, sqlite.Options{Path: path})
	create(t, s, user("good"))
	create(t, s, user("bad"))
	db := raw(t, path)
	if _, err := db.ExecContext(t.Context(), "update object set data='{\"name\": broken' where uid='bad'"); err != nil {
		t.Fatal(err)
	}
	var u lazuli.User
	_, listing := s.Query(t.Context(), store.Query{Kind: lazuli.KindUser})
	for act, err := range map[string]error{"get": s.Get(t.Context(), "bad", &u), "query": listing} {
		if lazuli.CodeOf(err) != lazuli.CodeInternal || !strings.Contains(err.Error(), "user bad") {
			t.Errorf("%s: %v, want an error that names kind and uid", act, err)
		}
	}
	if err := s.Get(t.Context(), "good", &u); err != nil {
		t.Errorf("the other row: %v", err)
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "select count(*) from object where uid='bad'").Scan(&n); err != nil || n != 1 {
		t.Errorf("the row is gone: %d, %v", n, err)
	}
}

func TestDataVersions(t *testing.T) {
	t.Parallel()
	path := file(t)
	old := open(t, sqlite.Options{Path: path})
	create(t, old, user("u1"))
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	schemas := store.Schemas{lazuli.KindUser: {Version: 2, Upcast: func(from int, data []byte) ([]byte, error) {
		calls.Add(1)
		if from != 1 {
			return nil, fmt.Errorf("asked to upcast version %d", from)
		}
		return []byte(strings.Replace(string(data), "name of", "upcast", 1)), nil
	}}}
	s := open(t, sqlite.Options{Path: path, Schemas: schemas})
	var u lazuli.User
	if err := s.Get(t.Context(), "u1", &u); err != nil || u.Name != "upcast u1" {
		t.Errorf("read %q, %v", u.Name, err)
	}
	page, err := s.Query(t.Context(), store.Query{Kind: lazuli.KindUser})
	if err != nil || page.Rows[0].Meta.Name != "upcast u1" || !strings.Contains(string(page.Rows[0].Data), "upcast u1") {
		t.Errorf("queried %+v, %v", page, err)
	}
	if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Update(t.Context(), &u) }); err != nil {
		t.Fatal(err)
	}
	before := calls.Load()
	if err := s.Get(t.Context(), "u1", &u); err != nil || calls.Load() != before {
		t.Errorf("a row that was written again is still of the old version: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, sqlite.Options{Path: path}).Get(t.Context(), "u1", &u); err == nil || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("an older release read a newer row: %v", err)
	}
}

func TestClockAndRandomOfTheOptions(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 1, 2, 3, 4, 5, 678901234, time.UTC)
	s := open(t, sqlite.Options{
		Path: sqlite.Memory, Now: func() time.Time { return at }, Random: strings.NewReader("12345678"),
	})
	u := user("u1")
	create(t, s, u)
	if want := at.Truncate(time.Microsecond); !u.CreatedAt.Equal(want) {
		t.Errorf("created at %s, want %s", u.CreatedAt, want)
	}
	event := func(tx store.Tx) error {
		return tx.AppendEvent(t.Context(), lazuli.Event{Kind: lazuli.KindUser, Object: "u1"})
	}
	if err := s.Update(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	events, err := s.Events(t.Context(), store.EventQuery{Kind: lazuli.KindUser, Object: "u1"})
	if err != nil || len(events) != 1 || !strings.HasSuffix(events[0].UID, "3132333435363738") {
		t.Errorf("events %+v, %v", events, err)
	}
	if err := s.Update(t.Context(), event); err == nil {
		t.Error("an event got a uid without random bytes")
	}
}

func TestVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := open(t, sqlite.Options{Path: sqlite.Memory})
		create(t, s, user("u1"))
		kinds := []lazuli.Kind{lazuli.KindUser}
		leases, err := s.Claim(ctx, "a", kinds, 1, time.Minute)
		if err != nil || len(leases) != 1 {
			t.Fatalf("claimed %v, %v", leases, err)
		}
		time.Sleep(time.Minute - time.Microsecond)
		if got, err := s.Claim(ctx, "b", kinds, 1, time.Minute); err != nil || len(got) != 0 {
			t.Errorf("claimed %v, %v before the end of the lease", got, err)
		}
		if err := s.Fenced(ctx, leases[0], func(store.Tx) error { return nil }); err != nil {
			t.Errorf("within the lease: %v", err)
		}
		time.Sleep(time.Microsecond)
		if err := s.Fenced(ctx, leases[0], func(store.Tx) error { return nil }); lazuli.CodeOf(err) != lazuli.CodeFenced {
			t.Errorf("at the end of the lease, before another claim: %v", err)
		}
		if got, err := s.Claim(ctx, "b", kinds, 1, time.Minute); err != nil || len(got) != 1 {
			t.Errorf("claimed %v, %v at the end of the lease", got, err)
		}
	})
}

func TestWaitForTheWriterEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sqlite.Options{Path: sqlite.Memory})
		if err := s.Update(t.Context(), func(store.Tx) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := s.Update(ctx, func(store.Tx) error { return nil })
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a second writer: %v", err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}
