// SPDX-License-Identifier: Apache-2.0

// Package sqltext holds the SQL of the store, in the one dialect that SQLite
// and PostgreSQL share: parameters are $1 to $n, columns are text or bigint,
// times are microseconds since 1970 that the caller's clock gave, and JSON is
// text. Where the databases part, in the statements on work rows, stands in
// Dialect. A parameter in a comparison or CASE that has no column's type beside
// it is cast to bigint, since PostgreSQL would take it for an int4.
//
// It refuses to open a database, to ask one for the time except for the end of
// a lease where Dialect says so, and to let any text
// of a user into a statement: fields and operators come from an allow-list,
// values are parameters.
package sqltext

import (
	"math"
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

// Objects. InsertObject and UpdateObject affect no row when a key is taken:
// PostgreSQL would abort the transaction on a violated constraint. The
// conditions uniq<>” let the partial index serve.
const (
	InsertObject = `insert into object
 (kind, uid, project, owner, name, name_folded, state, uniq, version, created, updated, data_version, data)
 values ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $9, $10, $11) on conflict do nothing`

	// UpdateData is UpdateObject when nothing changed that objects are found by:
	// then no index is written, which is most of what UpdateObject writes.
	UpdateData = `update object set version=version+1, updated=$8, data_version=$9, data=$10
 where kind=$1 and uid=$2 and version=$11 and project=$3 and owner=$4 and name=$5 and state=$6 and uniq=$7`

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

	Labels       = `select key, value from label where kind=$1 and uid=$2`
	DeleteLabels = `delete from label where kind=$1 and uid=$2`
	InsertLabel  = `insert into label (kind, uid, key, value, folded) values ($1, $2, $3, $4, $5)`
)

// Listings: what listed kinds are found and shown by, a row per object with its
// version and times. The digest is of all that the row and its facets are found
// by, times apart.
const (
	InsertListing = `insert into listing
 (kind, uid, project, owner, name, name_folded, state, health, created, updated, version, digest, head_version, head)
 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, 1, $10, $11, $12)`

	// UpdateHead affects no row when the digest is another.
	UpdateHead = `update listing set updated=$4, version=$5, head_version=$6, head=$7
 where kind=$1 and uid=$2 and digest=$3`

	UpdateListing = `update listing set project=$3, owner=$4, name=$5, name_folded=$6, state=$7, health=$8,
 updated=$9, version=$10, digest=$11, head_version=$12, head=$13
 where kind=$1 and uid=$2`

	DeleteFacets = `delete from facet where kind=$1 and uid=$2`
	InsertFacet  = `insert into facet (kind, uid, key, value, folded) values ($1, $2, $3, $4, $5)`
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

// Upkeep.
const (
	// NoteGone notes since when an object is gone, of which something was said.
	NoteGone = `insert into gone (kind, uid, at) select cast($1 as text), cast($2 as text), cast($3 as bigint)
 where exists (select 1 from event e where e.kind=$1 and e.object=$2)
 or exists (select 1 from audit a where a.kind=$1 and a.object=$2)
 on conflict (kind, uid) do update set at=excluded.at`

	// GoneBefore selects objects, those first that are gone for longest.
	GoneBefore = `select kind, uid from gone where at <= $1 order by at limit $2`

	// DropEvents and DropAudits delete at most $3 rows.
	DropEvents = `delete from event where seq in (select seq from event where kind=$1 and object=$2 order by seq limit $3)`
	DropAudits = `delete from audit where seq in (select seq from audit where kind=$1 and object=$2 order by seq limit $3)`

	ForgetGone = `delete from gone where kind=$1 and uid=$2`

	// StaleListings selects the listings that were made by an older release, or
	// without a way to make heads.
	StaleListings = `select uid from listing where kind=$1 and (head_version<$2 or digest='') order by uid limit $3`
)
