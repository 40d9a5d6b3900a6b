-- Changes of announcements that are drafted, planned, approved by a second person where they move much, applied as a
-- whole at once or at a time, and rolled back as a whole. What was planned and done is kept.
create table change_set (
    change_set_id uuid primary key default uuid_v7()
  , member_id uuid not null references member
  , note text not null default ''
  , state text not null default 'draft'
  , author_user_id uuid references user_account
  , author_token_id uuid references api_token
  , created_at timestamptz not null default now()
  , plan jsonb
  , approved_by uuid references user_account
  , approved_at timestamptz
  , approved_plan jsonb
  , apply_at timestamptz
  , applied_at timestamptz
  , rolled_back_at timestamptz
  , ended_at timestamptz
  , failure text
  , constraint change_set_state_known check (state in ('draft', 'scheduled', 'applied', 'rolled_back', 'cancelled', 'failed'))
  , constraint change_set_note_length check (length(note) <= 2000)
  , constraint change_set_scheduled_has_time check (state <> 'scheduled' or apply_at is not null)
  , constraint change_set_applied_has_time check ((state in ('applied', 'rolled_back')) = (applied_at is not null))
  , constraint change_set_rolled_back_has_time check ((state = 'rolled_back') = (rolled_back_at is not null))
  , constraint change_set_ended_has_time check ((state in ('cancelled', 'failed')) = (ended_at is not null))
  , constraint change_set_failed_has_reason check ((state = 'failed') = (failure is not null))
  , constraint change_set_approval_whole check ((approved_by is null) = (approved_at is null) and (approved_by is null) = (approved_plan is null))
  -- Four eyes: whoever wrote it does not approve it.
  , constraint change_set_approved_by_author check (approved_by is null or approved_by is distinct from author_user_id)
);
create index change_set_by_member on change_set (member_id, change_set_id desc);
create index change_set_due on change_set (apply_at) where state = 'scheduled';

create table change_set_item (
    change_set_id uuid not null references change_set on delete cascade
  , position int not null
  , action text not null
  , prefix text not null
  , endpoint_ids uuid[] not null default '{}'
  -- What stood for the prefix when the set was applied: what rolling back restores.
  , before jsonb
  , primary key (change_set_id, position)
  , constraint change_set_item_once unique (change_set_id, prefix)
  , constraint change_set_item_action_known check (action in ('announce', 'withdraw'))
  , constraint change_set_item_prefix_form check (prefix ~ '^[1-9][0-9]{0,14}$')
  , constraint change_set_item_endpoints check ((action = 'announce') = (cardinality(endpoint_ids) > 0))
);
