-- SPDX-License-Identifier: Apache-2.0
-- The few that have a rare label are looked up one by one: in the rows
-- themselves, which are wide, each look is a page of the file.
-- +goose Up
create index listing_uid on listing (kind, uid, project, owner, name, name_folded, state, health, created);
