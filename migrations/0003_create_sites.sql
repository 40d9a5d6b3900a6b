-- Where members meet the hub: sites, their listeners, and the nodes that run them.
create table site (
    site_id uuid primary key default uuid_v7()
  , name text not null
  , created_at timestamptz not null default now()
  , constraint site_name_unique unique (name)
  , constraint site_name_form check (name ~ '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$')
);

create table listener (
    listener_id uuid primary key default uuid_v7()
  , site_id uuid not null references site
  , address inet not null
  , port int not null
  , transport text not null
  , constraint listener_unique unique (address, port, transport)
  , constraint listener_port_range check (port between 1 and 65535)
  , constraint listener_transport_known check (transport in ('udp', 'tcp'))
);

-- A running node and the route table that it runs, as it last reported.
create table node (
    node_id uuid primary key
  , name text not null
  , started_at timestamptz not null
  , seen_at timestamptz not null
  , state text not null
  , table_version bigint not null
  , table_hash text not null
  , active_calls int not null default 0
  , journal_backlog bigint not null default 0
  , constraint node_name_unique unique (name)
  , constraint node_state_known check (state in ('starting', 'serving', 'draining', 'stopped'))
);
