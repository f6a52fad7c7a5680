// SPDX-License-Identifier: Apache-2.0

package sqltext

import (
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// Dialect is where the two databases part, in the statements on work rows
// only: whose clock a lease follows, how a claim passes over what others are
// claiming, and where fences come from.
//
// When work is due is told by the clock of who asks, as every time that the
// store stamps; the database's clock decides about the end of leases alone.
type Dialect struct {
	clock      string // "" is the caller's
	skipLocked string
	holdLock   string
	firstFence string
	nextFence  string
	raiseFence bool // Touch reads where removed rows left off
	oneProcess bool // Release ends the leases of all owners
}

// SQLite is the dialect of a database that one process has to itself.
func SQLite() Dialect {
	return Dialect{
		firstFence: "(select value from counter where name='fence')",
		nextFence:  "fence+1",
		raiseFence: true,
		oneProcess: true,
	}
}

// Postgres is the dialect of a database that several processes share.
//
// Fences come from one sequence: it is read at once by all, whatever their
// snapshots, and never goes back. Who holds a lease locks the row so that no
// one claims it before the holder's transaction ends, while touches and
// renewals go on: they do not wait for a key share lock, "for update" does.
func Postgres() Dialect {
	return Dialect{
		clock:      "cast(extract(epoch from statement_timestamp()) * 1000000 as bigint)",
		skipLocked: " for update skip locked",
		holdLock:   " for key share",
		firstFence: "0",
		nextFence:  "nextval('work_fence')",
	}
}

// leaseNow renders the present for the end of leases.
func (d Dialect) leaseNow(b *builder, now time.Time) string {
	if d.clock != "" {
		return d.clock
	}
	return b.micros(Micros(now))
}

// micros renders a number that PostgreSQL must not take for an int4.
func (b *builder) micros(n int64) string { return "cast(" + b.arg(n) + " as bigint)" }

// Touch makes work due. It takes the fence of a new row from where removed
// rows left off.
func (d Dialect) Touch(key store.WorkKey, due time.Time) Statement {
	return Statement{
		Text: `insert into work (kind, id, gen, observed, due, lease_until, owner, fence, attempts)
 values ($1, $2, 1, 0, $3, 0, '', ` + d.firstFence + `, 0)
 on conflict (kind, id) do update set gen=work.gen+1,
 due=case when excluded.due < work.due then excluded.due else work.due end`,
		Args: []any{string(key.Kind), key.ID, Micros(due)},
	}
}

// Claim leases due rows; it returns kind, id, gen, fence, attempts and due of
// each. The rows are chosen once, or PostgreSQL might choose anew for each row
// that it compares and pass the limit.
func (d Dialect) Claim(owner string, kinds []lazuli.Kind, limit int, lease time.Duration, now time.Time) Statement {
	var b builder
	choose := "select w.kind, w.id from work w where w.due <= " + b.micros(Micros(now)) +
		" and w.lease_until <= " + d.leaseNow(&b, now) + " and " + b.kindIn("w.", kinds) +
		" order by w.due limit " + b.arg(limit) + d.skipLocked
	return Statement{
		Text: "with next as materialized (" + choose + ")" +
			" update work set owner=" + b.arg(owner) +
			", lease_until=" + d.leaseNow(&b, now) + "+" + b.micros(lease.Microseconds()) +
			", fence=" + d.nextFence + ", attempts=attempts+1" +
			" where (kind, id) in (select kind, id from next)" +
			" returning kind, id, gen, fence, attempts, due",
		Args: b.args,
	}
}

// under renders that the row is the lease's and the lease is not over.
func (d Dialect) under(b *builder, l store.Lease, now time.Time) string {
	return " where kind=" + b.arg(string(l.Kind)) + " and id=" + b.arg(l.ID) + " and owner=" + b.arg(l.Owner) +
		" and fence=" + b.arg(l.Fence) + " and lease_until > " + d.leaseNow(b, now)
}

// Finish records the end of a lease, in this order and in one transaction.
// Each statement does nothing when the lease does not hold, the last one also
// when the row was dropped.
func (d Dialect) Finish(f store.Finish, now time.Time) (all []Statement) {
	if f.Drop {
		if d.raiseFence {
			all = append(all, Statement{
				Text: "update counter set value=$1 where name='fence' and value < $1", Args: []any{f.Lease.Fence},
			})
		}
		var b builder
		all = append(all, Statement{
			Text: "delete from work" + d.under(&b, f.Lease, now) + " and gen=" + b.arg(f.Lease.Gen), Args: b.args,
		})
	}
	due := Never
	if !f.Due.IsZero() {
		due = Micros(f.Due)
	}
	attempts := "attempts"
	if f.Reset {
		attempts = "0"
	}
	var b builder
	observed := b.micros(f.Lease.Gen)
	return append(all, Statement{
		Text: "update work set observed=" + observed + ", owner='', lease_until=0, due=case when gen > " + observed +
			" then " + b.micros(Micros(now)) + " else " + b.micros(due) + " end, attempts=" + attempts +
			d.under(&b, f.Lease, now),
		Args: b.args,
	})
}

// Renew prolongs a lease; it affects no row when the lease does not hold.
func (d Dialect) Renew(l store.Lease, lease time.Duration, now time.Time) Statement {
	var b builder
	return Statement{
		Text: "update work set lease_until=" + d.leaseNow(&b, now) + "+" + b.micros(lease.Microseconds()) + d.under(&b, l, now),
		Args: b.args,
	}
}

// Holds selects one row when the lease holds, and keeps others from claiming
// it while the transaction lasts.
func (d Dialect) Holds(l store.Lease, now time.Time) Statement {
	var b builder
	return Statement{Text: "select fence from work" + d.under(&b, l, now) + d.holdLock, Args: b.args}
}

// Release ends the leases of an owner, or all where there is one process.
func (d Dialect) Release(owner string, now time.Time) Statement {
	var b builder
	at := b.micros(Micros(now))
	text := "update work set owner='', lease_until=0, due=case when due < " + at + " then due else " + at + " end where owner<>''"
	if !d.oneProcess {
		text += " and owner=" + b.arg(owner)
	}
	return Statement{Text: text, Args: b.args}
}

// NextDue selects when rows of the kinds can be claimed, by the caller's
// clock: one row for those without and one for those with a lease.
func (d Dialect) NextDue(kinds []lazuli.Kind, now time.Time) Statement {
	var b builder
	return Statement{
		Text: "select min(due) from work where owner='' and due < " + b.micros(Never) + " and " + b.kindIn("", kinds) +
			" union all select min(lease_until) - " + d.leaseNow(&b, now) + " + " + b.micros(Micros(now)) +
			" from work where owner<>'' and " + b.kindIn("", kinds),
		Args: b.args,
	}
}

// kindIn renders a condition on the kind that no index serves: the rows are to
// be found in the order of due, of which few are looked at, not by kind.
func (b *builder) kindIn(alias string, kinds []lazuli.Kind) string {
	list := make([]string, len(kinds))
	for i, k := range kinds {
		list[i] = b.arg(string(k))
	}
	return alias + "kind || '' in (" + strings.Join(list, ", ") + ")"
}
