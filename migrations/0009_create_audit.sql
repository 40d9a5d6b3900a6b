-- Who changed what, from where: append only. And the answers already given to idempotent requests.
create table audit_entry (
    audit_entry_id uuid primary key default uuid_v7()
  , at timestamptz not null default now()
  , user_id uuid references user_account
  , api_token_id uuid references api_token
  , member_id uuid references member
  , action text not null
  , object_kind text not null
  , object_id uuid
  , before jsonb
  , after jsonb
  , source inet
);
create index audit_entry_by_member on audit_entry (member_id, audit_entry_id desc);
create index audit_entry_by_object on audit_entry (object_id, audit_entry_id desc);

create function refuse_rewriting() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is append only' using errcode = 'restrict_violation';
end
$$;
create trigger audit_entry_append_only before update or delete or truncate on audit_entry
    for each statement execute function refuse_rewriting();

-- A request with an idempotency key has one effect; its answer is given again to the same request.
create table idempotent_request (
    scope text not null
  , key text not null
  , request_hash bytea not null
  , response jsonb
  , created_at timestamptz not null default now()
  , primary key (scope, key)
  , constraint idempotent_request_key_form check (length(key) between 1 and 200)
);
create index idempotent_request_by_age on idempotent_request (created_at);
