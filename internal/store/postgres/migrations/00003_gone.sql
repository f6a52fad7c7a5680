-- SPDX-License-Identifier: Apache-2.0
-- What was said about objects that are gone is dropped after a while; which they
-- are, and since when, is noted as they go. Audits can be deleted for them alone.
-- +goose Up
create table gone (
    kind text   collate "C" not null,
    uid  text   collate "C" not null,
    at   bigint not null,
    primary key (kind, uid)
);
create index gone_at on gone (at);
create index audit_object on audit (kind, object);

insert into gone
    select kind, object, max(at) from event e
    where not exists (select 1 from object o where o.kind = e.kind and o.uid = e.object) group by kind, object;

drop trigger audit_delete on audit;
-- +goose StatementBegin
create function refuse_delete() returns trigger language plpgsql as $$
begin
    if exists (select 1 from gone g where g.kind = old.kind and g.uid = old.object) then
        return old;
    end if;
    raise exception '%s are append-only', tg_table_name;
end;
$$;
-- +goose StatementEnd
create trigger audit_delete before delete on audit for each row execute function refuse_delete();
