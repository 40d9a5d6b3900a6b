-- Files of announcements with up to millions of rows, uploaded in parts: how far each has come, its rows until they take
-- effect together, and the rows that cannot be taken.
create table import (
    import_id uuid primary key default uuid_v7()
  , member_id uuid not null references member
  , file_name text not null default ''
  , format text not null
  , mode text not null
  , bad_rows text not null
  , state text not null default 'receiving'
  , author_user_id uuid references user_account
  , author_token_id uuid references api_token
  , created_at timestamptz not null
  , octets bigint not null
  -- Up to the end of the last whole line: from there on the upload is resumed.
  , received_octets bigint not null default 0
  , received_lines int not null default 0
  , good_rows int not null default 0
  , faulty_rows int not null default 0
  , received_at timestamptz
  , checked_at timestamptz
  , ended_at timestamptz
  , added int not null default 0
  , changed int not null default 0
  , withdrawn int not null default 0
  , unchanged int not null default 0
  , feed_position bigint
  , failure text
  , constraint import_format_known check (format in ('csv', 'ndjson'))
  , constraint import_mode_known check (mode in ('merge', 'replace'))
  , constraint import_bad_rows_known check (bad_rows in ('refuse', 'skip'))
  , constraint import_state_known check (state in ('receiving', 'checking', 'applying', 'applied', 'failed'))
  , constraint import_file_name_length check (length(file_name) <= 200)
  , constraint import_octets_positive check (octets > 0)
  , constraint import_received_octets_within check (received_octets between 0 and octets)
  , constraint import_received_has_time check (state in ('receiving', 'failed') or received_at is not null)
  , constraint import_ended_has_time check ((state in ('applied', 'failed')) = (ended_at is not null))
  , constraint import_applied_has_position check ((state = 'applied') = (feed_position is not null))
  , constraint import_failed_has_reason check ((state = 'failed') = (failure is not null))
);
create index import_by_member on import (member_id, import_id desc);
create index import_open on import (import_id) where state in ('receiving', 'checking', 'applying');

-- Written by COPY, read whole, then removed: so it has no index and no key. A prefix is a number, as in
-- announcement_exists; it has no leading zero that could be lost.
create table import_row (
    import_id uuid not null
  , line int not null
  , announces boolean not null
  , prefix bigint not null
  , endpoint_ids uuid[] not null
  -- The announcement that it becomes, where the prefix is not announced yet.
  , announcement_id uuid not null
);

create table import_fault (
    import_id uuid not null references import on delete cascade
  , line int not null
  -- As it was sent, shortened.
  , content text not null
  , reason text not null
  , detail text not null default ''
  , primary key (import_id, line)
);

-- Which reason keeps an announcement's numbers from being its member's: the list of announcements says it of those that are
-- there, an import of its rows. Null where the member lacks nothing.
create function announcement_lack(announcer uuid, announced text, at timestamptz) returns text language sql stable as $$
    select case
           when bool_or(r.authority = 'valid' and r.valid_during @> at) then null
           when exists (select from number_range o
                         where o.authority = 'valid' and o.span @> prefix_span(announced)
                           and o.valid_during @> at and o.member_id <> announcer)
                then 'range_of_other'
           when bool_or(r.authority <> 'valid' or lower(r.valid_during) > at) then 'range_unverified'
           when bool_or(r.authority = 'valid') then 'range_expired'
           when exists (select from number_range o
                         where o.authority = 'valid' and o.span <@ prefix_span(announced)
                           and o.valid_during @> at and o.member_id = announcer)
                then 'announcement_too_broad'
           when exists (select from number_range o
                         where o.authority = 'valid' and o.span <@ prefix_span(announced)
                           and o.valid_during @> at)
                then 'range_of_other'
           else 'range_missing' end
      from number_range r
     where r.member_id = announcer
       and r.prefix = any (array(select left(announced, digits) from generate_series(1, length(announced)) as digits))
$$;
