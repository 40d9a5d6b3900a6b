-- Calls to numbers of claimed ranges, by an endpoint that the operator chose: whoever takes them sees the code in the calling
-- number, and says it. Portals ask for them, nodes take and place them.
create table range_challenge (
    challenge_id uuid primary key default uuid_v7()
  , range_id uuid not null references number_range on delete cascade
  -- Another member's endpoint may be deleted meanwhile; then the call is not placed.
  , endpoint_id uuid not null
  , called text not null
  , calling text not null
  , code text not null
  , wrong_answers int not null default 0
  , created_at timestamptz not null
  , ends_at timestamptz not null
  , node_id uuid
  , taken_at timestamptz
  , outcome text
  , status int
  , ended_at timestamptz
  , solved_at timestamptz
  , constraint range_challenge_outcome_known check (outcome in ('rang', 'answered', 'refused', 'unanswered', 'unplaced'))
  , constraint range_challenge_code_ends_calling check (calling like '%' || code and code ~ '^[0-9]{6}$')
);
create index range_challenge_by_range on range_challenge (range_id, challenge_id desc);
create index range_challenge_waiting on range_challenge (challenge_id) where taken_at is null;
