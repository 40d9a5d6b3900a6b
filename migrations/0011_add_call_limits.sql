-- How many calls a member, an agreement and an announcement may carry; endpoints have had these columns from the
-- start. Null is no bound, so that what is there goes on as before.
alter table member
    add column max_calls int
  , add column max_calls_per_second int
  , add constraint member_max_calls_positive check (max_calls > 0)
  , add constraint member_max_calls_per_second_positive check (max_calls_per_second > 0);

alter table agreement
    add column max_calls int
  , add column max_calls_per_second int
  , add constraint agreement_max_calls_positive check (max_calls > 0)
  , add constraint agreement_max_calls_per_second_positive check (max_calls_per_second > 0);

alter table announcement
    add column max_calls int
  , add column max_calls_per_second int
  , add constraint announcement_max_calls_positive check (max_calls > 0)
  , add constraint announcement_max_calls_per_second_positive check (max_calls_per_second > 0);
