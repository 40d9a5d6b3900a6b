-- How each node finds the endpoints, and how that changed: nodes write it, the API and the portal show it. No call
-- depends on it.

-- What a node knows of an endpoint now. It begins anew with each start of the node; no row is nothing known.
create table endpoint_health (
    endpoint_id uuid not null references endpoint on delete cascade
  , node_id uuid not null references node on delete cascade
  , state text not null
  , since timestamptz not null
  , sign text
  , held_until timestamptz
  , probed_at timestamptz
  , rtt_us int
  , primary key (endpoint_id, node_id)
  , constraint endpoint_health_state_known check (state in ('unknown', 'up', 'ramping', 'down'))
  , constraint endpoint_health_sign_short check (length(sign) <= 32)
  , constraint endpoint_health_rtt_positive check (rtt_us >= 0)
);
create index endpoint_health_by_node on endpoint_health (node_id);

-- What happened, oldest first; old and surplus rows are deleted. A node that is gone leaves what it saw.
create table endpoint_health_change (
    endpoint_health_change_id uuid primary key default uuid_v7()
  , endpoint_id uuid not null references endpoint on delete cascade
  , node_id uuid not null
  , at timestamptz not null
  , state text not null
  , sign text not null
  , constraint endpoint_health_change_state_known check (state in ('unknown', 'up', 'ramping', 'down'))
  , constraint endpoint_health_change_sign_short check (length(sign) <= 32)
);
create index endpoint_health_change_by_endpoint
    on endpoint_health_change (endpoint_id, endpoint_health_change_id desc);
create index endpoint_health_change_by_time on endpoint_health_change (at);
