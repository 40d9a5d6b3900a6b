-- Endpoints that send from one address: each is told by a mark of its own in the Request-URI, a tech-prefix of digits
-- before the called number or a domain as its host. An endpoint without a mark has its addresses for itself, as before.
alter table endpoint
    add column call_mark text not null default ''
  , add constraint endpoint_call_mark_form check (
        call_mark ~ '^([0-9]{1,8})?$'
        or (call_mark ~ '^[a-z0-9-]+(\.[a-z0-9-]+)*$' and call_mark ~ '[^0-9]' and length(call_mark) <= 253)
    )
  -- So that its sources have the same.
  , add constraint endpoint_of_call_mark unique (endpoint_id, call_mark);

create type text_range as range (subtype = text, collation = "C");

-- The texts that a mark stands for, so that two of them can be mistaken for each other exactly when their spans
-- overlap: a tech-prefix for every text that begins with it, no mark for every text.
create function call_mark_span(mark text) returns text_range language sql immutable strict parallel safe as $$
    select case when mark = '' then text_range(null, null)
                when mark ~ '^[0-9]+$' then text_range(mark, mark || ':')
                else text_range(mark, mark, '[]')
           end
$$;

-- Marks of two kinds are never on one address: a call may bear one of each.
create function call_mark_kind(mark text) returns int language sql immutable strict parallel safe as $$
    select case when mark = '' then 0 when mark ~ '^[0-9]+$' then 1 else 2 end
$$;

alter table endpoint_source
    add column call_mark text not null default ''
  , drop constraint endpoint_source_endpoint_id_fkey
  , add constraint endpoint_source_of_call_mark foreign key (endpoint_id, call_mark)
        references endpoint (endpoint_id, call_mark) on delete cascade on update cascade
  , drop constraint endpoint_source_overlaps
  , add constraint endpoint_source_overlaps exclude using gist (
        net inet_ops with &&
      , int4range(coalesce(port, 0), coalesce(port + 1, 65536)) with &&
      , call_mark_span(call_mark) with &&
    )
  , add constraint endpoint_source_marks_differ_in_kind exclude using gist (
        net inet_ops with &&
      , int4range(coalesce(port, 0), coalesce(port + 1, 65536)) with &&
      , call_mark_kind(call_mark) with <>
    );
