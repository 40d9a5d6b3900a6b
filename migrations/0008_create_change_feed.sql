-- The change feed: what routing depends on and when it changed. Nodes read it from their last position.
--
-- Positions follow the order of commit: a writer takes the next positions from the one row of feed_head and
-- holds that row until it commits, so a lower position never becomes visible after a higher one.
create table feed_head (
    one boolean primary key default true
  , position bigint not null
  , constraint feed_head_one_row check (one)
);
insert into feed_head (position) values (0);

create table feed_entry (
    position bigint primary key
  , kind text not null
  , object_id uuid not null
  , changed_at timestamptz not null default now()
  , constraint feed_entry_kind_known check (kind in ('member', 'endpoint', 'range', 'announcement', 'agreement'))
);

-- Appends one entry for each object that the statement touched and wakes the nodes. Its arguments: the
-- entry's kind and the column that holds the object's id.
create function append_to_feed() returns trigger language plpgsql as $$
declare
    last_position bigint;
    touched uuid[];
begin
    execute format('select array_agg(distinct %I) from touched_rows', tg_argv[1]) into touched;
    if touched is null then
        return null;
    end if;
    update feed_head set position = position + cardinality(touched) returning position into last_position;
    insert into feed_entry (position, kind, object_id)
    select last_position - cardinality(touched) + ordinality, tg_argv[0], object_id
      from unnest(touched) with ordinality as t (object_id, ordinality);
    perform pg_notify('tandem_feed', last_position::text);
    return null;
end
$$;

do $$
declare
    watched record;
    happening text;
begin
    for watched in
        select * from (values
            ('member', 'member', 'member_id')
          , ('endpoint', 'endpoint', 'endpoint_id')
          , ('endpoint_source', 'endpoint', 'endpoint_id')
          , ('number_range', 'range', 'range_id')
          , ('announcement', 'announcement', 'announcement_id')
          , ('announcement_endpoint', 'announcement', 'announcement_id')
          , ('agreement', 'agreement', 'agreement_id')
        ) as t (table_name, kind, id_column)
    loop
        foreach happening in array array['insert', 'update', 'delete'] loop
            execute format(
                'create trigger feed_%s after %s on %I referencing %s table as touched_rows for each statement execute function append_to_feed(%L, %L)',
                happening, happening, watched.table_name,
                case happening when 'delete' then 'old' else 'new' end,
                watched.kind, watched.id_column);
        end loop;
    end loop;
end
$$;
