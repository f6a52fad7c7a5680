// SPDX-License-Identifier: Apache-2.0

// Package store is the contract that keeps the hub's state: typed objects with
// optimistic versions, work rows with leases and fences, append-only events
// and audits, and a watch. Drivers live beside it (store/sqlite); the suite in
// store/storetest says what a driver must do, and every driver passes it.
//
// It refuses to know the domain's rules, to retry, to delete what it cannot
// read, and to take the time from the database: the caller's clock stamps.
//
// # Objects
//
// An object is stored as JSON beside the columns that it is found by. Update
// succeeds only when Meta.Version is the stored version, and raises it; else it
// fails with lazuli.CodeConflict. Create fails with lazuli.CodeDuplicateName
// when the kind already has the object's Index().Unique. A missing object is
// lazuli.CodeNotFound. A database that cannot answer is
// lazuli.CodeUnavailable. All writes of a transaction happen or none does, and
// what Update and Fenced acknowledged survives power loss.
//
// # Listings
//
// Objects of listed kinds (lazuli.Kind.Listed) also have a row of their own,
// written in the same transaction, with the columns and facets that users
// search them by and with a head: the short form that lists show, as Listing
// makes it. A Query of such a kind is answered from these rows alone when it
// asks for Heads. What another release listed is listed anew by Upkeep.
//
// # Work
//
// A work row says that the object (kind, id) needs a look at Due:
//
//	touch:  gen+1, due = at (never later than it was)       with the state change's transaction
//	claim:  due <= now and lease over -> lease, fence+1      at most one owner at a time
//	finish: observed = gen claimed; due = now if gen moved on meanwhile, else as asked
//
// A touch during a lease therefore always causes another look at once, whatever
// time it named: a handler does not touch the object that it works on, it
// finishes with the time of the next look. The fence of a lease only grows,
// also over the removal of the row. Power loss may undo the last claims,
// renewals and finishes: each is one more look at an object, no more.
//
// Fenced runs a transaction that fails with lazuli.CodeFenced unless the lease
// still holds, so that a writer who was stopped for longer than its lease
// changes nothing. A Hold says the same of writes that go elsewhere.
package store

import (
	"context"
	"time"

	"github.com/lazuli-dev/lazuli"
)

// WorkKey names the object that a work row is about.
type WorkKey struct {
	Kind lazuli.Kind
	ID   string
}

// Lease is the right to work on one object, until Until or until the fence
// moves on.
type Lease struct {
	WorkKey
	Owner    string
	Fence    int64
	Gen      int64 // generation when claimed
	Attempts int   // claims since the last finish that reset it, this one included
	Until    time.Time
}

// Finish ends a lease.
type Finish struct {
	Lease Lease
	Due   time.Time // next look; zero is never, until touched
	Reset bool      // the attempts start again from zero
	Drop  bool      // remove the row, unless it was touched meanwhile
}

// Field is a column that a Query may filter or sort by.
type Field string

// The fields of a Query.
const (
	FieldUID     Field = "uid"
	FieldName    Field = "name" // compared and sorted without regard to case
	FieldProject Field = "project"
	FieldOwner   Field = "owner"
	FieldState   Field = "state"
	FieldHealth  Field = "health" // of listed kinds alone, see lazuli.Kind.Listed
	FieldCreated Field = "created"
	FieldUpdated Field = "updated"
)

// Op compares a field with a value.
type Op string

// The comparisons of a Query.
const (
	Eq        Op = "eq"
	NotEq     Op = "ne"
	In        Op = "in" // equal to any of Values; to none when there are none
	Contains  Op = "contains"
	Prefix    Op = "prefix"
	Has       Op = "has" // the label or facet is there, whatever its value
	Less      Op = "lt"  // of times, as the three below
	LessEq    Op = "lte"
	Greater   Op = "gt"
	GreaterEq Op = "gte"
)

// Case says whether a comparison of texts tells A from a.
type Case string

const (
	// CaseUsual is for names and for Contains and Prefix not to, else to: names
	// compare folded; other columns, labels and facets compare exactly with Eq,
	// NotEq and In, and without regard to the case of ASCII letters otherwise.
	CaseUsual Case = ""
	// CaseExact compares texts as they are.
	CaseExact Case = "exact"
	// CaseFolded compares what lazuli.Fold makes of names, labels and facets;
	// of other columns it folds ASCII letters.
	CaseFolded Case = "folded"
)

// Where is one condition on a column, or, when Label or Facet is set, on a
// label or on the values of a facet.
//
// A condition on a facet holds when any of its values does as it says; NotEq
// holds when none is equal, so also for objects without that label or facet.
// Times compare with Eq, NotEq, Less, LessEq, Greater and GreaterEq, and their
// Value is RFC 3339. A condition that cannot be is lazuli.CodeInvalidField.
type Where struct {
	Field  Field
	Label  string // key of a label; Field is then ignored
	Facet  string // name of a facet of a listed kind; Field is then ignored
	Op     Op
	Case   Case
	Value  string
	Values []string // of In
}

// Join joins conditions.
type Join string

// The joins. And of nothing holds, Or of nothing does not; Nor holds when none
// of its members does.
const (
	And Join = "and"
	Or  Join = "or"
	Nor Join = "nor"
)

// Expr is a condition or a join of expressions.
type Expr struct {
	Join  Join // "" is that Where counts
	Of    []Expr
	Where Where
}

// That is an expression of one condition.
func That(w Where) Expr { return Expr{Where: w} }

// Joined joins expressions.
func Joined(how Join, of ...Expr) Expr { return Expr{Join: how, Of: of} }

// Order sorts by a field.
type Order struct {
	Field Field
	Desc  bool
}

