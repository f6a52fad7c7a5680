-- SPDX-License-Identifier: Apache-2.0
-- What users search long lists of is found and shown by rows of their own: they
-- are narrow, and the engine's many other objects stay out of their indexes.
-- Each index answers one order and, alone, how many rows match. None holds
-- what every update changes: such an update would have to write them all.
-- +goose Up
create table listing (
    kind         text   collate "C" not null,
    uid          text   collate "C" not null,
    project      text   collate "C" not null,
    owner        text   collate "C" not null,
    name         text   collate "C" not null,
    name_folded  text   collate "C" not null,
    state        text   collate "C" not null,
    health       text   collate "C" not null,
    created      bigint not null,
    updated      bigint not null,
    version      bigint not null,
    digest       text   collate "C" not null,
    head_version bigint not null,
    head         text   collate "C" not null,
    primary key (kind, uid),
    foreign key (kind, uid) references object (kind, uid) on delete cascade
) with (fillfactor = 70);
create index listing_created on listing (kind, created, uid, project, owner, name, name_folded, state, health);
create index listing_name on listing (kind, name_folded, uid, project, owner, name, state, health);
create index listing_project on listing (kind, project, created, uid, owner, name, name_folded, state, health);

create table facet (
    kind   text collate "C" not null,
    uid    text collate "C" not null,
    key    text collate "C" not null,
    value  text collate "C" not null,
    folded text collate "C" not null,
    primary key (kind, uid, key, value),
    foreign key (kind, uid) references listing (kind, uid) on delete cascade
);
create index facet_value on facet (kind, key, value);
create index facet_folded on facet (kind, key, folded);

alter table label add column folded text collate "C" not null default '';
update label set folded = lower(value);
create index label_folded on label (kind, key, folded);

insert into listing
    select kind, uid, project, owner, name, name_folded, state, '', created, updated, version, '', 0, ''
    from object where kind = 'cluster';

-- The name that SQLite has for strpos, so that one text serves both.
-- +goose StatementBegin
create function instr(haystack text, needle text) returns integer
    language sql immutable parallel safe
    return strpos(haystack, needle);
-- +goose StatementEnd
