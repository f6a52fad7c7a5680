-- SPDX-License-Identifier: Apache-2.0
-- Profiles are listed too.
-- +goose Up
insert into listing
    select kind, uid, project, owner, name, name_folded, state, '', created, updated, version, '', 0, ''
    from object where kind = 'profile'
    on conflict do nothing;
