-- Endpoints that are reached by a DNS name or over TLS, known by their certificate, and spoken to by a policy of
-- their own. A row of before means what it meant.
alter table endpoint
    alter column target_address drop not null
  , alter column target_port drop not null
  , alter column target_transport drop not null
  , add column target_name text
  , add column policy jsonb not null default '{}'
  , add constraint endpoint_target_name_form check (target_name ~ '^[a-z0-9-]+(\.[a-z0-9-]+)*$' and length(target_name) <= 253)
  -- An address has a port and a transport; what a name leaves open, DNS says.
  , add constraint endpoint_target_is_whole check (
        case when target_name is null
             then num_nulls(target_address, target_port, target_transport) = 0
             else target_address is null
        end
    )
  , add constraint endpoint_policy_is_an_object check (jsonb_typeof(policy) = 'object')
  , drop constraint endpoint_target_transport_known
  , add constraint endpoint_target_transport_known check (target_transport in ('udp', 'tcp', 'tls'));

-- The names in an endpoint's TLS client certificate, by any of which it is known; each is one endpoint's.
create table endpoint_certificate_name (
    name text primary key
  , endpoint_id uuid not null references endpoint on delete cascade
  , constraint endpoint_certificate_name_form check (name ~ '^[a-z0-9-]+(\.[a-z0-9-]+)*$' and length(name) <= 253)
);
create index endpoint_certificate_name_by_endpoint on endpoint_certificate_name (endpoint_id);

do $$
declare
    happening text;
begin
    foreach happening in array array['insert', 'update', 'delete'] loop
        execute format(
            'create trigger feed_%s after %s on endpoint_certificate_name referencing %s table as touched_rows for each statement execute function append_to_feed(%L, %L)',
            happening, happening, case happening when 'delete' then 'old' else 'new' end, 'endpoint', 'endpoint_id');
    end loop;
end
$$;

alter table listener
    drop constraint listener_transport_known
  , add constraint listener_transport_known check (transport in ('udp', 'tcp', 'tls'));
