-- SPDX-License-Identifier: Apache-2.0
-- What was said about objects that are gone is dropped after a while; which they
-- are, and since when, is noted as they go. Audits can be deleted for them alone.
-- +goose Up
create table gone (
    kind text    not null,
    uid  text    not null,
    at   integer not null,
    primary key (kind, uid)
) strict, without rowid;
create index gone_at on gone (at);
create index audit_object on audit (kind, object);

insert into gone
    select kind, object, max(at) from event e
    where not exists (select 1 from object o where o.kind = e.kind and o.uid = e.object) group by kind, object;

drop trigger audit_delete;
-- +goose StatementBegin
create trigger audit_delete before delete on audit
when not exists (select 1 from gone g where g.kind = old.kind and g.uid = old.object)
begin
    select raise(abort, 'audits are append-only');
end;
-- +goose StatementEnd
