// SPDX-License-Identifier: Apache-2.0

// Package storetest is the suite that every driver of the store passes. It
// knows drivers by store.Store alone and uses the real clock, so that a driver
// whose leases follow the database's clock can join.
//
// It refuses to sleep: what must be over is given a lease of no length.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// patience bounds the waits for what another goroutine does.
const patience = 10 * time.Second

// Run runs the suite; open returns an empty store that is closed when t ends.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	t.Helper()
	for _, group := range []struct {
		name  string
		cases map[string]func(*suite)
	}{
		{"objects", objectCases()},
		{"query", queryCases()},
		{"events", eventCases()},
		{"upkeep", upkeepCases()},
		{"work", workCases()},
		{"watch", watchCases()},
	} {
		for name, run := range group.cases {
			t.Run(group.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				run(&suite{T: t, ctx: t.Context(), store: open(t)})
			})
		}
	}
}

// suite is one case at work.
type suite struct {
	*testing.T
	ctx   context.Context
	store store.Store
	uids  atomic.Int64
}

// Thing is an object of any kind, with any index.
type Thing struct {
	lazuli.Meta
	KindName lazuli.Kind    `json:"kindName"`
	IndexIs  lazuli.Index   `json:"index"`
	Text     string         `json:"text,omitempty"`
	List     *[]string      `json:"list,omitempty"`
	Count    int            `json:"count,omitempty"`
	More     map[string]int `json:"more,omitempty"`
}

// Kind implements lazuli.Object.
func (t *Thing) Kind() lazuli.Kind { return t.KindName }

// Index implements lazuli.Object.
func (t *Thing) Index() lazuli.Index { return t.IndexIs }

const thingKind lazuli.Kind = "thing"

// thing makes a new object; unique may be empty.
func (s *suite) thing(name, unique string) *Thing {
	return &Thing{
		Meta:     lazuli.Meta{UID: s.uid(), Name: name},
		KindName: thingKind,
		IndexIs:  lazuli.Index{Unique: unique},
	}
}

func (s *suite) uid() string { return fmt.Sprintf("%024x", s.uids.Add(1)) }

// update runs one transaction that must commit.
func (s *suite) update(fn func(tx store.Tx) error) {
	s.Helper()
	if err := s.store.Update(s.ctx, fn); err != nil {
		s.Fatalf("update: %v", err)
	}
}

func (s *suite) create(all ...*Thing) {
	s.Helper()
	s.update(func(tx store.Tx) error {
		for _, o := range all {
			if err := tx.Create(s.ctx, o); err != nil {
				return err
			}
		}
		return nil
	})
}

// get reads a thing that must be there.
func (s *suite) get(uid string) *Thing {
	s.Helper()
	got := &Thing{KindName: thingKind}
	if err := s.store.Get(s.ctx, uid, got); err != nil {
		s.Fatalf("get %s: %v", uid, err)
	}
	return got
}

// gone checks that there is no such thing.
func (s *suite) gone(uid string) {
	s.Helper()
	err := s.store.Get(s.ctx, uid, &Thing{KindName: thingKind})
	s.code(err, lazuli.CodeNotFound, "get "+uid)
}

func (s *suite) code(err error, want lazuli.Code, act string) {
	s.Helper()
	if got := lazuli.CodeOf(err); got != want {
		s.Errorf("%s: code %q (%v), want %q", act, got, err, want)
	}
}

func (s *suite) same(want, got any, reason string) {
	s.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("%s (-want +got):\n%s", reason, diff)
	}
}

var errRollback = errors.New("changed my mind")
