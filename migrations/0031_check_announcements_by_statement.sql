-- Of the 133 s that writing a million announcements took, 50 went to foreign keys, which look at each row by itself, and some
-- 35 to the GiST index that keeps a prefix from being announced twice. The rules stay, with their names. Those that span
-- tables are checked once for all rows of a statement; and an announcement until further notice, as nearly all are, is told
-- from another one by a unique index, so that the GiST index holds those that end only.

alter table announcement_endpoint
    drop constraint announcement_endpoint_announcement
  , drop constraint announcement_endpoint_own;

alter table announcement
    drop constraint announcement_member_id_fkey
  , drop constraint announcement_of_member
  , drop constraint announcement_exists
  , drop constraint announcement_tags_form
    -- Most have none, and a pattern need not look at that.
  , add constraint announcement_tags_form check (tags = '{}' or array_to_string(tags, ' ') ~ '^([a-z][a-z0-9-]{0,31}( [a-z][a-z0-9-]{0,31})*)$')
  , add constraint announcement_exists_for_a_time exclude using gist ((prefix::bigint) with =, member_id with =, valid_during with &&) where (not upper_inf(valid_during));
create unique index announcement_exists on announcement (member_id, prefix) where upper_inf(valid_during);

-- An announcement is of a member that is there, and one that ends does not overlap one that goes on. What looks at
-- announcements is planned each time: for one row by an index, for a million otherwise. Whoever writes
-- announcements of a member waits for whoever else does: so each of two that overlap sees the other one.
create function check_announcements() returns trigger language plpgsql as $$
declare
    missing uuid;
    twice text;
begin
    perform from member where member_id in (select member_id from touched_rows) order by member_id for no key update;
    select t.member_id into missing
      from (select distinct member_id from touched_rows) t
      left join member m using (member_id)
     where m.member_id is null
     limit 1;
    if missing is not null then
        raise exception 'there is no member %', missing
            using errcode = 'foreign_key_violation', table = 'announcement', constraint = 'announcement_member_id_fkey';
    end if;
    execute 'select n.prefix
               from touched_rows n
               join announcement o on o.member_id = n.member_id and o.prefix = n.prefix and o.valid_during && n.valid_during
              where upper_inf(n.valid_during) and not upper_inf(o.valid_during)
              limit 1' into twice;
    if twice is null then
        execute 'select n.prefix
                   from touched_rows n
                   join announcement o on o.member_id = n.member_id and o.prefix = n.prefix and o.valid_during && n.valid_during
                  where not upper_inf(n.valid_during) and upper_inf(o.valid_during)
                  limit 1' into twice;
    end if;
    if twice is not null then
        raise exception 'the prefix % is announced at that time already', twice
            using errcode = 'exclusion_violation', table = 'announcement', constraint = 'announcement_exists';
    end if;
    return null;
end
$$;
create trigger check_inserted after insert on announcement referencing new table as touched_rows
    for each statement execute function check_announcements();
create trigger check_updated after update on announcement referencing new table as touched_rows
    for each statement execute function check_announcements();

-- The endpoints of an announcement are its member's. They and the announcement stay until the transaction ends; an
-- announcement that this transaction wrote is its own in any case.
create function check_announcement_endpoints() returns trigger language plpgsql as $$
declare
    missing uuid;
    looked_up constant text := 'select count(*) filter (where a.announcement_id is null)
                                     , count(*) filter (where a.xmin <> pg_current_xact_id()::xid)
                                  from touched_rows t
                                  left join announcement a using (announcement_id, member_id)';
    lost bigint;
    others bigint;
begin
    perform from endpoint where endpoint_id in (select endpoint_id from touched_rows) order by endpoint_id for key share;
    select t.endpoint_id into missing
      from (select distinct endpoint_id, member_id from touched_rows) t
      left join endpoint e using (endpoint_id, member_id)
     where e.endpoint_id is null
     limit 1;
    if missing is not null then
        raise exception 'the member has no endpoint %', missing
            using errcode = 'foreign_key_violation', table = 'announcement_endpoint', constraint = 'announcement_endpoint_own';
    end if;
    execute looked_up into lost, others;
    if others > 0 then
        execute 'select from announcement where announcement_id in (select announcement_id from touched_rows)
                  order by announcement_id for key share';
        execute looked_up into lost, others;
    end if;
    if lost > 0 then
        raise exception 'an announcement is not there, or is another member''s'
            using errcode = 'foreign_key_violation', table = 'announcement_endpoint', constraint = 'announcement_endpoint_announcement';
    end if;
    return null;
end
$$;
create trigger check_inserted after insert on announcement_endpoint referencing new table as touched_rows
    for each statement execute function check_announcement_endpoints();
create trigger check_updated after update on announcement_endpoint referencing new table as touched_rows
    for each statement execute function check_announcement_endpoints();

-- The other side of the same rules: what is referred to stays, with its member, and an announcement takes its endpoints with it.
create function delete_endpoints_of_announcements() returns trigger language plpgsql as $$
begin
    execute 'delete from announcement_endpoint where announcement_id in (select announcement_id from touched_rows)';
    return null;
end
$$;
create trigger cascade_deleted after delete on announcement referencing old table as touched_rows
    for each statement execute function delete_endpoints_of_announcements();

create function keep_announced() returns trigger language plpgsql as $$
declare
    is_announced boolean;
begin
    execute format('select exists (select from touched_rows t join %I using (%I))', tg_argv[0], tg_argv[1]) into is_announced;
    if is_announced then
        raise exception 'there are announcements of it'
            using errcode = 'foreign_key_violation', table = tg_argv[0], constraint = tg_argv[2];
    end if;
    return null;
end
$$;
create trigger keep_announced after delete on endpoint referencing old table as touched_rows
    for each statement execute function keep_announced('announcement_endpoint', 'endpoint_id', 'announcement_endpoint_own');
create trigger keep_announced after delete on member referencing old table as touched_rows
    for each statement execute function keep_announced('announcement', 'member_id', 'announcement_member_id_fkey');

create function keep_member() returns trigger language plpgsql as $$
begin
    raise exception 'it keeps its id and its member'
        using errcode = 'foreign_key_violation', table = tg_table_name, constraint = tg_argv[0];
end
$$;
create trigger keep_member before update on endpoint for each row
    when ((old.endpoint_id, old.member_id) is distinct from (new.endpoint_id, new.member_id))
    execute function keep_member('announcement_endpoint_own');
create trigger keep_member before update on announcement for each row
    when ((old.announcement_id, old.member_id) is distinct from (new.announcement_id, new.member_id))
    execute function keep_member('announcement_endpoint_announcement');
