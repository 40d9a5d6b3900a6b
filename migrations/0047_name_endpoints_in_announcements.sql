-- Of the 51 s that writing a million announcements on two endpoints each took, 25 went to the two million rows that said so,
-- to their indexes and to what is kept of each for the past. An announcement names its endpoints itself now, in the order of
-- their ids; its rules stay, with their names. Two indexes that told nearly the same are one.
alter table announcement add column endpoint_ids uuid[] not null default '{}';

-- The announcements stay the same ones: nobody is told of a change, and the past begins here, since what it keeps of them
-- has no such column.
alter table announcement disable trigger user;
update announcement a
   set endpoint_ids = e.endpoint_ids
  from (select announcement_id, array_agg(endpoint_id order by endpoint_id) as endpoint_ids
          from announcement_endpoint
         group by announcement_id) e
 where e.announcement_id = a.announcement_id;
alter table announcement enable trigger user;
delete from past.row_before;
delete from past.step;
update past.horizon set position = f.position, at = clock_timestamp(), chain = f.chain from feed_head f;

drop view past.announcement_endpoint;
drop table announcement_endpoint;
drop function check_announcement_endpoints;

-- A program of before finds the rows where they were, and may write them, until all nodes run this one.
create view announcement_endpoint as
select announcement_id, member_id, unnest(endpoint_ids) as endpoint_id from announcement;
create function write_announcement_endpoint() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        update announcement set endpoint_ids = array_remove(endpoint_ids, old.endpoint_id)
         where announcement_id = old.announcement_id;
        return old;
    end if;
    update announcement a
       set endpoint_ids = array(select distinct named from unnest(a.endpoint_ids || new.endpoint_id) named order by named)
     where announcement_id = new.announcement_id and member_id = new.member_id;
    if not found then
        raise exception 'an announcement is not there, or is another member''s'
            using errcode = 'foreign_key_violation', table = 'announcement', constraint = 'announcement_endpoint_announcement';
    end if;
    return new;
end
$$;
create trigger write_announcement_endpoint instead of insert or delete on announcement_endpoint
    for each row execute function write_announcement_endpoint();

drop trigger cascade_deleted on announcement;
drop function delete_endpoints_of_announcements;
drop trigger keep_member on announcement;
drop trigger keep_announced on endpoint;

-- One that goes on has no end, and of those that end at the same moment any two overlap.
drop index announcement_by_member;
drop index announcement_exists;
create unique index announcement_exists on announcement (member_id, prefix, upper(valid_during)) nulls not distinct;

-- An announcement is of a member that is there, its endpoints are that member's, and one that ends does not overlap one that
-- goes on. What looks at announcements is planned each time: for one row by an index, for a million otherwise. Whoever
-- writes announcements of a member waits for whoever else does: so each of two that overlap sees the other one. The
-- endpoints stay until the transaction ends.
create or replace function check_announcements() returns trigger language plpgsql as $$
declare
    missing uuid;
    unsorted uuid[];
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
    perform from endpoint
      where endpoint_id in (select unnest(t.endpoint_ids) from (select distinct endpoint_ids from touched_rows) t)
      order by endpoint_id for key share;
    select named.endpoint_id into missing
      from (select distinct member_id, endpoint_ids from touched_rows) t
      cross join unnest(t.endpoint_ids) as named (endpoint_id)
      left join endpoint e on e.endpoint_id = named.endpoint_id and e.member_id = t.member_id
     where e.endpoint_id is null
     limit 1;
    if missing is not null then
        raise exception 'the member has no endpoint %', missing
            using errcode = 'foreign_key_violation', table = 'announcement', constraint = 'announcement_endpoint_own';
    end if;
    select t.endpoint_ids into unsorted
      from (select distinct endpoint_ids from touched_rows) t
     where t.endpoint_ids <> array(select distinct named from unnest(t.endpoint_ids) named order by named)
     limit 1;
    if unsorted is not null then
        raise exception 'endpoints are named in the order of their ids, each once: %', unsorted
            using errcode = 'check_violation', table = 'announcement', constraint = 'announcement_endpoint_order';
    end if;
    execute 'select n.prefix
               from touched_rows n
               join announcement o on o.member_id = n.member_id and o.prefix = n.prefix and o.valid_during && n.valid_during
              where upper_inf(n.valid_during) and not upper_inf(o.valid_during)
              limit 1' into twice;
    if twice is null and exists (select from touched_rows where not upper_inf(valid_during)) then
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

-- The other side of the same rule: an endpoint that an announcement names stays, with its member (keep_member).
create function keep_announced_endpoints() returns trigger language plpgsql as $$
begin
    if exists (select from touched_rows t
                 join announcement a on a.member_id = t.member_id and a.endpoint_ids @> array[t.endpoint_id]) then
        raise exception 'there are announcements of it'
            using errcode = 'foreign_key_violation', table = 'announcement', constraint = 'announcement_endpoint_own';
    end if;
    return null;
end
$$;
create trigger keep_announced after delete on endpoint referencing old table as touched_rows
    for each statement execute function keep_announced_endpoints();
