-- Members whose address changes, or whose switch wants a password. An endpoint may have one credential by which it
-- is known, and one that the hub answers with where its switch asks; and it is where it registered last.

-- An endpoint without any target is reached where it registers.
alter table endpoint
    drop constraint endpoint_target_is_whole
  , add constraint endpoint_target_is_whole check (
        case when target_name is null
             then num_nulls(target_address, target_port, target_transport) in (0, 3)
             else target_address is null
        end
    );

-- Digest needs the hashes of user name, realm and password and not the password, which is not kept. The hashes let
-- whoever has them in, in this realm and no other: they are to be kept like passwords.
create table endpoint_credential (
    endpoint_id uuid not null references endpoint on delete cascade
  , direction text not null
  -- Another one each time that it is replaced: what was registered with the old one is void then.
  , credential_id uuid not null default uuid_v7()
  , username text not null
  , realm text not null
  , ha1 text not null
  , registers boolean not null default false
  , created_at timestamptz not null default now()
  , constraint endpoint_credential_one_each_way primary key (endpoint_id, direction)
  , constraint endpoint_credential_direction_known check (direction in ('inbound', 'outbound'))
  , constraint endpoint_credential_username_form check (username ~ '^[A-Za-z0-9._+-]{1,64}$')
  , constraint endpoint_credential_realm_form check (realm ~ '^[ !#-[\]-~]{1,64}$')
  , constraint endpoint_credential_own_realm_form check (direction = 'outbound' or realm ~ '^[a-z0-9.-]{1,64}$')
  , constraint endpoint_credential_ha1_form check (ha1 ~ '^[0-9a-f]{96}$')
  , constraint endpoint_credential_only_the_hub_registers check (direction = 'outbound' or not registers)
);
-- A user name says who it is.
create unique index endpoint_credential_username_unique on endpoint_credential (realm, username)
    where direction = 'inbound';

-- Where an endpoint registered last. A row that has ended stays: it says to every node that an earlier one is over.
create table registration (
    endpoint_id uuid primary key references endpoint on delete cascade
  , credential_id uuid not null
  , contact text not null
  , source_address inet not null
  , source_port int not null
  , transport text not null
  , listener_address inet not null
  , listener_port int not null
  , call_id text not null
  , cseq bigint not null
  , registered_at timestamptz not null
  , expires_at timestamptz not null
  , node_id uuid not null
  , constraint registration_contact_is_short check (length(contact) <= 255)
  , constraint registration_call_id_is_short check (length(call_id) <= 255)
  , constraint registration_source_port_range check (source_port between 1 and 65535)
  , constraint registration_listener_port_range check (listener_port between 1 and 65535)
  , constraint registration_transport_known check (transport in ('udp', 'tcp', 'tls'))
  , constraint registration_cseq_range check (cseq between 0 and 4294967295)
  , constraint registration_ends_after_it_began check (registered_at <= expires_at)
);

do $$
declare
    watched text;
    happening text;
begin
    foreach watched in array array['endpoint_credential', 'registration'] loop
        foreach happening in array array['insert', 'update', 'delete'] loop
            execute format(
                'create trigger feed_%s after %s on %I referencing %s table as touched_rows for each statement execute function append_to_feed(''endpoint'', ''endpoint_id'')',
                happening, happening, watched, case happening when 'delete' then 'old' else 'new' end);
        end loop;
    end loop;
end
$$;
