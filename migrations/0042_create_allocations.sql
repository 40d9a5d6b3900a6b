-- What regulators have given to whom, as the operator imports it, and under which names they know the members: the
-- evidence by which a claim is verified without anybody's hand.
create table allocation_list (
    list_id uuid primary key default uuid_v7()
  , name text not null
  , row_count bigint not null
  , imported_by uuid references user_account
  , imported_at timestamptz not null
  , constraint allocation_list_name_unique unique (name)
  , constraint allocation_list_name_length check (length(name) between 1 and 80)
);

-- Without a reference to its list: a million rows would be checked one by one. Both are written in one transaction.
create table allocation (
    list_id uuid not null
  -- Compared octet by octet, so that what begins with a prefix is a range of the index.
  , prefix text collate "C" not null
  , holder text not null
  , valid_during tstzrange not null
  , constraint allocation_prefix_form check (prefix ~ '^[1-9][0-9]{0,14}$')
  , constraint allocation_valid_during_half_open check (not isempty(valid_during) and lower_inc(valid_during) and not upper_inc(valid_during))
);
create index allocation_by_prefix on allocation (prefix);
create index allocation_by_list on allocation (list_id);

create table member_holder (
    member_id uuid not null references member
  , holder text not null
  , constraint member_holder_length check (length(holder) between 1 and 200)
);
-- Whom a list names is one member at most.
create unique index member_holder_unique on member_holder (lower(holder));
create index member_holder_by_member on member_holder (member_id);

-- What the lists say at $3 of a claim of member $1 to prefix $2: whether they give all its numbers to the member and
-- none of them to anybody else, when the first of those allocations ends, and at most twenty of those to others.
--
-- An allocation within another one counts more than that: a block that was handed on belongs to whom it was handed. Of
-- what lies beneath the prefix, 300 rows are read; a claim of more is none that lists can settle. To compile it takes ten
-- times as long as to run it.
create function allocation_standing(uuid, text, timestamptz)
    returns table (covers boolean, ends_at timestamptz, others jsonb) language sql stable set jit = off as $$
    with found as (
        (select * from allocation where prefix = any (array(select left($2, n) from generate_series(1, length($2)) n)))
        union all
        (select * from allocation where prefix > $2 and prefix < $2 || ':' limit 300)
    ), about as materialized (
        select f.prefix, f.holder, l.name as list, f.valid_during, prefix_span(f.prefix) as span
             , exists (select from member_holder h where h.member_id = $1 and lower(h.holder) = lower(f.holder)) as own
          from found f join allocation_list l using (list_id)
         where f.valid_during @> $3
    ), other as (
        select * from about o
         where not own
           and not exists (select from about w
                            where w.own and w.span @> prefix_span($2) and w.span <@ o.span and w.span <> o.span)
    )
    select coalesce((select range_agg(span) @> prefix_span($2) from about where own), false)
               and not exists (select from other) and (select count(*) from found) < 300
         , (select min(upper(valid_during)) from about where own)
         , coalesce((select jsonb_agg(jsonb_build_object('list', list, 'prefix', prefix, 'holder', holder)
                                      order by prefix, holder)
                       from (select * from other order by prefix, holder limit 20) first), '[]')
$$;
