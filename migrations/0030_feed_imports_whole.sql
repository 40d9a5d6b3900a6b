-- A million announcements are one entry of the change feed, and not two million: each of them names the import that
-- wrote it last. A transaction that sets tandem.feed to 'by_hand' appends what it changed itself, at its end: so it holds
-- the head of the feed, for which every other writer waits, for a moment and not for as long as it runs.
alter table announcement
    add column import_id uuid;
create index announcement_by_import on announcement (import_id) where import_id is not null;

alter table feed_entry
    drop constraint feed_entry_kind_known
  , add constraint feed_entry_kind_known check (kind in ('member', 'endpoint', 'range', 'announcement', 'agreement', 'club', 'import'));

-- Appends an entry for each object, and wakes the nodes; the position of the last one.
create function append_objects_to_feed(entry_kind text, object_ids uuid[]) returns bigint language plpgsql as $$
declare
    last_position bigint;
begin
    update feed_head set position = position + cardinality(object_ids) returning position into last_position;
    insert into feed_entry (position, kind, object_id)
    select last_position - cardinality(object_ids) + ordinality, entry_kind, object_id
      from unnest(object_ids) with ordinality as t (object_id, ordinality);
    perform pg_notify('tandem_feed', last_position::text);
    return last_position;
end
$$;

create or replace function append_to_feed() returns trigger language plpgsql as $$
declare
    touched uuid[];
begin
    if current_setting('tandem.feed', true) = 'by_hand' then
        return null;
    end if;
    execute format('select array_agg(distinct %I) from touched_rows', tg_argv[1]) into touched;
    if touched is not null then
        perform append_objects_to_feed(tg_argv[0], touched);
    end if;
    return null;
end
$$;
