-- What the DNS name of an endpoint leads to on each node, for people to see; null where its target is no name.
alter table endpoint_health
    add column servers text[]
  , add column unresolved text
  , add constraint endpoint_health_unresolved_short check (length(unresolved) <= 64);
