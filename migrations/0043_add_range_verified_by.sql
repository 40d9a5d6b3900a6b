-- A range is verified by one of several kinds of evidence, and members and the operator see by which. What was verified
-- until now, was so by a document and the operator's word.
alter table number_range
    add column verified_by text not null default 'document'
  , add constraint number_range_verified_by_known check (verified_by in ('document', 'regulator', 'certificate', 'challenge'));
