-- The SIP addresses of members, and from where each may send.
create table endpoint (
    endpoint_id uuid primary key default uuid_v7()
  , member_id uuid not null references member
  , site_id uuid references site
  , name text not null
  , target_address inet not null
  , target_port int not null
  , target_transport text not null
  , priority int not null default 1
  , weight int not null default 100
  , max_calls int
  , max_calls_per_second int
  , enabled boolean not null default true
  , created_at timestamptz not null default now()
  , constraint endpoint_name_unique unique (member_id, name)
  -- So that a foreign key can say "an endpoint of this member".
  , constraint endpoint_of_member unique (endpoint_id, member_id)
  , constraint endpoint_name_form check (name ~ '^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$')
  , constraint endpoint_target_is_a_host check (masklen(target_address) = case family(target_address) when 4 then 32 else 128 end)
  , constraint endpoint_target_port_range check (target_port between 1 and 65535)
  , constraint endpoint_target_transport_known check (target_transport in ('udp', 'tcp'))
  , constraint endpoint_priority_range check (priority between 0 and 65535)
  , constraint endpoint_weight_range check (weight between 0 and 65535)
  , constraint endpoint_max_calls_positive check (max_calls > 0)
  , constraint endpoint_max_calls_per_second_positive check (max_calls_per_second > 0)
);

-- A block of addresses, and one port of them or all, from which an endpoint sends. A message must belong to
-- one endpoint, so two sources never overlap.
create table endpoint_source (
    endpoint_id uuid not null references endpoint on delete cascade
  , net inet not null
  , port int
  , constraint endpoint_source_net_has_no_host_bits check (net = network(net)::inet)
  , constraint endpoint_source_port_range check (port between 1 and 65535)
  , constraint endpoint_source_overlaps exclude using gist (
        net inet_ops with &&
      , int4range(coalesce(port, 0), coalesce(port + 1, 65536)) with &&
    )
);
create index endpoint_source_by_endpoint on endpoint_source (endpoint_id);
