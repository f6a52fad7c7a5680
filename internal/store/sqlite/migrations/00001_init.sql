-- SPDX-License-Identifier: Apache-2.0
-- +goose Up
create table object (
    kind         text   not null,
    uid          text   not null,
    project      text   not null,
    owner        text   not null,
    name         text   not null,
    name_folded  text   not null,
    state        text   not null,
    uniq         text   not null,
    version      integer not null,
    created      integer not null,
    updated      integer not null,
    data_version integer not null,
    data         text   not null,
    primary key (kind, uid)
) strict;
create unique index object_uniq on object (kind, uniq) where uniq <> '';
create index object_created on object (kind, created, uid);
create index object_project on object (kind, project, created, uid);
create index object_owner on object (kind, owner, created, uid);
create index object_name on object (kind, name_folded, uid);

create table label (
    kind  text not null,
    uid   text not null,
    key   text not null,
    value text not null,
    primary key (kind, uid, key),
    foreign key (kind, uid) references object (kind, uid) on delete cascade
) strict, without rowid;
create index label_value on label (kind, key, value);

create table work (
    kind        text   not null,
    id          text   not null,
    gen         integer not null,
    observed    integer not null,
    due         integer not null,
    lease_until integer not null,
    owner       text   not null,
    fence       integer not null,
    attempts    integer not null,
    primary key (kind, id)
) strict, without rowid;
create index work_due on work (due);
create index work_lease on work (lease_until) where owner <> '';

create table counter (
    name  text   not null primary key,
    value integer not null
) strict;
insert into counter (name, value) values ('fence', 0);

create table event (
    seq      integer primary key autoincrement,
    uid      text   not null unique,
    at       integer not null,
    project  text   not null,
    kind     text   not null,
    object   text   not null,
    name     text   not null,
    severity text   not null,
    reason   text   not null,
    message  text   not null
) strict;
create index event_object on event (kind, object, seq);

create table audit (
    seq        integer primary key autoincrement,
    uid        text   not null unique,
    at         integer not null,
    actor      text   not null,
    request_id text   not null,
    operation  text   not null,
    project    text   not null,
    kind       text   not null,
    object     text   not null,
    outcome    text   not null
) strict;

-- +goose StatementBegin
create trigger event_update before update on event
begin
    select raise(abort, 'events are append-only');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger audit_update before update on audit
begin
    select raise(abort, 'audits are append-only');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger audit_delete before delete on audit
begin
    select raise(abort, 'audits are append-only');
end;
-- +goose StatementEnd
