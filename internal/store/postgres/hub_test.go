// SPDX-License-Identifier: Apache-2.0

//go:build unix

package postgres_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/reconcile"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/store/postgres"
)

const (
	// hubEnv makes the test binary a hub process on the database that it names.
	hubEnv  = "LAZULI_TEST_HUB"
	kind    = lazuli.KindCluster
	hubName = "child"
	// lease is short, for the tests wait for its end, and long enough to be
	// renewed on a busy machine.
	lease = 3 * time.Second
)

// hub runs an engine whose runs say that they began, wait for a line on
// standard input, and say how their write under the lease went, whatever has
// become of the lease meanwhile.
func hub(url string) int {
	ctx := context.Background()
	s, err := postgres.Open(ctx, postgres.Options{URL: url})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	in := bufio.NewReader(os.Stdin)
	err = engine(s, hubName, func(ctx context.Context, l store.Lease) reconcile.Outcome {
		fmt.Println("began", l.Fence)
		if _, err := in.ReadString('\n'); err != nil {
			return reconcile.Failed(err)
		}
		fmt.Printf("wrote %q\n", lazuli.CodeOf(note(context.WithoutCancel(ctx), s, l)))
		return reconcile.Done()
	}).Run(ctx)
	fmt.Println(err)
	return 1
}

func engine(s store.Store, owner string, run reconcile.HandlerFunc) *reconcile.Engine {
	e, err := reconcile.New(reconcile.Config{
		Store: s, Owner: owner, Lease: lease, Drain: time.Second,
		Handlers: map[lazuli.Kind]reconcile.Handler{kind: run},
	})
	if err != nil {
		panic(err)
	}
	return e
}

// note writes under a lease.
func note(ctx context.Context, s store.Store, l store.Lease) error {
	return s.Fenced(ctx, l, func(tx store.Tx) error {
		return tx.AppendEvent(ctx, lazuli.Event{Kind: l.Kind, Object: l.ID, Message: l.Owner})
	})
}

// notes are the owners who wrote, the last first.
func notes(t *testing.T, s store.Store, id string) (owners []string) {
	t.Helper()
	events, err := s.Events(t.Context(), store.EventQuery{Kind: kind, Object: id})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		owners = append(owners, e.Message)
	}
	return owners
}

// process is a hub in a process of its own.
type process struct {
	*exec.Cmd
	in    *os.File
	lines chan string
}

func spawn(t *testing.T, url string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(t.Context(), exe), lines: make(chan string, 100)}
	p.Env = append(os.Environ(), hubEnv+"="+url)
	p.Stderr = os.Stderr
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Stdin, p.in = read, write
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		for range p.lines {
		}
		_ = p.Wait()
		_ = read.Close()
		_ = write.Close()
	})
	return p
}

// expect waits for a line that begins so.
func (p *process) expect(t *testing.T, prefix string) {
	t.Helper()
	select {
	case line := <-p.lines:
		if !strings.HasPrefix(line, prefix) {
			t.Fatalf("the hub says %q, want %q", line, prefix)
		}
	case <-time.After(patience):
		t.Fatalf("the hub does not say %q", prefix)
	}
}

// start runs an engine until the test ends.
func start(t *testing.T, s store.Store, owner string, run reconcile.HandlerFunc) *reconcile.Engine {
	t.Helper()
	e := engine(s, owner, run)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return e
}

func touch(t testing.TB, s store.Store, ids ...string) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		for _, id := range ids {
			if err := tx.Touch(t.Context(), store.WorkKey{Kind: kind, ID: id}, time.Time{}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func wait[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("waited in vain for " + what)
	}
	return v
}

// raw reads one number from the database beside the store.
func raw(t *testing.T, url, text string, args ...any) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), text, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

const databaseNow = "select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)"

func TestKilledHubIsReplacedWhenItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	url := database(t, template)
	s := open(t, postgres.Options{URL: url})
	first := spawn(t, url)
	touch(t, s, "c1")
	first.expect(t, "began")

	began := make(chan store.Lease, 1)
	start(t, s, "second", func(ctx context.Context, l store.Lease) reconcile.Outcome {
		began <- l
		return reconcile.Failed(note(ctx, s, l))
	})
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	until := raw(t, url, "select lease_until from work")
	l := wait(t, began, "the other hub to take over")
	if late := raw(t, url, databaseNow); late < until {
		t.Errorf("taken over %d µs before the end of the lease", until-late)
	}
	if l.Attempts != 2 {
		t.Errorf("lease %+v, want the second attempt", l)
	}
}

func TestPausedHubIsFencedOff(t *testing.T) {
	t.Parallel()
	url := database(t, template)
	s := open(t, postgres.Options{URL: url})
	first := spawn(t, url)
	touch(t, s, "c1")
	first.expect(t, "began")
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began, goOn := make(chan store.Lease, 1), make(chan struct{})
	start(t, s, "second", func(ctx context.Context, l store.Lease) reconcile.Outcome {
		began <- l
		<-goOn
		return reconcile.Failed(note(ctx, s, l))
	})
	l := wait(t, began, "the other hub to take over")
	if err := first.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := first.in.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	first.expect(t, `wrote "LeaseLost"`)
	close(goOn)
	for deadline := time.Now().Add(patience); ; time.Sleep(tick) {
		got := notes(t, s, "c1")
		if len(got) == 1 && got[0] == l.Owner {
			return
		}
		if len(got) > 1 || time.Now().After(deadline) {
			t.Fatalf("wrote: %v, want the second hub alone", got)
		}
	}
}

// TestTwoEnginesRunNothingTwiceAtATime has two engines with Stores of their own
// work on objects that are touched again and again.
func TestTwoEnginesRunNothingTwiceAtATime(t *testing.T) {
	t.Parallel()
	const objects, rounds = 60, 5
	url := database(t, template)
	var (
		mu    sync.Mutex
		busy  = map[string]string{}
		runs  = map[string]int{}
		fence = map[string]int64{}
	)
	var stores []*postgres.Store
	for _, owner := range []string{"one", "two"} {
		s := open(t, postgres.Options{URL: url})
		stores = append(stores, s)
		start(t, s, owner, func(ctx context.Context, l store.Lease) reconcile.Outcome {
			mu.Lock()
			if by, twice := busy[l.ID]; twice {
				t.Errorf("%s is run by %s and %s at once", l.ID, by, owner)
			}
			if l.Fence <= fence[l.ID] {
				t.Errorf("%s: fence %d after %d", l.ID, l.Fence, fence[l.ID])
			}
			busy[l.ID], fence[l.ID] = owner, l.Fence
			runs[owner]++
			mu.Unlock()
			err := note(ctx, stores[0], l)
			mu.Lock()
			delete(busy, l.ID)
			mu.Unlock()
			return reconcile.Failed(err)
		})
	}
	var ids []string
	for i := range objects {
		ids = append(ids, fmt.Sprintf("c%02d", i))
	}
	for i := range rounds {
		touch(t, stores[i%len(stores)], ids...)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(tick) {
		_, ok, err := stores[0].NextDue(t.Context(), []lazuli.Kind{kind})
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the work does not end")
		}
	}
	if n := raw(t, url, "select count(*) from work where observed = gen and owner = ''"); n != objects {
		t.Errorf("%d of %d objects were seen in their last generation", n, objects)
	}
	mu.Lock()
	defer mu.Unlock()
	if runs["one"] == 0 || runs["two"] == 0 {
		t.Errorf("runs: %v, want that both engines took part", runs)
	}
}
