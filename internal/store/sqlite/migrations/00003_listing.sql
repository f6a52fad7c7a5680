-- SPDX-License-Identifier: Apache-2.0
-- What users search long lists of is found and shown by rows of their own: they
-- are narrow, and the engine's many other objects stay out of their indexes.
-- Each index answers one order and, alone, how many rows match: a look at the
-- rows themselves takes ten times as long.
-- +goose Up
create table listing (
    kind         text    not null,
    uid          text    not null,
    project      text    not null,
    owner        text    not null,
    name         text    not null,
    name_folded  text    not null,
    state        text    not null,
    health       text    not null,
    created      integer not null,
    updated      integer not null,
    version      integer not null,
    digest       text    not null,
    head_version integer not null,
    head         text    not null,
    primary key (kind, uid),
    foreign key (kind, uid) references object (kind, uid) on delete cascade
) strict;
create index listing_created on listing (kind, created, uid, project, owner, name, name_folded, state, health);
create index listing_updated on listing (kind, updated, uid, project, owner, name, name_folded, state, health);
create index listing_name on listing (kind, name_folded, uid, project, owner, name, state, health);
create index listing_state on listing (kind, state, uid, project, owner, name, name_folded, health);
create index listing_health on listing (kind, health, uid, project, owner, name, name_folded, state);
create index listing_project on listing (kind, project, created, uid, owner, name, name_folded, state, health);

create table facet (
    kind   text not null,
    uid    text not null,
    key    text not null,
    value  text not null,
    folded text not null,
    primary key (kind, uid, key, value),
    foreign key (kind, uid) references listing (kind, uid) on delete cascade
) strict, without rowid;
create index facet_value on facet (kind, key, value);
create index facet_folded on facet (kind, key, folded);

alter table label add column folded text not null default '';
update label set folded = lower(value);
create index label_folded on label (kind, key, folded);

insert into listing
    select kind, uid, project, owner, name, name_folded, state, '', created, updated, version, '', 0, ''
    from object where kind = 'cluster';
drop index object_count;
