-- An agreement is answered with other terms, suspended by each side, and ends after notice. Who offered the terms, and
-- what was done since, is kept. A node of before leaves rows in the new states out and carries no calls under them.
alter table agreement
    add column offered_by text not null default 'proposing'
  , add column version int not null default 1
  , add column notice_days int not null default 0
  , add column suspended_by_proposing boolean not null default false
  , add column suspended_by_accepting boolean not null default false
  , drop constraint agreement_state_known
  , drop constraint agreement_in_force_when_accepted
  , add constraint agreement_state_known check (state in ('proposed', 'countered', 'accepted', 'suspended', 'ending', 'refused', 'ended'))
  , add constraint agreement_in_force_when_accepted check ((state in ('accepted', 'suspended', 'ending', 'ended')) = (valid_during is not null))
  , add constraint agreement_offered_by_known check (offered_by in ('proposing', 'accepting'))
  , add constraint agreement_version_bounded check (version between 1 and 100)
  , add constraint agreement_first_offer_is_the_proposal check (state <> 'proposed' or (version = 1 and offered_by = 'proposing'))
  , add constraint agreement_countered_has_versions check (state <> 'countered' or version > 1)
  , add constraint agreement_notice_bounded check (notice_days between 0 and 365)
  , add constraint agreement_suspended_by_someone check ((state = 'suspended') = (suspended_by_proposing or suspended_by_accepting))
  , add constraint agreement_ending_has_end check (state <> 'ending' or not upper_inf(valid_during));
drop index agreement_exists;
create unique index agreement_exists on agreement (
    least(proposing_member_id, accepting_member_id), greatest(proposing_member_id, accepting_member_id)
) where state in ('proposed', 'countered', 'accepted', 'suspended', 'ending');

-- What was done about an agreement, in order. An offer, and what the operator declares, has its terms.
create table agreement_event (
    agreement_id uuid not null references agreement on delete cascade
  , position int not null
  , at timestamptz not null
  , member_id uuid references member
  , action text not null
  , version int not null
  , terms jsonb
  , primary key (agreement_id, position)
  , constraint agreement_event_action_known check (action in ('propose', 'declare', 'counter', 'accept', 'refuse', 'suspend', 'resume', 'end'))
  , constraint agreement_event_offer_has_terms check ((action in ('propose', 'declare', 'counter')) = (terms is not null))
  , constraint agreement_event_position_positive check (position > 0)
);

-- What is known of agreements from before: the proposal, its answer and its end, as far as they have a time.
insert into agreement_event (agreement_id, position, at, member_id, action, version, terms)
select agreement_id, row_number() over (partition by agreement_id order by at, rank), at, member_id, action, 1, terms
  from (select agreement_id, 1 as rank, proposed_at as at, proposing_member_id as member_id, 'propose' as action
             , jsonb_build_object('direction', direction, 'note', note, 'notice_days', 0, 'max_calls', max_calls
                                , 'max_calls_per_second', max_calls_per_second, 'advance_on', advance_on) as terms
          from agreement
        union all
        select agreement_id, 2, decided_at, accepting_member_id
             , case state when 'refused' then 'refuse' else 'accept' end, null
          from agreement where decided_at is not null
        union all
        select agreement_id, 3, ended_at, null, 'end', null
          from agreement where ended_at is not null) as known;