// Query selects objects of one kind: those for which every condition of Where
// and the Filter hold. Results are ordered by (Sort, Then, uid), uids in the
// direction of the field before.
//
// A page begins behind the last row of the page that After names, and Offset
// rows further on.
type Query struct {
	Kind   lazuli.Kind
	Where  []Where
	Filter *Expr
	Sort   Field // default FieldCreated
	Desc   bool
	Then   []Order
	Limit  int // 0 is all
	Offset int
	After  string // Page.Next of the page before
	// Heads asks a listed kind for Row.Head in place of Row.Data, which is then
	// not read.
	Heads bool
	// Bare leaves out of Row.Meta all but the uid, the version and the times:
	// for those who decode Row.Data anyway, and would decode it twice.
	Bare bool
}

// Page is one page of results.
type Page struct {
	Rows   []Row
	Next   string // "" at the end
	Total  int    // rows that match, over all pages
	Offset int    // rows before this page, as far as the pages before told
}

// Row is a stored object, not yet decoded.
type Row struct {
	// Meta has Version and the times set. Of a row with a head it has no labels
	// and annotations.
	Meta lazuli.Meta
	Data []byte
	// Head is what Listing.Head made of the object, nil when it was made by
	// another version of it, or not at all: then read the object.
	Head []byte
}

// Listing makes the short form of a listed kind that lists show, so that a page
// of a list reads and decodes no whole objects. It is stored with each write.
type Listing struct {
	Version int // of what Head makes, from 1 on
	Head    func(o lazuli.Object) ([]byte, error)
	New     func() lazuli.Object // to decode rows into that need another head
}

// Listings holds the Listing of listed kinds that have one.
type Listings map[lazuli.Kind]Listing

// EventQuery selects events, newest first.
type EventQuery struct {
	Kind   lazuli.Kind
	Object string
	Limit  int    // 0 is 1000
	Before string // uid of the last event of the page before
}

// Upkeep is the work of Store.Upkeep: to drop the events and audits of objects
// that are gone, and to list objects anew that another release listed.
type Upkeep struct {
	KeepGone time.Duration // how long after an object events and audits stay
	Batch    int           // objects at a time
}

// Change says that an object, its events or its work changed. It carries no
// data: read what is now.
type Change struct {
	Kind lazuli.Kind
	UID  string
	Work bool // its work row was touched: it is due, now or at a later time
}

// Reader reads one consistent state.
type Reader interface {
	// Get decodes an object into dst, whose Kind says where to look. What dst
	// held before is gone.
	Get(ctx context.Context, uid string, dst lazuli.Object) error
	// ByUnique decodes the object with that Index().Unique into dst.
	ByUnique(ctx context.Context, unique string, dst lazuli.Object) error
	Query(ctx context.Context, q Query) (Page, error)
	Events(ctx context.Context, q EventQuery) ([]lazuli.Event, error)
}

// Tx is a transaction that writes.
type Tx interface {
	Reader
	// Create stores a new object; it stamps the times and sets Version to 1. A
	// uid that the kind has already is lazuli.CodeConflict. When the
	// transaction does not commit, o gets back what Create and Update set.
	Create(ctx context.Context, o lazuli.Object) error
	// Update replaces an object; it stamps UpdatedAt and raises Version.
	// CreatedAt stays what Create made it.
	Update(ctx context.Context, o lazuli.Object) error
	// Delete removes an object of any version; a missing one is no error.
	Delete(ctx context.Context, kind lazuli.Kind, uid string) error
	// Touch makes the object's work due at that time, or now when zero.
	Touch(ctx context.Context, key WorkKey, due time.Time) error
	AppendEvent(ctx context.Context, e lazuli.Event) error
	AppendAudit(ctx context.Context, a lazuli.Audit) error
}

// Queue is the work rows of a database.
type Queue interface {
	// Claim leases at most limit due rows of the kinds to owner.
	Claim(ctx context.Context, owner string, kinds []lazuli.Kind, limit int, lease time.Duration) ([]Lease, error)
	// Finish ends leases; those that no longer hold are ignored.
	Finish(ctx context.Context, done []Finish) error
	// Renew prolongs a lease and fails with lazuli.CodeFenced when it no longer holds.
	Renew(ctx context.Context, l Lease, lease time.Duration) (Lease, error)
	// Release ends all leases of owner at once; the driver for one process
	// alone (SQLite) ends all leases. Their rows become due.
	Release(ctx context.Context, owner string) error
	// NextDue says when the earliest row of the kinds can be claimed: an
	// unleased row when it is due, a leased one when its lease is over. ok is
	// false when there is none.
	NextDue(ctx context.Context, kinds []lazuli.Kind) (due time.Time, ok bool, err error)
}

// Store is a database of the hub.
type Store interface {
	Reader
	Queue
	// Update runs fn in one transaction. fn may be run again after a
	// serialisation failure, so its effects are only those on tx. Inside fn
	// only tx is used: a call of the store itself may wait for ever. After an
	// error of tx fn may go on with it; an error of fn undoes everything.
	Update(ctx context.Context, fn func(Tx) error) error
	// Fenced is Update under a lease.
	Fenced(ctx context.Context, l Lease, fn func(Tx) error) error
	// Watch sends changes until ctx ends. A slow reader loses repeats of one
	// object, never the last change of any.
	Watch(ctx context.Context) (<-chan Change, error)

	// Upkeep does a batch of what has to be done now and then, in a transaction
	// of its own, and reports whether there is more to do.
	Upkeep(ctx context.Context, u Upkeep) (more bool, err error)

	// Writable reports whether a change would be stored now; lazuli.CodeUnavailable
	// is that it would not. It costs a small write at most, and may answer from a
	// change that was stored seconds ago.
	Writable(ctx context.Context) error

	Close() error
}
