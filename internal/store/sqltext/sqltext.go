// SPDX-License-Identifier: Apache-2.0

// Package sqltext holds the SQL of the store, in the one dialect that SQLite
// and PostgreSQL share: parameters are $1 to $n, columns are text or bigint,
// times are microseconds since 1970 that the caller's clock gave, and JSON is
// text. A parameter in a comparison or CASE that has no column's type beside
// it is cast to bigint, since PostgreSQL would take it for an int4.
//
// It refuses to open a database, to ask one for the time, and to let any text
// of a user into a statement: fields and operators come from an allow-list,
// values are parameters.
package sqltext

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Never is the due time of work that waits for a touch.
const Never int64 = math.MaxInt64

// Micros is the stored form of a time; the zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time is the inverse of Micros, in UTC.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// Objects. The conditions uniq<>” let the partial index serve. InsertObject and UpdateObject affect no row when a key is taken:
// PostgreSQL would abort the transaction on a violated constraint.
const (
	InsertObject = `insert into object
 (kind, uid, project, owner, name, name_folded, state, uniq, version, created, updated, data_version, data)
 values ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $9, $10, $11) on conflict do nothing`

	UpdateObject = `update object set project=$3, owner=$4, name=$5, name_folded=$6, state=$7, uniq=$8,
 version=version+1, updated=$9, data_version=$10, data=$11
 where kind=$1 and uid=$2 and version=$12
 and ($8='' or not exists (select 1 from object o where o.kind=$1 and o.uniq=$8 and o.uniq<>'' and o.uid<>$2))`

	DeleteObject = `delete from object where kind=$1 and uid=$2`

	GetObject = `select uid, version, created, updated, data_version, data from object where kind=$1 and uid=$2`

	// ObjectByUnique needs a value: the empty one is shared by many.
	ObjectByUnique = `select uid, version, created, updated, data_version, data from object
 where kind=$1 and uniq=$2 and uniq<>''`

	// ObjectVersion tells why UpdateObject affected nothing.
	ObjectVersion = `select version from object where kind=$1 and uid=$2`

	DeleteLabels = `delete from label where kind=$1 and uid=$2`
	InsertLabel  = `insert into label (kind, uid, key, value) values ($1, $2, $3, $4)`
)

// Events and audits.
const (
	InsertEvent = `insert into event (uid, at, project, kind, object, name, severity, reason, message)
 values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`

	// TrimEvents keeps the $3+1 newest events of an object.
	TrimEvents = `delete from event where kind=$1 and object=$2 and seq <
 (select e.seq from event e where e.kind=$1 and e.object=$2 order by e.seq desc limit 1 offset $3)`

	Events = `select uid, at, project, kind, object, name, severity, reason, message from event
 where kind=$1 and object=$2 order by seq desc limit $3`

	EventsBefore = `select uid, at, project, kind, object, name, severity, reason, message from event
 where kind=$1 and object=$2 and seq < (select b.seq from event b where b.uid=$4) order by seq desc limit $3`

	InsertAudit = `insert into audit (uid, at, actor, request_id, operation, project, kind, object, outcome)
 values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
)

// Work rows.
const (
	// Touch takes the fence of a new row from where removed rows left off.
	Touch = `insert into work (kind, id, gen, observed, due, lease_until, owner, fence, attempts)
 values ($1, $2, 1, 0, $3, 0, '', (select value from counter where name='fence'), 0)
 on conflict (kind, id) do update set gen=work.gen+1,
 due=case when excluded.due < work.due then excluded.due else work.due end`

	FinishWork = `update work set observed=$5, owner='', lease_until=0,
 due=case when gen > $5 then cast($7 as bigint) else cast($6 as bigint) end,
 attempts=case when cast($8 as bigint) = 1 then 0 else attempts end
 where kind=$1 and id=$2 and owner=$3 and fence=$4 and lease_until > $7`

	// DropWork affects no row when the row was touched since it was claimed.
	DropWork = `delete from work where kind=$1 and id=$2 and owner=$3 and fence=$4 and gen=$5 and lease_until > $6`

	// RaiseFence runs before DropWork, for Touch.
	RaiseFence = `update counter set value=$1 where name='fence' and value < $1`

	RenewWork = `update work set lease_until=$6
 where kind=$1 and id=$2 and owner=$3 and fence=$4 and lease_until > $5`

	HoldsLease = `select count(*) from work
 where kind=$1 and id=$2 and owner=$3 and fence=$4 and lease_until > $5`

	ReleaseAll = `update work set owner='', lease_until=0,
 due=case when due < $1 then due else cast($1 as bigint) end where owner<>''`
)

// Claim leases rows of a number of kinds. Its parameters are owner, the end of
// the lease, now, the limit, and the kinds. lock is the driver's clause for
// rows that another transaction is claiming: "" or " for update skip locked".
func Claim(kinds int, lock string) string {
	return `update work set owner=$1, lease_until=$2, fence=fence+1, attempts=attempts+1
 where (kind, id) in (select w.kind, w.id from work w
 where w.due <= $3 and w.lease_until <= $3 and ` + kindIn("w.", 5, kinds) + `
 order by w.due limit $4` + lock + `)
 returning kind, id, gen, fence, attempts, due`
}

// NextDue selects when rows of a number of kinds can be claimed, one row for
// those without and one for those with a lease. Its parameters are Never and
// the kinds.
func NextDue(kinds int) string {
	in := kindIn("", 2, kinds)
	return `select min(due) from work where owner='' and due < $1 and ` + in + `
 union all select min(lease_until) from work where owner<>'' and ` + in
}

// kindIn renders a condition on the kind that no index serves: the rows are to
// be found in the order of due, of which few are looked at, not by kind.
func kindIn(alias string, first, kinds int) string {
	return alias + "kind || '' in (" + list(first, kinds) + ")"
}

// list renders n parameters from $first.
func list(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(first+i))
	}
	return b.String()
}
