-- Which ported numbers each node holds, and why it does not use the newest file of them, for people to see; null where a
-- node is told of none.
alter table node
    add column ported_numbers bigint
  , add column ported_serial bigint
  , add column ported_fault text
  , add constraint node_ported_fault_short check (length(ported_fault) <= 64);
