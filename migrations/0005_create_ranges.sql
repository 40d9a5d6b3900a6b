-- Who holds which numbers, by what authority; and what members announce of them.

-- The numbers that begin with a prefix, as an interval of 15-digit integers: two prefixes overlap exactly
-- when their spans do, and one covers the other exactly when its span contains the other's.
create function prefix_span(prefix text) returns int8range language sql immutable strict parallel safe as $$
    select int8range(rpad(prefix, 15, '0')::bigint, rpad(prefix, 15, '9')::bigint, '[]')
$$;

create table number_range (
    range_id uuid primary key default uuid_v7()
  , member_id uuid not null references member
  , prefix text not null
  , span int8range not null generated always as (prefix_span(prefix)) stored
  , authority text not null default 'pending'
  , evidence text not null default ''
  , valid_during tstzrange not null
  , decided_by uuid references user_account
  , decided_at timestamptz
  , created_at timestamptz not null default now()
  , constraint number_range_prefix_form check (prefix ~ '^[1-9][0-9]{0,14}$')
  , constraint number_range_authority_known check (authority in ('pending', 'valid', 'refused'))
  , constraint number_range_evidence_length check (length(evidence) <= 2000)
  , constraint number_range_valid_during_half_open check (not isempty(valid_during) and lower_inc(valid_during) and not upper_inc(valid_during))
  -- A member claims a prefix once; a refused claim may be made again.
  , constraint number_range_claimed_twice exclude using gist ((prefix::bigint) with =, member_id with =, valid_during with &&) where (authority <> 'refused')
  -- A number has one holder at a time.
  , constraint number_range_overlaps exclude using gist (span with &&, valid_during with &&) where (authority = 'valid')
);
create index number_range_by_member on number_range (member_id, prefix);
create index number_range_pending on number_range (created_at) where authority = 'pending';

create table announcement (
    announcement_id uuid primary key default uuid_v7()
  , member_id uuid not null references member
  , prefix text not null
  , valid_during tstzrange not null
  , created_at timestamptz not null default now()
  , constraint announcement_of_member unique (announcement_id, member_id)
  , constraint announcement_prefix_form check (prefix ~ '^[1-9][0-9]{0,14}$')
  , constraint announcement_valid_during_half_open check (not isempty(valid_during) and lower_inc(valid_during) and not upper_inc(valid_during))
  -- The prefix comes first and as a number: so a million are written in a fifth of the time.
  , constraint announcement_exists exclude using gist ((prefix::bigint) with =, member_id with =, valid_during with &&)
);
create index announcement_by_member on announcement (member_id, prefix);

-- The endpoints that take the calls: of the announcing member only.
create table announcement_endpoint (
    announcement_id uuid not null
  , member_id uuid not null
  , endpoint_id uuid not null
  , primary key (announcement_id, endpoint_id)
  , constraint announcement_endpoint_announcement foreign key (announcement_id, member_id)
        references announcement (announcement_id, member_id) on delete cascade
  , constraint announcement_endpoint_own foreign key (endpoint_id, member_id)
        references endpoint (endpoint_id, member_id)
);
create index announcement_endpoint_by_endpoint on announcement_endpoint (endpoint_id);
