-- What calls that go by transit cost: dated lists of prefixes and rates, exact decimals in the one currency of the exchange, so
-- that any two can be compared.
create table exchange_currency (
    one boolean primary key default true
  , currency text not null
  , constraint exchange_currency_one_row check (one)
  , constraint exchange_currency_unique unique (currency)
    -- ISO 4217.
  , constraint exchange_currency_form check (currency ~ '^[A-Z]{3}$')
);
insert into exchange_currency (currency) values ('EUR');

create table rate_deck (
    rate_deck_id uuid primary key default uuid_v7()
    -- The operator's where it is null.
  , member_id uuid references member
  , name text not null
  , currency text not null
    -- How often rates were loaded.
  , version int not null default 0
  , created_at timestamptz not null
    -- So that a foreign key can say "a deck of this member".
  , constraint rate_deck_of_member unique (rate_deck_id, member_id)
  , constraint rate_deck_name_unique unique nulls not distinct (member_id, name)
  , constraint rate_deck_name_form check (name ~ '^[a-z0-9][a-z0-9-]{0,39}$')
    -- The currency stays while there is a deck.
  , constraint rate_deck_currency_of_exchange foreign key (currency) references exchange_currency (currency)
);

create table rate (
    rate_deck_id uuid not null references rate_deck on delete cascade
    -- Of the deck, by which it was loaded.
  , version int not null
  , prefix text not null
  , per_minute numeric(12, 6) not null
  , valid_during tstzrange not null
  , constraint rate_prefix_form check (prefix ~ '^[1-9][0-9]{0,14}$')
    -- NaN is greater than any number.
  , constraint rate_per_minute_range check (per_minute between 0 and 999999.999999)
  , constraint rate_valid_during_half_open check (not isempty(valid_during) and lower_inc(valid_during) and not upper_inc(valid_during))
  , constraint rate_one_at_a_time exclude using gist ((prefix::bigint) with =, rate_deck_id with =, valid_during with &&)
);
create index rate_by_deck on rate (rate_deck_id, prefix);

do $$
declare
    watched text;
    happening text;
begin
    foreach watched in array array['rate_deck', 'rate'] loop
        foreach happening in array array['insert', 'update', 'delete'] loop
            execute format(
                'create trigger feed_%s after %s on %I referencing %s table as touched_rows for each statement execute function append_to_feed(''rate_deck'', ''rate_deck_id'')',
                happening, happening, watched, case happening when 'delete' then 'old' else 'new' end);
        end loop;
    end loop;
end
$$;
