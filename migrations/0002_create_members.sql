-- Who takes part: members, and the people and programs that act for them or for the operator.
create table member (
    member_id uuid primary key default uuid_v7()
  , name text not null
  , display_name text not null
  , contact_email text not null
  , state text not null default 'applied'
  , created_at timestamptz not null default now()
  , constraint member_name_unique unique (name)
  , constraint member_name_form check (name ~ '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$')
  , constraint member_display_name_form check (length(display_name) between 1 and 120 and display_name !~ '[[:cntrl:]]')
  , constraint member_contact_email_form check (contact_email ~ '^[^@\s[:cntrl:]]+@[^@\s[:cntrl:]]+$' and length(contact_email) <= 254)
  , constraint member_state_known check (state in ('applied', 'approved', 'suspended'))
);

-- A person. One without a member acts for the operator.
create table user_account (
    user_id uuid primary key default uuid_v7()
  , member_id uuid references member
  , email text not null
  , password_hash text not null
  , created_at timestamptz not null default now()
  , disabled_at timestamptz
  , constraint user_account_email_form check (email ~ '^[^@\s[:cntrl:]]+@[^@\s[:cntrl:]]+$' and email = lower(email) and length(email) <= 254)
  , constraint user_account_email_unique unique (email)
);
create index user_account_by_member on user_account (member_id);

-- A signed-in browser: only the hash of its cookie is kept.
create table session (
    session_hash bytea primary key
  , user_id uuid not null references user_account on delete cascade
  , created_at timestamptz not null default now()
  , last_seen_at timestamptz not null default now()
  , expires_at timestamptz not null
  , constraint session_hash_length check (octet_length(session_hash) = 32)
  , constraint session_expires_after_creation check (expires_at > created_at)
);
create index session_by_user on session (user_id);
create index session_by_expiry on session (expires_at);

-- A program's bearer token: only its hash is kept. One without a member acts for the operator.
create table api_token (
    api_token_id uuid primary key default uuid_v7()
  , member_id uuid references member
  , name text not null
  , token_hash bytea not null
  , created_by uuid references user_account
  , created_at timestamptz not null default now()
  , expires_at timestamptz not null
  , last_used_at timestamptz
  , revoked_at timestamptz
  , constraint api_token_hash_unique unique (token_hash)
  , constraint api_token_hash_length check (octet_length(token_hash) = 32)
  , constraint api_token_name_form check (length(name) between 1 and 80 and name !~ '[[:cntrl:]]')
  , constraint api_token_expires_after_creation check (expires_at > created_at)
);
create index api_token_by_member on api_token (member_id);
