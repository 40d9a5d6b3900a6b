-- Offers to carry calls onward, to the telephone network for instance, at the rates of a deck. Nobody's authority over the numbers
-- is asked for, so the operator's permission is.
create table transit_offer (
    announcement_id uuid primary key default uuid_v7()
  , member_id uuid not null references member
  , name text not null
  , rate_deck_id uuid not null
  , valid_during tstzrange not null
  , is_permitted boolean not null default false
    -- The operator's: among offers of the same rate the lower one comes first.
  , preference int not null default 100
  , max_calls int
  , max_calls_per_second int
  , tags text[] not null default '{}'
    -- How its calls went lately, in coarse steps; null where too few were tried. A change reaches every node.
  , asr_percent int
  , ner_percent int
  , pdd_ms int
  , created_at timestamptz not null
  , constraint transit_offer_of_member unique (announcement_id, member_id)
  , constraint transit_offer_deck_own foreign key (rate_deck_id, member_id) references rate_deck (rate_deck_id, member_id)
  , constraint transit_offer_name_form check (name ~ '^[a-z0-9][a-z0-9-]{0,39}$')
  , constraint transit_offer_name_unique exclude using gist (member_id with =, name with =, valid_during with &&)
  , constraint transit_offer_valid_during_half_open check (not isempty(valid_during) and lower_inc(valid_during) and not upper_inc(valid_during))
  , constraint transit_offer_preference_range check (preference between 0 and 65535)
  , constraint transit_offer_max_calls_positive check (max_calls > 0)
  , constraint transit_offer_max_calls_per_second_positive check (max_calls_per_second > 0)
  , constraint transit_offer_tags_at_most_16 check (cardinality(tags) <= 16)
  , constraint transit_offer_tags_form check (array_to_string(tags, ' ') ~ '^([a-z][a-z0-9-]{0,31}( [a-z][a-z0-9-]{0,31})*)?$')
  , constraint transit_offer_quality_whole check (num_nulls(asr_percent, ner_percent, pdd_ms) in (0, 3))
  , constraint transit_offer_quality_range check (asr_percent between 0 and 100 and ner_percent between 0 and 100 and pdd_ms >= 0)
);
create index transit_offer_by_deck on transit_offer (rate_deck_id);

-- The endpoints that take the calls: of the offering member only.
create table transit_offer_endpoint (
    announcement_id uuid not null
  , member_id uuid not null
  , endpoint_id uuid not null
  , primary key (announcement_id, endpoint_id)
  , constraint transit_offer_endpoint_offer foreign key (announcement_id, member_id)
        references transit_offer (announcement_id, member_id) on delete cascade
  , constraint transit_offer_endpoint_own foreign key (endpoint_id, member_id) references endpoint (endpoint_id, member_id)
);
create index transit_offer_endpoint_by_endpoint on transit_offer_endpoint (endpoint_id);

do $$
declare
    watched text;
    happening text;
begin
    foreach watched in array array['transit_offer', 'transit_offer_endpoint'] loop
        foreach happening in array array['insert', 'update', 'delete'] loop
            execute format(
                'create trigger feed_%s after %s on %I referencing %s table as touched_rows for each statement execute function append_to_feed(''transit_offer'', ''announcement_id'')',
                happening, happening, watched, case happening when 'delete' then 'old' else 'new' end);
        end loop;
    end loop;
end
$$;
