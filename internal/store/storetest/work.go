// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// long is a lease that outlives the test; a lease of no length is over at once.
const long = time.Hour

func workCases() map[string]func(*suite) {
	return map[string]func(*suite){
		"claim":                           claims,
		"claim in order and within limit": claimOrder,
		"claim only the kinds":            claimKinds,
		"touch while claimed":             touchWhileClaimed,
		"touch for later":                 touchForLater,
		"finish":                          finishes,
		"attempts":                        attempts,
		"renew":                           renews,
		"fenced":                          fences,
		"release":                         releases,
		"next due":                        nextDue,
		"fence outlives the row":          fenceOutlivesRow,
		"claimers do not overlap":         claimersDoNotOverlap,
		"rows follow the model":           workModel,
	}
}

func key(id string) store.WorkKey { return store.WorkKey{Kind: thingKind, ID: id} }

func (s *suite) touch(id string, due time.Time) {
	s.Helper()
	s.update(func(tx store.Tx) error { return tx.Touch(s.ctx, key(id), due) })
}

func (s *suite) claim(owner string, limit int, lease time.Duration) []store.Lease {
	s.Helper()
	leases, err := s.store.Claim(s.ctx, owner, []lazuli.Kind{thingKind}, limit, lease)
	if err != nil {
		s.Fatal(err)
	}
	return leases
}

// one claims the one row that must be due.
func (s *suite) one(lease time.Duration) store.Lease {
	s.Helper()
	leases := s.claim("me", 10, lease)
	if len(leases) != 1 {
		s.Fatalf("claimed %+v, want one lease", leases)
	}
	return leases[0]
}

// none checks that nothing can be claimed.
func (s *suite) none(reason string) {
	s.Helper()
	if leases := s.claim("none", 10, long); len(leases) != 0 {
		s.Errorf("%s: claimed %+v", reason, leases)
	}
}

func (s *suite) finish(done ...store.Finish) {
	s.Helper()
	if err := s.store.Finish(s.ctx, done); err != nil {
		s.Fatal(err)
	}
}

func claims(s *suite) {
	s.none("nothing was touched")
	s.touch("a", time.Time{})
	before := time.Now()
	l := s.one(long)
	want := store.Lease{WorkKey: key("a"), Owner: "me", Fence: 1, Gen: 1, Attempts: 1, Until: l.Until}
	s.same(want, l, "the lease")
	if l.Until.Before(before.Add(long-time.Second)) || l.Until.After(time.Now().Add(long+time.Second)) {
		s.Errorf("the lease is until %s", l.Until)
	}
	s.none("it is leased")
	if leases := s.claim("me", 0, long); len(leases) != 0 {
		s.Errorf("no limit means none: %+v", leases)
	}
	if leases, err := s.store.Claim(s.ctx, "me", nil, 1, long); err != nil || len(leases) != 0 {
		s.Errorf("no kinds: %+v, %v", leases, err)
	}
	if _, err := s.store.Claim(s.ctx, "", []lazuli.Kind{thingKind}, 1, long); err == nil {
		s.Error("claimed for no owner")
	}
}

func claimOrder(s *suite) {
	now := time.Now()
	for i, id := range []string{"c", "a", "b"} {
		s.touch(id, now.Add(time.Duration(i-10)*time.Minute))
	}
	var got []string
	for _, l := range slices.Concat(s.claim("me", 2, long), s.claim("me", 2, long)) {
		got = append(got, l.ID)
	}
	s.same([]string{"c", "a", "b"}, got, "the longest due first")
}

