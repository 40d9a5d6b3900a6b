-- What the announcing member promises of a route, such as cli-guaranteed; agreements may demand it.
alter table announcement
    add column tags text[] not null default '{}'
  , add constraint announcement_tags_at_most_16 check (cardinality(tags) <= 16)
  , add constraint announcement_tags_form check (array_to_string(tags, ' ') ~ '^([a-z][a-z0-9-]{0,31}( [a-z][a-z0-9-]{0,31})*)?$');
