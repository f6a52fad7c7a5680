-- SPDX-License-Identifier: Apache-2.0
-- State and health change seldom enough to have an index each.
-- +goose Up
create index listing_state on listing (kind, state, uid, project, owner, name, name_folded, health);
create index listing_health on listing (kind, health, uid, project, owner, name, name_folded, state);
