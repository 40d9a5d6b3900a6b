-- After which failures of an attempt a call under an agreement goes on to its next candidate: lists of SIP statuses and of
-- Q.850 causes. Null is the rule of the hub, so that what is there goes on as before.
alter table agreement
    add column advance_on jsonb
  , add constraint agreement_advance_on_form check (jsonb_typeof(advance_on) = 'object');
