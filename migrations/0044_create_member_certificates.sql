-- STI certificates of members with the numbers that they are for (RFC 8226 §9): the evidence of a claim, once the member has
-- shown that it has the key. The numbers are spans of 15-digit integers, as those of ranges are.
create table member_certificate (
    certificate_id uuid primary key default uuid_v7()
  , member_id uuid not null references member
  , subject text not null
  , fingerprint bytea not null
  , public_key bytea not null
  , entries jsonb not null
  , spans int8multirange not null
  , codes text[] not null
  , valid_during tstzrange not null
  -- What the member signs to show that it has the key, and until when.
  , challenge text
  , challenge_ends_at timestamptz
  , proven_at timestamptz
  , created_at timestamptz not null
  , constraint member_certificate_unique unique (member_id, fingerprint)
  , constraint member_certificate_challenge_whole check ((challenge is null) = (challenge_ends_at is null))
);

-- Until when a certificate of member $1 gives it all numbers of prefix $2, of those that are in force at $3.
create function certificate_ends_at(uuid, text, timestamptz) returns timestamptz language sql stable set jit = off as $$
    select max(upper(valid_during)) from member_certificate
     where member_id = $1 and proven_at is not null and valid_during @> $3 and spans @> prefix_span($2)
$$;
