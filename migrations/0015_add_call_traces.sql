-- The messages of traced calls, for the ladder of the portal. What is stored holds no secret: it is masked before it
-- leaves the node. Calls are traced by chance, or because a member selected them for a while; old ones are deleted.
create table trace_selection (
    trace_selection_id uuid primary key default uuid_v7()
  , member_id uuid not null references member
  , endpoint_id uuid
  , prefix text
  , created_at timestamptz not null
  , until timestamptz not null
  , max_calls int not null
  , constraint trace_selection_endpoint_own foreign key (endpoint_id, member_id)
        references endpoint (endpoint_id, member_id) on delete cascade
  , constraint trace_selection_prefix_form check (prefix ~ '^[0-9]{1,15}$')
  , constraint trace_selection_within_a_day check (until > created_at and until <= created_at + interval '1 day')
  , constraint trace_selection_max_calls_range check (max_calls between 1 and 1000)
);
create index trace_selection_by_member on trace_selection (member_id, trace_selection_id desc);
create index trace_selection_by_end on trace_selection (until);

create table call_trace (
    call_id uuid primary key
  , node_id uuid not null
  , began_at timestamptz not null
  -- Null where chance selected it; the selection may be gone.
  , trace_selection_id uuid
  -- Of the messages that are kept, for the bound on all of them.
  , octets bigint not null
  -- Messages that found no room.
  , dropped int not null default 0
);
create index call_trace_by_age on call_trace (began_at);
create index call_trace_by_selection on call_trace (trace_selection_id) where trace_selection_id is not null;

create table call_message (
    call_id uuid not null references call_trace on delete cascade
  , position int not null
  , at timestamptz not null
  -- The member on whose leg it is: only it and the operator see the message whole.
  , member_id uuid not null
  , side text not null
  -- On the egress leg: of which attempt.
  , attempt smallint
  , is_received boolean not null
  , is_again boolean not null
  , transport text not null
  , hub_address text not null
  , member_address text not null
  , method text not null
  , status int
  , has_session boolean not null
  -- What the member of the other leg sees instead.
  , outline text not null
  , octets bytea not null
  , primary key (call_id, position)
  , constraint call_message_side_known check (side in ('ingress', 'egress'))
  , constraint call_message_attempt_of_egress check ((attempt is not null) = (side = 'egress'))
);
