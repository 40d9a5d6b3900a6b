-- One row a call and one an attempt, partitioned by the UTC day on which the call started, so that old days
-- are dropped whole and an insert touches small indexes.
create table call (
    call_id uuid not null
  , started_at timestamptz not null
  , node_id uuid not null
  , originating_member_id uuid not null
  , originating_endpoint_id uuid not null
  , calling text not null
  , called text not null
  , terminating_member_id uuid
  , terminating_endpoint_id uuid
  , agreement_id uuid
  , prefix text
  , outcome text
  , status int
  , reason text
  , answered_at timestamptz
  , ended_at timestamptz
  , ended_by text
  , setup_ms int
  , duration_ms bigint
  , ingress_call_id text not null
  , table_version bigint not null
  , selection jsonb not null
  , primary key (started_at, call_id)
  , constraint call_outcome_known check (outcome in ('answered', 'busy', 'no_answer', 'cancelled', 'rejected', 'refused', 'failed'))
  , constraint call_outcome_when_ended check ((outcome is null) = (ended_at is null))
  , constraint call_ended_by_known check (ended_by in ('originating', 'terminating', 'hub'))
  , constraint call_answered_has_duration check ((outcome is distinct from 'answered') or (answered_at is not null and duration_ms >= 0))
) partition by range (started_at);
create index call_by_originating_member on call (originating_member_id, started_at desc, call_id desc);
create index call_by_terminating_member on call (terminating_member_id, started_at desc, call_id desc);
create index call_up on call (node_id, started_at) where ended_at is null;

create table attempt (
    call_id uuid not null
  , started_at timestamptz not null
  , position smallint not null
  , terminating_member_id uuid not null
  , endpoint_id uuid not null
  , attempted_at timestamptz not null
  , ended_at timestamptz
  , status int
  , reason text
  , egress_call_id text not null
  , primary key (started_at, call_id, position)
) partition by range (started_at);

-- Makes the partitions of a UTC day, if they are not there. A table is made first and attached then, as that
-- lets others read and write the parent meanwhile; "create table … partition of" would lock them out.
create function ensure_call_partitions(day date) returns void language plpgsql as $$
declare
    starts timestamptz := day::timestamp at time zone 'UTC';
    ends timestamptz := (day + 1)::timestamp at time zone 'UTC';
    parent text;
    partition text;
begin
    foreach parent in array array['call', 'attempt'] loop
        partition := parent || '_' || to_char(day, 'YYYYMMDD');
        if to_regclass(format('%I', partition)) is null then
            perform pg_advisory_xact_lock(hashtext('ensure_call_partitions'));
            -- Someone else may have made it while this one waited; the table is read anew, not the cache.
            if not exists (select from pg_class where relname = partition and relnamespace = current_schema()::regnamespace) then
                execute format('create table %I (like %I including defaults including constraints)', partition, parent);
                execute format('alter table %I attach partition %I for values from (%L) to (%L)',
                               parent, partition, starts, ends);
            end if;
        end if;
    end loop;
end
$$;
