-- What stood before each change of what routing depends on, so that the route table can be told as it was at any
-- moment since, and a call's selection be made again on it.
--
-- The present is where it always was; only what it took the place of is kept beside it. A statement that adds rows leaves
-- one row here with their keys, whatever their number; one that changes or removes rows leaves those as they were.
create schema past;

-- From where on the past is known: the position of the feed, when that was, and the link of the chain there.
create table past.horizon (
    one boolean primary key default true
  , position bigint not null
  , at timestamptz not null
  , chain bytea not null
  , constraint horizon_one_row check (one)
);

-- Each link is the hash of the one before it and of what a statement did, so that a past that was rewritten, or another
-- one than a node has followed, is found out.
alter table feed_head add column chain bytea not null default sha256('');
insert into past.horizon (position, at, chain) select position, clock_timestamp(), chain from feed_head;

-- A statement that changed rows of a table: the keys of the rows that were not there before. Its position is that of the
-- feed when its transaction has appended to it, and not known until then.
create table past.step (
    step_id bigint primary key generated always as identity
  , table_name text not null
  , transaction_id xid8 not null
  , came uuid[] not null
  , position bigint
  , recorded_at timestamptz
  , chain bytea
);
create index step_by_position on past.step (position, step_id);
create index step_by_time on past.step (recorded_at);
create index step_unsettled on past.step (transaction_id) where position is null;

-- A row as it was before a step.
create table past.row_before (
    step_id bigint not null
  , key uuid not null
  , before jsonb not null
);
create index row_before_by_step on past.row_before (step_id);

-- The expression for the key of a row r: its id where the primary key is one, else the digest of that key, or of the whole
-- row where there is none.
create function past.key_of(watched regclass) returns text language sql stable as $$
    select case
        when array_agg(a.atttypid) = array['uuid'::regtype::oid] then format('r.%I', min(a.attname))
        when count(*) = 0 then 'md5(r::text)::uuid'
        else format('md5(concat_ws(chr(31), %s))::uuid',
            string_agg(format(case a.atttypid when 'timestamptz'::regtype then 'extract(epoch from r.%I)' else 'r.%I' end, a.attname), ', ' order by a.attnum))
        end
      from pg_index i
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
     where i.indrelid = watched and i.indisprimary
$$;

-- The next link of the chain, after `last`.
create function past.link(last bytea, step past.step) returns bytea language sql stable as $$
    select sha256(last || int8send(step.position) || convert_to(step.table_name, 'UTF8') || array_send(step.came)
                  || coalesce(sha256(string_agg(sha256(convert_to(b.key || b.before::text, 'UTF8')), '' order by b.key, b.before::text)), ''))
      from past.row_before b
     where b.step_id = step.step_id
$$;

-- Keeps what the statement takes the place of. It fires before append_to_feed(). Its arguments: the expression for a row's
-- key, and what is not kept as it was.
create function past.keep() returns trigger language plpgsql set timezone to 'UTC' as $$
declare
    row_key text := tg_argv[0];
    new_keys uuid[] := '{}';
    this_step bigint;
    is_empty boolean;
begin
    if tg_op = 'INSERT' then
        execute format('select coalesce(array_agg(%s), ''{}'') from new_rows r', row_key) into new_keys;
        is_empty := new_keys = '{}';
    else
        execute 'select not exists (select from old_rows)' into is_empty;
    end if;
    if is_empty then
        return null;
    end if;
    if tg_op = 'UPDATE' then
        execute format('select coalesce(array_agg(k), ''{}'') from (select %1$s from new_rows r except select %1$s from old_rows r) as t (k)', row_key)
            into new_keys;
    end if;
    insert into past.step (table_name, transaction_id, came) values (tg_table_name, pg_current_xact_id(), new_keys)
    returning step_id into this_step;
    if tg_op <> 'INSERT' then
        execute format('insert into past.row_before (step_id, key, before) select $1, %s, to_jsonb(r) || $2 from old_rows r', row_key)
            using this_step, tg_argv[1]::jsonb;
    end if;
    return null;
end
$$;

-- Gives the steps of the transaction their position and their link. Whoever appends to the feed holds its head. Where all have
-- theirs, because a trigger of the same statement has appended to the feed before, an empty step says that the version is one.
create function past.settle() returns trigger language plpgsql as $$
declare
    step past.step;
    last bytea;
    end_position bigint;
