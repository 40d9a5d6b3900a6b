-- Which calls cross under an agreement: prefixes of each side, hours, preferred sites and demanded tags. Null lets every call
-- cross, so that what is there goes on as before. A node of before ignores terms: bring all nodes up to date first.
alter table agreement
    add column terms jsonb
  , add constraint agreement_terms_form check (jsonb_typeof(terms) = 'object');
