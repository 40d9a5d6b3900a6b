-- What two members may send to each other, and when. One agreement or proposal at a time for a pair.
create table agreement (
    agreement_id uuid primary key default uuid_v7()
  , proposing_member_id uuid not null references member
  , accepting_member_id uuid not null references member
  , direction text not null default 'both'
  , state text not null default 'proposed'
  , valid_during tstzrange
  , note text not null default ''
  , proposed_at timestamptz not null default now()
  , decided_at timestamptz
  , ended_at timestamptz
  , constraint agreement_between_two check (proposing_member_id <> accepting_member_id)
  , constraint agreement_direction_known check (direction in ('both', 'to_accepting', 'to_proposing'))
  , constraint agreement_state_known check (state in ('proposed', 'accepted', 'refused', 'ended'))
  , constraint agreement_in_force_when_accepted check ((state in ('accepted', 'ended')) = (valid_during is not null))
  , constraint agreement_valid_during_half_open check (valid_during is null or isempty(valid_during) or (lower_inc(valid_during) and not upper_inc(valid_during)))
  , constraint agreement_note_length check (length(note) <= 2000)
);
create unique index agreement_exists on agreement (
    least(proposing_member_id, accepting_member_id), greatest(proposing_member_id, accepting_member_id)
) where state in ('proposed', 'accepted');
create index agreement_by_accepting on agreement (accepting_member_id);
create index agreement_by_proposing on agreement (proposing_member_id);
