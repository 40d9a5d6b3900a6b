-- What is never called: a member keeps calls of its own from numbers, such as premium ones, and the operator everybody's.
create table blocked_prefix (
    -- Of the operator where it is null.
    member_id uuid references member
    -- Names the list in the change feed.
  , list_id uuid not null generated always as (coalesce(member_id, '00000000-0000-0000-0000-000000000000')) stored
  , prefix text not null
  , created_at timestamptz not null
  , primary key (list_id, prefix)
  , constraint blocked_prefix_form check (prefix ~ '^[1-9][0-9]{0,14}$')
);
create index blocked_prefix_by_member on blocked_prefix (member_id);

alter table feed_entry
    drop constraint feed_entry_kind_known
  , add constraint feed_entry_kind_known check (kind in (
        'member', 'endpoint', 'range', 'announcement', 'agreement', 'club', 'import', 'block_list', 'rate_deck', 'transit_offer'));
do $$
declare
    happening text;
begin
    foreach happening in array array['insert', 'update', 'delete'] loop
        execute format(
            'create trigger feed_%s after %s on blocked_prefix referencing %s table as touched_rows for each statement execute function append_to_feed(''block_list'', ''list_id'')',
            happening, happening, case happening when 'delete' then 'old' else 'new' end);
    end loop;
end
$$;