begin
    select position, chain into end_position, last from feed_head;
    if not exists (select from past.step s where s.transaction_id = pg_current_xact_id() and s.position is null) then
        insert into past.step (table_name, transaction_id, came) values ('', pg_current_xact_id(), '{}');
    end if;
    for step in
        select * from past.step s where s.transaction_id = pg_current_xact_id() and s.position is null order by s.step_id
    loop
        step.position := end_position;
        last := past.link(last, step);
        update past.step s set position = end_position, recorded_at = clock_timestamp(), chain = last where s.step_id = step.step_id;
        update feed_head set chain = last;
    end loop;
    return null;
end
$$;
create trigger settle_past after insert on feed_entry for each statement execute function past.settle();

-- The position that reading the past is about: a setting of the reading transaction.
create function past.as_of() returns bigint language sql stable as $$
    select current_setting('tandem.as_of')::bigint
$$;

-- What has happened first since then to each row that was touched: it came, or it was before as it says.
create view past.later as
select distinct on (table_name, key) table_name, key, before
  from (
        select position, step_id, table_name, unnest(came) as key, null::jsonb as before
          from past.step
         where position > past.as_of()
         union all
        select s.position, s.step_id, s.table_name, b.key, b.before
          from past.step s
          join past.row_before b using (step_id)
         where s.position > past.as_of()
       ) as t
 order by table_name, key, position, step_id;

create view past.feed_entry as select * from public.feed_entry where position <= past.as_of();

-- Sees to it that each table that the feed tells of leaves its past here, and that past.TABLE is the table as it was: whoever
-- reads with the search path "past, public" reads the past with the statements that read the present. Done after all
-- migrations, as often as one likes.
create function past.watch() returns void language plpgsql as $$
declare
    watched record;
    happening text;
    columns text;
begin
    perform pg_advisory_xact_lock(hashtext('past.watch'));
    for watched in
        select c.oid::regclass as id, c.relname as name
          from pg_trigger t
          join pg_class c on c.oid = t.tgrelid
          join pg_namespace n on n.oid = c.relnamespace
         where t.tgname = 'feed_insert' and n.nspname = 'public'
    loop
        if not exists (select from pg_trigger where tgrelid = watched.id and tgname = 'aside_insert') then
            foreach happening in array array['insert', 'update', 'delete'] loop
                execute format(
                    'create trigger aside_%s after %s on %s referencing %s for each statement execute function past.keep(%L, %L)',
                    happening, happening, watched.id,
                    case happening when 'insert' then 'new table as new_rows' when 'delete' then 'old table as old_rows'
                                   else 'old table as old_rows new table as new_rows' end,
                    past.key_of(watched.id),
                    -- What lets a switch in is not kept longer than it does.
                    case when exists (select from pg_attribute where attrelid = watched.id and attname = 'ha1')
                         then jsonb_build_object('ha1', repeat('0', 96)) else '{}' end);
            end loop;
        end if;
        select string_agg(attname || ' ' || atttypid, ',' order by attnum) into columns
          from pg_attribute where attrelid = watched.id and attnum > 0 and not attisdropped;
        if columns is distinct from (
            select string_agg(attname || ' ' || atttypid, ',' order by attnum)
              from pg_attribute where attrelid = to_regclass(format('past.%I', watched.name)) and attnum > 0
        ) then
            execute format('drop view if exists past.%I', watched.name);
            execute format(
                'create view past.%1$I as
                 select r.* from public.%1$I r
                  where not exists (select from past.later l where l.table_name = %1$L and l.key = %2$s)
                  union all
                 select r.* from past.later l, jsonb_populate_record(null::public.%1$I, l.before) r
                  where l.table_name = %1$L and l.before is not null',
                watched.name, past.key_of(watched.id));
        end if;
    end loop;
end
$$;

-- The first position whose link does not follow from what is kept there; none where all do.
create function past.first_broken() returns bigint language plpgsql stable as $$
declare
    step past.step;
    last bytea;
begin
    select chain into last from past.horizon;
    for step in select * from past.step where position is not null order by position, step_id loop
        last := past.link(last, step);
        if last <> step.chain then
            return step.position;
        end if;
    end loop;
    return (select position from feed_head where chain <> last);
end
$$;

-- Forgets what happened up to a moment; the position from which the past is known is later then.
create function past.forget(until timestamptz) returns bigint language plpgsql as $$
declare
    last_step past.step;
begin
    select * into last_step from past.step
     where recorded_at <= until order by position desc, step_id desc limit 1;
    if not found then
        return 0;
    end if;
    update past.horizon set position = last_step.position, at = last_step.recorded_at, chain = last_step.chain;
    delete from past.row_before b using past.step s where s.step_id = b.step_id and s.position <= last_step.position;
    delete from past.step where position <= last_step.position;
    return last_step.position;
end
$$;

select past.watch();
