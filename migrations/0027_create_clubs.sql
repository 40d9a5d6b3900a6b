-- Agreements of many: a member joins a club once and reaches all that have joined it, and they reach it.
create table club (
    agreement_id uuid primary key default uuid_v7()
  , name text not null
  , display_name text not null
  , note text not null default ''
  , max_calls int
  , max_calls_per_second int
  , advance_on jsonb
  , terms jsonb
  , created_at timestamptz not null
  , constraint club_name_unique unique (name)
  , constraint club_name_form check (name ~ '^[a-z0-9][a-z0-9-]{0,39}$')
  , constraint club_display_name_length check (length(display_name) between 1 and 80)
  , constraint club_note_length check (length(note) <= 2000)
  , constraint club_max_calls_positive check (max_calls > 0)
  , constraint club_max_calls_per_second_positive check (max_calls_per_second > 0)
  , constraint club_advance_on_form check (jsonb_typeof(advance_on) = 'object')
  , constraint club_terms_form check (jsonb_typeof(terms) = 'object')
    -- Prefixes of a side belong to agreements of two.
  , constraint club_terms_of_no_side check (not terms ?| array['prefixes_of_proposing', 'prefixes_of_accepting'])
);

-- Who has joined, and who did. One whom the operator expelled joins again only when the operator lets it.
create table club_membership (
    agreement_id uuid not null references club
  , member_id uuid not null references member
  , joined_at timestamptz not null
  , left_at timestamptz
  , is_expelled boolean not null default false
  , primary key (agreement_id, member_id, joined_at)
  , constraint club_membership_left_after_joining check (left_at >= joined_at)
  , constraint club_membership_expelled_has_left check (not is_expelled or left_at is not null)
);
create unique index club_membership_once on club_membership (agreement_id, member_id) where left_at is null or is_expelled;
create index club_membership_by_member on club_membership (member_id);

alter table feed_entry
    drop constraint feed_entry_kind_known
  , add constraint feed_entry_kind_known check (kind in ('member', 'endpoint', 'range', 'announcement', 'agreement', 'club'));
do $$
declare
    watched text;
    happening text;
begin
    foreach watched in array array['club', 'club_membership'] loop
        foreach happening in array array['insert', 'update', 'delete'] loop
            execute format(
                'create trigger feed_%s after %s on %I referencing %s table as touched_rows for each statement execute function append_to_feed(''club'', ''agreement_id'')',
                happening, happening, watched, case happening when 'delete' then 'old' else 'new' end);
        end loop;
    end loop;
end
$$;