func claimKinds(s *suite) {
	s.update(func(tx store.Tx) error {
		for _, kind := range []lazuli.Kind{"x", "y", "z"} {
			if err := tx.Touch(s.ctx, store.WorkKey{Kind: kind, ID: "same"}, time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
	leases, err := s.store.Claim(s.ctx, "me", []lazuli.Kind{"z", "x"}, 10, long)
	if err != nil || len(leases) != 2 {
		s.Fatalf("claimed %+v, %v", leases, err)
	}
	s.finish(store.Finish{Lease: leases[0]})
	if _, ok, err := s.store.NextDue(s.ctx, []lazuli.Kind{"other"}); err != nil || ok {
		s.Errorf("another kind is due: %v", err)
	}
	if _, ok, err := s.store.NextDue(s.ctx, nil); err != nil || ok {
		s.Errorf("no kind is due: %v", err)
	}
	leases, err = s.store.Claim(s.ctx, "me", []lazuli.Kind{"x", "y", "z"}, 10, long)
	if err != nil || len(leases) != 1 || leases[0].Kind != "y" {
		s.Errorf("claimed %+v, %v, want y", leases, err)
	}
}

func touchWhileClaimed(s *suite) {
	for _, test := range []struct {
		reason string
		touch  time.Time
		finish store.Finish
	}{
		{reason: "finished for good"},
		{reason: "finished for later", finish: store.Finish{Due: time.Now().Add(long)}},
		{reason: "dropped", finish: store.Finish{Drop: true}},
		{reason: "touched for later", touch: time.Now().Add(long)},
	} {
		s.touch("a", time.Time{})
		l := s.one(long)
		s.touch("a", test.touch)
		s.none(test.reason + ": touched, but leased")
		test.finish.Lease = l
		s.finish(test.finish)
		again := s.one(long)
		if again.Gen != l.Gen+1 {
			s.Errorf("%s: generation %d after %d", test.reason, again.Gen, l.Gen)
		}
		s.finish(store.Finish{Lease: again})
		s.none(test.reason + ": all was looked at")
	}
}

func touchForLater(s *suite) {
	s.touch("a", time.Now().Add(long))
	s.none("not due")
	s.touch("a", time.Now().Add(2*long))
	due, ok, err := s.store.NextDue(s.ctx, []lazuli.Kind{thingKind})
	if err != nil || !ok || due.After(time.Now().Add(long)) {
		s.Errorf("a later touch put the work off to %s, %v, %v", due, ok, err)
	}
	s.touch("a", time.Time{})
	if l := s.one(long); l.Gen != 3 {
		s.Errorf("generation %d, want 3", l.Gen)
	}
}

func finishes(s *suite) {
	s.touch("later", time.Time{})
	s.touch("never", time.Time{})
	s.touch("now", time.Time{})
	s.touch("gone", time.Time{})
	dues := map[string]store.Finish{
		"later": {Due: time.Now().Add(long)}, "never": {}, "now": {Due: time.Now().Add(-time.Second)}, "gone": {Drop: true},
	}
	var done []store.Finish
	for _, l := range s.claim("me", 10, long) {
		f := dues[l.ID]
		f.Lease = l
		done = append(done, f)
	}
	s.finish(done...)
	again := s.one(long)
	s.same("now", again.ID, "the one that is due")
	s.finish(done...) // those leases are over
	s.none("a finish under a lease that is over does nothing")
	s.finish(store.Finish{Lease: again})
	s.touch("never", time.Time{})
	s.same("never", s.one(long).ID, "a touch wakes what was never due")
	s.touch("gone", time.Time{})
	if l := s.one(long); l.Gen != 1 || l.Attempts != 1 {
		s.Errorf("the row that was dropped came back as %+v", l)
	}

	s.touch("late", time.Time{})
	over := s.one(0)
	s.finish(store.Finish{Lease: over})
	s.same("late", s.one(long).ID, "a finish after the end of the lease is ignored")
	s.finish()
}

func attempts(s *suite) {
	s.touch("a", time.Time{})
	now := time.Now().Add(-time.Second)
	for i, reset := range []bool{false, false, true, false} {
		l := s.one(long)
		if want := []int{1, 2, 3, 1}[i]; l.Attempts != want {
			s.Errorf("claim %d is attempt %d, want %d", i, l.Attempts, want)
		}
		s.finish(store.Finish{Lease: l, Due: now, Reset: reset})
	}
	s.one(0) // a crash
	if l := s.one(long); l.Attempts != 3 {
		s.Errorf("a claim without a finish was not counted: attempt %d, want 3", l.Attempts)
	}
}

func renews(s *suite) {
	s.touch("a", time.Time{})
	l := s.one(time.Minute)
	r, err := s.store.Renew(s.ctx, l, long)
	if err != nil {
		s.Fatal(err)
	}
	if !r.Until.After(l.Until) {
		s.Errorf("renewed until %s, was %s", r.Until, l.Until)
	}
	l.Until = r.Until
	s.same(l, r, "the renewed lease differs in its end only")
	other := l
	other.Owner = "other"
	_, err = s.store.Renew(s.ctx, other, long)
	s.code(err, lazuli.CodeFenced, "renew by another owner")
	s.finish(store.Finish{Lease: l, Due: time.Now().Add(-time.Second)})
	_, err = s.store.Renew(s.ctx, l, long)
	s.code(err, lazuli.CodeFenced, "renew after the finish")
	over := s.one(0)
	_, err = s.store.Renew(s.ctx, over, long)
	s.code(err, lazuli.CodeFenced, "renew after the end")
	next := s.one(long)
	_, err = s.store.Renew(s.ctx, over, long)
	s.code(err, lazuli.CodeFenced, "renew after another claim by the same owner")
	if _, err := s.store.Renew(s.ctx, next, long); err != nil {
		s.Errorf("the holder was disturbed: %v", err)
	}
}

func fences(s *suite) {
	s.touch("a", time.Time{})
	old := s.one(0)
	l := s.one(long)
	if l.Fence <= old.Fence {
		s.Errorf("fence %d after %d", l.Fence, old.Fence)
	}
	o := s.thing("o", "")
	write := func(tx store.Tx) error { return tx.Create(s.ctx, o) }
	stranger := l
	stranger.Owner = "other"
	elsewhere := l
	elsewhere.ID = "b"
	for reason, lease := range map[string]store.Lease{
		"lease that is over": old, "another's lease": stranger, "lease of nothing": elsewhere, "no lease": {},
	} {
		s.code(s.store.Fenced(s.ctx, lease, write), lazuli.CodeFenced, reason)
	}
	s.gone(o.UID)
	if err := s.store.Fenced(s.ctx, l, write); err != nil {
		s.Errorf("the holder: %v", err)
	}
	s.get(o.UID)
	if err := s.store.Fenced(s.ctx, l, func(store.Tx) error { return errRollback }); err == nil {
		s.Error("the error of fn was lost")
	}
	s.finish(store.Finish{Lease: l})
	s.code(s.store.Fenced(s.ctx, l, write), lazuli.CodeFenced, "after the finish")
}

func releases(s *suite) {
	for i := range 3 {
		s.touch(fmt.Sprint(i), time.Time{})
	}
	leases := s.claim("me", 2, long)
	s.touch("later", time.Now().Add(long))
	if err := s.store.Release(s.ctx, "me"); err != nil {
		s.Fatal(err)
	}
	for _, l := range leases {
		s.code(s.store.Fenced(s.ctx, l, func(store.Tx) error { return nil }), lazuli.CodeFenced, "released")
	}
	if again := s.claim("other", 10, long); len(again) != 3 {
		s.Errorf("claimed %d after the release, want the 3 that are due", len(again))
	}
}

func nextDue(s *suite) {
	kinds := []lazuli.Kind{thingKind}
	check := func(reason string, want time.Time) {
		s.Helper()
		due, ok, err := s.store.NextDue(s.ctx, kinds)
		if err != nil || ok == want.IsZero() {
			s.Errorf("%s: %s, %v, %v", reason, due, ok, err)
		}
		if d := due.Sub(want); ok && d.Abs() > time.Minute {
			s.Errorf("%s: due at %s, want about %s", reason, due, want)
		}
	}
	now := time.Now()
	check("nothing was ever touched", time.Time{})
	s.touch("a", now.Add(3*long))
	check("work for later", now.Add(3*long))
	s.touch("b", time.Time{})
	check("work for now", now)
	l := s.one(2 * long)
	check("the end of a lease: who holds it may be dead", now.Add(2*long))
	s.finish(store.Finish{Lease: l})
	check("the rest", now.Add(3*long))
	s.touch("a", time.Time{})
	s.finish(store.Finish{Lease: s.one(long)})
	check("all is done", time.Time{})
}

func fenceOutlivesRow(s *suite) {
	s.touch("a", time.Time{})
	for range 3 {
		s.one(0)
	}
	old := s.one(long)
	s.finish(store.Finish{Lease: old, Drop: true})
	if _, ok, err := s.store.NextDue(s.ctx, []lazuli.Kind{thingKind}); err != nil || ok {
		s.Errorf("the row is still there: %v", err)
	}
	s.touch("a", time.Time{})
	l := s.one(long)
	if l.Fence <= old.Fence {
		s.Errorf("fence %d after %d", l.Fence, old.Fence)
	}
	s.code(s.store.Fenced(s.ctx, old, func(store.Tx) error { return nil }), lazuli.CodeFenced, "lease of the removed row")
}

// claimersDoNotOverlap has several owners empty a table at once.
func claimersDoNotOverlap(s *suite) {
	const rows, owners = 100, 4
	s.update(func(tx store.Tx) error {
		for i := range rows {
			if err := tx.Touch(s.ctx, key(fmt.Sprint(i)), time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
	var (
		mu  sync.Mutex
		got = map[string]string{}
		wg  sync.WaitGroup
	)
	for i := range owners {
		owner := fmt.Sprint("owner", i)
		wg.Go(func() { s.empty(s.ctx, owner, &mu, got) })
	}
	wg.Wait()
	if len(got) != rows {
		s.Errorf("%d rows were claimed, want %d", len(got), rows)
	}
}

// empty claims until nothing is due.
func (s *suite) empty(ctx context.Context, owner string, mu *sync.Mutex, got map[string]string) {
	for {
		leases, err := s.store.Claim(ctx, owner, []lazuli.Kind{thingKind}, 7, long)
		if err != nil {
			s.Error(err)
			return
		}
		if len(leases) == 0 {
			return
		}
		if !note(leases, owner, mu, got) {
			s.Errorf("%s got a lease that another holds", owner)
			return
		}
	}
}

// note records who got which row; false is that someone has one already.
func note(leases []store.Lease, owner string, mu *sync.Mutex, got map[string]string) bool {
	mu.Lock()
	defer mu.Unlock()
	for _, l := range leases {
		if _, twice := got[l.ID]; twice {
			return false
		}
		got[l.ID] = owner
	}
	return true
}
