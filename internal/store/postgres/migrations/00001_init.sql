-- SPDX-License-Identifier: Apache-2.0
-- +goose Up
create sequence work_fence as bigint;

create table object (
    kind         text   collate "C" not null,
    uid          text   collate "C" not null,
    project      text   collate "C" not null,
    owner        text   collate "C" not null,
    name         text   collate "C" not null,
    name_folded  text   collate "C" not null,
    state        text   collate "C" not null,
    uniq         text   collate "C" not null,
    version      bigint not null,
    created      bigint not null,
    updated      bigint not null,
    data_version bigint not null,
    data         text   collate "C" not null,
    primary key (kind, uid)
) with (fillfactor = 70); -- an update that changes no indexed column stays on its page, and out of others' way
create unique index object_uniq on object (kind, uniq) where uniq <> '';
create index object_created on object (kind, created, uid);
create index object_project on object (kind, project, created, uid);
create index object_owner on object (kind, owner, created, uid);
create index object_name on object (kind, name_folded, uid);

create table label (
    kind  text collate "C" not null,
    uid   text collate "C" not null,
    key   text collate "C" not null,
    value text collate "C" not null,
    primary key (kind, uid, key),
    foreign key (kind, uid) references object (kind, uid) on delete cascade
);
create index label_value on label (kind, key, value);

create table work (
    kind        text   collate "C" not null,
    id          text   collate "C" not null,
    gen         bigint not null,
    observed    bigint not null,
    due         bigint not null,
    lease_until bigint not null,
    owner       text   collate "C" not null,
    fence       bigint not null,
    attempts    bigint not null,
    primary key (kind, id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
create index work_due on work (due);
create index work_lease on work (lease_until) where owner <> '';

create table event (
    seq      bigint generated always as identity primary key,
    uid      text   collate "C" not null unique,
    at       bigint not null,
    project  text   collate "C" not null,
    kind     text   collate "C" not null,
    object   text   collate "C" not null,
    name     text   collate "C" not null,
    severity text   collate "C" not null,
    reason   text   collate "C" not null,
    message  text   collate "C" not null
);
create index event_object on event (kind, object, seq);
create index event_at on event (at);

create table audit (
    seq        bigint generated always as identity primary key,
    uid        text   collate "C" not null unique,
    at         bigint not null,
    actor      text   collate "C" not null,
    request_id text   collate "C" not null,
    operation  text   collate "C" not null,
    project    text   collate "C" not null,
    kind       text   collate "C" not null,
    object     text   collate "C" not null,
    outcome    text   collate "C" not null
);

-- +goose StatementBegin
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '%s are append-only', tg_table_name;
end;
$$;
-- +goose StatementEnd
create trigger event_update before update on event for each row execute function refuse_change();
create trigger audit_update before update on audit for each row execute function refuse_change();
create trigger audit_delete before delete on audit for each row execute function refuse_change();
create trigger audit_truncate before truncate on audit for each statement execute function refuse_change();
