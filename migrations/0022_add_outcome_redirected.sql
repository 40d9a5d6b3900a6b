-- A call that its member was told to place directly (302) is over for the hub, and neither refused nor failed.
alter table call
    drop constraint call_outcome_known
  , add constraint call_outcome_known check (outcome in ('answered', 'busy', 'no_answer', 'cancelled', 'rejected', 'refused', 'failed', 'redirected'));
