-- Nodes report the link of the chain at their version of the route table, too: two that run the same version and differ in
-- it have followed different pasts.
alter table node add column table_chain text not null default '';
